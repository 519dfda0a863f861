"""The loss that a denoiser is trained with, and what it is told."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipeline.config import DenoisingTraining
from pipeline.training.batches import Batch
from pipeline.training.denoising import Denoiser, objective_of
from tests.training.test_fit import some_batches
from tests.training.test_training import CPU, denoising


class Zero(nn.Module):
    """Notes what it is given, and gives back nothing but black."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[torch.Tensor, torch.Tensor | None]] = []

    def forward(self, noisy: torch.Tensor, variance: torch.Tensor | None = None) -> torch.Tensor:
        self.given.append((noisy, variance))
        return torch.zeros_like(noisy)


def batch_of(*levels: float, side: int = 64) -> Batch:
    images = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, side, side).contiguous()
    return Batch(images, torch.zeros(len(levels), dtype=torch.long), torch.arange(len(levels)))


def test_the_loss_is_the_one_asked_for() -> None:
    clean, source = batch_of(0.1, 1.0), torch.Generator()
    for loss, expected in (("mse", (0.01 + 1) / 2), ("log", (math.log(0.01) + math.log(1.0)) / 2)):
        trial = denoising(training=DenoisingTraining(loss=loss))  # type: ignore[arg-type]
        assert objective_of(trial)(Zero(), clean, source).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_a_network_is_told_the_variance_that_each_image_got() -> None:
    network = Zero()
    objective_of(denoising(span=(0.001, 0.1)))(network, batch_of(*[0.5] * 8), torch.Generator().manual_seed(0))
    ((noisy, told),) = network.given
    assert told is not None
    assert told.max() / told.min() > 3
    found = (noisy - 0.5).var(dim=(1, 2, 3))
    torch.testing.assert_close(found, told, rtol=0.1, atol=0)


def test_training_noise_is_clipped_where_that_of_the_test_is() -> None:
    for clip in (False, True):
        network = Zero()
        objective_of(denoising(clip=clip, variance=0.1))(network, batch_of(0.5, 0.9), torch.Generator().manual_seed(0))
        ((noisy, _),) = network.given
        assert (noisy.min() >= 0 and noisy.max() <= 1) == clip
        assert not clip or noisy.max() == 1


def test_told_is_told_and_blind_is_blind() -> None:
    class Told(nn.Module):
        def forward(self, noisy: torch.Tensor, variance: torch.Tensor | None = None) -> torch.Tensor:
            return noisy if variance is None else torch.zeros_like(noisy)

    images = some_batches().images
    batches = some_batches()
    padded = type(batches)(images.repeat(1, 1, 2, 2), batches.labels, batches.indices, 10, CPU)
    scores = Denoiser(Told(), True, False, "d", torch.float32).scores(padded, 0.01)
    assert (scores["psnr_blind"] > scores["psnr"] + 5).all(), "told, this one makes everything black"
    assert (scores["ssim_blind"] > scores["ssim"]).all()
    assert (scores["psnr_gain"] < -5).all()
