"""Run one trial: train, measure, and write everything about it into one run."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout
from matplotlib.figure import Figure

from pipeline.config import ClassificationTrial, DenoisingTrial, Run, Trial
from pipeline.console import TrainingProgress
from pipeline.data.mnist_doubts import doubted_in
from pipeline.data.store import ImageStore
from pipeline.errors import NonFiniteLossError, UserError
from pipeline.metrics.classification import confusion_matrix
from pipeline.reporting import figures, grids
from pipeline.sweeps.plan import BASELINES, Planned
from pipeline.tracking import keys
from pipeline.tracking.runs import Recorder, recording
from pipeline.tracking.store import TrackingStore
from pipeline.training.build import in_memory_format
from pipeline.training.checkpoint import Checkpoints
from pipeline.training.classification import ClassificationResult, train_classifier
from pipeline.training.denoising import DenoisingResult, train_denoiser
from pipeline.training.device import choose_device, choose_precision, device_name
from pipeline.training.observer import Observers

HARDEST = 30


def run_trial(planned: Planned, images: ImageStore, store: TrackingStore, experiment_id: str, run: Run) -> None:
    """Train and measure one trial in a run of its own: the one that was broken off, if there is one.

    Raises `UserError` if another process is at this very trial.
    """
    folder = run.cache / "trials" / planned.identity.fingerprint
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_suffix(".lock"), blocking=False):
            run_locked(planned, images, store, experiment_id, run, folder)
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout as error:
        raise UserError(f"{planned.trial.name} is being trained by another process; wait for it") from error


def run_locked(
    planned: Planned, images: ImageStore, store: TrackingStore, experiment_id: str, run: Run, folder: Path
) -> None:
    """As `run_trial`, by the one process that may. What another has finished meanwhile is left alone."""
    trial, identity = planned.trial, planned.identity
    device = choose_device(run)
    precision = str(choose_precision(trial.training, device)).removeprefix("torch.")
    earlier = store.of_trial(experiment_id, identity.fingerprint)
    if any(one.status == "FINISHED" and keys.COMPLETE in one.tags for one in earlier):
        return
    # Only what began here, and with the same arithmetic, can go on to the same bits.
    place = f"{owner(run)} {device.type} {precision}"
    unfinished = [one for one in earlier if one.status != "FINISHED" and one.tags.get(keys.PLACE) == place]
    resume = unfinished[-1].run_id if unfinished else None
    checkpoints = Checkpoints(folder / f"{device.type}-{precision}", run.checkpoint_seconds)
    if resume is None:
        checkpoints.clear()  # of a run that is gone
    # A budget in seconds is measured once: who repeats or resumes the trial does as many steps.
    steps = next((int(one.params["steps"]) for one in earlier if one.params.get("steps", "0") != "0"), None)
    tags = {
        keys.IDENTITY: identity.text,
        keys.DATA_DIGEST: images.manifest.digest,
        keys.DEVICE: device_name(device),
        keys.PLACE: place,
    }
    recorded = recording(store, experiment_id, trial.name, keys.KIND_TRIAL, identity.fingerprint, tags, resume)
    with recorded as recorder, forgotten_if_hopeless(checkpoints):
        recorder.dataset(images, "train, test")
        recorder.json(json.loads(identity.text), "config/trial.json")
        recorder.params(params(trial))
        observer = Observers([TrainingProgress(trial.name), recorder])
        if isinstance(trial, ClassificationTrial):
            classified = train_classifier(trial, images, device, observer, checkpoints, steps)
            record_network(recorder, classified)
            record_classifier(recorder, classified, images)
        else:
            assert isinstance(trial, DenoisingTrial)
            denoised = train_denoiser(trial, images, device, observer, checkpoints, steps)
            record_network(recorder, denoised)
            record_denoiser(recorder, denoised, trial, images)


def owner(run: Run) -> str:
    """A name of this home's own, which moves with it: several homes may share a tracking store."""
    file = run.cache / "owner"
    if not file.exists():
        file.write_text(uuid.uuid4().hex, encoding="utf-8")
    return file.read_text(encoding="utf-8")


@contextmanager
def forgotten_if_hopeless(checkpoints: Checkpoints) -> Iterator[None]:
    """Delete the checkpoint of a training that went wrong by itself: from there it would go wrong again."""
    try:
        yield
    except NonFiniteLossError:
        checkpoints.clear()
        raise


def params(trial: Trial) -> dict[str, object]:
    """The same keys with the same types for every trial, or MLflow's comparison drops runs: an untrained one has 0."""
    training = trial.training
    trained = trial.model not in BASELINES
    common = {
        "model": trial.model,
        "seed": trial.seed,
        "settings": json.dumps(trial.settings, sort_keys=True),
        "epochs": training.epochs if trained and not (training.steps or training.seconds) else 0,
        "seconds": training.seconds or 0 if trained else 0,
        "optimizer": training.optimizer if trained else "none",
        "batch_size": training.batch_size if trained else 0,
        "lr": training.learning_rate if trained else 0,
        "weight_decay": training.weight_decay if trained else 0,
        "dataset": trial.dataset,
        "validation": trial.validation,
    }
    if isinstance(trial, ClassificationTrial):
        limits = {f"augment_{name}": limit for name, limit in asdict(trial.augmentation).items()}
        return {**common, "label_smoothing": trial.label_smoothing, **limits}
    assert isinstance(trial, DenoisingTrial)
    untrained = {} if trained else {"steps": 0}
    return {**common, **untrained, "variance": trial.variance, "clip": trial.clip}


def record_network(recorder: Recorder, result: ClassificationResult | DenoisingResult) -> None:
    """What is known only when the network has been built."""
    recorder.params({"precision": result.precision, "params_n": result.parameters})


def record_classifier(recorder: Recorder, result: ClassificationResult, images: ImageStore) -> None:
    """Final figures, the confusion matrix, the misclassified digits, and the model."""
    recorder.metrics(result.metrics)
    test = images.split("test")
    labels = torch.from_numpy(images.labels[test.start : test.stop]).long()
    classes = images.manifest.classes
    title = f"{images.manifest.title}: {len(labels):,} test images, accuracy {result.metrics[keys.TEST_ACCURACY]:.2%}"
    matrix = confusion_matrix(result.test_logits, labels)
    recorder.figure(figures.confusion(matrix, classes, title), "confusion_matrix.png")
    recorder.array(result.test_logits.numpy(), keys.TEST_LOGITS)
    wrong = misses(result.test_logits, labels)
    doubted = doubted_in(images)
    recorder.text(wrong.assign(label_in_doubt=wrong["image"].isin(doubted)).to_csv(index=False), "misses.csv")
    recorder.metrics({keys.TEST_MISSES: len(wrong)})
    if doubted:
        recorder.metrics({keys.TEST_MISSES_IN_DOUBT: int(wrong["image"].isin(doubted).sum())})
    recorder.figure(misclassified(result.test_logits, labels, images), "misclassified.png")
    recorder.model(plain(result.model), "classifier", pixels(images, [0, 1]))


def misses(logits: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """A row a wrong answer, the most confident first: image (index in the test split), label, predicted, confidence."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    columns = {"image": wrong, "label": labels[wrong], "predicted": predicted[wrong], "confidence": confidence[wrong]}
    table = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return table.sort_values("confidence", ascending=False, kind="stable")


def misclassified(logits: torch.Tensor, labels: torch.Tensor, images: ImageStore) -> Figure:
    """The wrong answers, the most confident first."""
    wrong = misses(logits, labels)
    worst = wrong.head(HARDEST)
    test = images.split("test")
    captions = [f"{row.label} → {row.predicted} ({row.confidence:.0%})" for row in worst.itertuples()]
    title = f"{len(wrong)} of {len(labels):,} test images misclassified: true → predicted (confidence)"
    if len(wrong) > HARDEST:
        title += f", the {HARDEST} most confident"
    return grids.digit_grid(pixels(images, [test[image] for image in worst["image"]]), captions, title)


def record_denoiser(recorder: Recorder, result: DenoisingResult, trial: DenoisingTrial, images: ImageStore) -> None:
    """Final figures, the ten examples, and the model if there is anything to keep."""
    recorder.metrics(result.metrics)
    shown = result.examples
    recorder.image(grids.block_grid(shown.clean, shown.noisy, shown.denoised), "examples/grid")
    title = f"{trial.name}: ten test images, PSNR of each below it"
    recorder.figure(grids.labelled_grid(shown.clean, shown.noisy, shown.denoised, title), "grid.png")
    if result.parameters:
        recorder.model(plain(result.model), "denoiser", shown.noisy[:2])


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The model as its export wants it: weights in plain order."""
    return in_memory_format(model, torch.contiguous_format)


def pixels(images: ImageStore, indices: list[int]) -> torch.Tensor:
    """Images of a store as (n, c, h, w) float32 in [0, 1]."""
    return torch.from_numpy(images.images[indices]).float() / 255
