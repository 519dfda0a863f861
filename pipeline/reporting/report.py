"""The report: gathers what the tracked runs say, draws it, and fills the template."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from filelock import FileLock
from matplotlib.figure import Figure

from pipeline.data.catalog import FULL_DATA_HINT
from pipeline.data.files import replace_folder
from pipeline.metrics import SSIM_VARIANT
from pipeline.reporting import claims, classification, classification_figures, denoising, denoising_figures
from pipeline.reporting.batch_norm_claims import BATCH_NORM_CLAIMS
from pipeline.reporting.gan_claims import GAN_CLAIMS
from pipeline.reporting.html import DIRECTIONS, page
from pipeline.reporting.inputs import ANSWERS, FIGURES, LANGUAGES, Part, report_files
from pipeline.reporting.render import left_to_right, render, render_text
from pipeline.reporting.selection import by_setting, users_of, variances_of
from pipeline.reporting.studies import newest, samples, seeds_of, tables_of
from pipeline.reporting.study_figures import batch_norm_figures, gan_figures
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import variance_text

STUDIES: dict[str, claims.Claims] = {
    "gan": GAN_CLAIMS,
    "batch-norm": BATCH_NORM_CLAIMS,
}

COMMIT_DIGITS = 10  # enough for git, and the table of the environment stays as wide as the page


def write_report(
    folder: Path,
    store: TrackingStore,
    parts: Mapping[str, Part | None],
    *,
    demo: bool,
    inputs: str,
) -> None:
    """Draw the figures, fill the templates, and only then take the place of the report that was there.

    `parts` are the runs of "digits", "colour", and of each study.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        building = Path(name)
        pictures = building / FIGURES
        pictures.mkdir()
        context = context_of(store, parts, pictures, demo, inputs)
        for language, title in LANGUAGES.items():
            text = render(f"report.{language}.md.j2", {**context, **studies_in(language, context["studies"])})
            (building / f"report.{language}.md").write_text(text, encoding="utf-8")
            html = page(text, language, title, building)
            (building / f"report.{language}.html").write_text(html, encoding="utf-8")
        # The figures of one report beside the text of another would be a lie.
        with FileLock(folder / ".lock"):
            for file in report_files(folder):
                file.unlink(missing_ok=True)
            replace_folder(pictures, folder / FIGURES)
            for file in report_files(folder):
                (building / file.name).replace(file)


def context_of(
    store: TrackingStore,
    parts: Mapping[str, Part | None],
    pictures: Path,
    demo: bool,
    inputs: str,
) -> dict[str, Any]:
    """All that the templates name, whatever the language; draws the figures into a folder on the way."""
    digits, colour = parts["digits"], parts["colour"]
    studies = {study: study_context(study, store, parts.get(study), pictures) for study in STUDIES}
    return {
        "inputs": inputs,
        "demo": demo,
        "full_data_hint": FULL_DATA_HINT,
        "ssim_variant": SSIM_VARIANT,
        "digits": digits_context(store, digits, pictures) if digits else None,
        "colour": colour_context(store, colour, pictures) if colour else None,
        "studies": studies,
        "minutes": minutes([run for part in parts.values() if part for run in part.runs]),
        "environment": environment([digits, colour, *(parts.get(study) for study in STUDIES)]),
    }


def minutes(runs: Sequence[RunRecord]) -> float:
    """What runs took one after the other."""
    return sum(run.metrics.get(keys.TOTAL_SECONDS, 0.0) for run in runs) / 60


def study_context(study: str, store: TrackingStore, part: Part | None, pictures: Path) -> dict[str, Any] | None:
    """Claims and figures of a study; None if nothing of it has been run."""
    if part is None:
        return None
    runs = newest(part.runs, part.home)
    tables = tables_of(runs, store)
    drawn = gan_figures(tables, samples(runs, store)) if study == "gan" else batch_norm_figures(tables)
    return {
        **part_context(part, runs),
        "claims": claims.measured(STUDIES[study], tables),
        "seeds": seeds_of(runs),
        "figures": {Path(file).stem: save(figure, pictures / file) for file, figure in drawn.items()},
    }


def studies_in(language: str, studies: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    """The written answers, what the experiments showed, and the tables of claims, in one language."""
    answers: dict[str, str] = {}
    shown: dict[str, str | None] = {}
    tables: dict[str, list[dict[str, object]] | None] = {}
    for study, context in studies.items():
        answers[study] = (ANSWERS / f"{study}.{language}.md").read_text(encoding="utf-8")
        shown[study] = tables[study] = None
        if context is None:
            continue
        found: dict[str, claims.Claim] = context["claims"]
        values = defaultdict(dict, {name: figures_for_prose(claim) for name, claim in found.items()})
        prose = (ANSWERS / f"{study}.shown.{language}.md").read_text(encoding="utf-8")
        shown[study] = render_text(prose, {"c": values, "seeds": context["seeds"]})
        words = yaml.safe_load((ANSWERS / f"{study}.claims.yaml").read_text(encoding="utf-8"))
        tables[study] = [
            {
                "claim": words[name][language],
                "measured": render_text(words[name][f"measured_{language}"], in_order(language, claim.values)),
                "verdict": claim.verdict.name.lower(),
            }
            for name, claim in found.items()
        ]
    return {"answers": answers, "shown": shown, "claims": tables}


def figures_for_prose(claim: claims.Claim) -> dict[str, str]:
    """Figures for running text, which says once how many seeds there are, and the verdict."""
    figures = {name: re.sub(r" \(n = \d+\)", "", value) for name, value in claim.values.items()}
    return {**figures, "verdict": claim.verdict.name.lower()}


def in_order(language: str, values: Mapping[str, str]) -> dict[str, str]:
    """Figures for a table: kept in their own order where the text around them runs from right to left."""
    return {name: left_to_right(value) if DIRECTIONS[language] == "rtl" else value for name, value in values.items()}


def part_context(part: Part, runs: Sequence[RunRecord]) -> dict[str, Any]:
    """What both questions have in common; `runs` are those that figures come from."""
    first, end = part.data.splits["test"]
    return {
        "data": part.data,
        "test_count": end - first,
        "runs": sorted(runs, key=lambda run: (run.name, run.run_id)),
        "commands": list(dict.fromkeys(run.tags[keys.COMMAND] for run in sorted(runs, key=lambda run: run.ended_ms))),
    }


def digits_context(store: TrackingStore, part: Part, pictures: Path) -> dict[str, Any]:
    """A row a setting, the last one first, with the figures of that one's first seed."""
    settings = by_setting(part.runs, part.home)
    several = len(users_of(part.runs)) > 1
    shown = settings[0]
    curves = [
        {"run": run.name, "epoch": epoch, "accuracy": accuracy}
        for run in shown
        for epoch, accuracy in store.history(run.run_id, keys.VAL_ACCURACY)
    ]
    rows = [classification.classification_row(setting, part.summaries, several) for setting in settings]
    best = max(rows, key=lambda row: row.validation.mean)
    return {
        **part_context(part, [run for setting in settings for run in setting]),
        "rows": rows,
        "better": best if best.validation.mean > rows[0].validation.mean else None,
        "misses": misses_of(store, shown[0]),
        "curves": save(classification_figures.learning_curves(pd.DataFrame(curves)), pictures / "learning_curves.png"),
        "confusion": copy(store, shown[0], "confusion_matrix.png", pictures / "confusion_matrix.png"),
        "misclassified": copy(store, shown[0], "misclassified.png", pictures / "misclassified.png"),
    }


def misses_of(store: TrackingStore, run: RunRecord) -> dict[str, Any] | None:
    """A run's wrong answers where the labels are in doubt; None where no label is known to be."""
    if keys.TEST_MISSES_IN_DOUBT not in run.metrics:
        return None
    table = store.table(run.run_id, "misses.csv")
    doubted = table[table["label_in_doubt"]].sort_values("image")
    return {"run": run.name, "run_id": run.run_id, "count": len(table), "doubted": list(doubted.itertuples())}


def colour_context(store: TrackingStore, part: Part, pictures: Path) -> dict[str, Any]:
    """Tables and figures of the denoisers: the ten images of the first seed of every trained model and variance."""
    (summary,) = part.summaries
    variances = variances_of(summary, part.runs)
    results = denoising.denoising_results(part.runs, variances)
    rows = denoising.denoising_summary(results)
    tables = {file: store.table(summary.run_id, file) for file in (keys.COMPARISONS, keys.BY_CLASS, keys.CURVES)}
    classes = part.data.classes
    if "label" not in tables[keys.BY_CLASS]:  # summaries once had a column a class
        long = tables[keys.BY_CLASS].melt(["model", "variance"], var_name="class", value_name="psnr")
        tables[keys.BY_CLASS] = long.assign(label=long["class"].map(classes.index))
    drawn = denoising_figures.all_of(results, denoising.cross_matrix(part.runs, variances), tables, classes)
    trained = [run for run in part.runs if run.trained]
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
        "trained": denoising.trained_networks(part.runs),
        "models": list(dict.fromkeys(row.model for row in rows)),
        "ceilings": {
            run.params["model"]: run.metrics[keys.PSNR_CEILING] for run in trained if keys.PSNR_CEILING in run.metrics
        },
        "tuned": any("tuned_strength" in run.metrics for run in part.runs),
        "comparisons": list(tables[keys.COMPARISONS].itertuples()),
        "tested": int(tables[keys.COMPARISONS]["p"].count()),
        "least_p": denoising.least_p(tables[keys.COMPARISONS]),
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

    def value(run: RunRecord, key: str) -> str:
        text = (run.params | run.tags).get(key, "–")
        return text[:COMMIT_DIGITS] if key == keys.COMMIT else text

    def values(part: Part | None, key: str) -> str:
        found = {value(run, key) for run in part.runs} if part else set()
        return "; ".join(sorted(found)) or "–"

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
