"""The report: gathers what the tracked runs say, draws it, and fills the template."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from pipeline.data.store import replace_folder
from pipeline.metrics.image import SSIM_VARIANT
from pipeline.reporting import classification, denoising, denoising_figures, figures
from pipeline.reporting.inputs import ANSWERS, FIGURES, Part, figures_of
from pipeline.reporting.render import render
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import variance_text

QUESTIONS = ("gan", "batch-norm")
LANGUAGES = ("en", "fa")
TEMPLATE = "report.en.md.j2"


def write_report(
    report: Path,
    store: TrackingStore,
    *,
    digits: Part | None,
    colour: Part | None,
    demo: bool,
    full_data_hint: str,
    inputs: str,
) -> None:
    """Draw the figures, fill the template, and only then take the place of the report that was there."""
    report.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=report.parent) as building:
        pictures = Path(building) / FIGURES
        pictures.mkdir()
        text = render(TEMPLATE, context_of(store, digits, colour, pictures, demo, full_data_hint, inputs))
        report.unlink(missing_ok=True)  # the figures of one report beside the text of another would be a lie
        replace_folder(pictures, figures_of(report))
        (Path(building) / report.name).write_text(text, encoding="utf-8")
        (Path(building) / report.name).replace(report)


def context_of(
    store: TrackingStore,
    digits: Part | None,
    colour: Part | None,
    pictures: Path,
    demo: bool,
    full_data_hint: str,
    inputs: str,
) -> dict[str, Any]:
    """All that the template names; draws the figures into a folder on the way."""
    return {
        "inputs": inputs,
        "demo": demo,
        "full_data_hint": full_data_hint,
        "ssim_variant": SSIM_VARIANT,
        "digits": digits_context(store, digits, pictures) if digits else None,
        "colour": colour_context(store, colour, pictures) if colour else None,
        "answers": {language: answers(language) for language in LANGUAGES},
        "environment": environment([digits, colour]),
    }


def answers(language: str) -> dict[str, str]:
    """The written answers, by question."""
    return {name: (ANSWERS / f"{name}.{language}.md").read_text(encoding="utf-8") for name in QUESTIONS}


def part_context(part: Part, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """What both questions have in common; `runs` are those that figures come from."""
    first, end = part.data.splits["test"]
    return {
        "data": part.data,
        "test_count": end - first,
        "runs": sorted(runs, key=lambda run: (run.name, run.run_id)),
        "commands": sorted({run.tags[keys.COMMAND] for run in runs}),
    }


def digits_context(store: TrackingStore, part: Part, pictures: Path) -> dict[str, Any]:
    """A row a setting, the last one first, with the figures of that one's first seed."""
    settings = classification.by_setting(part.runs)
    shown = settings[0]
    curves = [
        {"run": run.name, "epoch": epoch, "accuracy": accuracy}
        for run in shown
        for epoch, accuracy in store.history(run.run_id, keys.VAL_ACCURACY)
    ]
    return {
        **part_context(part, [run for setting in settings for run in setting]),
        "rows": [classification.classification_row(setting, part.summaries) for setting in settings],
        "misses": misses_of(store, shown[0]),
        "curves": save(figures.learning_curves(pd.DataFrame(curves)), pictures / "learning_curves.png"),
        "confusion": copy(store, shown[0], "confusion_matrix.png", pictures / "confusion_matrix.png"),
        "misclassified": copy(store, shown[0], "misclassified.png", pictures / "misclassified.png"),
    }


def misses_of(store: TrackingStore, run: RunRecord) -> dict[str, Any] | None:
    """A run's wrong answers where the labels are in doubt; None where no label is known to be."""
    if keys.TEST_MISSES_IN_DOUBT not in run.metrics:
        return None
    table = store.table(run.run_id, "misses.csv")
    doubted = table[table["label_in_doubt"]].sort_values("image")
    return {"run": run.name, "count": len(table), "doubted": list(doubted.itertuples())}


def colour_context(store: TrackingStore, part: Part, pictures: Path) -> dict[str, Any]:
    """Tables and figures of the denoisers: the ten images of the first seed of every trained model and variance."""
    results = denoising.denoising_results(part.runs)
    rows = denoising.denoising_summary(results)
    (summary,) = part.summaries
    tables = {file: store.table(summary.run_id, file) for file in (keys.COMPARISONS, keys.BY_CLASS, keys.CURVES)}
    drawn = denoising_figures.all_of(results, denoising.cross_matrix(part.runs), tables)
    trained = [run for run in part.runs if run.params["steps"] != "0"]
    first = min((int(run.params["seed"]) for run in trained), default=0)
    shown = [run for run in sorted(trained, key=grid_order) if int(run.params["seed"]) == first]
    grids = [
        {
            "model": run.params["model"],
            "variance": float(run.params["variance"]),
            "file": copy(store, run, "grid.png", pictures / f"grid-{grid_name(run)}.png"),
            "errors": copy(store, run, "errors.png", pictures / f"errors-{grid_name(run)}.png"),
        }
        for run in shown
    ]
    return {
        **part_context(part, part.runs),
        "clip": part.clip,
        "rows": rows,
        "models": list(dict.fromkeys(row.model for row in rows)),
        "tuned": any("tuned_strength" in run.metrics for run in part.runs),
        "comparisons": list(tables[keys.COMPARISONS].itertuples()),
        "figures": {Path(file).stem: save(figure, pictures / file) for file, figure in drawn.items()},
        "grids": grids,
    }


def grid_order(run: RunRecord) -> tuple[str, float]:
    """Models by name, variances rising."""
    return run.params["model"], float(run.params["variance"])


def grid_name(run: RunRecord) -> str:
    """Part of a file name: a model at a variance."""
    return f"{run.params['model']}-{variance_text(float(run.params['variance']))}"


def environment(parts: Sequence[Part | None]) -> dict[str, list[str]]:
    """Rows of the environment table: what the runs say of where they were computed, all values if they differ."""
    names = {
        "device": keys.DEVICE,
        "precision": "precision",
        **{package: f"{keys.VERSIONS}{package}" for package in ("python", "torch", "torchvision", "mlflow")},
        "commit": keys.COMMIT,
        "uncommitted changes": keys.GIT_DIRTY,
    }

    def values(part: Part | None, key: str) -> str:
        found = {(run.params | run.tags).get(key, "–") for run in part.runs} if part else set()
        return ", ".join(sorted(found)) or "–"

    return {name: [values(part, key) for part in parts] for name, key in names.items()}


def save(figure: Figure, file: Path) -> str:
    """Write a figure; returns its path as the report, in the folder above, writes it."""
    figure.savefig(file)
    return f"{file.parent.name}/{file.name}"


def copy(store: TrackingStore, run: RunRecord, artifact: str, file: Path) -> str:
    """Fetch an artifact of a run; returns its path as the report, in the folder above, writes it."""
    fetched = store.download(run.run_id, artifact, file.parent / run.run_id)
    fetched.replace(file)
    fetched.parent.rmdir()
    return f"{file.parent.name}/{file.name}"
