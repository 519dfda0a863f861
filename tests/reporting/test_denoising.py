"""What is said of denoisers: tables from runs, and comparisons from images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest

from pipeline.config import PROJECT_ROOT, Config, Data, ImageFolder, Sweep
from pipeline.reporting.denoising import (
    Trained,
    comparisons,
    cross_matrix,
    denoising_results,
    least_p,
    per_image,
    trained_networks,
)
from pipeline.reporting.selection import sweep_in_words
from pipeline.stages.report import report_folder
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord


def scores_of(model: str, seed: int, psnr: np.ndarray, trained: bool = True) -> pd.DataFrame:
    columns = {"model": model, "variance": 0.1, "seed": seed, "trained": trained}
    return pd.DataFrame({"image": range(len(psnr)), "label": 0, "psnr": psnr, "ssim": 0.5, **columns})


def test_models_are_compared_image_by_image_and_seed_by_seed() -> None:
    """Images differ by 5 dB, models by 0.5: only the pairs tell which is better."""
    random = np.random.default_rng(0)
    hardness = 25 + 5 * random.standard_normal(400)
    tables = [scores_of("good", seed, hardness + 0.5 + 0.01 * seed) for seed in range(6)]
    tables += [scores_of("worse", seed, hardness + 0.1 * random.standard_normal(400)) for seed in range(6)]
    tables.append(scores_of("linear", 0, hardness - 1, trained=False))
    table = comparisons(pd.concat(tables, ignore_index=True)).set_index("other")
    assert (table["model"] == "good").all()
    assert table.loc["worse", "difference"] == pytest.approx(0.525, abs=0.01)
    assert table.loc["worse", "high"] - table.loc["worse", "low"] < 0.05
    assert table.loc["linear", "difference"] == pytest.approx(1.525)
    assert table["n"].tolist() == [6, 6], "a baseline has one run and is compared with each seed"
    assert table.loc["worse", "p"] == pytest.approx(2 / 64), "six seeds agree"
    assert pd.isna(table.loc["linear", "p"]), "not a question of seeds"


def test_choosing_the_best_by_the_same_figures_makes_no_difference_of_none() -> None:
    """Of six equal networks one is the best by chance; tested against the others, it must not seem better than them."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(100):
        tables = [
            scores_of(name, seed, np.full(2, shift))
            for name in "abcdef"
            for seed, shift in enumerate(random.normal(size=8))
        ]
        found.append(comparisons(pd.concat(tables, ignore_index=True))["p"].min() < 0.05)
    assert np.mean(found) <= 0.05


def test_a_model_with_failed_seeds_is_compared_where_it_can_be_and_excuses_no_other() -> None:
    tables = [scores_of("good", seed, np.full(300, 30.0 + 0.01 * seed)) for seed in range(7)]
    tables += [scores_of("worse", seed, np.full(300, 29.0)) for seed in range(7)]
    tables += [scores_of("worst", seed, np.full(300, 28.0)) for seed in range(7)]
    tables += [scores_of("failing", seed, np.full(300, 28.0)) for seed in (0,)]
    tables += [scores_of("other seeds", seed, np.full(300, 28.0)) for seed in (8, 9)]
    tables.append(scores_of("linear", 0, np.full(300, 27.0), trained=False))
    table = comparisons(pd.concat(tables, ignore_index=True)).set_index("other")
    assert table["n"].to_dict() == {"worse": 7, "worst": 7, "failing": 1, "linear": 7}
    assert pd.isna(table.loc["failing", "p"])
    assert table.loc[["worse", "worst"], "p"].tolist() == pytest.approx([3 * 2 / 128] * 2), "for the three pairs"
    assert least_p(table) == pytest.approx(3 * 2 / 128)


def test_the_best_and_the_interval_are_of_the_seeds_that_both_have() -> None:
    """A seed that went badly and that the other model lacks counts for neither."""
    images = 30 + np.random.default_rng(0).standard_normal(300)
    tables = [scores_of("good", 0, images + 1), scores_of("good", 1, images - 9), scores_of("worse", 0, images)]
    (row,) = comparisons(pd.concat(tables, ignore_index=True)).to_dict("records")
    assert (row["model"], row["other"], row["n"]) == ("good", "worse", 1)
    assert [row["difference"], row["low"], row["high"]] == pytest.approx([1, 1, 1])


def test_one_seed_gives_a_difference_and_claims_no_more() -> None:
    tables = [scores_of("good", 0, np.full(300, 30.0)), scores_of("worse", 0, np.full(300, 29.0))]
    (row,) = comparisons(pd.concat(tables)).to_dict("records")
    assert (row["difference"], row["n"]) == (1, 1)
    assert row["p"] is None
    assert least_p(pd.DataFrame([row])) == 1
    assert row["half_width"] is None


def test_a_single_test_image_gives_a_difference_without_an_interval() -> None:
    tables = [scores_of("good", 0, np.full(1, 30.0)), scores_of("worse", 0, np.full(1, 29.0))]
    (row,) = comparisons(pd.concat(tables)).to_dict("records")
    assert row["difference"] == 1
    assert np.isnan([row["low"], row["high"]]).all()


def test_the_best_is_never_a_baseline() -> None:
    tables = [scores_of("net", 0, np.full(300, 20.0)), scores_of("linear", 0, np.full(300, 29.0), trained=False)]
    (row,) = comparisons(pd.concat(tables)).to_dict("records")
    assert (row["model"], row["other"], row["difference"]) == ("net", "linear", -9)


def run(model: str, ends: tuple[float, float], seed: int, own: float, across: dict[float, float]) -> RunRecord:
    variance = ends[0] if ends[0] == ends[1] else 0.05
    params = {
        "model": model,
        "variance": str(variance),
        "least_variance": str(ends[0]),
        "greatest_variance": str(ends[1]),
        "seed": str(seed),
        "steps": "10",
        "params_n": "5",
    }
    metrics = {keys.TEST_PSNR: own, keys.TEST_SSIM: 0.5, keys.TEST_PSNR_GAIN: 1.0, keys.TRAIN_SECONDS: 1.0}
    metrics[keys.EFFECTIVE_VARIANCE] = variance
    for at, psnr in across.items():
        figures = {"psnr": psnr, "ssim": 0.5, "psnr_gain": 1.0, "psnr_blind": psnr - 0.25, "ssim_blind": 0.4}
        metrics |= {keys.cross(name, at): value for name, value in figures.items()}
    return RunRecord(f"{model}{ends}{seed}", model, params, metrics, {}, "FINISHED", 0)


RUNS = [
    run("residual", (0.01, 0.01), 0, own=30, across={0.1: 20}),
    run("residual", (0.01, 0.01), 1, own=32, across={0.1: 22}),
    run("residual", (0.1, 0.1), 0, own=25, across={0.01: 27}),
    run("conditional", (0.001, 1), 0, own=28, across={0.01: 30, 0.1: 24, 0.5: 15}),
]


def test_the_cross_matrix_has_every_network_at_every_variance_all_were_measured_at() -> None:
    matrix = cross_matrix(RUNS, [0.01, 0.1, 0.5])
    assert matrix.columns.tolist() == [0.01, 0.1]
    assert cross_matrix(RUNS[:2], [0.01]).columns.tolist() == [0.01], "0.1 is of another sweep"
    assert matrix.loc["residual, σ²=0.01"].tolist() == [31, 21], "means over seeds"
    assert matrix.loc["residual, σ²=0.1"].tolist() == [27, 25]
    assert matrix.loc["conditional, σ²=0.001–1"].tolist() == [30, 24]


def test_a_network_for_all_variances_has_a_row_at_each_told_and_blind() -> None:
    results = denoising_results(RUNS, [0.01, 0.1]).set_index(["model", "variance"])
    assert results.loc["conditional", "psnr"].to_dict() == {0.01: 30, 0.1: 24}
    assert results.loc["conditional (blind)", "psnr"].to_dict() == {0.01: 29.75, 0.1: 23.75}
    assert results.loc["conditional (blind)", "gain"].tolist() == [0.75, 0.75]
    assert len(results) == 3 + 2 + 2
    alone = denoising_results([RUNS[-1]], [0.5])
    assert alone["variance"].tolist() == [0.5, 0.5], "those that were asked for, not all that were ever measured"


def test_images_of_a_network_that_was_not_told_are_its_blind_ones() -> None:
    scores = pd.DataFrame(
        {"image": [7], "label": [1], "psnr": [30.0], "ssim": [0.9], "psnr_blind": [20.0], "ssim_blind": [0.5]}
    )
    results = pd.DataFrame(
        {"model": model, "variance": 0.1, "seed": 0, "trained": True, "run_id": "r"} for model in ("net", "net (blind)")
    )
    found = per_image(results, Mock(table=lambda *_: scores)).set_index("model")
    assert found["psnr"].to_dict() == {"net": 30, "net (blind)": 20}
    assert found["ssim"].to_dict() == {"net": 0.9, "net (blind)": 0.5}


def test_how_networks_were_trained_is_told_once_a_network() -> None:
    how = {"settings": '{"width": 8}', "batch_size": "32", "optimizer": "muon"}
    told = [{"steps": "3"}, {"steps": "3"}, {"steps": "4"}, {"params_n": "0"}]
    runs = [replace(one, params={**one.params, **how, **those}) for one, those in zip(RUNS, told, strict=True)]
    (found,) = trained_networks(runs)
    assert found == Trained("residual", "width 8", "5", "3–4", "32", "muon"), (
        "without parameters there is nothing to train"
    )


def test_a_sweep_is_told_by_variances_networks_and_seeds() -> None:
    summary = RunRecord("s", "summary", {}, {}, {keys.VARIANCES: "0.01 0.1"}, "FINISHED", 0)
    assert sweep_in_words(summary, RUNS) == "σ² 0.01, 0.1: conditional, residual, seeds 0, 1"


@pytest.mark.parametrize(
    ("data", "folder"),
    [
        (Data(choice="full"), r"output(/cifar10-clipped)?"),
        (Data(choice="demo"), r"output/demo(-patches-clipped)?"),
        (Data(choice="demo", denoise="mnist"), r"output/demo-digits(-clipped)?"),
        (Data(choice="full", denoise="mnist"), r"output/mnist(-clipped)?"),
        (Data(choice="full", images=ImageFolder(folder=Path("scans"))), r"output/images-scans-\w+(-clipped)?"),
    ],
)
def test_reports_on_other_data_do_not_replace_each_other(data: Data, folder: str) -> None:
    plain, clipped = (
        report_folder(Config(data=data, sweep=Sweep(clip=clip))).relative_to(PROJECT_ROOT / "reports").as_posix()
        for clip in (False, True)
    )
    assert re.fullmatch(folder, plain)
    assert re.fullmatch(folder, clipped)
    assert clipped.endswith("-clipped")
    assert not plain.endswith("-clipped")
