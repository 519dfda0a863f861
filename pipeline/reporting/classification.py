"""Runs of classifiers → tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.metrics.statistics import Estimate, Spread, estimate
from pipeline.reporting.selection import fingerprint_of, users_of
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord


@dataclass(frozen=True)
class ClassificationRow:
    """A classifier with its settings, over its seeds."""

    model: str
    settings: str
    parameters: int
    optimizer: str
    steps: int
    batch_size: int
    augmented: bool
    accuracy: Estimate
    validation: Estimate
    """Accuracy on the validation images."""
    loss: Estimate
    calibration_error: Estimate
    seconds: Spread
    together: float | None
    """Accuracy of the mean probability of all seeds, if there are several."""


def classification_row(
    runs: Sequence[RunRecord], summaries: Sequence[RunRecord], by_user: bool = False
) -> ClassificationRow:
    """Mean and interval over the seeds of one setting, and what they do together; with whose they are, if asked for."""
    params = runs[0].params
    summary = next((one for one in summaries if one.tags[keys.FINGERPRINT] == fingerprint_of(runs)), None)
    settings = json.loads(params["settings"])
    whose = [f"by {' and '.join(users_of(runs))}"] if by_user else []

    def over_seeds(key: str) -> Estimate:
        return estimate([run.metrics[key] for run in runs])

    return ClassificationRow(
        model=params["model"],
        settings=", ".join([*(f"{name} {value}" for name, value in settings.items()), *whose]),
        parameters=int(params["params_n"]),
        optimizer=params["optimizer"],
        steps=int(params["steps"]),
        batch_size=int(params["batch_size"]),
        augmented=any(float(value) for name, value in params.items() if name.startswith("augment_")),
        accuracy=over_seeds(keys.TEST_ACCURACY),
        validation=over_seeds(keys.VAL_ACCURACY),
        loss=over_seeds(keys.TEST_LOSS),
        calibration_error=over_seeds(keys.TEST_ECE),
        seconds=Spread.of([run.metrics[keys.TRAIN_SECONDS] for run in runs]),
        together=summary.metrics[keys.ENSEMBLE_ACCURACY] if summary else None,
    )
