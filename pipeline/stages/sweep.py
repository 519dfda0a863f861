"""Colour images → denoisers over a list of noise variances: one tracked trial each, and a summary of all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pipeline.config import Config, Run
from pipeline.console import counted, say, table
from pipeline.data import catalog
from pipeline.data.store import ImageStore, Manifest
from pipeline.errors import UserError
from pipeline.metrics import SSIM_SIDE
from pipeline.reporting.inputs import drawn_by
from pipeline.stages.trained import register_trained
from pipeline.stages.trials import Results, describe, experiment_for, require_known, require_network, run_missing
from pipeline.sweeps import cross
from pipeline.sweeps.identity import DENOISING
from pipeline.sweeps.locks import SUMMARY_PATIENCE, locked, owner
from pipeline.sweeps.plan import BASELINES, denoising_trials, sweep_key
from pipeline.tracking import keys, links
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from pipeline.tracking.views import DENOISING as DENOISING_CHARTS
from pipeline.trials import variance_text


def run(config: Config) -> None:
    """Train and measure the trials that have no finished run, summarise the sweep, and print its figures."""
    require_names(config)
    images = catalog.prepare(config.data, config.run, "colour")
    require_large_enough(images.manifest)
    store = open_store(config.run)
    name, text = experiment_name(images.manifest, config.sweep.clip), description(images.manifest, config.sweep.clip)
    experiment_id = experiment_for(config.run, store, images.manifest, name, text, DENOISING_CHARTS)
    results = run_missing("sweep", denoising_trials(config, images), images, store, experiment_id, config.run)
    if config.run.dry_run:
        return
    register_trained("sweep", results.planned, images.manifest, store, config.run)
    variances = sorted(config.sweep.variances)
    key = sweep_key(results.planned, variances)
    runs = measured_across(results, config, images, store, experiment_id)
    with locked(config.run, "sweeps", SUMMARY_PATIENCE):
        for finished in runs:
            store.add_to_sweep(finished, key)
    if runs:
        summary = summarise(config.run, store, experiment_id, key, images.manifest, runs, variances)
        link = f"[Summary of the last sweep]({links.run(experiment_id, summary)})"
        # The page of a store that several share shows the trials of all.
        store.present(experiment_id, f"{text}\n\n{link}", DENOISING_CHARTS, key if store.artifacts else None)
        table(f"Denoising {images.manifest.title}", rows_of(runs, variances))
    say(f"sweep     {key}: {len(runs)} of {len(results.planned)} trials are finished")
    results.require_all()


def rows_of(runs: Sequence[RunRecord], variances: Sequence[float]) -> list[dict[str, str]]:
    """A row a trial; of a network for all variances, one for each of the sweep's, told and blind."""
    from pipeline.reporting.denoising import denoising_results  # pandas takes half a second

    return [
        {
            "σ²": variance_text(row["variance"]),
            "model": row["model"],
            "seed": str(row["seed"]),
            "PSNR": f"{row['psnr']:.2f} dB",
            "gain": f"{row['gain']:+.2f} dB",
            "SSIM": f"{row['ssim']:.3f}",
            "training": f"{row['seconds']:.1f} s",
            "run": row["run_id"][:8],
        }
        for row in denoising_results(runs, variances)
        .sort_values(["variance", "psnr"], kind="stable")
        .to_dict("records")
    ]


def require_large_enough(manifest: Manifest) -> None:
    """Raises `UserError` for images in which SSIM has no place for its window."""
    height, width = manifest.shape[2:]
    if min(height, width) < SSIM_SIDE:
        raise UserError(
            f"{manifest.title}: images of {width}×{height} pixels, and SSIM's window takes {SSIM_SIDE}; "
            "enlarge your own with --data.images.size 32 --data.images.fit resize"
        )


def measured_across(
    results: Results, config: Config, images: ImageStore, store: TrackingStore, experiment_id: str
) -> list[RunRecord]:
    """The finished runs, after measuring each trained network at every variance of the sweep where it was not yet."""
    todo = cross.missing(results.planned, config.sweep.variances)
    if not todo:
        return results.runs
    count = sum(len(variances) for _, variances in todo.values())
    say(f"sweep     trained networks at other variances than their own: {count} to measure")
    for _ in counted(cross.measure(todo, images, store, config.run), count, "measuring"):
        pass
    newest = {run.run_id: run for run in store.trials(experiment_id)}
    return [newest[run.run_id] for run in results.runs]


def require_names(config: Config) -> None:
    """Refuse networks that there are not, and settings of such, which would be passed over in silence."""
    sweep = config.sweep
    for name in sweep.baselines:
        require_known(name, BASELINES)
    for name in sorted({*sweep.models, *sweep.settings, *sweep.training_of}):
        require_network(name, DENOISING)
    if untrained := sorted({*sweep.settings, *sweep.training_of} & set(BASELINES)):
        raise UserError(f"{untrained[0]} is not trained and has no settings: leave out what is set for it")


def experiment_name(manifest: Manifest, clip: bool) -> str:
    """Name of the MLflow experiment. Clipped noise is another problem: its results stay apart."""
    return f"{manifest.name}-denoising{'-clipped' if clip else ''}"


def description(manifest: Manifest, clip: bool) -> str:
    """What the experiment holds."""
    noise = "limited to [0, 1] after adding noise" if clip else "not clipped"
    what = f"Denoisers of {manifest.title}, one run a trial; noisy images {noise}."
    return describe(manifest, f"{what} Each sweep has a summary run with tables and plots.")


def summarise(
    run: Run,
    store: TrackingStore,
    experiment_id: str,
    key: str,
    manifest: Manifest,
    runs: Sequence[RunRecord],
    variances: Sequence[float],
) -> str:
    """Write the summary run of these runs, unless it is there; note on it that the sweep was asked for now. Its id.

    A sweep has one summary: one of other runs of the same trials, or drawn by other code, is put away, unless it
    belongs to another home.
    """
    parts = (sorted(one.run_id for one in runs), drawn_by("pipeline.reporting.sweep_summary"))
    fingerprint = hashlib.sha256(repr(parts).encode()).hexdigest()
    tags = {
        keys.SWEEP: key,
        keys.VARIANCES: " ".join(map(variance_text, variances)),
        keys.DATA_DIGEST: manifest.digest,
        keys.OWNER: owner(run),
    }
    with locked(run, fingerprint, SUMMARY_PATIENCE):
        query = f"tags.{keys.KIND} = '{keys.KIND_SUMMARY}' and tags.{keys.SWEEP} = '{key}'"
        earlier = store.search(experiment_id, query)
        current = [one for one in earlier if one.tags[keys.FINGERPRINT] == fingerprint and keys.COMPLETE in one.tags]
        if current:
            run_id = current[-1].run_id
        else:
            from pipeline.reporting.sweep_summary import write_summary  # brings seaborn

            run_id = write_summary(store, experiment_id, fingerprint, tags, runs, variances, manifest.classes)
        store.note_request([run_id], owner(run))
        for one in earlier:
            if one.run_id != run_id and one.tags.get(keys.OWNER) == owner(run):
                store.put_away(one.run_id)
    return run_id
