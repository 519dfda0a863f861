"""Sizes of the experiments behind the written answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pipeline.config.checks import require_distinct, require_positive, require_seeds
from pipeline.errors import UserError

LEAST_DRAWS = 100
"""Of which the outermost 5 % tell how heavy the tails are."""
LEAST_STEPS = 22
"""Half of them are probed, with a look every ten: two looks, between which layers drift."""
GROUPS = 4
"""Of channels, in group normalization: those of `models.normalized`, which would bring torch."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Experiments behind a written answer: each is repeated with every seed."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)

    images: int = 20_000
    """Training images that are used, at most."""


@dataclass(frozen=True, kw_only=True)
class GanStudy(Study):
    """Why a generator ascends log D(G(z)): sizes of the experiments."""

    hidden: int = 128
    """Width of both networks."""

    batch_size: int = 64

    learning_rate: float = 0.001
    """Of Adam, for the discriminator always and for generators that Adam trains."""

    warm_steps: int = 200
    """Training of the generator whose gradients are probed."""

    probe_steps: int = 3000
    """Training of the fresh discriminator that it is probed with."""

    draws: int = 2000
    """Discriminators disturbed by chance, to see how heavy the gradient's tails are."""

    steps: int = 600
    """Generator steps of every training."""

    head_start: int = 1000
    """Steps of the discriminator before the generator's first, where it has a head start."""

    looks: int = 8
    """Times that a training is looked at on the way."""

    judge_steps: int = 400
    """Training of the digit classifier that judges generated images."""

    samples: int = 10_000
    """Generated images for the last score."""

    toy_steps: int = 800
    """Generator steps on points in the plane."""

    def __post_init__(self) -> None:
        require_seeds("gan.seeds", self.seeds)
        counts = asdict(self)
        del counts["seeds"]
        for name, count in counts.items():
            require_positive(f"gan.{name}", [count])
        if self.head_start < 10:
            raise UserError(f"gan.head_start is {self.head_start}; give 10 or more: a tenth of it is tried as well")
        if self.samples < 2:
            raise UserError("gan.samples is 1; give 2 or more: of a single image there is no spread to compare")
        if self.draws < LEAST_DRAWS:
            raise UserError(f"gan.draws is {self.draws}; give {LEAST_DRAWS} or more, or tails can't be measured")


@dataclass(frozen=True, kw_only=True)
class BatchNormStudy(Study):
    """Whether batch normalization speeds up learning: sizes of the experiments."""

    batch_size: int = 64

    steps: int = 160
    """Steps of a training at each learning rate."""

    every: int = 10
    """Steps between looks at the accuracy."""

    rates: tuple[float, float] = (0.001, 10.0)
    """Least and greatest learning rate."""

    rate_count: int = 8
    """Learning rates, each a like factor apart."""

    width: int = 12
    """Channels of the convolutional networks."""

    depth: int = 8
    """Convolutions of the deep ones."""

    batch_images: int = 2400
    """Images that a training sees when batch sizes are compared."""

    depths: tuple[int, ...] = (5, 10, 20, 40, 80)
    """Layers of the networks whose gradients are looked at before training."""

    def __post_init__(self) -> None:
        require_seeds("batch_norm.seeds", self.seeds)
        sizes = ("images", "batch_size", "steps", "every", "rate_count", "width", "depth", "batch_images")
        for name in sizes:
            require_positive(f"batch_norm.{name}", [getattr(self, name)])
        require_positive("batch_norm.rates", self.rates)
        require_positive("batch_norm.depths", self.depths)
        require_distinct("batch_norm.depths", self.depths)
        if self.steps < LEAST_STEPS:
            raise UserError(
                f"batch_norm.steps is {self.steps}; give {LEAST_STEPS} or more, or change can't be measured"
            )
        if self.width % GROUPS:
            raise UserError(f"batch_norm.width is {self.width}; give a multiple of {GROUPS}, for group normalization")
        if self.batch_size < 2:
            raise UserError(f"batch_norm.batch_size is {self.batch_size}; give 2 or more: one image has no variance")
        if self.depth < 2:
            raise UserError(f"batch_norm.depth is {self.depth}; give 2 or more: layers are moved under others")
        if len(self.depths) < 2:
            raise UserError("batch_norm.depths: give two or more, such as [5, 10]: growth a layer is a slope over them")
        if self.rates[0] >= self.rates[1] or self.rate_count < 2:
            raise UserError("batch_norm.rates: give the smaller rate first, and batch_norm.rate_count of 2 or more")
