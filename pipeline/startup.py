"""What a process does first."""

from __future__ import annotations

import atexit
import gc


def collect_less() -> None:
    """Look for garbage in cycles a hundred times less often, and not at the end.

    Imports of torch and MLflow make many objects that stay; going through them again and again slows each start, and
    at the end, when all of it goes anyway, takes two seconds.
    """
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)
