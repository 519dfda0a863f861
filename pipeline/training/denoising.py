"""Train a denoiser and measure it: one trial from images to figures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr, ssim
from pipeline.models import DENOISERS
from pipeline.models.fitted import Fitted
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import build, count_parameters, split_batches
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.fit import Objective, Setting, fit
from pipeline.training.noise import add_noise, fixed_noise
from pipeline.training.observer import Observer
from pipeline.trials import DenoisingTrial

EXAMPLES = 10
LEAST_FITTED = 8  # images, however large
LEAST_ERROR = 1e-6  # squared: 60 dB, which no denoiser reaches


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
    per_image: pd.DataFrame
    """A row a test image; see `Denoiser.scores`."""
    examples: Examples
    parameters: int
    """Numbers that training changes; 0 for what is not trained."""
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

    Quality is that of the output clipped to [0, 1]. What can't be trained is fitted at once or just measured. Goes on
    from a checkpoint if there is one; `steps` is what a budget in seconds was found to be before.
    """
    parts = split_batches(store, trial, device)
    denoiser = Denoiser.build(trial, store, device)
    model, parameters = denoiser.model, count_parameters(denoiser.model)

    def validate(model: nn.Module) -> dict[str, float]:
        return named("val", averages(replace(denoiser, model=model).scores(parts["validation"], trial.variance)))

    figures: dict[str, float] = {}
    seconds = 0.0
    if parameters:
        seconds = fit(
            model,
            parts["train"],
            objective_of(trial),
            validate,
            trial.training,
            trial.seed,
            Setting(denoiser.precision, observer, checkpoints, steps),
        )
    else:
        if isinstance(model, Fitted):
            started = time.perf_counter()
            figures = fit_at_once(model, parts[model.part], denoiser, trial.variance)
            seconds = time.perf_counter() - started
        figures |= named("val", averages(denoiser.scores(parts["validation"], trial.variance)))
    per_image = denoiser.scores(parts["test"], trial.variance)
    return DenoisingResult(
        model=model,
        metrics={
            **figures,
            **named("test", averages(per_image)),
            "test/effective_variance": float(per_image["noise"].mean()),
            **ceiling(model, parts["test"]),
            "time/train_s": seconds,
        },
        per_image=per_image,
        examples=denoiser.examples(parts["test"], trial.variance),
        parameters=parameters,
        precision=str(denoiser.precision).removeprefix("torch."),
    )


def objective_of(trial: DenoisingTrial) -> Objective:
    """The loss of a batch with fresh noise: the squared error, or its logarithm an image, which is PSNR itself.

    Averaged over images, the logarithm weighs all noise levels alike, as the metric does.
    """

    def objective(model: nn.Module, batch: Batch, generator: torch.Generator) -> torch.Tensor:
        clean = batch.images
        if trial.span is None:
            denoised = model(add_noise(clean, trial.variance, trial.clip, generator))
        else:
            variances = log_uniform(trial.span, len(clean), generator)
            denoised = model(add_noise(clean, variances.view(-1, 1, 1, 1), trial.clip, generator), variances)
        if denoised.shape != clean.shape:  # else the loss would stretch one to the other
            raise ValueError(f"{trial.model} makes {list(denoised.shape)} of images {list(clean.shape)}")
        if trial.training.loss == "mse":
            return F.mse_loss(denoised.float(), clean)
        error = (denoised.float() - clean).square().mean(dim=(1, 2, 3))
        return torch.log(error + LEAST_ERROR).mean()

    return objective


def log_uniform(span: tuple[float, float], count: int, generator: torch.Generator) -> torch.Tensor:
    """Variances whose logarithm is drawn evenly from a span: (count,)."""
    least, greatest = span
    drawn = torch.rand(count, generator=generator, device=generator.device)
    return least * (greatest / least) ** drawn


def fit_at_once(model: Fitted, batches: Batches, denoiser: Denoiser, variance: float) -> dict[str, float]:
    """Fit a model to as many of the images as it wants, evenly spread; returns the figures it notes."""
    height, width = batches.images.shape[2:]
    wanted = min(model.images, max(LEAST_FITTED, model.images * 32 * 32 // (height * width)))
    count = min(wanted, len(batches.indices))
    chosen = np.linspace(0, len(batches.indices) - 1, count).round().astype(int)
    batch = batches.select(batches.indices[chosen])
    return model.fit(denoiser.noisy(batch, variance), batch.images)


@dataclass(frozen=True)
class Denoiser:
    """A model with all that measuring it depends on."""

    model: nn.Module
    conditional: bool
    """Whether it is told the variance of the noise."""
    clip: bool
    digest: str
    """Of the store: it decides the noise."""
    precision: torch.dtype

    @classmethod
    def build(cls, trial: DenoisingTrial, store: ImageStore, device: torch.device) -> Denoiser:
        """An untrained one."""
        model = build(DENOISERS, trial, channels=store.manifest.shape[1], variance=trial.variance).to(device)
        precision = choose_precision(trial.training, device) if count_parameters(model) else torch.float32
        return cls(model, trial.span is not None, trial.clip, store.manifest.digest, precision)

    def noisy(self, batch: Batch, variance: float) -> torch.Tensor:
        """A batch with its fixed evaluation noise."""
        return fixed_noise(batch.images, batch.indices.tolist(), variance, self.clip, self.digest)

    @torch.no_grad()
    def denoise(self, noisy: torch.Tensor, variance: float | None) -> torch.Tensor:
        """What the network makes of noisy images, clipped to [0, 1]; None: it has to find the variance by itself."""
        self.model.eval()
        with arithmetic(self.precision, noisy.device):
            if self.conditional and variance is not None:
                denoised = self.model(noisy, torch.full((len(noisy),), variance, device=noisy.device))
            else:
                denoised = self.model(noisy)
        clipped: torch.Tensor = denoised.float().clamp(0, 1)
        return clipped

    def scores(self, batches: Batches, variance: float) -> pd.DataFrame:
        """A row an image: its index in the store, label, psnr, ssim, psnr_gain over the noisy image clipped to [0, 1].

        And noise, the mean square of what was added; and, of a network that is told the variance, psnr_blind and
        ssim_blind of what it does without being told.
        """
        ways: dict[str, float | None] = {"": variance, **({"_blind": None} if self.conditional else {})}
        columns: dict[str, list[torch.Tensor]] = {}

        def note(name: str, values: torch.Tensor) -> None:
            columns.setdefault(name, []).append(values.cpu())

        for batch in batches.in_order():
            noisy = self.noisy(batch, variance)
            note("image", batch.indices)
            note("label", batch.labels)
            for suffix, told in ways.items():
                denoised = self.denoise(noisy, told)
                note(f"psnr{suffix}", psnr(denoised, batch.images))
                note(f"ssim{suffix}", ssim(denoised, batch.images))
            note("psnr_gain", columns["psnr"][-1] - psnr(noisy.clamp(0, 1), batch.images).cpu())
            note("noise", (noisy - batch.images).square().mean(dim=(1, 2, 3)))
        return pd.DataFrame({name: torch.cat(values).numpy() for name, values in columns.items()})

    def examples(self, test: Batches, variance: float) -> Examples:
        """Ten test images, or all where there are fewer, evenly spread over the split: they are not all of one kind."""
        count = min(EXAMPLES, len(test.indices))
        chosen = np.linspace(0, len(test.indices) - 1, count).round().astype(int)
        batch = test.select(test.indices[chosen])
        noisy = self.noisy(batch, variance)
        denoised = self.denoise(noisy, variance)
        return Examples(batch.images.cpu(), noisy.clamp(0, 1).cpu(), denoised.cpu())


def ceiling(model: nn.Module, batches: Batches) -> dict[str, float]:
    """The mean PSNR that no training can exceed, of a network that tells what comes nearest to clean images.

    An image that it could give exactly counts as what `LEAST_ERROR` is in dB.
    """
    nearest = getattr(model, "nearest_output", None)
    if nearest is None:
        return {}
    best = torch.cat([psnr(nearest(batch.images), batch.images) for batch in batches.in_order()])
    return {"test/psnr_ceiling": best.clamp(max=-10 * math.log10(LEAST_ERROR)).mean().item()}


FIGURES = ("psnr", "ssim", "psnr_gain", "psnr_blind", "ssim_blind")
"""Columns of scores whose mean over images is a figure of the model."""


def averages(scores: pd.DataFrame) -> dict[str, float]:
    """Means over images of the figures there are."""
    return {name: float(scores[name].astype(float).mean()) for name in FIGURES if name in scores}


def named(part: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Figures as metrics of a part of the images."""
    return {f"{part}/{name}": value for name, value in figures.items()}
