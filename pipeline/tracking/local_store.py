"""The store without a server: one SQLite file, made whole by one process, and kept right when its folder is moved."""

from __future__ import annotations

import atexit
import gc
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from filelock import FileLock

from pipeline.console import say, waiting
from pipeline.errors import UserError
from pipeline.tracking import keys

PATHS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables and columns in which MLflow keeps absolute paths of artifacts."""
SECONDS_TO_LET_GO = 5.0
"""How long another process may have the database open while paths are rewritten."""


def uri_of(file: Path) -> str:
    """A database's address. Raises `UserError` for a path of which MLflow and SQLAlchemy would make another."""
    if "?" in str(file) or unquote(str(file)) != str(file):
        wrong = "?" if "?" in str(file) else "%"
        raise UserError(f"MLflow can't work in {file.parent}: it would read {wrong} as another sign; rename the folder")
    return f"sqlite:///{file}"


def file_of(uri: str) -> Path | None:
    """The database's file, or None for the address of any other store."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:") else None


def open_local(file: Path, artifacts: Path) -> None:
    """Make the store with all its tables unless it is there; where its folder was moved, let it know.

    Raises `UserError` if that can't be done now.
    """
    close_at_exit()
    if not file.exists():
        create(file, artifacts)
    if moved_from(file, artifacts):
        follow(file, artifacts)


@cache
def close_at_exit() -> None:
    """Have the database closed at the end, or SQLite would leave the last runs beside it, in mlflow.db-wal."""
    atexit.register(close)


def close() -> None:
    """Close every connection that MLflow's stores hold: they keep their engines to themselves."""
    from sqlalchemy import Engine

    gc.unfreeze()  # what trials have frozen is not looked through
    for engine in [one for one in gc.get_referrers(Engine) if type(one) is Engine]:
        engine.dispose()


def create(file: Path, artifacts: Path) -> None:
    """Make the file, by one process at a time: several at once would each run MLflow's migrations, and most die."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with lock(file):
        if file.exists():
            return
        with waiting("Creating the tracking store"):
            # Under another name until all tables are there: the file's existence says that the store is whole.
            building = file.with_name(f"{file.name}.building")
            building.unlink(missing_ok=True)
            migrate(building, artifacts)
            building.rename(file)


def lock(file: Path) -> FileLock:
    """Held by whoever makes or rewrites the store."""
    return FileLock(file.with_name(f"{file.name}.lock"))


def migrate(file: Path, artifacts: Path) -> None:
    """Write MLflow's tables into a new file and let go of it."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{file}", str(artifacts)).engine.dispose()
    # Readers and writers then do not wait for each other, and writing is about three times as fast.
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=wal")


def moved_from(file: Path, artifacts: Path) -> list[Path]:
    """The folders that the store's project was in when its experiments were made, where that is not this one.

    A store beside the artifacts is this project's, moved or copied. One elsewhere may be shared by several projects:
    there a folder counts as moved only if its artifacts are gone.
    """
    home = artifacts.parent
    with closing(sqlite3.connect(file)) as database:
        try:
            query = "SELECT DISTINCT value FROM experiment_tags WHERE key = ? AND value <> ?"
            found = database.execute(query, (keys.PROJECT_ROOT, str(home))).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []  # empty as yet: MLflow makes the tables
            raise
    roots = [Path(root) for (root,) in found]
    if file.resolve().parent == home:
        return roots
    return [root for root in roots if artifacts.exists() and not (root / artifacts.name).exists()]


def follow(file: Path, artifacts: Path) -> None:
    """Bring the paths in a store to where its artifacts are now, after a copy of it.

    Raises `UserError` while another process uses it, and if the artifacts were left behind.
    """
    copy = file.with_name(f"{file.name}.before-move")
    with lock(file):
        roots = moved_from(file, artifacts)
        if not roots:
            return  # another process was faster
        for root in roots:
            behind = root / artifacts.name
            if behind.exists() and not artifacts.exists():
                raise UserError(f"{file} was moved without its artifacts; move {behind} to {artifacts.parent} as well")
        was = f"this folder was {' and '.join(map(str, roots))} before"
        with alone(file, was) as database:
            with closing(sqlite3.connect(copy)) as backup:
                database.backup(backup)
            database.execute("BEGIN")
            for root in roots:
                rewrite(database, root, artifacts)
            database.execute("COMMIT")
    say(f"tracking  {was}: the paths in {file.name} now say where it is ({copy.name} is a copy from before)")


@contextmanager
def alone(file: Path, was: str) -> Iterator[sqlite3.Connection]:
    """A connection beside which there is no other, or `UserError`. Even an idle one counts: a UI or a sweep has it."""
    with closing(sqlite3.connect(file, timeout=SECONDS_TO_LET_GO, isolation_level=None)) as database:
        database.execute("PRAGMA locking_mode = exclusive")  # locks taken from here on are kept until it is closed
        try:
            database.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise UserError(
                f"{was}, and {file.name} is in use: stop the UI or the sweep that was started before the move, "
                "and run this again"
            ) from error
        database.execute("COMMIT")
        yield database


def rewrite(database: sqlite3.Connection, old: Path, artifacts: Path) -> None:
    """Replace the old folder of artifacts at the start of every path, as MLflow writes paths on any system."""
    before = old / artifacts.name
    starts = {f"{before}/": f"{artifacts}/"}
    if before.is_absolute():  # else it is a path of another system
        starts[f"{before.as_uri()}/"] = f"{artifacts.as_uri()}/"
    for start, now in starts.items():
        for table, column in PATHS:
            database.execute(
                f"UPDATE {table} SET {column} = :now || substr({column}, length(:start) + 1) "
                f"WHERE substr({column}, 1, length(:start)) = :start",
                {"start": start, "now": now},
            )
    database.execute(
        "UPDATE experiment_tags SET value = ? WHERE key = ? AND value = ?",
        (str(artifacts.parent), keys.PROJECT_ROOT, str(old)),
    )
