"""What a written answer claims, measured: figures over seeds, and whether they bear a claim out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.metrics.statistics import Estimate, estimate

Tables = Mapping[str, pd.DataFrame]
"""By name; each with the seeds of all runs in the column `seed`."""


@dataclass(frozen=True)
class Claim:
    """A claim's figures, as texts by name, and the verdict. Its words are in `reports/answers/*.claims.yaml`."""

    name: str
    values: Mapping[str, str]
    holds: bool


def by_seed(table: pd.DataFrame, value: str, **where: object) -> list[float]:
    """A column's value for each seed, in the rows that `where` describes; their mean where there are several."""
    rows = selected(table, **where)
    return [float(part) for part in rows.groupby("seed")[value].mean()]


def selected(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    return table


def ratio(over: Sequence[float], under: Sequence[float]) -> Estimate:
    """Mean of the ratios seed by seed on a logarithmic scale, with the half-width of its 95 % t-interval there.

    Mean and half-width are exponentials: the interval runs from mean / half_width to mean × half_width.
    """
    found = estimate([float(np.log(max(a, 1e-30) / max(b, 1e-30))) for a, b in zip(over, under, strict=True)])
    return Estimate(
        float(np.exp(found.mean)), None if found.half_width is None else float(np.exp(found.half_width)), found.n
    )


def times(found: Estimate) -> str:
    """ "2.31 ×/÷ 1.20 (n = 5)": a mean ratio and the factor of its interval."""
    spread = "" if found.half_width is None else f" ×/÷ {number(found.half_width)}"
    return f"{number(found.mean)}{spread} (n = {found.n})"


def number(value: float) -> str:
    """Three digits, without an exponent where the number is large: 0.0499, 2.31, 2,560."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def surely_above(found: Estimate, bound: float) -> bool:
    """Whether the whole interval of a ratio is above a bound; of one seed, whether the ratio is."""
    return found.mean / (found.half_width or 1) > bound


def surely_below(found: Estimate, bound: float) -> bool:
    """Whether the whole interval of a ratio is below a bound; of one seed, whether the ratio is."""
    return found.mean * (found.half_width or 1) < bound


def within(found: Estimate, factor: float) -> bool:
    """Whether the whole interval of a ratio is between 1 / factor and factor: two one-sided tests of equivalence."""
    return surely_above(found, 1 / factor) and surely_below(found, factor)


def plain(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Mean and interval over seeds as text."""
    return estimate(values).text(digits, unit)
