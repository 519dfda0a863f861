"""How noisy an image is, from the image alone."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

LEAST_STD = 1 / 255 / 12**0.5  # that of rounding to 8 bits


def immerkaer(noisy: torch.Tensor) -> torch.Tensor:
    """Variance of white Gaussian noise in each image: (b, c, h, w) in any scale → (b,), in its square.

    Immerkær 1996, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2): the mean magnitude
    of the difference of two Laplacians, which is zero on what is straight, averaged over channels. Never below what
    rounding to 8 bits leaves.
    """
    mask = torch.tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]], device=noisy.device)
    b, c, h, w = noisy.shape
    response = F.conv2d(noisy.float().reshape(b * c, 1, h, w), mask.view(1, 1, 3, 3))
    std = math.sqrt(math.pi / 2) / 6 * response.abs().mean(dim=(1, 2, 3)).view(b, c).mean(dim=1)
    return std.clamp(min=LEAST_STD).square()
