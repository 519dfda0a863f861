"""A sweep → its summary run: means, comparisons and plots of all its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.reporting import denoising, denoising_figures
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import variance_text


def write_summary(
    store: TrackingStore,
    experiment_id: str,
    fingerprint: str,
    tags: Mapping[str, str],
    runs: Sequence[RunRecord],
    variances: Sequence[float],
    classes: Sequence[str],
) -> str:
    """Means, comparisons and plots of a sweep, in a run of its own; its id."""
    results = denoising.denoising_results(runs, variances)
    rows = denoising.denoising_summary(results)
    images = denoising.per_image(results, store)
    tables = {
        "results.csv": results,
        keys.COMPARISONS: denoising.comparisons(images),
        keys.BY_CLASS: denoising.by_class(images, classes),
        keys.CURVES: denoising.curves(runs, store),
    }
    name = f"summary · sweep {tags[keys.SWEEP]}"
    with recording(store, experiment_id, name, keys.KIND_SUMMARY, fingerprint, tags) as recorder:
        for row in rows:
            label = f"{row.model} {variance_text(row.variance)}".replace("(", "").replace(")", "")
            recorder.metrics({f"summary/psnr {label}": row.psnr.mean, f"summary/ssim {label}": row.ssim.mean})
        for file, table in tables.items():
            recorder.table(table, file)
        matrix = denoising.cross_matrix(runs, variances)
        for file, figure in denoising_figures.all_of(results, matrix, tables, classes).items():
            recorder.figure(figure, file)
        recorder.tag(keys.NOTE, denoising.markdown_table(rows))
    return recorder.run_id
