"""The form of a CSV of square images: which column is the label, which the pixels, and whether there is a header.

MNIST goes round in many forms. One is recognised by its header's names (`by_names`) or, where there are none or they
tell nothing, by what the two columns at either end hold (`by_content`). Of p pixels and

| columns | names that tell                        | no such names                                       |
|---------|----------------------------------------|-----------------------------------------------------|
| p       | pixels alone                           | pixels alone                                        |
| p + 1   | a label, or an index that numbers rows | label first, label last, or row numbers and no label |
| p + 2   | an index first, and a label anywhere   | row numbers first, then the label second or last    |

What the user says of the label's column is done, or refused where it can't be so. Where two readings are left, the user
is asked: nothing is guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

from pipeline.config import Csv
from pipeline.errors import UserError

CLASSES = 10
SEPARATORS = ",;\t"
INDEX_NAMES = ("", "unnamed: 0", "index", "id")
LABEL_NAMES = ("label", "class", "digit", "target", "y")
NUMBERED = re.compile(r"(?:pixel|pix|px|p)?[ _]?(\d+)")
ROW_BY_COLUMN = re.compile(r"(\d+)x(\d+)")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf(inity)?", re.IGNORECASE)
FEWEST_COUNTED = 16
"""Pixels that count up are a header from this many on; fewer may be an image."""


def saying(setting: str, value: object, others: str = "") -> str:
    """How a setting is said to `myMNIST`, and how on the command line."""
    return f'{setting}={value}{others} (with make: ARGS="--data.csv.{setting} {value}")'


SAY = f"say which with {saying('label_column', 'first', ', last or none')}"


@dataclass(frozen=True)
class Form:
    """How to read the rows of a file."""

    separator: str
    names: tuple[str, ...] | None
    """The header, or None without one."""
    columns: int
    label: int | None
    """Column of the label, from 0; None for a file without labels."""
    pixels: tuple[int, ...]
    """Columns of the pixels, from 0, in the image's row-major order."""
    index: int | None
    """Column of row numbers, which is skipped."""

    @property
    def side(self) -> int:
        """Height and width of an image."""
        return isqrt(len(self.pixels))

    def __str__(self) -> str:
        """In words, for the log."""
        parts = [f"header {shortened(self.names)}" if self.names else "no header"]
        if self.separator != ",":
            parts.append(f"separated by {self.separator!r}")
        if self.index is not None:
            parts.append("row numbers in the first column")
        parts.append("no labels" if self.label is None else f"label in column {self.label + 1} of {self.columns}")
        parts.append(f"{self.side}×{self.side} pixels")
        if list(self.pixels) != sorted(self.pixels):
            parts.append("in the header's order")
        return ", ".join(parts)

    def named(self, column: int) -> str:
        """A column as an error message calls it; `column` counts from 0."""
        return f"column {column + 1}" + (f" ({self.names[column]!r})" if self.names else "")


def shortened(names: Sequence[str]) -> str:
    """ "label,1x1,…,28x28"."""
    return ",".join([*names[:2], "…", names[-1]])


@dataclass(frozen=True)
class Sample:
    """The first rows of a file, as text."""

    where: str
    """The file's name."""
    rows: Sequence[str]
    first_line: int
    separator: str
    columns: int
    pixels: int
    wanted: str
    """What the user says of the label's column; "auto": nothing."""

    def text(self, row: int, column: int) -> str:
        """A field in one of the two columns at either end."""
        fields = self.rows[row].split(self.separator, 2) if column < 2 else self.rows[row].rsplit(self.separator, 2)
        return fields[column if column < 2 else column - self.columns].strip().strip('"')

    def values(self, column: int) -> list[float]:
        """All of such a column as numbers; NaN for what is none."""
        return [number(self.text(row, column)) for row in range(len(self.rows))]

    def check_widths(self) -> None:
        """Refuse a row that is blank, short or long. Fields are numbers: none has a separator inside."""
        for line, row in enumerate(self.rows, start=self.first_line):
            count = row.count(self.separator) + 1
            if not row.strip():
                raise UserError(f"{self.where}, line {line}: the line is blank; expected {self.columns} values")
            if count != self.columns:
                raise UserError(f"{self.where}, line {line}: {count} columns; expected {self.columns}")


def find_form(lines: Sequence[str], options: Csv, where: str) -> Form:
    """The form of a file whose first lines these are (a header and some hundred rows, or all there are).

    Raises `UserError` where the lines fit no form, or more than one and `options.label_column` doesn't say which.
    """
    pixels = options.image_size**2
    separator = max(SEPARATORS, key=lines[0].count)
    if "\r" in lines[0].rstrip():
        raise UserError(f"{where}: its lines end in carriage returns alone; save it with line ends of Linux or Windows")
    try:
        first = next(csv.reader(lines[:1], delimiter=separator, strict=True))
    except csv.Error as error:
        raise UserError(f"{where}, line 1: not a row of a CSV: {error}") from error
    names = [field.strip() for field in first]
    refuse_other_widths(len(names), pixels, lines[0], where)

    header = is_header(names, pixels)
    rows = lines[1:] if header else lines
    if not rows:
        raise UserError(f"{where}: a header and no rows")
    sample = Sample(where, rows, 1 + header, separator, len(names), pixels, options.label_column)
    sample.check_widths()
    return by_names(sample, tuple(names), options.image_size) if header else by_content(sample, None)


def is_header(fields: Sequence[str], pixels: int) -> bool:
    """Whether a first row names columns: most of it is not numbers, or the numbers count the columns, as pandas does.

    A word among numbers is a mistake in a row of data, not a header, and so is the same word again and again.
    """
    numbers = [field for field in fields if NUMBER.fullmatch(field)]
    if len(numbers) >= max(pixels, FEWEST_COUNTED):
        return any(numbers == [str(number) for number in range(k, k + len(numbers))] for k in (0, 1))
    words = [field.lower() for field in fields if field not in numbers]
    known = any(word in LABEL_NAMES or position(word, 1) is not None for word in words)
    distinct = len(set(fields)) == len(fields) and "" not in fields[1:]
    return len(numbers) < len(fields) / 2 and (known or distinct)


def refuse_other_widths(columns: int, pixels: int, line: str, where: str) -> None:
    """Refuse what has too many or too few columns, saying what it may be instead."""
    if columns in (pixels, pixels + 1, pixels + 2):
        return
    side = isqrt(pixels)
    other = next((isqrt(n) for n in (columns - 1, columns) if n > 1 and isqrt(n) ** 2 == n), None)
    hint = ""
    if line.startswith("version https://git-lfs"):
        hint = "; this is a Git-LFS pointer, not the data: run `git lfs pull` where it came from"
    elif line.lstrip().startswith("<"):
        hint = "; this is a web page, not the data"
    elif columns in (pixels + CLASSES, pixels + CLASSES + 1):
        hint = f"; one-hot labels, in {CLASSES} columns? One column with a number from 0 to 9 is needed"
    elif other and columns > 2:
        hint = f"; for images of {other}×{other} pixels say {saying('image_size', other)}"
    what = "1 column" if columns == 1 else f"{columns} columns"
    raise UserError(f"{where}, line 1: {what}; expected {pixels + 1}: the label and {side}×{side} pixels{hint}")


def by_names(sample: Sample, names: tuple[str, ...], side: int) -> Form:
    """The form of a file with a header, from its names."""
    where, pixels = f"{sample.where}, line 1", sample.pixels
    lower = [name.lower() for name in names]
    label = named_label(sample, names)
    extra = len(names) - pixels - (label is not None)
    index = 0 if lower[0] in INDEX_NAMES and label != 0 and extra > 0 else None
    others = [column for column in range(len(names)) if column not in (label, index)]
    places = [position(lower[column], side) for column in others]

    counted = [list(range(k, k + len(others))) for k in (0, 1)]
    if label is None and len(others) == pixels + 1 and places in ([None] * len(others), *counted):
        # No name says anything, or all columns are numbered, the label's among them.
        return by_content(sample, names)
    unknown = [names[column] for column, place in zip(others, places, strict=True) if place is None]
    if len(unknown) == len(others) == pixels:
        places = list(range(pixels))
    elif unknown:
        one = len(unknown) == 1 and label is None
        hint = f"; if it holds the label, say {saying('label_column', unknown[0])}" if one else ""
        some = ", ".join(map(repr, unknown[:5]))
        raise UserError(f"{where}: by their names these are neither a label nor pixels: {some}{hint}")
    if len(others) != pixels:
        raise UserError(f"{where}: the header names {len(others)} pixels; expected {pixels}")
    column_of = dict(zip(places, others, strict=True))
    first = min(place for place in places if place is not None)
    gap = next((place for place in range(first, first + pixels) if place not in column_of), None)
    if gap is not None:
        raise UserError(f"{where}: the pixel after {names[column_of[gap - 1]]!r} is missing in the header")
    check_index(sample, index, label, names)
    return Form(sample.separator, names, len(names), label, tuple(column_of[first + k] for k in range(pixels)), index)


def named_label(sample: Sample, names: Sequence[str]) -> int | None:
    """The label's column by its name, or as the user says."""
    where, wanted = f"{sample.where}, line 1", sample.wanted
    found = [column for column, name in enumerate(names) if name.lower() in LABEL_NAMES]
    if wanted in names:
        return list(names).index(wanted)
    if wanted not in ("auto", "first", "last", "none"):
        raise UserError(f"{where}: there is no column {wanted!r}; the header is {shortened(names)}")
    if len(found) > 1:
        both = " and ".join(repr(names[column]) for column in found)
        which = saying("label_column", names[found[0]])
        raise UserError(f"{where}: {both} may both be the label; say which, such as {which}")
    if wanted == "auto":
        return found[0] if found else None
    both_first = len(names) == sample.pixels + 2 and names[0].lower() in INDEX_NAMES
    said = {"first": int(both_first), "last": len(names) - 1, "none": None}[wanted]
    if found and found != [said]:
        raise UserError(f"{where}: label_column={wanted}, but the header calls another column {names[found[0]]!r}")
    return said


def check_index(sample: Sample, index: int | None, label: int | None, names: Sequence[str]) -> None:
    """Refuse a column called an index that holds anything but different whole numbers, or that may be the labels."""
    if index is None:
        return
    values = sample.values(index)
    where = f"{sample.where}, column {index + 1} ({names[index]!r})"
    if label is None and sample.wanted == "auto" and all(map(is_label, values)):
        raise UserError(f"{where}: it may hold row numbers or the labels; {SAY}")
    bad = next((row for row, value in enumerate(values) if not (value >= 0 and value % 1 == 0)), None)
    if bad is not None:
        raise UserError(
            f"{where}, line {sample.first_line + bad}: found {sample.text(bad, index)!r}; expected a row number"
        )
    if len(set(values)) < len(values):
        hint = f"if these are labels, say {saying('label_column', 'first')}"
        raise UserError(f"{where}: expected row numbers, but they repeat; {hint}")


def position(name: str, side: int) -> int | None:
    """The place of a pixel by its column's name, counted from wherever the names start; None for other names."""
    if match := ROW_BY_COLUMN.fullmatch(name):
        row, column = map(int, match.groups())
        return row * side + column
    if match := NUMBERED.fullmatch(name):
        return int(match[1])
    return None


@dataclass(frozen=True)
class Reading:
    """One way to read rows without names."""

    title: str
    """What the user says to choose it: first, last or none."""
    label: int | None
    index: int | None

    def fits(self, ends: Mapping[int, list[float]]) -> bool:
        """Whether the sampled columns can be what this makes of them."""
        if self.index is not None and not counts_up(ends[self.index]):
            return False
        if self.label is None and self.index is not None and len(ends[self.index]) == 1:
            return False  # one row counts nothing
        return self.label is None or all(map(is_label, ends[self.label]))

    def likelihood(self, ends: Mapping[int, list[float]]) -> int:
        """How much speaks for it: images have black corners, labels are not all 0, and row numbers count up."""
        corners = [column for column in ends if column not in (self.label, self.index)]
        black = all(value == 0 for column in (corners[0], corners[-1]) for value in ends[column])
        return black + (self.label is not None and any(ends[self.label])) + (self.index is not None)


def by_content(sample: Sample, names: tuple[str, ...] | None) -> Form:
    """The form of rows whose columns have no telling names, from what is in the columns at their ends."""
    columns, pixels = sample.columns, sample.pixels
    last = columns - 1
    ends = {column: sample.values(column) for column in (0, 1, last - 1, last)}
    readings = {
        pixels: [Reading("none", None, None)],
        pixels + 1: [Reading("first", 0, None), Reading("last", last, None), Reading("none", None, 0)],
        pixels + 2: [Reading("first", 1, 0), Reading("last", last, 0)],
    }[columns]
    if sample.wanted != "auto":
        chosen = [reading for reading in readings if reading.title == sample.wanted]
        if not chosen:
            raise UserError(
                f"{sample.where}: label_column={sample.wanted}, but the {columns} columns have no names to find it by "
                f"and are {isqrt(pixels)}×{isqrt(pixels)} pixels and {columns - pixels} more"
            )
        reading = chosen[0]
    else:
        # Where nothing fits, what is wrong is said of the published form.
        reading = (readings[0] if columns == pixels else likeliest(readings, ends, sample.where)) or readings[0]
    if reading.index is not None and not counts_up(ends[reading.index]):
        blank = all(not sample.text(row, last) for row in range(len(sample.rows)))
        hint = f"; every line ends in {sample.separator!r}" if blank else ""
        raise UserError(
            f"{sample.where}, line {sample.first_line}: {columns} columns, and the first doesn't count the rows from 0 "
            f"or 1; expected {columns - 1} columns{hint}"
        )
    if reading.label is not None and not all(map(is_label, ends[reading.label])):
        bad = next(row for row, value in enumerate(ends[reading.label]) if not is_label(value))
        raise UserError(
            f"{sample.where}, line {sample.first_line + bad}, column {reading.label + 1}: "
            f"found {sample.text(bad, reading.label)[:40]!r}; expected a label, "
            f"a whole number from 0 to 9; if another column holds the labels, {SAY}"
        )
    others = tuple(column for column in range(columns) if column not in (reading.label, reading.index))
    return Form(sample.separator, names, columns, reading.label, others, reading.index)


def likeliest(readings: Sequence[Reading], ends: Mapping[int, list[float]], where: str) -> Reading | None:
    """The one reading that fits, or fits better than the rest; None where none does. Raises `UserError` for a draw."""
    fitting = [reading for reading in readings if reading.fits(ends)]
    best = max((reading.likelihood(ends) for reading in fitting), default=0)
    winners = [reading for reading in fitting if reading.likelihood(ends) == best]
    if best == 0:
        return None
    if len(winners) > 1:
        titles = " or ".join(
            "missing, with row numbers first" if reading.label is None else f"in the {reading.title} column"
            for reading in winners
        )
        raise UserError(f"{where}: the labels may be {titles}; {SAY}")
    return winners[0]


def number(text: str) -> float:
    """A field as a number; NaN where it is none."""
    return float(text) if NUMBER.fullmatch(text) else float("nan")


def counts_up(values: Sequence[float]) -> bool:
    """Whether these are 0, 1, 2, … or 1, 2, 3, …."""
    return values[0] in (0, 1) and all(value == values[0] + k for k, value in enumerate(values))


def is_label(value: float) -> bool:
    """Whether this is 0, 1, …, 9."""
    return value in range(CLASSES)
