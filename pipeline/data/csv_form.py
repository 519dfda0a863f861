"""The form of a CSV of square images: which column is the label, which the pixels, and whether there is a header.

MNIST goes round in many forms. One is recognised by its header's names or, without names, by what the columns at both
ends hold. Where that leaves two readings, the user is asked: nothing is guessed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
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
    fields = [field.strip() for field in first]
    refuse_other_widths(len(fields), pixels, lines[0], where)

    if not is_header(fields, pixels):
        return by_content(lines, 1, separator, None, options, where)
    if len(lines) == 1:
        raise UserError(f"{where}: a header and no rows")
    return by_names(lines, fields, separator, options, where)


def is_header(fields: Sequence[str], pixels: int) -> bool:
    """Whether a first row names columns: most of it is not numbers, or the numbers count the columns, as pandas does.

    One word among numbers is a mistake in a row of data, not a header.
    """
    numbers = [field for field in fields if NUMBER.fullmatch(field)]
    counting = len(numbers) >= pixels and numbers in (
        [str(number) for number in range(start, start + len(numbers))] for start in (0, 1)
    )
    return counting or len(numbers) < len(fields) / 2


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
        hint = f"; for images of {other}×{other} pixels say image_size={other}"
    what = "1 column" if columns == 1 else f"{columns} columns"
    raise UserError(f"{where}, line 1: {what}; expected {pixels + 1}: the label and {side}×{side} pixels{hint}")


def by_names(lines: Sequence[str], names: Sequence[str], separator: str, options: Csv, where: str) -> Form:
    """The form of a file with a header, from its names."""
    pixels = options.image_size**2
    lower = [name.lower() for name in names]
    index = 0 if lower[0] in INDEX_NAMES and len(names) > pixels else None
    rest = [column for column in range(len(names)) if column != index]
    label = named_label(names, options.label_column, where)
    others = [column for column in rest if column != label]
    positions = [position(lower[column], options.image_size) for column in others]

    if label is None and len(others) == pixels + 1 and positions == list(range(pixels + 1)):
        # All columns are numbered, the label's among them: the names tell nothing.
        return by_content(lines, 2, separator, tuple(names), options, where)
    if all(place is None for place in positions):
        if label is None and len(others) != pixels:
            return by_content(lines, 2, separator, tuple(names), options, where)
        positions = list(range(len(others)))
    unknown = [names[column] for column, place in zip(others, positions, strict=True) if place is None]
    if unknown:
        if label is None and len(unknown) == 1:
            raise UserError(
                f"{where}, line 1: the column {unknown[0]!r} is neither a label nor a pixel by its name; "
                f"if it holds the label, say label_column={unknown[0]}"
            )
        raise UserError(
            f"{where}, line 1: the columns {', '.join(map(repr, unknown[:5]))} are no pixels by their names"
        )
    places = dict(zip(positions, others, strict=True))
    first = min(place for place in places if place is not None)
    gap = next((place for place in range(first, first + pixels) if place not in places), None)
    if gap is not None:
        raise UserError(
            f"{where}, line 1: the header names {len(places)} different pixels; expected {pixels}, "
            f"and the one after {names[places[gap - 1]]!r} is missing"
        )
    ordered = tuple(places[first + k] for k in range(pixels))
    if len(others) != pixels:
        raise UserError(f"{where}, line 1: the header names {len(others)} pixels; expected {pixels}")
    return Form(separator, tuple(names), len(names), label, ordered, index)


def named_label(names: Sequence[str], wanted: str, where: str) -> int | None:
    """The label's column by its name, or as the user says."""
    if wanted == "none":
        return None
    if wanted != "auto":
        if wanted in names:
            return names.index(wanted)
        if wanted in ("first", "last"):
            index = names[0].lower() in INDEX_NAMES
            return len(names) - 1 if wanted == "last" else int(index)
        raise UserError(f"{where}, line 1: there is no column {wanted!r}; the header is {shortened(names)}")
    found = [column for column, name in enumerate(names) if name.lower() in LABEL_NAMES]
    if len(found) > 1:
        both = " and ".join(repr(names[column]) for column in found)
        raise UserError(f"{where}, line 1: {both} may both be the label; say which with label_column=")
    return found[0] if found else None


def position(name: str, side: int) -> int | None:
    """The place of a pixel in its image by its column's name, counted from where the names start; None for others."""
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

    def fits(self, ends: dict[int, list[float]]) -> bool:
        """Whether the sampled columns can be what this makes of them."""
        if self.index is not None and not counts_up(ends[self.index]):
            return False
        if self.index is not None and self.label is None and len(ends[self.index]) <= CLASSES:
            return False  # a row of each class in order looks the same
        return self.label is None or all(is_label(value) for value in ends[self.label])

    def likelihood(self, ends: dict[int, list[float]]) -> int:
        """How much speaks for it: images have black corners, and labels are not all 0."""
        corners = [column for column in ends if column not in (self.label, self.index)]
        black = all(value == 0 for column in (corners[0], corners[-1]) for value in ends[column])
        return int(black) + int(self.label is not None and any(ends[self.label]))


def by_content(
    lines: Sequence[str], first_line: int, separator: str, names: tuple[str, ...] | None, options: Csv, where: str
) -> Form:
    """The form of rows without names, from what is in the columns at their ends."""
    pixels = options.image_size**2
    rows = lines[first_line - 1 :]
    columns = rows[0].count(separator) + 1
    for line, row in enumerate(rows, start=first_line):
        if not row.strip():
            raise UserError(f"{where}, line {line}: the line is blank; expected {columns} values")
        if row.count(separator) + 1 != columns:
            raise UserError(f"{where}, line {line}: {row.count(separator) + 1} columns; expected {columns}")
    last = columns - 1
    ends = {
        column: [number(end_text(row, column, columns, separator)) for row in rows] for column in (0, 1, last - 1, last)
    }

    readings = {
        pixels: [Reading("none", None, None)],
        pixels + 1: [Reading("first", 0, None), Reading("last", last, None), Reading("none", None, 0)],
        pixels + 2: [Reading("first", 1, 0), Reading("last", last, 0)],
    }[columns]
    wanted = options.label_column
    if wanted != "auto":
        reading = next((reading for reading in readings if reading.title == wanted), None)
        if reading is None:
            raise UserError(
                f"{where}: label_column={wanted}, but the {columns} columns have no names to find it by and are "
                f"{options.image_size}×{options.image_size} pixels and {columns - pixels} more"
            )
    else:
        # Where nothing fits, what is wrong is said of the published form.
        reading = (readings[0] if columns == pixels else likeliest(readings, ends, where)) or readings[0]
    if reading.index is not None and not counts_up(ends[reading.index]):
        raise UserError(
            f"{where}, line {first_line}: {columns} columns, and the first does not hold row numbers; "
            f"expected {columns - 1}"
        )
    if reading.label is not None and not all(map(is_label, ends[reading.label])):
        bad = next(k for k, value in enumerate(ends[reading.label]) if not is_label(value))
        raise UserError(
            f"{where}, line {first_line + bad}, column {reading.label + 1}: "
            f"found {end_text(rows[bad], reading.label, columns, separator)[:40]!r}; expected a label, "
            "a whole number from 0 to 9 (if another column holds the labels, say which with label_column=)"
        )
    others = tuple(column for column in range(columns) if column not in (reading.label, reading.index))
    return Form(separator, names, columns, reading.label, others, reading.index)


def likeliest(readings: Sequence[Reading], ends: dict[int, list[float]], where: str) -> Reading | None:
    """The one reading that fits, or fits better than the rest; None where none does. Raises `UserError` for a draw."""
    fitting = [reading for reading in readings if reading.fits(ends)]
    best = max((reading.likelihood(ends) for reading in fitting), default=0)
    winners = [reading for reading in fitting if reading.likelihood(ends) == best]
    if best == 0:
        return None
    if len(winners) > 1:
        titles = " or ".join(
            "there are none, and row numbers first" if reading.label is None else f"in the {reading.title} column"
            for reading in winners
        )
        raise UserError(f"{where}: the labels may be {titles}; say which with label_column=first, last or none")
    return winners[0]


def end_text(row: str, column: int, columns: int, separator: str) -> str:
    """A field near either end of a row."""
    fields = row.split(separator, 2) if column < 2 else row.rsplit(separator, 2)[::-1]
    return fields[column if column < 2 else columns - 1 - column].strip().strip('"')


def number(text: str) -> float:
    """A field as a number; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def counts_up(values: Sequence[float]) -> bool:
    """Whether these are 0, 1, 2, … or 1, 2, 3, …."""
    return values[0] in (0, 1) and all(value == values[0] + k for k, value in enumerate(values))


def is_label(value: float) -> bool:
    """Whether this is 0, 1, …, 9."""
    return value in range(CLASSES)
