"""Addresses get the driver that is installed, and nobody sees the passwords in them."""

from __future__ import annotations

import sys

import pytest

from pipeline.errors import UserError
from pipeline.tracking import keys
from pipeline.tracking.addresses import with_driver, without_password
from pipeline.tracking.environment import command_tags, user


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me@host/db", "postgresql+psycopg2://me@host/db"),
        ("postgres://me@host/db", "postgresql+psycopg2://me@host/db"),
        ("postgresql+psycopg2://me@host/db", "postgresql+psycopg2://me@host/db"),
        ("postgresql+pg8000://me@host/db", "postgresql+pg8000://me@host/db"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_a_plain_postgresql_address_just_works(given: str, expected: str) -> None:
    pytest.importorskip("psycopg2", reason="needs pip install -e '.[server]'")
    assert with_driver(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://me:a%40b!@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("no server at http://me:secret@host:5000 (gone)", "no server at http://me:***@host:5000 (gone)"),
        ("http://me:p@ss@host:5000", "http://me:***@host:5000"),
        ("postgresql://me:p/w@db/x and more", "postgresql://me:***@db/x and more"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
        ("sqlite:////home/a:b@c/mlflow.db", "sqlite:////home/a:b@c/mlflow.db"),
    ],
)
def test_a_password_is_never_shown(given: str, expected: str) -> None:
    assert without_password(given) == expected


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("class:5000", "did you mean http://class:5000?"),
        ("./mlruns", "unset it"),
        ("mysql://me:secret@host/db", "unset"),
    ],
)
def test_an_address_of_no_store_is_refused_in_one_line(given: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        with_driver(given)
    assert hint in str(error.value)
    assert "secret" not in str(error.value)


def test_a_run_is_of_the_user_that_the_server_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ali")
    assert user() == "ali"


def test_a_password_on_the_command_line_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pipeline", "sweep", "--run.tracking_uri=http://me:secret@host"])
    command_tags.cache_clear()
    assert command_tags()[keys.COMMAND] == "python -m pipeline sweep --run.tracking_uri=http://me:***@host"
    command_tags.cache_clear()
