"""Denoisers that are not trained: what a trained one has to beat."""

from __future__ import annotations

import torch
from torch import nn


class NoisyInput(nn.Module):
    """Hands back the noisy image as it is: the floor of every comparison."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        return noisy
