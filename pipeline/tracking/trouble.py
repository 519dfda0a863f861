"""Errors that would hit every other trial too: the store is gone, its server is away, or the disk takes no more."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from pipeline.tracking.addresses import without_password

DISK_TROUBLE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your share of the disk (quota) is used up; free some space",
    errno.EROFS: "the disk has become read-only; have it made writable again",
}
STORE_GONE = (
    "unable to open database file",
    "no such table",
    "readonly database",
    "disk I/O error",
    "disk image is malformed",
    "not a database",
)


def trouble(error: BaseException) -> str | None:
    """What is wrong and what to do, or None for an error that is the trial's own."""
    for cause in causes(error):
        text = str(cause)
        if isinstance(cause, OSError) and cause.errno in DISK_TROUBLE:
            return DISK_TROUBLE[cause.errno]
        if "disk is full" in text:
            return DISK_TROUBLE[errno.ENOSPC]
        if isinstance(cause, requests.ConnectionError | requests.Timeout) or "Max retries exceeded" in text:
            address = without_password(os.environ.get("MLFLOW_TRACKING_URI", "address unknown"))
            return f"the MLflow server can't be reached ({address}); start it"
        if any(phrase in text for phrase in STORE_GONE):
            return "the tracking store can't be written to; was it moved, deleted or made read-only?"
    return None


def server_is_away(error: BaseException) -> bool:
    """Whether the store could not be reached, so that telling it more would only be waited for."""
    return (trouble(error) or "").startswith("the MLflow server")


@contextmanager
def suppress_trouble() -> Iterator[None]:
    """Leave such an error to those who have to do with it: for a look that can be done without."""
    try:
        yield
    except Exception as error:
        if trouble(error) is None:
            raise


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
