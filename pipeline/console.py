"""What is said on the terminal: one console, progress bars on it, plain lines where there is no terminal."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TypeVar

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from rich.status import Status
from rich.table import Table
from rich.text import Text

from pipeline.interruption import interrupt

T = TypeVar("T")


class Terminal(Console):
    """A console whose reader may go away (`… | head`): an interruption like any other, and no fault of a trial."""

    def on_broken_pipe(self) -> None:
        with suppress(SystemExit):
            super().on_broken_pipe()
        interrupt(getattr(signal, "SIGPIPE", signal.SIGTERM), None)


console = Terminal(highlight=False)
if not console.is_terminal:
    console.width = 120  # a file or a pipe has no width of its own, and rich would take 80


def say(message: str) -> None:
    """Print one line for people. Square brackets are printed as they are."""
    console.print(message, markup=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print one line to standard error."""
    Console(stderr=True, highlight=False).print(message, markup=False, soft_wrap=True, style="red")


class Shown(logging.Handler):
    """Shows what the rooms log."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"          {record.getMessage()}")


def show_log() -> None:
    """Show what the rooms log from here on, as part of what is said. A script of the user's own sees warnings only."""
    logger = logging.getLogger("pipeline")
    logger.setLevel(logging.INFO)
    logger.handlers = [Shown()]


def waiting(what: str) -> AbstractContextManager[object]:
    """Show that something longer is under way: a spinner on a terminal, one line elsewhere."""
    if console.is_terminal:
        return Status(what, console=console)
    say(f"{what} …")
    return nullcontext()


def table(title: str, rows: Iterable[Mapping[str, object]]) -> None:
    """Print rows of equal keys as a table."""
    rows = list(rows)
    if not rows:
        return
    grid = Table(title=title, title_justify="left", title_style="bold")
    for column in rows[0]:
        grid.add_column(column)
    for row in rows:
        grid.add_row(*(Text(str(value)) for value in row.values()))
    console.print(grid)


def counted(items: Iterable[T], total: int, what: str) -> Iterable[T]:
    """The same items, with a bar on a terminal that says how many of them have passed."""
    return track(items, what, total, console=console, transient=True, disable=not console.is_terminal)


class TrainingProgress:
    """Observer of a fit that shows it: one line an epoch, on a terminal above a bar with rate and time left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Progress | None = None
        self.rate = 0.0

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        self.batch_size = batch_size
        self.done, self.seconds, self.then = done, 0.0, time.perf_counter()
        if console.is_terminal:
            self.bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[figures]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=steps, completed=done, figures="")
        else:
            say(f"{self.name}: {steps} steps" + (f", {done} of them done before" if done else ""))

    def step_finished(self, step: int, loss: float) -> None:
        now = time.perf_counter()
        self.seconds, self.then = self.seconds + now - self.then, now
        self.rate = (step - self.done) * self.batch_size / max(self.seconds, 1e-9)
        if self.bar:
            self.bar.update(self.task, completed=step, figures=f"{self.rate:,.0f} images/s  loss {loss:.4g}")

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        figures = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        self.then = time.perf_counter()  # validation is not training
        say(f"{self.name}: epoch {epoch}  {figures}" + (f"  {self.rate:,.0f} images/s" if self.rate else ""))

    def checkpoint_saved(self) -> None:
        """Nothing to show."""

    def fit_finished(self) -> None:
        if self.bar:
            self.bar.stop()


class Board:
    """How trials in other processes get on: a live table on a terminal, elsewhere a line for each piece of news."""

    SHOWN = 20  # rows: a longer live table would not fit on a screen

    def __init__(self, names: Iterable[str]) -> None:
        self.states = dict.fromkeys(names, "waiting")
        self.live = Live(console=console, transient=True) if console.is_terminal else None

    def __enter__(self) -> Board:
        if self.live:
            self.live.start()
            self.live.update(self.table())
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, name: str, state: str) -> None:
        """What a trial does now."""
        if self.states[name] == state:
            return
        self.states[name] = state
        if self.live:
            self.live.update(self.table())
        else:
            say(f"{name}: {state}")

    def table(self) -> Table:
        """Those at work first, then those that wait, then those that have ended."""

        def order(item: tuple[str, str]) -> int:
            return {"running": 0, "waiting": 1, "done": 3}.get(item[1], 0 if item[1].startswith("epoch") else 2)

        grid = Table(caption=f"{sum(state == 'done' for state in self.states.values())} of {len(self.states)} done")
        grid.add_column("trial")
        grid.add_column("state")
        for name, state in sorted(self.states.items(), key=order)[: self.SHOWN]:
            grid.add_row(Text(name), Text(state))  # as it is: an error may hold square brackets
        return grid
