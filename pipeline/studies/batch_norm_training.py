"""Plain gradient descent at a constant rate, watched: how many steps and seconds until an accuracy is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from pipeline.config import BatchNormStudy
from pipeline.models.normalized import Classifier, freeze_statistics, set_training
from pipeline.studies.measured import Digits, seeded
from pipeline.training.build import in_memory_format
from pipeline.training.device import clock
from pipeline.training.randomness import generator

NETS = {
    "sigmoid": ("sigmoid", 3, 100),
    "shallow": ("plain", 2, 0),
    "deep": ("plain", 0, 0),
    "residual": ("residual", 0, 0),
}
"""Name → kind, depth and width; 0: the study's own."""
TARGETS = (0.7, 0.8, 0.9)
"""Chosen before anything was run."""
WATCHED = 400  # held-out images that a training is watched on
WORST = 0.2
"""A training that ends below this accuracy, or not finite, has diverged or never started."""


def network(name: str, arm: str, settings: BatchNormStudy, seed: int, digits: Digits) -> Classifier:
    """A network whose first weights are the same in every arm but those of "none"."""
    kind, depth, width = NETS[name]
    with torch.random.fork_rng():
        seeded(seed, "batch norm", name)
        std, mean = (figure.item() for figure in torch.std_mean(digits.images))
        model = Classifier(kind, arm, digits.shape[-1], depth or settings.depth, width or settings.width, mean, std)
        in_memory_format(model, torch.channels_last).to(digits.images.device)
        if arm == "frozen":
            freeze_statistics(model, digits.images[:256])
    return model


@dataclass(frozen=True)
class Course:
    """How a training went: accuracy on two halves of the held-out images after every few steps."""

    steps: list[int]
    chosen: list[float]
    """On the half that learning rates are chosen by."""
    measured: list[float]
    """On the half that is reported."""
    seconds: float
    """Of training alone."""
    finite: bool

    @property
    def ms_a_step(self) -> float:
        return 1000 * self.seconds / max(1, self.steps[-1])

    @property
    def diverged(self) -> bool:
        """Not finite at the end, or no better than guessing."""
        return not self.finite or self.measured[-1] < WORST

    @property
    def firsts(self) -> dict[str, float]:
        """chosen_T and measured_T: the first step looked at with the accuracy T on either half, for every target."""
        halves = {"chosen": self.chosen, "measured": self.measured}
        return {f"{half}_{t:g}": self.first(accuracies, t) for t in TARGETS for half, accuracies in halves.items()}

    def first(self, accuracies: list[float], target: float) -> float:
        """First step looked at with at least that accuracy; nan if there is none."""
        return next((s for s, a in zip(self.steps, accuracies, strict=True) if a >= target), math.nan)


def train(model: Classifier, rate: float, steps: int, every: int, batch: int, seed: int, digits: Digits) -> Course:
    """Stochastic gradient descent without momentum or decay, so that the learning rate is all there is to choose."""
    device = digits.images.device
    source = generator(device, seed, "batch norm order")
    optimizer = torch.optim.SGD(model.parameters(), rate, fused=True)
    looks, chosen, measured = [], [], []
    seconds, finite = 0.0, True
    with torch.random.fork_rng():
        seeded(seed, "batch norm noise")
        for step in range(1, steps + 1):
            set_training(model)
            started = clock(device)
            images, labels = digits.batch(batch, source)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            seconds += clock(device) - started
            if not math.isfinite(loss.item()):
                finite = False
            if step % every == 0 or step == steps or not finite:
                right = correct(model, digits.held_out[:WATCHED], digits.held_out_labels[:WATCHED])
                half = len(right) // 2
                looks.append(step)
                chosen.append(right[:half].float().mean().item())
                measured.append(right[half:].float().mean().item())
            if not finite:
                break
    return Course(looks, chosen, measured, seconds, finite)


@torch.no_grad()
def correct(model: Classifier, images: torch.Tensor, labels: torch.Tensor, part: int = 1000) -> torch.Tensor:
    """Which images are classified rightly with running statistics: (n,) bool."""
    model.eval()
    return torch.cat([model(x).argmax(1) == y for x, y in zip(images.split(part), labels.split(part), strict=True)])


def rates_of(settings: BatchNormStudy) -> list[float]:
    """The learning rates of a study, rising by a like factor."""
    least, greatest = settings.rates
    count = settings.rate_count
    return [float(f"{least * (greatest / least) ** (k / (count - 1)):.3g}") for k in range(count)]
