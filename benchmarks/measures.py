"""PSNR and SSIM of 1,000 images in one go, beside scikit-image's functions in a loop.

    .venv/bin/python -m benchmarks.measures

Images are those of the bundled photographs, repeated to 1,000, with noise; both sides compute the same figures, whose
largest difference is printed.
"""

from __future__ import annotations

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks.machine import machine, ratio, seconds_of, spread
from pipeline.data.demo import read_patches
from pipeline.metrics.image import psnr, ssim

COUNT, REPEATS = 1000, 7
WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}


def main() -> None:
    """Print seconds of both, the ratio, and how far the figures are apart."""
    print(machine("torch", "scikit-image"), "\n")
    tiles = read_patches()[0]["train"].images
    clean = torch.from_numpy(np.resize(tiles, (COUNT, *tiles.shape[1:]))).float() / 255
    noisy = (clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    pairs = [(c.numpy(), n.numpy()) for c, n in zip(clean, noisy, strict=True)]
    ways = {
        "PSNR": (
            lambda: psnr(noisy, clean).numpy(),
            lambda: np.array([peak_signal_noise_ratio(c, n, data_range=1) for c, n in pairs]),
        ),
        "SSIM": (
            lambda: ssim(noisy, clean).numpy(),
            lambda: np.array([structural_similarity(c, n, **WANG) for c, n in pairs]),
        ),
    }
    for name, (ours, theirs) in ways.items():
        apart = np.abs(ours() - theirs()).max()
        found = seconds_of({"ours": ours, "loop": theirs, "reading": lambda: clean.sum() + noisy.sum()}, REPEATS)
        print(f"{name}: {spread(found['ours'], 'ms', 1000)}, scikit-image's loop {spread(found['loop'], 'ms', 1000)}:")
        times, reading = ratio(found["loop"], found["ours"]), spread(found["reading"], "ms", 1000)
        print(f"  {times:.1f}×; apart by {apart:.1g}; reading the images alone: {reading}")


if __name__ == "__main__":
    main()
