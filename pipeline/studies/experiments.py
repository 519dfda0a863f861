"""The experiments of each study, by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pipeline.config import BatchNormStudy, GanStudy
from pipeline.trials import StudyTrial

if TYPE_CHECKING:
    import torch

    from pipeline.data.store import ImageStore
    from pipeline.studies.measured import Measured

STUDIES: dict[str, dict[str, str]] = {
    "gan": {
        "training": "pipeline.studies.gan_training",
        "toys": "pipeline.studies.gan_toys",
        "gradients": "pipeline.studies.gan_gradients",
        "losses": "pipeline.studies.gan_losses",
    },
    "batch-norm": {
        "rates": "pipeline.studies.batch_norm_rates",
        "probes": "pipeline.studies.batch_norm_probes",
        "batches": "pipeline.studies.batch_norm_batches",
        "start": "pipeline.studies.batch_norm_start",
    },
}
"""Study → experiment, the longest first → the module whose `measure` does it.

Modules are imported when they are run: they bring torch."""

WITHOUT_CHANCE = ("losses",)
"""Experiments in which nothing is random: one seed is enough."""


def measured(trial: StudyTrial, store: ImageStore, device: torch.device) -> Measured:
    """Do an experiment once."""
    from pipeline.studies.measured import Digits

    sizes = GanStudy if trial.study == "gan" else BatchNormStudy
    settings = sizes(**trial.settings, seeds=(trial.seed,))
    digits = Digits.of(store, trial.validation, settings.images, device)
    result: Measured = import_module(STUDIES[trial.study][trial.model]).measure(settings, trial.seed, digits, device)
    return result
