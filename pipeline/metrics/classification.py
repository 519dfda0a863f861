"""How right a classifier is."""

from __future__ import annotations

import torch


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images whose largest logit is their label's, from 0 to 1: (n, classes) and (n,)."""
    return (logits.argmax(dim=1) == labels).sum().item() / len(labels)


def confusion_matrix(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Counts of [true label, predicted label]: (n, classes) and (n,) → (classes, classes) int64."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).reshape(classes, classes)
