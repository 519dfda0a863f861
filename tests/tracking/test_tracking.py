"""Runs end with the right status, and results on different data stay apart."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from pipeline import interruption
from pipeline.config import PROJECT_ROOT, Run
from pipeline.errors import UserError
from pipeline.models.denoisers import Autoencoder
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import TrackingStore, open_store


@pytest.fixture
def store(home: Path) -> TrackingStore:
    return open_store(Run(home=home))


@pytest.fixture
def experiment(store: TrackingStore) -> str:
    return store.experiment("images-denoising", "d" * 64, "what it holds")


def status(store: TrackingStore, run_id: str) -> str:
    return store.client.get_run(run_id).info.status


def test_a_finished_run_is_found_with_all_that_was_written(store: TrackingStore, experiment: str) -> None:
    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {"device": "cpu"}) as recorder:
        recorder.params({"model": "m", "variance": 0.05})
        recorder.epoch_finished(1, {"val/psnr": 20.0})
        recorder.epoch_finished(2, {"val/psnr": 21.0})
        recorder.metrics({"test/psnr": 22.0})
    (found,) = store.finished(experiment, keys.KIND_TRIAL)
    assert found.name == "a run"
    assert found.params == {"model": "m", "variance": "0.05"}
    assert (found.metrics["val/psnr"], found.metrics["test/psnr"]) == (21.0, 22.0)
    history = store.client.get_metric_history(found.run_id, "val/psnr")
    assert [(point.step, point.value) for point in history] == [(1, 20.0), (2, 21.0)]
    assert [point.step for point in store.client.get_metric_history(found.run_id, "test/psnr")] == [0]
    assert {"version.torch", "version.python", "mlflow.user", "command", "device"} <= found.tags.keys()
    assert store.finished(experiment, keys.KIND_SUMMARY) == []


@pytest.mark.parametrize(("error", "expected"), [(ValueError("why"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_a_run_that_breaks_off_is_not_finished(
    store: TrackingStore, experiment: str, error: BaseException, expected: str
) -> None:
    with (
        pytest.raises(type(error)),
        recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder,
    ):
        raise error
    assert status(store, recorder.run_id) == expected
    assert store.finished(experiment, keys.KIND_TRIAL) == []
    if expected == "FAILED":
        assert store.client.get_run(recorder.run_id).data.tags[keys.FAILURE] == "ValueError: why"


def test_a_run_that_failed_is_resumed_and_then_complete(store: TrackingStore, experiment: str) -> None:
    def fails() -> None:
        with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder:
            recorder.params({"steps": 3})
            recorder.epoch_finished(1, {"train/loss": 1.0})
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        fails()
    (failed,) = store.of_trial(experiment, "f" * 64)
    assert failed.status == "FAILED"
    assert store.of_trial(experiment, "0" * 64) == []

    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}, resume=failed.run_id) as recorder:
        recorder.params({"steps": 3})
        recorder.epoch_finished(1, {"train/loss": 1.0})  # trained again from an older checkpoint
        recorder.epoch_finished(2, {"train/loss": 0.5})
        assert status(store, recorder.run_id) == "RUNNING"
    (run,) = store.finished(experiment, keys.KIND_TRIAL)
    assert run.run_id == failed.run_id
    assert keys.FAILURE not in run.tags
    assert store.history(run.run_id, "train/loss") == [(1, 1.0), (2, 0.5)]


def test_the_seconds_of_a_run_are_those_of_all_its_processes(store: TrackingStore, experiment: str) -> None:
    def breaks_off() -> None:
        with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder:
            recorder.started -= 1000  # as if it had taken that long
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        breaks_off()
    (killed,) = store.of_trial(experiment, "f" * 64)
    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}, resume=killed.run_id) as recorder:
        recorder.started -= 500
        recorder.checkpoint_saved()  # what a process that is killed has told
    (run,) = store.finished(experiment, keys.KIND_TRIAL)
    assert 1500 < run.metrics[keys.TOTAL_SECONDS] < 1600
    assert 1500 < float(run.tags[keys.SPENT]) <= run.metrics[keys.TOTAL_SECONDS]


def test_an_error_that_ctrl_c_caused_inside_a_library_is_an_interruption(
    store: TrackingStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "signal_number", None)
    with suppress(KeyboardInterrupt):
        interruption.interrupt(signal.SIGINT, None)
    with (
        pytest.raises(ValueError, match="callback"),
        recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder,
    ):
        raise ValueError("a callback failed")
    assert status(store, recorder.run_id) == "KILLED"


def test_results_on_other_data_get_another_experiment(store: TrackingStore, experiment: str) -> None:
    other = store.experiment("images-denoising", "e" * 64, "what it holds")
    assert other != experiment
    assert store.experiment("images-denoising", "d" * 64, "") == experiment
    assert store.find_experiment("images-denoising", "e" * 64) == other
    assert store.find_experiment("images-denoising", "0" * 64) is None
    assert [name for _, name in store.experiments()] == ["images-denoising", "images-denoising-eeeeeeee"]


def test_a_deleted_experiment_is_one_line_that_says_what_to_do(store: TrackingStore, experiment: str) -> None:
    store.client.delete_experiment(experiment)
    with pytest.raises(
        UserError, match=rf"\.venv/bin/mlflow experiments restore --experiment-id {experiment}.*mlflow gc"
    ):
        store.experiment("images-denoising", "d" * 64, "what it holds")


def test_a_logged_model_loads_without_pickle_and_gives_the_same_for_any_batch(
    store: TrackingStore, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    model = Autoencoder(channels=3, width=4)
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f" * 64, {}) as recorder:
        recorder.model(model, "denoiser", images[:2])
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    (logged,) = store.client.search_logged_models([experiment])
    loaded = mlflow.pytorch.load_model(f"models:/{logged.model_id}")
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), expected)


@pytest.mark.slow
def test_processes_that_open_a_fresh_store_at_once_all_succeed(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from pipeline.config import Run; from pipeline.tracking.store import open_store\n"
        "open_store(Run(home=pathlib.Path(sys.argv[1]))).experiment('e', 'd' * 64, '')"
    )
    workers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT_ROOT) for _ in range(4)]
    assert [worker.wait(timeout=200) for worker in workers] == [0, 0, 0, 0]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
