"""A sweep is killed, its server dies, the disk is full: the same command ends with what an undisturbed one gives."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from pipeline.tracking import keys
from tests.conftest import Pipeline, run_pipeline
from tests.sweeps.sweeping import FOUR, SWEEP, all_runs, figures, started, wait_for, workers_of

KILLS = 25


@pytest.mark.slow
def test_a_sweep_killed_at_25_moments_ends_as_an_undisturbed_one(
    home: Path, prepared_home: Path, tmp_path: Path
) -> None:
    """SIGKILL of the sweep, or of one of its workers, from the first import to the last write."""
    sweep = (*SWEEP, FOUR, "--sweep.seeds=0 1", "--sweep.training.epochs=8", "--run.jobs=2")
    chance = random.Random(20)
    for _ in range(KILLS):
        process = started(*sweep, "--run.checkpoint_seconds=0.2", home=home)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=chance.uniform(0.5, 14))
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = workers_of(process)
            if workers and chance.random() < 0.3:
                chance.choice(workers).kill()
                time.sleep(chance.uniform(0, 2))
        process.kill()
        process.communicate(timeout=60)
    last = run_pipeline(*sweep, f"--run.home={home}")
    assert last.returncode == 0, last.stderr

    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(prepared_home, undisturbed)
    assert run_pipeline(*sweep, f"--run.home={undisturbed}").returncode == 0
    runs = all_runs(home)
    assert {run.status for run in runs} == {"FINISHED"}
    assert sorted(run.name for run in runs) == sorted(run.name for run in all_runs(undisturbed))
    assert figures(home) == figures(undisturbed)
    assert not list((home / ".cache" / "trials").glob("*/")), "no checkpoint is left"


@contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server over a store in a folder."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", f"--port={port}", "--workers=1"),
            *(f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


LONG = (*SWEEP, "--sweep.variances=0.05", "--sweep.training.epochs=8")


@pytest.mark.server
def test_a_server_that_comes_back_costs_nothing(home: Path, tmp_path: Path, port: int, prepared_home: Path) -> None:
    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path / "server", port):
        sweep = started(*LONG, home=home, MLFLOW_TRACKING_URI=uri)
        wait_for(sweep, r"autoencoder .* epoch 2 ")
    time.sleep(8)
    with server(tmp_path / "server", port):
        _, complaint = sweep.communicate(timeout=300)
        assert sweep.returncode == 0, complaint
        through_server = figures(home, uri)
    other = tmp_path / "other"
    shutil.copytree(prepared_home, other)
    assert run_pipeline(*LONG, f"--run.home={other}").returncode == 0
    assert through_server == figures(other)


@pytest.mark.server
def test_a_server_that_stays_away_fails_the_sweep_which_goes_on_later(home: Path, tmp_path: Path, port: int) -> None:
    uri = f"http://127.0.0.1:{port}"
    impatient = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with server(tmp_path / "server", port):
        sweep = started(*LONG, home=home, **impatient)
        wait_for(sweep, r"autoencoder .* epoch 2 ")
    _, complaint = sweep.communicate(timeout=120)
    assert sweep.returncode == 1, complaint
    assert f"the MLflow server can't be reached ({uri})" in complaint
    assert "Traceback" not in complaint

    without = run_pipeline(*LONG, f"--run.home={home}", **impatient)
    assert without.returncode == 2
    assert without.stderr.startswith(f"error: no MLflow server answers at {uri}")
    with server(tmp_path / "server", port):
        again = run_pipeline(*LONG, f"--run.home={home}", **impatient)
        assert again.returncode == 0, again.stderr
        assert "of them done before" in again.stdout
        assert {run.status for run in all_runs(home, uri)} == {"FINISHED"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a file system (run as root): {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_sweep_goes_on_when_there_is_space(small_disk: Path, prepared_home: Path) -> None:
    home = small_disk / "home"
    shutil.copytree(prepared_home, home)
    sweep = (*SWEEP, FOUR, f"--run.home={home}")
    assert run_pipeline(*SWEEP, "--sweep.variances=0.01", f"--run.home={home}").returncode == 0
    for jobs in ("1", "2"):
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        os.truncate(filler, filler.stat().st_size - (200 << 10))
        full = run_pipeline(*sweep, f"--run.jobs={jobs}")
        assert full.returncode == 1, full.stdout
        assert "the disk is full" in full.stderr
        assert "Traceback" not in full.stderr
        filler.unlink()
    done = run_pipeline(*sweep)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": reuse (done") >= 2
    runs = all_runs(home)
    assert {run.status for run in runs} == {"FINISHED"}
    assert sum(run.tags[keys.KIND] == keys.KIND_TRIAL for run in runs) == 4


def test_a_store_that_cannot_be_written_to_is_one_line(pipeline: Pipeline, home: Path) -> None:
    shutil.rmtree(home / ".cache" / "trials", ignore_errors=True)
    (home / "mlflow.db").write_bytes(b"not a database" * 1000)
    done = pipeline(*SWEEP, "--sweep.variances=0.01")
    assert done.returncode == 1
    assert done.stderr.startswith("failed: the tracking store can't be written to")
