"""How right a classifier is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose largest logit is their label's, from 0 to 1: (n, classes) and (n,)."""
    return (logits.argmax(dim=1) == labels).sum().item() / len(labels)


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Counts of [true label, predicted label]: (n, classes) and (n,) → (classes, classes) int64."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).reshape(classes, classes)


def accuracy_by_class(logits: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """Accuracy over the images of each class; NaN for a class without images."""
    matrix = confusion_matrix(logits, labels)
    shares: list[float] = (matrix.diagonal() / matrix.sum(dim=1)).tolist()
    return shares


def calibration_error(logits: torch.Tensor, labels: torch.Tensor, bins: int = 15) -> float:
    """Expected calibration error: mean distance of confidence and accuracy over bins of equal width, weighted by size.

    Guo et al. 2017 (arXiv 1706.04599), section 2. Confidence is the largest softmax probability.
    """
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    right = (predicted == labels).to(confidence.dtype)
    index = (confidence * bins).ceil().long().sub(1).clamp(0, bins - 1)
    gaps = torch.zeros(bins, dtype=confidence.dtype, device=confidence.device).index_add(0, index, right - confidence)
    return gaps.abs().sum().item() / len(labels)


def brier_score(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes: from 0 to 2 (Brier 1950)."""
    truth = torch.nn.functional.one_hot(labels, logits.shape[1])
    return (logits.softmax(dim=1) - truth).square().sum(dim=1).mean().item()


def ensemble_accuracy(logits: Sequence[NDArray[np.float32]], labels: NDArray[np.uint8]) -> float:
    """Accuracy of the mean probability of several networks: logits (n, classes) of each, labels (n,)."""
    probabilities = torch.stack([torch.from_numpy(one).softmax(dim=1) for one in logits]).mean(dim=0)
    return accuracy(probabilities, torch.from_numpy(labels.astype(np.int64)))
