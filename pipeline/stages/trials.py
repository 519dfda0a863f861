"""What the stages that train have in common: say what is done and what is not, and do the rest."""

from __future__ import annotations

import math
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Run
from pipeline.config.checks import hint
from pipeline.console import Board, complain, say
from pipeline.data.store import ImageStore, Manifest
from pipeline.errors import TrialsFailedError, UserError
from pipeline.interruption import interrupted
from pipeline.sweeps.identity import CLASSIFICATION, NETWORKS, network_module
from pipeline.sweeps.locks import SECONDS_TO_LOOK, LockedError, close_abandoned, locked, owner
from pipeline.sweeps.plan import Planned, plan
from pipeline.tracking import keys
from pipeline.tracking.environment import command_tags
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.tracking.trouble import suppress_trouble
from pipeline.tracking.views import Charts
from pipeline.trials import ClassificationTrial, DenoisingTrial, Trial

if TYPE_CHECKING:
    from torch import nn

    from pipeline.sweeps.attempt import Outcome
    from pipeline.sweeps.trial import Site

    Networks = Mapping[str, type[nn.Module]]


OWN = " (one of your own joins in pipeline/models/__init__.py)"


@dataclass(frozen=True)
class Results:
    """The trials of a stage, and the runs of those that are finished."""

    planned: list[Planned]
    failures: dict[str, str]
    """Name of a trial → why it failed, or was not tried."""
    reused: Sequence[RunRecord] = ()
    """The runs that were finished before."""

    @property
    def runs(self) -> list[RunRecord]:
        """In the order of the trials."""
        return [one.run for one in self.planned if one.run is not None]

    def require_all(self) -> None:
        """Raises `TrialsFailedError` with what failed and how to go on."""
        if self.failures:
            lines = [f"failed: {len(self.failures)} of {len(self.planned)} trials"]
            lines += [f"  {name}: {reason}" for name, reason in self.failures.items()]
            lines += ["The same command tries these again; what is finished stays as it is."]
            raise TrialsFailedError("\n".join(lines))


def run_missing(
    stage: str,
    trials: Sequence[Trial],
    images: ImageStore,
    store: TrackingStore,
    experiment_id: str,
    run: Run,
) -> Results:
    """Run the trials that have no finished run. One that fails does not keep the others from being run."""
    if not run.dry_run:
        close_abandoned(store, experiment_id, run)
    planned = plan(trials, images, store, experiment_id, run)
    todo = [one for one in planned if one.run is None]
    reused = [one.run for one in planned if one.run is not None]
    if todo:
        require_networks(todo, images.manifest)
    for one in planned:
        say(f"{stage:9} {one.trial.name}: {one.what}")
    if not todo:
        say(f"{stage:9} nothing to run: every trial is done")
        return Results(planned, {}, reused)

    from pipeline.sweeps.engines import at_once, divided, run_all
    from pipeline.sweeps.trial import Site

    run = divided(run, len(planned))
    say(f"{stage:9} {len(todo)} of {len(planned)} trials to run{estimate(planned, at_once(run, len(todo)))}")
    if run.dry_run:
        return Results(planned, {})
    site = Site(images.folder, images.manifest.digest, experiment_id, owner(run), run, command_tags())
    try:
        with closing(run_all(todo, site, images, store)) as outcomes:
            failures, hopeless = followed(todo, outcomes, site, store)
    except (KeyboardInterrupt, Exception) as error:
        if interrupted(error) or isinstance(error, UserError):
            close_abandoned(store, experiment_id, run)
        raise
    if hopeless:
        Results(planned, failures).require_all()
    planned = plan(trials, images, store, experiment_id, replace(run, force=False))
    lost = {one.trial.name for one in planned if one.run is None} - failures.keys()
    return Results(planned, failures | dict.fromkeys(lost, "its run was ended or deleted meanwhile"), reused)


def require_networks(todo: Sequence[Planned], manifest: Manifest) -> None:
    """Refuse settings that a network can't be made with, and networks that don't go with the images or the classes.

    The experiments of a study are not chosen by name.
    """
    classifiers, denoisers = tables_of_networks()
    from pipeline.training.build import build, count_parameters, require_takes

    channels, classes = manifest.shape[1], len(manifest.classes)
    for trial in {one.trial.model: one.trial for one in todo}.values():
        if isinstance(trial, ClassificationTrial):
            network = build(classifiers, trial, channels=channels, classes=classes)
            gives: tuple[int, ...] = (classes,)
        elif isinstance(trial, DenoisingTrial):
            network = build(denoisers, trial, channels=channels, variance=trial.variance)
            gives = tuple(manifest.shape[1:])
        else:
            continue
        if count_parameters(network):  # what is not trained takes any image, and some take long over it
            require_takes(network, trial, manifest.shape[1:], gives)


def followed(
    todo: Sequence[Planned], outcomes: Iterable[Outcome | None], site: Site, store: TrackingStore
) -> tuple[dict[str, str], bool]:
    """Watch trials being run; name of each that failed or was not tried → why, and whether all others would fail."""
    names = {one.identity.fingerprint: one.trial.name for one in todo}
    failures: dict[str, str] = {}
    from pipeline.sweeps.engines import is_elsewhere

    elsewhere = is_elsewhere(todo, site)
    with Board(names.values() if elsewhere else []) as board:
        for outcome in outcomes:
            if outcome is None:
                with suppress_trouble():
                    look(board, names, site, store)
                continue
            name = names.pop(outcome.fingerprint)
            if elsewhere:
                board.show(name, "done" if outcome.error is None else f"failed: {outcome.error}")
            if outcome.error is None:
                continue
            failures[name] = outcome.error
            if outcome.hopeless:
                return failures | dict.fromkeys(names.values(), f"not tried: {outcome.error}"), True
            if outcome.traceback:
                complain(outcome.traceback)
            # Its process is dead, unless it is another command's.
            with suppress(LockedError), locked(site.run, outcome.fingerprint, SECONDS_TO_LOOK):
                for run in store.of_trial(site.experiment_id, outcome.fingerprint):
                    if run.status == "RUNNING" and run.tags.get(keys.OWNER) == site.owner:
                        store.close(run.run_id, "FAILED", outcome.error)
    return failures, False


def look(board: Board, names: dict[str, str], site: Site, store: TrackingStore) -> None:
    """Show how the trials under way get on, as their runs tell it."""
    for run in store.running(site.experiment_id, site.owner):
        name = names.get(run.tags.get(keys.FINGERPRINT, ""))
        if name is None:
            continue
        epochs = len(store.history(run.run_id, keys.TRAIN_LOSS))
        figures = {key: value for key, value in run.metrics.items() if key.startswith(("train/", "val/"))}
        text = "  ".join(f"{key} {value:.4g}" for key, value in sorted(figures.items()))
        board.show(name, f"epoch {epochs}  {text}" if epochs else "running")


def estimate(planned: Sequence[Planned], at_once: int) -> str:
    """How long the rest will take, so many at a time, in words, as far as trials like them have been run."""
    times = [one.seconds for one in planned if one.run is None]
    known = [time for time in times if time is not None]
    if not known:
        return ""
    seconds, unknown = max(*known, sum(known) / at_once), len(times) - len(known)
    rest = f" and what {unknown} new one{'s' * (unknown > 1)} will take" if unknown else ""
    return f", about {math.ceil(seconds / 60)} min{rest}"


def experiment_for(
    run: Run, store: TrackingStore, manifest: Manifest, name: str, text: str, charts: Charts | None = None
) -> str:
    """Id of the experiment of a name for this data, made if missing; "" for one that a dry run does not make."""
    if run.dry_run:
        return store.find_experiment(name, manifest.digest) or ""
    return store.experiment(name, manifest.digest, text, charts)


def describe(manifest: Manifest, what: str) -> str:
    """Description of an experiment: what its runs are, in one short line, then the data."""
    notes = " ".join(manifest.notes)
    count = f"{manifest.shape[0]:,} images, sha256 of the data: `{manifest.digest}`."
    return f"{what}\n\n{notes}\n\n{count}"


def require_network(name: str, recipe: str) -> None:
    """Refuse a network that isn't in the table that a recipe takes its networks from."""
    if network_module(recipe, name) == NETWORKS:  # not read off the source
        classifiers, denoisers = tables_of_networks()
        require_known(name, classifiers if recipe == CLASSIFICATION else denoisers, OWN)


def tables_of_networks() -> tuple[Networks, Networks]:
    """Classifiers and denoisers by name. Raises `UserError` where a module of theirs can't be imported."""
    try:
        from pipeline.models import CLASSIFIERS, DENOISERS  # these bring torch
    except Exception as error:  # of a module of the user's own it may be any
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise UserError(f"pipeline/models can't be imported: {type(error).__name__}: {error} ({where})") from error
    return CLASSIFIERS, DENOISERS


def require_known(name: str, known: Collection[str], more: str = "") -> None:
    """Refuse a network that isn't in the table, naming the nearest that is."""
    if name not in known:
        raise UserError(f"no network called {name!r}; {hint(name, known)}{more}")
