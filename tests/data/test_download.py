"""Downloads, from a real server that fails in the ways that servers do."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.data import download
from pipeline.data.download import MnistCsv, Remote
from pipeline.errors import UserError
from tests.data.test_mnist_idx import idx_files

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `files`, each in the manner that the first part of its path says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"file": CONTENT}
        self.asked: list[str] = []

    def url(self, manner: str, name: str = "file") -> str:
        return f"http://127.0.0.1:{self.server_port}/{manner}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        manner, name = self.path.strip("/").split("/")
        self.server.asked.append(manner)
        content = self.server.files[name]
        if manner == "missing":
            self.send_error(404)
            return
        if manner == "fails-once" and self.server.asked.count(manner) == 1:
            self.send_error(503)
            return
        if manner == "page":
            content = b"<!DOCTYPE html><html>Please log in to this network</html>"
        if manner == "corrupts":
            content = content[:1000] + bytes(1) + content[1001:]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if manner == "stalls":
            self.wfile.write(content[:1000])
            self.wfile.flush()
            time.sleep(5)
        elif manner == "truncates":
            self.wfile.write(content[:1000])
        else:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAITS", (0.0, 0.01))
    monkeypatch.setattr(download, "TIMEOUT", (1.0, 0.5))


REFUSES = "http://127.0.0.1:9/file"  # nobody listens there


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("manner", "problem"),
    [
        ("refuses", "could not be reached"),
        ("missing", "answered: 404"),
        ("stalls", "did not go on in time"),
        ("truncates", "broke off"),
        ("corrupts", "sent something else than the published file"),
        ("page", "sent something else than the published file"),
    ],
)
def test_a_mirror_that_fails_is_followed_by_the_next(tmp_path: Path, server: Server, manner: str, problem: str) -> None:
    bad = REFUSES if manner == "refuses" else server.url(manner)
    path = Remote("file", DIGEST, (bad, server.url("good"))).fetch(tmp_path)
    assert path == tmp_path / "file"
    assert path.read_bytes() == CONTENT
    path.unlink()

    with pytest.raises(UserError) as refused:
        Remote("file", DIGEST, (bad,)).fetch(tmp_path)
    assert problem in str(refused.value)
    assert "SOURCE=path" in str(refused.value)
    assert "make demo" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert left_in(tmp_path) == [], "nothing of a failed download is left"


def test_a_mirror_that_recovers_is_asked_again(tmp_path: Path, server: Server) -> None:
    Remote("file", DIGEST, (server.url("fails-once"), server.url("missing"))).fetch(tmp_path)
    assert server.asked == ["fails-once", "missing", "fails-once"], "all mirrors before one again"


def test_what_is_there_and_right_is_not_downloaded_again(tmp_path: Path, server: Server) -> None:
    remote = Remote("file", DIGEST, (server.url("good"),))
    remote.fetch(tmp_path)
    remote.fetch(tmp_path)
    assert server.asked == ["good"]
    (tmp_path / "file").write_bytes(CONTENT[:-1])
    remote.fetch(tmp_path)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_reachable_means_that_every_file_has_a_mirror_that_answers(server: Server) -> None:
    good = Remote("file", DIGEST, (REFUSES, server.url("good")))
    bad = Remote("file", DIGEST, (REFUSES, server.url("missing")))
    assert download.reachable([good, good])
    assert not download.reachable([good, bad])


def mnist(server: Server, tmp_path: Path, manner: str, csv_manner: str) -> tuple[MnistCsv, bytes]:
    """A small MNIST on the server, as IDX files and as CSV."""
    images, labels, csv = idx_files(tmp_path / "origin")
    parts = []
    for path in (images, labels):
        server.files[path.name] = path.read_bytes()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        parts.append(Remote(path.name, digest, (server.url(manner, path.name),)))
    server.files["mnist_train.csv"] = csv
    digest = hashlib.sha256(csv).hexdigest()
    return MnistCsv("mnist_train.csv", digest, (server.url(csv_manner, "mnist_train.csv"),), *parts), csv


def test_mnist_is_rebuilt_from_its_idx_files(tmp_path: Path, server: Server) -> None:
    remote, csv = mnist(server, tmp_path, "good", "missing")
    assert remote.answers()
    assert remote.fetch(tmp_path / "here").read_bytes() == csv
    assert left_in(tmp_path / "here") == ["mnist_train.csv"]
    asked = len(server.asked)
    remote.fetch(tmp_path / "here")
    assert len(server.asked) == asked


def test_without_idx_mirrors_the_csv_itself_is_downloaded(tmp_path: Path, server: Server, capsys) -> None:
    remote, csv = mnist(server, tmp_path, "corrupts", "good")
    assert remote.fetch(tmp_path / "here").read_bytes() == csv
    assert "trying the CSV itself" in capsys.readouterr().out


def test_the_published_addresses_are_those_of_the_published_names() -> None:
    for remote in (*download.MNIST, *download.CIFAR10):
        for one in (remote, *([remote.images, remote.labels] if isinstance(remote, MnistCsv) else [])):
            assert len(one.sha256) == 64
            assert all(url.startswith("https://") and url.endswith("/" + one.name) for url in one.mirrors)
