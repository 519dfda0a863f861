"""Noisy image files → denoised ones, by a trained model from the registry."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipeline.config import Config, Denoise, DenoisingTraining
from pipeline.console import complain, counted, say
from pipeline.data.image_folder import ENDINGS
from pipeline.errors import UserError
from pipeline.metrics import SSIM_SIDE
from pipeline.stages.trained import trained
from pipeline.stages.trials import tables_of_networks
from pipeline.sweeps.identity import networks_changed
from pipeline.tracking import keys
from pipeline.tracking.registry import Version, input_shape, load
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from pipeline.trials import DenoisingTrial, variance_text

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from pipeline.data.picture import Picture
    from pipeline.training.denoising import Denoiser

NEAR = 1.1
"""A network for one variance is the first choice up to this factor from it."""
FAR = 1.5
"""From this factor on it is said what to expect."""


@dataclass(frozen=True)
class Task:
    """One image to denoise."""

    source: Path
    target: Path
    clean: Path | None


def run(config: Config) -> None:
    """Denoise the images asked for; say of each what was done, and how good it is where a clean one is given."""
    options = config.denoise
    tasks = tasks_of(options)
    tables_of_networks()  # what can't be imported is said before anything is read
    store = open_store(config.run)
    versions = trained(config, store, "colour", keys.KIND_DENOISER, options.model)

    import torch

    from pipeline.data.files import write_whole
    from pipeline.data.picture import read_picture
    from pipeline.training.device import choose_device

    device = choose_device(config.run)
    opened = cache(lambda version: Network.open(store, version, device))
    channels = input_shape(versions[0])[1]
    qualities, failures = [], 0
    for task in counted(tasks, len(tasks), "denoising"):
        try:
            noisy = read_picture(task.source)
            clean = clean_picture(task.clean, task.source, noisy) if task.clean else None
            pixels = torch.from_numpy(noisy.pixels).to(device)
            variance = estimated(pixels) if options.variance == "blind" else options.variance
            seen = variance_seen(pixels, variance, channels)
            version = nearest(versions, seen, options.variance == "blind")
            denoised = noisy.with_pixels(opened(version).denoise(pixels, seen).cpu().numpy())
        except UserError as error:
            fault = str(error) if str(task.source) in str(error) else f"{task.source}: {error}"
            if len(tasks) == 1:
                raise UserError(fault) from error
            complain(f"error: {fault}")
            failures += 1
            continue
        write_whole(task.target, denoised.encoded())
        parts = [str(noisy), noise_in_words(variance, seen, options.variance, version)]
        if clean:
            qualities.append(quality(clean, noisy, denoised))
            parts.append(in_words(qualities[-1]))
        say(f"denoise   {task.source}: {'; '.join(parts)}")
    if len(qualities) > 1:
        means = [sum(column) / len(column) for column in zip(*qualities, strict=True)]
        say(f"denoise   mean of {len(qualities)} images: {in_words(means)}")
    done = len(tasks) - failures
    say(f"denoise   {done} images written to {options.out}" if len(tasks) > 1 else f"denoise   {tasks[0].target}")
    if failures:
        raise UserError(f"{failures} of {len(tasks)} images could not be denoised; what is wrong is said above")


def tasks_of(options: Denoise) -> list[Task]:
    """What to read, write and compare with.

    Raises `UserError` for what is missing, and rather than write over that or over what is no earlier result.
    """
    if not options.inputs:
        raise UserError("nothing to denoise; name images or folders: make denoise IN=photo.png OUT=folder")
    if options.out is None:
        raise UserError("say which folder the denoised images go into: OUT=folder (--out folder)")
    if options.out.suffix.lower() in ENDINGS and not options.out.is_dir():
        raise UserError(f"OUT={options.out}: give a folder; the denoised images get the names of theirs")
    if options.out.is_file():
        raise UserError(f"OUT={options.out}: this is a file; give a folder for the denoised images")
    from pipeline.data.picture import find_pictures, written_here

    pictures = find_pictures(options.inputs)
    tasks = [
        Task(source, (options.out / below).with_suffix(".png"), clean_of(below, options.clean, len(pictures) == 1))
        for source, below in pictures
    ]
    read = {path.resolve() for task in tasks for path in (task.source, task.clean) if path}
    written: dict[Path, Path] = {}
    for task in tasks:
        if task.target.resolve() in read:
            raise UserError(f"OUT={options.out}: {task.target} would be written over; give another folder")
        if task.target.is_file() and not written_here(task.target):
            raise UserError(
                f"OUT={options.out}: {task.target} is there and no result of denoise; "
                "move it away or give another folder"
            )
        other = written.setdefault(task.target.resolve(), task.source)
        if other is not task.source:
            raise UserError(f"{other} and {task.source} would both be written to {task.target}; denoise one at a time")
    return tasks


def clean_of(below: Path, clean: Path | None, single: bool) -> Path | None:
    """The clean image of one that lies at `below` in its folder. Raises `UserError` if it is not there."""
    if clean is None:
        return None
    if clean.is_file():
        if not single:
            raise UserError(f"CLEAN={clean}: one clean image for several noisy ones; give a folder of them")
        return clean
    if not clean.is_dir():
        raise UserError(f"CLEAN={clean}: no such file or folder")
    if (clean / below).is_file():
        return clean / below
    candidates = (clean / below).parent.glob(f"{escape(below.stem)}.*")
    same_name = sorted(path for path in candidates if path.suffix.lower() in ENDINGS)
    if not same_name:
        raise UserError(f"CLEAN={clean}: no {below} in it, nor with {' '.join(ENDINGS)}")
    return same_name[0]


def estimated(pixels: torch.Tensor) -> float:
    """Variance of the noise in an image (c, h, w), from the image alone."""
    from pipeline.models.noise_level import immerkaer
    from pipeline.models.tiles import mirrored

    return float(immerkaer(mirrored(pixels)[None]))


def is_grey(pixels: torch.Tensor) -> bool:
    """Whether an image (c, h, w) has one channel, or several that are equal."""
    return bool((pixels == pixels[:1]).all())


def variance_seen(pixels: torch.Tensor, variance: float, channels: int) -> float:
    """Variance of the noise as a network of so many channels meets it.

    A grey image goes into all of them, and its noise with it: all in the one direction of colours in which images have
    most of their own variance, where the network knows a share of 1/channels.
    """
    return variance * channels if is_grey(pixels) else variance


def nearest(versions: Sequence[Version], variance: float, blind: bool) -> Version:
    """The model to use for a variance.

    One trained for about this variance, unless that is but an estimate; else one for a span around it; else the nearest
    in ratio. Of equals one for clipped noise: image files are clipped.
    """

    def order(version: Version) -> tuple[int, float, bool]:
        least, greatest = version.span
        away = max(0.0, math.log(least / variance), math.log(variance / greatest))
        for_span = least < greatest
        choice = 1 if for_span and away == 0 else 0 if not (for_span or blind) and away <= math.log(NEAR) else 2
        return choice, away, version.tags[keys.CLIP] != "True"

    return min(versions, key=order)


def noise_in_words(variance: float, seen: float, asked: float | Literal["blind"], version: Version) -> str:
    """How much noise, and what takes it out."""
    least, greatest = version.span
    trained_for = variance_text(least) if least == greatest else f"{variance_text(least)} to {variance_text(greatest)}"
    far = ""
    if seen < least / FAR:
        far = ", the nearest: expect blur, it takes out more than this noise"
    elif seen > greatest * FAR:
        far = ", the nearest: expect noise to be left"
    network = f"{version.tags[keys.NETWORK]} for {trained_for}{far}"
    estimated = " estimated" if asked == "blind" else ""
    grey = f", being grey to colour networks as {seen:.3g}" if seen != variance else ""
    useless = float(version.tags.get(keys.GAIN, 1)) <= 0
    warning = ", which was no better than the noisy image on its validation images: train it longer" if useless else ""
    return f"variance {variance:.3g}{estimated}{grey}; {network} ({version.uri}){warning}"


@dataclass(frozen=True)
class Network:
    """A trained denoiser that takes images of any size, grey or colour."""

    denoiser: Denoiser
    shape: Sequence[int]
    """(−1, c, h, w) of what it takes; −1 for h and w: any size."""
    device: torch.device

    @classmethod
    def open(cls, store: TrackingStore, version: Version, device: torch.device) -> Network:
        """From the registry: built by the code that is here if that is what trained it, else as it was exported then.

        What is exported can't be told the variance, and computes on the CPU.
        """
        import torch

        run, shape = store.run(version.run_id), input_shape(version)
        changed = [name.removeprefix("pipeline.") for name in networks_changed(run.tags[keys.IDENTITY])]
        if not changed:
            try:
                return cls(rebuilt(store, run, shape[1], device), shape, device)
            except (KeyError, TypeError, RuntimeError, UserError):
                changed = ["the code"]
        own = ", and goes by its own estimate of the noise" if version.span[0] < version.span[1] else ""
        what = f"{', '.join(changed)} changed since {version.uri} was trained"
        say(f"denoise   {what}: it is used as exported then{own}")
        return cls(exported(version, run), shape, torch.device("cpu"))

    def denoise(self, noisy: torch.Tensor, variance: float) -> torch.Tensor:
        """(c, h, w) → the same, from 0 to 1; `variance` as the network meets it.

        Raises `UserError` for another size than the network can take.
        """
        import torch

        from pipeline.models.tiles import tiled

        noisy = noisy.to(self.device)

        _, channels, *size = self.shape

        def network(images: torch.Tensor) -> torch.Tensor:
            return self.denoiser.denoise(images, variance)

        def whole(image: torch.Tensor) -> torch.Tensor:
            return tiled(network, image) if size == [-1, -1] else network(image[None])[0]

        if size not in ([-1, -1], list(noisy.shape[1:])):
            raise UserError(f"this network takes images of {size[1]}×{size[0]} pixels alone")
        if is_grey(noisy):
            return whole(noisy[:1].expand(channels, -1, -1)).mean(dim=0).expand_as(noisy)
        if len(noisy) == channels:
            return whole(noisy)
        return torch.cat([whole(channel[None]) for channel in noisy])


def rebuilt(store: TrackingStore, run: RunRecord, channels: int, device: torch.device) -> Denoiser:
    """The network of a run with the weights it was trained to.

    Raises `UserError`, `KeyError`, `TypeError` or `RuntimeError` where this code has no such network.
    """
    from pipeline.training.build import build
    from pipeline.training.denoising import Denoiser
    from pipeline.training.device import choose_precision

    _, denoisers = tables_of_networks()
    fields = json.loads(run.tags[keys.IDENTITY])["trial"]
    trial = DenoisingTrial(**{**fields, "training": DenoisingTraining(**fields["training"])})
    model = build(denoisers, trial, channels=channels, variance=trial.variance)
    model.load_state_dict(store.weights(run.run_id, keys.WEIGHTS))
    precision = choose_precision(trial.training, device)
    return Denoiser(model.to(device), trial.span is not None, trial.clip, run.tags[keys.DATA_DIGEST], precision)


def exported(version: Version, run: RunRecord) -> Denoiser:
    """A model without its code."""
    import torch

    from pipeline.training.denoising import Denoiser

    model, _ = load(version)

    class Called(torch.nn.Module):
        """Hands images on: what is exported is in evaluation mode, and refuses to be told so."""

        def forward(self, noisy: torch.Tensor) -> torch.Tensor:
            denoised: torch.Tensor = model(noisy)
            return denoised

    clip = version.tags[keys.CLIP] == "True"
    return Denoiser(Called(), False, clip, run.tags[keys.DATA_DIGEST], torch.float32)


def clean_picture(file: Path, noisy_file: Path, noisy: Picture) -> Picture:
    """The clean image of a noisy one. Raises `UserError` if it is of another shape."""
    from pipeline.data.picture import read_picture

    clean = read_picture(file)
    if clean.pixels.shape != noisy.pixels.shape:
        raise UserError(f"{file} is {clean} and {noisy_file} {noisy}; a clean image is of the same size and kind")
    return clean


def quality(clean: Picture, noisy: Picture, denoised: Picture) -> list[float]:
    """PSNR of the noisy and of the denoised image in dB, and SSIM of both, NaN for images smaller than its window."""
    import torch

    from pipeline.metrics.image import psnr, ssim

    def batch(pixels: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(pixels)[None]

    def similarity(picture: Picture) -> float:
        if min(picture.pixels.shape[1:]) < SSIM_SIDE:
            return math.nan
        return float(ssim(batch(picture.pixels), batch(clean.pixels)))

    both = (noisy, denoised)
    return [*(float(psnr(batch(one.pixels), batch(clean.pixels))) for one in both), *map(similarity, both)]


def in_words(quality: Sequence[float]) -> str:
    """Before and after."""
    psnr_before, psnr_after, ssim_before, ssim_after = quality
    return f"PSNR {psnr_before:.2f} → {psnr_after:.2f} dB, SSIM {ssim_before:.3f} → {ssim_after:.3f}"
