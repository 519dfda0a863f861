"""What a written answer claims, measured: figures over seeds, and whether they bear a claim out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import pandas as pd

from pipeline.metrics.statistics import Estimate, estimate

Tables = Mapping[str, pd.DataFrame]
"""By name; each with the seeds of all runs in the column `seed`."""


class Verdict(IntEnum):
    """What an experiment says of a claim. Of a claim with several parts, the least of theirs."""

    CONTRADICTED = 0
    """The interval lies on the other side."""
    OPEN = 1
    """It reaches both sides: the experiment can't tell."""
    HOLDS = 2


VERDICT_MARKS = {Verdict.CONTRADICTED: "✗", Verdict.OPEN: "?", Verdict.HOLDS: "✓"}
"""Of the parts of a claim."""


class Interval(Protocol):
    """A figure's 95 % interval over seeds; of one seed both ends are the figure."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Ratio:
    """The geometric mean of n ratios, and the factor of its 95 % t-interval, taken of their logarithms."""

    mean: float
    factor: float | None
    """The interval runs from mean / factor to mean × factor; none for n = 1."""
    n: int

    @classmethod
    def of_logarithms(cls, found: Estimate) -> Ratio:
        """What an estimate of logarithms says of the numbers themselves."""
        return cls(math.exp(found.mean), None if found.half_width is None else math.exp(found.half_width), found.n)

    @property
    def low(self) -> float:
        return self.mean / (self.factor or 1)

    @property
    def high(self) -> float:
        return self.mean * (self.factor or 1)

    def text(self, digits: int = 3) -> str:
        """ "2.31 ×/÷ 1.20 (n = 5)": the mean and the factor of its interval."""
        spread = "" if self.factor is None else f" ×/÷ {number(self.factor, digits)}"
        return f"{number(self.mean, digits)}{spread} (n = {self.n})"


@dataclass(frozen=True)
class Claim:
    """What was measured of a claim: figures, as texts by name, and the verdict."""

    values: Mapping[str, str]
    verdict: Verdict


Claims = Mapping[str, tuple[str, Callable[[Tables], Claim | None]]]
"""Of an answer, by the names under which their words stand in `reports/answers/*.claims.yaml`: the table that a claim
needs, and what draws it from the tables; None for runs from before all of it was measured."""


def measured(claims: Claims, tables: Tables) -> dict[str, Claim]:
    """Every claim that there is a table for."""
    drawn = {name: draw(tables) for name, (needed, draw) in claims.items() if needed in tables}
    return {name: claim for name, claim in drawn.items() if claim is not None}


def above(found: Interval, bound: float) -> Verdict:
    """Of the claim that a figure is above a bound."""
    if found.low > bound:
        return Verdict.HOLDS
    return Verdict.CONTRADICTED if found.high < bound else Verdict.OPEN


def below(found: Interval, bound: float) -> Verdict:
    """Of the claim that a figure is below a bound."""
    if found.high < bound:
        return Verdict.HOLDS
    return Verdict.CONTRADICTED if found.low > bound else Verdict.OPEN


def within(found: Interval, least: float, greatest: float) -> Verdict:
    """Of the claim that a figure is between two bounds: two one-sided tests of equivalence."""
    return min(above(found, least), below(found, greatest))


def certain(fact: bool) -> Verdict:
    """Of a claim on what leaves nothing to chance."""
    return Verdict.HOLDS if fact else Verdict.CONTRADICTED


def by_seed(table: pd.DataFrame, value: str, **where: object) -> list[float]:
    """A column's value for each seed, in the rows that `where` describes; their mean where there are several."""
    rows = selected(table, **where)
    return [float(part) for part in rows.groupby("seed")[value].mean()]


def selected(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows whose columns have these values."""
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    return table


def difference(over: Sequence[float], under: Sequence[float]) -> Estimate:
    """Of two figures, seed by seed."""
    return estimate([a - b for a, b in zip(over, under, strict=True)])


def logarithms(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Of the ratio of two figures, seed by seed."""
    return [math.log(max(a, 1e-30) / max(b, 1e-30)) for a, b in zip(over, under, strict=True)]


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Of two figures, seed by seed."""
    return Ratio.of_logarithms(estimate(logarithms(over, under)))


def number(value: float, digits: int = 3) -> str:
    """So many digits, without an exponent where the number is large: 0.0499, 2.31, 1,580,000."""
    return f"{float(f'{value:.{digits}g}'):,.0f}" if value >= 100 else f"{value:.{digits}g}"


def plain(values: Sequence[float], digits: int = 2, unit: str = "") -> str:
    """Mean and interval over seeds as text."""
    return estimate(values).text(digits, unit)
