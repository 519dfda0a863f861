"""Trials as tasks on a Ray cluster: Ray schedules them, tries them again when a node dies, and moves the data."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipeline.config import PROJECT_ROOT, Run
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from pipeline.sweeps.attempt import Outcome, attempt
from pipeline.sweeps.locks import working_elsewhere
from pipeline.sweeps.plan import Planned
from pipeline.sweeps.trial import Site
from pipeline.tracking.store import store_uri

RETRIES = 3
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_TO_ANSWER = 10.0

Files = dict[str, bytes]
"""The files of a store, by their names."""


def on_ray(todo: Sequence[Planned], site: Site) -> Generator[Outcome | None, None, None]:
    """As `in_processes`, on a cluster or on a Ray of this machine's own.

    Raises `UserError` where Ray is not installed, no cluster is there, or its nodes can't reach the tracking store.
    """
    ray = started(site.run)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        site = replace(site, run=reachable(site.run, len(nodes)))
        # Nodes that don't see the prepared images at the same path get them from Ray's object store.
        files = ray.put(files_of(site.images)) if len(nodes) > 1 else None
        require_cores(site.run, nodes)
        gpus = site.run.gpus_per_trial if ray.cluster_resources().get("GPU") else 0
        options = {"num_cpus": site.run.threads or 1, "num_gpus": gpus, "max_retries": RETRIES}
        task = ray.remote(**options)(work)
        with working_elsewhere(site.run) if len(nodes) > 1 else nullcontext():
            pending = {task.remote(one, site, [files]): one for one in todo}
            while pending:
                done, _ = ray.wait(list(pending), timeout=SECONDS_BETWEEN_LOOKS)
                for reference in done:
                    yield result(ray, reference, pending.pop(reference))
                yield None
    finally:
        ray.shutdown()


def require_cores(run: Run, nodes: Sequence[Mapping[str, Any]]) -> None:
    """Refuse trials that want more cores than any node has: they would wait for ever."""
    most = int(max(node["Resources"].get("CPU", 0) for node in nodes))
    wanted = run.threads or 1
    if wanted > most:
        hint = f": THREADS={most}" if most else ""
        raise UserError(f"a trial asks for {wanted} cores, and no Ray node has more than {most}{hint}")


def started(run: Run) -> Any:
    """Ray, connected to the cluster or started here."""
    if find_spec("ray") is None:
        raise UserError("ENGINE=ray needs Ray: .venv/bin/python -m pip install -e '.[ray]'")
    # Ray would otherwise hide GPUs from tasks that ask for none, and build an environment from uv's where it finds it.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # A Ray started here would run trials at niceness 15, so that anything else on the machine stops them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    address = run.ray_address or os.environ.get("RAY_ADDRESS")
    if address:
        require_open(address)
        if has_token():
            # `ray start` asks for a token as soon as this user has one, but ray.init would not send it.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray  # which reads these variables once

    # The same code on every node, whatever is installed there.
    code = {"py_modules": [str(PROJECT_ROOT / "pipeline")]} if address else None
    try:
        ray.init(address=address or "local", runtime_env=code, include_dashboard=False, logging_level="warning")
    except (ConnectionError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address}: {error}; start one with `ray start --head`") from error
    return ray


def has_token() -> bool:
    """Whether this user has a token for Ray clusters, in one of the places where Ray looks."""
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(given) or (Path.home() / ".ray" / "auth_token").exists()


def require_open(address: str) -> None:
    """Refuse an address where nothing listens: Ray would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # a word such as auto
    try:
        socket.create_connection((host, int(port)), SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster at {address} ({error}); start one with `ray start --head`") from error


def reachable(run: Run, nodes: int) -> Run:
    """The settings for the workers, with the store's address in full."""
    uri = store_uri(run)
    if nodes > 1 and not uri.startswith("http"):
        raise UserError(
            f"{nodes} Ray nodes can't share the tracking store {uri}: start an MLflow server that all of them reach, "
            "`make server HOST=0.0.0.0 HOSTS=its-name AUTH=1` on one of them, "
            "and name it with MLFLOW_TRACKING_URI=http://its-name:5000"
        )
    return replace(run, tracking_uri=uri, home=run.home.resolve())


def result(ray: Any, reference: Any, planned: Planned) -> Outcome:
    """How a task went, or why Ray gave it up."""
    try:
        outcome: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        return Outcome(planned.identity.fingerprint, f"Ray gave it up after {RETRIES} retries: {reason}")
    return outcome


def work(planned: Planned, site: Site, files: list[Any]) -> Outcome:
    """One trial, in a task."""
    return attempt(planned, site, *with_images(site, files).opened())


def with_images(site: Site, files: list[Any]) -> Site:
    """The site with images that this node has: those at the same path if they are the same, else a copy."""
    try:
        if ImageStore.open(site.images).manifest.digest == site.digest:
            return site
    except FileNotFoundError:
        pass
    if files == [None]:
        raise UserError(f"{site.images} changed while the sweep was running; run the same command again")
    import ray

    folder = Path(tempfile.gettempdir()) / f"four-questions-{getattr(os, 'getuid', int)()}-{site.digest[:16]}"
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "manifest.json").exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            for name, content in sorted(ray.get(files[0]).items()):  # the manifest last
                (folder / name).write_bytes(content)
    return replace(site, images=folder)


def files_of(folder: Path) -> Files:
    """A store as bytes."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
