"""Measures agree with the libraries that define them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pipeline.data.store import ImageStore
from pipeline.metrics import image
from pipeline.metrics.classification import (
    accuracy,
    accuracy_by_class,
    brier_score,
    calibration_error,
    confusion_matrix,
    ensemble_accuracy,
)
from pipeline.metrics.image import psnr, ssim
from pipeline.metrics.statistics import (
    Estimate,
    Spread,
    bootstrap_interval,
    estimate,
    hill_index,
    holm,
    least_sign_flip_p,
    sign_flip_p,
)


@pytest.fixture
def pair(patches: ImageStore) -> tuple[torch.Tensor, torch.Tensor]:
    """Sixty real patches and noisy versions of them, from hardly to heavily noisy."""
    clean = torch.from_numpy(patches.images[:60]).float() / 255
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean, (clean + torch.linspace(0.01, 0.5, 60).view(-1, 1, 1, 1) * noise).clamp(0, 1)


def test_psnr_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    clean, noisy = pair
    expected = [peak_signal_noise_ratio(c.numpy(), n.numpy(), data_range=1) for c, n in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(psnr(noisy, clean), expected, atol=1e-4)


def test_ssim_is_scikit_images_with_wangs_settings(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    clean, noisy = pair
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = [
        structural_similarity(c.numpy(), n.numpy(), channel_axis=0, **settings)
        for c, n in zip(clean, noisy, strict=True)
    ]
    np.testing.assert_allclose(ssim(noisy, clean), expected, atol=1e-4)


def test_a_batch_of_any_size_is_measured_image_by_image(
    pair: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, noisy = pair
    whole = psnr(noisy, clean), ssim(noisy, clean)
    monkeypatch.setattr(image, "AT_ONCE", 7 * clean[0].numel())
    for measure, expected in zip((psnr, ssim), whole, strict=True):
        torch.testing.assert_close(measure(noisy, clean), expected)
        torch.testing.assert_close(measure(noisy[:1], clean[:1]), expected[:1])
        assert measure(noisy[:0], clean[:0]).shape == (0,)


def test_a_photograph_is_measured_as_exactly() -> None:
    random = np.random.default_rng(0)
    clean = random.random((1, 3, 1500, 1100), dtype=np.float32)
    noisy = clean + 0.1 * random.standard_normal(clean.shape, dtype=np.float32)
    images = torch.from_numpy(noisy), torch.from_numpy(clean)
    exact = -10 * np.log10(np.square(noisy.astype(np.float64) - clean).mean())
    assert psnr(*images).item() == pytest.approx(exact, abs=1e-4)
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = structural_similarity(
        clean[0].astype(np.float64), noisy[0].astype(np.float64), channel_axis=0, **settings
    )
    assert ssim(*images).item() == pytest.approx(expected, abs=1e-4)


def test_equal_images_are_infinitely_good(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    clean, _ = pair
    assert torch.isinf(psnr(clean, clean)).all()
    np.testing.assert_allclose(ssim(clean, clean), 1, atol=1e-6)


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 2**31))
@settings(deadline=None)
def test_accuracy_is_the_diagonal_of_the_confusion_matrix(classes: int, n: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=random)
    labels = torch.randint(classes, (n,), generator=random)
    matrix = confusion_matrix(logits, labels)
    assert matrix.sum() == n
    assert matrix.diag().sum().item() / n == pytest.approx(accuracy(logits, labels))
    assert matrix.sum(dim=1).tolist() == torch.bincount(labels, minlength=classes).tolist(), "rows are true labels"


def test_the_interval_over_seeds_is_the_t_interval() -> None:
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    # t(0.975, 4) = 2.776 from any table; the standard error of 1…5 is sqrt(2.5 / 5).
    assert (found.mean, found.n) == (3.0, 5)
    assert found.half_width == pytest.approx(2.776 * math.sqrt(0.5), abs=1e-3)
    assert found.text(2, "dB") == "3.00 ± 1.96 dB (n = 5)"


def test_one_seed_has_no_interval_and_says_so() -> None:
    assert estimate([0.9778]).text(2, "%") == "97.78 % (n = 1)"


def test_calibration_is_the_gap_of_confidence_and_accuracy() -> None:
    # Ten answers of confidence 0.8, six of them right; five of 0.95, all right.
    def logits_of(confidence: float, count: int) -> torch.Tensor:
        return torch.tensor([[confidence, 1 - confidence]]).log().expand(count, 2)

    logits = torch.cat([logits_of(0.8, 10), logits_of(0.95, 5)])
    labels = torch.tensor([0] * 6 + [1] * 4 + [0] * 5)
    assert calibration_error(logits, labels) == pytest.approx((10 * 0.2 + 5 * 0.05) / 15, abs=1e-6)
    assert calibration_error(torch.tensor([[100.0, 0.0]]), torch.tensor([0])) == 0
    expected = (6 * 2 * 0.2**2 + 4 * 2 * 0.8**2 + 5 * 2 * 0.05**2) / 15
    assert brier_score(logits, labels) == pytest.approx(expected, abs=1e-6)
    assert accuracy_by_class(logits, labels) == [1.0, 0.0]


def test_holms_adjustment_is_that_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_below_six_seeds_no_p_is_given() -> None:
    assert sign_flip_p([0.1, 0.2, 0.3, 0.2, 0.1]) is None
    assert sign_flip_p([0.1, 0.2, 0.3, 0.2, 0.1, 0.4]) == pytest.approx(2 / 2**6)
    for n in (6, 13, 14, 20):
        clear = [1 + 0.01 * k for k in range(n)]
        assert sign_flip_p(clear) == pytest.approx(least_sign_flip_p(n)), f"the least there is with {n}"


def test_the_bootstrap_interval_is_the_normal_one_for_many_values() -> None:
    values = np.random.default_rng(1).normal(3, 2, 2000)
    low, high = bootstrap_interval(values)
    error = 1.96 * values.std(ddof=1) / 2000**0.5
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.01)


def test_the_hill_index_knows_heavy_tails_from_light_ones() -> None:
    draws = np.random.default_rng(0)
    assert hill_index(draws.standard_cauchy(20_000)) == pytest.approx(1, abs=0.1)
    assert hill_index(draws.standard_normal(20_000)) > 3
    assert hill_index(stats.t(3).rvs(20_000, random_state=draws)) == pytest.approx(3, abs=0.6)


def test_an_adjusted_p_is_at_most_1() -> None:
    assert holm([0.9, 0.6, 0.5]) == [1, 1, 1]


def test_networks_together_are_their_mean_probability_not_their_mean_logit() -> None:
    sure, unsure = np.array([[30.0, 0.0, 0.0]], np.float32), np.array([[0.0, 2.0, 0.0]], np.float32)
    # Probabilities: (1, 0, 0) and twice (0.11, 0.79, 0.11): together the second class, though its logits sum up to 4.
    assert ensemble_accuracy([sure, unsure, unsure], np.array([1], np.uint8)) == 1
    assert ensemble_accuracy([sure, unsure, unsure], np.array([0], np.uint8)) == 0


def test_the_spread_of_a_share_is_in_percent_too() -> None:
    assert Estimate(0.9778, 0.0123, 5).text(2, "%") == "97.78 ± 1.23 % (n = 5)"


def test_the_hill_index_does_not_depend_on_where_the_values_lie() -> None:
    values = np.random.default_rng(0).standard_cauchy(20_000)
    assert hill_index(values) == pytest.approx(hill_index(values + 1000))
    assert hill_index([0, 0, 0, 0, 1, 2, 4, 8.0]) == pytest.approx(1 / np.mean(np.log([8 / 2, 4 / 2])), rel=0.5)


def test_times_have_a_range_and_no_interval() -> None:
    assert Spread.of([17.6, 4.9, 40.12]).text() == "20.9 s (4.9–40.1)"
    assert Spread.of([17.64]).text() == "17.6 s"
