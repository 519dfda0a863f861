"""Images of any size through a network, in tiles whose seams can't be seen.

A tile is computed with a margin on each side, which is thrown away: as long as the network looks no further than the
margin, each pixel is what it would be without tiles. Tiles begin at multiples of a power of 2, so a network that works
at several scales, and in windows of the coarsest, puts its grid over a tile as over the whole image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

TILE = 768
MARGIN = 96
"""Further than the networks here look, as the project's experiments set them (the U-Net: two windows and 19 pixels)."""
MULTIPLE = 32
"""Sides are mirrored up to a multiple: networks that halve them need that, and the U-Net's windows cover as much."""


def tiled(
    network: Callable[[torch.Tensor], torch.Tensor], noisy: torch.Tensor, tile: int = TILE, margin: int = MARGIN
) -> torch.Tensor:
    """What a network (b, c, h, w) → (b, c, h, w) makes of an image (c, h, w) of any size.

    `tile` and `margin` are in pixels and multiples of `MULTIPLE`; they bound what the network needs of memory.
    """
    h, w = noisy.shape[1:]
    padded = mirrored(noisy)
    result = torch.empty_like(padded)
    for top in range(0, padded.shape[1], tile):
        for left in range(0, padded.shape[2], tile):
            y, x = max(0, top - margin), max(0, left - margin)
            around = padded[:, y : top + tile + margin, x : left + tile + margin]
            inner = network(around[None])[0, :, top - y :, left - x :]
            result[:, top : top + tile, left : left + tile] = inner[:, :tile, :tile]
    return result[:, :h, :w]


def mirrored(image: torch.Tensor) -> torch.Tensor:
    """(c, h, w) with h and w brought to multiples by mirroring at the right and below; even a single pixel will do."""
    h, w = image.shape[1:]
    # numpy mirrors as often as needed, torch only once.
    padded = np.pad(image.cpu().numpy(), ((0, 0), (0, -h % MULTIPLE), (0, -w % MULTIPLE)), mode="reflect")
    return torch.from_numpy(padded).to(image.device)
