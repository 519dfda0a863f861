"""Whether a server answers and lets this user in: asked once, before anything is sent to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.errors import UserError
from pipeline.tracking.addresses import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_TO_ANSWER = 10.0


def require_server(uri: str, seconds: float = SECONDS_TO_ANSWER) -> None:
    """Refuse an address where no MLflow answers."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=seconds).raise_for_status()
    except requests.RequestException as error:
        raise UserError(
            f"no MLflow server answers at {without_password(uri)} ({type(error).__name__}); start it"
        ) from error


def require_access(client: MlflowClient, uri: str) -> None:
    """Refuse a server that wants to know who asks."""
    from mlflow.exceptions import MlflowException

    try:
        client.search_experiments(max_results=1)
    except MlflowException as error:
        if error.get_http_status_code() not in (401, 403):
            raise
        who = (
            "does not know this user or password" if os.environ.get("MLFLOW_TRACKING_USERNAME") else "asks who you are"
        )
        raise UserError(
            f"the MLflow server at {without_password(uri)} {who}; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from error
