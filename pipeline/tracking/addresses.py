"""Addresses of stores: as their libraries want them, and as they may be shown."""

from __future__ import annotations

import re
from importlib.util import find_spec

from pipeline.errors import UserError

POSTGRESQL = re.compile(r"^postgres(ql)?(\+psycopg2)?://")


def with_driver(uri: str) -> str:
    """A PostgreSQL address with the driver named: SQLAlchemy would take another for the plain one.

    Raises `UserError` if the driver is not installed. Any other address stays as it is.
    """
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
