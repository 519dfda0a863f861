"""What is installed, computed on and stored here, and what is wrong with it in plain words."""

from __future__ import annotations

import platform
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

from pipeline.config import PROJECT_ROOT, Config
from pipeline.config.checks import unwritable
from pipeline.console import say
from pipeline.data import catalog
from pipeline.data.sources import CATALOG, Choice
from pipeline.errors import FaultsFoundError, UserError
from pipeline.sweeps.locks import abandoned
from pipeline.tracking.diagnosis import examine
from pipeline.tracking.environment import PACKAGES
from pipeline.tracking.store import RunRecord
from pipeline.tracking.trouble import trouble

LEAST_FREE_GB = 2.0
"""MNIST and CIFAR-10, downloaded and prepared, are 0.8 GB."""
CHOICES: tuple[Choice, ...] = ("full", "demo")


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis."""

    what: str
    found: str
    faults: tuple[str, ...] = ()
    """What is wrong, and what to do."""


def run(config: Config) -> None:
    """Print every finding. Raises `FaultsFoundError` if something is wrong."""
    faults = 0
    for what, examination in EXAMINATIONS.items():
        for finding in findings_of(what, examination, config):
            say(f"{'✗' if finding.faults else '✓'} {finding.what:11} {finding.found}")
            for fault in finding.faults:
                say(f"  {'':11} → {fault}")
            faults += len(finding.faults)
    if faults:
        raise FaultsFoundError(f"{faults} {'thing is' if faults == 1 else 'things are'} wrong; see → above")
    say("All is well.")


def findings_of(what: str, examination: Callable[[Config], Iterator[Finding]], config: Config) -> Iterator[Finding]:
    """What an examination finds. One that breaks off is a finding, and the others still take place."""
    try:
        yield from examination(config)
    except UserError as error:
        yield Finding(what, "not usable", (str(error),))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        yield Finding(
            what, "not usable", (trouble(error) or f"{type(error).__name__}: {' '.join(str(error).split())}",)
        )


def python(_: Config) -> Iterator[Finding]:
    """The interpreter."""
    yield Finding("python", f"{platform.python_version()}, {platform.platform()}")


def packages(_: Config) -> Iterator[Finding]:
    """The versions that decide results, and whether all dependencies are there and new enough."""
    from packaging.requirements import Requirement

    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults = []
    for requirement in map(Requirement, project["dependencies"]):
        found = installed(requirement.name)
        if found is None:
            faults.append(f"{requirement.name} is not installed: make setup")
        elif not requirement.specifier.contains(found, prereleases=True):
            faults.append(f"{requirement} is needed and {found} is installed: make setup")
    yield Finding("packages", ", ".join(f"{name} {installed(name) or 'missing'}" for name in PACKAGES), tuple(faults))


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device(config: Config) -> Iterator[Finding]:
    """What computes, tried with a sum, and in which arithmetic."""
    import torch

    import pipeline.data.datasets  # noqa: F401 - brings torchvision, which may not go with this torch
    from pipeline.sweeps.engines import cores
    from pipeline.training.device import choose_device, device_name, has_bfloat16

    place = choose_device(config.run)
    assert torch.ones(2, device=place).sum().item() == 2
    yield Finding("device", f"{device_name(place)}; {cores()} cores, {torch.get_num_threads()} threads a trial")
    native = has_bfloat16(place)
    yield Finding("precision", "bfloat16, native" if native else "float32 (no bfloat16 in this hardware)")


def tracking(config: Config) -> Iterator[Finding]:
    """The tracking store: where it is, how many runs it has, and which were left open."""
    state = examine(config.run)
    if state.store is None:
        yield Finding("tracking", f"{state.address}: not there yet; make demo, make classify or make sweep makes it")
        return
    runs = [run for found in state.runs.values() for run in found]
    left: list[RunRecord] = [
        run for experiment_id in state.runs for run in abandoned(state.store, experiment_id, config.run)
    ]
    running = sum(run.status == "RUNNING" for run in runs) - len(left)
    failed = sum(run.status == "FAILED" for run in runs)
    counts = [f"{len(runs)} runs in {len(state.runs)} experiments"]
    counts += [f"{count} {what}" for count, what in ((running, "running"), (failed, "failed")) if count]
    faults = state.faults
    if left:
        names = ", ".join(run.name for run in left)
        faults = [
            *faults,
            f"left open by a command that died: {names}; the next make classify or make sweep closes them",
        ]
    yield Finding("tracking", f"{state.address}: {', '.join(counts)}", tuple(faults))


def data(config: Config) -> Iterator[Finding]:
    """What is prepared of the data. What is not is no fault: it is prepared when it is needed."""
    for choice in CHOICES:
        for role in catalog.ROLES:
            chosen = replace(config.data, choice=choice)
            store = catalog.opened(chosen, config.run, role)
            title = store.manifest.title if store else CATALOG[choice, role].title
            if store is None:
                state = f"not prepared; make {'demo' if choice == 'demo' else 'prepare'} does it"
            elif catalog.is_current(chosen, config.run, role):
                state = f"{store.manifest.shape[0]:,} images prepared"
            else:
                state = "prepared from other files or by other code; the next command prepares it anew"
            yield Finding("data", f"{title}: {state}")


def disk(config: Config) -> Iterator[Finding]:
    """Where results go: whether they may, and how many would fit."""
    home = config.run.home.resolve()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free / 1e9
    faults = []
    if fault := unwritable(home):
        faults.append(fault)
    if free < LEAST_FREE_GB:
        faults.append(f"the full data and their runs need about {LEAST_FREE_GB:g} GB; free some space")
    yield Finding("disk", f"{free:.1f} GB free in {home}", tuple(faults))


EXAMINATIONS: dict[str, Callable[[Config], Iterator[Finding]]] = {
    "python": python,
    "packages": packages,
    "device": device,
    "tracking": tracking,
    "data": data,
    "disk": disk,
}
"""In the order in which they are printed; each goes on where another breaks off."""
