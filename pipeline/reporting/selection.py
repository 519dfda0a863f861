"""Which of the tracked runs count. Nothing heavy is imported to find out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore
from pipeline.trials import variance_text


def by_setting(runs: Sequence[RunRecord], home: str) -> list[list[RunRecord]]:
    """Runs that differ in nothing but the seed, together and in the order of their seeds; the last asked for first.

    Where somebody's code has changed since, only their runs of the newest count: seeds are averaged, versions are not.
    `home` names the one whose own runs come first: all that it asked for, whatever its user was called.
    """
    facts = [(run.wanted_ms(home), run, *told(run)) for run in runs]
    newest: dict[tuple[str, str], str] = {}
    for (_, _), run, setting, _, code in sorted(facts, key=lambda fact: fact[0][1]):
        newest[setting, user_of(run)] = code
    for (by_home, _), _, setting, _, code in sorted(facts, key=lambda fact: fact[0][0]):
        if by_home:
            newest[setting, home] = code
    groups: dict[tuple[str, str], dict[int, RunRecord]] = {}
    for (by_home, _), run, setting, seed, code in sorted(facts, key=lambda fact: fact[0], reverse=True):
        if newest[setting, home if by_home else user_of(run)] == code:
            groups.setdefault((setting, code), {}).setdefault(seed, run)
    return [[group[seed] for seed in sorted(group)] for group in groups.values()]


def told(run: RunRecord) -> tuple[str, int, str]:
    """Of a run's identity: all but seed and code, the seed, the code."""
    identity = json.loads(run.tags[keys.IDENTITY])
    seed: int = identity["trial"].pop("seed")
    return json.dumps([identity["kind"], identity["trial"], identity["data"]]), seed, json.dumps(identity["code"])


def user_of(run: RunRecord) -> str:
    """Who made it, by name."""
    return run.tags.get(keys.USER, "unknown")


def fingerprint_of(runs: Sequence[RunRecord]) -> str:
    """What the summary of these runs is found by."""
    return hashlib.sha256(" ".join(sorted(run.run_id for run in runs)).encode()).hexdigest()


def finished_classifiers(store: TrackingStore, experiment_id: str) -> list[RunRecord]:
    """The finished classifiers of an experiment. Runs made before calibration was measured lack what tables show."""
    return [run for run in store.finished(experiment_id, keys.KIND_TRIAL) if keys.TEST_ECE in run.metrics]


def users_of(runs: Sequence[RunRecord]) -> list[str]:
    """Who made them, by name."""
    return sorted(set(map(user_of, runs)))


def latest_sweep(store: TrackingStore, experiment_id: str, home: str) -> tuple[RunRecord, list[RunRecord]] | None:
    """The summary and the trials of the sweep that was asked for last, by this home if there is one, or None."""
    found = sweeps(store, experiment_id, home)
    return (found[0], trials_of(found[0], store.finished(experiment_id, keys.KIND_TRIAL))) if found else None


def sweeps(store: TrackingStore, experiment_id: str, home: str) -> list[RunRecord]:
    """The summaries of all sweeps of an experiment, the last asked for first, those of this home before all others."""
    summaries = [one for one in store.finished(experiment_id, keys.KIND_SUMMARY) if keys.SWEEP in one.tags]
    return sorted(summaries, key=lambda run: run.wanted_ms(home), reverse=True)


def trials_of(summary: RunRecord, trials: Sequence[RunRecord]) -> list[RunRecord]:
    """Of the finished trials of an experiment those of a sweep."""
    chosen = [trial for trial in trials if summary.tags[keys.SWEEP] in trial.tags.get(keys.SWEEP, "").split()]
    # A trial that two processes ran at once has two runs; it is one trial all the same.
    return list({trial.tags[keys.FINGERPRINT]: trial for trial in chosen}.values())


def sweep_in_words(summary: RunRecord, runs: Sequence[RunRecord]) -> str:
    """Which sweep it is: variances, networks and seeds."""
    trained = [run for run in runs if run.trained]
    variances = variances_of(summary, runs)
    networks = sorted({run.params["model"] for run in trained}) or ["no network"]
    seeds = sorted({int(run.params["seed"]) for run in trained})
    of_seeds = f", seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}" if seeds else ""
    return f"σ² {', '.join(map(variance_text, variances))}: {', '.join(networks)}{of_seeds}"


def variances_of(summary: RunRecord, runs: Sequence[RunRecord]) -> list[float]:
    """Those that a sweep was asked for; of its trials, if its summary is from before that was noted."""
    asked = [float(variance) for variance in summary.tags.get(keys.VARIANCES, "").split()]
    return asked or sorted({float(run.params["variance"]) for run in runs})
