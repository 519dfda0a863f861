"""Test images side by side, enlarged without smoothing so that single pixels can be judged."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image

from pipeline.metrics.image import psnr

GAP = 2
COLUMNS = 5
SHOWN_ERROR = 0.3
SHOWN_SIDE, MOST_SHOWN = 128, 256  # pixels


def block_grid(clean: torch.Tensor, noisy: torch.Tensor, denoised: torch.Tensor) -> Image.Image:
    """Blocks of five columns and three rows: clean, noisy, denoised. Each (n, c, h, w) in [0, 1].

    Small images are enlarged to about 128 pixels, and of large ones the middle is shown.

    Nearly square, because the MLflow UI shows images no larger than 256 pixels on their longer side: ten columns
    would be too small to see.
    """
    parts = [middle_of(part, MOST_SHOWN) for part in (clean, noisy, denoised)]
    rows = [part[first : first + COLUMNS] for first in range(0, len(clean), COLUMNS) for part in parts]
    return image_of(rows, enlarge=max(1, SHOWN_SIDE // max(parts[0].shape[2:])))


def middle_of(images: torch.Tensor, most: int) -> torch.Tensor:
    """The middle of images (n, c, h, w), at most so many pixels a side."""
    h, w = (min(side, most) for side in images.shape[2:])
    top, left = (images.shape[2] - h) // 2, (images.shape[3] - w) // 2
    return images[:, :, top : top + h, left : left + w]


def image_of(rows: list[torch.Tensor], enlarge: int) -> Image.Image:
    """Rows of images with white gaps, each pixel `enlarge` times as large."""
    _, c, h, w = rows[0].shape
    columns = max(len(row) for row in rows)
    canvas = np.full((len(rows) * (h * enlarge + GAP) - GAP, columns * (w * enlarge + GAP) - GAP, c), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            pixels = (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            top, left = i * (h * enlarge + GAP), j * (w * enlarge + GAP)
            block = np.kron(pixels, np.ones((enlarge, enlarge, 1), np.uint8))
            canvas[top : top + h * enlarge, left : left + w * enlarge] = block
    return Image.fromarray(canvas.squeeze(2) if c == 1 else canvas)


def labelled_grid(clean: torch.Tensor, noisy: torch.Tensor, denoised: torch.Tensor, title: str) -> Figure:
    """A column an image and three named rows, with each image's PSNR in dB under it. Each (n, c, h, w) in [0, 1]."""
    rows = {"clean": clean, "noisy": noisy, "denoised": denoised}
    figure = Figure(figsize=(12, 4.4))
    figure.suptitle(title)
    width = clean.shape[3]
    centres = [width / 2 + column * (width + GAP) for column in range(len(clean))]
    # One plot a row, and margins instead of a layout engine: these figures are drawn in every trial.
    margins = {"left": 0.03, "right": 0.995, "bottom": 0.06, "top": 0.92, "hspace": 0.2}
    for ax, (name, images) in zip(figure.subplots(len(rows), gridspec_kw=margins), rows.items(), strict=True):
        ax.imshow(image_of([images], enlarge=1), interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        quality = [] if name == "clean" else [f"{decibels:.1f} dB" for decibels in psnr(images, clean)]
        ax.set(xticks=centres[: len(quality)], xticklabels=quality, yticks=[], ylabel=name)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    return figure


def error_grid(clean: torch.Tensor, noisy: torch.Tensor, denoised: torch.Tensor, title: str) -> Figure:
    """What noise adds and what a denoiser leaves of it or adds itself: red too bright, blue too dark, mean of channels.

    Each (n, c, h, w) in [0, 1].
    """
    rows = {"noisy − clean": noisy - clean, "denoised − clean": denoised - clean}
    figure = Figure(figsize=(12, 3.0))
    figure.suptitle(title)
    margins = {"left": 0.03, "right": 0.92, "bottom": 0.02, "top": 0.88, "hspace": 0.05}
    for ax, (name, errors) in zip(figure.subplots(len(rows), gridspec_kw=margins), rows.items(), strict=True):
        strip = torch.cat([F.pad(error.mean(dim=0), (0, GAP)) for error in errors], dim=1)
        picture = ax.imshow(strip.numpy(), interpolation="nearest", cmap="RdBu_r", vmin=-SHOWN_ERROR, vmax=SHOWN_ERROR)
        ax.set(xticks=[], yticks=[], ylabel=name)
        ax.spines[:].set_visible(False)
    figure.colorbar(picture, cax=figure.add_axes((0.935, 0.06, 0.012, 0.78)), label="error, pixels from 0 to 1")
    return figure


def digit_grid(images: torch.Tensor, captions: list[str], title: str, columns: int = 10) -> Figure:
    """Digits (n, 1, h, w) in [0, 1], black on white, each with a caption above."""
    lines = max(1, -(-len(images) // columns))
    height = lines * 1.35 + 0.4
    figure = Figure(figsize=(columns * 1.1, height))
    figure.suptitle(title, y=1 - 0.15 / height, va="top")
    width = images.shape[3] + GAP
    # As in `labelled_grid`, one plot a row and no layout engine.
    margins = {"left": 0.01, "right": 0.99, "bottom": 0.1 / height, "top": 1 - 0.65 / height, "hspace": 0.25}
    for line, ax in enumerate(figure.subplots(lines, squeeze=False, gridspec_kw=margins).ravel()):
        row = slice(line * columns, (line + 1) * columns)
        if len(images):
            ax.imshow(image_of([1 - images[row]], enlarge=1), interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        centres = [images.shape[3] / 2 - 0.5 + width * column for column in range(len(captions[row]))]
        ax.set(xlim=(-0.5, width * columns - GAP - 0.5), xticks=centres, yticks=[])
        ax.set_xticklabels(captions[row], fontsize=8)
        ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
        ax.spines[:].set_visible(False)
    return figure
