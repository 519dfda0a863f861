"""Noise has the variance it was asked for, and that of evaluation is the same for everyone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.metrics.image import psnr
from pipeline.training.noise import add_noise, fixed_noise


@given(variance=st.floats(1e-3, 1.0), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=25)
def test_noise_has_the_variance_it_was_asked_for(variance: float, seed: int) -> None:
    images = torch.full((64, 1, 28, 28), 0.5)
    noise = add_noise(images, variance, False, torch.Generator().manual_seed(seed)) - images
    # 50,176 draws: the sample variance has a relative error of sqrt(2/n) = 0.6 %, the mean one of 0.4 % of σ.
    assert noise.var().item() / variance == pytest.approx(1, abs=0.04)
    assert noise.mean().item() / variance**0.5 == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("variance", [0.01, 0.05, 0.1])
def test_evaluation_noise_gives_the_analytic_psnr(variance: float) -> None:
    clean = torch.full((200, 3, 32, 32), 0.5)
    noisy = fixed_noise(clean, range(200), variance, False, "digest")
    assert psnr(noisy, clean).mean().item() == pytest.approx(-10 * np.log10(variance), abs=0.03)


def test_evaluation_noise_does_not_depend_on_the_batch() -> None:
    clean = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = fixed_noise(clean, range(8), 0.05, False, "digest")
    parts = [fixed_noise(clean[i : i + 1], [i], 0.05, False, "digest") for i in range(8)]
    assert torch.equal(whole, torch.cat(parts))


def test_evaluation_noise_differs_between_images_variances_and_datasets() -> None:
    clean = torch.zeros(2, 1, 16, 16)
    noisy = fixed_noise(clean, [0, 1], 0.05, False, "digest")
    assert not torch.equal(noisy[0], noisy[1])
    assert not torch.equal(noisy / 0.05**0.5, fixed_noise(clean, [0, 1], 0.1, False, "digest") / 0.1**0.5)
    assert not torch.equal(noisy, fixed_noise(clean, [0, 1], 0.05, False, "another"))


def test_clipped_noise_stays_between_0_and_1() -> None:
    clean = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    free = fixed_noise(clean, range(4), 0.1, False, "digest")
    assert free.min() < 0
    assert free.max() > 1
    assert torch.equal(fixed_noise(clean, range(4), 0.1, True, "digest"), free.clamp(0, 1))
