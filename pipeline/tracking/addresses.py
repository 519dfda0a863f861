"""Addresses of stores: as their libraries want them, and as they may be shown."""

from __future__ import annotations

import re
from importlib.util import find_spec

from pipeline.errors import UserError

STORES = re.compile(r"^(sqlite|postgres(ql)?(\+\w+)?|https?):")
POSTGRESQL = re.compile(r"^postgres(ql)?(\+psycopg2)?://")


def with_driver(uri: str) -> str:
    """The address of a store as its library wants it: of PostgreSQL with the driver, or SQLAlchemy would take another.

    Raises `UserError` if the driver is not installed, and for what is no store of ours.
    """
    if not STORES.match(uri):
        near = f"did you mean http://{uri}?" if re.match(r"[\w.-]+:\d+", uri) else "unset it for mlflow.db here"
        raise UserError(
            f"{without_password(uri)}: runs are kept by an MLflow server (http://name:5000), "
            f"in SQLite (sqlite:///file) or in PostgreSQL (postgresql://…); {near}"
        )
    if not POSTGRESQL.match(uri):
        return uri
    if find_spec("psycopg2") is None:
        raise UserError("PostgreSQL needs a driver: .venv/bin/python -m pip install -e '.[server]'")
    return POSTGRESQL.sub("postgresql+psycopg2://", uri)


def without_password(text: str) -> str:
    """Any text with the passwords of the addresses in it replaced by stars, up to the last @ of a word.

    What looks like a port and a path is not a password.
    """
    return re.sub(r"(://[^:/@\s]*:)(?!\d+/)\S+@", r"\1***@", text)
