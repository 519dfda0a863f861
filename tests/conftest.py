"""What many tests share: the demo's data prepared once, and a tracking store made once and copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config import PROJECT_ROOT, Data, Run
from pipeline.data import catalog
from pipeline.data.store import ImageStore

# Real trials, as small as they get: what is tested is what happens around the training.
TINY = (
    "--classify.training.epochs=1",
    "--sweep.models=autoencoder",
    "--sweep.baselines=noisy",
    "--sweep.training.epochs=1",
    "--sweep.settings.autoencoder.width=4",
)

Pipeline = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def no_other_tests_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow puts the store that a process opened into the environment, where the next test would find it."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with the demo's stores and an empty tracking store: copy it, don't write to it."""
    from pipeline.tracking.store import open_store

    home = tmp_path_factory.mktemp("prepared")
    run = Run(home=home)
    for role in catalog.ROLES:
        catalog.prepare(Data(choice="demo"), run, role)
    open_store(run)
    return home


@pytest.fixture
def home(prepared_home: Path, tmp_path: Path) -> Path:
    """A home folder of the test's own, with the demo prepared and a fresh tracking store."""
    place = tmp_path / "home"
    shutil.copytree(prepared_home, place)
    return place


@pytest.fixture(scope="session")
def trained_home(prepared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a classifier, two denoisers for one variance each and one for all: don't write to it."""
    place = tmp_path_factory.mktemp("trained") / "home"
    shutil.copytree(prepared_home, place)
    both = ("--sweep.models=autoencoder conditional", "--sweep.settings.conditional.widths=[4, 4, 4]")
    short = ("--classify.settings.width=8", "--sweep.training.steps=20", "--sweep.variances=0.01 0.1")
    options = (*TINY, *both, *short)
    for stage in ("classify", "sweep"):
        done = run_pipeline(stage, "--data.choice=demo", *options, f"--run.home={place}")
        assert done.returncode == 0, done.stderr
    return place


@pytest.fixture(scope="session")
def digits(prepared_home: Path) -> ImageStore:
    return ImageStore.open(prepared_home / ".cache" / "data" / "demo-digits")


@pytest.fixture(scope="session")
def patches(prepared_home: Path) -> ImageStore:
    return ImageStore.open(prepared_home / ".cache" / "data" / "demo-patches")


@pytest.fixture
def pipeline(home: Path) -> Pipeline:
    """Run a stage in a process of its own, as a user does, in the test's home folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run_pipeline(*arguments, f"--run.home={home}", **environment)

    return run


def run_pipeline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline …` with its output captured."""
    # MLflow sets this variable to the store that this process has opened.
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=PROJECT_ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
