"""What a process does first."""

from __future__ import annotations

import gc


def collect_less() -> None:
    """Look for garbage in cycles a hundred times less often.

    Imports of torch and MLflow make many objects that stay; going through them again and again slows each start.
    """
    gc.set_threshold(100_000, 50, 50)
