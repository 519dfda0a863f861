"""Trials in processes of this machine, several at a time.

Each place at work is an executor of a single process. In one executor of many, the death of one process (killed, or out
of memory) would end them all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection

from pipeline.startup import collect_less
from pipeline.sweeps.attempt import Outcome, attempt
from pipeline.sweeps.plan import Planned
from pipeline.sweeps.trial import Site

TRIES = 2
SECONDS_BETWEEN_LOOKS = 2.0


def in_processes(todo: Sequence[Planned], site: Site, jobs: int) -> Generator[Outcome | None, None, None]:
    """The outcome of every trial as it ends; None now and then, for whoever looks at how they get on.

    Closing the iterator kills the trials that are under way; so does the end of this process, whatever ends it.
    """
    places = Places(site)
    with ThreadPoolExecutor(jobs) as drivers:
        pending = {drivers.submit(places.run, one) for one in todo}
        try:
            while pending:
                done, pending = wait(pending, SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
                yield from (future.result() for future in done)
                yield None
        finally:
            for future in pending:
                future.cancel()
            places.close()


class Places:
    """Where trials are run: a process for each thread that asks, kept for its next trial."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.context = multiprocessing.get_context("spawn")
        self.leash, self.hand = self.context.Pipe(duplex=False)
        self.own = threading.local()
        self.executors: list[ProcessPoolExecutor] = []
        self.closed = False

    def run(self, planned: Planned) -> Outcome:
        """Run a trial, twice if its process dies of it: the second time it goes on from its checkpoint."""
        for _ in range(TRIES):
            try:
                return self.executor().submit(work, planned, self.site).result()
            except BrokenProcessPool:
                self.own.executor = None
                if self.closed:
                    break
        return Outcome(planned.identity.fingerprint, f"its process died {TRIES} times: killed, or out of memory")

    def executor(self) -> ProcessPoolExecutor:
        """This thread's."""
        executor: ProcessPoolExecutor | None = getattr(self.own, "executor", None)
        if executor is None:
            executor = ProcessPoolExecutor(1, self.context, initializer=start, initargs=(self.leash,))
            self.own.executor = executor
            self.executors.append(executor)
        return executor

    def close(self) -> None:
        """End every process at once."""
        self.closed = True
        self.hand.close()
        for executor in self.executors:
            executor.shutdown(cancel_futures=True)
        self.leash.close()


def start(leash: Connection) -> None:
    """Make a process ready: it ends with the one that started it, and leaves Ctrl-C to that one."""
    collect_less()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(leash,), daemon=True).start()


def end_with(leash: Connection) -> None:
    """Wait until nobody holds the other end any more: it was let go, or its process is dead."""
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)


def work(planned: Planned, site: Site) -> Outcome:
    """One trial, in such a process."""
    return attempt(planned, site, *site.opened())
