"""Digits → a trained classifier: one tracked trial a seed."""

from __future__ import annotations

from pipeline.config import Config
from pipeline.console import say, table
from pipeline.data import catalog
from pipeline.data.store import Manifest
from pipeline.stages.trials import describe, run_missing
from pipeline.sweeps.plan import CLASSIFICATION, classification_trials, plan
from pipeline.tracking import keys
from pipeline.tracking.store import TrackingStore, open_store


def run(config: Config) -> None:
    """Train and measure the trials that have no finished run, and print the figures of all."""
    images = catalog.prepare(config.data, config.run, "digits")
    store = open_store(config.run)
    experiment_id = experiment(store, images.manifest)
    planned = plan(classification_trials(config, images), images, CLASSIFICATION, store, experiment_id)
    runs = run_missing("classify", planned, images, CLASSIFICATION, store, experiment_id, config.run)
    table(
        f"Classifying {images.manifest.title}",
        [
            {
                "trial": run.name,
                "test accuracy": f"{run.metrics[keys.TEST_ACCURACY]:.2%}",
                "validation accuracy": f"{run.metrics[keys.VAL_ACCURACY]:.2%}",
                "training": f"{run.metrics[keys.TRAIN_SECONDS]:.1f} s",
                "run": run.run_id[:8],
            }
            for run in runs
        ],
    )
    say(f"classify  {len(runs)} trials finished")


def experiment_name(manifest: Manifest) -> str:
    """Name of the MLflow experiment."""
    return f"{manifest.name}-classifier"


def experiment(store: TrackingStore, manifest: Manifest) -> str:
    """Id of the experiment for this data."""
    description = describe(manifest, f"Classifiers of {manifest.title}, one run a trial.")
    return store.experiment(experiment_name(manifest), manifest.digest, description)
