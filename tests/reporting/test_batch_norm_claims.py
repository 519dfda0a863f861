"""Verdicts on batch normalization follow the figures in both directions."""

from __future__ import annotations

import math

import pandas as pd

from pipeline.reporting import batch_norm_claims, batch_norm_speed
from pipeline.reporting.claims import Verdict


def test_statistics_taken_anew_repair_what_they_better() -> None:
    def batches(running: list[float], precise: list[float]) -> dict[str, pd.DataFrame]:
        rows = [
            {"arm": "batch", "budget": "images", "batch": 2, "seed": k, "running": a, "precise": b, "own": 0.5}
            for k, (a, b) in enumerate(zip(running, precise, strict=True))
        ]
        return {"batches": pd.DataFrame(rows)}

    low, high = [0.5, 0.51, 0.52], [0.8, 0.82, 0.83]
    assert batch_norm_claims.repaired(batches(low, high)).verdict == Verdict.HOLDS
    assert batch_norm_claims.repaired(batches(high, low)).verdict == Verdict.CONTRADICTED


def test_noise_counts_against_the_shift_only_if_it_shifts_more_and_is_faster() -> None:
    def noisy(steps: float, drift: float) -> Verdict:
        noise = pd.DataFrame(
            {"arm": arm, "seed": seed, "rate": 0.1, "limit": 200, "chosen_0.8": one + seed, "measured_0.8": one + seed}
            for arm, one in (("he", 100.0), ("batch", 50.0), ("noisy", steps))
            for seed in range(4)
        )
        probes = pd.DataFrame(
            {"arm": arm, "seed": seed, "step": 10, "drift": one * (1 + 0.01 * seed * (arm == "he"))}
            for arm, one in (("he", 1.0), ("batch", 1.0), ("noisy", drift))
            for seed in range(4)
        )
        return batch_norm_speed.noisy({"noise": noise, "probes": probes}).verdict

    assert noisy(60, 3) == Verdict.HOLDS
    assert noisy(150, 3) == Verdict.CONTRADICTED
    assert noisy(60, 0.3) == Verdict.CONTRADICTED


def test_gradients_explode_as_in_theory_and_with_skips_do_not() -> None:
    def depth(batch: float, skips: float) -> Verdict:
        rows = [
            {"kind": kind, "layers": layers, "seed": seed, "log_ratio": slope * layers * (1 + 0.01 * seed)}
            for kind, slope in (("he", 0.0), ("batch", batch), ("batch with skips", skips))
            for layers in (5, 10, 20)
            for seed in range(3)
        ]
        return batch_norm_claims.explosion({"depth": pd.DataFrame(rows)}).verdict

    theory = batch_norm_claims.RELU_SLOPE
    assert depth(theory, 0.02) == Verdict.HOLDS
    assert depth(theory, theory) == Verdict.CONTRADICTED
    assert depth(2 * theory, 0.02) == Verdict.CONTRADICTED


def two_rates(**columns: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {"seed": seed, "net": "deep", "arm": "he", "rate": rate, "limit": 100, "ms": 1.0}
        | {name: both[place] for name, both in columns.items()}
        for seed in range(2)
        for place, rate in enumerate((0.1, 1.0))
    )


def test_a_rate_is_chosen_by_the_one_half_and_its_steps_are_the_others() -> None:
    table = two_rates(**{"chosen_0.8": (50.0, 60.0), "measured_0.8": (80.0, 20.0), "choice": (0.9, 0.95)})
    best = batch_norm_speed.tuned(table)
    assert best["rate"].tolist() == [0.1, 0.1], "on the half for choosing, whatever comes later"
    assert best["steps"].tolist() == [80, 80]
    nan = math.nan
    never = two_rates(**{"chosen_0.8": (nan, nan), "measured_0.8": (nan, 20.0), "choice": (0.4, 0.6)})
    assert batch_norm_speed.tuned(never)["rate"].tolist() == [1.0, 1.0], "the one that comes furthest"


def looks(column: str, he: float, batch: float) -> dict[str, pd.DataFrame]:
    rows = [
        {"arm": arm, "seed": seed, "step": step, column: one * (1 + 0.01 * seed * (arm == "he"))}
        for arm, one in (("he", he), ("batch", batch))
        for step in (0, 70)
        for seed in range(3)
    ]
    return {"probes": pd.DataFrame(rows)}


def test_smoother_and_shift_are_judged_the_right_way_round() -> None:
    assert batch_norm_claims.smoother(looks("bend", 4, 1)).verdict == Verdict.HOLDS
    assert batch_norm_claims.smoother(looks("bend", 1, 4)).verdict == Verdict.CONTRADICTED
    assert batch_norm_claims.shift(looks("shift", 1, 1)).verdict == Verdict.HOLDS
    assert batch_norm_claims.shift(looks("shift", 1, 0.5)).verdict == Verdict.CONTRADICTED


def test_normalization_costs_time_if_its_steps_take_longer() -> None:
    for batch, verdict in ((2.0, Verdict.HOLDS), (0.5, Verdict.CONTRADICTED)):
        rows = [
            {"arm": arm, "seed": seed, "ms": one * (1 + 0.01 * seed * (arm == "he")), "bytes": 1.0}
            for arm, one in (("he", 1.0), ("batch", batch), ("group", 1.0))
            for seed in range(3)
        ]
        assert batch_norm_claims.cost({"cost": pd.DataFrame(rows)}).verdict == verdict
