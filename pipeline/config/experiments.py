"""Which classifiers and denoisers are trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.config.checks import (
    BUDGETS,
    hint,
    of_type,
    require_distinct,
    require_seeds,
    require_some,
    require_variances,
)
from pipeline.config.training import TRAINING_TYPES, Augmentation, DenoisingTraining, Training
from pipeline.errors import UserError

# Its standard deviation is a hundred times the rounding of float32 just below 1.
LEAST_VARIANCE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Classify:
    """A digit classifier, trained once a seed."""

    model: str = "cnn"
    """Name of a network in pipeline.models.CLASSIFIERS."""

    settings: dict[str, Any] = field(default_factory=dict)
    """The network's own keyword arguments."""

    seeds: tuple[int, ...] = (0,)
    """One trial a seed."""

    label_smoothing: float = 0.05
    """Share of the target spread evenly over all classes."""

    augmentation: Augmentation = Augmentation()

    training: Training = Training()

    def __post_init__(self) -> None:
        require_seeds("classify.seeds", self.seeds)
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"classify.label_smoothing is {self.label_smoothing}; give a share from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Denoisers, trained once a model, variance and seed."""

    models: tuple[str, ...] = ("autoencoder", "residual")
    """Names of networks in pipeline.models.DENOISERS."""

    baselines: tuple[str, ...] = ("noisy", "linear", "nlm", "wavelet", "tv")
    """What they are compared with, once a variance: any of these that need no training."""

    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Keyword arguments of the networks, by the network's name."""

    variances: tuple[float, ...] = (0.01, 0.05, 0.1)
    """Variances of the zero-mean Gaussian noise, pixels running from 0 to 1."""

    clip: bool = False
    """Clip noisy images to [0, 1], as a camera would. Then the noise is no longer Gaussian and looks weaker."""

    span: tuple[float, float] = (0.0025, 0.25)
    """Least and greatest variance that `conditional` networks, which serve any, are trained over."""

    seeds: tuple[int, ...] = (0,)
    """One trial a seed."""

    training: DenoisingTraining = DenoisingTraining(learning_rate=0.002)

    training_of: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Where the training of a network differs from `training`, by the network's name."""

    def __post_init__(self) -> None:
        require_some("sweep.variances", self.variances, 'VARS="0.01 0.05 0.1"')
        require_variances("sweep.variances", self.variances)
        require_distinct("sweep.variances", self.variances)
        if min(self.variances) < LEAST_VARIANCE:
            raise UserError(f"sweep.variances: noise of variance {min(self.variances):g} vanishes in float32 pixels")
        require_some("sweep.models", self.models, "MODEL=autoencoder")
        require_distinct("sweep.models", self.models)
        require_distinct("sweep.baselines", self.baselines)
        require_seeds("sweep.seeds", self.seeds)
        require_variances("sweep.span", self.span)
        if self.span[0] >= self.span[1]:
            raise UserError(f"sweep.span is {self.span[0]:g} to {self.span[1]:g}; give the smaller variance first")
        for model in self.training_of:
            self.training_for(model)

    def training_for(self, model: str) -> DenoisingTraining:
        """How a network is trained. Raises `UserError` for a setting that there is not, or that can't be so."""
        table = f"sweep.training_of.{model}"
        changes: dict[str, Any] = {}
        for name, value in self.training_of.get(model, {}).items():
            if name not in TRAINING_TYPES:
                raise UserError(f"{table}: there is no {name}; {hint(name, TRAINING_TYPES)}")
            changes[name] = of_type(f"{table}.{name}", value, TRAINING_TYPES[name])
        # A budget of the network's own takes the place of the common one, whatever that is counted in.
        budget = {"steps": None, "seconds": None} if changes.keys() & set(BUDGETS) else {}
        return replace(self.training, **budget | changes)
