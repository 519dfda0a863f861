"""`mlflow models serve` answers for what was trained, with the very predictions of the model in this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.config import Run
from pipeline.data.store import ImageStore
from pipeline.tracking.store import open_store, store_uri
from tests.stages.test_ui import free_port

pytestmark = pytest.mark.server
BIN = Path(sys.executable).parent


@contextmanager
def served(home: Path, model: str, log: Path) -> Iterator[str]:
    """The address of a server of a model from the registry, as the README starts it."""
    port = free_port()
    with log.open("wb") as output:
        server = subprocess.Popen(
            [BIN / "mlflow", "models", "serve", "-m", model, "--env-manager", "local", "--port", str(port)],
            env={
                **os.environ,
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # it calls uvicorn by name
                "MLFLOW_TRACKING_URI": store_uri(Run(home=home)),
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert server.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def asked(address: str, images: np.ndarray) -> np.ndarray:
    """The predictions for a batch."""
    content = json.dumps({"inputs": images.tolist()}).encode()
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return np.array(json.load(answer)["predictions"], np.float32)


def refused(address: str, images: np.ndarray) -> int:
    """The status of an answer to what is wrong."""
    with pytest.raises(urllib.error.HTTPError) as error:
        asked(address, images)
    return error.value.code


def here(home: Path, model: str, images: np.ndarray) -> np.ndarray:
    """The predictions of the same model in this process."""
    open_store(Run(home=home))
    predictions: np.ndarray = mlflow.pyfunc.load_model(model).predict(images)
    return predictions


def test_a_classifier_is_served(trained_home: Path, digits: ImageStore, tmp_path: Path) -> None:
    model = "models:/demo-digits-classifier@champion"
    images = (digits.images[-3:] / 255).astype(np.float32)
    with served(trained_home, model, tmp_path / "log") as address:
        logits = asked(address, images)
        assert logits.shape == (3, 10)
        np.testing.assert_allclose(logits, here(trained_home, model, images), atol=1e-5)
        assert asked(address, images[:1]).shape == (1, 10)
        assert refused(address, images[:, :, :27]) == 400
        assert refused(address, images[:, 0]) == 400


@pytest.mark.parametrize("name", ["demo-patches-denoiser-0.01", "demo-patches-denoiser"])
def test_a_denoiser_is_served_for_images_of_any_size(
    trained_home: Path, patches: ImageStore, tmp_path: Path, name: str
) -> None:
    model = f"models:/{name}@champion"
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, *patches.images.shape[1:]))
    images = (patches.images[:2] / 255 + noise).astype(np.float32)
    wide = np.tile(images, (1, 1, 1, 2))
    with served(trained_home, model, tmp_path / "log") as address:
        for batch in (images, wide):
            denoised = asked(address, batch)
            assert denoised.shape == batch.shape
            np.testing.assert_allclose(denoised, here(trained_home, model, batch), atol=1e-5)
        assert refused(address, images[:, :1]) == 400
