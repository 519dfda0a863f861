"""MNIST as CSV: a label and 784 pixels a row, with or without the header line `label,…`.

The published form has no header (pjreddie.com/projects/mnist-in-csv). Values are checked as they are read: 300 is an
error that names its place, never 44.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np

from pipeline.data.store import Images
from pipeline.errors import UserError

SIDE = 28
COLUMNS = 1 + SIDE * SIDE


def read_mnist_csv(path: Path) -> Images:
    """Read a CSV, plain or `.gz`: images (n, 1, 28, 28) uint8 and labels (n,) uint8 from 0 to 9.

    Raises `UserError` with file, line, column and value at the first thing that is not as it should be.
    """
    import polars

    has_header = starts_with_header(path)
    names = [f"column {column}" for column in range(1, COLUMNS + 1)]
    try:
        schema = dict.fromkeys(names, polars.UInt8)
        rows = polars.read_csv(path, has_header=False, skip_rows=int(has_header), schema=schema)
    except (OSError, polars.exceptions.PolarsError) as error:
        raise first_mistake(path, has_header) or UserError(f"{path}: {error}") from error
    if rows.is_empty():
        raise UserError(f"{path}: a header and no rows")
    if any(rows.null_count().row(0)) or rows["column 1"].max() not in range(10):
        raise first_mistake(path, has_header) or UserError(f"{path}: a row is blank or short")
    pixels = rows.drop("column 1").to_numpy()
    return Images(
        np.ascontiguousarray(pixels).reshape(-1, 1, SIDE, SIDE),
        rows["column 1"].to_numpy().copy(),
    )


def open_text(path: Path) -> TextIO:
    """Open a CSV, plain or gzip, as text."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open("rt", encoding="utf-8", newline="")


def starts_with_header(path: Path) -> bool:
    """Whether the first line is the header `label,…`.

    Raises `UserError` if the file can't be read as text, is empty, or begins with anything else than a header of
    785 names, label first, or a row of 785 fields that begins with a number.
    """
    try:
        with open_text(path) as file:
            first = next(csv.reader(file), None)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    if first is None:
        raise UserError(f"{path}: the file is empty; expected rows of a label and {SIDE * SIDE} pixels")
    if len(first) != COLUMNS:
        raise UserError(
            f"{path}, line 1: {len(first)} columns; expected {COLUMNS}: the label, then {SIDE * SIDE} pixels"
        )
    if first[0].strip().isdigit():
        return False
    if first[0].strip().lower() != "label":
        raise UserError(f"{path}, line 1, column 1: {first[0]!r}; expected a label from 0 to 9 or the header 'label'")
    return True


def first_mistake(path: Path, has_header: bool) -> UserError | None:
    """Find the first bad row or value by reading the file again, slowly; None if every row is right."""
    try:
        return first_bad_row(path, has_header)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        return UserError(f"{path}: cannot be read as CSV: {error}")


def first_bad_row(path: Path, has_header: bool) -> UserError | None:
    """As `first_mistake`, for a file that can be read to its end."""
    with open_text(path) as file:
        for line, row in numbered_rows(file, has_header):
            if len(row) != COLUMNS:
                return UserError(f"{path}, line {line}: {len(row)} columns; expected {COLUMNS}")
            for column, text in enumerate(row, start=1):
                limit, kind = (9, "a label") if column == 1 else (255, "a pixel")
                if not (text.isascii() and text.isdecimal() and int(text) <= limit):
                    return UserError(
                        f"{path}, line {line}, column {column}: found {text!r}; "
                        f"expected {kind}, a whole number from 0 to {limit}"
                    )
    return None


def numbered_rows(file: TextIO, has_header: bool) -> Iterator[tuple[int, list[str]]]:
    """Rows with their line numbers in the file, from 1, without the header."""
    rows = enumerate(csv.reader(file), start=1)
    if has_header:
        next(rows)
    yield from rows
