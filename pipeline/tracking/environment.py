"""Where a run was computed: commit, versions, command."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version

from pipeline.config import PROJECT_ROOT
from pipeline.tracking import keys
from pipeline.tracking.access import user_at
from pipeline.tracking.addresses import without_password

PACKAGES = ("torch", "torchvision", "mlflow", "numpy", "scikit-image")


@cache
def environment_tags() -> dict[str, str]:
    """Tags that every run carries."""
    tags = {
        **command_tags(),
        "mlflow.source.name": "python -m pipeline",
        f"{keys.VERSIONS}python": platform.python_version(),
        "platform": platform.platform(),
    }
    tags |= {f"{keys.VERSIONS}{package}": version(package) for package in PACKAGES}
    return tags


@cache
def command_tags() -> dict[str, str]:
    """What only the process that was started by the user knows: the command, the user, the commit."""
    command = shlex.join(["python", "-m", "pipeline", *sys.argv[1:]])
    tags = {keys.USER: user(), keys.COMMAND: without_password(command)}
    commit = git("rev-parse", "HEAD")
    if commit:
        tags[keys.COMMIT] = commit
        tags[keys.GIT_DIRTY] = str(bool(git("status", "--porcelain", "--", "pipeline"))).lower()
    return tags


def user() -> str:
    """The user's name: to an MLflow server that asks for it, else on this machine.

    "unknown" where the system has none for the number (as in some containers).
    """
    if name := user_at(os.environ.get("MLFLOW_TRACKING_URI", "")):
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def git(*arguments: str) -> str | None:
    """What git says about the project, or None where it is no checkout or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
