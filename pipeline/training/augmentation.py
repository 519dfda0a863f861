"""Random changes of whole batches on the device."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from pipeline.config import Augmentation


def augmented(images: torch.Tensor, limits: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Each image changed by chance: its geometry in one bilinear resampling, then its contrast; what comes in is black.

    Takes and returns (b, c, h, w) float images; with `contrast`, brighter than 1 in places.
    """

    def drawn(*shape: int) -> torch.Tensor:
        return torch.rand(len(images), *shape, generator=generator, device=images.device) * 2 - 1

    angle = drawn() * math.radians(limits.rotation)
    scale = 1 + drawn(2) * limits.scale
    # affine_grid measures in half sizes of the image, from −1 to 1.
    shift = drawn(2) * limits.shift * 2 / torch.tensor(images.shape[:1:-1], device=images.device)
    shear = drawn() * limits.shear
    cosine, sine = angle.cos(), angle.sin()
    rows = [
        torch.stack([cosine * scale[:, 0], shear - sine * scale[:, 1], shift[:, 0]], dim=1),
        torch.stack([sine * scale[:, 0], cosine * scale[:, 1], shift[:, 1]], dim=1),
    ]
    # In bfloat16 the places to sample at would be rounded, and even the identity would blur.
    with torch.autocast(images.device.type, enabled=False):
        moves = torch.stack(rows, dim=1)
        grid = F.affine_grid(moves, list(images.shape), align_corners=False)
        # Of the places in the image that is made, never further out than 1: so no depth is 0 or less.
        places = F.affine_grid(torch.eye(2, 3).to(moves)[None], [1, *images.shape[1:]], align_corners=False)
        depth = 1 + (places * drawn(1, 1, 2) * limits.perspective).sum(dim=-1, keepdim=True)
        resampled = F.grid_sample(images, grid / depth, align_corners=False)
    return resampled * (1 + drawn(1, 1, 1) * limits.contrast)
