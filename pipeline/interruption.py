"""Whether the user has pressed Ctrl-C, or something has asked the process to end, wherever in the code that was."""

from __future__ import annotations

import signal
from types import FrameType

signal_number: int | None = None
"""Of the signal that came."""


def interrupted(error: BaseException) -> bool:
    """Whether an error comes from Ctrl-C or SIGTERM.

    A library may turn the KeyboardInterrupt that hits it into an error of its own, as SQLite does with callbacks.
    """
    return signal_number is not None or isinstance(error, KeyboardInterrupt)


def exit_code() -> int:
    """What a shell expects of a process that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (signal_number or signal.SIGINT)


def what_happened() -> str:
    """One line for people."""
    if signal_number == getattr(signal, "SIGPIPE", None):
        return "stopped, for nobody reads on; the same command goes on from where it was"
    return "interrupted; the same command goes on from the last checkpoint"


def notice_interrupts() -> None:
    """Let SIGTERM do what Ctrl-C does, and remember both.

    Not where the process was started to ignore Ctrl-C (as jobs in the background are).
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def interrupt(number: int, _: FrameType | None) -> None:
    """What the signals do: no more than to raise, for the code that is interrupted may hold the store's lock."""
    global signal_number
    signal_number = number
    raise KeyboardInterrupt
