"""Denoisers: shapes, and what is known of each in numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr
from pipeline.models import DENOISERS, classical
from pipeline.models.classical import LinearFilter, NonLocalMeans, TotalVariation, Wavelet
from pipeline.models.denoisers import Autoencoder
from pipeline.models.noise_level import immerkaer
from pipeline.models.residual import (
    DATA_STD,
    ConditionalDenoiser,
    GatedBlock,
    ResidualDenoiser,
    WindowAttention,
    preconditioned,
)


@pytest.fixture
def clean(patches: ImageStore) -> torch.Tensor:
    """Real tiles (48, 3, 32, 32), evenly over all photographs."""
    chosen = np.linspace(0, len(patches.images) - 1, 48).astype(int)
    return torch.from_numpy(patches.images[chosen]).float() / 255


def noisy_version(clean: torch.Tensor, variance: float) -> torch.Tensor:
    return clean + variance**0.5 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", DENOISERS)
def test_every_denoiser_gives_images_of_the_size_it_took(name: str, channels: int) -> None:
    noisy = torch.rand(2, channels, 28, 32)
    with torch.no_grad():
        denoised = DENOISERS[name](channels=channels, variance=0.05)(noisy)
    assert denoised.shape == noisy.shape
    assert denoised.isfinite().all()


def test_the_u_net_takes_any_size() -> None:
    network = ResidualDenoiser(widths=(8, 8, 8))
    torch.nn.init.normal_(network.unet.last.weight)
    assert network(torch.rand(1, 3, 13, 30)).shape == (1, 3, 13, 30)


def test_attention_is_that_of_the_paper_window_by_window() -> None:
    """Vaswani et al. 2017, equation 1, written out for one window of several: 64 places, 4 heads of 4 channels."""
    torch.manual_seed(0)
    layer = WindowAttention(16).eval()
    torch.nn.init.normal_(layer.out.weight)
    features = torch.randn(2, 16, 16, 24)
    window = features[1, :, 8:, 8:16]
    with torch.no_grad():
        together = layer(features)
        normed = layer.norm(window.flatten(1).T)
        queries, keys, values = layer.queries_keys_values(normed).view(64, 3, 4, 4).permute(1, 2, 0, 3)
        mixed = (queries @ keys.mT / 2).softmax(dim=-1) @ values
        change = layer.out(mixed.transpose(0, 1).reshape(64, 16)).T.view(16, 8, 8)
    torch.testing.assert_close(together[1, :, 8:, 8:16], window + change, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "problem"), [({"widths": (9, 16)}, "width of 9"), ({"widths": (8, 18)}, "18 .*4 heads")]
)
def test_widths_that_cannot_be_divided_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        ResidualDenoiser(blocks=(1,), **settings)


def test_the_published_networks_are_as_large_as_published() -> None:
    sizes = {name: sum(p.numel() for p in DENOISERS[name]().parameters()) for name in ("tutorial", "dncnn")}
    assert sizes == {"tutorial": 1031, "dncnn": 558_403}, "and dncnn's last bias, 3 numbers"


def test_the_tutorials_output_is_never_darker_than_mid_grey(clean: torch.Tensor) -> None:
    assert DENOISERS["tutorial"]()(clean).min() >= 0.5


def test_an_untrained_residual_network_is_the_pointwise_linear_estimate() -> None:
    """Of data with the standard deviation assumed, its error is c_out² = σ²σ_d²/(σ² + σ_d²) (Karras et al. 2022)."""
    variance, generator = 0.05, torch.Generator().manual_seed(1)
    images = 0.5 + DATA_STD * torch.randn(64, 3, 32, 32, generator=generator)
    error = (ResidualDenoiser(variance=variance)(noisy_version(images, variance)) - images).square().mean().item()
    assert error == pytest.approx(variance * DATA_STD**2 / (variance + DATA_STD**2), rel=0.02)


def test_what_a_gated_block_adds_is_bounded_whatever_comes_in() -> None:
    """Products of products grow without limit otherwise, block after block, until a long training ends in infinity."""
    block = GatedBlock(8)
    large, huge = (size * torch.ones(1, 8, 4, 4) for size in (10.0, 1e6))
    with torch.no_grad():
        assert torch.allclose(block(huge) - huge, block(large) - large, atol=0.1)
        assert (block(large) - large).abs().max() < 36


def test_a_conditional_network_estimates_the_variance_it_is_not_told(clean: torch.Tensor) -> None:
    network = ConditionalDenoiser(widths=(8, 8, 8)).eval()
    torch.nn.init.normal_(network.unet.last.weight, std=0.1)
    noisy = noisy_version(clean, 0.05)
    with torch.no_grad():
        assert torch.equal(network(noisy), network(noisy, immerkaer(noisy)))
        assert not torch.equal(network(noisy, torch.full((48,), 0.01)), network(noisy, torch.full((48,), 0.1)))


@pytest.mark.parametrize("variance", [0.01, 0.05, 0.1])
def test_the_noise_level_is_found_from_the_image_alone(clean: torch.Tensor, variance: float) -> None:
    found = immerkaer(noisy_version(clean, variance)).sqrt() / variance**0.5
    assert found.mean().item() == pytest.approx(1, abs=0.05)
    assert (found - 1).square().mean().sqrt() < 0.1


def test_an_image_of_one_colour_has_the_least_noise_there_can_be() -> None:
    assert immerkaer(torch.full((1, 3, 8, 8), 0.5)).item() == pytest.approx(1 / 255**2 / 12)


def test_the_linear_filter_is_the_least_squares_solution(clean: torch.Tensor) -> None:
    noisy = noisy_version(clean, 0.05)
    found = LinearFilter(size=3)
    found.fit(noisy, clean)
    windows = torch.nn.functional.unfold(found.padded(noisy), 3).transpose(1, 2).flatten(0, 1).double()
    windows = torch.cat([windows, torch.ones_like(windows[:, :1])], dim=1)
    target = clean.flatten(2).transpose(1, 2).flatten(0, 1).double()
    expected = windows @ torch.linalg.lstsq(windows, target).solution
    got = found(noisy).flatten(2).transpose(1, 2).flatten(0, 1)
    np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("pixels", [3 * 32 * 32, 5 * 32, 1])
def test_the_linear_filter_is_the_same_from_parts_of_large_images(
    clean: torch.Tensor, monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    noisy = noisy_version(clean[:16], 0.05)
    at_once, in_parts = LinearFilter(size=3), LinearFilter(size=3)
    at_once.fit(noisy, clean[:16])
    monkeypatch.setattr(classical, "UNFOLDED_AT_ONCE", pixels)
    in_parts.fit(noisy, clean[:16])
    torch.testing.assert_close(in_parts(noisy), at_once(noisy), rtol=0, atol=1e-3)


@pytest.mark.parametrize("depth", [0, 2])
def test_odd_sides_are_no_trouble_to_the_autoencoder(depth: int) -> None:
    network = Autoencoder(width=4, depth=depth)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.encoder) == 2 + depth
    odd = torch.rand(2, 3, 33, 15)
    assert network(odd).shape == odd.shape
    more = torch.cat([odd, odd[:, :, -1:]], dim=2)
    more = torch.cat([more, more[:, :, :, -1:]], dim=3)
    torch.testing.assert_close(network(odd), network(more)[:, :, :33, :15])


def test_a_filter_without_a_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="size is 4"):
        LinearFilter(size=4)


@pytest.mark.parametrize("method", [NonLocalMeans, Wavelet, TotalVariation])
def test_the_strength_tuned_is_the_best_there_is(method: type, clean: torch.Tensor) -> None:
    noisy = noisy_version(clean, 0.05)
    model = method(channels=3, variance=0.05)
    found = model.fit(noisy[:16], clean[:16])["tuned_strength"]
    quality = {}
    for strength in model.strengths:
        model.strength = strength
        quality[strength] = psnr(model(noisy[:16]).clamp(0, 1), clean[:16]).mean().item()
    assert found == max(quality, key=lambda strength: quality[strength])
    model.strength = found
    gain = psnr(model(noisy).clamp(0, 1), clean) - psnr(noisy.clamp(0, 1), clean)
    assert gain.mean() > 4


def test_a_network_around_the_estimate_meets_and_makes_unit_variance() -> None:
    """Karras et al. 2022, table 1: c_in = 1/√(σ² + σ_d²), c_out = σσ_d/√(σ² + σ_d²)."""
    seen: list[torch.Tensor] = []

    def inner(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs)
        return target

    random = torch.Generator().manual_seed(0)
    for variance in (0.001, 0.05, 0.5):
        clean = 0.5 + DATA_STD * torch.randn(64, 1, 32, 32, generator=random)
        noisy = clean + variance**0.5 * torch.randn(clean.shape, generator=random)
        target = torch.zeros_like(noisy)
        estimate = preconditioned(noisy, torch.tensor(variance), inner)  # type: ignore[arg-type]
        assert seen[-1].std().item() == pytest.approx(1, abs=0.02)
        target = torch.ones_like(noisy)
        scale = (preconditioned(noisy, torch.tensor(variance), inner) - estimate).mean()  # type: ignore[arg-type]
        assert ((clean - estimate) / scale).std().item() == pytest.approx(1, abs=0.02)
        extra = torch.full((64, 1, 32, 32), 3.0)
        preconditioned(noisy, torch.tensor(variance), inner, extra)  # type: ignore[arg-type]
        assert torch.equal(seen[-1][:, 1:], extra)


def test_a_conditional_network_is_told_the_logarithm_of_sigma() -> None:
    model, seen = ConditionalDenoiser(widths=(8, 8, 8)), []
    model.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, -1, 0, 0]))
    model(torch.rand(3, 3, 8, 8), torch.tensor([0.0025, 0.025, 0.25]))
    steps = seen[0].diff()
    assert steps.tolist() == pytest.approx([0.5 * math.log(10)] * 2)
