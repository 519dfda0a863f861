"""Four equal trials: two at a time with one thread each, beside one after the other with two threads. And the overhead.

    .venv/bin/python -m benchmarks.parallel folder --seconds 60

Each way is one command, `python -m pipeline sweep`, in a home folder of its own with prepared images. Its wall time
includes importing, planning, evaluating, recording, saving models and the summary; the overhead is what of it is not
inside the training loops, as a share of the wall time (for two at a time: of the two processes' time). The trials are
of one length in steps, which the first measures for that many seconds of training on its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow

from benchmarks.machine import machine

WAYS = {"one at a time, all threads": (1, 0), "two at a time, one thread each": (2, 1)}


def sweep(home: str, folder: Path | None, *options: str) -> float:
    """Seconds of a command."""
    source = [f"--data.source={folder}"] if folder else ["--data.choice=demo"]
    alone = ["--sweep.models=autoencoder", "--sweep.baselines="]
    command = [sys.executable, "-m", "pipeline", "sweep", f"--run.home={home}", *source, *alone, *options]
    started = time.perf_counter()
    # MLflow sets this variable to the store that this process has opened.
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def trained(home: str) -> tuple[list[float], int]:
    """Seconds inside each training loop, and the steps of one."""
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, filter_string="tags.kind = 'trial'")
    networks = runs[runs["params.steps"].astype(int) > 0]
    return networks["metrics.time/train_s"].tolist(), int(networks["params.steps"].iloc[0])


def main() -> None:
    """Print every way, the ratios and the overheads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?", help="with CIFAR-10; not given: the demo's images")
    parser.add_argument("--seconds", type=float, default=60, help="of training of a trial, alone with all threads")
    arguments = parser.parse_args()
    print(machine("torch", "mlflow"), "\n")
    with tempfile.TemporaryDirectory() as home:
        sweep(home, arguments.folder, "--sweep.variances=0.05", f"--sweep.training.seconds={arguments.seconds}")
        (seconds,), steps = trained(home)
        print(f"a trial alone: {steps} steps in {seconds:.1f} s of training")
    first = None
    for way, (jobs, threads) in WAYS.items():
        with tempfile.TemporaryDirectory() as home:
            prepare = ["--sweep.variances=0.05", "--dry-run"]  # prepares the images and the store
            sweep(home, arguments.folder, *prepare)
            options = ["--sweep.variances=0.05", "--sweep.seeds=0 1 2 3", f"--sweep.training.steps={steps}"]
            wall = sweep(home, arguments.folder, *options, f"--run.jobs={jobs}", f"--run.threads={threads}")
            seconds_of_each, _ = trained(home)
            first = first or wall
            at_a_time = 1 if jobs == 1 else 2
            overhead = 1 - sum(seconds_of_each) / (at_a_time * wall)
            print(
                f"{way:32} {wall:6.1f} s wall, {sum(seconds_of_each):6.1f} s in 4 training loops, "
                f"overhead {overhead:.1%}; {first / wall:.2f}× the speed of the first"
            )


if __name__ == "__main__":
    main()
