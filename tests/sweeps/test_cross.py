"""Trained networks are measured at other variances as at their own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.config import Config, Run, Sweep
from pipeline.data.store import ImageStore
from pipeline.sweeps import cross
from pipeline.sweeps.plan import denoising_trials
from pipeline.tracking import keys
from pipeline.tracking.runs import recording
from pipeline.tracking.store import open_store
from pipeline.training.build import split_batches
from pipeline.training.denoising import Denoiser, averages

CPU = torch.device("cpu")


def test_a_trained_network_is_measured_on_test_images_at_another_variance(home: Path, patches: ImageStore) -> None:
    run = Run(home=home)
    store = open_store(run)
    sweep = Sweep(variances=(0.01,), models=("autoencoder",), baselines=(), settings={"autoencoder": {"width": 4}})
    (trial,) = denoising_trials(Config(sweep=sweep), patches)
    denoiser = Denoiser.build(trial, patches, CPU)
    with torch.no_grad():
        for parameter in denoiser.model.parameters():
            parameter += 0.05  # not the weights that a seed gives
    experiment = store.experiment("e", patches.manifest.digest, "")
    with recording(store, experiment, "r", keys.KIND_TRIAL, "f", {}) as recorder:
        recorder.weights(denoiser.model.state_dict(), keys.WEIGHTS)
    assert list(cross.measure({recorder.run_id: (trial, [0.2])}, patches, store, run)) == [0.2]
    expected = averages(denoiser.scores(split_batches(patches, trial, CPU)["test"], 0.2))
    metrics = store.run(recorder.run_id).metrics
    assert {name: metrics[keys.cross(name, 0.2)] for name in expected} == pytest.approx(expected, abs=1e-3)
    images = store.table(recorder.run_id, keys.per_image(0.2))["image"].tolist()
    assert images == list(patches.split("test"))
