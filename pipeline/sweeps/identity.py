"""What makes a trial the same trial: its configuration, its data, and the code that decides its result."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

from pipeline.config import Trial
from pipeline.data.source_code import imported_modules, module_digest, module_file
from pipeline.data.store import ImageStore

NETWORKS = "pipeline.models"
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
        "code": code_of(recipe, trial.model),
    }
    return Identity(json.dumps(parts, sort_keys=True, separators=(",", ":")))


@cache
def code_of(recipe: str, model: str) -> dict[str, str]:
    """Short digests of the meaning of the modules that decide a result.

    They are the recipe's, the network's, and all that these import from the rooms. The table of networks is left out:
    a network that joins it does not make the trials of others stale.
    """
    network = network_module(model)
    modules = imported_modules([recipe, network], ROOMS, leave_out="" if network == NETWORKS else NETWORKS)
    return {name: module_digest(module_file(name))[:16] for name in modules}


def network_module(model: str) -> str:
    """The module that a name in the tables of `pipeline.models` leads to, read off the source: importing brings torch.

    What can't be read off (no bare name of an imported class) leads to the tables: then every network counts.
    """
    tree = ast.parse(module_file(NETWORKS).read_text(encoding="utf-8"))
    origin: dict[str, str] = {}
    entries: dict[object, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            origin |= {alias.asname or alias.name: node.module for alias in node.names}
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(value, ast.Name):
                    entries[key.value] = value.id
    return origin.get(entries.get(model, ""), NETWORKS)
