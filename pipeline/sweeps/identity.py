"""What makes a trial the same trial: its configuration, its data, and the code that decides its result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

from pipeline.config import Trial
from pipeline.data.source_code import imported_modules, module_digest, module_file
from pipeline.data.store import ImageStore

ROOMS = ("pipeline.data", "pipeline.metrics", "pipeline.models", "pipeline.training")


@dataclass(frozen=True)
class Identity:
    """All that decides a trial's result, as JSON, and its digest."""

    text: str

    @property
    def fingerprint(self) -> str:
        """sha256 of the text: two trials with the same are one trial."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def identify(trial: Trial, images: ImageStore, recipe: str) -> Identity:
    """The identity of a trial that the module `recipe` trains on a store."""
    parts = {
        "kind": type(trial).__name__,
        "trial": asdict(trial),
        "data": images.manifest.digest,
        "code": code_of(recipe),
    }
    return Identity(json.dumps(parts, sort_keys=True, separators=(",", ":")))


@cache
def code_of(recipe: str) -> dict[str, str]:
    """Short digests of the meaning of the recipe's module and of all it imports from the rooms that decide results."""
    return {name: module_digest(module_file(name))[:16] for name in imported_modules(recipe, ROOMS)}
