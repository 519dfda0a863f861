"""One trained model: all that was chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import Augmentation, DenoisingTraining, Training


def variance_text(variance: float) -> str:
    """A variance as names, keys and files write it: short, exact, and without a plus sign, which MLflow refuses."""
    return f"{variance:.15g}".replace("e+", "e")


EXACT = 2.0**53
"""From there on not every whole number is a float."""


def as_numbers(value: Any) -> Any:
    """A setting, or a table of them, with floats that are whole as integers: 3.0 and 3 are the same trial."""
    if isinstance(value, Mapping):
        return {name: as_numbers(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_numbers(one) for one in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < EXACT
    return int(value) if whole else value


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trained model: everything chosen that can change its numbers, and nothing else.

    What the machine brings (device, the precision that `auto` means there, versions) is recorded with the run.
    """

    dataset: str
    """Name of a prepared store."""
    model: str
    settings: dict[str, Any]
    seed: int
    validation: float

    @property
    def name(self) -> str:
        """What people call it. Never parsed."""
        return f"{self.model} · seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class ClassificationTrial(Trial):
    """One digit classifier."""

    training: Training
    label_smoothing: float
    augmentation: Augmentation


@dataclass(frozen=True, kw_only=True)
class StudyTrial(Trial):
    """One seed of one experiment of a study; `model` is the experiment's name and `settings` what it is told."""

    study: str

    @property
    def name(self) -> str:
        return f"{self.study} · {self.model} · seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class DenoisingTrial(Trial):
    """One denoiser for one noise variance, or for all of a span."""

    training: DenoisingTraining
    variance: float
    """What it is measured at; of one for a span, its middle."""
    span: tuple[float, float] | None
    """Least and greatest variance it is trained over; None: `variance` alone."""
    clip: bool

    @property
    def name(self) -> str:
        ends = [self.variance] if self.span is None else self.span
        return f"{self.model} · σ²={'–'.join(map(variance_text, ends))} · seed {self.seed}"
