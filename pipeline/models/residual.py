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
WINDOW = 8  # places a side that attend to one another


class UNet(nn.Module):
    """Convolutions at several scales, attention at the coarsest: (b, inputs, h, w) → (b, outputs, h, w), zero at first.

    Scale k has `widths[k]` channels at 1/2^k of the size; on the way down and up again it has `blocks[k]` residual
    blocks. The last scale has `middle` blocks, each followed by attention. Skips are added. Any h and w will do: edges
    are repeated up to a multiple of what a window of attention covers.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        widths: Sequence[int] = (32, 64, 128),
        blocks: Sequence[int] = (1, 2),
        middle: int = 2,
    ) -> None:
        super().__init__()
        if len(blocks) != len(widths) - 1:
            raise ValueError(f"blocks {list(blocks)}: one number for each of the widths {list(widths)} but the last")
        steps = list(pairwise(widths))
        self.first = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down = nn.ModuleList(gated_blocks(width, n) for width, n in zip(widths[:-1], blocks, strict=True))
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = nn.Sequential(
            *(layer for _ in range(middle) for layer in (GatedBlock(widths[-1]), WindowAttention(widths[-1])))
        )
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.up = nn.ModuleList(gated_blocks(width, n) for width, n in zip(widths[:-1], blocks, strict=True))
        self.last = nn.Conv2d(widths[0], outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.multiple = WINDOW * 2 ** len(steps)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        h, w = images.shape[2:]
        padded = F.pad(images, (0, -w % self.multiple, 0, -h % self.multiple), mode="replicate")
        features = self.first(padded)
        skips = []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            features = blocks(features)
            skips.append(features)
            features = shrink(features)
        features = self.middle(features)
        for blocks, grow, skip in reversed(list(zip(self.up, self.grow, skips, strict=True))):
            features = blocks(grow(features) + skip)
        output: torch.Tensor = self.last(F.relu6(features))
        return output[:, :, :h, :w]


class GatedBlock(nn.Module):
    """ReLU6, 3×3 convolution, product of its halves, 3×3 convolution, added to the input: near the identity at first.

    The product in place of a second ReLU is NAFNet's simple gate (Chen et al. 2022, arXiv 2204.04676, section 3.3).
    Where NAFNet normalizes, a bound on what goes in keeps products of products from growing block after block.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ValueError(f"a width of {width} can't be halved; give even widths")
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width // 2, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight *= 0.1

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        one, other = self.first(F.relu6(features)).chunk(2, dim=1)
        change: torch.Tensor = self.second(one * other)
        return features + change


def gated_blocks(width: int, count: int) -> nn.Sequential:
    """That many blocks, one after the other."""
    return nn.Sequential(*(GatedBlock(width) for _ in range(count)))


class WindowAttention(nn.Module):
    """Self-attention among the places of a window, added to the input, at first nothing: (b, width, h, w) → the same.

    Windows of 8×8 places without overlap, as in Swin (Liu et al. 2021, arXiv 2103.14030, section 3.2): on 32×32 images,
    seen at a quarter of their size, a window is the whole image, and on larger ones no more places compete than in
    training. What alike parts of an image have in common is told from noise, as in non-local means. h and w must be
    multiples of 8.
    """

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a coarsest width of {width} can't be divided among {heads} heads of attention")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        b, c, h, w = features.shape
        rows, columns = h // WINDOW, w // WINDOW
        normed = self.norm(features.permute(0, 2, 3, 1)).view(b, rows, WINDOW, columns, WINDOW, c)
        windows = exchanged(normed).view(-1, WINDOW**2, c)
        projected = self.queries_keys_values(windows).unflatten(2, (3, self.heads, -1))
        queries, keys, values = projected.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = attention(queries, keys, values).transpose(1, 2).flatten(2)
        change = exchanged(self.out(mixed).view(b, rows, columns, WINDOW, WINDOW, c)).view(b, h, w, c)
        return features + change.permute(0, 3, 1, 2)


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Scaled dot-product attention: three times (b, heads, places, channels) → the same.

    By matrix products: with the fused kernel of PyTorch 2.13 a whole training step takes 1.3 times as long on a CPU in
    bfloat16 (benchmarks/step.py), and for so few places it saves no memory worth having.
    """
    alike = (queries * queries.shape[-1] ** -0.5) @ keys.mT
    mixed: torch.Tensor = alike.softmax(dim=-1) @ values
    return mixed


def exchanged(grid: torch.Tensor) -> torch.Tensor:
    """Dimensions 2 and 3 exchanged. In memory of its own: an export can't choose by the size whether to copy."""
    return grid.transpose(2, 3).clone(memory_format=torch.contiguous_format)


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
