"""MLflow's own server as a process of ours: over the store of this project for its UI, or for several people."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline.config import PROJECT_ROOT, Run, Server
from pipeline.console import waiting
from pipeline.errors import UserError
from pipeline.interruption import interrupt
from pipeline.tracking.addresses import with_driver, without_password
from pipeline.tracking.local_store import file_of, uri_of
from pipeline.tracking.store import TrackingStore, open_store, store_uri

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for all interfaces, and the one of them to ask whether the server is up."""
START_SECONDS = 120
LEAST_PASSWORD = 12
"""Characters that MLflow asks of a password."""
AUTH_CONFIG = """[mlflow]
default_permission = EDIT
database_uri = {database}
admin_username = {admin}
auth_cache_ttl_seconds = 60
"""
"""All users may write to all experiments, for they share them. Passwords are slow to check: once a minute is enough."""


@dataclass(frozen=True)
class Service:
    """How a server is started."""

    host: str
    port: int
    arguments: Sequence[str]
    """Of `mlflow server`, besides its address."""
    log: Path
    """File for what it says."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What must not be seen in a list of processes."""

    @property
    def here(self) -> str:
        """Where it answers on this machine."""
        host = EVERYWHERE.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def ui_service(store: TrackingStore, run: Run, port: int) -> Service:
    """The UI over the tracking store, on the loopback interface."""
    artifacts = ("--default-artifact-root", str(store.artifacts)) if store.artifacts else ()
    environment = {"MLFLOW_BACKEND_STORE_URI": store.uri}
    return Service(LOOPBACK[0], port, (*artifacts, "--workers", "1"), log_file(run), environment)


def shared_service(run: Run, server: Server, folder: Path) -> Service:
    """A server that keeps runs and artifacts of several people; `folder` is for what it reads at its start.

    Raises `UserError` for one that others could reach without a password, and for what it lacks.
    """
    require_guarded(server)
    backend = backend_uri(run, server)
    artifacts = artifacts_folder(run, server)
    arguments = ["--artifacts-destination", str(artifacts), "--workers", str(server.workers)]
    environment = {"MLFLOW_BACKEND_STORE_URI": backend}
    if server.allowed_hosts:
        names = hosts(server)
        # The UI's own requests name their origin, and would be refused as another site's.
        origins = [f"{scheme}://{name}" for scheme in ("http", "https") for name in names]
        arguments += ["--allowed-hosts", ",".join(names), "--cors-allowed-origins", ",".join(origins)]
    if server.auth:
        arguments += ["--app-name", "basic-auth"]
        environment |= guarded(run, server, backend, folder)
    return Service(server.host, server.port, arguments, log_file(run), environment)


def require_guarded(server: Server) -> None:
    """Refuse to let anybody in from another machine who need not say who they are."""
    if server.host in LOOPBACK or (server.auth and server.allowed_hosts):
        return
    missing = "" if server.auth else "AUTH=1 (a user and a password are asked for)"
    if not server.allowed_hosts:
        missing += f"{' and ' * bool(missing)}HOSTS=name (the names that this machine is called by)"
    raise UserError(f"server.host {server.host} lets other machines in: set {missing} as well, or leave HOST out")


def backend_uri(run: Run, server: Server) -> str:
    """Address of the database, which must answer; without one it is the project's own SQLite store, made if missing."""
    given = server.backend or os.environ.get("MLFLOW_BACKEND_STORE_URI")
    if not given:
        local = Run(home=run.home)
        open_store(local)
        return store_uri(local)
    uri = with_driver(given)
    if not file_of(uri):
        require_database(uri)
    return uri


def require_database(uri: str) -> None:
    """Refuse an address where no database answers: MLflow would try for minutes."""
    import sqlalchemy

    try:
        with sqlalchemy.create_engine(uri, connect_args={"connect_timeout": 5}).connect():
            pass
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[-1]
        raise UserError(f"the database at {without_password(uri)} can't be used: {without_password(reason)}") from error


def artifacts_folder(run: Run, server: Server) -> Path:
    """Where the server keeps files."""
    return (server.artifacts or run.home / "mlartifacts").resolve()


def hosts(server: Server) -> list[str]:
    """Names that requests may call the server by, each with and without the port; this machine's own are among them."""
    names = dict.fromkeys([*server.allowed_hosts, *LOOPBACK[:2], EVERYWHERE.get(server.host, server.host)])
    return [*names, *(f"{name}:{server.port}" for name in names if ":" not in name)]


def guarded(run: Run, server: Server, backend: str, folder: Path) -> dict[str, str]:
    """What a server that asks for users and passwords finds in its environment."""
    if find_spec("flask_wtf") is None:
        raise UserError("users and passwords need more of MLflow: .venv/bin/python -m pip install -e '.[server]'")
    users = backend
    if file_of(backend):
        accounts = run.home.resolve() / "mlflow.users.db"
        accounts.touch(mode=0o600)
        users = uri_of(accounts)
    config = folder / "auth.ini"
    config.touch(mode=0o600)
    config.write_text(AUTH_CONFIG.format(database=users.replace("%", "%%"), admin=server.admin), encoding="utf-8")
    return {
        "MLFLOW_AUTH_CONFIG_PATH": os.environ.get("MLFLOW_AUTH_CONFIG_PATH", str(config)),
        "MLFLOW_AUTH_ADMIN_PASSWORD": admin_password(server),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": os.environ.get("MLFLOW_FLASK_SERVER_SECRET_KEY") or secret_key(run),
    }


def admin_password(server: Server) -> str:
    """The administrator's first password, from a file or from the environment. MLflow keeps it from then on."""
    if server.password_file:
        try:
            password = server.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UserError(f"server.password_file: {server.password_file}: {error.strerror}") from error
    else:
        password = os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD", "")
    if len(password) < LEAST_PASSWORD:
        raise UserError(
            f"the administrator {server.admin} needs a password of {LEAST_PASSWORD} characters or more; "
            "put it into MLFLOW_AUTH_ADMIN_PASSWORD or into a file: ARGS='--server.password_file=FILE'"
        )
    return password


def secret_key(run: Run) -> str:
    """What the server signs its forms with: made once, readable by its owner alone."""
    file = run.cache / "server-secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def log_file(run: Run) -> Path:
    """Where a server writes what it has to say."""
    return run.cache / "mlflow-server.log"


@contextmanager
def serving(service: Service, what: str) -> Iterator[subprocess.Popen[bytes]]:
    """The server, without MLflow's job runner, which takes three quarters of the memory and of the wait."""
    require_free(service)
    # Where it was started to outlive its terminal (nohup), it does.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)  # a closed terminal must not leave the server behind
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", *service.arguments),
                *("--host", service.host, "--port", str(service.port)),
            ],
            cwd=PROJECT_ROOT,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **service.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,  # a process group of its own, so that its workers end with it
        )
    try:
        with waiting(f"Starting {what}"):
            wait_until_healthy(process, service)
        yield process
    finally:
        stop(process)


def require_free(service: Service) -> None:
    """Refuse a port that can't be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in service.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((service.host, service.port))
        except OSError as error:
            raise UserError(why_not_free(service, error)) from error


def why_not_free(service: Service, error: OSError) -> str:
    """Why a port can't be listened on, and what to do."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"server.host: this machine has no address {service.host}"
    if error.errno == errno.EADDRINUSE:
        return f"port {service.port} is taken; choose another, for example PORT={service.port + 1}"
    if error.errno == errno.EACCES:
        return f"port {service.port} is not for you to listen on; choose one from 1024 on, for example PORT=5000"
    return f"port {service.port} can't be listened on: {error.strerror}"


def wait_until_healthy(process: subprocess.Popen[bytes], service: Service) -> None:
    """Return when the server answers. Raises `UserError` if it ends or stays silent."""
    import requests

    session = requests.Session()
    session.trust_env = False  # a proxy to the world outside does not know this machine's own addresses
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(requests.RequestException):
            if session.get(f"{service.here}/health", timeout=1).ok:
                return
        time.sleep(0.2)
    raise UserError(f"the MLflow server did not start on port {service.port}; {service.log} says why")


def wait_for_end(process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the user ends it, with Ctrl-C or otherwise. Raises `UserError` if the server ends by itself."""
    try:
        # Not process.wait(): polars, which MLflow imports, has interrupted system calls restarted, and Ctrl-C would not
        # end the wait.
        while process.poll() is None:
            time.sleep(0.2)
    except KeyboardInterrupt:
        return
    raise UserError(f"the MLflow server ended by itself with code {process.returncode}; {log} says why")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the server with its workers: ended alone, it would wait for them, and they for connections."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
