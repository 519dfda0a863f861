"""The UI is there, over the same store, and the links printed are those of the charts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from pipeline.config import PROJECT_ROOT, Run
from pipeline.errors import UserError
from pipeline.tracking.server import Service, require_free
from pipeline.tracking.store import open_store
from tests.conftest import as_user

pytestmark = pytest.mark.server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ui_of(
    home: Path, port: int, before: Sequence[str] = (), **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The UI, and what it has printed when it is ready."""
    command = [*before, sys.executable, "-m", "pipeline", "ui", f"--run.home={home}", f"--ui.port={port}"]
    variables = {**os.environ, **environment}
    # The tests themselves may have been started with nohup, which what they start would inherit.
    heed = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
    ui = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True, env=variables, preexec_fn=heed)
    try:
        assert ui.stdout is not None
        printed = ""
        deadline = time.monotonic() + 120
        while "Ctrl-C stops" not in printed and time.monotonic() < deadline:
            printed += ui.stdout.readline()
        yield ui, printed
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(timeout=30)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "closed terminal"])
def test_the_ui_serves_the_store_and_prints_links_to_charts(home: Path, ending: signal.Signals) -> None:
    experiment = open_store(Run(home=home)).experiment("images-denoising", "d" * 64, "what it holds")
    port = free_port()
    with ui_of(home, port) as (ui, printed):
        link = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?compareRunsMode=CHART"
        assert re.search(rf"images-denoising +{re.escape(link)}", printed)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get?experiment_id={experiment}"
        ) as answer:
            assert b"images-denoising" in answer.read()
        ui.send_signal(ending)
        assert ui.wait(timeout=30) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health")


def test_a_port_for_root_alone_is_not_called_taken(home: Path) -> None:
    command = as_user(sys.executable, "-m", "pipeline", "ui", "--ui.port=1", f"--run.home={home}")
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "port 1 is not for you to listen on; choose one from 1024 on, for example PORT=5000" in done.stderr


def test_an_address_of_another_machine_is_not_called_taken(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"server\.host: this machine has no address 192\.0\.2\.1"):
        require_free(Service("192.0.2.1", 5000, (), tmp_path / "log"))


def test_a_port_that_is_taken_is_one_line(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", "ui", f"--run.home={home}", f"--ui.port={port}"],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr == f"error: port {port} is taken; choose another, for example PORT={port + 1}\n"


def test_the_ui_outlives_its_terminal_where_it_was_told_to_and_needs_no_proxy(home: Path) -> None:
    port = free_port()
    with ui_of(home, port, ["nohup"], http_proxy="http://127.0.0.1:9") as (ui, printed):
        assert "Ctrl-C stops" in printed, "a proxy knows nothing of this machine's own addresses"
        ui.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            ui.wait(timeout=3)
