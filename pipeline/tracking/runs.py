"""Writing one run: opened, filled, and closed with the right status whatever happens inside."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from pipeline.data.store import ImageStore
from pipeline.interruption import interrupted
from pipeline.tracking import keys
from pipeline.tracking.environment import environment_tags
from pipeline.tracking.store import TrackingStore
from pipeline.tracking.trouble import server_is_away, trouble

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.figure import Figure
    from mlflow.models import ModelSignature
    from PIL.Image import Image

logger = logging.getLogger(__name__)


class Recorder:
    """Writes to one run; also an observer of training, whose curves it logs from step 1."""

    def __init__(self, store: TrackingStore, run_id: str, epochs_logged: int = 0, spent: float = 0.0) -> None:
        self.client = store.client
        self.run_id = run_id
        self.epochs_logged = epochs_logged
        """What an earlier process has written of the curves."""
        self.started = time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds so far, over all processes, as far as those before have told."""
        return time.monotonic() - self.started

    def params(self, params: Mapping[str, object]) -> None:
        """What was set: logged once."""
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in params.items()])

    def metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """What was measured, in one write."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, [Metric(key, value, now, step) for key, value in metrics.items()])

    def tag(self, key: str, value: str) -> None:
        """A text to search for."""
        self.client.set_tag(self.run_id, key, value)

    def forget_failure(self) -> None:
        """A run that failed before and is complete now has no reason of failure any more."""
        if keys.FAILURE in self.client.get_run(self.run_id).data.tags:
            self.client.delete_tag(self.run_id, keys.FAILURE)

    def figure(self, figure: Figure, file: str) -> None:
        """A figure as an artifact at the root, where Compare shows it side by side."""
        self.client.log_figure(self.run_id, figure, file)

    def image(self, image: Image, key: str) -> None:
        """An image for the chart view's grid: same key and step in every run, so they stand side by side."""
        self.client.log_image(self.run_id, image, key=key, step=0)

    def text(self, content: str, file: str) -> None:
        """A text as an artifact."""
        self.client.log_text(self.run_id, content, file)

    def table(self, table: pd.DataFrame, file: str) -> None:
        """A table as an artifact, `.csv`."""
        self.text(table.to_csv(index=False), file)

    def array(self, array: NDArray[Any], file: str) -> None:
        """An array as an artifact, `.npy`."""
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / file, array)
            self.client.log_artifact(self.run_id, str(Path(folder) / file))

    def weights(self, state: Mapping[str, torch.Tensor], file: str) -> None:
        """A network's state as an artifact, for this project's code to load."""
        import torch

        with tempfile.TemporaryDirectory() as folder:
            torch.save(dict(state), Path(folder) / file)
            self.client.log_artifact(self.run_id, str(Path(folder) / file))

    def json(self, content: Mapping[str, Any], file: str) -> None:
        """A dictionary as an artifact."""
        self.client.log_dict(self.run_id, dict(content), file)

    def dataset(self, images: ImageStore) -> None:
        """What the run was computed from, under our own digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        manifest = images.manifest
        source = json.dumps({"files": [vars(file) for file in manifest.sources]})
        # MLflow takes at most 36 characters of digest.
        dataset = Dataset(manifest.title, manifest.digest[:32], "local", source)
        inputs = [DatasetInput(dataset, [InputTag("mlflow.data.context", "train, test")])]
        try:
            self.client.log_inputs(self.run_id, inputs)
        except MlflowException as error:
            if "datasets" not in str(error):
                raise
            # Two trials were the first to name this dataset: it can be there only once, and now it is.
            self.client.log_inputs(self.run_id, inputs)

    def model(self, model: torch.nn.Module, name: str, example: torch.Tensor, any_size: bool = False) -> None:
        """The model in torch's export format, which loads without this project's code and without pickle.

        `example` is a batch (b, c, h, w) of at least 2: one image would fix the batch size to 1. With `any_size` the
        signature, and so the export, leaves h and w open; else they are those of the example. A network that can't be
        exported keeps its run, which says why.
        """
        import mlflow
        import torch.fx.experimental._config as fx
        from mlflow.exceptions import MlflowException

        # Its advice on devices does not apply: the example decides.
        logging.getLogger("mlflow.pytorch").setLevel(logging.ERROR)
        # In `channels_last` the export would take no batch of a single image in colour.
        model, example = model.cpu().eval(), example.cpu().contiguous()
        # Else what is 1 for the example's size, such as a number of windows, would be exported as 1 for all sizes.
        try:
            with (
                fx.patch(backed_size_oblivious=True),  # type: ignore[attr-defined] # not in torch's stubs
                requirements_unchecked(),
            ):
                mlflow.pytorch.log_model(
                    model,
                    name=name,
                    signature=signature_of(model, example, any_size),
                    input_example=example.numpy(),
                    pip_requirements=[
                        f"{package}=={version(package).split('+')[0]}" for package in ("mlflow", "torch")
                    ],
                    # Loading it again and predicting would only tell what the export has just made sure of.
                    validate_serving_input=False,
                )
        except Exception as error:
            # What the export makes of a network's own code can be any error: all but the store's, those of a machine
            # that is short of something, and an interruption.
            short = isinstance(error, MemoryError) or "inline_container" in str(error)  # the latter of a full disk
            if interrupted(error) or trouble(error) or short or isinstance(error, MlflowException | OSError):
                raise
            self.tag(keys.NOT_EXPORTED, f"{type(error).__name__}: {error}".strip().splitlines()[0])

    def fit_started(self, steps: int, done: int, batch_size: int) -> None:
        self.params({"steps": steps})

    def step_finished(self, step: int, loss: float) -> None:
        """A write a step would cost more than the step."""

    def epoch_finished(self, epoch: int, metrics: Mapping[str, float]) -> None:
        if epoch > self.epochs_logged:
            self.metrics(metrics, step=epoch)

    def checkpoint_saved(self) -> None:
        self.tag(keys.SPENT, repr(self.spent))

    def fit_finished(self) -> None:
        """The run goes on: it is evaluated."""


def signature_of(model: torch.nn.Module, example: torch.Tensor, any_size: bool) -> ModelSignature:
    """What a model takes and returns: float32 batches of any number of images."""
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with torch.no_grad():
        output = model(example)

    def schema(batch: torch.Tensor) -> Schema:
        shape = (-1, batch.shape[1], -1, -1) if any_size else (-1, *batch.shape[1:])
        return Schema([TensorSpec(np.dtype(np.float32), shape)])

    return ModelSignature(schema(example), schema(output))


def requirements_unchecked() -> AbstractContextManager[object]:
    """Without MLflow's search of all that is installed for what a model requires.

    It would compare versions with what they have just been read from, in half a second. An MLflow that does not have it
    any more is left as it is.
    """
    return patch("mlflow.utils.environment.warn_dependency_requirement_mismatches", create=True)


@contextmanager
def recording(
    store: TrackingStore,
    experiment_id: str,
    name: str,
    kind: str,
    fingerprint: str,
    tags: Mapping[str, str],
    resume: str | None = None,
) -> Iterator[Recorder]:
    """A new run, or one to resume. Afterwards it is FINISHED and complete, or FAILED with the reason, or KILLED."""
    import mlflow

    tags = {keys.KIND: kind, keys.FINGERPRINT: fingerprint, **environment_tags(), **tags}
    if resume:
        run_id = resume
        for key, value in tags.items():
            store.tag(run_id, key, value)
        epochs_logged = max((step for step, _ in store.history(run_id, keys.TRAIN_LOSS)), default=0)
        spent = float(store.client.get_run(run_id).data.tags.get(keys.SPENT, 0))
        recorder = Recorder(store, run_id, epochs_logged, spent)
    else:
        run_id = store.client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
        recorder = Recorder(store, run_id)
    mlflow.start_run(run_id=run_id)  # what log_model logs to
    try:
        yield recorder
        recorder.metrics({keys.TOTAL_SECONDS: recorder.spent})
        recorder.tag(keys.COMPLETE, "1")
        if resume:
            recorder.forget_failure()
        mlflow.end_run("FINISHED")
    except BaseException as error:
        end_broken_off(recorder, error)
        raise


def end_broken_off(recorder: Recorder, error: BaseException) -> None:
    """Close a run as KILLED or FAILED, with the reason. What can't be closed now, the next command closes."""
    import mlflow

    if server_is_away(error):
        # This process is about to give up; nothing that it still tells the server should wait for minutes again.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    try:
        recorder.tag(keys.SPENT, repr(recorder.spent))
        if not interrupted(error):
            recorder.tag(keys.FAILURE, f"{type(error).__name__}: {error}")
            recorder.text("".join(traceback.format_exception(error)), "traceback.txt")
        mlflow.end_run("KILLED" if interrupted(error) else "FAILED")
    except Exception as another:
        if interrupted(another) or trouble(another) is None:
            raise
        logger.warning("run %s is left open: %s. The next command closes it.", recorder.run_id, trouble(another))
