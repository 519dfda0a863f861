"""A generator and a discriminator of digits, and their like for points in the plane.

Neither has normalization or dropout: in batches of real and generated images these would let one image's logit depend
on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class Generator(nn.Module):
    """Noise (b, latent) → images (b, *shape) from 0 to 1."""

    def __init__(self, shape: Sequence[int] = (1, 28, 28), latent: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.latent = latent
        pixels = torch.Size(shape).numel()
        self.layers = nn.Sequential(*perceptron(latent, hidden, pixels), nn.Sigmoid(), nn.Unflatten(1, tuple(shape)))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.layers(noise)
        return images


class Discriminator(nn.Module):
    """Images (b, *shape) → logits (b,) of being real."""

    def __init__(self, shape: Sequence[int] = (1, 28, 28), hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), *perceptron(torch.Size(shape).numel(), hidden, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images).squeeze(1)
        return logits


def perceptron(inputs: int, hidden: int, outputs: int) -> list[nn.Module]:
    """Three linear layers with leaky ReLUs between them."""
    return [
        nn.Linear(inputs, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(0.2),
        nn.Linear(hidden, outputs),
    ]


class PointGenerator(nn.Module):
    """Noise (b, latent) → points (b, 2)."""

    def __init__(self, latent: int = 8, hidden: int = 64) -> None:
        super().__init__()
        self.latent = latent
        self.layers = nn.Sequential(*perceptron(latent, hidden, 2))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        points: torch.Tensor = self.layers(noise)
        return points


class ShiftedLine(nn.Module):
    """Noise (b, 1) → points (b, 2) on the line x = `shift`, which alone is trained."""

    latent = 1

    def __init__(self, shift: float = 1.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.shift.expand(len(noise), 1), noise], dim=1)


class ScaledNormal(nn.Module):
    """Noise (b, 1) → numbers (b, 1) with a mean and a standard deviation that are trained."""

    latent = 1

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.std = nn.Parameter(torch.tensor(std))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.mean + self.std * noise


class QuadraticDiscriminator(nn.Module):
    """Numbers (b, 1) → logits (b,), at first 0: the form of the best discriminator of two normal distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(3))

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        x = numbers.squeeze(1)
        constant, slope, curvature = self.coefficients
        logits: torch.Tensor = constant + slope * x + curvature * x.square()
        return logits
