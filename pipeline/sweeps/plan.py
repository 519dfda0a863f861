"""From a configuration to trials, and from the tracking store to which of them are done."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import ClassificationTrial, Config, DenoisingTrial, Training, Trial
from pipeline.data.store import ImageStore
from pipeline.sweeps.identity import Identity, identify
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore

CLASSIFICATION = "pipeline.training.classification"
DENOISING = "pipeline.training.denoising"
BASELINES = ("noisy",)
"""Denoisers that are not trained: every sweep measures them too."""
UNTRAINED = Training()
"""The training of a baseline: a constant, so that EPOCHS and the like do not make it another trial."""


@dataclass(frozen=True)
class Planned:
    """A trial, and the finished run of it if there is one."""

    trial: Trial
    identity: Identity
    run: RunRecord | None


def classification_trials(config: Config, images: ImageStore) -> list[ClassificationTrial]:
    """One trial a seed."""
    classify = config.classify
    return [
        ClassificationTrial(
            dataset=images.manifest.name,
            model=classify.model,
            settings=classify.settings,
            seed=seed,
            validation=config.data.validation,
            training=classify.training,
            label_smoothing=classify.label_smoothing,
            augmentation=classify.augmentation,
        )
        for seed in classify.seeds
    ]


def denoising_trials(config: Config, images: ImageStore) -> list[DenoisingTrial]:
    """One trial a variance, model and seed; the baselines first, once a variance."""
    sweep = config.sweep
    models = [name for name in sweep.models if name not in BASELINES]
    axes = [(name, 0, UNTRAINED) for name in BASELINES]
    axes += [(name, seed, sweep.training) for name in models for seed in sweep.seeds]
    return [
        DenoisingTrial(
            dataset=images.manifest.name,
            model=model,
            settings=sweep.settings.get(model, {}),
            seed=seed,
            validation=config.data.validation,
            training=training,
            variance=variance,
            clip=sweep.clip,
        )
        for variance in sweep.variances
        for model, seed, training in axes
    ]


def plan(
    trials: Sequence[Trial], images: ImageStore, recipe: str, store: TrackingStore, experiment_id: str
) -> list[Planned]:
    """Match trials with finished runs: one query, whatever the number of trials."""
    finished = {run.tags.get(keys.FINGERPRINT): run for run in store.finished(experiment_id, keys.KIND_TRIAL)}
    identities = [identify(trial, images, recipe) for trial in trials]
    return [
        Planned(trial, identity, finished.get(identity.fingerprint))
        for trial, identity in zip(trials, identities, strict=True)
    ]


def sweep_key(planned: Sequence[Planned]) -> str:
    """Eight hex digits that name a set of trials, whatever their order."""
    fingerprints = sorted(one.identity.fingerprint for one in planned)
    return hashlib.sha256("".join(fingerprints).encode()).hexdigest()[:8]
