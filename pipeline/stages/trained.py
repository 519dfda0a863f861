"""Trained models in MLflow's registry: who joins it after a stage, and which of them a stage uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from pipeline.config import Config, Run
from pipeline.config.checks import hint
from pipeline.console import say
from pipeline.data.catalog import Role, candidates
from pipeline.data.store import Manifest
from pipeline.errors import UserError
from pipeline.sweeps.locks import SUMMARY_PATIENCE, locked
from pipeline.sweeps.plan import BASELINES, Planned
from pipeline.tracking import keys, registry
from pipeline.tracking.registry import Job, Version
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.training.held_out import held_out_in_words
from pipeline.trials import DenoisingTrial, Trial, variance_text

MADE_BY = {keys.KIND_CLASSIFIER: "make classify", keys.KIND_DENOISER: "make sweep"}
"""The command that trains a kind of model."""


def register_trained(
    stage: str, planned: Sequence[Planned], manifest: Manifest, store: TrackingStore, run: Run
) -> None:
    """Register the models of finished trials, once each; say where there is a new champion."""
    runs: dict[Job, list[RunRecord]] = {}
    for one in planned:
        if one.run is not None and one.trial.model not in BASELINES:
            runs.setdefault(job_of(one.trial, manifest), []).append(one.run)
    # One process of this home at a time, or a model could be registered twice.
    with locked(run, "registry", SUMMARY_PATIENCE):
        for job, finished in runs.items():
            for done in finished:
                gain = done.metrics.get(keys.VAL_PSNR_GAIN)
                if gain is not None and gain <= 0:
                    say(f"{stage:9} {done.name}: no better than the noisy image ({gain:+.2f} dB on validation images)")
                if fault := done.tags.get(keys.NOT_EXPORTED):
                    say(f"{stage:9} {done.name}: can't be exported, so it is in no registry ({fault})")
            news = registry.register(store, job, finished)
            if news:
                say(f"{stage:9} {news}")


def job_of(trial: Trial, manifest: Manifest) -> Job:
    """What a trial's model is for.

    Denoisers for different variances do different jobs, and so do those for clipped noise; one for a whole span is
    judged by what it does without being told the variance.
    """
    if not isinstance(trial, DenoisingTrial):
        name, kind, figure = f"{trial.dataset}-classifier", keys.KIND_CLASSIFIER, keys.VAL_ACCURACY
    else:
        name, kind = f"{trial.dataset}-denoiser{'-clipped' if trial.clip else ''}", keys.KIND_DENOISER
        figure = keys.VAL_PSNR if trial.span is None else keys.VAL_PSNR_BLIND
        if trial.span is None:
            name = f"{name}-{variance_text(trial.variance)}"
    first, end = manifest.splits["train"]
    held_out = held_out_in_words(end - first, trial.validation)
    return Job(name, kind, trial.dataset, manifest.digest, held_out, figure)


def trained(config: Config, store: TrackingStore, role: Role, kind: str, wanted: str | None) -> list[Version]:
    """The models to choose from: the champions of the first dataset that has any, by name, or what `wanted` names.

    `wanted` is a registered model, alone (its champion) or with @alias or /version; else a network or an alias, of
    which there is a model for each job. Raises `UserError` where there is none.
    """
    if wanted is not None and (exact := registry.by_name(store, wanted, kind)):
        return [exact]
    datasets = candidates(config.data, config.run, role)
    for dataset, digest in datasets:
        versions = registry.models_of(store, kind, dataset)
        # Of the data as they are now, unless these have none.
        versions = [one for one in versions if one.tags[keys.DATA_DIGEST] == digest] or versions
        if versions:
            named = [one for one in versions if known_as(one, wanted or registry.CHAMPION)]
            return best_of_each_job(named) or refuse(wanted, versions)
    names = " or ".join(dict.fromkeys(dataset for dataset, _ in datasets))
    if config.data.images.folder is not None and kind == keys.KIND_DENOISER:
        how = f"{MADE_BY[kind]} IMAGES={config.data.images.folder} trains one"
    else:
        how = f"{MADE_BY[kind]} trains one, {MADE_BY[kind]} DATA=demo a small one"
    raise UserError(f"no {kind} has been trained on {names} yet; {how}")


def known_as(version: Version, name: str) -> bool:
    """Whether this is the name of its network or an alias of it."""
    return name in (version.tags[keys.NETWORK], *version.aliases)


def best_of_each_job(versions: Sequence[Version]) -> list[Version]:
    """By validation figure, as champions are chosen."""
    best: dict[str, Version] = {}
    for version in versions:
        if version.name not in best or version.rank > best[version.name].rank:
            best[version.name] = version
    return list(best.values())


def refuse(wanted: str | None, versions: Sequence[Version]) -> NoReturn:
    """Raises `UserError`: no model has this name; the nearest that there is, or all."""
    if wanted is None:
        raise UserError(f"no version of {versions[-1].name} has the alias {registry.CHAMPION}; name one with --model")
    networks = sorted({version.tags[keys.NETWORK] for version in versions})
    names = sorted({version.name for version in versions})
    raise UserError(f"no trained model called {wanted!r}; {hint(wanted, [*networks, *names])}")
