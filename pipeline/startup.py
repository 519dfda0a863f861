"""What a process does first."""

from __future__ import annotations

import atexit
import gc

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
