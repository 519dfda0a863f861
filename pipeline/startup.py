"""What a process does first."""

from __future__ import annotations

import atexit
import gc
import io
import sys

IMPORTED = 1_500_000  # objects; torch, MLflow and matplotlib make a million, of which hardly any is garbage


def collect_less() -> None:
    """Look for garbage in cycles after all is imported, a hundred times less often then, and not at the end.

    Imports of torch and MLflow make many objects that stay; going through them again and again slows each start, and
    at the end, when all of it goes anyway, takes two seconds.
    """
    gc.set_threshold(IMPORTED, 50, 50)
    gc.callbacks.append(collect_now_and_then)
    atexit.register(gc.freeze)


def collect_now_and_then(_phase: str, _info: dict[str, int]) -> None:
    """From the first collection on."""
    gc.set_threshold(100_000, 50, 50)


def write_anyhow() -> None:
    """Print a question mark for what the output's encoding lacks: σ² in a Windows file is no reason to fail."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")
