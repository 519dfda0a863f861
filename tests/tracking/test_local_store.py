"""A project folder that is moved, renamed or copied keeps its results."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from PIL import Image

from pipeline.config import PROJECT_ROOT, Run
from pipeline.errors import UserError
from pipeline.tracking import keys
from pipeline.tracking.local_store import PATHS, moved_from, rewrite
from pipeline.tracking.runs import recording
from pipeline.tracking.store import TrackingStore, open_store
from tests.conftest import TINY, run_pipeline
from tests.sweeps.sweeping import SWEEP, all_runs


def filled(home: Path) -> TrackingStore:
    """A store with an experiment of one run."""
    store = open_store(Run(home=home))
    experiment = store.experiment("images-denoising", "d" * 64, "what it holds")
    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder:
        recorder.text("the text", "some.txt")
        recorder.image(Image.new("RGB", (8, 8)), "examples/grid")
    return store


def paths_in(home: Path) -> list[str]:
    """Every path that the database holds."""
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        return [path for table, column in PATHS for (path,) in database.execute(f"SELECT {column} FROM {table}")]


@pytest.mark.slow
def test_a_moved_folder_shows_loads_and_goes_on_with_its_runs(home: Path, tmp_path: Path) -> None:
    import mlflow

    assert run_pipeline(*SWEEP, "--sweep.variances=0.05", f"--run.home={home}").returncode == 0
    moved = tmp_path / "renamed σ² 100% it's" / "home"
    moved.parent.mkdir()
    home.rename(moved)

    done = run_pipeline(*SWEEP, "--sweep.variances=0.05 0.1", f"--run.home={moved}")
    assert done.returncode == 0, done.stderr
    assert f"tracking  this folder was {home} before" in done.stdout
    assert done.stdout.count(": reuse (done") == 2
    assert not home.exists(), "nothing is written where it was"
    assert moved_from(moved / "mlflow.db", moved / "mlruns") == []

    store = open_store(Run(home=moved))
    trials = [run for run in all_runs(moved) if run.tags[keys.KIND] == keys.KIND_TRIAL]
    assert len(trials) == 4
    for run in trials:
        listed = {file.path for file in store.client.list_artifacts(run.run_id)}
        assert {"grid.png", "images", "config"} <= listed
        assert store.table(run.run_id, keys.per_image(float(run.params["variance"]))).shape[0] > 0
    (experiment, _) = store.experiments()[0]
    models = store.client.search_logged_models([experiment])
    assert len(models) == 2
    for model in models:
        assert mlflow.pytorch.load_model(f"models:/{model.model_id}")(torch.rand(3, 3, 32, 32)).shape == (3, 3, 32, 32)

    report = run_pipeline("report", "--data.choice=demo", "--report.run_missing=false", f"--run.home={moved}")
    assert report.returncode == 0, report.stderr
    assert (moved / "reports" / "output" / "demo" / "figures").is_dir()


def test_a_copied_folder_has_its_own_artifacts(home: Path, tmp_path: Path) -> None:
    filled(home)
    files = sorted(home.rglob("*.txt"))
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    filled(copy)
    assert sorted(home.rglob("*.txt")) == files
    assert len(list(copy.rglob("*.txt"))) == 2
    assert len([path for path in paths_in(copy) if path.startswith(f"{copy}/mlruns/images-denoising/")]) == 2
    with closing(sqlite3.connect(copy / "mlflow.db.before-move")) as backup:
        query = "SELECT value FROM experiment_tags WHERE key = ?"
        assert backup.execute(query, (keys.PROJECT_ROOT,)).fetchall() == [(str(home),)]


def test_only_the_start_of_a_path_is_replaced(home: Path, tmp_path: Path) -> None:
    filled(home)
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    others = [f"{home}2/mlruns/a", f"/mnt{home}/mlruns/a", f"{home}/mlruns2/a", "s3://bucket/mlruns/a"]
    with closing(sqlite3.connect(copy / "mlflow.db")) as database, database:
        for number, path in enumerate(others):
            values = (f"other {number}", path, "active")
            database.execute(
                "INSERT INTO experiments (name, artifact_location, lifecycle_stage) VALUES (?, ?, ?)", values
            )
    open_store(Run(home=copy))
    after = paths_in(copy)
    assert set(others) <= set(after)
    assert [path for path in after if path.startswith(f"{home}/mlruns/")] == []
    assert sum(path.startswith(f"{copy}/mlruns/images-denoising") for path in after) == 2


def test_a_store_that_is_in_use_is_left_alone_with_one_line(home: Path, tmp_path: Path) -> None:
    filled(home)
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    before = paths_in(copy)
    with closing(sqlite3.connect(copy / "mlflow.db")) as idle:  # as a UI has it
        idle.execute("SELECT count(*) FROM runs").fetchone()
        refused = run_pipeline(*SWEEP, "--sweep.variances=0.05", f"--run.home={copy}")
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"error: this folder was {home} before, and mlflow.db is in use: stop the UI")
        assert len(refused.stderr.splitlines()) == 1
    assert paths_in(copy) == before
    open_store(Run(home=copy))
    assert paths_in(copy) != before


def test_artifacts_that_were_left_behind_are_asked_for(home: Path, tmp_path: Path) -> None:
    filled(home)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in home.glob("mlflow.db*"):
        shutil.copy(file, copy)
    with pytest.raises(UserError, match=f"moved without its artifacts; move {home / 'mlruns'} to {copy} as well"):
        open_store(Run(home=copy))


def test_a_store_that_several_projects_share_is_not_taken_over(home: Path, tmp_path: Path) -> None:
    filled(home)
    shared = home / "mlflow.db"
    other = tmp_path / "other"
    (other / "mlruns").mkdir(parents=True)
    assert moved_from(shared, other / "mlruns") == []
    before = paths_in(home)
    open_store(Run(home=other, tracking_uri=f"sqlite:///{shared}"))
    assert paths_in(home) == before


def test_every_column_of_paths_follows_a_move_as_path_and_as_address() -> None:
    places = {
        "experiments": "artifact_location", "runs": "artifact_uri",
        "logged_models": "artifact_location", "model_versions": "storage_location",
    }  # fmt: skip
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE experiment_tags (key, value)")
        for table, column in places.items():
            database.execute(f"CREATE TABLE {table} ({column})")
            database.execute(f"INSERT INTO {table} VALUES ('/old place/mlruns/a'), ('file:///old%20place/mlruns/a')")
        rewrite(database, Path("/old place"), Path("/new place/mlruns"))
        for table, column in places.items():
            found = [path for (path,) in database.execute(f"SELECT {column} FROM {table}")]
            assert found == ["/new place/mlruns/a", "file:///new%20place/mlruns/a"], table


def test_a_command_leaves_all_its_runs_in_the_one_file(home: Path) -> None:
    """A copy of mlflow.db alone has them."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "classify", "--data.choice=demo", *TINY, f"--run.home={home}"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert [file.name for file in sorted(home.glob("mlflow.db*"))] == ["mlflow.db", "mlflow.db.lock"]


@pytest.mark.parametrize("name", ["a b#c", "100% mine", "تکلیف"])
def test_a_folder_may_have_nearly_any_name(tmp_path: Path, name: str) -> None:
    filled(tmp_path / name)
    with closing(sqlite3.connect(tmp_path / name / "mlflow.db")) as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("a run",)]
    assert [file.name for file in tmp_path.iterdir()] == [name], "nothing beside it"


@pytest.mark.parametrize("name", ["My%20Homework", "what?"])
def test_a_folder_that_mlflow_would_take_for_another_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        UserError, match=f"would read {re.escape((set('%?') & set(name)).pop())} as another sign; rename"
    ):
        open_store(Run(home=tmp_path / name))
    assert list(tmp_path.iterdir()) == []
