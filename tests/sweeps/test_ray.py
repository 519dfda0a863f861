"""A real Ray cluster of three nodes on this machine, one of which dies in the middle of a sweep."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.conftest import Pipeline, run_pipeline
from tests.sweeps.sweeping import FOUR, SWEEP, all_runs, figures, started, wait_for
from tests.sweeps.test_faults import port, server

pytestmark = pytest.mark.cluster
__all__ = ["port"]

MEMORY = 150 << 20  # of a node's object store


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Ray at a time, whatever the number of tests at once: each brings processes enough for the whole machine."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """A cluster and the node to lose. Each node has one core, so each runs one trial."""
    pytest.importorskip("ray", reason="needs Ray: .venv/bin/python -m pip install -e '.[ray]'")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else the tests beside this one stop it
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY})
    doomed = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes()
    yield cluster, doomed
    cluster.shutdown()


def test_a_node_that_dies_costs_no_trial_and_changes_no_figure(
    cluster: tuple[Any, Any], home: Path, tmp_path: Path, prepared_home: Path, port: int
) -> None:
    nodes, doomed = cluster
    sweep = (*SWEEP, FOUR, "--sweep.seeds=0 1", "--sweep.training.epochs=6")
    on_ray = ("--run.engine=ray", f"--run.ray_address={nodes.address}")
    local = run_pipeline(*sweep, *on_ray, f"--run.home={home}")
    assert local.returncode == 2, local.stderr
    assert "3 Ray nodes can't share the tracking store sqlite:" in local.stderr
    assert "make server HOST=0.0.0.0" in local.stderr

    uri = f"http://127.0.0.1:{port}"
    with server(tmp_path / "server", port):
        under_way = started(*sweep, *on_ray, home=home, MLFLOW_TRACKING_URI=uri)
        wait_for(under_way, r"autoencoder .* epoch \d+ ")
        nodes.remove_node(doomed, allow_graceful=False)
        _, complaint = under_way.communicate(timeout=400)
        assert under_way.returncode == 0, complaint
        runs = all_runs(home, uri)
        assert {run.status for run in runs} == {"FINISHED"}
        assert len(runs) == 7, "two baselines, four networks, the summary"
        through_ray = figures(home, uri)

    other = tmp_path / "other"
    shutil.copytree(prepared_home, other)
    assert run_pipeline(*sweep, f"--run.home={other}").returncode == 0
    assert through_ray == figures(other)


def test_without_an_address_ray_runs_on_this_machine(pipeline: Pipeline, home: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: .venv/bin/python -m pip install -e '.[ray]'")
    done = pipeline(*SWEEP, "--sweep.variances=0.01", "--run.engine=ray", "--run.threads=1")
    assert done.returncode == 0, done.stderr
    assert {run.status for run in all_runs(home)} == {"FINISHED"}
    (trained,) = (run for run in all_runs(home) if run.name.startswith("autoencoder"))
    assert re.match(r"python -m pipeline sweep ", trained.tags["command"])


def test_a_cluster_that_is_not_there_is_one_line(pipeline: Pipeline, home: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: .venv/bin/python -m pip install -e '.[ray]'")
    done: subprocess.CompletedProcess[str] = pipeline(
        *SWEEP, "--sweep.variances=0.01", "--run.engine=ray", "--run.ray_address=127.0.0.1:9"
    )
    assert done.returncode == 2
    assert "no Ray cluster at 127.0.0.1:9" in done.stderr
