"""What is fitted at once instead of being trained step by step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from torch import nn


class Fitted(nn.Module, ABC):
    """A denoiser that is fitted once to pairs of images instead of being trained."""

    part: ClassVar[Literal["train", "validation"]]
    """The images it is fitted to."""
    images: ClassVar[int]
    """How many of them, if they are of 32×32 pixels; of larger ones fewer, with as many pixels, but at least eight."""

    @abstractmethod
    def fit(self, noisy: torch.Tensor, clean: torch.Tensor) -> dict[str, float]:
        """Find what there is to find from pairs (n, c, h, w); returns the figures worth noting."""
