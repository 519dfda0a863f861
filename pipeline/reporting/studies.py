"""Runs of studies → tables over all seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.reporting.classification import by_setting
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore

EXPERIMENT_TABLES = {
    "losses": ("closed_form",),
    "gradients": ("gradients", "tails"),
    "training": ("training", "final"),
    "toys": ("fixed_point", "lines", "ring"),
    "rates": ("rates",),
    "batches": ("batches", "sorted", "few"),
    "probes": ("probes", "noise"),
    "start": ("depth", "scale", "decay", "cost"),
}


def newest(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Of every experiment the runs of the settings and code that were asked for last, one a seed."""
    found: dict[str, list[RunRecord]] = {}
    for setting in by_setting(runs):
        found.setdefault(setting[0].params["experiment"], setting)
    return [run for experiment in EXPERIMENT_TABLES for run in found.get(experiment, [])]


def tables_of(runs: Sequence[RunRecord], store: TrackingStore) -> dict[str, pd.DataFrame]:
    """The tables of every experiment, those of all seeds together; columns seed, and limit: steps of a training.

    Runs from before a table was measured go without it.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        held = store.names_of_artifacts(run.run_id)
        for name in EXPERIMENT_TABLES[run.params["experiment"]]:
            if keys.study_table(name) not in held:
                continue
            table = store.table(run.run_id, keys.study_table(name)).assign(
                seed=int(run.params["seed"]), limit=int(run.params["steps"])
            )
            parts.setdefault(name, []).append(table)
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
    return len({json.loads(run.tags[keys.IDENTITY])["trial"]["seed"] for run in runs})
