"""Quality of images against their clean originals, a batch at a time on the device.

Both agree with scikit-image, which the tests hold them to.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from pipeline.metrics import SSIM_SIDE

SSIM_RADIUS = SSIM_SIDE // 2
SSIM_SIGMA = 1.5
AT_ONCE = 125 * 3 * 32 * 32
"""Values of which all that is computed on the way stays in a CPU's caches: images are read from memory once."""

ADDED_AT_ONCE = 2**16
"""Values of an image whose squares are added in one go."""
LARGE_SIDE = 256
"""Pixels a side from which convolutions are faster than products with matrices, whose size grows with the side."""


def images_at_once(images: torch.Tensor) -> int:
    """How many images of this shape make a part."""
    return max(1, AT_ONCE // images.shape[1:].numel())


def by_parts(
    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], images: torch.Tensor, clean: torch.Tensor
) -> torch.Tensor:
    """What a measure says of each image, in float32: (b, c, h, w) twice → (b,)."""
    size = images_at_once(images)
    parts = zip(images.split(size), clean.split(size), strict=True)
    return torch.cat([measure(some.float(), others.float()) for some, others in parts])


def psnr(images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each image in dB, `10·log10(1 / mean squared error)`.

    (b, c, h, w) in [0, 1] → (b,).

    Infinite for equal images. Not for inputs that need a gradient. The project reports the mean over images of this
    figure, not that of the pooled error.
    """
    values = images.shape[1:].numel()
    # One room for the differences of every part: memory that is new costs more than the arithmetic.
    room = torch.empty_like(images[: images_at_once(images)], dtype=torch.float32)

    # float32 loses what it adds to a sum of millions: those of a photograph are added row by row.
    together: list[tuple[int, ...]] = [(1, 2, 3)] if values <= ADDED_AT_ONCE else [(3,), (2,), (1,)]

    def distance(some: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        found = torch.sub(some, others, out=room[: len(some)])
        for dimensions in together:
            found = torch.linalg.vector_norm(found, dim=dimensions)
        return found

    return -20 * torch.log10(by_parts(distance, images, clean) / values**0.5)


def ssim(images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each image, at most 1: (b, c, h, w) in [0, 1] → (b,); h and w at least 11.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", IEEE Transactions on Image Processing 13(4), 2004,
    §III-B: Gaussian window 11×11 of σ=1.5, K1=0.01, K2=0.03, averaged over the window positions inside the image and
    over channels. The same as scikit-image's with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    """
    return by_parts(structural_similarity, images, clean)


def structural_similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """As `ssim`, of float32 and all at once."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = windowed_mean(x), windowed_mean(y)
    var_x = windowed_mean(x * x) - mean_x**2
    var_y = windowed_mean(y * y) - mean_y**2
    covariance = windowed_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast_structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * contrast_structure).mean(dim=(1, 2, 3))


def windowed_mean(images: torch.Tensor) -> torch.Tensor:
    """Gaussian-weighted mean around every position whose window lies inside: (b, c, h, w) → (b, c, h−10, w−10)."""
    weights = window(images)
    if max(images.shape[2:]) > LARGE_SIDE:
        planes = images.flatten(0, 1).unsqueeze(1)
        means = F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))
        return means.view(*images.shape[:2], *means.shape[2:])
    rows, columns = (sliding_window(size, weights) for size in images.shape[2:])
    return rows @ images @ columns.T


def window(like: torch.Tensor) -> torch.Tensor:
    """The Gaussian window along one side: (11,), with sum 1."""
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    return weights / weights.sum()


def sliding_window(size: int, weights: torch.Tensor) -> torch.Tensor:
    """The window's weights at each of its positions along a side: (size − 10, size).

    On small images the product with this banded matrix takes a tenth of the time of a convolution of one channel.
    """
    positions = size - 2 * SSIM_RADIUS
    band = weights.new_zeros(positions, size + 1)
    band[:, : len(weights)] = weights
    # Read with rows one shorter than they are, each row moves one place further.
    return band.flatten()[: positions * size].view(positions, size)
