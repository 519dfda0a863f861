"""What classify and sweep have in common: say what is done and what is not, and do the rest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

from pipeline.config import Run
from pipeline.console import say
from pipeline.data.store import ImageStore, Manifest
from pipeline.errors import UserError
from pipeline.sweeps.plan import CLASSIFICATION, Planned, plan
from pipeline.tracking.store import RunRecord, TrackingStore


def run_missing(
    stage: str,
    planned: Sequence[Planned],
    images: ImageStore,
    recipe: str,
    store: TrackingStore,
    experiment_id: str,
    run: Run,
) -> list[RunRecord]:
    """Run the trials that have no finished run, one after the other; returns the run of every trial, in order."""
    for one in planned:
        say(f"{stage:9} {one.trial.name}: {what_happens(one, run)}")
    missing = [one for one in planned if one.run is None]
    if missing:
        from pipeline.models import CLASSIFIERS, DENOISERS  # these bring torch
        from pipeline.sweeps.trial import run_trial

        for one in missing:
            require_known(one.trial.model, CLASSIFIERS if recipe == CLASSIFICATION else DENOISERS)
        for one in missing:
            run_trial(one, images, store, experiment_id, run)
        planned = plan([one.trial for one in planned], images, recipe, store, experiment_id)
    return [one.run for one in planned if one.run is not None]


def what_happens(one: Planned, run: Run) -> str:
    """What is done about a trial."""
    if one.run:
        return f"reuse (done, run {one.run.run_id[:8]})"
    checkpoints = (run.cache / "trials" / one.identity.fingerprint).glob("*/checkpoint.pt")
    return "resume" if any(checkpoints) else "run"


def describe(manifest: Manifest, what: str) -> str:
    """Description of an experiment: what its runs are, in one short line, then the data."""
    notes = " ".join(manifest.notes)
    count = f"{manifest.shape[0]:,} images, sha256 of the data: `{manifest.digest}`."
    return f"{what}\n\n{notes}\n\n{count}"


def require_known(name: str, known: Collection[str]) -> None:
    """Refuse a network that isn't in the table, naming the nearest that is."""
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(known)}"
        raise UserError(f"no network called {name!r}; {hint}")
