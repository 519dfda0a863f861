"""Stages in processes of their own that begin with the packages imported: what takes seconds is done once."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.config import PROJECT_ROOT

PACKAGES = [
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.pytorch", "torch.export", "jsonargparse"),
    *("pipeline.sweeps.engines", "pipeline.reporting.denoising_figures", "pipeline.stages.report", "tests.warm"),
]
TIMEOUT = 300


def run_warm(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline …` with its output captured, in a process forked from one that has the packages."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = context.Process(target=stage, args=(list(arguments), dict(environment), str(out), str(err)))
        process.start()
        process.join(TIMEOUT)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), TIMEOUT, out.read_bytes(), err.read_bytes())
        printed, complaint = (file.read_text(encoding="utf-8") for file in (out, err))
        return subprocess.CompletedProcess(list(arguments), process.exitcode, printed, complaint)


def stage(arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """What the new process does."""
    for number, file in ((1, out), (2, err)):
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT_ROOT)
    sys.argv = ["pipeline", *arguments]
    runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
