"""An MLflow server that several people or machines send runs to: PostgreSQL behind it, and files through it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.config import Config
from pipeline.console import say
from pipeline.tracking.addresses import without_password
from pipeline.tracking.server import artifacts_folder, serving, shared_service, wait_for_end


def run(config: Config) -> None:
    """Serve until interrupted, and say what a client needs."""
    server = config.server
    with tempfile.TemporaryDirectory() as folder:
        service = shared_service(config.run, server, Path(folder))
        with serving(service, "the MLflow server") as process:
            address = f"http://{server.allowed_hosts[0]}:{server.port}" if server.allowed_hosts else service.here
            backend = without_password(service.environment["MLFLOW_BACKEND_STORE_URI"])
            say(f"MLflow server at {address}: runs in {backend}, files in {artifacts_folder(config.run, server)}")
            say(f"Whoever sends runs to it sets MLFLOW_TRACKING_URI={address}")
            if server.auth:
                say("and their MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD;")
                say(f"{server.admin} makes users at {address}/signup")
            say("Ctrl-C stops the server.")
            wait_for_end(process, service.log)
