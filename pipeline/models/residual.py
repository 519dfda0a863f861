"""A residual U-Net around the estimate that needs no network: for one noise variance, or for any."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipeline.models.noise_level import immerkaer

DATA_STD = 0.25  # of pixels from 0 to 1 around 1/2, on CIFAR-10 (0.2512)


class UNet(nn.Module):
    """Convolutions at several scales: (b, inputs, h, w) → (b, outputs, h, w), zero at the start.

    Scale k has `widths[k]` channels at 1/2^k of the size; on the way down and up again it has `blocks[k]` residual
    blocks, the last `middle` of them. Skips are added. Any h and w will do: sides are mirrored up to a multiple.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 1),
        middle: int = 2,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths) - 1:
            raise ValueError(f"blocks {list(blocks)}: one number for each of the widths {list(widths)} but the last")
        steps = list(pairwise(widths))
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(residual_blocks(width, n) for width, n in zip(widths[:-1], blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = residual_blocks(widths[-1], middle)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(residual_blocks(width, n) for width, n in zip(widths[:-1], blocks, strict=True))
        self.last = nn.Conv2d(widths[0], outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.multiple = 2 ** len(steps)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        h, w = images.shape[2:]
        right, below = -w % self.multiple, -h % self.multiple
        features = self.first(F.pad(images, (0, right, 0, below), mode="reflect") if right or below else images)
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.middle(features)
        for blocks, grow, skip in reversed(list(zip(self.up, self.grow, skips, strict=True))):
            features = blocks(grow(features) + skip)
        output: torch.Tensor = self.last(torch.relu(features))
        return output[:, :, :h, :w] if right or below else output


class ResidualBlock(nn.Module):
    """ReLU, 3×3 convolution, ReLU, 3×3 convolution, added to the input: near the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.second(torch.relu(self.first(torch.relu(features))))
        return features + change


def residual_blocks(width: int, count: int) -> nn.Sequential:
    """That many blocks, one after the other."""
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))


def preconditioned(noisy: torch.Tensor, variance: torch.Tensor, inner: nn.Module, *maps: torch.Tensor) -> torch.Tensor:
    """The pointwise linear estimate of the clean image plus what a network adds to it; variance (b, 1, 1, 1) or ().

    `c_skip·z + c_out·inner(c_in·z)` with z = noisy − 1/2: Karras et al. 2022 (arXiv 2206.00364), table 1. The inner
    network's input and target have unit variance whatever the noise is. `maps` (b, 1, h, w) are further inputs.
    """
    total = variance + DATA_STD**2
    centred = noisy - 0.5
    inputs = torch.cat([centred / total.sqrt(), *maps], dim=1) if maps else centred / total.sqrt()
    output: torch.Tensor = inner(inputs).to(noisy.dtype)
    return 0.5 + DATA_STD**2 / total * centred + (variance.sqrt() * DATA_STD / total.sqrt()) * output


class ResidualDenoiser(nn.Module):
    """Preconditioned residual U-Net for noise of one variance: (b, channels, h, w) → the same.

    Its settings are those of `UNet`.
    """

    variance: torch.Tensor

    def __init__(self, channels: int = 3, variance: float = 0.05, **settings: Any) -> None:
        super().__init__()
        self.unet = UNet(channels, channels, **settings)
        self.register_buffer("variance", torch.tensor(variance))

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        return preconditioned(noisy, self.variance, self.unet)


class ConditionalDenoiser(nn.Module):
    """The same network for noise of any variance, which it is told as a constant map of ln σ; blind if not told.

    Takes noisy (b, channels, h, w) images and their variances (b,), or estimates these from the images.
    """

    def __init__(self, channels: int = 3, variance: float = 0.05, **settings: Any) -> None:
        super().__init__()
        self.unet = UNet(channels + 1, channels, **settings)

    def forward(self, noisy: torch.Tensor, variance: torch.Tensor | None = None) -> torch.Tensor:
        known = immerkaer(noisy) if variance is None else variance
        column = known.view(-1, 1, 1, 1)
        level = (0.5 * column.log() + 1.5).expand(-1, 1, *noisy.shape[2:])  # about from −1.5 to 1
        return preconditioned(noisy, column, self.unet, level)
