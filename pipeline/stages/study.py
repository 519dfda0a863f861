"""Digits → the experiments behind a written answer: one tracked trial an experiment and seed."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import BatchNormStudy, Config, GanStudy, Run
from pipeline.console import say
from pipeline.data import catalog
from pipeline.data.store import Manifest
from pipeline.stages.trials import describe, experiment_for, run_missing
from pipeline.sweeps.locks import owner
from pipeline.sweeps.plan import study_trials
from pipeline.tracking.store import open_store

STAGES = {"gan": "study-gan", "batch-norm": "study-batchnorm"}
"""Study → the stage that runs it."""
TITLES = {"gan": "the generator's loss", "batch-norm": "batch normalization"}


def run_study(study: str, config: Config) -> None:
    """Run the experiments that have no finished run."""
    images = catalog.prepare(config.data, config.run, "digits")
    store = open_store(config.run)
    what = f"Study of {TITLES[study]} on {images.manifest.title}, one run an experiment and seed; tables are artifacts."
    name, text = experiment_name(study, images.manifest), describe(images.manifest, what)
    experiment_id = experiment_for(config.run, store, images.manifest, name, text)
    trials = study_trials(study, settings_of(study, config), config.data.validation, images.manifest.name)
    results = run_missing(STAGES[study], trials, images, store, experiment_id, on_one_thread(config.run))
    if config.run.dry_run:
        return
    store.note_request((one.run_id for one in results.reused), owner(config.run))
    say(f"{STAGES[study]}  {len(results.runs)} of {len(trials)} experiments finished")
    results.require_all()


def settings_of(study: str, config: Config) -> GanStudy | BatchNormStudy:
    """The sizes of a study."""
    return config.gan if study == "gan" else config.batch_norm


def on_one_thread(run: Run) -> Run:
    """Networks this small gain nothing from a second thread: experiments run side by side instead, if nobody says."""
    return replace(run, jobs=run.jobs or "auto", threads=run.threads or (0 if run.jobs else 1))


def experiment_name(study: str, manifest: Manifest) -> str:
    """Name of the MLflow experiment."""
    return f"{manifest.name}-study-{study}"
