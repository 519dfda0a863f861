"""Colour images → denoisers over a list of noise variances: one tracked trial each, and a summary of all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence

from pipeline.config import Config, Run, Sweep, variance_text
from pipeline.console import say, table
from pipeline.data import catalog
from pipeline.data.store import Manifest
from pipeline.stages.trials import describe, require_known, run_missing
from pipeline.sweeps.claims import SUMMARY_PATIENCE, claimed, owner
from pipeline.sweeps.plan import DENOISING, denoising_trials, sweep_key
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store


def run(config: Config) -> None:
    """Train and measure the trials that have no finished run, summarise the sweep, and print its figures."""
    require_settings_of_known(config.sweep)
    images = catalog.prepare(config.data, config.run, "colour")
    store = open_store(config.run)
    name, digest = experiment_name(images.manifest, config.sweep.clip), images.manifest.digest
    experiment_id = (
        store.find_experiment(name, digest) or ""
        if config.run.dry_run
        else experiment(store, images.manifest, config.sweep.clip)
    )
    results = run_missing(
        "sweep", denoising_trials(config, images), images, DENOISING, store, experiment_id, config.run
    )
    if config.run.dry_run:
        return
    runs, key = results.runs, sweep_key(results.planned)
    for finished in runs:
        store.add_to_sweep(finished, key)
    if runs:
        summarise(config.run, store, experiment_id, key, images.manifest, runs)
    table(
        f"Denoising {images.manifest.title}",
        [
            {
                "trial": finished.name,
                "PSNR": f"{finished.metrics[keys.TEST_PSNR]:.2f} dB",
                "gain": f"{finished.metrics[keys.TEST_PSNR_GAIN]:+.2f} dB",
                "SSIM": f"{finished.metrics[keys.TEST_SSIM]:.3f}",
                "training": f"{finished.metrics[keys.TRAIN_SECONDS]:.1f} s",
                "run": finished.run_id[:8],
            }
            for finished in runs
        ],
    )
    say(f"sweep     {key}: {len(runs)} trials finished")
    results.require_all()


def require_settings_of_known(sweep: Sweep) -> None:
    """Refuse settings of a network that there is not: they would be passed over in silence."""
    unused = set(sweep.settings) - set(sweep.models)
    if unused:
        from pipeline.models import DENOISERS  # brings torch

        for name in sorted(unused):
            require_known(name, DENOISERS)


def experiment_name(manifest: Manifest, clip: bool) -> str:
    """Name of the MLflow experiment. Clipped noise is another problem: its results stay apart."""
    return f"{manifest.name}-denoising{'-clipped' if clip else ''}"


def experiment(store: TrackingStore, manifest: Manifest, clip: bool) -> str:
    """Id of the experiment for this data."""
    noise = "limited to [0, 1] after adding noise" if clip else "not clipped"
    what = f"Denoisers of {manifest.title}, one run a trial; noisy images {noise}."
    description = describe(manifest, f"{what} Each sweep has a summary run with tables and plots.")
    return store.experiment(experiment_name(manifest, clip), manifest.digest, description)


def summarise(
    run: Run, store: TrackingStore, experiment_id: str, key: str, manifest: Manifest, runs: Sequence[RunRecord]
) -> None:
    """Write the summary run of these runs, unless it is there; note on it that the sweep was asked for now.

    A sweep has one summary: one of fewer or of other runs of the same trials is thrown away.
    """
    fingerprint = hashlib.sha256("".join(sorted(one.run_id for one in runs)).encode()).hexdigest()
    tags = {keys.SWEEP: key, keys.DATA_DIGEST: manifest.digest, keys.OWNER: owner(run)}
    with claimed(run, fingerprint, SUMMARY_PATIENCE):
        query = f"tags.{keys.KIND} = '{keys.KIND_SUMMARY}' and tags.{keys.SWEEP} = '{key}'"
        earlier = store.search(experiment_id, query)
        current = [one for one in earlier if one.tags[keys.FINGERPRINT] == fingerprint and keys.COMPLETE in one.tags]
        run_id = current[-1].run_id if current else write_summary(store, experiment_id, fingerprint, tags, runs)
        store.tag(run_id, keys.REQUESTED, str(time.time_ns()))
        for one in earlier:
            if one.run_id != run_id:
                store.delete(one.run_id)


def write_summary(
    store: TrackingStore, experiment_id: str, fingerprint: str, tags: Mapping[str, str], runs: Sequence[RunRecord]
) -> str:
    """Mean over seeds a model and variance, as metrics, as a table and as a plot, in a run of its own; its id."""
    from pipeline.reporting import collect, figures
    from pipeline.tracking.runs import recording

    results = collect.denoising_results(runs)
    rows = collect.denoising_summary(results)
    name = f"summary · sweep {tags[keys.SWEEP]}"
    with recording(store, experiment_id, name, keys.KIND_SUMMARY, fingerprint, tags) as recorder:
        for row in rows:
            label = f"{row.model} {variance_text(row.variance)}"
            recorder.metrics({f"summary/psnr {label}": row.psnr.mean, f"summary/ssim {label}": row.ssim.mean})
        recorder.figure(figures.quality_over_variance(results), "quality_over_variance.png")
        recorder.text(results.to_csv(index=False), "results.csv")
        recorder.tag(keys.NOTE, collect.markdown_table(rows))
    return recorder.run_id
