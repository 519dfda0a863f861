"""Pictures of digits brought to what a classifier has learnt from: grey, light on dark, its size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.data.picture import Picture

Grey = NDArray[np.float32]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601, as Pillow weighs colours
INK = 0.3  # of the lightest pixel: what counts as part of the digit
SMALL = 0.6
"""A digit that takes less of its picture than this was not framed as MNIST's are, where it takes 20 of 28 pixels."""
MNIST_SHARE = 20 / 28


def grey_of(picture: Picture) -> Grey:
    """(h, w) from 0 to 1; where it is transparent, white around what is dark and black around what is light."""
    pixels = picture.pixels
    grey: Grey = pixels[0] if len(pixels) == 1 else np.tensordot(LUMA, pixels, 1)
    if picture.alpha is None or not picture.alpha.any():
        return grey
    opacity = picture.alpha / (2**picture.bits - 1)
    background = np.average(grey, weights=opacity) < 0.5
    shown: Grey = (opacity * grey + (1 - opacity) * background).astype(np.float32)
    return shown


def is_dark_on_light(images: Grey) -> bool:
    """Whether images (n, h, w) have light edges: a digit's surroundings."""
    return bool(np.median(edges(images)) > 0.5)


def edges(images: Grey) -> Grey:
    """The outermost pixels of images (n, h, w), in a row."""
    return np.concatenate([images[:, [0, -1]].ravel(), images[:, :, [0, -1]].ravel()])


def as_digit(picture: Picture, shape: tuple[int, int]) -> tuple[Grey, list[str]]:
    """A picture as (h, w) from 0 to 1 of the shape a classifier takes, and what was done to it, in words."""
    grey = grey_of(picture)
    done = []
    if is_dark_on_light(grey[None]):
        grey = without_background(1 - grey)
        done.append("inverted, as it is dark on light")
    if grey.shape != shape:
        done.append(f"{grey.shape[1]}×{grey.shape[0]} brought to {shape[1]}×{shape[0]}")
        box = ink_box(grey)
        if box is not None and max(stop - start for start, stop in box) < SMALL * max(grey.shape):
            done.append("cropped to the digit")
            grey = framed(grey[slice(*box[0]), slice(*box[1])], shape)
        else:
            grey = resized(squared(grey), shape)
    return grey, done


def without_background(grey: Grey) -> Grey:
    """Stretched so that the edges, whatever shade the paper has, are 0 and the lightest pixel is 1."""
    dark = np.median(edges(grey[None]))
    return ((grey - dark) / max(float(grey.max() - dark), 1e-6)).clip(0, 1).astype(np.float32)


def ink_box(grey: Grey) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """(first, past the last) row and column of the digit; None for an empty picture."""
    ink = grey > INK * grey.max()
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return None
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def squared(grey: Grey) -> Grey:
    """The picture in the middle of a black square."""
    h, w = grey.shape
    side = max(h, w)
    top, left = (side - h) // 2, (side - w) // 2
    return np.pad(grey, ((top, side - h - top), (left, side - w - left)))


def framed(digit: Grey, shape: tuple[int, int]) -> Grey:
    """A digit as MNIST frames it: its longer side 20 of 28 pixels, its centre of mass in the middle."""
    scale = MNIST_SHARE * min(shape) / max(digit.shape)
    h, w = (max(1, round(side * scale)) for side in digit.shape)
    small = resized(digit, (h, w))
    total = max(float(small.sum()), 1e-6)
    middle = float(small.sum(axis=1) @ np.arange(h)) / total, float(small.sum(axis=0) @ np.arange(w)) / total
    top, left = (
        min(max(0, round((side - 1) / 2 - at)), side - length)
        for side, at, length in zip(shape, middle, (h, w), strict=True)
    )
    frame = np.zeros(shape, np.float32)
    frame[top : top + h, left : left + w] = small
    return frame


def resized(grey: Grey, shape: tuple[int, int]) -> Grey:
    """Another size, smoothed where it is less."""
    image = Image.fromarray(grey.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.LANCZOS)
    return np.asarray(image).clip(0, 1)
