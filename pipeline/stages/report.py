"""Tracked runs → the report in English and Persian, as markdown and as HTML, in `reports/output/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType

from pipeline.config import Config
from pipeline.console import say, waiting
from pipeline.data import catalog
from pipeline.data.store import Manifest
from pipeline.errors import TrialsFailedError, UserError
from pipeline.reporting.inputs import Part, in_order, inputs_digest, is_current, report_files
from pipeline.reporting.selection import finished_classifiers, latest_sweep, sweep_in_words
from pipeline.stages import classify, study, sweep
from pipeline.sweeps.identity import code_changed
from pipeline.sweeps.locks import known_owner
from pipeline.tracking import keys
from pipeline.tracking.addresses import without_password
from pipeline.tracking.environment import user
from pipeline.tracking.store import TrackingStore, open_store

NAMED = 3
"""Modules, of those that have changed."""


def run(config: Config) -> None:
    """Write the report in both languages, unless there is one of the same runs, answers and templates.

    Where nothing has been run of a question, or only on data that have changed since or are not those of the SOURCE
    given, it is run first, if its data can be had and `report.run_missing`; the studies, which take longer, are not.
    """
    if config.report.run_missing:
        for _, stage in QUESTIONS.values():
            stage.require_names(config)
    store = open_store(config.run)
    failures: list[str] = []
    parts: dict[str, Part | None] = {role: find(config, store) for role, (find, _) in QUESTIONS.items()}
    for role, (find, stage) in QUESTIONS.items():
        if not can_run(config, role):
            continue
        only_told = config.run.dry_run and not config.report.run_missing
        if not only_told and not catalog.is_current(config.data, config.run, role):
            catalog.prepare(config.data, config.run, role)
            parts[role] = find(config, store)
        if parts[role] is None and config.report.run_missing:
            try:
                stage.run(config)
            except TrialsFailedError as error:
                failures.append(str(error))
            parts[role] = find(config, store)
    if config.run.dry_run:
        say(f"report    {report_files(report_folder(config))[0]}: written then, unless made from the same runs")
        return

    parts |= {name: study_part(name, config, store) for name in study.STAGES}
    if not any(parts.values()) and not failures:
        raise UserError(f"nothing to report yet: {nothing_in(store)}")
    write(config, store, parts)
    if failures:
        raise TrialsFailedError("\n".join(failures))


def write(config: Config, store: TrackingStore, parts: Mapping[str, Part | None]) -> None:
    """Write the report from what there is for its parts, unless it is written."""
    demo = config.data.choice == "demo"
    folder = report_folder(config)
    inputs = inputs_digest(list(parts.values()), demo)
    if colour := parts["colour"]:
        which = sweep_in_words(colour.summaries[0], colour.runs)
        say(f"report    denoising: the sweep that was asked for last, {which}")
    for part in filter(None, parts.values()):
        say_what_has_changed(part)
    if is_current(report_files(folder), inputs):
        say(f"report    reuse (made from the same runs): {report_files(folder)[0]}")
        return
    with waiting("Writing the report"):
        from pipeline.reporting.report import write_report

        write_report(folder, store, parts, demo=demo, inputs=inputs)
    for file in report_files(folder):
        say(f"report    {file}")


def say_what_has_changed(part: Part) -> None:
    """The figures are of the code that made them: say where this user's would come out otherwise now."""
    own = [run for run in in_order(part.runs, part.home) if run.tags.get(keys.USER) == user()]
    changed = {name.removeprefix("pipeline.") for run in own for name in code_changed(run.tags[keys.IDENTITY])}
    if changed:
        first, more = sorted(changed)[:NAMED], len(changed) - NAMED
        names = ", ".join(first) + (f" and {more} more" if more > 0 else "")
        say(f"report    {own[0].name} and others on {part.data.title}: figures from before {names} changed")


def nothing_in(store: TrackingStore) -> str:
    """Why there are no runs, and what to do."""
    if store.uri.startswith("http"):
        return (
            f"{without_password(store.uri)} has no finished runs on these data; those that were made here without it "
            "are seen with MLFLOW_TRACKING_URI unset"
        )
    return "there are no finished runs on these data; make all makes them"


def report_folder(config: Config) -> Path:
    """Where the report goes. What is on other data than MNIST and CIFAR-10, or clipped, replaces no other."""
    name = f"{catalog.chosen(config.data, 'colour').name}{'-clipped' * config.sweep.clip}"
    return config.run.output / {"cifar10": "", "demo-patches": "demo"}.get(name, name)


def can_run(config: Config, role: catalog.Role) -> bool:
    """Whether the data of a stage are prepared or can be had."""
    return config.data.choice == "demo" or catalog.obtainable(config.data, config.run, role)


def experiment_of(
    config: Config, store: TrackingStore, role: catalog.Role, name_of: Callable[[Manifest], str]
) -> tuple[Manifest, str] | None:
    """The data of a role as they are prepared, and the id of the experiment on them, or None."""
    images = catalog.opened(config.data, config.run, role)
    if images is None:
        return None
    experiment_id = store.find_experiment(name_of(images.manifest), images.manifest.digest)
    return (images.manifest, experiment_id) if experiment_id else None


def digits_part(config: Config, store: TrackingStore) -> Part | None:
    """Every finished classifier on the digits as they are prepared, or None."""
    found = experiment_of(config, store, "digits", classify.experiment_name)
    if found is None:
        return None
    data, experiment_id = found
    runs = finished_classifiers(store, experiment_id)
    summaries = store.finished(experiment_id, keys.KIND_SUMMARY)
    return Part(data, runs, summaries, home=known_owner(config.run)) if runs else None


def study_part(name: str, config: Config, store: TrackingStore) -> Part | None:
    """The finished experiments of a study on the digits as they are prepared, or None."""
    found = experiment_of(config, store, "digits", partial(study.experiment_name, name))
    if found is None:
        return None
    data, experiment_id = found
    runs = store.finished(experiment_id, keys.KIND_TRIAL)
    return Part(data, runs, home=known_owner(config.run)) if runs else None


def colour_part(config: Config, store: TrackingStore) -> Part | None:
    """The trials of the sweep that was asked for last on the images as they are prepared, or None."""
    found = experiment_of(config, store, "colour", partial(sweep.experiment_name, clip=config.sweep.clip))
    if found is None:
        return None
    data, experiment_id = found
    latest = latest_sweep(store, experiment_id, known_owner(config.run))
    if latest is None:
        return None
    summary, runs = latest
    return Part(data, runs, [summary], clip=config.sweep.clip, home=known_owner(config.run))


QUESTIONS: dict[catalog.Role, tuple[Callable[[Config, TrackingStore], Part | None], ModuleType]] = {
    "digits": (digits_part, classify),
    "colour": (colour_part, sweep),
}
"""For each kind of data, where its results are found and which stage makes them."""
