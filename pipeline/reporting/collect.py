"""Runs → tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.config import variance_text
from pipeline.metrics.statistics import Estimate, estimate
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord


def denoising_results(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """A row a trial: model, variance, seed, psnr, ssim, gain (dB over the noisy image), seconds of training, run_id."""
    rows = [
        {
            "model": run.params["model"],
            "variance": float(run.params["variance"]),
            "seed": int(run.params["seed"]),
            "parameters": int(run.params["params_n"]),
            "psnr": run.metrics[keys.TEST_PSNR],
            "ssim": run.metrics[keys.TEST_SSIM],
            "gain": run.metrics[keys.TEST_PSNR_GAIN],
            "seconds": run.metrics[keys.TRAIN_SECONDS],
            "run_id": run.run_id,
        }
        for run in runs
    ]
    # Baselines, which have no parameters, come first, then models by name.
    return pd.DataFrame(rows).sort_values(
        ["parameters", "model", "variance", "seed"], key=lambda c: c > 0 if c.name == "parameters" else c
    )


@dataclass(frozen=True)
class DenoisingRow:
    """A model at a variance, over its seeds."""

    model: str
    variance: float
    psnr: Estimate
    ssim: Estimate
    gain: Estimate
    seconds: Estimate
    trained: bool
    runs: list[str]


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
    loss: Estimate
    calibration_error: Estimate
    seconds: Estimate
    together: float | None
    """Accuracy of the mean probability of all seeds, if there are several."""


def denoising_summary(results: pd.DataFrame) -> list[DenoisingRow]:
    """Mean and interval over seeds for every variance and model: variances rising, baselines first."""
    groups = results.groupby(["variance", "model"], sort=False)
    rows = [
        DenoisingRow(
            model=str(part["model"].iloc[0]),
            variance=float(part["variance"].iloc[0]),
            psnr=estimate(part["psnr"].tolist()),
            ssim=estimate(part["ssim"].tolist()),
            gain=estimate(part["gain"].tolist()),
            seconds=estimate(part["seconds"].tolist()),
            trained=bool((part["parameters"] > 0).all()),
            runs=part["run_id"].tolist(),
        )
        for _, part in groups
    ]
    return sorted(rows, key=lambda row: row.variance)


def by_setting(runs: Sequence[RunRecord]) -> list[list[RunRecord]]:
    """Runs that differ in nothing but the seed, together and in the order of their seeds; the last setting first.

    Where the code has changed since, only the runs of the newest code count: seeds are averaged, versions are not.
    """
    newest: dict[str, str] = {}
    groups: dict[str, dict[int, RunRecord]] = {}
    for run in sorted(runs, key=lambda run: run.ended_ms, reverse=True):
        identity = json.loads(run.tags[keys.IDENTITY])
        seed = identity["trial"].pop("seed")
        setting = json.dumps([identity["kind"], identity["trial"], identity["data"]])
        code = json.dumps(identity["code"])
        if newest.setdefault(setting, code) == code:
            groups.setdefault(setting, {}).setdefault(seed, run)
    return [[group[seed] for seed in sorted(group)] for group in groups.values()]


def classification_row(runs: Sequence[RunRecord], summaries: Sequence[RunRecord]) -> ClassificationRow:
    """Mean and interval over the seeds of one setting, and what they do together."""
    params = runs[0].params
    members = " ".join(sorted(run.run_id for run in runs))
    summary = next((one for one in summaries if one.tags.get(keys.MEMBERS) == members), None)
    settings = json.loads(params["settings"])

    def over_seeds(key: str) -> Estimate:
        return estimate([run.metrics[key] for run in runs])

    return ClassificationRow(
        model=params["model"],
        settings=", ".join(f"{name} {value}" for name, value in settings.items()),
        parameters=int(params["params_n"]),
        optimizer=params["optimizer"],
        steps=int(params["steps"]),
        batch_size=int(params["batch_size"]),
        augmented=any(float(value) for name, value in params.items() if name.startswith("augment_")),
        accuracy=over_seeds(keys.TEST_ACCURACY),
        loss=over_seeds(keys.TEST_LOSS),
        calibration_error=over_seeds(keys.TEST_ECE),
        seconds=over_seeds(keys.TRAIN_SECONDS),
        together=summary.metrics[keys.ENSEMBLE_ACCURACY] if summary else None,
    )


def markdown_table(rows: Sequence[DenoisingRow]) -> str:
    """A summary of denoisers as a markdown table."""
    lines = ["| σ² | model | PSNR | SSIM | gain |", "|---|---|---|---|---|"]
    for row in rows:
        figures = [row.psnr.text(2, "dB"), row.ssim.text(3), row.gain.text(2, "dB")]
        cells = [variance_text(row.variance), row.model, *figures]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
