"""Whether a server answers and lets this user in: asked once, before anything is sent to it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pipeline.errors import UserError
from pipeline.tracking.addresses import without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

SECONDS_TO_ANSWER = 10.0


def require_server(uri: str, seconds: float = SECONDS_TO_ANSWER) -> None:
    """Refuse an address where no MLflow answers."""
    import requests

    where = without_password(uri)
    try:
        answer = requests.get(f"{uri.rstrip('/')}/health", timeout=seconds)
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UserError(
                f"the certificate of {where} is not known here; name it: REQUESTS_CA_BUNDLE=file"
            ) from error
        raise UserError(f"what answers at {where} does not speak https; did you mean http://?") from error
    except requests.RequestException as error:
        raise UserError(f"no MLflow server answers at {where} ({type(error).__name__}); start it") from error
    if not answer.ok:
        if answer.status_code == 404:
            hint = "give the server's address alone, such as http://name:5000"
        else:
            hint = "is the MLflow server behind it running?"
        raise UserError(f"{where} answers {answer.status_code} {answer.reason}; {hint}")


def user_at(uri: str) -> str:
    """The user that MLflow names to a server: of its variables, its file of credentials or the address; "" for none."""
    from mlflow.utils.credentials import read_mlflow_creds

    return read_mlflow_creds().username or unquote(urlsplit(uri).username or "")


def leave_to_all(uri: str, experiment_id: str) -> None:
    """Give up the rights that a server with users gives whoever makes an experiment.

    The first to run a stage could otherwise delete what everybody has run. The administrator can all the same.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    user = user_at(uri)
    if not user:
        return
    answer = http_request(
        get_default_host_creds(uri),
        "/api/3.0/mlflow/users/permissions/revoke",
        "POST",
        json={"username": user, "resource_type": "experiment", "resource_id": experiment_id},
        raise_on_status=False,
    )
    if answer.status_code not in (404, 405):  # of a server without users, or of an older one
        answer.raise_for_status()


def require_access(client: MlflowClient, uri: str) -> None:
    """Refuse a server that wants to know who asks."""
    from mlflow.exceptions import MlflowException

    try:
        client.search_experiments(max_results=1)
    except MlflowException as error:
        if error.get_http_status_code() not in (401, 403):
            raise
        if "Invalid Host header" in str(error):
            name = urlsplit(uri).hostname
            raise UserError(
                f"the MLflow server at {without_password(uri)} does not go by the name {name}; call it by one that it "
                f'was started with (HOSTS="…"), or add {name} to those'
            ) from error
        who = (
            "does not know this user or password" if os.environ.get("MLFLOW_TRACKING_USERNAME") else "asks who you are"
        )
        raise UserError(
            f"the MLflow server at {without_password(uri)} {who}; "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        ) from error
