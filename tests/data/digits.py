"""Writes CSV files of digits in every form that goes round."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from dataclasses import dataclass

import numpy as np


def digit_like(count: int, seed: int = 0, side: int = 28) -> tuple[np.ndarray, np.ndarray]:
    """Random (labels, pixels) with black corners, as centred digits have, and labels that are not all 0."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count)
    labels[0] = labels[0] or 7
    pixels = random.integers(0, 256, (count, side * side))
    pixels[:, [0, 1, -2, -1]] = 0
    pixels[0, side + 3] = 255  # never all of an image like its label
    return labels, pixels


@dataclass(frozen=True)
class Writing:
    """How a CSV is written."""

    names: str = ""
    """ "": no header; "1x1", "pixel0", "pixel1", "numbers" (as pandas writes without names)."""
    label: str = "first"
    """first, last or none."""
    label_name: str = "label"
    index: bool = False
    separator: str = ","
    newline: str = "\n"
    final_newline: bool = True
    byte_order_mark: bool = False
    quoted: bool = False
    decimal: bool = False
    compression: str = ""


def written(labels: np.ndarray, pixels: np.ndarray, how: Writing) -> bytes:
    """The bytes of a CSV file."""
    side = int(pixels.shape[1] ** 0.5)

    def field(value: object) -> str:
        text = f"{value}.0" if how.decimal and not isinstance(value, str) else str(value)
        return f'"{text}"' if how.quoted else text

    def row(label: object, values: list[object], index: object) -> str:
        with_label = {"first": [label, *values], "last": [*values, label], "none": values}[how.label]
        return how.separator.join(map(field, [index, *with_label] if how.index else with_label))

    lines = [row(int(label), image.tolist(), k) for k, (label, image) in enumerate(zip(labels, pixels, strict=True))]
    if how.names == "numbers":
        count = side * side + (how.label != "none")
        numbers = [str(k) for k in range(count)]
        lines.insert(0, how.separator.join(["", *numbers] if how.index else numbers))
    elif how.names:
        names: list[object] = {
            "1x1": [f"{r}x{c}" for r in range(1, side + 1) for c in range(1, side + 1)],
            "pixel0": [f"pixel{k}" for k in range(side * side)],
            "pixel1": [f"pixel{k}" for k in range(1, side * side + 1)],
        }[how.names]
        lines.insert(0, row(how.label_name, names, ""))
    text = how.newline.join(lines) + (how.newline if how.final_newline else "")
    return compressed(("\ufeff" if how.byte_order_mark else "").encode() + text.encode(), how.compression)


def compressed(data: bytes, kind: str) -> bytes:
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("digits.csv", data)
            archive.writestr("__MACOSX/._digits.csv", b"\0")
        return buffer.getvalue()
    pack = {"": bytes, "gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}[kind]
    return pack(data)
