"""Run one trial, and say how it went instead of breaking off the others."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.store import ImageStore
from pipeline.errors import NonFiniteLossError, UserError
from pipeline.interruption import interrupted
from pipeline.sweeps.locks import LockedError
from pipeline.sweeps.plan import Planned
from pipeline.sweeps.trial import Site, run_trial
from pipeline.tracking.store import TrackingStore
from pipeline.tracking.trouble import trouble
from pipeline.training.observer import Observer


@dataclass(frozen=True)
class Outcome:
    """How a trial went."""

    fingerprint: str
    error: str | None = None
    """Why it failed, in one line."""
    traceback: str | None = None
    """Of an error that nobody foresaw."""
    hopeless: bool = False
    """Whether every other trial would fail alike, so that there is no use in trying."""


def attempt(
    planned: Planned, site: Site, images: ImageStore, store: TrackingStore, watchers: Sequence[Observer] = ()
) -> Outcome:
    """Run a trial. Raises only what concerns the command as a whole: `UserError`, and an interruption."""
    fingerprint = planned.identity.fingerprint
    gc.freeze()  # what is there is not the trial's, and need not be looked through for what it leaves
    try:
        run_trial(planned, site, images, store, list(watchers))
    except (NonFiniteLossError, LockedError) as error:
        return Outcome(fingerprint, str(error))
    except UserError:
        raise
    except Exception as error:
        if interrupted(error):
            raise
        general = trouble(error)
        if general:
            return Outcome(fingerprint, general, hopeless=True)
        return Outcome(fingerprint, first_line(error), traceback.format_exc())
    finally:
        gc.collect()  # networks and figures, which cycles would keep for many trials
    return Outcome(fingerprint)


def first_line(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
