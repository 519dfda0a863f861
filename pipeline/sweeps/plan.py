"""From a configuration to trials, and from the tracking store to which of them are done."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config import BatchNormStudy, Config, DenoisingTraining, GanStudy, Run
from pipeline.data.store import ImageStore
from pipeline.studies.experiments import STUDIES, WITHOUT_CHANCE
from pipeline.sweeps.identity import Identity, identify
from pipeline.sweeps.locks import owner, trials_folder
from pipeline.tracking import keys
from pipeline.tracking.environment import user
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import ClassificationTrial, DenoisingTrial, StudyTrial, Trial

BASELINES = ("noisy", "linear", "nlm", "wavelet", "tv")
"""Denoisers that are not trained."""
CONDITIONAL = ("conditional",)
"""Denoisers that are trained once, for a span of variances."""
UNTRAINED = DenoisingTraining()
"""The training of a baseline: a constant, so that EPOCHS and the like do not make it another trial."""


@dataclass(frozen=True)
class Planned:
    """A trial, the finished run of it if there is one, and else what is to be done about it."""

    trial: Trial
    identity: Identity
    run: RunRecord | None
    what: str
    """Reuse, resume or run, and why."""
    seconds: float | None = None
    """How long it will take, or the rest of it, where trials like it have been run."""
    superseded: frozenset[str] = frozenset()
    """Ids of finished runs that are not to count."""


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
    """One trial a variance, model and seed; of a baseline one a variance, of a conditional network one a seed."""
    sweep = config.sweep
    middle = float(f"{math.sqrt(sweep.span[0] * sweep.span[1]):.3g}")

    def trial(model: str, seed: int, variance: float, span: tuple[float, float] | None = None) -> DenoisingTrial:
        return DenoisingTrial(
            dataset=images.manifest.name,
            model=model,
            settings=sweep.settings.get(model, {}),
            seed=seed,
            validation=config.data.validation,
            training=UNTRAINED if model in BASELINES else sweep.training_for(model),
            variance=variance,
            span=span,
            clip=sweep.clip,
        )

    untrained = [name for name in BASELINES if name in sweep.baselines or name in sweep.models]
    specialists = [name for name in sweep.models if name not in BASELINES and name not in CONDITIONAL]
    return [
        *(
            trial(model, seed, variance)
            for variance in sweep.variances
            for model, seeds in [*((name, (0,)) for name in untrained), *((name, sweep.seeds) for name in specialists)]
            for seed in seeds
        ),
        *(
            trial(model, seed, middle, sweep.span)
            for model in sweep.models
            if model in CONDITIONAL
            for seed in sweep.seeds
        ),
    ]


def study_trials(study: str, settings: GanStudy | BatchNormStudy, validation: float, dataset: str) -> list[StudyTrial]:
    """One trial an experiment and seed, the longest experiments first: those side by side then end together."""
    told = asdict(settings)
    seeds = told.pop("seeds")
    return [
        StudyTrial(
            dataset=dataset,
            model=experiment,
            settings=told,
            seed=seed,
            validation=validation,
            study=study,
        )
        for experiment in STUDIES[study]
        for seed in seeds
        if seed == seeds[0] or experiment not in WITHOUT_CHANCE
    ]


def plan(
    trials: Sequence[Trial], images: ImageStore, store: TrackingStore, experiment_id: str, run: Run
) -> list[Planned]:
    """Match trials with runs: one query for all, and one more for each trial that can be resumed.

    No experiment (""): nothing has been run.
    """
    runs = Runs(store.trials(experiment_id) if experiment_id else [], owner(run))
    return [planned_one(trial, identify(trial, images), runs, store, run) for trial in trials]


class Runs:
    """The runs that a plan is made from, by what it asks of them."""

    def __init__(self, runs: Sequence[RunRecord], owner: str) -> None:
        self.user = user()
        self.finished: dict[str, list[RunRecord]] = {}
        self.unfinished: dict[str, RunRecord] = {}
        """Those that began here: what began elsewhere can't go on here."""
        self.code: dict[str, dict[str, str]] = {}
        """What this user made it with, by the rest of an identity; the newest."""
        self.seconds: dict[str, float] = {}
        """Of the newest trial that differs by no more than seed and variance."""
        for run in runs:
            fingerprint = run.tags.get(keys.FINGERPRINT, "")
            if run.status == "FINISHED" and keys.COMPLETE in run.tags:
                self.finished.setdefault(fingerprint, []).append(run)
                identity = json.loads(run.tags[keys.IDENTITY])
                if run.tags.get(keys.USER) == self.user:
                    self.code[without_code(identity)] = identity["code"]
                self.seconds[kind_of(identity)] = run.metrics.get(keys.TOTAL_SECONDS, 0.0)
            elif run.tags.get(keys.OWNER) == owner:
                self.unfinished[fingerprint] = run


def planned_one(trial: Trial, identity: Identity, runs: Runs, store: TrackingStore, run: Run) -> Planned:
    """What is to be done about one trial."""
    finished = runs.finished.get(identity.fingerprint, [])
    if finished and not run.force:
        own = [one for one in finished if one.tags.get(keys.USER) == runs.user]
        found = (own or finished)[-1]
        whose = "" if own else f" by {found.tags.get(keys.USER, 'another')}"
        return Planned(trial, identity, found, f"reuse (done{whose}, run {found.run_id[:8]})")
    parts = json.loads(identity.text)
    superseded = frozenset(one.run_id for one in finished)
    unfinished = runs.unfinished.get(identity.fingerprint)
    if unfinished and any((trials_folder(run) / identity.fingerprint).glob("*/checkpoint.pt")):
        epochs = max((step for step, _ in store.history(unfinished.run_id, keys.TRAIN_LOSS)), default=0)
        place = f"after epoch {epochs}" if epochs else "in its first epoch"
        what = f"resume (run {unfinished.run_id[:8]}, broken off {place})"
        known = runs.seconds.get(kind_of(parts))
        left = known and max(0.0, known - float(unfinished.tags.get(keys.SPENT, 0)))
        return Planned(trial, identity, None, what, left, superseded)
    code = runs.code.get(without_code(parts), {})
    changed = sorted(name for name in code.keys() | parts["code"].keys() if code.get(name) != parts["code"].get(name))
    if finished:
        why = "again, as asked"
    elif unfinished:
        failure = unfinished.tags.get(keys.FAILURE)
        how = f"failed before: {failure}" if failure else "was broken off before its first checkpoint"
        why = f"run {unfinished.run_id[:8]} {how}"
    elif code:
        why = f"{', '.join(name.removeprefix('pipeline.') for name in changed)} changed"
    else:
        why = "new"
    return Planned(trial, identity, None, f"run ({why})", runs.seconds.get(kind_of(parts)), superseded)


def without_code(identity: dict[str, Any]) -> str:
    """What a trial is, whatever the code."""
    return json.dumps([identity["kind"], identity["trial"], identity["data"]], sort_keys=True)


def kind_of(identity: dict[str, Any]) -> str:
    """What decides how long a trial takes."""
    trial = {name: value for name, value in identity["trial"].items() if name not in ("seed", "variance")}
    return json.dumps([identity["kind"], trial], sort_keys=True)


def sweep_key(planned: Sequence[Planned], variances: Iterable[float]) -> str:
    """Eight hex digits that name a set of trials and of variances, whatever their order.

    A network for all variances is one trial, whichever of them it is measured at.
    """
    fingerprints = sorted(one.identity.fingerprint for one in planned)
    return hashlib.sha256(repr((fingerprints, sorted(variances))).encode()).hexdigest()[:8]
