"""Train a denoiser for one noise variance and measure it: one trial from images to figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config import DenoisingTrial
from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr, ssim
from pipeline.models import DENOISERS
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import build, count_parameters, split_batches
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.fit import Setting, fit
from pipeline.training.noise import add_noise, fixed_noise
from pipeline.training.observer import Observer

EXAMPLES = 10


@dataclass(frozen=True)
class Examples:
    """The same few test images in every trial: each (n, c, h, w) float32 in [0, 1], clipped to be shown."""

    clean: torch.Tensor
    noisy: torch.Tensor
    denoised: torch.Tensor


@dataclass(frozen=True)
class DenoisingResult:
    """A trained denoiser and what it does to the test images."""

    model: nn.Module
    """Takes noisy (b, c, h, w) images, returns denoised ones, not clipped."""
    metrics: dict[str, float]
    examples: Examples
    parameters: int
    precision: str


def train_denoiser(
    trial: DenoisingTrial,
    store: ImageStore,
    device: torch.device,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    steps: int | None = None,
) -> DenoisingResult:
    """Train noisy → clean with fresh noise every epoch; look at the test images once, at the end.

    Quality is that of the output clipped to [0, 1]. A network without parameters is measured and not trained. Goes on
    from a checkpoint if there is one; `steps` is what a budget in seconds was found to be before.
    """
    parts = split_batches(store, trial, device)
    model = build(DENOISERS, trial, channels=store.manifest.shape[1]).to(device)
    parameters = count_parameters(model)
    precision = choose_precision(trial.training, device) if parameters else torch.float32

    def objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        noisy = add_noise(batch.images, trial.variance, trial.clip, generator)
        return F.mse_loss(model(noisy).float(), batch.images)

    def quality(model: nn.Module, batches: Batches, split: str) -> dict[str, float]:
        return evaluate(model, batches, trial, store.manifest.digest, precision, split)

    seconds = 0.0
    if parameters:
        seconds = fit(
            model,
            parts["train"],
            objective,
            lambda model: quality(model, parts["validation"], "val"),
            trial.training,
            trial.seed,
            Setting(precision, observer, checkpoints, steps),
        )
    return DenoisingResult(
        model=model,
        metrics={**quality(model, parts["test"], "test"), "time/train_s": seconds},
        examples=show(model, parts["test"], trial, store.manifest.digest, precision),
        parameters=parameters,
        precision=str(precision).removeprefix("torch."),
    )


@torch.no_grad()
def denoise(
    model: nn.Module, batch: Batch, trial: DenoisingTrial, digest: str, precision: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch with its fixed evaluation noise, and what the network makes of it, clipped to [0, 1]."""
    model.eval()
    noisy = fixed_noise(batch.images, batch.indices.tolist(), trial.variance, trial.clip, digest)
    with arithmetic(precision, batch.images.device):
        denoised = model(noisy)
    return noisy, denoised.float().clamp(0, 1)


def evaluate(
    model: nn.Module, batches: Batches, trial: DenoisingTrial, digest: str, precision: torch.dtype, split: str
) -> dict[str, float]:
    """Mean over images of PSNR and SSIM, and the gain in PSNR over the noisy image clipped to [0, 1]."""
    scores: dict[str, list[torch.Tensor]] = {"psnr": [], "ssim": [], "psnr_gain": []}
    for batch in batches.in_order():
        noisy, denoised = denoise(model, batch, trial, digest, precision)
        quality = psnr(denoised, batch.images)
        scores["psnr"].append(quality)
        scores["ssim"].append(ssim(denoised, batch.images))
        scores["psnr_gain"].append(quality - psnr(noisy.clamp(0, 1), batch.images))
    return {f"{split}/{name}": torch.cat(parts).mean().item() for name, parts in scores.items()}


def show(model: nn.Module, test: Batches, trial: DenoisingTrial, digest: str, precision: torch.dtype) -> Examples:
    """Ten test images evenly spread over the test split, so that they are not all of one kind."""
    chosen = np.linspace(0, len(test.indices) - 1, EXAMPLES).round().astype(int)
    batch = test.select(test.indices[chosen])
    noisy, denoised = denoise(model, batch, trial, digest, precision)
    return Examples(batch.images.cpu(), noisy.clamp(0, 1).cpu(), denoised.cpu())
