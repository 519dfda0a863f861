"""Runs of studies → tables over all seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.reporting.selection import by_setting
from pipeline.tracking.store import RunRecord, TrackingStore


def newest(runs: Sequence[RunRecord], home: str) -> list[RunRecord]:
    """Of every experiment the runs of the settings and code that a home asked for last, or any, one a seed."""
    found: dict[str, list[RunRecord]] = {}
    for setting in by_setting(runs, home):
        found.setdefault(setting[0].params["experiment"], setting)
    return [run for setting in found.values() for run in setting]


def tables_of(runs: Sequence[RunRecord], store: TrackingStore) -> dict[str, pd.DataFrame]:
    """The tables of every experiment, those of all seeds together; columns seed, and limit: steps of a training."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        told = {"seed": int(run.params["seed"]), "limit": int(run.params["steps"])}
        for name, table in store.tables(run.run_id).items():
            parts.setdefault(name, []).append(table.assign(**told))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def samples(runs: Sequence[RunRecord], store: TrackingStore) -> dict[str, NDArray[np.uint8]]:
    """Generated digits (n, 1, h, w) by loss, of the first seed."""
    training = [run for run in runs if run.params["experiment"] == "training"]
    if not training:
        return {}
    losses = ("saturating", "non-saturating")
    return {loss: store.array(training[0].run_id, f"samples_{loss}.npy") for loss in losses}


def seeds_of(runs: Sequence[RunRecord]) -> int:
    """How many seeds the experiments were repeated with, at most."""
    return len({run.params["seed"] for run in runs})
