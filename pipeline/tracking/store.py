"""The tracking store: opened once a command, made whole before anything is written to it."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import Run
from pipeline.errors import UserError
from pipeline.tracking import keys, views
from pipeline.tracking.access import leave_to_all, require_access, require_server
from pipeline.tracking.addresses import with_driver
from pipeline.tracking.local_store import file_of, open_local, uri_of
from pipeline.tracking.views import Charts

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from mlflow import MlflowClient
    from mlflow.entities import Experiment
    from mlflow.entities import Run as MlflowRun

# No usage data is sent anywhere, and a model from the store can't run code when it is loaded.
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It prints two lines a run, with links that show no charts.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server may be away for four minutes: a call waits 0, 4, 8, 16, 32, 64 and 120 seconds between its tries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "7",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "2",
}
PAGE = 5000
"""Of what a search finds, at a time."""


@dataclass(frozen=True)
class RunRecord:
    """A run as it stands in the store."""

    run_id: str
    name: str
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    status: str
    ended_ms: int

    @classmethod
    def of(cls, run: MlflowRun) -> RunRecord:
        return cls(
            run_id=run.info.run_id,
            name=run.info.run_name,
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(run.data.tags),
            status=run.info.status,
            ended_ms=run.info.end_time or 0,
        )

    @property
    def trained(self) -> bool:
        """Whether there was anything to train."""
        return self.params["params_n"] != "0"

    def wanted_ms(self, owner: str) -> tuple[float, float]:
        """When it ended or was last asked for again: by a home, 0 if never, and by any. What it asked for comes first.

        Where several people share a store, each sees their own work first.
        """
        asked = {key: int(when) / 1e6 for key, when in self.tags.items() if key.startswith(keys.REQUESTED)}
        its = [asked.get(keys.requested_by(owner), 0.0)]
        if self.tags.get(keys.OWNER) == owner:
            its += [self.ended_ms, asked.get(keys.REQUESTED, 0.0)]  # the latter of runs from before homes were named
        return max(its), max([self.ended_ms, *asked.values()])


class TrackingStore:
    """MLflow's store: runs go in through `recording`, come out as `RunRecord`s."""

    def __init__(self, uri: str, client: MlflowClient, artifacts: Path | None) -> None:
        self.uri = uri
        self.client = client
        self.artifacts = artifacts
        """Folder of the artifacts of a local store; None where a server keeps them."""

    def find_experiment(self, name: str, data_digest: str) -> str | None:
        """Id of the experiment of a name that holds results on this data, or None.

        Raises `UserError` if it was deleted in the UI: MLflow keeps its name and takes no runs for it.
        """
        for candidate in names(name, data_digest):
            experiment = self.client.get_experiment_by_name(candidate)
            if experiment and experiment.tags.get(keys.DATA_DIGEST) == data_digest and self.reaches(experiment):
                if experiment.lifecycle_stage == "deleted":
                    restore = f".venv/bin/mlflow experiments restore --experiment-id {experiment.experiment_id}"
                    raise UserError(
                        f"the MLflow experiment {candidate} was deleted; "
                        f"bring it back with `{restore}`, or remove it for good with `.venv/bin/mlflow gc`"
                    )
                return str(experiment.experiment_id)
        return None

    def experiment(self, name: str, data_digest: str, description: str, charts: Charts | None = None) -> str:
        """As `find_experiment`, made if missing, with the charts that its page shows.

        A name that is taken gets the digest's first letters.
        """
        found = self.find_experiment(name, data_digest)
        if found is not None:
            return found
        name = next(free for free in names(name, data_digest) if self.client.get_experiment_by_name(free) is None)
        tags = {
            keys.DATA_DIGEST: data_digest,
            "mlflow.experimentKind": "custom_model_development",
            keys.NOTE: description,
        }
        if charts:
            tags[views.TAG] = views.saved_view(charts)
        location = None
        if self.artifacts is not None:
            tags[keys.PROJECT_ROOT] = str(self.artifacts.parent)
            location = str(self.artifacts / name)
        from mlflow.exceptions import MlflowException

        try:
            made = str(self.client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException:
            found = self.find_experiment(name, data_digest)
            if found is None:
                raise
            return found  # another process was faster
        if self.uri.startswith("http"):
            leave_to_all(self.uri, made)
        return made

    def reaches(self, experiment: Experiment) -> bool:
        """Whether the files of an experiment can be read from here.

        A local store and a server over it do not see each other's: the one keeps paths, which are of one machine, the
        other its own addresses.
        """
        if self.artifacts is not None:
            return not experiment.artifact_location.startswith("mlflow-artifacts:")
        return keys.PROJECT_ROOT not in experiment.tags

    def present(self, experiment_id: str, description: str, charts: Charts, sweep: str | None = None) -> None:
        """Renew what an experiment's page says and shows: all its trials, or those of a sweep."""
        self.client.set_experiment_tag(experiment_id, keys.NOTE, description)
        self.client.set_experiment_tag(experiment_id, views.TAG, views.saved_view(charts, sweep))

    def has_charts(self, experiment_id: str) -> bool:
        """Whether charts are prepared for an experiment's page."""
        return views.TAG in self.client.get_experiment(experiment_id).tags

    def last_used(self, experiment_id: str) -> int:
        """When the newest run of an experiment was started, in milliseconds; 0 for none."""
        newest = self.client.search_runs([experiment_id], order_by=["attributes.start_time DESC"], max_results=1)
        return newest[0].info.start_time if newest else 0

    def experiments(self) -> list[tuple[str, str]]:
        """(id, name) of the experiments that this project made, in the order of their names."""
        found = every(lambda most, token: self.client.search_experiments(max_results=most, page_token=token))
        return sorted(
            ((str(e.experiment_id), e.name) for e in found if keys.DATA_DIGEST in e.tags), key=lambda pair: pair[1]
        )

    def finished(self, experiment_id: str, kind: str) -> list[RunRecord]:
        """Every complete run of a kind, oldest first."""
        query = f"tags.{keys.KIND} = '{kind}' and tags.`{keys.COMPLETE}` = '1' and attributes.status = 'FINISHED'"
        return self.search(experiment_id, query)

    def trials(self, experiment_id: str) -> list[RunRecord]:
        """Every run of a trial, finished or not, oldest first."""
        return self.search(experiment_id, f"tags.{keys.KIND} = '{keys.KIND_TRIAL}'")

    def running(self, experiment_id: str, owner: str) -> list[RunRecord]:
        """The runs of a home that are not ended, whether anybody is at them or not."""
        return self.search(experiment_id, f"attributes.status = 'RUNNING' and tags.`{keys.OWNER}` = '{owner}'")

    def of_trial(self, experiment_id: str, fingerprint: str) -> list[RunRecord]:
        """Every run of a trial, finished or not, oldest first."""
        query = f"tags.{keys.KIND} = '{keys.KIND_TRIAL}' and tags.{keys.FINGERPRINT} = '{fingerprint}'"
        return self.search(experiment_id, query)

    def run(self, run_id: str) -> RunRecord:
        """A run as it stands now."""
        return RunRecord.of(self.client.get_run(run_id))

    def search(self, experiment_id: str, query: str) -> list[RunRecord]:
        """All runs that a query finds: those that have not ended, then the others, oldest first."""
        found = every(
            lambda most, token: self.client.search_runs([experiment_id], query, max_results=most, page_token=token)
        )
        return sorted(map(RunRecord.of, found), key=lambda run: (run.ended_ms, run.run_id))

    def add_to_sweep(self, run: RunRecord, sweep: str) -> None:
        """Tag a run as part of a sweep, besides those it is part of already."""
        if sweep not in run.tags.get(keys.SWEEP, "").split():
            others = self.run(run.run_id).tags.get(keys.SWEEP, "").split()  # one may have joined since it was read
            self.tag(run.run_id, keys.SWEEP, " ".join([*others, sweep]))

    def note_request(self, run_ids: Iterable[str], owner: str) -> None:
        """Tag runs that are reused as asked for now, by a home."""
        for run_id in run_ids:
            self.tag(run_id, keys.requested_by(owner), str(time.time_ns()))

    def tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run, also of one that has ended."""
        self.client.set_tag(run_id, key, value)

    def close(self, run_id: str, status: str, reason: str | None = None) -> None:
        """End a run that nobody is at any more, as KILLED or FAILED."""
        if reason is not None:
            self.tag(run_id, keys.FAILURE, reason)
        self.client.set_terminated(run_id, status)

    def put_away(self, run_id: str) -> None:
        """Move a run to MLflow's trash; where a server lets only its administrator, mark it as put away."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.delete_run(run_id)
        except MlflowException as error:
            if error.get_http_status_code() != 403:
                raise
            self.tag(run_id, keys.KIND, keys.KIND_PUT_AWAY)

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of every point of a metric, in the order they were logged."""
        return [(point.step, point.value) for point in self.client.get_metric_history(run_id, metric)]

    def array(self, run_id: str, artifact: str) -> NDArray[Any]:
        """An array that a run has logged."""
        with tempfile.TemporaryDirectory() as folder:
            array: NDArray[Any] = np.load(self.client.download_artifacts(run_id, artifact, folder), allow_pickle=False)
        return array

    def weights(self, run_id: str, artifact: str) -> dict[str, torch.Tensor]:
        """A network's state that a run has logged, on the CPU."""
        import torch

        with tempfile.TemporaryDirectory() as folder:
            file = self.client.download_artifacts(run_id, artifact, folder)
            state: dict[str, torch.Tensor] = torch.load(file, map_location="cpu", weights_only=True)
        return state

    def tables(self, run_id: str) -> dict[str, pd.DataFrame]:
        """The tables that a run has logged as CSV, but for those in folders, by the name without ending."""
        files = [entry.path for entry in self.client.list_artifacts(run_id)]
        return {file.removesuffix(".csv"): self.table(run_id, file) for file in files if file.endswith(".csv")}

    def table(self, run_id: str, artifact: str) -> pd.DataFrame:
        """A table that a run has logged as CSV."""
        import pandas as pd

        with tempfile.TemporaryDirectory() as folder:
            return pd.read_csv(self.client.download_artifacts(run_id, artifact, folder))

    def download(self, run_id: str, artifact: str, folder: Path) -> Path:
        """Copy an artifact of a run into a folder; returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        return Path(self.client.download_artifacts(run_id, artifact, str(folder)))


def every(search: Callable[[int, str | None], Iterable[Any]]) -> list[Any]:
    """All that one of MLflow's searches finds, page by page."""
    from mlflow.utils import get_results_from_paginated_fn

    found: list[Any] = get_results_from_paginated_fn(search, PAGE)
    return found


def names(name: str, data_digest: str) -> tuple[str, str, str]:
    """What an experiment may be called: two others may have its name, on other data or out of reach."""
    longer = f"{name}-{data_digest[:8]}"
    return name, longer, f"{longer}-2"


def store_uri(run: Run) -> str:
    """Address of the tracking store: as configured, else mlflow.db in the home folder.

    The latter is MLflow's own default seen from there, so a plain `mlflow ui` typed in that folder shows the same runs.
    """
    if run.tracking_uri:
        return with_driver(run.tracking_uri)
    return uri_of(run.home.resolve() / "mlflow.db")


def artifacts_of(run: Run) -> Path:
    """Folder of the artifacts of a local store."""
    return run.home.resolve() / "mlruns"


def open_store(run: Run, patient: bool = False) -> TrackingStore:
    """Open the tracking store; a local one is created first, and follows its folder where that was moved.

    Raises `UserError` where no server answers or it lets nobody in, unless `patient`: then whatever is asked of it
    waits for minutes.
    """
    uri = store_uri(run)
    if file := file_of(uri):
        open_local(file, artifacts_of(run))
    if uri.startswith("http") and not patient:
        require_server(uri)
    store = connected(run)
    if uri.startswith("http") and not patient:
        require_access(store.client, uri)
    return store


def connected(run: Run) -> TrackingStore:
    """The tracking store as it is: nothing is made, mended or waited for."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    # It prints the traceback of what it raises as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri = store_uri(run)
    mlflow.set_tracking_uri(uri)
    return TrackingStore(uri, mlflow.MlflowClient(), artifacts_of(run) if file_of(uri) else None)
