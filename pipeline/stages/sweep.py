"""Colour images → denoisers over a list of noise variances: one tracked trial each, and a summary of all."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pipeline.config import Config, Sweep
from pipeline.console import say, table
from pipeline.data import catalog
from pipeline.data.store import ImageStore, Manifest
from pipeline.stages.trials import require_known, run_missing
from pipeline.sweeps.plan import DENOISING, Planned, denoising_trials, plan, sweep_key
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store


def run(config: Config) -> None:
    """Train and measure the trials that have no finished run, summarise the sweep, and print its figures."""
    require_settings_of_known(config.sweep)
    images = catalog.prepare(config.data, config.run, "colour")
    store = open_store(config.run)
    experiment_id = experiment(store, images.manifest, config.sweep.clip)
    planned = plan(denoising_trials(config, images), images, DENOISING, store, experiment_id)
    planned = run_missing("sweep", planned, images, DENOISING, store, experiment_id, config.run)
    runs = [one.run for one in planned if one.run]
    key = sweep_key(planned)
    for finished in runs:
        store.add_to_sweep(finished, key)
    summarise(store, experiment_id, key, images, planned)

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
    say(f"sweep     {key}: {len(runs)} of {len(planned)} trials finished")


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
    description = (
        f"Denoisers of {manifest.title}, one run a trial; noisy images {noise}. "
        f"Each sweep has a summary run with tables and plots.\n\n{' '.join(manifest.notes)}\n\n"
        f"{manifest.shape[0]:,} images, sha256 of the data: `{manifest.digest}`."
    )
    return store.experiment(experiment_name(manifest, clip), manifest.digest, description)


def summarise(
    store: TrackingStore, experiment_id: str, key: str, images: ImageStore, planned: Sequence[Planned]
) -> None:
    """Write the sweep's summary run, unless it is there; note on it that the sweep was asked for now."""
    summary = find_summary(store, experiment_id, key)
    if summary is None:
        write_summary(store, experiment_id, key, images, [one.run for one in planned if one.run])
        summary = find_summary(store, experiment_id, key)
        assert summary is not None, "just written"
    store.client.set_tag(summary.run_id, keys.REQUESTED, str(time.time_ns()))


def find_summary(store: TrackingStore, experiment_id: str, key: str) -> RunRecord | None:
    """The summary run of a sweep."""
    summaries = store.finished(experiment_id, keys.KIND_SUMMARY)
    return next((run for run in summaries if run.tags.get(keys.FINGERPRINT) == key), None)


def write_summary(
    store: TrackingStore, experiment_id: str, key: str, images: ImageStore, runs: Sequence[RunRecord]
) -> None:
    """Mean over seeds a model and variance, as metrics, as a table and as a plot, in a run of its own."""
    from pipeline.reporting import collect, figures
    from pipeline.tracking.runs import recording

    results = collect.denoising_results(runs)
    rows = collect.denoising_summary(results)
    tags = {keys.SWEEP: key, keys.DATA_DIGEST: images.manifest.digest}
    with recording(store, experiment_id, f"summary · sweep {key}", keys.KIND_SUMMARY, key, tags) as recorder:
        for row in rows:
            label = f"{row.model} {row.variance:g}"
            recorder.metrics({f"summary/psnr {label}": row.psnr.mean, f"summary/ssim {label}": row.ssim.mean})
        recorder.figure(figures.quality_over_variance(results), "quality_over_variance.png")
        recorder.text(results.to_csv(index=False), "results.csv")
        recorder.tag("mlflow.note.content", collect.markdown_table(rows))
