"""The machine that a figure was measured on, in one line, and how figures are measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median


def machine(*packages: str) -> str:
    """Processor, cores and the versions of some packages."""
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if (cpuinfo.exists())
        else [platform.processor()]
    )
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    return f"{models[0]}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def seconds_of(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each task, all of them in turn and that `repeats` times: a busy moment hits them alike."""
    for task in tasks.values():
        task()  # the first call pays for imports and for reading the disk
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values: list[float], unit: str = "s", scale: float = 1) -> str:
    """ "0.51 s (0.49 to 0.63, n = 7)": median and range."""
    low, middle, high = (scale * value for value in (min(values), median(values), max(values)))
    return f"{middle:.3g} {unit} ({low:.3g} to {high:.3g}, n = {len(values)})"


def ratio(ours: list[float], peers: list[float]) -> float:
    """Median of the ratios of runs that followed each other."""
    return median(a / b for a, b in zip(ours, peers, strict=True))
