"""The experiments on batch normalization compare what they say, and nothing else."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from pipeline.config import BatchNormStudy, studies
from pipeline.data.store import ImageStore
from pipeline.models import normalized
from pipeline.models.normalized import ARMS, set_training
from pipeline.studies import batch_norm_batches, batch_norm_probes, batch_norm_start, batch_norm_training
from pipeline.studies.batch_norm_training import NETS, Course, correct, network, rates_of, train
from pipeline.studies.measured import Digits

CPU = torch.device("cpu")
SMALL = BatchNormStudy(seeds=(0,), images=300, batch_size=16, steps=22, every=5, depth=4, width=8, depths=(2, 20))


@pytest.fixture(scope="module")
def studied(digits: ImageStore) -> Digits:
    return Digits.of(digits, 0.1, SMALL.images, CPU)


@pytest.mark.parametrize("net", NETS)
def test_arms_begin_with_the_same_weights(net: str, studied: Digits) -> None:
    weights = {arm: network(net, arm, SMALL, 0, studied).weights for arm in ARMS}
    for arm in ("batch", "group", "frozen", "noisy"):
        assert all(torch.equal(a, b) for a, b in zip(weights[arm], weights["he"], strict=True)), arm
    assert all(torch.equal(a, b) for a, b in zip(weights["batch-none"], weights["none"], strict=True))
    assert not torch.equal(weights["none"][0], weights["he"][0])
    assert not torch.equal(network(net, "he", SMALL, 1, studied).weights[0], weights["he"][0])


def test_frozen_statistics_stay_and_others_move(studied: Digits) -> None:
    for arm, moves in (("frozen", False), ("batch", True)):
        model = network("shallow", arm, SMALL, 0, studied)
        norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
        assert norm.running_mean is not None
        before = norm.running_mean.clone()
        train(model, 0.1, 3, 3, 16, 0, studied)
        assert torch.equal(before, norm.running_mean) is not moves
        if not moves:
            assert before.abs().sum() > 0


def test_a_training_is_the_same_twice_and_stops_when_it_diverges(studied: Digits) -> None:
    courses = [train(network("deep", "noisy", SMALL, 0, studied), 0.1, 10, 5, 16, 0, studied) for _ in range(2)]
    assert courses[0].chosen == courses[1].chosen
    assert courses[0].measured == courses[1].measured
    assert courses[0].steps == [5, 10]
    wild = train(network("deep", "he", SMALL, 0, studied), 1e6, 10, 5, 16, 0, studied)
    assert wild.diverged
    assert not wild.finite
    assert wild.steps[-1] < 10


def test_the_first_step_with_an_accuracy() -> None:
    course = Course([5, 10, 15], [0.1, 0.5, 0.9], [0.2, 0.4, 0.8], seconds=0.3, finite=True)
    assert course.first(course.chosen, 0.5) == 10
    assert course.first(course.measured, 0.5) == 15
    assert math.isnan(course.first(course.measured, 0.95))
    assert course.ms_a_step == pytest.approx(20)


def test_learning_rates_are_spread_evenly_over_their_range() -> None:
    rates = rates_of(BatchNormStudy())
    assert len(rates) == 8
    assert rates[0] == 0.001
    assert rates[-1] == 10
    ratios = [b / a for a, b in pairwise(rates)]
    assert max(ratios) / min(ratios) < 1.01


def test_weights_before_a_normalization_have_no_scale_and_folding_changes_nothing(studied: Digits) -> None:
    tables = batch_norm_start.measure(SMALL, 0, studied, CPU).tables
    (scale,) = tables["scale"].itertuples()
    assert scale.output_change < 1e-3
    assert scale.gradient_ratio == pytest.approx(0.1, rel=0.01)
    cost = tables["cost"].set_index("arm")
    assert cost.loc["batch", "folded_difference"] < 1e-5
    assert cost.loc["batch", "bytes"] > cost.loc["he", "bytes"]
    depth = tables["depth"].set_index(["kind", "layers"])["log_ratio"]
    assert depth["batch", 20] > 2.5, "gradients of deep plain networks explode with batch normalization"
    assert abs(depth["he", 20]) < 2


def test_statistics_taken_anew_leave_the_weights_alone(studied: Digits) -> None:
    model = network("shallow", "batch", SMALL, 0, studied)
    train(model, 0.1, 5, 5, 16, 0, studied)
    anew = batch_norm_batches.precise(model, studied)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), anew.parameters(), strict=True))
    one, other = (next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d)) for net in (model, anew))
    assert not torch.equal(one.running_mean, other.running_mean)
    plain = network("shallow", "he", SMALL, 0, studied)
    right = correct(plain, studied.test, studied.test_labels).float().mean().item()
    assert batch_norm_batches.accuracies(plain, 16, studied)["precise"] == pytest.approx(right)


def test_looking_at_a_network_does_not_change_it(studied: Digits) -> None:
    model = network("deep", "batch", SMALL, 0, studied)
    set_training(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    images, labels = studied.images[:16], studied.labels[:16]
    found = batch_norm_probes.along_gradient(model, images, labels) | batch_norm_probes.layer_shift(
        model, images, labels
    )
    batch_norm_probes.layer_means(model, images)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert found["least"] <= found["greatest"]
    assert -1 <= found["cosine"] <= 1
    assert found["bend"] > 0


def test_widths_are_checked_for_the_groups_that_networks_have() -> None:
    assert studies.GROUPS == normalized.GROUPS


def test_few_images_are_learnt_and_others_less(studied: Digits) -> None:
    found = batch_norm_batches.after_few("batch", 8, SMALL, 0, studied)
    assert found["train"] > 0.95
    assert found["train"] > found["test"] > 0.3


def test_weight_decay_before_a_normalization_is_a_learning_rate_that_grows(
    studied: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_norm_start, "DECAY_STEPS", 10)  # in many, rounding adds up
    apart = []
    for seed in range(6):
        ways = {str(row["way"]): row for row in batch_norm_start.decays(SMALL, seed, studied)}
        assert ways["without"]["apart"] > 1e-3
        assert ways["growing rate"]["effective_rate"] == pytest.approx(ways["with"]["effective_rate"], rel=5e-3)
        apart.append(ways["growing rate"]["apart"])
    assert sorted(apart)[1] < 1e-4, "the same but for rounding, which with some seeds tips over where a maximum is"


def test_without_normalization_a_residual_network_starts_as_the_identity(studied: Digits) -> None:
    for arm, starts in (("he", 0.0), ("none", 0.0), ("batch", 1.0), ("group", 1.0)):
        assert {gain.item() for gain in network("residual", arm, SMALL, 0, studied).gains} == {starts}


def test_sigmoids_start_with_weights_scaled_to_their_slope(studied: Digits) -> None:
    for weight in network("sigmoid", "he", SMALL, 0, studied).weights:
        out, inputs = weight.shape
        assert weight.std().item() == pytest.approx(4 * math.sqrt(2 / (out + inputs)), rel=0.1)


def test_noise_is_for_training_alone(studied: Digits) -> None:
    model = network("deep", "noisy", SMALL, 0, studied)
    one, other = (correct(model, studied.test, studied.test_labels) for _ in range(2))
    images = studied.test[:8]
    model.eval()
    assert torch.equal(model(images), model(images))
    model.train()
    assert not torch.equal(model(images), model(images))
    assert torch.equal(one, other)


def test_frozen_statistics_are_those_of_the_batch_itself(studied: Digits) -> None:
    model = network("shallow", "frozen", SMALL, 0, studied)
    seen: list[torch.Tensor] = []
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.eval()(studied.images[:256])
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)))
    torch.testing.assert_close(norm.running_var, seen[0].var(dim=(0, 2, 3)))


def test_rates_are_chosen_on_one_half_and_reported_on_the_other(
    studied: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = torch.cat([torch.ones(70, dtype=torch.bool), torch.zeros(74, dtype=torch.bool)])
    monkeypatch.setattr(batch_norm_training, "correct", lambda *_: right)
    course = train(network("shallow", "he", SMALL, 0, studied), 0.1, 2, 2, 16, 0, studied)
    assert course.chosen == [pytest.approx(70 / 72)]
    assert course.measured == [0]


def test_a_training_steps_in_training_mode_and_looks_in_the_other(studied: Digits) -> None:
    model, modes = network("shallow", "batch", SMALL, 0, studied), []
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    train(model, 0.1, 4, 2, 16, 0, studied)
    assert modes == [True, True, False, True, True, False]


def test_a_batchs_own_statistics_are_its_own(studied: Digits) -> None:
    model = network("shallow", "batch", SMALL, 0, studied)
    train(model, 0.1, 20, 20, 16, 0, studied)
    expected = batch_norm_batches.with_own_statistics(model, studied.test, studied.test_labels, 32)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.add_(1e3)  # whatever the running ones are
    assert batch_norm_batches.with_own_statistics(model, studied.test, studied.test_labels, 32) == expected
    assert expected > 0.3
    assert correct(model, studied.test, studied.test_labels).float().mean() < 0.3


def test_statistics_taken_anew_are_plain_averages(studied: Digits) -> None:
    model = network("shallow", "batch", SMALL, 0, studied)
    train(model, 0.1, 5, 5, 16, 0, studied)
    anew, seen = batch_norm_batches.precise(model, studied), []
    norm = next(m for m in anew.modules() if isinstance(m, nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        anew.eval()(studied.images[: batch_norm_batches.PRECISE])
    torch.testing.assert_close(norm.running_mean, seen[0].mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)


def test_bend_is_the_curvature_and_the_way_goes_down(studied: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a loss a·w²/2 the gradient changes by a along the way, wherever one is and however large it is."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 3.0)

    def gradients(model: nn.Linear, *_: torch.Tensor) -> tuple[float, list[torch.Tensor]]:
        weight = model.weight
        return 2.5 * weight.item() ** 2, [5.0 * weight.detach()]

    monkeypatch.setattr(batch_norm_probes, "gradients", gradients)
    found = batch_norm_probes.along_gradient(model, studied.images, studied.labels)  # type: ignore[arg-type]
    assert found["bend"] == pytest.approx(5, rel=1e-4)
    assert found["loss"] == pytest.approx(22.5)
    # w after steps of 0.025, 0.05, 0.1 and 0.2 times the gradient 15: 2.625, 2.25, 1.5 and 0.
    assert (found["least"], found["greatest"]) == pytest.approx((0, 2.5 * 2.625**2), abs=1e-4)


def test_batches_of_one_class_are_of_one_class_each(studied: Digits, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[int]] = []
    loss = batch_norm_batches.F.cross_entropy

    def watched(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(set(labels.tolist()))
        return loss(logits, labels)

    monkeypatch.setattr(batch_norm_batches.F, "cross_entropy", watched)
    batch_norm_batches.after_sorted("batch", SMALL, 0, studied)
    assert seen[:10] == [{k} for k in range(10)]


def test_a_studys_images_are_of_three_parts(digits: ImageStore) -> None:
    found = Digits.of(digits, 0.1, 300, CPU)
    assert (len(found.images), len(found.held_out), len(found.test)) == (300, 144, 360)
    test = list(digits.split("test"))
    assert torch.equal(found.test_labels, torch.from_numpy(digits.labels[test]).long())
    assert torch.equal(found.test, torch.from_numpy(digits.images[test]).float() / 255)
    rows = [{image.tobytes() for image in part.numpy()} for part in (found.images, found.held_out)]
    assert len(rows[0] & rows[1]) <= 1, "but for digits that are there twice"
