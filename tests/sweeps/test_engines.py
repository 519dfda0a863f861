"""Trials in several processes: the same results, and what happens when something fails or dies."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from rich.console import Console

from pipeline.config import PROJECT_ROOT, Config, Run
from pipeline.console import Board
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from pipeline.stages.trials import estimate, followed
from pipeline.sweeps import attempt
from pipeline.sweeps.attempt import Outcome
from pipeline.sweeps.engines import at_once, cores, divided, number_of_jobs
from pipeline.sweeps.locks import LockedError, close_abandoned, locked, owner, working_elsewhere
from pipeline.sweeps.on_ray import require_cores
from pipeline.sweeps.plan import Planned, denoising_trials
from pipeline.sweeps.trial import Site
from pipeline.tracking import keys
from pipeline.tracking.store import TrackingStore, open_store
from tests.conftest import Pipeline, run_pipeline
from tests.sweeps.sweeping import FOUR, SWEEP, all_runs, figures, started, wait_for, workers_of


def test_several_at_a_time_give_the_figures_of_one_after_the_other(
    pipeline: Pipeline, home: Path, prepared_home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(prepared_home, other)
    parallel = pipeline(*SWEEP, FOUR, "--run.jobs=2")
    assert parallel.returncode == 0, parallel.stderr
    assert parallel.stdout.count(": done") == 4
    assert re.search(r"autoencoder · σ²=0.1 · seed 0: (running|epoch 1  train/loss \d)", parallel.stdout)
    serial = run_pipeline(*SWEEP, FOUR, f"--run.home={other}")
    assert serial.returncode == 0, serial.stderr
    assert figures(home) == figures(other)


def test_a_failing_trial_leaves_the_others_alone(pipeline: Pipeline, home: Path) -> None:
    """Both engines say at the end what failed and how to go on; what is finished is not touched by the next try."""
    exploding = ("--sweep.training.learning_rate=1e30", FOUR)
    for jobs in ("1", "2"):
        done = pipeline(*SWEEP, *exploding, f"--run.jobs={jobs}")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        first, *failures, last = done.stderr.splitlines()
        assert first == "failed: 2 of 4 trials"
        assert all(re.search(r"autoencoder .*: the loss is (nan|inf) at step \d+", line) for line in failures)
        assert "same command" in last
    assert done.stdout.count("noisy") >= 2
    assert done.stdout.count(": reuse (done") == 2
    assert re.search(r"autoencoder · σ²=0.1 · seed 0: run \(run \w+ failed before: NonFiniteLossError", done.stdout)
    trials = [run for run in all_runs(home) if run.tags[keys.KIND] == keys.KIND_TRIAL]
    assert sorted(run.status for run in trials) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]


@contextmanager
def held_by_another(run: Run, seconds: float, at_the_end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Another command is at the trial "f…f" for so long, and then does something before it lets go."""
    holds = threading.Event()

    def work() -> None:
        with locked(run, "f" * 64):
            holds.set()
            time.sleep(seconds)
            at_the_end()

    worker = threading.Thread(target=work)
    worker.start()
    holds.wait()
    yield
    worker.join()


def with_open_run(run: Run) -> tuple[TrackingStore, str, str]:
    """A store, an experiment in it, and a run of the trial "f…f" of this home that is not ended."""
    store = open_store(run)
    experiment = store.experiment("images-denoising", "d" * 64, "")
    tags = {keys.OWNER: owner(run), keys.FINGERPRINT: "f" * 64, keys.KIND: keys.KIND_TRIAL}
    return store, experiment, store.client.create_run(experiment, tags=tags).info.run_id


def test_a_run_that_ends_while_others_look_at_it_stays_finished(home: Path) -> None:
    run = Run(home=home)
    store, experiment, run_id = with_open_run(run)
    with held_by_another(run, 0.3, lambda: store.client.set_terminated(run_id)):
        close_abandoned(store, experiment, run)
    assert store.run(run_id).status == "FINISHED"


def test_runs_of_other_machines_are_not_taken_for_abandoned(home: Path) -> None:
    """Their locks are on their own disks."""
    run = Run(home=home)
    store, experiment, run_id = with_open_run(run)
    with working_elsewhere(run):
        close_abandoned(store, experiment, run)
        assert store.run(run_id).status == "RUNNING"
    close_abandoned(store, experiment, run)
    assert store.run(run_id).status == "KILLED"


def test_a_copied_home_leaves_the_other_ones_runs_alone_where_both_share_a_store(home: Path, tmp_path: Path) -> None:
    first = Run(home=home, tracking_uri=f"sqlite:///{tmp_path / 'shared.db'}")
    store, experiment, run_id = with_open_run(first)
    copy, moved = tmp_path / "copy", tmp_path / "moved"
    shutil.copytree(home, copy)
    home.rename(moved)
    close_abandoned(store, experiment, replace(first, home=copy))
    assert store.run(run_id).status == "RUNNING"
    close_abandoned(store, experiment, replace(first, home=moved))
    assert store.run(run_id).status == "KILLED", "a moved home is the same one"


def test_a_trial_that_another_command_is_at_is_left_to_it(home: Path, patches: ImageStore) -> None:
    run = Run(home=home, jobs=1)
    store, experiment, run_id = with_open_run(run)
    trial = denoising_trials(Config(), patches)[0]
    identity = Mock(fingerprint="f" * 64)
    site = Site(patches.folder, patches.manifest.digest, experiment, owner(run), run, {})
    with held_by_another(run, 2):
        outcome = Outcome("f" * 64, "another process is at it")
        failures, hopeless = followed([Planned(trial, identity, None, "run (new)")], [outcome], site, store)
    assert failures == {trial.name: "another process is at it"}
    assert not hopeless
    assert store.run(run_id).status == "RUNNING"


def test_networks_of_trials_that_have_ended_are_let_go_of(home: Path) -> None:
    code = (
        "import gc, sys\n"
        "from pipeline.__main__ import main\n"
        "code = main(sys.argv[1:])\n"
        "from pipeline.models.denoisers import Autoencoder\n"
        "gc.unfreeze()\n"
        "alive = [type(one).__name__ for one in gc.get_objects() if isinstance(one, Autoencoder)]\n"
        "print(code, alive)"
    )
    command = [sys.executable, "-c", code, *SWEEP, FOUR, "--run.jobs=1", f"--run.home={home}"]
    done = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    status, alive = done.stdout.splitlines()[-1].split(" ", 1)
    assert status == "0", done.stderr
    assert alive.count("Autoencoder") <= 1, "of four trials"


def test_square_brackets_in_an_error_are_no_markup() -> None:
    """Such as torch's: [enforce fail at alloc_cpu.cpp:117]; a path in brackets would even break off the sweep."""
    board = Board(["residual"])
    board.show("residual", "failed: [enforce fail at alloc_cpu.cpp:117] [/tmp/x]")
    shown = StringIO()
    Console(file=shown, width=120).print(board.table())
    assert "failed: [enforce fail at alloc_cpu.cpp:117] [/tmp/x]" in shown.getvalue()


def test_threads_leave_cores_for_as_many_jobs() -> None:
    assert number_of_jobs(Run(jobs="auto", device="cpu", threads=1), 100) == cores()
    assert number_of_jobs(Run(jobs="auto", device="cpu", threads=cores()), 100) == 1


def test_what_no_node_of_a_cluster_has_is_not_waited_for() -> None:
    nodes = [{"Resources": {"CPU": 2.0}}, {"Resources": {"memory": 1.0}}]
    require_cores(Run(threads=2), nodes)
    with pytest.raises(UserError, match=r"asks for 4 cores, and no Ray node has more than 2: THREADS=2"):
        require_cores(Run(threads=4), nodes)


def test_a_trial_without_neighbours_has_all_cores() -> None:
    assert divided(Run(jobs=4, device="cpu"), 1) == Run(jobs=1, device="cpu", threads=0)


def test_places_with_nothing_to_do_make_nothing_faster() -> None:
    planned = [Mock(run=None, seconds=1200.0), *[Mock(run="done")] * 7]
    assert estimate(planned, at_once(Run(jobs=8), 1)) == ", about 20 min"
    assert estimate(planned[:1] * 16, at_once(Run(jobs=8), 16)) == ", about 40 min"
    new = Mock(run=None, seconds=None)
    assert estimate([*planned, new, new], 3) == ", about 20 min and what 2 new ones will take"
    assert estimate([new], 1) == ""


@pytest.mark.slow
def test_a_plan_says_why_and_does_nothing(pipeline: Pipeline, home: Path) -> None:
    dry = pipeline(*SWEEP, FOUR, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count(": run (new)") == 4
    assert open_store(Run(home=home)).experiments() == []

    assert pipeline(*SWEEP, "--sweep.variances=0.01").returncode == 0
    before = [run.run_id for run in all_runs(home)]
    more = pipeline(*SWEEP, FOUR, "--dry-run")
    assert more.stdout.count(": reuse (done, run") == 2
    assert more.stdout.count(": run (new)") == 2
    assert "2 of 4 trials to run, about 1 min" in more.stdout
    anew = pipeline(*SWEEP, "--sweep.variances=0.01", "--run.force=true", "--dry-run")
    assert anew.stdout.count(": run (again, as asked)") == 2
    assert [run.run_id for run in all_runs(home)] == before


@pytest.mark.slow
def test_force_runs_anew_and_its_result_is_the_one_that_counts(pipeline: Pipeline, home: Path) -> None:
    sweep = (*SWEEP, "--sweep.variances=0.01")
    assert pipeline(*sweep).returncode == 0
    first = {run.run_id for run in all_runs(home)}
    done = pipeline(*sweep, "--run.force=true")
    assert done.returncode == 0, done.stderr
    trials = [run for run in all_runs(home) if run.tags[keys.KIND] == keys.KIND_TRIAL]
    newer = {run.run_id for run in trials} - first
    assert len(newer) == 2
    third = pipeline(*sweep)
    assert {run_id[:8] for run_id in newer} == set(re.findall(r"reuse \(done, run (\w+)\)", third.stdout))
    summaries = [run for run in all_runs(home) if run.tags[keys.KIND] == keys.KIND_SUMMARY]
    assert len(summaries) == 1, "a sweep has one summary, of the runs that count"


@pytest.mark.slow
def test_four_processes_write_to_one_sqlite_store(pipeline: Pipeline, home: Path) -> None:
    variances = " ".join(f"{n / 100}" for n in range(1, 13))
    done = pipeline(*SWEEP, "--sweep.models=noisy", f"--sweep.variances={variances}", "--run.jobs=4")
    assert done.returncode == 0, done.stderr
    runs = all_runs(home)
    assert len(runs) == 13
    assert {run.status for run in runs} == {"FINISHED"}


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_trial(home: Path) -> None:
    sweep = started(*SWEEP, FOUR, "--sweep.training.epochs=12", "--run.jobs=2", home=home)
    wait_for(sweep, r"autoencoder .* epoch \d+ ")
    (victim, *_) = workers_of(sweep)
    victim.kill()
    _, complaint = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, complaint
    trials = [run for run in all_runs(home) if run.tags[keys.KIND] == keys.KIND_TRIAL]
    assert [run.status for run in trials] == ["FINISHED"] * 4


@pytest.mark.slow
def test_a_signal_ends_every_process_and_run_at_once(home: Path) -> None:
    sweep = started(*SWEEP, FOUR, "--sweep.training.epochs=50", "--run.jobs=2", home=home)
    wait_for(sweep, r"autoencoder .* epoch \d+ ")
    workers = workers_of(sweep)
    sent = time.monotonic()
    sweep.terminate()
    _, complaint = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + signal.SIGTERM, complaint
    assert complaint == "interrupted; the same command goes on from the last checkpoint\n"
    assert time.monotonic() - sent < 20
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    statuses = sorted(run.status for run in all_runs(home))
    assert set(statuses) == {"FINISHED", "KILLED"}
    assert list((home / ".cache" / "trials").glob("*/*/checkpoint.pt")), "what was done is kept"
    plan = run_pipeline(*SWEEP, FOUR, "--sweep.training.epochs=50", f"--run.home={home}", "--dry-run")
    assert re.search(r"resume \(run \w+, broken off (after epoch \d+|in its first epoch)\)", plan.stdout)


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(home: Path) -> None:
    sweep = started(*SWEEP, FOUR, "--sweep.training.epochs=50", "--run.jobs=2", home=home)
    wait_for(sweep, r"autoencoder .* epoch \d+ ")
    workers = workers_of(sweep)
    assert workers
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert "RUNNING" in {run.status for run in all_runs(home)}
    # Whatever is asked for next, nothing stays RUNNING.
    assert run_pipeline(*SWEEP, "--sweep.variances=0.3", f"--run.home={home}").returncode == 0
    assert {run.status for run in all_runs(home)} == {"FINISHED", "KILLED"}


def test_a_trial_that_another_command_is_at_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(error: Exception):  # type: ignore[no-untyped-def]
        def run_trial(*_: object) -> None:
            raise error

        return run_trial

    planned = Mock(identity=Mock(fingerprint="f"))
    monkeypatch.setattr(attempt, "run_trial", raising(LockedError("another process is at it")))
    assert attempt.attempt(planned, Mock(), Mock(), Mock()) == attempt.Outcome("f", "another process is at it")
    monkeypatch.setattr(attempt, "run_trial", raising(UserError("no such thing")))
    with pytest.raises(UserError, match="no such thing"):
        attempt.attempt(planned, Mock(), Mock(), Mock())
