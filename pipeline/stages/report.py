"""Tracked runs → `report.en.md` with its figures, in `reports/output/`."""

from __future__ import annotations

from pathlib import Path

from pipeline.config import Config
from pipeline.console import say, waiting
from pipeline.data import catalog
from pipeline.reporting.inputs import Part, inputs_digest, is_current
from pipeline.stages import classify, sweep
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store

REPORT = "report.en.md"


def run(config: Config) -> None:
    """Write the report, unless there is one of the same runs, answers and templates.

    Where nothing has been run of a question, it is run first, if its data can be had and `report.run_missing`.
    """
    store = open_store(config.run)
    if config.report.run_missing:
        # Data that have changed, or another SOURCE, are other data: then nothing has been run of them yet.
        available = [role for role in catalog.ROLES if can_run(config, role)]
        for role in available:
            catalog.prepare(config.data, config.run, role)
        if "digits" in available and not digit_runs(config, store):
            classify.run(config)
        if "colour" in available and not sweep_runs(config, store):
            sweep.run(config)

    digits = Part.of(catalog.opened(config.data, config.run, "digits"), digit_runs(config, store))
    colour = Part.of(catalog.opened(config.data, config.run, "colour"), sweep_runs(config, store), config.sweep.clip)
    demo = config.data.choice == "demo"
    file = report_file(config)
    inputs = inputs_digest([digits, colour], demo)
    if is_current(file, inputs):
        say(f"report    reuse (made from the same runs): {file}")
        return
    with waiting("Writing the report"):
        from pipeline.reporting.report import write_report

        write_report(file, store, digits, colour, demo=demo, full_data_hint=catalog.FULL_DATA_HINT, inputs=inputs)
    say(f"report    {file}")


def report_file(config: Config) -> Path:
    """Where the report goes. The demo's has a folder of its own: it must not replace one on the full data."""
    folder = config.run.output / "demo" if config.data.choice == "demo" else config.run.output
    return folder / REPORT


def can_run(config: Config, role: catalog.Role) -> bool:
    """Whether the data of a stage are prepared or can be had."""
    return config.data.choice == "demo" or catalog.obtainable(config.data, config.run, role)


def digit_runs(config: Config, store: TrackingStore) -> list[RunRecord]:
    """Every finished classifier on this data."""
    images = catalog.opened(config.data, config.run, "digits")
    if images is None:
        return []
    name = classify.experiment_name(images.manifest)
    experiment_id = store.find_experiment(name, images.manifest.digest)
    return store.finished(experiment_id, keys.KIND_TRIAL) if experiment_id else []


def sweep_runs(config: Config, store: TrackingStore) -> list[RunRecord]:
    """The trials of the sweep on this data that was asked for last."""
    images = catalog.opened(config.data, config.run, "colour")
    if images is None:
        return []
    name = sweep.experiment_name(images.manifest, config.sweep.clip)
    experiment_id = store.find_experiment(name, images.manifest.digest)
    if experiment_id is None:
        return []
    summaries = store.finished(experiment_id, keys.KIND_SUMMARY)
    if not summaries:
        return []
    latest = max(summaries, key=lambda run: int(run.tags.get(keys.REQUESTED, "0")))
    trials = store.finished(experiment_id, keys.KIND_TRIAL)
    chosen = [trial for trial in trials if latest.tags[keys.SWEEP] in trial.tags.get(keys.SWEEP, "").split()]
    # A trial that two processes ran at once has two runs; it is one trial all the same.
    return list({trial.tags[keys.FINGERPRINT]: trial for trial in chosen}.values())
