"""How one network is trained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal, get_type_hints

from pipeline.config.checks import require_positive
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one network is trained."""

    epochs: float = 3
    """Passes over the training images; 0.5 is half a pass."""

    steps: int | None = None
    """Steps of the optimizer, instead of epochs."""

    seconds: float | None = None
    """Seconds of training, instead of epochs: they become a number of steps once, by a measurement at the start."""

    batch_size: int = 128
    """Images a step."""

    optimizer: Literal["adamw", "sgd", "muon"] = "adamw"
    """muon: Muon for the weights of the inner layers and AdamW for the rest."""

    learning_rate: float = 0.003
    """Peak of the one-cycle schedule."""

    muon_learning_rate: float = 0.02
    """The same for what Muon trains."""

    beta2: float = 0.999
    """AdamW's decay of squared gradients; less for short trainings."""

    weight_decay: float = 0.01
    """Decoupled with AdamW and Muon."""

    warmup: float = 0.3
    """Share of the steps in which the learning rate rises."""

    anneal: Literal["cosine", "linear"] = "cosine"
    """How it falls after."""

    clip_norm: float | None = None
    """Limit of the gradient's norm."""

    ema: float | None = None
    """Decay a step of an exponential moving average of the weights, which is what is evaluated and kept."""

    compile: bool = False
    """Compile the network with torch.compile, before the time of training begins. Needs a C++ compiler."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic inside the network; auto: bfloat16 where the hardware has it natively, else float32."""

    def __post_init__(self) -> None:
        require_positive("training.epochs", [self.epochs])
        require_positive("training.batch_size", [self.batch_size])
        require_positive("training.learning_rate", [self.learning_rate])
        require_positive("training.muon_learning_rate", [self.muon_learning_rate])
        for name, given in {"steps": self.steps, "seconds": self.seconds, "clip_norm": self.clip_norm}.items():
            if given is not None:
                require_positive(f"training.{name}", [given])
        if self.steps is not None and self.seconds is not None:
            raise UserError("training.steps and training.seconds are two budgets; give one of them")
        for name, share in {"warmup": self.warmup, "beta2": self.beta2, "ema": self.ema}.items():
            if share is not None and not 0 < share < 1:
                raise UserError(f"training.{name} is {share:g}; give a number between 0 and 1")
        if not 0 <= self.weight_decay < math.inf:
            raise UserError(f"training.weight_decay is {self.weight_decay:g}; give 0 or more")


@dataclass(frozen=True, kw_only=True)
class DenoisingTraining(Training):
    """How one denoiser is trained."""

    loss: Literal["mse", "log"] = "mse"
    """mse: the squared error; log: its logarithm, image by image, which is what PSNR measures."""


TRAINING_TYPES = get_type_hints(DenoisingTraining)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images, each drawn evenly from minus to plus its limit; 0: none."""

    rotation: float = 0
    """Degrees."""

    scale: float = 0
    """Share of the size, drawn for height and width apart."""

    shift: float = 0
    """Pixels, drawn for both directions apart."""

    shear: float = 0
    """Pixels of sideways shift a pixel of height."""

    perspective: float = 0
    """Share of the size that is gained or lost from the middle to an edge, drawn for both directions apart."""

    contrast: float = 0
    """Share by which all pixels of an image become brighter, beyond 1 too, or darker."""

    def __post_init__(self) -> None:
        for name, limit in asdict(self).items():
            if not 0 <= limit < math.inf:
                raise UserError(f"augmentation.{name} is {limit:g}; give 0 or more")
        # From there on an image would be turned over, seen from behind, or negative.
        for name, most in {"scale": 1, "perspective": 0.5, "contrast": 1}.items():
            limit = getattr(self, name)
            if limit >= most:
                raise UserError(f"augmentation.{name} is {limit:g}; give a share below {most}, such as 0.1")
