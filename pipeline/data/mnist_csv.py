"""Reads MNIST and its like from CSV, in blocks of constant memory, and says exactly what is wrong where it isn't.

Values are parsed straight into unsigned bytes, which refuses what does not fit: a pixel of 300 is an error, never 44.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import polars

from pipeline.config import Csv
from pipeline.data.compressed import open_bytes
from pipeline.data.csv_form import CLASSES, Form, find_form
from pipeline.data.store import UNLABELLED, Bytes, Images
from pipeline.errors import UserError

logger = logging.getLogger(__name__)

AUTO = Csv()
BLOCK = 8 << 20  # bytes of text: some thousand rows, enough to keep the parser's overhead small
PARSERS = 2  # blocks parsed at a time; more would only take memory, as each is parsed by all cores
SAMPLE = 2 << 20  # bytes of text that the form is found by: about 1,000 rows
LONGEST_LINE = 16 << 20
WHOLE = re.compile(r"\+?\d+(\.0*)?")
NOT_WHOLE = re.compile(rb"\.0*[1-9]|[0-9.] +[0-9.]|\r(?!\n|\Z)")

MNIST_MEAN = 33.3  # of all pixels of the training images; the test images' is 33.8
UNLIKE_MNIST = 8.0  # further from it than any large part of MNIST is
FASHION_COUNTS = {60_000: 6_000, 10_000: 1_000}


@dataclass(frozen=True)
class Block:
    """Some whole lines of a file."""

    text: bytes
    first_line: int
    """Number of its first line in the file, from 1."""
    lines: int


@dataclass
class DigitsCsv:
    """A CSV of square grey images of digits.

    Opening it finds its form and logs it in one line. Raises `UserError` if that can't be.
    """

    path: Path
    options: Csv = AUTO
    form: Form = field(init=False)
    doubts: list[str] = field(init=False, default_factory=list)
    """What a reader of results should know, once all blocks have been read."""

    def __post_init__(self) -> None:
        with open_bytes(self.path) as (file, compression):
            block = next(text_blocks(file, self.path, SAMPLE), None)
        if block is None:
            raise UserError(f"{self.path}: the file is empty; expected rows of a label and pixels")
        self.form = find_form(
            decoded(block.text, self.path).removesuffix("\n").split("\n"), self.options, str(self.path)
        )
        logger.info("%s: %s", self.path.name, ", ".join(filter(None, [compression, str(self.form)])))

    def blocks(self) -> Iterator[Images]:
        """All images in order: (n, 1, side, side) uint8 from 0 to 255, labels 0 to 9, or `UNLABELLED`.

        Raises `UserError` with line, column and value at the first thing that is not as it should be.
        """
        counts = np.zeros(UNLABELLED + 1, np.int64)
        total = values = 0
        with open_bytes(self.path) as (file, _), ThreadPoolExecutor(PARSERS) as parsers:
            parsing: deque[Future[Images]] = deque()
            texts = text_blocks(file, self.path, BLOCK)
            if self.form.names:
                texts = without_header(texts)
            parsing.extend(parsers.submit(self.parse, block) for block in islice(texts, PARSERS))
            while parsing:
                images = parsing.popleft().result()
                parsing.extend(parsers.submit(self.parse, block) for block in islice(texts, 1))
                counts += np.bincount(images.labels, minlength=len(counts))
                total, values = total + int(images.images.sum(dtype=np.int64)), values + images.images.size
                yield images
        self.doubts += unlike_mnist(counts, total / values, self.path.name) if self.form.side == 28 else []

    def parse(self, block: Block) -> Images:
        """One block as arrays, every value checked before it becomes a byte."""
        form = self.form
        try:
            values = self.table(block)
        except (ValueError, polars.exceptions.PolarsError) as error:
            raise self.first_mistake(block) or UserError(
                f"{self.path}, lines {block.first_line} to {block.first_line + block.lines - 1}: not a table of numbers"
            ) from error
        pixels = values[:, in_one_piece(form.pixels)]
        if form.label is None:
            labels = np.full(len(values), UNLABELLED, np.uint8)
        else:
            labels = values[:, form.label].copy()
            if labels.max() >= CLASSES:
                raise self.first_mistake(block) or AssertionError("a label is too large")
        return Images(np.ascontiguousarray(pixels).reshape(-1, 1, form.side, form.side), labels)

    def table(self, block: Block) -> Bytes:
        """A block's numbers (rows, columns), those of the index left as 0.

        Raises polars' errors and `ValueError` for anything but whole numbers from 0 to 255 in every row.
        """
        form = self.form
        names = [str(column) for column in range(form.columns)]
        index = [] if form.index is None else [names[form.index]]

        def read(text: bytes, kind: type[polars.DataType]) -> polars.DataFrame:
            # Row numbers don't fit into bytes.
            wide = polars.Int64 if kind == polars.UInt8 else polars.Float64
            schema = {name: wide if name in index else kind for name in names}
            rows = polars.read_csv(text, has_header=False, separator=form.separator, schema=schema)
            if len(rows) != block.lines or any(rows.null_count().row(0)):
                raise ValueError("a row is blank or short, or goes over several lines")
            return rows.with_columns(polars.lit(0, kind).alias(name) for name in index) if index else rows

        try:
            return read(block.text, polars.UInt8).to_numpy(order="c")
        except polars.exceptions.PolarsError:
            # Whole numbers may be written as decimals, 255.0, and followed by spaces. They are checked as text first:
            # as a number, 254.99999999999999999 is 255.
            decimals = read(plain(block.text, form.separator), polars.Float64).to_numpy(order="c")
            if not ((decimals >= 0) & (decimals <= 255)).all():
                raise ValueError("not only numbers from 0 to 255") from None
            return decimals.astype(np.uint8)

    def first_mistake(self, block: Block) -> UserError | None:
        """Find the first bad row or value of a block, slowly; None if every row is right."""
        form = self.form
        text = io.StringIO(decoded(block.text, self.path), newline="")
        reader = csv.reader(text, delimiter=form.separator)
        try:
            line = block.first_line
            for row in reader:
                where = f"{self.path}, line {line}"
                line = block.first_line + reader.line_num
                if not any(map(str.strip, row)):
                    return UserError(f"{where}: the line is blank; expected {form.columns} values")
                if len(row) != form.columns:
                    return UserError(f"{where}: {len(row)} columns; expected {form.columns}")
                for column, value in enumerate(row):
                    if column == form.index:
                        limit, kind = 2**63 - 1, "a row number"
                    else:
                        limit, kind = (CLASSES - 1, "a label") if column == form.label else (255, "a pixel")
                    if not is_whole(value, limit):
                        range_of = "" if column == form.index else f", a whole number from 0 to {limit}"
                        return UserError(
                            f"{where}, {form.named(column)}: found {value[:40]!r}; "
                            f"expected {kind}{range_of}{hint_about(value, kind)}"
                        )
        except csv.Error as error:
            return UserError(f"{self.path}, line {line}: not a row of a CSV: {error}")
        return None


def read_digits(path: Path, options: Csv = AUTO) -> Images:
    """Read a whole CSV into memory: images (n, 1, side, side) uint8 and labels (n,) uint8.

    Accepts any form that `pipeline.data.csv_form` knows, plain or compressed. Raises `UserError` with file, line,
    column and value at the first thing that is not as it should be.
    """
    digits = DigitsCsv(path, options)
    blocks = list(digits.blocks())
    for doubt in digits.doubts:
        logger.warning(doubt)
    return Images(np.concatenate([b.images for b in blocks]), np.concatenate([b.labels for b in blocks]))


def text_blocks(file: io.BufferedReader, path: Path, size: int) -> Iterator[Block]:
    """A file in blocks of whole lines, without a byte-order mark and without blank lines at its end."""
    first_line = 1
    blank = b""  # lines that count only if something follows
    while text := file.read(size):
        if first_line == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
            if b"\0" in text[:4096]:
                raise UserError(f"{path}: a binary file, or text in UTF-16; expected a CSV in UTF-8 or ASCII")
        rest = file.readline(LONGEST_LINE)
        if max(len(rest), len(blank)) >= LONGEST_LINE:
            raise UserError(
                f"{path}: over {LONGEST_LINE >> 20} MiB without a row; expected rows of some hundred numbers"
            )
        text = blank + text + rest
        lines = text.rstrip(b" \r\n")
        blank = text[len(lines) :]
        if lines:
            blank = blank.partition(b"\n")[2]
            block = Block(lines, first_line, lines.count(b"\n") + 1)
            yield block
            first_line += block.lines


def without_header(blocks: Iterator[Block]) -> Iterator[Block]:
    """The same lines without the first."""
    first = next(blocks)
    if first.lines > 1:
        yield Block(first.text.partition(b"\n")[2], 2, first.lines - 1)
    yield from blocks


def plain(text: bytes, separator: str) -> bytes:
    """Text without spaces beside numbers. Raises `ValueError` for anything but whole numbers, maybe written as 5.0."""
    if text.translate(None, b'0123456789.+ "\r\n' + separator.encode()) or NOT_WHOLE.search(text):
        raise ValueError("not only whole numbers")
    return text.replace(b" ", b"")


def decoded(text: bytes, path: Path) -> str:
    """Text for people; bytes that are no text are kept visible."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        if b"\n" not in text[: 1 << 16] and len(text) > 1 << 16:
            raise UserError(f"{path}: a binary file; expected a CSV in UTF-8 or ASCII") from None
        return text.decode(errors="backslashreplace")


def in_one_piece(columns: Sequence[int]) -> slice | list[int]:
    """Columns as a slice where they follow each other, which saves looking each of them up."""
    first = columns[0]
    following = all(column == first + k for k, column in enumerate(columns))
    return slice(first, first + len(columns)) if following else list(columns)


def is_whole(text: str, limit: int) -> bool:
    """Whether this is 0, 1, … limit, maybe written as 1.0."""
    text = text.strip()
    return text.isascii() and WHOLE.fullmatch(text) is not None and float(text) <= limit


def hint_about(value: str, kind: str) -> str:
    """What a wrong value may come from."""
    try:
        number = float(value)
    except ValueError:
        return ""
    if kind == "a pixel" and 0 < number < 1:
        return " (pixels divided by 255? multiply them and round)"
    return ""


def unlike_mnist(counts: np.ndarray, mean: float, name: str) -> list[str]:
    """Why images may not be MNIST's, from their class counts and mean pixel: nothing, or one sentence."""
    total = int(counts.sum())
    even = FASHION_COUNTS.get(total)
    if even and np.array_equal(counts[:CLASSES], [even] * CLASSES):
        return [f"{name} has {even:,} images of every class, as Fashion-MNIST has; MNIST's classes differ in size."]
    if total >= 100 and abs(mean - MNIST_MEAN) > UNLIKE_MNIST:
        return [
            f"{name} may not be MNIST: its mean pixel is {mean:.0f} of 255, where MNIST's is 33 and Fashion-MNIST's 73."
        ]
    return []
