"""Means with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEAST_SEEDS = 6
"""With fewer, no sign-flip test over seeds can give a p below 0.05: with 5 the least is 2/2⁵ = 0.0625."""


@dataclass(frozen=True)
class Estimate:
    """The mean of n repetitions with the half-width of its 95 % t-interval; none for n = 1."""

    mean: float
    half_width: float | None
    n: int

    @property
    def low(self) -> float:
        """Lower end of the interval; the mean itself for n = 1."""
        return self.mean - (self.half_width or 0)

    @property
    def high(self) -> float:
        """Upper end of the interval; the mean itself for n = 1."""
        return self.mean + (self.half_width or 0)

    def at_least(self, half_width: float) -> Estimate:
        """The same with an interval no narrower than what the figures are rounded to; none stays none."""
        return self if self.half_width is None else replace(self, half_width=max(self.half_width, half_width))

    def text(self, digits: int = 2, unit: str = "") -> str:
        """ "23.41 ± 0.05 dB (n = 5)", or "23.41 dB (n = 1)". The unit % shows a share from 0 to 1 in percent."""
        factor = 100 if unit == "%" else 1
        spread = "" if self.half_width is None else f" ± {self.half_width * factor:.{digits}f}"
        return f"{self.mean * factor:.{digits}f}{spread}{unit and ' '}{unit} (n = {self.n})"


@dataclass(frozen=True)
class Spread:
    """The mean of n figures with the least and the greatest: of times, whose differences are the machine's."""

    mean: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.mean(values)), min(values), max(values))

    def text(self, digits: int = 1, unit: str = "s") -> str:
        """ "17.6 s (4.9–40.1)", or "17.6 s" where all are alike."""
        mean, *ends = (f"{value:.{digits}f}" for value in (self.mean, self.least, self.greatest))
        return f"{mean} {unit}" + (f" ({'–'.join(ends)})" if ends[0] != ends[1] else "")


def estimate(values: Sequence[float]) -> Estimate:
    """Mean over seeds and the half-width of its 95 % interval, `t(0.975, n − 1)·s/√n`.

    The t-interval and not a bootstrap: with five seeds the latter covers far less than it says.
    """
    from scipy import stats  # half a second, needed only here

    n = len(values)
    mean = float(np.mean(values))
    if n == 1:
        return Estimate(mean, None, 1)
    return Estimate(mean, float(stats.t.ppf(0.975, n - 1) * stats.sem(values)), n)


def bootstrap_interval(values: NDArray[np.floating]) -> tuple[float, float]:
    """Ends of the 95 % percentile bootstrap interval of the mean: what other images of the same kind would have given.

    (n,) with n in the hundreds or more; 10,000 resamples from a fixed seed (Efron and Tibshirani 1993, chapter 13). NaN
    for a single value, which says nothing of others.
    """
    if len(values) == 1:
        return float("nan"), float("nan")
    from scipy import stats

    found = stats.bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, batch=100, method="percentile", rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def sign_flip_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of the sign-flip test of paired differences; None for fewer than six, which can't decide.

    Exact up to 13, beyond from 10,000 flips drawn from a fixed seed.
    """
    from scipy import stats

    if len(differences) < LEAST_SEEDS:
        return None
    found = stats.permutation_test(
        (np.asarray(differences),), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=0
    )
    return float(found.pvalue)


def least_sign_flip_p(n: int) -> float:
    """The smallest p that the test of n differences can give, however clear they are."""
    return float(2 / 2**n if 2**n <= RESAMPLES else 2 / (RESAMPLES + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted so that a family of tests errs no more often than one (Holm 1979), in the order given."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    adjusted = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = adjusted
    return result.tolist()


def hill_index(values: Sequence[float], tail: float = 0.05) -> float:
    """Index α of the tail P(|x| > t) ∝ t^−α (Hill 1975) from the largest share of deviations from the median.

    1 for a Cauchy distribution; below 2 the variance is infinite; large for light tails.
    """
    deviations = np.sort(np.abs(np.asarray(values) - np.median(values)))[::-1]
    count = max(2, int(tail * len(deviations)))
    return float(1 / np.mean(np.log(deviations[:count] / deviations[count])))
