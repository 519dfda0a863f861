"""Train a digit classifier and measure it: one trial from images to figures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config import Augmentation
from pipeline.data.mnist_doubts import doubted_in
from pipeline.data.store import ImageStore
from pipeline.metrics.classification import accuracy, accuracy_by_class, brier_score, calibration_error
from pipeline.models import CLASSIFIERS
from pipeline.models.classifiers import Standardize
from pipeline.training.augmentation import augmented
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import build, count_parameters, evaluated_at_once
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.fit import Setting, fit
from pipeline.training.observer import Observer
from pipeline.training.randomness import validation_split
from pipeline.trials import ClassificationTrial


@dataclass(frozen=True)
class ClassificationResult:
    """A trained classifier and what it does to the test images."""

    model: nn.Module
    """Takes (b, c, h, w) images in [0, 1], returns logits."""
    metrics: dict[str, float]
    test_logits: torch.Tensor
    """(n, classes) float32, in the order of the test images."""
    parameters: int
    precision: str


def train_classifier(
    trial: ClassificationTrial,
    store: ImageStore,
    device: torch.device,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    steps: int | None = None,
) -> ClassificationResult:
    """Train on the training images, watch on the validation images, look at the test images once, at the end.

    Goes on from a checkpoint if there is one; `steps` is what a budget in seconds was found to be before.
    """
    parts = digit_batches(store, trial, device)
    precision = choose_precision(trial.training, device)
    channels, classes = store.manifest.shape[1], len(store.manifest.classes)
    network = build(CLASSIFIERS, trial, channels=channels, classes=classes)
    model = nn.Sequential(Standardize(*channel_statistics(parts["train"])), network).to(device)

    changing = trial.augmentation != Augmentation()

    def objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        images = augmented(batch.images, trial.augmentation, generator) if changing else batch.images
        return F.cross_entropy(model(images).float(), batch.labels, label_smoothing=trial.label_smoothing)

    def validate(model: nn.Module) -> dict[str, float]:
        logits, labels = predict(model, parts["validation"], precision)
        return {"val/loss": F.cross_entropy(logits, labels).item(), "val/accuracy": accuracy(logits, labels)}

    seconds = fit(
        model,
        parts["train"],
        objective,
        validate,
        trial.training,
        trial.seed,
        Setting(precision, observer, checkpoints, steps),
    )
    logits, labels = predict(model, parts["test"], precision)
    return ClassificationResult(
        model=model,
        metrics={**test_figures(logits, labels, doubted_in(store)), "time/train_s": seconds},
        test_logits=logits.cpu(),
        parameters=count_parameters(model),
        precision=str(precision).removeprefix("torch."),
    )


def digit_batches(store: ImageStore, trial: ClassificationTrial, device: torch.device) -> dict[str, Batches]:
    """Batches of the parts "train", "validation" and "test" of the digits as `myMNIST` gives them, on a device."""
    from pipeline.data.datasets import myMNIST  # brings torchvision, which takes over a second

    def batches(digits: myMNIST, indices: torch.Tensor, size: int) -> Batches:
        return Batches(digits.data.unsqueeze(1), digits.targets, indices, size, device)

    digits, unseen = (myMNIST(store, train=train) for train in (True, False))
    learnt, held_out = validation_split(range(len(digits)), trial.validation)
    at_once = evaluated_at_once(*digits.data.shape[1:])
    train = batches(digits, learnt, trial.training.batch_size)
    return {
        "train": train,
        "validation": train.others(held_out, at_once),
        "test": batches(unseen, torch.arange(len(unseen)), at_once),
    }


def test_figures(logits: torch.Tensor, labels: torch.Tensor, doubted: Collection[int]) -> dict[str, float]:
    """All that is measured on test images; `doubted` are those whose label people doubt, where that is known."""
    wrong = (logits.argmax(dim=1) != labels).nonzero().squeeze(1).tolist()
    of_those = {"test/misses_in_doubt": len(set(wrong) & set(doubted))} if doubted else {}
    classes = {f"test/accuracy_of/{k}": share for k, share in enumerate(accuracy_by_class(logits, labels))}
    return {
        "test/loss": F.cross_entropy(logits, labels).item(),
        "test/accuracy": accuracy(logits, labels),
        "test/ece": calibration_error(logits, labels),
        "test/brier": brier_score(logits, labels),
        "test/misses": len(wrong),
        **of_those,
        **classes,
    }


@torch.no_grad()
def predict(model: nn.Module, batches: Batches, precision: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, classes) float32 and labels (n,), in order."""
    model.eval()
    logits, labels = [], []
    for batch in batches.in_order():
        with arithmetic(precision, batches.device):
            logits.append(model(batch.images).float())
        labels.append(batch.labels)
    return torch.cat(logits), torch.cat(labels)


def channel_statistics(batches: Batches) -> tuple[list[float], list[float]]:
    """Mean and standard deviation a channel over the batches' images, on the [0, 1] scale."""
    images, values = batches.images, torch.arange(256, dtype=torch.float64) / 255
    # How often a channel has each value says all: counting takes a tenth of the time of summing.
    counts = torch.zeros(images.shape[1], len(values), dtype=torch.float64)
    for part in batches.indices.split(10_000):
        for channel, pixels in enumerate(images[part.to(images.device)].cpu().unbind(dim=1)):
            counts[channel] += torch.bincount(pixels.flatten(), minlength=len(values))
    shares = counts / counts.sum(dim=1, keepdim=True)
    mean = shares @ values
    variance = shares @ values.square() - mean.square()
    return mean.tolist(), variance.clamp(min=1e-6).sqrt().tolist()
