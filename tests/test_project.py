"""The files that say what is installed and how agree with each other."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from importlib import import_module

import pytest
import yaml

from pipeline.config import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
LOCK = (PROJECT_ROOT / "requirements.lock").read_text()


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match, requirement
    return match[0].lower()


def test_the_lock_pins_every_dependency_and_meets_its_bound() -> None:
    from packaging.requirements import Requirement

    pinned = {name_of(line): line.split("==")[1].split()[0] for line in LOCK.splitlines() if "==" in line}
    for text in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.name.lower() in pinned, f"{text}: run make lock"
        assert requirement.specifier.contains(pinned[requirement.name.lower()]), f"{text}: run make lock"


def test_the_lock_holds_on_every_platform() -> None:
    assert not re.search(r"\+cpu|^nvidia-|^triton|^cuda-|https?://|^--", LOCK, re.MULTILINE)
    assert "sys_platform == 'win32'" in LOCK


def test_conda_installs_this_project_from_the_lock_and_lists_nothing_of_its_own() -> None:
    environment = yaml.safe_load((PROJECT_ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip", "make"]
    assert pip == {"pip": ["--requirement requirements.lock", "--editable ."]}


def run_make(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Call make as from a shell, even when these tests are run by make."""
    outer = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ALL"}  # the last as .ci/run gives it
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, input=given
    )


def make(*arguments: str) -> str:
    """What make prints."""
    done = run_make(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_alone_lists_the_targets() -> None:
    assert make() == make("help")
    targets = (
        "setup demo all prepare classify sweep study-gan study-batchnorm report compare denoise digits ui server "
        "doctor test lint format clean distclean"
    )
    for target in targets.split():
        assert re.search(rf"^  {target} +\S", make("help"), re.MULTILINE), target


@pytest.mark.skipif(not (PROJECT_ROOT / ".venv" / "ready").exists(), reason="make setup has not been run here")
@pytest.mark.parametrize("variances", ["0.1 abc", "-1", ""])
def test_bad_variances_fail_through_make_after_one_clear_line(variances: str) -> None:
    done = run_make("--assume-old=.venv/ready", "sweep", "DATA=demo", f"VARS={variances}")
    assert done.returncode == 2
    ours, makes = done.stderr.splitlines()
    assert ours.startswith("error: sweep.variances")
    assert makes.startswith("make: ***")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["sweep", "VAR=0.1"], "VAR is not a setting of make sweep: ARGS CLIP CONFIG DATA DATASET DRY_RUN ENGINE"),
        (["sweep", "JOB=4"], "JOB is not a setting of make sweep: "),
        (["classify", "VARS=0.1"], "VARS is not a setting of make classify: "),
        (["study-gan", "EPOCHS=3"], "EPOCHS is not a setting of make study-gan: "),
        (["demo", "SOURCE=x"], "SOURCE is not a setting of make demo: "),
        (["demo", "DATA=full"], "DATA is not a setting of make demo: "),
        (["classify", "compare", "SEED=1"], "SEED is not a setting of make classify compare: "),
        (["lint", "ARGS=--fix"], "ARGS is not a setting of make lint: it takes none"),
        (
            ["sweep", "VARS=0.1", "0.2"],
            'there is no target 0.2, make lists them; several values go in quotes: VARS="0.01',
        ),
    ],
)
def test_a_variable_that_no_target_named_takes_is_refused(command: list[str], message: str) -> None:
    done = run_make("--dry-run", "--assume-old=.venv/ready", *command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_variables_of_the_environment_and_of_an_outer_make_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = make("--dry-run", "--assume-old=.venv/ready", "compare")
    monkeypatch.setenv("VARS", "0.1")
    assert make("--dry-run", "--jobs=2", "--assume-old=.venv/ready", "compare", "PYTHON=python3") == plain
    assert make("--dry-run", "--assume-old=.venv/ready", "compare", "MLFLOW_TRACKING_URI=http://head:5000") == plain
    outer = "compare:; @$(MAKE) --no-print-directory --dry-run --assume-old=.venv/ready --file=Makefile compare\n"
    done = run_make("--file=-", "compare", "OUTER=1", given=outer)
    assert (done.returncode, done.stdout) == (0, plain)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sweep", "VARS=0.01 0.1"], 'pipeline sweep    "--sweep.variances=0.01 0.1"'),
        (["sweep", "CLIP=0", "FORCE=False"], '"--sweep.clip=false" "--run.force=false"'),
        (["sweep", "CLIP=True", "DRY_RUN=maybe"], '"--sweep.clip=true" "--run.dry_run=maybe"'),
        (["sweep", "FORCE="], "pipeline sweep"),
        (["sweep", "CLIP=1", "DATASET=mnist"], '"--data.denoise=mnist" "--sweep.clip=true"'),
        (["sweep", "VARS="], '"--sweep.variances="'),
        (
            ["sweep", "MODEL=a b", "SEEDS=0 1", "EPOCHS=2"],
            '"--sweep.training.epochs=2" "--sweep.seeds=0 1" "--sweep.models=a b"',
        ),
        (["classify", "MODEL=mine", "SOURCE=x"], '"--data.source=x"   "--classify.model=mine"'),
        (["all", "EPOCHS=2"], '"--classify.training.epochs=2"'),
        (["report", "ARGS=--report.run_missing=false"], "--report.run_missing=false"),
        (["denoise", "IN=a b", "OUT=c", "VAR=0.1"], 'pipeline denoise a b "--out=c" "--variance=0.1"'),
        (["digits", "IN=a.csv", "OUT=c"], 'pipeline digits a.csv "--out=c"'),
        (["ui", "PORT=5001"], '"--ui.port=5001"'),
        (["classify", "sweep", "VARS=0.1"], 'pipeline sweep "--sweep.variances=0.1"'),
        (["demo", "CONFIG=a.yaml"], 'pipeline all --data.choice=demo "--config=a.yaml"'),
        (["test", "ALL=1"], "--numprocesses 4 -m ''"),
        (["test", "ALL=no"], "--numprocesses auto"),
        (["test"], "--numprocesses auto"),
        (
            ["server", "HOST=0.0.0.0", "HOSTS=head lab", "AUTH=1"],
            '"--server.host=0.0.0.0" "--server.allowed_hosts=head lab" "--server.auth=true"',
        ),
    ],
)
def test_make_passes_its_variables_on(command: list[str], expected: str) -> None:
    printed = make("--dry-run", "--assume-old=.venv/ready", *command).splitlines()[-1]
    assert re.sub(r" +", " ", expected) in re.sub(r" +", " ", printed)


def test_with_programs_from_elsewhere_none_are_installed() -> None:
    assert "pip install" in make("--dry-run", "--assume-new=requirements.lock", "demo")
    assert "pip install" not in make("--dry-run", "--assume-new=requirements.lock", "demo", "BIN=/opt/conda/bin")


@pytest.mark.parametrize("name", sorted(file.stem for file in (PROJECT_ROOT / "benchmarks").glob("[a-z]*.py")))
def test_benchmarks_find_what_they_import(name: str) -> None:
    assert import_module(f"benchmarks.{name}").__doc__, "it says what it measures, or what others share"
