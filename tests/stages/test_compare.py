"""The tables on the terminal say what the runs say."""

from __future__ import annotations

import base64
import json
import re
import zlib
from pathlib import Path

from pipeline.metrics.statistics import estimate
from pipeline.tracking import keys, views
from tests.conftest import TINY, Pipeline
from tests.sweeps.sweeping import all_runs


def state_in(tag: str) -> dict[str, object]:
    """The state of a page that a tag holds."""
    state: dict[str, object] = json.loads(zlib.decompress(base64.b64decode(json.loads(tag)["state"].partition(";")[2])))
    return state


def test_nothing_run_yet_says_what_to_run(pipeline: Pipeline) -> None:
    done = pipeline("compare")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "no classifier yet: make classify",
        'no denoisers yet: make sweep VARS="0.01 0.05 0.1"',
    ]


def test_a_sweep_is_compared_over_its_seeds_and_the_best_is_marked(home: Path, pipeline: Pipeline) -> None:
    sweep = ("sweep", "--data.choice=demo", *TINY, "--run.threads=1", "--sweep.variances=0.1")
    swept = pipeline(*sweep, "--sweep.seeds=0 1")
    assert swept.returncode == 0, swept.stderr
    done = pipeline("compare")
    assert done.returncode == 0, done.stderr
    runs = all_runs(home)
    trained = [run for run in runs if run.params.get("model") == "autoencoder"]
    psnr = estimate([run.metrics[keys.TEST_PSNR] for run in trained]).text(2, "dB")
    (row,) = (line for line in done.stdout.splitlines() if "autoencoder" in line)
    assert f"│ 0.1 │ autoencoder │ {psnr}* │ +" in row
    for run in trained:
        assert run.run_id[:8] in done.stdout
    (row,) = (line for line in done.stdout.splitlines() if "noisy" in line)
    assert re.search(r"dB \(n = 1\) +│ \+0\.00 dB", row), row
    assert "no classifier yet: make classify" in done.stdout
    assert "no denoisers" not in done.stdout

    # What the UI shows of the same sweep.
    from pipeline.config import Run
    from pipeline.tracking.store import open_store

    store = open_store(Run(home=home))
    ((experiment, _),) = store.experiments()
    tags = store.client.get_experiment(experiment).tags
    (summary,) = (run for run in runs if run.tags[keys.KIND] == keys.KIND_SUMMARY)
    assert f"(#/experiments/{experiment}/runs/{summary.run_id}?" in tags[keys.NOTE]
    state = state_in(tags[views.TAG])
    assert len(store.search(experiment, str(state["searchFilter"]))) == 3, "all runs but the summary"
    for run in runs:
        if run.tags[keys.KIND] == keys.KIND_TRIAL:  # MLflow drops a run that lacks what an axis shows
            assert {*views.DENOISING.results} <= run.metrics.keys()
            assert {*views.DENOISING.params} <= run.params.keys()


def test_of_several_users_each_row_says_whose_it_is(pipeline: Pipeline, home: Path) -> None:
    classify = ("classify", "--data.choice=demo", *TINY, "--classify.settings.widths=[4, 8]", "--run.threads=1")
    for user, seed, decay in (("ali", 0, 0.1), ("sara", 1, 0.1), ("sara", 0, 0.2)):
        how = (f"--classify.seeds={seed}", f"--classify.training.weight_decay={decay}")
        done = pipeline(*classify, *how, MLFLOW_TRACKING_USERNAME=user)
        assert done.returncode == 0, done.stderr
    shown = pipeline("compare").stdout
    assert shown.count("cnn") == 2
    assert shown.index("by sara)") < shown.index("by ali and"), "the last one comes first"
    again = pipeline(*classify, "--classify.seeds=0 1", "--classify.training.weight_decay=0.1")
    assert "cnn · seed 0: reuse (done by ali, run" in again.stdout
