"""What the tests of sweeps share: start one, watch it, and see what it left in the store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.config import PROJECT_ROOT, Run
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from tests.conftest import TINY

SWEEP = ("sweep", "--data.choice=demo", *TINY, "--run.threads=1")
FOUR = "--sweep.variances=0.01 0.1"  # two baselines, two networks


def experiment_of(store: TrackingStore) -> str:
    ((experiment_id, _),) = store.experiments()
    return experiment_id


def all_runs(home: Path, uri: str | None = None) -> list[RunRecord]:
    """Every run that is not in the trash."""
    store = open_store(Run(home=home, tracking_uri=uri))
    return store.search(experiment_of(store), "")


def figures(home: Path, uri: str | None = None) -> dict[str, object]:
    """Every figure and curve but times, by the trial's name: as (step, value), in the order of logging."""
    store = open_store(Run(home=home, tracking_uri=uri))
    found: dict[str, object] = {}
    for run in store.search(experiment_of(store), f"tags.kind = '{keys.KIND_TRIAL}'"):
        assert run.name not in found, "one run a trial"
        names = sorted(name for name in run.metrics if not name.startswith("time/"))
        # A kill between the last figures and the end of a run has them written again, the same.
        found[run.name] = {name: list(dict.fromkeys(store.history(run.run_id, name))) for name in names}
    return found


def started(*arguments: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    """A sweep under way."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline", *arguments, f"--run.home={home}"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for printed in process.stdout:
        if re.search(line, printed):
            return
    pytest.fail(f"never printed {line}: {process.stderr and process.stderr.read()}")


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
