"""What many tests share: the demo's data prepared once, and a tracking store made once and copied."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.config import PROJECT_ROOT, Data, Run
from pipeline.data import catalog
from pipeline.data.store import ImageStore
from tests.warm import TIMEOUT, run_warm

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Real trials, as small as they get: what is tested is what happens around the training.
TINY = (
    "--classify.training.epochs=1",
    "--sweep.models=autoencoder",
    "--sweep.baselines=noisy",
    "--sweep.training.epochs=1",
    "--sweep.settings.autoencoder.width=4",
)

TINY_STUDIES = (
    *("--gan.seeds=0", "--gan.images=200", "--gan.hidden=8", "--gan.warm_steps=2", "--gan.probe_steps=20"),
    *("--gan.draws=100", "--gan.steps=2", "--gan.head_start=10", "--gan.looks=1", "--gan.judge_steps=5"),
    *("--gan.samples=50", "--gan.toy_steps=5", "--batch_norm.seeds=0", "--batch_norm.images=200"),
    *("--batch_norm.steps=40", "--batch_norm.every=20", "--batch_norm.rate_count=2", "--batch_norm.depth=2"),
    *("--batch_norm.width=4", "--batch_norm.batch_images=128", "--batch_norm.depths=[2, 4]"),
)

Pipeline = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def no_other_tests_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process keeps in its environment which store it opened and how patient it is: not for the next test."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


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
    short = ("--classify.settings.widths=[8, 16]", "--sweep.training.steps=20", "--sweep.variances=0.01 0.1")
    # What is exported computes in float32; in bfloat16 a network trained this little calls some digit otherwise.
    options = (*TINY, *both, *short, "--classify.training.precision=float32")
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


def as_user(*command: str) -> list[str]:
    """A command as somebody runs it who is not root, and so may not write and listen everywhere."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--bounding-set=-dac_override,-net_bind_service", *command]


def run_pipeline(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline …` with its output captured. Ray wants a process that nobody has forked."""
    # MLflow sets this variable to the store that this process has opened.
    inherited = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    if "--run.engine=ray" not in arguments:
        return run_warm(arguments, {**inherited, **environment})
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=PROJECT_ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, started afresh."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("Playwright is not installed: python -m pip install -e '.[dev]'")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.fail("there is no Chromium on the PATH: apt-get install chromium")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0  # which Chromium's sandbox refuses
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] * as_root)
        yield browser
        browser.close()
