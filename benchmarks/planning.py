"""Seconds until a sweep of 500 finished trials is recognised as such, as a command and the planning alone.

    .venv/bin/python -m benchmarks.planning

The trials are the untrained baseline's, recorded with 30 metrics each as trained ones have.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import machine, spread
from pipeline.config import Config, Data, Run, Sweep
from pipeline.data import catalog
from pipeline.stages.sweep import experiment_name
from pipeline.sweeps.locks import owner
from pipeline.sweeps.plan import denoising_trials, plan
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import open_store


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=500)
    count = parser.parse_args().trials
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        variances = tuple(round(0.001 * (i + 1), 3) for i in range(count))
        config = Config(
            data=Data(choice="demo"),
            sweep=Sweep(variances=variances, models=("noisy",), baselines=()),
            run=Run(home=Path(folder)),
        )
        images = catalog.prepare(config.data, config.run, "colour")
        store = open_store(config.run)
        experiment_id = store.experiment(experiment_name(images.manifest, clip=False), images.manifest.digest, "")
        tags = {keys.OWNER: owner(config.run)}
        trials = denoising_trials(config, images)
        for one in plan(trials, images, store, experiment_id, config.run):
            fingerprint = one.identity.fingerprint
            with recording(
                store,
                experiment_id,
                one.trial.name,
                keys.KIND_TRIAL,
                fingerprint,
                {**tags, keys.IDENTITY: one.identity.text},
            ) as recorder:
                figures = (keys.TEST_PSNR, keys.TEST_SSIM, keys.TEST_PSNR_GAIN, keys.TRAIN_SECONDS)
                recorder.metrics(dict.fromkeys((*figures, *(f"other/{i}" for i in range(26))), 1.0))
                recorder.params(dict.fromkeys(("model", "seed", "variance", *(f"p{i}" for i in range(17))), 1))
        alone, whole = [], []
        command = [sys.executable, "-m", "pipeline", "sweep", "--data.choice=demo", f"--run.home={folder}"]
        command += [
            "--sweep.models=noisy",
            "--sweep.baselines=",
            f"--sweep.variances={' '.join(map(str, variances))}",
            "--dry-run",
        ]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        for _ in range(5):
            started = time.perf_counter()
            planned = plan(trials, images, store, experiment_id, config.run)
            alone.append(time.perf_counter() - started)
            assert len(planned) == count
            assert all(one.run for one in planned)
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            whole.append(time.perf_counter() - started)
        print(machine("mlflow"))
        print(
            f"{count} finished trials: planned in {spread(alone)}; the whole command, imports included, {spread(whole)}"
        )


if __name__ == "__main__":
    main()
