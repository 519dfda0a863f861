"""What a run of a trial holds: params, figures, pictures, the model."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pandas as pd
import torch
import torch.nn.functional as F

from pipeline.config import Training
from pipeline.data.mnist_doubts import doubted_in
from pipeline.data.store import ImageStore
from pipeline.metrics.classification import confusion_matrix
from pipeline.models.tiles import MULTIPLE
from pipeline.studies.measured import Measured
from pipeline.sweeps.plan import BASELINES
from pipeline.tracking import keys
from pipeline.tracking.runs import Recorder
from pipeline.training.build import in_memory_format
from pipeline.training.classification import ClassificationResult
from pipeline.training.denoising import DenoisingResult
from pipeline.trials import ClassificationTrial, DenoisingTrial, StudyTrial, Trial, as_numbers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARDEST = 30


def params(trial: Trial) -> dict[str, object]:
    """The same keys with the same types for every trial, or MLflow's comparison drops runs: an untrained one has 0."""
    if isinstance(trial, StudyTrial):
        sizes = {name: value for name, value in trial.settings.items() if not isinstance(value, tuple)}
        return {"study": trial.study, "experiment": trial.model, "seed": trial.seed, "dataset": trial.dataset, **sizes}
    common = {
        "model": trial.model,
        "seed": trial.seed,
        "settings": json.dumps(as_numbers(trial.settings), sort_keys=True),
        "dataset": trial.dataset,
        "validation": trial.validation,
    }
    if isinstance(trial, ClassificationTrial):
        limits = {f"augment_{name}": limit for name, limit in asdict(trial.augmentation).items()}
        return {**common, **recipe(trial.training), "label_smoothing": trial.label_smoothing, **limits}
    assert isinstance(trial, DenoisingTrial)
    how = {**recipe(trial.training), "loss": trial.training.loss}
    if trial.model in BASELINES:
        how = {**{name: "none" if isinstance(value, str) else 0 for name, value in how.items()}, "steps": 0}
    least, greatest = trial.span or (trial.variance, trial.variance)
    noise = {"variance": trial.variance, "least_variance": least, "greatest_variance": greatest, "clip": trial.clip}
    return {**common, **how, **noise}


def recipe(training: Training) -> dict[str, object]:
    """How a network is trained. The steps are known, and noted, when the training begins."""
    return {
        "epochs": 0 if training.steps or training.seconds else training.epochs,
        "seconds": training.seconds or 0,
        "optimizer": training.optimizer,
        "batch_size": training.batch_size,
        "lr": training.learning_rate,
        "weight_decay": training.weight_decay,
        "ema": training.ema or 0,
    }


def record_network(recorder: Recorder, result: ClassificationResult | DenoisingResult) -> None:
    """What is known only when the network has been built."""
    recorder.params({"precision": result.precision, "params_n": result.parameters})


def record_classifier(recorder: Recorder, result: ClassificationResult, images: ImageStore) -> None:
    """Final figures, the confusion matrix, the misclassified digits, and the model."""
    from pipeline.reporting import classification_figures  # brings matplotlib

    recorder.metrics(result.metrics)
    test = images.split("test")
    labels = torch.from_numpy(images.labels[test.start : test.stop]).long()
    classes = images.manifest.classes
    title = f"{images.manifest.title}: {len(labels):,} test images, accuracy {result.metrics[keys.TEST_ACCURACY]:.2%}"
    matrix = confusion_matrix(result.test_logits, labels)
    recorder.figure(classification_figures.confusion(matrix, classes, title), "confusion_matrix.png")
    recorder.array(result.test_logits.numpy(), keys.TEST_LOGITS)
    wrong = misses(result.test_logits, labels)
    recorder.table(wrong.assign(label_in_doubt=wrong["image"].isin(doubted_in(images))), "misses.csv")
    recorder.figure(misclassified(wrong, images), "misclassified.png")
    recorder.weights(result.model.state_dict(), keys.WEIGHTS)
    recorder.model(plain(result.model), keys.KIND_CLASSIFIER, pixels(images, [0, 1]))


def misses(logits: torch.Tensor, labels: torch.Tensor) -> pd.DataFrame:
    """A row a wrong answer, the most confident first: image (index in the test split), label, predicted, confidence."""
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    columns = {"image": wrong, "label": labels[wrong], "predicted": predicted[wrong], "confidence": confidence[wrong]}
    table = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return table.sort_values("confidence", ascending=False, kind="stable")


def misclassified(wrong: pd.DataFrame, images: ImageStore) -> Figure:
    """The most confident of the wrong answers that `misses` found."""
    from pipeline.reporting import grids

    worst = wrong.head(HARDEST)
    test = images.split("test")
    captions = [f"{row.label} → {row.predicted} ({row.confidence:.0%})" for row in worst.itertuples()]
    title = f"{len(wrong)} of {len(test):,} test images misclassified: true → predicted (confidence)"
    if len(wrong) > HARDEST:
        title += f", the {HARDEST} most confident"
    return grids.digit_grid(pixels(images, [test[image] for image in worst["image"]]), captions, title)


def record_denoiser(recorder: Recorder, result: DenoisingResult, trial: DenoisingTrial, images: ImageStore) -> None:
    """Final figures, those of each image, the ten examples, and the model if there is anything to keep."""
    from pipeline.reporting import grids

    recorder.metrics(result.metrics)
    recorder.table(result.per_image, keys.per_image(trial.variance))
    shown = result.examples
    recorder.image(grids.block_grid(shown.clean, shown.noisy, shown.denoised), keys.EXAMPLES)
    title = f"{trial.name}: test images, PSNR of each below it"
    recorder.figure(grids.labelled_grid(shown.clean, shown.noisy, shown.denoised, title), "grid.png")
    title = f"{trial.name}: error of the test images, mean over channels"
    recorder.figure(grids.error_grid(shown.clean, shown.noisy, shown.denoised, title), "errors.png")
    if result.parameters:
        recorder.weights(result.model.state_dict(), keys.WEIGHTS)
        model = plain(result.model)
        recorder.model(model, keys.KIND_DENOISER, shown.noisy[:2], takes_other_sizes(model, shown.noisy[:2]))


@torch.no_grad()
def takes_other_sizes(model: torch.nn.Module, images: torch.Tensor) -> bool:
    """Whether a network takes larger images than those of its training, a batch (b, c, h, w)."""
    larger = F.pad(images, (0, MULTIPLE, 0, MULTIPLE)).cpu()
    try:
        # Not on a GPU, where an index out of range would end everything that is done there.
        denoised = model.cpu()(larger)
    except Exception:  # noqa: BLE001 - a network refuses a shape with whatever error
        return False
    return bool(denoised.shape == larger.shape)


def record_study(recorder: Recorder, result: Measured) -> None:
    """Tables, pictures of what was generated, and the few figures that runs are compared by."""
    for name, table in result.tables.items():
        recorder.table(table, f"{name}.csv")
    for name, pictures in result.pictures.items():
        recorder.array((pictures * 255).round().byte().cpu().numpy(), f"{name}.npy")
    recorder.metrics({f"study/{name}": value for name, value in result.figures.items()})


def plain(model: torch.nn.Module) -> torch.nn.Module:
    """The model as its export wants it: weights in plain order."""
    return in_memory_format(model, torch.contiguous_format)


def pixels(images: ImageStore, indices: list[int]) -> torch.Tensor:
    """Images of a store as (n, c, h, w) float32 in [0, 1]."""
    return torch.from_numpy(images.images[indices]).float() / 255
