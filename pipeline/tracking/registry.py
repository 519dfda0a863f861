"""MLflow's model registry: every trained model, and which of those with one job is the best by validation images."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, every

if TYPE_CHECKING:
    import torch

CHAMPION = "champion"
"""Alias of the best version of a registered model."""
CLASHES = 10
"""How often another process may come in between while the alias is moved."""


@dataclass(frozen=True)
class Job:
    """What a registered model is for: its versions compete by one figure of the same validation images."""

    name: str
    """Of the registered model, such as cifar10-denoiser-0.05."""
    kind: str
    """`keys.KIND_CLASSIFIER` or `keys.KIND_DENOISER`."""
    dataset: str
    data_digest: str
    held_out: str
    """The training images that are for validation, as a share or a number. With the digest it says which these are."""
    figure: str
    """The metric that decides."""

    @property
    def images(self) -> dict[str, str]:
        """Tags that say which images were trained on and validated with."""
        return {keys.DATA_DIGEST: self.data_digest, keys.HELD_OUT: self.held_out}


@dataclass(frozen=True)
class Version:
    """A trained model in the registry."""

    name: str
    number: str
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str] = field(hash=False)

    @property
    def uri(self) -> str:
        """What MLflow's commands take, and what people are told."""
        return f"models:/{self.name}{f'@{self.aliases[0]}' if self.aliases else f'/{self.number}'}"

    @property
    def span(self) -> tuple[float, float]:
        """Least and greatest variance of the noise that a denoiser was trained for; equal for one variance."""
        return float(self.tags[keys.LEAST_VARIANCE]), float(self.tags[keys.GREATEST_VARIANCE])

    @property
    def rank(self) -> tuple[float, float]:
        """Greater is better. Of denoisers for a span the wider comes first: figures at different variances differ."""
        width = self.span[1] / self.span[0] if keys.LEAST_VARIANCE in self.tags else 1.0
        return width, float(self.tags[keys.FIGURE])


def register(store: TrackingStore, job: Job, runs: Iterable[RunRecord]) -> str | None:
    """Add the models of finished runs that are not in the registry yet, and let the best of all be champion.

    Returns a sentence if there is a new one. Several processes may do this at once.
    """
    name = registered_model(store, job)
    known = {version.run_id for version in versions_of(store, name)}
    for run in runs:
        figure = run.metrics.get(job.figure, math.nan)
        model_id = None if run.run_id in known or not math.isfinite(figure) else model_of(store, run.run_id)
        if model_id is None:
            continue
        noise = (keys.LEAST_VARIANCE, keys.GREATEST_VARIANCE, keys.CLIP)
        tags = {
            keys.KIND: job.kind,
            keys.DATASET: job.dataset,
            **job.images,
            keys.NETWORK: run.params["model"],
            keys.SEED: run.params["seed"],
            keys.FINGERPRINT: run.tags[keys.FINGERPRINT],
            keys.FIGURE: repr(figure),
            keys.FIGURE_NAME: job.figure,
            **{key: run.params[key] for key in noise if key in run.params},
            **({keys.GAIN: repr(run.metrics[keys.VAL_PSNR_GAIN])} if keys.VAL_PSNR_GAIN in run.metrics else {}),
        }
        store.client.create_model_version(
            name, f"models:/{model_id}", run.run_id, tags=tags, model_id=model_id, await_creation_for=0
        )
    return crown(store, name)


def registered_model(store: TrackingStore, job: Job) -> str:
    """Name of the registered model of a job, made if missing.

    Where the name is taken for other images, it gets the digest's first letters and the share held out. Raises
    `RuntimeError` where that is somebody else's too.
    """
    from mlflow.exceptions import MlflowException

    longer = f"{job.name}-{job.data_digest[:8]}-{job.held_out}"
    description = f"Trained on {job.dataset}. The alias {CHAMPION} is at the version with the best {job.figure}."
    for name in (job.name, longer):
        try:
            store.client.create_registered_model(name, job.images, description)
            return name
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        if store.client.get_registered_model(name).tags.items() >= job.images.items():
            return name
    raise RuntimeError(f"the registered models {job.name} and {longer} belong to other images")


def crown(store: TrackingStore, name: str) -> str | None:
    """Move the alias to the best version, the earliest of equals, with the reason; returns that if it was moved.

    Looks again after each move: of several processes the last to move it has seen the versions of all others. And
    after each clash: MLflow looks whether there is such a row and then inserts it, which fails where two do so at once.
    """
    from mlflow.exceptions import MlflowException

    reason = None
    clashes = 0
    while versions := versions_of(store, name):
        best = max(versions, key=lambda version: version.rank)
        current = next((version for version in versions if CHAMPION in version.aliases), None)
        if current is not None and current.rank >= best.rank:
            break
        figure = f"{best.tags[keys.FIGURE_NAME]} {float(best.tags[keys.FIGURE]):.5g}"
        than = f"where version {current.number} has {float(current.tags[keys.FIGURE]):.5g}" if current else "the first"
        try:
            store.client.set_model_version_tag(name, best.number, keys.REASON, f"{figure}, {than}")
            store.client.set_registered_model_alias(name, CHAMPION, best.number)
        except MlflowException as error:
            clashes += 1
            if error.error_code != "BAD_REQUEST" or clashes == CLASHES:
                raise
            continue
        reason = f"{name}: version {best.number} ({best.tags[keys.NETWORK]}) is {CHAMPION} now: {figure}, {than}"
    return reason


def versions_of(store: TrackingStore, name: str) -> list[Version]:
    """Every version of a registered model that this project made, oldest first."""
    return found(store, f"name = '{name}'")


def models_of(store: TrackingStore, kind: str, dataset: str) -> list[Version]:
    """Every version of a kind, of whatever job, that was trained on a dataset."""
    return found(store, f"tags.{keys.KIND} = '{kind}' and tags.{keys.DATASET} = '{dataset}'")


def by_name(store: TrackingStore, name: str, kind: str) -> Version | None:
    """The version of a kind that a full name means: NAME (its champion), NAME@alias, NAME/number; models:/ may precede.

    None where there is none.
    """
    name, _, number = name.removeprefix("models:/").partition("/")
    name, _, alias = name.partition("@")
    if re.search(r"[^\w.-]", name):
        return None  # no name of ours, and a quote would end the query
    for version in versions_of(store, name):
        wanted = version.number == number if number else (alias or CHAMPION) in version.aliases
        if wanted and version.tags[keys.KIND] == kind:
            return version
    return None


def found(store: TrackingStore, query: str) -> list[Version]:
    """The versions that a query finds, with their aliases, by name and age."""
    search = store.client.search_model_versions
    matching = every(lambda most, token: search(query, max_results=most, page_token=token))
    versions = [version for version in matching if keys.FIGURE in version.tags]
    # The search leaves aliases out.
    aliases = {name: store.client.get_registered_model(name).aliases for name in {one.name for one in versions}}
    return sorted(
        (
            Version(
                name=one.name,
                number=str(one.version),
                run_id=one.run_id,
                tags=dict(one.tags),
                aliases=tuple(alias for alias, number in aliases[one.name].items() if str(number) == str(one.version)),
            )
            for one in versions
        ),
        key=lambda version: (version.name, int(version.number)),
    )


def model_of(store: TrackingStore, run_id: str) -> str | None:
    """Id of the model that a run has logged; the last, if it was broken off after the first and resumed."""
    outputs = store.client.get_run(run_id).outputs
    logged = [store.client.get_logged_model(one.model_id) for one in (outputs.model_outputs if outputs else [])]
    ready = [one for one in logged if one.status == "READY"]
    return str(max(ready, key=lambda one: one.creation_timestamp).model_id) if ready else None


def load(version: Version) -> tuple[torch.nn.Module, Sequence[int]]:
    """A model for the CPU, without this project's code, and the shape of what it takes: (−1, c, h, w)."""
    import mlflow

    handlers = list(logging.root.handlers)
    model: torch.nn.Module = mlflow.pytorch.load_model(f"models:/{version.name}/{version.number}")
    logging.root.handlers = handlers  # torch.export adds one, which would print all that is logged once more
    return model, input_shape(version)


def input_shape(version: Version) -> Sequence[int]:
    """Shape of a batch that a model takes: (−1, c, h, w), with −1 where any size will do."""
    import mlflow

    signature = mlflow.models.get_model_info(f"models:/{version.name}/{version.number}").signature
    shape: Sequence[int] = signature.inputs.inputs[0].shape
    return shape
