"""What runs the trials of a plan: this process, several of this machine, or a Ray cluster. The results are the same."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

import joblib

from pipeline.config import Run
from pipeline.console import TrainingProgress, say
from pipeline.data.store import ImageStore
from pipeline.sweeps.attempt import Outcome, attempt
from pipeline.sweeps.on_ray import on_ray
from pipeline.sweeps.plan import BASELINES, Planned
from pipeline.sweeps.processes import in_processes
from pipeline.sweeps.trial import Site
from pipeline.tracking.store import TrackingStore
from pipeline.training.device import present_devices


def run_all(
    todo: Sequence[Planned], site: Site, images: ImageStore, store: TrackingStore
) -> Generator[Outcome | None, None, None]:
    """The outcome of each trial as it ends, and None now and then while trials run elsewhere."""
    if site.run.engine == "ray":
        return on_ray(todo, site)
    if is_elsewhere(todo, site):
        return in_processes(todo, site, at_once(site.run, len(todo)))
    return here(todo, site, images, store)


def is_elsewhere(todo: Sequence[Planned], site: Site) -> bool:
    """Whether the trials run in other processes, which show nothing themselves."""
    return site.run.engine == "ray" or at_once(site.run, len(todo)) > 1


def at_once(run: Run, todo: int) -> int:
    """How many of the trials to run are run at a time; `run` is `divided`."""
    assert isinstance(run.jobs, int)
    return min(run.jobs, todo)


def here(
    todo: Sequence[Planned], site: Site, images: ImageStore, store: TrackingStore
) -> Generator[Outcome, None, None]:
    """One after the other, in this process, each with a progress bar of its own."""
    for one in todo:
        if one.trial.model in BASELINES:
            say(f"{one.trial.name}: running")  # it may take a minute and shows nothing else
        yield attempt(one, site, images, store, [TrainingProgress(one.trial.name)])


def divided(run: Run, trials: int) -> Run:
    """The run with as many jobs and threads a trial as there are for a sweep of so many trials.

    The number of trials is of all, done or not: what is resumed has as many threads as it began with, and its bits.
    """
    jobs = number_of_jobs(run, trials)
    threads = run.threads or (max(1, cores() // jobs) if jobs > 1 or run.engine == "ray" else 0)
    return replace(run, jobs=jobs, threads=threads)


def number_of_jobs(run: Run, trials: int) -> int:
    """Trials at a time. auto: as many as there are cores for; a GPU takes them one by one.

    One core a trial, if nobody gives it threads, is what benchmarks/parallel.py finds fastest.
    """
    if run.jobs != "auto":
        return min(run.jobs or 1, max(1, trials))
    device = present_devices()[0] if run.device == "auto" else run.device
    return max(1, min(cores() // (run.threads or 1), trials)) if device == "cpu" else 1


def cores() -> int:
    """Physical cores that this process may use."""
    return int(joblib.cpu_count(only_physical_cores=True))
