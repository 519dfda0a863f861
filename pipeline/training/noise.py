"""Zero-mean Gaussian noise of a given variance, pixels running from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from pipeline.training.randomness import seed_of


def add_noise(
    clean: torch.Tensor, variance: float | torch.Tensor, clip: bool, generator: torch.Generator
) -> torch.Tensor:
    """`clean + sqrt(variance)·normal`, fresh from the generator; with `clip`, limited to [0, 1] afterwards.

    A tensor (b, 1, 1, 1) gives each image a variance of its own.
    """
    normal = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    return corrupt(clean, normal, variance, clip)


def fixed_noise(
    clean: torch.Tensor, indices: Iterable[int], variance: float, clip: bool, dataset_digest: str
) -> torch.Tensor:
    """Noise of evaluation: decided by (dataset, variance, index of the image) and by nothing else.

    So every model, device, engine and batch size sees the very same noisy images. `clean` is (b, c, h, w) in [0, 1].
    The numbers come from numpy's Philox counter generator, whose bits are the same on every platform.
    """
    key = seed_of("evaluation noise", dataset_digest, variance)
    normal = np.stack(
        [
            np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index])).standard_normal(
                clean.shape[1:], dtype=np.float32
            )
            for index in indices
        ]
    )
    return corrupt(clean, torch.from_numpy(normal).to(clean.device), variance, clip)


def corrupt(clean: torch.Tensor, normal: torch.Tensor, variance: float | torch.Tensor, clip: bool) -> torch.Tensor:
    """Scale unit noise to the variance and add it."""
    noisy: torch.Tensor = clean + variance**0.5 * normal
    return noisy.clamp(0, 1) if clip else noisy
