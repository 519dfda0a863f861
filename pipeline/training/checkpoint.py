"""A training as it stands, on disk: written beside its place and renamed, read without running anything."""

from __future__ import annotations

import io
import logging
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

FILE = "checkpoint.pt"


@dataclass
class Checkpoints:
    """The last checkpoint of one trial."""

    folder: Path
    every_seconds: float
    saved: float = field(init=False, default_factory=time.monotonic)

    @property
    def due(self) -> bool:
        """Whether the last one is old enough for another."""
        return time.monotonic() - self.saved >= self.every_seconds

    def save(self, state: dict[str, Any]) -> None:
        """Replace the last one. A kill at any moment leaves one or the other whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Made in memory first: torch's own writing to a full disk fails with an error that does not say so.
        content = io.BytesIO()
        torch.save(state, content)
        building = self.folder / f"{FILE}.building"
        with building.open("wb") as file:
            file.write(content.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        building.replace(self.folder / FILE)
        self.saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The last one, in the CPU's memory, or None."""
        try:
            state: dict[str, Any] = torch.load(self.folder / FILE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        # A damaged file raises nearly anything.
        except Exception as error:
            if isinstance(error, OSError | MemoryError) or "allocate memory" in str(error):
                raise  # the file is well, and the same command goes on once there is room
            logger.warning("%s can't be read, so the training starts anew: %s", self.folder / FILE, error)
            self.clear()
            return None
        return state

    def clear(self) -> None:
        """Forget it: the training is done, or can't go on."""
        shutil.rmtree(self.folder, ignore_errors=True)
