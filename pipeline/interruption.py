"""Whether the user has pressed Ctrl-C, wherever in the code that was."""

from __future__ import annotations

import signal
from types import FrameType

happened = False


def interrupted(error: BaseException) -> bool:
    """Whether an error comes from Ctrl-C.

    A library may turn the KeyboardInterrupt that hits it into an error of its own, as SQLite does with callbacks.
    """
    return happened or isinstance(error, KeyboardInterrupt)


def notice_interrupts() -> None:
    """Remember Ctrl-C from here on, unless the process was started to ignore it (as jobs in the background are)."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)


def interrupt(_: int, __: FrameType | None) -> None:
    """What Ctrl-C does."""
    global happened
    happened = True
    raise KeyboardInterrupt
