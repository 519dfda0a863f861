"""Runs of denoisers → tables of what each does, how they compare, and where each fails."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.metrics.statistics import (
    Estimate,
    Spread,
    bootstrap_interval,
    estimate,
    holm,
    least_sign_flip_p,
    sign_flip_p,
)
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import variance_text

COMPARED = ["variance", "model", "other", "difference", "low", "high", "half_width", "n", "p"]
BLIND = " (blind)"
"""After the name of a network that was not told the variance but could have been."""


@dataclass(frozen=True)
class DenoisingRow:
    """A model at a variance, over its seeds."""

    model: str
    variance: float
    effective_variance: float
    psnr: Estimate
    ssim: Estimate
    gain: Estimate
    seconds: Spread
    trained: bool
    runs: list[str]


@dataclass(frozen=True)
class Trained:
    """How a network of a sweep was trained; what differs from trial to trial, as a span."""

    model: str
    settings: str
    parameters: str
    steps: str
    batch_size: str
    optimizer: str


def trained_networks(runs: Sequence[RunRecord]) -> list[Trained]:
    """One a network, by name."""
    found = []
    for model in sorted({run.params["model"] for run in runs if run.trained}):
        params = [run.params for run in runs if run.params["model"] == model]
        settings: dict[str, object] = json.loads(params[0]["settings"])

        def span(name: str, params: Sequence[Mapping[str, str]] = params) -> str:
            values = sorted({float(one[name]) for one in params})
            return "–".join(f"{value:,.10g}" for value in dict.fromkeys((values[0], values[-1])))

        found.append(
            Trained(
                model=model,
                settings=", ".join(f"{name} {value}" for name, value in settings.items()),
                parameters=span("params_n"),
                steps=span("steps"),
                batch_size=span("batch_size"),
                optimizer=params[0]["optimizer"],
            )
        )
    return found


def denoising_results(runs: Sequence[RunRecord], variances: Collection[float]) -> pd.DataFrame:
    """A row a trial and variance, baselines first.

    Columns model, variance, seed, parameters, psnr, ssim, gain (dB over the noisy image), effective_variance of the
    noise, seconds of training, trained, and run_id. A network for all variances has a row for each of the sweep's
    variances, and another for what it does blind.
    """
    specialists = [run for run in runs if not serves_any(run)]
    noise = {float(run.params["variance"]): run.metrics[keys.EFFECTIVE_VARIANCE] for run in specialists}
    rows = [
        row(run, float(run.params["variance"]), "test/{}", run.metrics[keys.EFFECTIVE_VARIANCE]) for run in specialists
    ]
    for run in runs:
        if serves_any(run):
            for variance in sorted(set(variances) & set(variances_across(run))):
                key = keys.cross("{}", variance)
                effective = noise.get(variance, float("nan"))
                rows += [row(run, variance, key, effective, suffix) for suffix in ("", "_blind")]
    # Baselines come first, then models by name.
    table = pd.DataFrame(rows)
    return table.sort_values(["trained", "model", "variance", "seed"], ignore_index=True)


def serves_any(run: RunRecord) -> bool:
    """Whether a network was trained for a span of variances."""
    return run.params["least_variance"] != run.params["greatest_variance"]


def variances_across(run: RunRecord) -> list[float]:
    """The variances besides its own at which a network was measured."""
    start = keys.cross("psnr", 0).removesuffix("0")
    return sorted(float(key.removeprefix(start)) for key in run.metrics if key.startswith(start))


def row(run: RunRecord, variance: float, key: str, effective: float, suffix: str = "") -> dict[str, object]:
    """One row of `denoising_results`; `key` has the place of a figure's name in a metric's."""
    told, psnr = (run.metrics[key.format(name)] for name in ("psnr", f"psnr{suffix}"))
    return {
        "model": run.params["model"] + (BLIND if suffix else ""),
        "variance": variance,
        "seed": int(run.params["seed"]),
        "parameters": int(run.params["params_n"]),
        "psnr": psnr,
        "ssim": run.metrics[key.format(f"ssim{suffix}")],
        "gain": run.metrics[key.format("psnr_gain")] + (psnr - told),
        "effective_variance": effective,
        "seconds": run.metrics[keys.TRAIN_SECONDS],
        "trained": run.trained,
        "run_id": run.run_id,
    }


def denoising_summary(results: pd.DataFrame) -> list[DenoisingRow]:
    """Mean and interval over seeds for every variance and model: variances rising, and for each of them quality."""
    rows = [
        DenoisingRow(
            model=str(part["model"].iloc[0]),
            variance=float(part["variance"].iloc[0]),
            effective_variance=float(part["effective_variance"].iloc[0]),
            psnr=estimate(part["psnr"].tolist()),
            ssim=estimate(part["ssim"].tolist()),
            gain=estimate(part["gain"].tolist()),
            seconds=Spread.of(part["seconds"].tolist()),
            trained=bool(part["trained"].all()),
            runs=part["run_id"].tolist(),
        )
        for _, part in results.groupby(["variance", "model"], sort=False)
    ]
    return sorted(rows, key=lambda row: (row.variance, row.psnr.mean))


def cross_matrix(runs: Sequence[RunRecord], variances: Collection[float]) -> pd.DataFrame:
    """PSNR of every trained network (rows) at every variance of a sweep (columns), mean over seeds.

    Only variances at which all have been measured.
    """
    rows: list[tuple[tuple[str, float, float], str, float, float]] = []
    for run in runs:
        if not run.trained:
            continue
        found: dict[float, float] = {
            variance: run.metrics[keys.cross("psnr", variance)]
            for variance in set(variances) & set(variances_across(run))
        }
        if not serves_any(run):
            found[float(run.params["variance"])] = run.metrics[keys.TEST_PSNR]
        ends = [float(run.params[name]) for name in ("least_variance", "greatest_variance")]
        span = "–".join(variance_text(end) for end in dict.fromkeys(ends))
        name = f"{run.params['model']}, σ²={span}"
        order = (run.params["model"], ends[0], ends[1])
        rows += [(order, name, variance, psnr) for variance, psnr in found.items()]
    table = pd.DataFrame(sorted(rows), columns=["order", "network", "variance", "psnr"])
    means = table.pivot_table(index=["order", "network"], columns="variance", values="psnr")
    return means.droplevel("order").dropna(axis=1)


def per_image(results: pd.DataFrame, store: TrackingStore) -> pd.DataFrame:
    """A row a model, variance, seed and test image: label, psnr, ssim."""
    tables = []
    for _, part in results.groupby(["run_id", "variance"], sort=False):
        scores = store.table(str(part["run_id"].iloc[0]), keys.per_image(float(part["variance"].iloc[0])))
        for one in part.to_dict("records"):
            suffix = "_blind" if one["model"].endswith(BLIND) else ""
            columns = {name: one[name] for name in ("model", "variance", "seed", "trained")}
            measured = {name: scores[f"{name}{suffix}"] for name in ("psnr", "ssim")}
            tables.append(scores[["image", "label"]].assign(**measured, **columns))
    return pd.concat(tables, ignore_index=True)


def comparisons(images: pd.DataFrame) -> pd.DataFrame:
    """The best trained model at each variance, on these images, against every other, on the same noisy images.

    Columns variance, model, other, difference (dB, mean over images and seeds), low and high (95 % bootstrap interval
    over test images of the mean over seeds), half_width (of the 95 % t-interval over seeds; none for one seed), n
    (seeds that both have) and p (sign-flip test over seeds, adjusted by Holm over all pairs of networks of every
    variance, for the best is chosen by the same figures; none below six seeds, nor against what is not trained: that a
    network beats it is no question of seeds).
    """
    rows = []
    for variance, part in images.groupby("variance"):
        scores = part.pivot_table(index="image", columns=["model", "seed"], values="psnr")
        trained = part.loc[part["trained"], "model"].unique()
        if len(trained) == 0:
            continue
        best = best_of(scores, trained)
        for other in part["model"].drop_duplicates().sort_values():
            if other == best:
                continue
            differences = paired(scores, best, other, other in trained)
            if differences.empty:
                continue
            seeds = differences.mean().tolist()
            found = estimate(seeds)
            low, high = bootstrap_interval(differences.mean(axis=1).to_numpy())
            rows.append(
                {
                    "variance": variance,
                    "model": best,
                    "other": other,
                    "difference": found.mean,
                    "low": low,
                    "high": high,
                    "half_width": found.half_width,
                    "n": found.n,
                    "p": sign_flip_p(seeds) if other in trained else None,
                }
            )
    table = pd.DataFrame(rows, columns=COMPARED)
    tested = table["p"].notna()
    p_values = table.loc[tested, "p"].tolist()
    # Pairs without the best count as 1: had they been tested, the others would be adjusted by no more.
    untested = pairs(table) - len(p_values)
    table.loc[tested, "p"] = holm([*p_values, *[1.0] * untested])[: len(p_values)]
    return table


def pairs(compared: pd.DataFrame) -> int:
    """How many pairs the tested networks of a table of comparisons make, over all variances."""
    return sum(math.comb(others + 1, 2) for others in compared.dropna(subset="p").groupby("variance").size())


def least_p(compared: pd.DataFrame) -> float:
    """What the smallest p of a table of comparisons could be at best, given its seeds and the correction by Holm."""
    return min([1.0, *(pairs(compared) * least_sign_flip_p(n) for n in compared.dropna(subset="p")["n"])])


def best_of(scores: pd.DataFrame, trained: Sequence[str]) -> str:
    """The trained model with the highest mean over the seeds that all have; over all seeds where there is no such."""
    shared = sorted(set.intersection(*(set(scores[name].columns) for name in trained)))
    means = {name: scores[name][shared or list(scores[name].columns)].to_numpy().mean() for name in trained}
    return max(means, key=lambda name: float(means[name]))


def paired(scores: pd.DataFrame, model: str, other: str, trained: bool) -> pd.DataFrame:
    """Difference of two models on each image (rows) for each seed that both have (columns).

    `scores` has a column a (model, seed). One that is not trained has no seeds, and is compared with each.
    """
    seeds, others = (scores[name].columns for name in (model, other))
    pairs = [(seed, seed if trained else others[0]) for seed in seeds if seed in others or not trained]
    return pd.DataFrame({seed: scores[model, seed] - scores[other, its] for seed, its in pairs})


def curves(runs: Sequence[RunRecord], store: TrackingStore) -> pd.DataFrame:
    """Validation PSNR after every epoch of the trained models: model, variance, seed, epoch, psnr."""
    return pd.DataFrame(
        [
            {
                "model": run.params["model"],
                "variance": float(run.params["variance"]),
                "seed": int(run.params["seed"]),
                "epoch": epoch,
                "psnr": psnr,
            }
            for run in runs
            if run.trained
            for epoch, psnr in store.history(run.run_id, keys.VAL_PSNR)
        ],
        columns=["model", "variance", "seed", "epoch", "psnr"],
    )


def by_class(images: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Mean PSNR of the test images of each class: a row a trained model, variance and label, with the class's name."""
    means = images[images["trained"]].groupby(["model", "variance", "label"])["psnr"].mean().reset_index()
    means["class"] = means["label"].map(dict(enumerate(classes)))
    return means


def markdown_table(rows: Sequence[DenoisingRow]) -> str:
    """A summary of denoisers as a markdown table."""
    lines = ["| σ² | model | PSNR | SSIM | gain |", "|---|---|---|---|---|"]
    for row in rows:
        figures = [row.psnr.text(2, "dB"), row.ssim.text(3), row.gain.text(2, "dB")]
        cells = [variance_text(row.variance), row.model, *figures]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
