"""Who is at a run: one process at a time, known by a lock that its end releases, however it ends."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.config import Run
from pipeline.errors import UserError
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore

SECONDS_TO_DIE = 10.0
"""How long the processes of a sweep that was killed may keep their locks."""
SECONDS_TO_LOOK = 1.0
SUMMARY_PATIENCE = 300.0
"""How long another process may write the same summary: a server may be away for four minutes."""
ELSEWHERE = "elsewhere-"
"""What the names of locks begin with that stand for those on other machines."""


class LockedError(UserError):
    """Another process is at the same run."""


@contextmanager
def locked(run: Run, fingerprint: str, patience: float = SECONDS_TO_DIE) -> Iterator[None]:
    """Be the only process at the runs of a fingerprint. Raises `LockedError` if another goes on being it."""
    try:
        held = FileLock(lock_file(run, fingerprint)).acquire(timeout=patience)
    except Timeout:
        raise LockedError("another process is at it; the same command takes its result when it has ended") from None
    with held:
        yield


def lock_file(run: Run, name: str) -> Path:
    """Where the lock of a name is."""
    return trials_folder(run) / f"{name}.lock"


@contextmanager
def working_elsewhere(run: Run) -> Iterator[None]:
    """While other machines, whose locks are not seen here, are at runs of this home."""
    name = f"{ELSEWHERE}{uuid.uuid4().hex}"
    try:
        with locked(run, name):
            yield
    finally:
        lock_file(run, name).unlink(missing_ok=True)  # its name is never used again


def at_work_elsewhere(run: Run) -> bool:
    """Whether any command, of this machine, has others at work on runs of this home."""
    for file in trials_folder(run).glob(f"{ELSEWHERE}*.lock"):
        try:
            with locked(run, file.stem, patience=0):
                continue
        except LockedError:
            return True
    return False


def abandoned(store: TrackingStore, experiment_id: str, run: Run) -> Iterator[RunRecord]:
    """The runs of this home that a process left open when it died, each locked while it is looked at.

    None while other machines are at work: which of the runs are theirs is not known here. Nothing is written for a
    home that has never had a run.
    """
    if not known_owner(run) or at_work_elsewhere(run):
        return
    for one in store.running(experiment_id, owner(run)):
        with suppress(LockedError), locked(run, one.tags[keys.FINGERPRINT], SECONDS_TO_LOOK):
            # It may have ended, well or not, before the lock was given up.
            if store.run(one.run_id).status == "RUNNING":
                yield one


def close_abandoned(store: TrackingStore, experiment_id: str, run: Run) -> None:
    """End them as KILLED."""
    for one in abandoned(store, experiment_id, run):
        store.close(one.run_id, "KILLED")


def owner(run: Run) -> str:
    """A name of this home's own, which moves with it: several homes may share a tracking store.

    Copies of a home do, where the store is not in the home; as they see different locks, each is told by an inode.
    """
    file = owner_file(run)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all, and the first stays: two commands may start at once.
        building = file.with_name(f"owner.{uuid.uuid4().hex}")
        building.write_text(uuid.uuid4().hex, encoding="utf-8")
        with suppress(FileExistsError):
            file.hardlink_to(building)
        building.unlink()
    name = file.read_text(encoding="utf-8")
    return f"{name}-{file.stat().st_ino}" if run.tracking_uri else name


def known_owner(run: Run) -> str:
    """As `owner`, but "" for a home that has never had a run of its own: nothing is written."""
    return owner(run) if owner_file(run).exists() else ""


def owner_file(run: Run) -> Path:
    """Where it is kept."""
    return run.cache / "owner"


def trials_folder(run: Run) -> Path:
    """Where locks and checkpoints of trials are kept."""
    return run.cache / "trials"
