"""Errors that would hit every trial are told from those of one trial, however deep they lie."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.tracking.trouble import trouble


def raised_from(cause: Exception) -> RuntimeError:
    """As libraries pass an error on."""
    try:
        raise RuntimeError("could not log the metric") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "your share of the disk (quota) is used up; free some space"),
        (errno.EROFS, "the disk has become read-only; have it made writable again"),
    ],
)
def test_a_disk_that_takes_no_more_is_every_trials_trouble(number: int, message: str) -> None:
    error = OSError(number, os.strerror(number))
    assert trouble(error) == message
    assert trouble(raised_from(error)) == message


def test_an_error_of_one_trial_is_its_own() -> None:
    assert trouble(OSError(errno.ENOENT, os.strerror(errno.ENOENT))) is None
    assert trouble(raised_from(ValueError("bad settings"))) is None


def test_a_read_only_store_is_said_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE runs (id)")
    read_only = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    with closing(read_only), pytest.raises(sqlite3.OperationalError) as caught:
        read_only.execute("INSERT INTO runs VALUES (1)")
    assert trouble(caught.value) == "the tracking store can't be written to; was it moved, deleted or made read-only?"
