"""How the tracking store is, looked at without changing anything."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pipeline.config import Run
from pipeline.tracking.access import require_access, require_server
from pipeline.tracking.addresses import without_password
from pipeline.tracking.local_store import file_of, moved_from
from pipeline.tracking.store import RunRecord, TrackingStore, artifacts_of, connected, store_uri

SECONDS_TO_ANSWER = 5


@dataclass
class StoreState:
    """What is in a store, and what is wrong with it in words that say what to do."""

    address: str
    store: TrackingStore | None = None
    """None where there is no store yet."""
    runs: dict[str, list[RunRecord]] = field(default_factory=dict)
    """All runs by the id of the experiment."""
    faults: list[str] = field(default_factory=list)


def examine(run: Run) -> StoreState:
    """Look at the store. Raises `UserError`, and what MLflow raises, if it can't be read; that takes seconds."""
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(SECONDS_TO_ANSWER)
    uri = store_uri(run)
    state = StoreState(without_password(uri))
    file = file_of(uri)
    if file and not file.exists():
        return state
    if uri.startswith("http"):
        require_server(uri, SECONDS_TO_ANSWER)
    state.store = connected(run)
    if uri.startswith("http"):
        require_access(state.store.client, uri)
    state.runs = {
        experiment_id: state.store.search(experiment_id, "") for experiment_id, _ in state.store.experiments()
    }
    if file:
        artifacts = artifacts_of(run)
        moved = moved_from(file, artifacts)
        if moved:
            was = " and ".join(map(str, moved))
            state.faults.append(
                f"this folder was {was} before; any command that uses the runs, such as make ui, mends that"
            )
        elif any(state.runs.values()) and not artifacts.exists():
            state.faults.append(f"{artifacts} is gone, and with it the runs' images, models and files; put it back")
    return state
