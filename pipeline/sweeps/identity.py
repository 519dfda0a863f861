"""What makes a trial the same trial: its configuration, its data, and the code that decides its result."""

from __future__ import annotations

import ast
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache

from pipeline.data.source_code import imported_modules, imports_of, is_ours, module_digest, module_file, parsed
from pipeline.data.store import ImageStore
from pipeline.studies.experiments import STUDIES
from pipeline.trials import ClassificationTrial, StudyTrial, Trial, as_numbers

CLASSIFICATION = "pipeline.training.classification"
DENOISING = "pipeline.training.denoising"
NETWORKS = "pipeline.models"
# Of the data room only what hands images out: what others read and prepared, the digest of the images covers.
ROOMS = (
    "pipeline.data.store",
    "pipeline.data.datasets",
    "pipeline.data.mnist_doubts",
    "pipeline.metrics",
    "pipeline.models",
    "pipeline.training",
    "pipeline.studies",
)


@dataclass(frozen=True)
class Identity:
    """All that decides a trial's result, as JSON, and its digest."""

    text: str

    @property
    def fingerprint(self) -> str:
        """sha256 of the text: two trials with the same are one trial."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def recipe_of(trial: Trial) -> str:
    """The module that runs trials of this kind."""
    if isinstance(trial, StudyTrial):
        return STUDIES[trial.study][trial.model]
    return CLASSIFICATION if isinstance(trial, ClassificationTrial) else DENOISING


def identify(trial: Trial, images: ImageStore) -> Identity:
    """The identity of a trial on a store."""
    parts = {
        "kind": type(trial).__name__,
        "trial": as_numbers(asdict(trial)),
        "data": images.manifest.digest,
        "code": code_of(recipe_of(trial), trial.model),
    }
    return Identity(json.dumps(parts, sort_keys=True, separators=(",", ":")))


@cache
def code_of(recipe: str, model: str) -> dict[str, str]:
    """Short digests of the meaning of the modules that decide a result.

    They are the recipe's, the network's, and all that these import from the rooms; a study names its networks itself.
    The table of networks is left out: a network that joins it does not make the trials of others stale.
    """
    if recipe.startswith("pipeline.studies."):
        modules = imported_modules([recipe], ROOMS, leave_out=NETWORKS)
        return {name: module_digest(module_file(name))[:16] for name in modules}
    network = network_module(recipe, model)
    modules = imported_modules([recipe, network], ROOMS, leave_out="" if network == NETWORKS else NETWORKS)
    return {name: module_digest(module_file(name))[:16] for name in modules}


def network_module(recipe: str, model: str) -> str:
    """The module that a name leads to in the table of `pipeline.models` that the recipe imports.

    It is read off the source: importing brings torch. What can't be read off (no bare name of an imported class) leads
    to the tables: then every network counts.
    """
    origin = {name: module for module, name in imports_of(NETWORKS)}
    wanted = {name for module, name in imports_of(recipe) if module == NETWORKS}
    for node in parsed(module_file(NETWORKS)).body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if node.target.id in wanted and isinstance(node.value, ast.Dict):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == model and isinstance(value, ast.Name):
                    return origin.get(value.id, NETWORKS)
    return NETWORKS


def code_changed(identity: str) -> list[str]:
    """Modules that mean something else now than when a trial of this identity (its text) was made."""
    code: dict[str, str] = json.loads(identity)["code"]
    return [
        name
        for name, digest in code.items()
        if not (module_file(name).exists() and module_digest(module_file(name)).startswith(digest))
    ]


def networks_changed(identity: str) -> list[str]:
    """As `code_changed`, of the modules of networks."""
    return [name for name in network_modules(identity) if name in code_changed(identity)]


def network_modules(identity: str) -> list[str]:
    """The modules of networks in a trial's identity (its text), and what they import from beside this package."""
    code: dict[str, str] = json.loads(identity)["code"]
    return [name for name in code if f"{name}.".startswith(f"{NETWORKS}.") or not is_ours(name)]
