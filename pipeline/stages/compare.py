"""Tracked runs → tables on the terminal: the same figures as in the UI and in the report, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.config import Config
from pipeline.console import say, table
from pipeline.metrics.statistics import Estimate
from pipeline.reporting.classification import classification_row
from pipeline.reporting.selection import (
    by_setting,
    finished_classifiers,
    sweep_in_words,
    sweeps,
    trials_of,
    user_of,
    users_of,
    variances_of,
)
from pipeline.sweeps.locks import known_owner
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, open_store
from pipeline.trials import variance_text

EARLIER = 5
"""Sweeps that are named, besides the last one."""
MISSING = {
    "classifier": "no classifier yet: make classify",
    "sweep": 'no denoisers yet: make sweep VARS="0.01 0.05 0.1"',
}


def run(config: Config) -> None:
    """Print a table an experiment, whatever has been run, and how to run what has not."""
    store = open_store(config.run)
    home = known_owner(config.run)
    found = set()
    for experiment_id, name in store.experiments():
        classifiers = finished_classifiers(store, experiment_id)
        if classifiers:
            found.add("classifier")
            show(name, classifier_rows(classifiers, store.finished(experiment_id, keys.KIND_SUMMARY), home))
        summaries = sweeps(store, experiment_id, home)
        if summaries:
            found.add("sweep")
            show_sweeps(name, summaries, store.finished(experiment_id, keys.KIND_TRIAL))
    if found:
        say("Mean over seeds ± half-width of the 95 % t-interval, n seeds; *: the best mean. Charts: make ui")
    for what, hint in MISSING.items():
        if what not in found:
            say(hint)


def show_sweeps(experiment: str, summaries: Sequence[RunRecord], trials: Sequence[RunRecord]) -> None:
    """The table of the sweep asked for last, the first, and what the others are; `trials` are those of all sweeps."""
    latest, *others = summaries
    title = f"{experiment}, sweep {latest.tags[keys.SWEEP]}, the last one asked for"
    show(title, denoiser_rows(latest, trials_of(latest, trials)))
    if not others:
        return
    say("Earlier sweeps; the same make sweep as then shows one again, and trains nothing anew:")
    for one in others[:EARLIER]:
        by = f" (by {user_of(one)})" if len(users_of(summaries)) > 1 else ""
        say(f"  {one.tags[keys.SWEEP]}  {sweep_in_words(one, trials_of(one, trials))}{by}")
    if len(others) > EARLIER:
        say(f"  and {len(others) - EARLIER} more")
    say("")


def show(title: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Print a table with a line of space after it."""
    table(title, rows)
    say("")


def classifier_rows(runs: Sequence[RunRecord], summaries: Sequence[RunRecord], home: str) -> list[dict[str, str]]:
    """A row a setting, the last one first, those of this home before all others."""
    settings = by_setting(runs, home)
    several = len(users_of(runs)) > 1
    rows = [classification_row(setting, summaries, several) for setting in settings]
    best = max(row.accuracy.mean for row in rows)
    return [
        {
            "network": row.model + (f" ({row.settings})" if row.settings else ""),
            "training": f"{row.optimizer}, {row.steps:,} × {row.batch_size}",
            "accuracy": marked(row.accuracy, best, 2, "%"),
            "together": "–" if row.together is None else f"{row.together:.2%}",
            "ECE": row.calibration_error.text(4),
            "time": f"{row.seconds.mean:.1f} s",
            "runs": ids(run.run_id for run in setting),
        }
        for row, setting in zip(rows, settings, strict=True)
    ]


def denoiser_rows(summary: RunRecord, runs: Sequence[RunRecord]) -> list[dict[str, str]]:
    """A row a variance and model of a sweep: variances rising, baselines first."""
    from pipeline.reporting import denoising  # pandas takes half a second

    rows = denoising.denoising_summary(denoising.denoising_results(runs, variances_of(summary, runs)))
    best = {
        variance: (
            max(row.psnr.mean for row in rows if row.variance == variance),
            max(row.ssim.mean for row in rows if row.variance == variance),
        )
        for variance in {row.variance for row in rows}
    }
    return [
        {
            "σ²": variance_text(row.variance),
            "model": row.model,
            "PSNR": marked(row.psnr, best[row.variance][0], 2, "dB"),
            "gain": f"{row.gain.mean:+.2f} dB",
            "SSIM": marked(row.ssim, best[row.variance][1], 3),
            "time": f"{row.seconds.mean:.1f} s",
            "runs": ids(row.runs),
        }
        for row in rows
    ]


def marked(figure: Estimate, best: float, digits: int, unit: str = "") -> str:
    """A figure in words, with a star if none is better."""
    return figure.text(digits, unit) + "*" * (figure.mean == best)


def ids(run_ids: Iterable[str]) -> str:
    """The first letters of runs' ids, which the UI finds them by."""
    return " ".join(run_id[:8] for run_id in run_ids)
