"""Digits → a trained classifier: one tracked trial a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.config import Config, Run
from pipeline.console import say, table
from pipeline.data import catalog
from pipeline.data.store import ImageStore, Manifest
from pipeline.reporting.selection import fingerprint_of
from pipeline.stages.trained import register_trained
from pipeline.stages.trials import describe, experiment_for, require_network, run_missing
from pipeline.sweeps.identity import CLASSIFICATION
from pipeline.sweeps.locks import SUMMARY_PATIENCE, locked, owner
from pipeline.sweeps.plan import classification_trials
from pipeline.tracking import keys, links
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from pipeline.tracking.views import CLASSIFICATION as CLASSIFICATION_CHARTS


def run(config: Config) -> None:
    """Train and measure the trials that have no finished run, and print the figures of all."""
    require_names(config)
    images = catalog.prepare(config.data, config.run, "digits")
    store = open_store(config.run)
    text = describe(images.manifest, f"Classifiers of {images.manifest.title}, one run a trial.")
    name = experiment_name(images.manifest)
    experiment_id = experiment_for(config.run, store, images.manifest, name, text, CLASSIFICATION_CHARTS)
    trials = classification_trials(config, images)
    results = run_missing("classify", trials, images, store, experiment_id, config.run)
    if config.run.dry_run:
        return
    runs = results.runs
    store.note_request((one.run_id for one in results.reused), owner(config.run))
    register_trained("classify", results.planned, images.manifest, store, config.run)
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
    if len(runs) > 1:
        summary, together = summarise(config.run, store, experiment_id, images, runs)
        link = f"[Summary of the last seeds]({links.run(experiment_id, summary)})"
        store.present(experiment_id, f"{text}\n\n{link}", CLASSIFICATION_CHARTS)
        say(f"classify  {len(runs)} networks together: test accuracy {together:.2%}")
    say(f"classify  {len(runs)} trials finished")
    results.require_all()


def require_names(config: Config) -> None:
    """Refuse a network that there is not."""
    require_network(config.classify.model, CLASSIFICATION)


def summarise(
    run: Run, store: TrackingStore, experiment_id: str, images: ImageStore, runs: Sequence[RunRecord]
) -> tuple[str, float]:
    """Write the summary run of these seeds, unless it is there; its id and the accuracy of their mean probability.

    The networks' number is that of the seeds asked for: nothing is chosen by looking at test images.
    """
    fingerprint = fingerprint_of(runs)
    with locked(run, fingerprint, SUMMARY_PATIENCE):
        for summary in store.finished(experiment_id, keys.KIND_SUMMARY):
            if summary.tags[keys.FINGERPRINT] == fingerprint:
                return summary.run_id, summary.metrics[keys.ENSEMBLE_ACCURACY]
        tags = {keys.DATA_DIGEST: images.manifest.digest, keys.OWNER: owner(run)}
        return write_summary(store, experiment_id, fingerprint, tags, images, runs)


def write_summary(
    store: TrackingStore,
    experiment_id: str,
    fingerprint: str,
    tags: Mapping[str, str],
    images: ImageStore,
    runs: Sequence[RunRecord],
) -> tuple[str, float]:
    """What the networks of several seeds do alone and together, in a run of its own; its id and the accuracy."""
    from pipeline.metrics.classification import ensemble_accuracy
    from pipeline.metrics.statistics import estimate
    from pipeline.tracking.runs import recording

    first, end = images.manifest.splits["test"]
    logits = [store.array(one.run_id, keys.TEST_LOGITS) for one in runs]
    together = ensemble_accuracy(logits, images.labels[first:end])
    single = estimate([one.metrics[keys.TEST_ACCURACY] for one in runs])
    name = f"summary · {runs[0].params['model']} · {len(runs)} seeds"
    with recording(store, experiment_id, name, keys.KIND_SUMMARY, fingerprint, tags) as recorder:
        recorder.metrics({keys.ENSEMBLE_ACCURACY: together, "summary/accuracy": single.mean})
        recorder.tag(keys.NOTE, f"One network: {single.text(2, '%')}. Their mean probability: {together:.2%}.")
    return recorder.run_id, together


def experiment_name(manifest: Manifest) -> str:
    """Name of the MLflow experiment."""
    return f"{manifest.name}-classifier"
