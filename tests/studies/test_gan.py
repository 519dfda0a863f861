"""The experiments on the generator's loss measure what they say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import nn

from pipeline.config import GanStudy, Run
from pipeline.data.store import ImageStore
from pipeline.models.gan import Discriminator, Generator
from pipeline.stages.study import on_one_thread
from pipeline.studies import (
    gan_gradients,
    gan_losses,
    gan_toys,
    gan_training,
)
from pipeline.studies.digit_judge import Judge, frechet
from pipeline.studies.gan_training import Arm, arms
from pipeline.studies.measured import Digits

CPU = torch.device("cpu")
SMALL = GanStudy(
    seeds=(0,), images=300, hidden=16, warm_steps=5, probe_steps=60, draws=100, steps=3, head_start=10, toy_steps=50
)


@pytest.fixture(scope="module")
def studied(digits: ImageStore) -> Digits:
    return Digits.of(digits, 0.1, SMALL.images, CPU)


def test_weights_are_the_derivatives_of_the_losses() -> None:
    logits = torch.linspace(-30, 30, 61, dtype=torch.float64, requires_grad=True)
    for name, loss in gan_losses.LOSSES.items():
        (gradient,) = torch.autograd.grad(loss(logits) * len(logits), logits)
        torch.testing.assert_close(gradient, gan_losses.WEIGHTS[name](logits.detach()), atol=1e-8, rtol=1e-6)


def test_losses_written_from_the_logit_are_exact_and_through_the_sigmoid_they_break(studied: Digits) -> None:
    table = gan_losses.measure(SMALL, 0, studied, CPU).tables["closed_form"].set_index(["number", "form", "loss"])
    for loss in gan_losses.LOSSES:
        assert table.loc[("float64", "softplus of the logit", loss), "error"] < 1e-8
        assert table.loc[("float32", "softplus of the logit", loss), "broken"] == 0
        naive = table.loc[("float32", "log of the sigmoid", loss)]
        assert naive["broken"] > 0.3
        assert abs(naive["first"]) == pytest.approx(16.6, abs=0.1)  # σ(a) is 1 in float32 from there on


def test_probes_agree_with_the_closed_form_and_with_the_predicted_ratio(studied: Digits) -> None:
    table = gan_gradients.measure(SMALL, 0, studied, CPU).tables["gradients"]
    assert table["error"].max() < 1e-4
    assert table["step"].max() == SMALL.probe_steps
    last = table[table["step"] == SMALL.probe_steps].set_index("loss")
    ratio = last.loc["non-saturating", "norm"] / last.loc["saturating", "norm"]
    assert 0.5 < ratio / last.loc["saturating", "predicted_ratio"] < 2
    assert (table[table["step"] == 0]["discriminator_loss"] > table["discriminator_loss"].min()).all()


def test_disturbing_a_discriminator_leaves_it_as_it_was() -> None:
    frozen, judge = Generator((1, 8, 8), hidden=8), Discriminator((1, 8, 8), 8)
    before = [parameter.detach().clone() for parameter in judge.parameters()]
    table = gan_gradients.disturbed(frozen, judge, 5, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(before, judge.parameters(), strict=True))
    assert len(table) == 5
    assert table["saturating"].nunique() == 5


def test_the_frechet_distance_is_that_of_the_textbook() -> None:
    draws = np.random.default_rng(0)
    one = draws.normal(size=(500, 6)) @ draws.normal(size=(6, 6))
    other = 1 + draws.normal(size=(500, 6)) @ draws.normal(size=(6, 6))
    c1, c2 = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = np.square(one.mean(0) - other.mean(0)).sum()
    expected = shift + np.trace(c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real)
    assert frechet(torch.tensor(one), torch.tensor(other)) == pytest.approx(expected, rel=1e-6)
    assert frechet(torch.tensor(one), torch.tensor(one)) == pytest.approx(0, abs=1e-6)


def test_the_arms_are_pairs_that_differ_in_the_loss_alone() -> None:
    pairs: dict[tuple[object, ...], set[str]] = {}
    for arm in arms(1000):
        pairs.setdefault((arm.optimizer, arm.head_start, arm.discriminator_steps, arm.rate), set()).add(arm.loss)
    assert len(pairs) == 20
    assert all(losses == set(gan_losses.LOSSES) for losses in pairs.values())


def test_only_the_non_saturating_loss_moves_a_line_that_is_told_apart(studied: Digits) -> None:
    tables = gan_toys.measure(SMALL, 0, studied, CPU).tables
    left = tables["lines"].set_index("loss")["left"]
    assert left["saturating"] > 0.9
    assert left["non-saturating"] < left["saturating"]
    start = tables["fixed_point"].set_index(["loss", "start"])["drift"]
    assert start.xs(0.0, level="start").max() < 0.2


def test_experiments_run_side_by_side_unless_somebody_says_how_many() -> None:
    assert on_one_thread(Run()) == on_one_thread(Run(threads=1)) == Run(jobs="auto", threads=1)
    assert on_one_thread(Run(threads=2)) == Run(jobs="auto", threads=2)
    for said in (Run(jobs=1), Run(jobs=3), Run(jobs="auto", threads=2)):
        assert on_one_thread(said) == said


def test_each_arm_trains_with_its_own_loss_rate_and_head_start(
    studied: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    steps: list[str] = []
    losses = {
        name: (lambda logits, name=name, loss=loss: used.append(name) or loss(logits))
        for name, loss in gan_training.LOSSES.items()
    }
    other, own = gan_training.descend_discriminator, gan_training.descend_generator
    monkeypatch.setattr(gan_training, "LOSSES", losses)
    monkeypatch.setattr(gan_training, "descend_discriminator", lambda *a: steps.append("d") or other(*a))
    monkeypatch.setattr(gan_training, "descend_generator", lambda *a: steps.append("g") or own(*a))
    judge = Judge.trained(studied, 5, CPU)
    for loss in gan_training.LOSSES:
        used.clear()
        steps.clear()
        gan_training.trained(Arm(loss, "sgd", 4, 2), SMALL, 0, studied, judge, CPU)
        assert set(used) == {loss}
        assert "".join(steps) == "dddd" + "ddg" * SMALL.steps
    net = nn.Linear(2, 2)
    rates = {
        (optimizer, rate): gan_training.optimizer_of(Arm("saturating", optimizer, 0, rate=rate), net, SMALL)
        for optimizer in ("sgd", "momentum", "adam")
        for rate in (1.0, 16.0)
    }
    for optimizer in ("sgd", "momentum", "adam"):
        one, greater = (rates[optimizer, rate].param_groups[0] for rate in (1.0, 16.0))
        assert greater["lr"] == pytest.approx(16 * one["lr"])
    assert rates["momentum", 1.0].param_groups[0]["momentum"] == 0.9
    assert rates["sgd", 1.0].param_groups[0]["momentum"] == 0


def test_a_judges_scores_are_those_of_the_papers() -> None:
    class Head(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return 50 * features

    network = nn.Module()
    network.features, network.head = nn.Flatten(), Head()
    real = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    judge = Judge(network, 1.0, real, real)  # type: ignore[arg-type]
    sure = torch.eye(4)[torch.arange(40) % 4].view(40, 1, 2, 2)
    found = judge.scores(sure, real)
    assert (found["score"], found["covered"]) == (pytest.approx(4), 4), "each image is sure, all classes alike"
    assert found["class_divergence"] == pytest.approx(0, abs=1e-9)
    one = judge.scores(sure[:1].expand(40, 1, 2, 2), real)
    assert (one["score"], one["covered"]) == (pytest.approx(1), 1)
    assert one["class_divergence"] == pytest.approx(math.log(4))
    unsure = judge.scores(torch.zeros(40, 1, 2, 2), real)
    assert unsure["score"] == pytest.approx(1)
    assert judge.scores(real.view(40, 1, 2, 2), real)["distance"] == pytest.approx(0, abs=1e-6)


def test_on_the_way_digits_are_compared_with_held_out_ones_and_at_the_end_with_those_of_the_test(
    studied: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: dict[int, set[str]] = {}
    scores = Judge.scores

    def watched(judge: Judge, images: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
        compared.setdefault(len(images), set()).add("held out" if real is judge.held_out else "test")
        return scores(judge, images, real)

    monkeypatch.setattr(Judge, "scores", watched)
    gan_training.measure(replace(SMALL, judge_steps=2, samples=600), 0, studied, CPU)
    assert compared == {gan_training.FIXED: {"held out"}, 600: {"test"}}


def test_a_judge_is_left_in_evaluation_mode(studied: Digits) -> None:
    assert not Judge.trained(studied, 3, CPU).network.training


def test_points_at_a_mode_are_close_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def at(points: torch.Tensor):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(gan_toys, "play", lambda *_: None)
        monkeypatch.setattr(gan_toys, "generated", lambda *_: points)
        return gan_toys.ring_kept(gan_toys.LOSSES["saturating"], 1, 0, CPU)

    angles = torch.arange(gan_toys.POINTS) % 3 * (2 * math.pi / gan_toys.MODES)
    ring = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert at(ring) == {"modes": 3, "close": 1.0}
    assert at(1.2 * ring) == {"modes": 0, "close": 0.0}
