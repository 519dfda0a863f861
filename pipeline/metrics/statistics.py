"""Means with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Estimate:
    """The mean of n repetitions with the half-width of its 95 % t-interval; none for n = 1."""

    mean: float
    half_width: float | None
    n: int

    def text(self, digits: int = 2, unit: str = "") -> str:
        """ "23.41 ± 0.05 dB (n = 5)", or "23.41 dB (n = 1)". The unit % shows a share from 0 to 1 in percent."""
        factor = 100 if unit == "%" else 1
        spread = "" if self.half_width is None else f" ± {self.half_width * factor:.{digits}f}"
        return f"{self.mean * factor:.{digits}f}{spread}{unit and ' '}{unit} (n = {self.n})"


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
