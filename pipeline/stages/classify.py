"""Digits → a trained classifier: one tracked trial a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say, table
from pipeline.data import catalog
from pipeline.data.store import ImageStore, Manifest
from pipeline.stages.trials import describe, run_missing
from pipeline.sweeps.plan import CLASSIFICATION, classification_trials, plan
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store


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
    together = summarise(store, experiment_id, images, runs) if len(runs) > 1 else None
    if together is not None:
        say(f"classify  {len(runs)} networks together: test accuracy {together:.2%}")
    say(f"classify  {len(runs)} trials finished")


def summarise(store: TrackingStore, experiment_id: str, images: ImageStore, runs: Sequence[RunRecord]) -> float:
    """Write the summary run of these seeds, unless it is there; the accuracy of their mean probability.

    The networks' number is that of the seeds asked for: nothing is chosen by looking at test images.
    """
    members = " ".join(sorted(run.run_id for run in runs))
    for summary in store.finished(experiment_id, keys.KIND_SUMMARY):
        if summary.tags.get(keys.MEMBERS) == members:
            return summary.metrics[keys.ENSEMBLE_ACCURACY]
    from pipeline.metrics.classification import ensemble_accuracy
    from pipeline.metrics.statistics import estimate
    from pipeline.tracking.runs import recording

    first, end = images.manifest.splits["test"]
    logits = [store.array(run.run_id, keys.TEST_LOGITS) for run in runs]
    together = ensemble_accuracy(logits, images.labels[first:end])
    single = estimate([run.metrics[keys.TEST_ACCURACY] for run in runs])
    fingerprint = hashlib.sha256(members.encode()).hexdigest()
    tags = {keys.MEMBERS: members, keys.DATA_DIGEST: images.manifest.digest}
    name = f"summary · {runs[0].params['model']} · {len(runs)} seeds"
    with recording(store, experiment_id, name, keys.KIND_SUMMARY, fingerprint, tags) as recorder:
        recorder.metrics({keys.ENSEMBLE_ACCURACY: together, "summary/accuracy": single.mean})
        recorder.tag(keys.NOTE, f"One network: {single.text(2, '%')}. Their mean probability: {together:.2%}.")
    return together


def experiment_name(manifest: Manifest) -> str:
    """Name of the MLflow experiment."""
    return f"{manifest.name}-classifier"


def experiment(store: TrackingStore, manifest: Manifest) -> str:
    """Id of the experiment for this data."""
    description = describe(manifest, f"Classifiers of {manifest.title}, one run a trial.")
    return store.experiment(experiment_name(manifest), manifest.digest, description)
