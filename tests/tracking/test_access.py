"""A server that can't be used is told apart from one that is not there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.errors import UserError
from pipeline.tracking.access import require_access, require_server


class Fake(BaseHTTPRequestHandler):
    """Healthy, but known by another name than it is called by here, as MLflow's own middleware says it."""

    def do_GET(self) -> None:
        self.answer(200 if self.path == "/health" else 404)

    def do_POST(self) -> None:
        self.answer(403, b"Invalid Host header - possible DNS rebinding attack detected")

    def answer(self, status: int, body: bytes = b"OK") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def uri() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Fake)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_an_address_copied_from_the_browser_is_no_servers(uri: str) -> None:
    require_server(uri)
    with pytest.raises(UserError, match=r"answers 404 Not Found; give the server's address alone"):
        require_server(f"{uri}/experiments")


def test_encryption_where_there_is_none_is_said(uri: str) -> None:
    with pytest.raises(UserError, match=r"does not speak https; did you mean http://"):
        require_server(uri.replace("http:", "https:"))


def test_a_server_called_by_another_name_does_not_blame_the_password(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ali")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
    with pytest.raises(UserError, match=r"does not go by the name 127\.0\.0\.1; call it by one"):
        require_access(MlflowClient(uri), uri)
