"""What a process does first."""

from __future__ import annotations

import gc


def collect_less() -> None:
    """Look for garbage in cycles a hundred times less often.

    Imports of torch and MLflow make millions of objects that stay; going through them again and again takes a fifth of
    the time that they need.
    """
    gc.set_threshold(100_000, 50, 50)
