"""Verdicts on the generator's loss follow the figures in both directions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.reporting import gan_claims
from pipeline.reporting.claims import Verdict


def by_loss(
    table: str, column: str, saturating: list[float], other: list[float], **more: object
) -> dict[str, pd.DataFrame]:
    """A figure of each loss by seed."""
    rows = [
        {"seed": seed, "loss": loss, column: one, **more}
        for loss, found in (("saturating", saturating), ("non-saturating", other))
        for seed, one in enumerate(found)
    ]
    return {table: pd.DataFrame(rows)}


def test_the_tails_are_heavier_if_the_index_is_smaller() -> None:
    draws = np.random.default_rng(0)
    light, heavy = ([draws.standard_t(df, 2000) for _ in range(4)] for df in (30, 1))
    for saturating, other, verdict in ((light, heavy, Verdict.HOLDS), (heavy, light, Verdict.CONTRADICTED)):
        tails = pd.concat(
            pd.DataFrame({"saturating": a, "non-saturating": b, "seed": seed})
            for seed, (a, b) in enumerate(zip(saturating, other, strict=True))
        )
        assert gan_claims.tails({"tails": tails}).verdict == verdict


def test_modes_lines_and_the_fixed_point_are_judged_the_right_way_round() -> None:
    many, few = [8.0, 8.0, 7.0, 8.0], [3.0, 4.0, 3.0, 3.0]
    assert gan_claims.modes(by_loss("ring", "modes", many, few)).verdict == Verdict.HOLDS
    assert gan_claims.modes(by_loss("ring", "modes", few, many)).verdict == Verdict.CONTRADICTED
    stuck, moved = [0.99, 0.98, 1.0], [0.01, 0.02, 0.03]
    assert gan_claims.lines(by_loss("lines", "left", stuck, moved)).verdict == Verdict.HOLDS
    assert gan_claims.lines(by_loss("lines", "left", moved, stuck)).verdict == Verdict.CONTRADICTED
    assert gan_claims.lines(by_loss("lines", "left", stuck, stuck)).verdict == Verdict.CONTRADICTED
    for drift, verdict in ((0.01, Verdict.HOLDS), (0.4, Verdict.CONTRADICTED)):
        parts = [by_loss("t", "drift", [drift] * 2, [drift] * 2, start=start)["t"] for start in (0.0, 0.5)]
        assert gan_claims.fixed_point({"fixed_point": pd.concat(parts)}).verdict == verdict


def probes(sat: float, other: float, predicted: float, spread_last: float = 2.0) -> dict[str, pd.DataFrame]:
    rows = [
        {
            "seed": seed, "step": step, "loss": loss, "predicted_ratio": predicted,
            "norm": ({"saturating": sat, "non-saturating": other}[loss]) * (1 + 0.01 * seed),
            "spread": (spread_last if step else 1.0) * (1 + 0.01 * seed * bool(step)),
        }
        for seed in range(3)
        for step in (0, 100)
        for loss in ("saturating", "non-saturating")
    ]  # fmt: skip
    return {"gradients": pd.DataFrame(rows)}


def test_the_ratio_of_gradients_is_the_predicted_one_within_a_factor_of_two() -> None:
    for predicted, verdict in ((100, Verdict.HOLDS), (70, Verdict.HOLDS), (300, Verdict.CONTRADICTED), (30, 0)):
        assert gan_claims.follows_ratio(probes(0.01, 1.0, predicted)).verdict == verdict
    assert gan_claims.spread(probes(1, 1, 1, 2.0)).verdict == Verdict.HOLDS
    assert gan_claims.spread(probes(1, 1, 1, 0.5)).verdict == Verdict.CONTRADICTED
