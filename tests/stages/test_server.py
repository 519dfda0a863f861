"""The shared server: PostgreSQL behind it, passwords before it, four writers at once, and both restarted under way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests
from mlflow.exceptions import MlflowException

from pipeline.__main__ import main
from pipeline.config import PROJECT_ROOT, Run
from pipeline.errors import UserError
from pipeline.tracking import keys
from pipeline.tracking.server import Service, serving
from pipeline.tracking.store import open_store
from tests.conftest import run_pipeline
from tests.stages.test_ui import free_port
from tests.sweeps.sweeping import FOUR, SWEEP, all_runs, figures, started, wait_for

EXTRA = pytest.mark.skipif(
    find_spec("flask_wtf") is None or find_spec("psycopg2") is None, reason="needs pip install -e '.[server]'"
)
PASSWORD = "correct horse battery"
ADMIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


class Postgres:
    """A PostgreSQL of the test's own, in a folder that others than this user can get to."""

    def __init__(self, folder: Path, port: int) -> None:
        self.bin = postgres_bin()
        self.folder = folder
        self.port = port
        # It refuses to run as root.
        self.user = next(name for name in ("postgres", "nobody") if exists(name)) if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(folder, self.user)
        self.call("initdb", "-D", str(folder / "data"), "-U", "mlflow", "--auth=trust", "-E", "UTF8", "--no-sync")

    def call(self, command: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self.bin / command), *arguments],
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self.call("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self.call("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    @property
    def uri(self) -> str:
        return f"postgresql://mlflow:not-needed@127.0.0.1:{self.port}/postgres"


def postgres_bin() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.fail("there is no PostgreSQL: apt-get install postgresql")
    return Path(on_path).parent if on_path else found[-1].parent


def exists(user: str) -> bool:
    import pwd

    return any(entry.pw_name == user for entry in pwd.getpwall())


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory() as folder:
        database = Postgres(Path(folder), free_port())
        database.start()
        yield database
        database.stop()


@contextmanager
def server(home: Path, port: int, *arguments: str, **environment: str) -> Iterator[str]:
    """`make server` in a process of its own; what it has printed when it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "server", f"--run.home={home}", f"--server.port={port}", *arguments],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        printed = ""
        deadline = time.monotonic() + 150
        while "Ctrl-C stops" not in printed:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            assert time.monotonic() < deadline
            printed += line
        yield printed
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0


@pytest.mark.server
def test_a_sweep_of_four_writers_survives_the_restart_of_server_and_database(
    home: Path, tmp_path: Path, postgres: Postgres, prepared_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    guarded = ("--server.auth=true",)
    secrets = {"MLFLOW_BACKEND_STORE_URI": postgres.uri, "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
    sweep = (*SWEEP, FOUR, "--sweep.seeds=0 1", "--sweep.training.epochs=8")
    shared = tmp_path / "server"
    with server(shared, port, *guarded, **secrets) as printed:
        assert f"MLFLOW_TRACKING_URI={uri}" in printed
        assert "postgresql+psycopg2://mlflow:***@127.0.0.1" in printed
        assert PASSWORD not in printed
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert PASSWORD not in processes
        assert "not-needed" not in processes

        for who, message in (
            ({}, "asks who you are"),
            ({**ADMIN, "MLFLOW_TRACKING_PASSWORD": "wrong"}, "does not know this user or password"),
        ):
            refused = run_pipeline(*sweep, f"--run.home={home}", MLFLOW_TRACKING_URI=uri, **who)
            assert refused.returncode == 2
            assert refused.stderr == (
                f"error: the MLflow server at {uri} {message}; "
                "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD\n"
            )
        process = started(*sweep, "--run.jobs=4", home=home, MLFLOW_TRACKING_URI=uri, **ADMIN)
        wait_for(process, r"autoencoder .* epoch [1-6] ")
    postgres.stop()
    time.sleep(3)
    postgres.start()
    with server(shared, port, *guarded, **secrets):
        _, complaint = process.communicate(timeout=400)
        assert process.returncode == 0, complaint
        for name, value in ADMIN.items():
            monkeypatch.setenv(name, value)
        runs = all_runs(home, uri)
        assert {run.status for run in runs} == {"FINISHED"}
        assert sum(run.tags[keys.KIND] == keys.KIND_TRIAL for run in runs) == 6
        through_server = figures(home, uri)
        student = {"MLFLOW_TRACKING_USERNAME": "student", "MLFLOW_TRACKING_PASSWORD": "another long password"}
        created = requests.post(
            f"{uri}/api/2.0/mlflow/users/create",
            json={"username": "student", "password": student["MLFLOW_TRACKING_PASSWORD"]},
            auth=("admin", PASSWORD),
            timeout=60,
        )
        assert created.ok, created.text
        with monkeypatch.context() as as_student:
            for name, value in student.items():
                as_student.setenv(name, value)
            store = open_store(Run(home=home, tracking_uri=uri))
            made = store.experiment("first", "e" * 64, "made by a student")
            summary = store.client.create_run(made, tags={keys.KIND: keys.KIND_SUMMARY}).info.run_id
            with pytest.raises(MlflowException, match="Permission denied"):
                store.client.delete_experiment(made)
            store.put_away(summary)
            assert store.run(summary).tags[keys.KIND] == keys.KIND_PUT_AWAY
        students = tmp_path / "student"
        shutil.copytree(prepared_home, students)
        reused = run_pipeline(*sweep, f"--run.home={students}", MLFLOW_TRACKING_URI=uri, **student)
        assert reused.returncode == 0, reused.stderr
        assert reused.stdout.count(": reuse (done by admin, run") == 6
        compared = run_pipeline("compare", f"--run.home={students}", MLFLOW_TRACKING_URI=uri, **student)
        assert compared.returncode == 0, compared.stderr
        assert re.search(r"autoencoder.*\(n = 2\)", compared.stdout)
    assert list((shared / "mlartifacts").rglob("grid.png"))
    assert not (home / "mlruns").exists(), "artifacts went through the server"

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    other = tmp_path / "other"
    shutil.copytree(prepared_home, other)
    assert run_pipeline(*sweep, "--run.jobs=2", f"--run.home={other}").returncode == 0
    assert figures(other) == through_server


@pytest.mark.server
def test_without_a_database_the_server_keeps_runs_beside_those_of_this_project(home: Path, tmp_path: Path) -> None:
    port = free_port()
    sweep = (*SWEEP, "--sweep.variances=0.05")
    assert run_pipeline(*sweep, f"--run.home={home}").returncode == 0
    client = tmp_path / "client"
    shutil.copytree(home / ".cache" / "data", client / ".cache" / "data")
    with server(home, port, "--server.allowed_hosts=lab.example"):
        for name, answer in ((f"lab.example:{port}", 200), (f"127.0.0.1:{port}", 200), ("elsewhere.example", 403)):
            search = requests.post(
                f"http://127.0.0.1:{port}/ajax-api/2.0/mlflow/experiments/search",
                json={"max_results": 1},
                headers={"Host": name, "Origin": f"http://{name}"},  # as the UI's own requests have
                timeout=30,
            )
            assert search.status_code == answer, search.text
        done = run_pipeline(*sweep, f"--run.home={client}", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        assert done.returncode == 0, done.stderr
    assert len(list((home / "mlartifacts").rglob("grid.png"))) == 2
    assert not (client / "mlruns").exists()
    again = run_pipeline(*sweep, f"--run.home={home}")
    assert again.stdout.count(": reuse (done") == 2


def test_a_server_that_ends_by_itself_is_one_line_that_says_where_to_look(tmp_path: Path) -> None:
    service = Service("127.0.0.1", free_port(), ["--no-such-option"], tmp_path / "server.log")
    with pytest.raises(UserError, match=r"did not start on port \d+; .*server\.log says why"), serving(service, "it"):
        pass
    assert "no-such-option" in service.log.read_text()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--server.host=0.0.0.0"], {}, "lets other machines in: set AUTH=1 (a user and a password are asked for) and"),
        (["--server.host=0.0.0.0", "--server.auth=true"], {}, "lets other machines in: set HOSTS=name"),
        (["--server.host=0.0.0.0", "--server.allowed_hosts=a b"], {}, "lets other machines in: set AUTH=1"),
        (["--server.allowed_hosts=*"], {}, "server.allowed_hosts: * is every name"),
        (["--server.allowed_hosts=lab http://head:5000"], {}, "is an address; give the name alone: HOSTS=head"),
        (["--server.allowed_hosts=head:5000"], {}, "is an address; give the name alone: HOSTS=head"),
        pytest.param(["--server.auth=true"], {}, "admin needs a password of 12 characters or more", marks=EXTRA),
        pytest.param(
            ["--server.auth=true"],
            {"MLFLOW_AUTH_ADMIN_PASSWORD": "short"},
            "needs a password of 12 characters",
            marks=EXTRA,
        ),
        pytest.param(
            ["--server.auth=true", "--server.password_file=none"],
            {},
            "server.password_file: none: No such file",
            marks=EXTRA,
        ),
        (["--server.backend=postgresql://me:secret@db/x"], {}, "server.backend holds a password"),
        pytest.param(
            [],
            {"MLFLOW_BACKEND_STORE_URI": "postgresql://me:secret@127.0.0.1:9/x"},
            "the database at postgresql+psycopg2://me:***@127.0.0.1:9/x can't be used",
            marks=EXTRA,
        ),
        (["--server.port=0"], {}, "server.port is 0"),
    ],
)
def test_what_is_not_safe_or_not_complete_is_refused_in_one_line(
    arguments: list[str],
    environment: dict[str, str],
    message: str,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_BACKEND_STORE_URI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["server", f"--run.home={home}", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert "secret" not in printed
