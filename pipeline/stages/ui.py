"""The MLflow UI over the same store, on the loopback interface, with links that land on charts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.config import Config
from pipeline.console import say, waiting
from pipeline.errors import UserError
from pipeline.tracking.links import charts
from pipeline.tracking.store import TrackingStore, open_store, store_uri

HOST = "127.0.0.1"
START_SECONDS = 120


def run(config: Config) -> None:
    """Serve until interrupted. A store that is a server already has its UI: then only the links are printed."""
    store = open_store(config.run)
    if store_uri(config.run).startswith("http"):
        show_links(store, store.uri.rstrip("/"), config.ui.open_browser)
        return
    for name in ("SIGTERM", "SIGHUP"):  # a closed terminal must not leave the server behind
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    with serving(store, config.ui.port) as server:
        show_links(store, f"http://{HOST}:{config.ui.port}", config.ui.open_browser)
        say("Ctrl-C stops the UI.")
        try:
            # Not server.wait(): polars, which MLflow imports, has interrupted system calls restarted, and Ctrl-C would
            # not end the wait.
            while server.poll() is None:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return
    raise UserError(f"the MLflow server ended by itself with code {server.returncode}")


@contextmanager
def serving(store: TrackingStore, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server with one worker and without its job runner: a quarter of the memory and of the wait."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port} is taken; choose another, for example PORT={port + 1}") from error
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri),
            *(("--default-artifact-root", str(store.artifacts)) if store.artifacts else ()),
            *("--host", HOST, "--port", str(port), "--workers", "1"),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a process group of its own, so that its worker ends with it
    )
    try:
        with waiting("Starting the MLflow UI"):
            wait_until_healthy(server, port)
        yield server
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server with its worker: ended alone, it would wait for the worker, and the worker for connections."""
    if hasattr(os, "killpg"):
        os.killpg(server.pid, signal.SIGKILL)
    else:
        server.kill()
    server.wait()


def wait_until_healthy(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when the server answers. Raises `UserError` if it ends or stays silent."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=1).close()
            return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    raise UserError(f"the MLflow server did not start on port {port}; try another, for example PORT={port + 1}")


def show_links(store: TrackingStore, server: str, open_browser: bool) -> None:
    """Print the link of every experiment's charts, and open the first one if there is a browser."""
    experiments = store.experiments()
    if not experiments:
        say(f"{server} has no runs yet; make demo, make classify or make sweep makes some")
        return
    say("Charts of each experiment:")
    for experiment_id, name in experiments:
        say(f"  {name:28} {charts(server, experiment_id)}")
    if open_browser and sys.stdout.isatty():
        webbrowser.open(charts(server, experiments[0][0]))
