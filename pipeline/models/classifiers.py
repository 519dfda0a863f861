"""Networks that name what is in an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class ConvNet(nn.Module):
    """A small convolutional network: two stages of two 3×3 convolutions, batch normalization and ReLU.

    Takes standardised (b, channels, h, w) images, h and w at least 4; returns logits (b, classes). Each stage ends in
    2×2 max pooling, the last one in the maximum over all positions, so any image size will do. Stage k has
    `width·2^k` channels.
    """

    def __init__(self, channels: int = 1, classes: int = 10, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *conv_block(channels, width),
            *conv_block(width, width),
            nn.MaxPool2d(2),
            *conv_block(width, 2 * width),
            *conv_block(2 * width, 2 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def conv_block(inputs: int, outputs: int) -> list[nn.Module]:
    """3×3 convolution, batch normalization, ReLU. The normalization's shift makes the convolution's bias redundant."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class Standardize(nn.Module):
    """Images in [0, 1] to zero mean and unit variance a channel: (b, c, h, w) → the same.

    Part of the trained model, so that whoever loads it gives plain images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std
