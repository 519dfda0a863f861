"""Trained models are in the registry once, and the champion is the best by validation, whoever comes when."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
from sqlalchemy import event
from sqlalchemy.orm import Session

from pipeline.config import PROJECT_ROOT, Run
from pipeline.models.classifiers import TutorialNet
from pipeline.models.denoisers import Autoencoder
from pipeline.models.residual import ConditionalDenoiser, ResidualDenoiser
from pipeline.tracking import keys, registry
from pipeline.tracking.registry import CHAMPION, Job, Version, register
from pipeline.tracking.runs import recording
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from tests.conftest import Pipeline

JOB = Job("digits-classifier", keys.KIND_CLASSIFIER, "digits", "d" * 64, "0.02", keys.VAL_ACCURACY)


@pytest.fixture
def store(home: Path) -> TrackingStore:
    return open_store(Run(home=home))


def finished(store: TrackingStore, name: str, validation: float, test: float = 0.5) -> RunRecord:
    """A finished run with a model, as a trial leaves it."""
    experiment = store.experiment("digits", "d" * 64, "what it holds")
    with recording(store, experiment, name, keys.KIND_TRIAL, name, {}) as recorder:
        recorder.params({"model": name, "seed": 0})
        recorder.metrics({keys.VAL_ACCURACY: validation, keys.TEST_ACCURACY: test})
        recorder.model(torch.nn.Flatten(), "classifier", torch.zeros(2, 1, 2, 2))
    (run,) = store.of_trial(experiment, name)
    return run


def champion(store: TrackingStore) -> Version:
    (best,) = [one for one in registry.versions_of(store, JOB.name) if CHAMPION in one.aliases]
    return best


def test_the_champion_is_the_best_by_validation_and_never_a_worse_one(store: TrackingStore) -> None:
    for name, validation, test, best in [
        ("good", 0.9, 0.9, "good"),
        ("better", 0.95, 0.1, "better"),  # worse on test images, which decide nothing
        ("worse", 0.93, 0.99, "better"),
        ("equal", 0.95, 0.99, "better"),
        ("broken", float("nan"), 0.99, "better"),
    ]:
        register(store, JOB, [finished(store, name, validation, test)])
        assert champion(store).tags[keys.NETWORK] == best
    assert champion(store).tags[keys.REASON] == "val/accuracy 0.95, where version 1 has 0.9"
    assert len(registry.versions_of(store, JOB.name)) == 4, "what has no figure can't be compared"


def test_a_model_is_registered_once_and_comes_with_where_it_is_from(store: TrackingStore) -> None:
    run = finished(store, "net", 0.9)
    assert (
        register(store, JOB, [run]) == "digits-classifier: version 1 (net) is champion now: val/accuracy 0.9, the first"
    )
    assert register(store, JOB, [run]) is None
    (version,) = registry.versions_of(store, JOB.name)
    assert (version.run_id, version.tags[keys.DATA_DIGEST]) == (run.run_id, "d" * 64)
    assert store.run(version.run_id).name == "net"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"data_digest": "e" * 64}, "digits-classifier-eeeeeeee-0.02"),
        ({"held_out": 0.1}, "digits-classifier-dddddddd-0.1"),
    ],
)
def test_other_images_have_a_registered_model_of_their_own(
    changed: dict[str, Any], name: str, store: TrackingStore
) -> None:
    run = finished(store, "net", 0.9)
    register(store, JOB, [run])
    better = finished(store, "better by other images", 0.99)
    assert register(store, replace(JOB, **changed), [better]) is not None
    assert len(registry.versions_of(store, name)) == 1
    assert champion(store).tags[keys.NETWORK] == "net", "figures of other validation images don't compete"


@pytest.mark.slow
def test_processes_that_register_at_once_agree_on_the_champion(store: TrackingStore, home: Path) -> None:
    code = (
        "import sys, pathlib; from pipeline.config import Run; from tests.tracking import test_registry as t\n"
        "store = t.open_store(Run(home=pathlib.Path(sys.argv[1])))\n"
        "t.register(store, t.JOB, [t.finished(store, f'net{k}', float(k) / 100) for k in sys.argv[2:]])"
    )
    groups = (("10", "90"), ("20", "80"), ("30", "70"), ("99", "5"))
    workers = [subprocess.Popen([sys.executable, "-c", code, str(home), *group], cwd=PROJECT_ROOT) for group in groups]
    assert [worker.wait(timeout=200) for worker in workers] == [0] * len(groups)
    assert len(registry.versions_of(store, JOB.name)) == 8
    assert champion(store).tags[keys.NETWORK] == "net99"


@pytest.mark.parametrize("row", [{"key": keys.REASON}, {"alias": CHAMPION}], ids=str)
def test_a_row_that_another_process_writes_first_is_no_failure(row: dict[str, str], store: TrackingStore) -> None:
    clashes = []

    def come_between(session: Session, *_: object) -> None:
        """Write the same row after MLflow has looked whether it is there, before it inserts it."""
        for new in session.new:
            if not clashes and row.items() <= vars(new).items():
                clashes.append(new)
                with session.get_bind().begin() as other:
                    columns = new.__table__.columns
                    other.execute(new.__table__.insert(), {one.name: getattr(new, one.name) for one in columns})

    event.listen(Session, "before_flush", come_between)
    try:
        register(store, JOB, [finished(store, "net", 0.9)])
    finally:
        event.remove(Session, "before_flush", come_between)
    assert len(clashes) == 1
    assert champion(store).tags[keys.REASON] == "val/accuracy 0.9, the first"


def test_full_names_lead_to_a_version(store: TrackingStore) -> None:
    register(store, JOB, [finished(store, "one", 0.9), finished(store, "two", 0.8)])
    store.client.set_registered_model_alias(JOB.name, "mine", "2")
    for name, network in {
        "digits-classifier": "one",
        "digits-classifier@mine": "two",
        "models:/digits-classifier/2": "two",
        "digits-classifier@nobody": None,
        "digits-classifier/3": None,
        "nowhere' or 'a' = 'a": None,
    }.items():
        version = registry.by_name(store, name, keys.KIND_CLASSIFIER)
        assert (version and version.tags[keys.NETWORK]) == network, name
    assert registry.by_name(store, JOB.name, keys.KIND_DENOISER) is None


@pytest.mark.parametrize(
    ("network", "sizes"),
    [
        (Autoencoder(channels=3, width=4), [(48, 64), (28, 30), (29, 67), (5, 7)]),
        (ResidualDenoiser(channels=3, widths=(4, 8, 16)), [(48, 64), (29, 67), (5, 7)]),
        (ConditionalDenoiser(channels=3, widths=(4, 8, 16)), [(48, 64), (29, 67)]),
    ],
    ids=["autoencoder", "residual", "conditional"],
)
def test_a_denoiser_takes_any_size_and_a_classifier_its_own(
    network: torch.nn.Module, sizes: list[tuple[int, int]], store: TrackingStore
) -> None:
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # a U-Net and its attention begin with layers of zeros
    experiment = store.experiment("models", "d" * 64, "what it holds")
    with recording(store, experiment, "a run", keys.KIND_TRIAL, "f", {}) as recorder:
        example = torch.rand(2, 3, 32, 32).to(memory_format=torch.channels_last)  # as batches are
        recorder.model(network, "denoiser", example, any_size=True)
        recorder.model(TutorialNet(), "classifier", torch.rand(2, 1, 28, 28))
    models = {one.name: f"models:/{one.model_id}" for one in store.client.search_logged_models([experiment])}
    denoiser, classifier = (mlflow.pyfunc.load_model(models[name]) for name in ("denoiser", "classifier"))
    for count, size in enumerate([(32, 32), *sizes], start=1):
        noisy = torch.rand(count, 3, *size)
        with torch.no_grad():
            expected = network(noisy).numpy()
        np.testing.assert_allclose(denoiser.predict(noisy.numpy()), expected, atol=1e-5)
    assert classifier.predict(np.zeros((3, 1, 28, 28), np.float32)).shape == (3, 10)
    assert "input_example" in str(denoiser.metadata.saved_input_example_info)
    for model, shape in ((denoiser, (1, 1, 32, 32)), (classifier, (1, 1, 28, 27))):
        with pytest.raises(mlflow.exceptions.MlflowException, match="Shape of input"):
            model.predict(np.zeros(shape, np.float32))


def test_stages_register_what_they_trained(trained_home: Path) -> None:
    store = open_store(Run(home=trained_home))
    versions = [
        *registry.models_of(store, keys.KIND_DENOISER, "demo-patches"),
        *registry.models_of(store, keys.KIND_CLASSIFIER, "demo-digits"),
    ]
    assert [(one.uri, one.tags[keys.NETWORK], one.tags[keys.FIGURE_NAME]) for one in versions] == [
        ("models:/demo-patches-denoiser@champion", "conditional", "val/psnr_blind"),
        ("models:/demo-patches-denoiser-0.01@champion", "autoencoder", "val/psnr"),
        ("models:/demo-patches-denoiser-0.1@champion", "autoencoder", "val/psnr"),
        ("models:/demo-digits-classifier@champion", "cnn", "val/accuracy"),
    ]
    for version in versions:
        run = store.run(version.run_id)
        assert float(version.tags[keys.FIGURE]) == run.metrics[version.tags[keys.FIGURE_NAME]]
    assert versions[0].span == (0.0025, 0.25)


@pytest.mark.slow
def test_trials_in_processes_are_registered_and_reuse_registers_nothing(home: Path, pipeline: Pipeline) -> None:
    small = ("--classify.settings.widths=[4, 8]", "--classify.training.steps=2", "--classify.seeds=0 1")
    two = ("classify", "--data.choice=demo", *small, "--run.jobs=2")
    first, second = pipeline(*two), pipeline(*two)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "is champion now" in first.stdout
    assert "champion" not in second.stdout
    mlflow_store = open_store(Run(home=home))
    assert len(registry.models_of(mlflow_store, keys.KIND_CLASSIFIER, "demo-digits")) == 2


def test_of_denoisers_for_a_span_the_wider_comes_first() -> None:
    def version(least: float, greatest: float, figure: float) -> Version:
        tags = {keys.LEAST_VARIANCE: str(least), keys.GREATEST_VARIANCE: str(greatest), keys.FIGURE: str(figure)}
        return Version("n", "1", "r", (), tags)

    wide, narrow, better = version(0.001, 1, 25), version(0.01, 0.1, 30), version(0.001, 1, 26)
    assert max([wide, narrow], key=lambda one: one.rank) is wide, "figures at different variances differ"
    assert max([wide, better], key=lambda one: one.rank) is better
    assert max([version(0.1, 0.1, 20), version(0.1, 0.1, 21)], key=lambda one: one.rank).tags[keys.FIGURE] == "21"
