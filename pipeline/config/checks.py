"""What settings have in common to be checked for, each refused in one line that says what to give."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pipeline.errors import UserError

ALIKE = 0.65
"""How alike two names are, of 1, for one to be taken for the other's misspelling; "mine" and "linear" are 0.6 alike."""
BUDGETS = ("epochs", "steps", "seconds")
"""What the length of a training may be given in: one of them."""


def require_some(name: str, values: Sequence[object], example: str) -> None:
    """Refuse an empty list."""
    if not values:
        raise UserError(f"{name} is empty; give at least one, for example {example}")


def require_positive(name: str, values: Iterable[float]) -> None:
    """Refuse what is not a finite number above 0."""
    for value in values:
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{name}: {value:g} is not a positive number")


def require_variances(name: str, values: Iterable[float]) -> None:
    """Refuse what is no variance of noise on pixels from 0 to 1, most likely one of pixels from 0 to 255."""
    values = list(values)
    require_positive(name, values)
    if max(values) > 1:
        raise UserError(
            f"{name}: {max(values):g} is above 1; pixels run from 0 to 1, so a standard deviation of 25 of 255 is a "
            "variance of 0.0096"
        )


def require_distinct(name: str, values: Sequence[object]) -> None:
    """Refuse a value given twice: it would be one trial, counted as two."""
    for value, count in Counter(values).items():
        if count > 1:
            raise UserError(f"{name}: {value} is given more than once")


def require_seeds(name: str, seeds: Sequence[int]) -> None:
    """Refuse an empty list, repeated seeds, and seeds below 0."""
    require_some(name, seeds, 'SEEDS="0 1 2"')
    require_distinct(name, seeds)
    for seed in seeds:
        if seed < 0:
            raise UserError(f"{name}: {seed} is below 0")


def of_type(name: str, value: Any, kind: Any) -> Any:
    """A value of a setting that is of a type, a `Literal` or a union of such, whole numbers as floats where those are.

    For settings in tables, which no parser looks at. Raises `UserError` for any other value.
    """
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    words: list[str] = []
    for one in kinds:
        if get_origin(one) is Literal:
            words += get_args(one)
            if value in get_args(one):
                return value
        elif one is float and type(value) in (int, float):
            return float(value)
        elif type(value) is one:
            return value
        else:
            words.append({float: "number", int: "whole number", bool: "true or false"}.get(one, "null"))
    raise UserError(f"{name}: expected {' or '.join(words)}, found {value!r}")


def unwritable(home: Path) -> str | None:
    """What keeps a stage from writing into its home folder, there or to be made, and what to do; None: nothing."""
    home = home.resolve()
    there = next(folder for folder in (home, *home.parents) if os.access(folder, os.F_OK))
    for place in (there, home / ".cache", home / "mlruns"):
        if os.access(place, os.F_OK) and not (place.is_dir() and os.access(place, os.W_OK | os.X_OK)):
            what = "can't be written to" if place.is_dir() else "is not a folder"
            return f"{place} {what}; choose another folder: ARGS='--run.home=folder'"
    return None


def expanded(path: Path | None) -> Path | None:
    """A path with ~ as the home folder: make passes it on as it is."""
    return path and path.expanduser()


def hint(name: str, known: Collection[str], otherwise: str = "") -> str:
    """What to say of a name that is not known: the nearest that is, or all, or something else."""
    near = get_close_matches(name, known, n=1, cutoff=ALIKE)
    return f"did you mean {near[0]}?" if near else otherwise or f"there is {', '.join(known) or 'none'}"
