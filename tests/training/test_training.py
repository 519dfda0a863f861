"""The training loop and the two things trained by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config import Augmentation, DenoisingTraining, Run, Training
from pipeline.data.store import ImageStore
from pipeline.errors import NonFiniteLossError, UserError
from pipeline.metrics.classification import accuracy
from pipeline.models import DENOISERS
from pipeline.training import batches as batches_module
from pipeline.training import classification as classification_module
from pipeline.training import denoising as denoising_module
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import split_batches
from pipeline.training.classification import channel_statistics, digit_batches, train_classifier
from pipeline.training.denoising import Denoiser, averages, log_uniform, train_denoiser
from pipeline.training.device import choose_device
from pipeline.training.fit import Setting, fit
from pipeline.training.observer import Observers
from pipeline.training.randomness import validation_split
from pipeline.trials import ClassificationTrial, DenoisingTrial

CPU = torch.device("cpu")


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.steps = 0
        self.epochs: list[tuple[int, dict[str, float]]] = []
        self.ended = False

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        self.steps, self.done = steps, done

    def step_finished(self, step: int, loss: float) -> None:
        assert 1 <= step <= self.steps
        assert loss == loss

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.epochs.append((epoch, dict(metrics)))

    def checkpoint_saved(self) -> None:
        """Nothing to keep."""

    def fit_finished(self) -> None:
        self.ended = True


def classification(**changes: object) -> ClassificationTrial:
    trial = ClassificationTrial(
        dataset="demo-digits",
        model="cnn",
        settings={"widths": [8, 16]},
        seed=0,
        validation=0.1,
        training=Training(epochs=3, batch_size=32, learning_rate=0.01),
        label_smoothing=0.0,
        augmentation=Augmentation(),
    )
    return replace(trial, **changes)


def denoising(**changes: object) -> DenoisingTrial:
    trial = DenoisingTrial(
        dataset="demo-patches",
        model="autoencoder",
        settings={"width": 8},
        seed=0,
        validation=0.1,
        training=DenoisingTraining(epochs=2, batch_size=32, learning_rate=0.005, precision="float32"),
        variance=0.05,
        span=None,
        clip=False,
    )
    return replace(trial, **changes)


def test_a_classifier_learns_and_tells_its_observers(digits: ImageStore) -> None:
    notes = Notes()
    result = train_classifier(classification(), digits, CPU, Observers([notes]))
    assert result.metrics["test/accuracy"] > 0.6, "chance is 0.1"
    assert result.test_logits.shape == (360, 10)
    assert [epoch for epoch, _ in notes.epochs] == [1, 2, 3]
    assert notes.epochs[-1][1].keys() == {"train/loss", "val/loss", "val/accuracy"}
    assert notes.steps == 3 * (1293 // 32)
    assert notes.ended


def test_a_denoiser_beats_its_input(patches: ImageStore) -> None:
    result = train_denoiser(denoising(), patches, CPU, Notes())
    assert result.metrics["test/psnr_gain"] > 3
    assert not [name for name in result.metrics if name.startswith("val/")], "their curve is the observers'"
    assert result.examples.clean.shape == result.examples.denoised.shape == (10, 3, 32, 32)


def test_what_a_network_cannot_exceed_is_measured_with_it(patches: ImageStore) -> None:
    trial = denoising(model="tutorial", settings={}, training=DenoisingTraining(epochs=1, batch_size=16))
    found = train_denoiser(trial, patches, CPU, Observers([])).metrics
    first, end = patches.manifest.splits["test"]
    clean = torch.from_numpy(patches.images[first:end]).double() / 255
    error = (clean - clean.clamp(min=0.5)).square().mean(dim=(1, 2, 3))
    assert error.min() == 0, "a tile without anything dark"
    assert found["test/psnr_ceiling"] == pytest.approx((-10 * error.clamp(min=1e-6).log10()).mean().item(), abs=1e-4)
    assert found["test/psnr"] < found["test/psnr_ceiling"]
    assert "test/psnr_ceiling" not in train_denoiser(denoising(), patches, CPU, Observers([])).metrics


def test_the_noisy_input_itself_has_no_gain_and_is_not_trained(patches: ImageStore) -> None:
    notes = Notes()
    result = train_denoiser(denoising(model="noisy", settings={}), patches, CPU, notes)
    assert result.metrics["test/psnr_gain"] == 0
    assert result.metrics["time/train_s"] == 0
    assert result.parameters == 0
    assert notes.epochs == []


def test_every_model_sees_the_same_noisy_images(patches: ImageStore) -> None:
    trained = train_denoiser(denoising(training=DenoisingTraining(epochs=1)), patches, CPU, Notes())
    untrained = train_denoiser(denoising(model="noisy", settings={}, seed=3), patches, CPU, Notes())
    assert torch.equal(trained.examples.noisy, untrained.examples.noisy)
    assert torch.equal(trained.examples.clean, untrained.examples.clean)


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator(patches: ImageStore) -> None:
    first = train_denoiser(denoising(), patches, CPU, Notes())
    torch.manual_seed(12345)
    torch.rand(7)
    second = train_denoiser(denoising(), patches, CPU, Notes())
    other = train_denoiser(denoising(seed=1), patches, CPU, Notes())
    assert torch.equal(weights(first.model), weights(second.model))
    assert first.metrics["test/psnr"] == second.metrics["test/psnr"]
    assert not torch.equal(weights(first.model), weights(other.model))


def test_training_leaves_the_global_generator_alone(digits: ImageStore) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    train_classifier(classification(training=Training(epochs=1)), digits, CPU, Notes())
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_stops_with_step_and_rate() -> None:
    images = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    batches = Batches(images, torch.zeros(64, dtype=torch.long), torch.arange(64), 8, CPU)
    notes = Notes()

    seen: list[int] = []

    def breaks_at_the_third(model: nn.Module, batch: Batch, _: torch.Generator) -> torch.Tensor:
        seen.append(1)
        loss: torch.Tensor = model(batch.images.flatten(1)).square().mean()
        return loss * float("nan") if len(seen) == 4 else loss  # the first is the warm-up's

    with pytest.raises(NonFiniteLossError, match=r"the loss is nan at step 3 of 8, learning rate \d"):
        fit(
            nn.Linear(64, 1),
            batches,
            breaks_at_the_third,
            lambda _: {},
            Training(epochs=1),
            0,
            Setting(torch.float32, notes),
        )
    assert notes.ended
    seen.clear()
    with pytest.raises(NonFiniteLossError, match=r"the loss is nan at step 4 of \d+, learning rate \d"):
        fit(  # found while a step is measured
            nn.Linear(64, 1),
            batches,
            breaks_at_the_third,
            lambda _: {},
            Training(seconds=1),
            0,
            Setting(torch.float32, Notes()),
        )


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    images = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1)
    batches = Batches(images, torch.arange(100), torch.arange(100), 10, CPU)

    def order(seed: int, epoch: int) -> list[int]:
        return [label for batch in batches.shuffled(seed, epoch) for label in batch.labels.tolist()]

    assert sorted(order(0, 1)) == list(range(100))
    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (1, 2)}) == 4
    whole = [batch.labels.tolist() for batch in batches.shuffled(0, 1)]
    assert [batch.labels.tolist() for batch in batches.shuffled(0, 1, skip=7)] == whole[7:]
    for batch in batches.shuffled(0, 1):
        assert torch.equal((batch.images.flatten() * 255).round().long(), batch.labels), "images keep their labels"


def test_images_too_large_for_memory_give_the_same_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8)
    labels, indices = torch.arange(50), torch.arange(40)
    usual = Batches(images, labels, indices, 7, CPU)
    monkeypatch.setattr(batches_module, "LARGE", 1000)
    ahead = Batches(images, labels, indices, 7, CPU)
    assert (usual.ahead, ahead.ahead) == (False, True)
    for order in (lambda b: b.in_order(), lambda b: b.shuffled(3, 1), lambda b: b.shuffled(3, 1, 4)):
        pairs = list(zip(order(usual), order(ahead), strict=True))
        assert pairs
        assert all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in pairs)
    assert list(ahead.shuffled(3, 1, 5)) == [], "broken off after the last batch of an epoch, before its checkpoint"


def test_the_three_parts_of_a_trial_share_no_image(digits: ImageStore) -> None:
    parts = {name: set(part.indices.tolist()) for name, part in split_batches(digits, denoising(), CPU).items()}
    assert {name: len(part) for name, part in parts.items()} == {"train": 1293, "validation": 144, "test": 360}
    assert len(parts["train"] | parts["validation"] | parts["test"]) == 1797


def test_a_validation_split_is_a_share_of_the_training_images() -> None:
    train, validation = validation_split(range(100, 600), 0.1)
    assert len(validation) == 50
    assert sorted([*train.tolist(), *validation.tolist()]) == list(range(100, 600))


@pytest.mark.parametrize(("images", "held_out"), [(1000, 20), (100, 20), (40, 8), (4, 1)])
def test_of_few_images_more_than_the_share_is_held_out(images: int, held_out: int) -> None:
    assert len(validation_split(range(images), 0.02)[1]) == held_out


def test_a_validation_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UserError, match="leaves none to train on"):
        validation_split(range(3), 0.9)


def test_a_setting_that_a_network_does_not_take_is_the_users_mistake(patches: ImageStore) -> None:
    for settings, message in (
        ({"blocks": 3}, "autoencoder has no setting blocks; there is width, depth"),
        ({"widht": 3}, "autoencoder has no setting widht; did you mean width"),
        ({"width": -1}, "autoencoder with settings {'width': -1}"),
    ):
        with pytest.raises(UserError, match=message):
            train_denoiser(denoising(settings=settings), patches, CPU, Notes())


def test_a_network_that_returns_other_shapes_is_refused(patches: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """One channel of three would be stretched to all of them, and trained."""
    monkeypatch.setitem(DENOISERS, "grey", lambda channels, variance: nn.Conv2d(channels, 1, 3, padding=1))
    with pytest.raises(ValueError, match=r"grey makes \[32, 1, 32, 32\] of images \[32, 3, 32, 32\]"):
        train_denoiser(denoising(model="grey", settings={}), patches, CPU, Notes())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"cuda is not available here; there is .*cpu"):
        choose_device(Run(device="cuda"))


def test_scores_are_of_each_image_with_its_own_noise(patches: ImageStore) -> None:
    result = train_denoiser(denoising(model="noisy", settings={}), patches, CPU, Notes())
    scores = result.per_image
    assert scores["image"].tolist() == list(patches.split("test"))
    assert scores["label"].tolist() == patches.labels[list(patches.split("test"))].tolist()
    assert scores["psnr"].mean() == pytest.approx(result.metrics["test/psnr"], abs=1e-4)
    assert result.metrics["test/effective_variance"] == pytest.approx(0.05, rel=0.02)
    clipped = train_denoiser(denoising(model="noisy", settings={}, clip=True), patches, CPU, Notes())
    assert clipped.metrics["test/effective_variance"] < 0.046, "clipping takes some of it"


def test_a_conditional_network_is_measured_told_and_blind(patches: ImageStore) -> None:
    settings = {"widths": [8, 16], "blocks": [1], "middle": 1}
    trial = denoising(model="conditional", settings=settings, span=(0.01, 0.25), variance=0.05)
    result = train_denoiser(replace(trial, training=replace(trial.training, loss="log")), patches, CPU, Notes())
    assert result.metrics["test/psnr_gain"] > 5
    assert abs(result.metrics["test/psnr"] - result.metrics["test/psnr_blind"]) < 1
    assert {"psnr", "ssim", "psnr_blind", "ssim_blind"} <= set(result.per_image)


def test_variances_are_drawn_evenly_in_their_logarithm() -> None:
    drawn = log_uniform((0.001, 0.1), 10_000, torch.Generator().manual_seed(0)).log10()
    assert drawn.min() >= -3
    assert drawn.max() <= -1
    # Of 10,000 draws the mean has a standard error of 2/√12/100 = 0.006; allow five of those.
    assert abs(drawn.mean() + 2) < 0.03


@pytest.mark.parametrize("model", ["linear", "nlm", "wavelet", "tv"])
def test_what_is_fitted_at_once_beats_its_input_by_far(model: str, patches: ImageStore) -> None:
    result = train_denoiser(denoising(model=model, settings={}), patches, CPU, Notes())
    assert result.metrics["test/psnr_gain"] > 6
    assert result.metrics["val/psnr"] > 20, "for choosing among models"
    assert result.parameters == 0
    assert ("tuned_strength" in result.metrics) == (model != "linear")


def test_augmentation_and_label_smoothing_reach_the_loss(digits: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Augmentation] = []
    smoothing: list[float] = []
    cross_entropy = F.cross_entropy

    def noted(images: torch.Tensor, limits: Augmentation, generator: torch.Generator) -> torch.Tensor:
        seen.append(limits)
        return images

    def loss(*args: torch.Tensor, label_smoothing: float = 0.0) -> torch.Tensor:
        smoothing.append(label_smoothing)
        return cross_entropy(*args, label_smoothing=label_smoothing)

    monkeypatch.setattr(classification_module, "augmented", noted)
    monkeypatch.setattr(classification_module.F, "cross_entropy", loss)
    short = Training(steps=1, batch_size=8)
    train_classifier(classification(training=short), digits, CPU, Notes())
    assert not seen
    assert set(smoothing) == {0.0}
    turned = Augmentation(rotation=10)
    train_classifier(classification(training=short, augmentation=turned, label_smoothing=0.2), digits, CPU, Notes())
    assert set(seen) == {turned}
    assert smoothing.count(0.2) == 2, "the warm-up and the step"


def test_a_classifier_is_watched_on_the_validation_images(digits: ImageStore) -> None:
    notes = Notes()
    trial = classification(training=Training(epochs=2, batch_size=32, learning_rate=0.01, precision="float32"))
    result = train_classifier(trial, digits, CPU, notes)
    _, held_out = validation_split(digits.split("train"), trial.validation)
    images = torch.from_numpy(digits.images)[held_out].float() / 255
    labels = torch.from_numpy(digits.labels)[held_out].long()
    with torch.no_grad():
        logits = result.model.eval()(images)
    last = notes.epochs[-1][1]
    assert last["val/loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-4)
    assert last["val/accuracy"] == pytest.approx(accuracy(logits, labels))


def test_the_three_parts_of_the_digits_share_no_image(digits: ImageStore) -> None:
    parts = digit_batches(digits, classification(), CPU)
    learnt, held_out = (set(parts[name].indices.tolist()) for name in ("train", "validation"))
    assert (len(learnt), len(held_out), len(parts["test"].indices)) == (1293, 144, 360)
    assert not learnt & held_out
    test = next(iter(parts["test"].in_order()))
    assert torch.equal(test.labels, torch.from_numpy(digits.labels[1437 : 1437 + len(test.labels)]).long())


def test_a_denoiser_is_watched_on_the_validation_images(patches: ImageStore) -> None:
    notes, trial = Notes(), denoising(training=DenoisingTraining(epochs=1, precision="float32"))
    result = train_denoiser(trial, patches, CPU, notes)
    denoiser = replace(Denoiser.build(trial, patches, CPU), model=result.model)
    held_out = split_batches(patches, trial, CPU)["validation"]
    expected = averages(denoiser.scores(held_out, trial.variance))
    found = {name.removeprefix("val/"): one for name, one in notes.epochs[-1][1].items() if name.startswith("val/")}
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("model", ["noisy", "linear"])
def test_what_is_not_trained_is_chosen_by_the_validation_images(model: str, patches: ImageStore) -> None:
    trial = denoising(model=model, settings={})
    result = train_denoiser(trial, patches, CPU, Notes())
    denoiser = replace(Denoiser.build(trial, patches, CPU), model=result.model)
    scores = denoiser.scores(split_batches(patches, trial, CPU)["validation"], trial.variance)
    assert result.metrics["val/psnr"] == pytest.approx(averages(scores)["psnr"], abs=1e-4)


@pytest.mark.parametrize("model", ["linear", "tv"])
def test_what_is_fitted_at_once_never_sees_a_test_image(
    model: str, patches: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fitting = denoising_module.fit_at_once

    def watched(network, batches, *rest):  # type: ignore[no-untyped-def]
        seen.extend(batches.indices.tolist())
        return fitting(network, batches, *rest)

    monkeypatch.setattr(denoising_module, "fit_at_once", watched)
    trial = denoising(model=model, settings={})
    train_denoiser(trial, patches, CPU, Notes())
    part = "train" if model == "linear" else "validation"
    assert seen == split_batches(patches, trial, CPU)[part].indices.tolist()


def test_channel_statistics_are_mean_and_standard_deviation(digits: ImageStore) -> None:
    batches = digit_batches(digits, classification(), CPU)["train"]
    mean, std = channel_statistics(batches)
    pixels = batches.images[batches.indices].double() / 255
    assert mean == pytest.approx([pixels.mean().item()])
    assert std == pytest.approx([pixels.std(correction=0).item()])


def test_validation_images_are_drawn_from_all_over_the_training_images() -> None:
    _, held_out = validation_split(range(1000), 0.1)
    assert held_out.float().mean() == pytest.approx(500, abs=100)
    assert held_out.min() < 100
    assert held_out.max() >= 900
