"""Quality of images against their clean originals, a batch at a time on the device.

Both agree with scikit-image, which the tests hold them to.
"""

from __future__ import annotations

import torch
from torch.nn.functional import mse_loss

from pipeline.metrics import SSIM_SIDE

SSIM_RADIUS = SSIM_SIDE // 2
SSIM_SIGMA = 1.5


def psnr(images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio of each image in dB, `10·log10(1 / mean squared error)`.

    (b, c, h, w) in [0, 1] → (b,).

    Infinite for equal images. The project reports the mean over images of this figure, not that of the pooled error.
    """
    # Not (images - clean).square(): that would go through memory once more.
    error = mse_loss(images.float(), clean.float(), reduction="none").mean(dim=(1, 2, 3))
    return -10 * torch.log10(error)


def ssim(images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each image, at most 1: (b, c, h, w) in [0, 1] → (b,); h and w at least 11.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", IEEE Transactions on Image Processing 13(4), 2004,
    §III-B: Gaussian window 11×11 of σ=1.5, K1=0.01, K2=0.03, averaged over the window positions inside the image and
    over channels. The same as scikit-image's with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`.
    """
    c1, c2 = 0.01**2, 0.03**2
    x, y = images.float(), clean.float()
    mean_x, mean_y = windowed_mean(x), windowed_mean(y)
    var_x = windowed_mean(x * x) - mean_x**2
    var_y = windowed_mean(y * y) - mean_y**2
    covariance = windowed_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    contrast_structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return (luminance * contrast_structure).mean(dim=(1, 2, 3))


def windowed_mean(images: torch.Tensor) -> torch.Tensor:
    """Gaussian-weighted mean around every position whose window lies inside: (b, c, h, w) → (b, c, h−10, w−10)."""
    rows, columns = (sliding_window(size, images) for size in images.shape[2:])
    return rows @ images @ columns.T


def sliding_window(size: int, like: torch.Tensor) -> torch.Tensor:
    """The window's weights at each of its positions along a side: (size − 10, size).

    On small images the product with this banded matrix takes a tenth of the time of a convolution of one channel.
    """
    offsets = torch.arange(-SSIM_RADIUS, SSIM_RADIUS + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    positions = size - 2 * SSIM_RADIUS
    band = torch.zeros(positions, size + 1, dtype=like.dtype, device=like.device)
    band[:, : len(weights)] = weights / weights.sum()
    # Read with rows one shorter than they are, each row moves one place further.
    return band.flatten()[: positions * size].view(positions, size)
