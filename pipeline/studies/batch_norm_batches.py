"""What becomes of batch normalization in small batches, and in batches of one class."""

from __future__ import annotations

import copy
from dataclasses import replace

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.config import BatchNormStudy
from pipeline.models.normalized import Classifier
from pipeline.studies.batch_norm_training import correct, network, train
from pipeline.studies.measured import Digits, Measured
from pipeline.training.randomness import generator

NET = "shallow"
ARMS = ("he", "batch", "group")
SIZES = (2, 4, 8, 32, 128)
RATE_AT_128 = 0.5
PRECISE = 2000  # images that statistics are taken anew from
SORTED_RATE = 0.1
SORTED_BATCH = 64
FEW = 500  # images that are learnt by heart, or nearly
FEW_SIZES = (8, 128)
FEW_ROUNDS = 5  # as many images shown, by those of the comparison of batch sizes


def measure(settings: BatchNormStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Tables `batches`, `sorted` and `few`.

    `batches`, a row an arm, batch size and budget ("images": the same number of images, "steps": of steps): accuracy
    on test images with running statistics (running), with those of test batches of the training's size (own), and with
    statistics taken anew from training images (precise).
    `sorted`, a row an arm: accuracy after training on batches of one class each, with running statistics and with the
    statistics of mixed test batches.
    `few`, a row an arm and batch size: accuracy on the 500 images trained on many times (train), and on others (test).
    """
    rows = []
    for arm in ARMS:
        for size in SIZES:
            budgets = {"images": max(1, settings.batch_images // size), "steps": max(1, settings.steps // 2)}
            for budget, steps in budgets.items():
                model = network(NET, arm, settings, seed, digits)
                train(model, RATE_AT_128 * size / 128, steps, steps, size, seed, digits)
                rows.append({"arm": arm, "batch": size, "budget": budget, **accuracies(model, size, digits)})
    one_class = [{"arm": arm, **after_sorted(arm, settings, seed, digits)} for arm in ARMS]
    few = [
        {"arm": arm, "batch": size, **after_few(arm, size, settings, seed, digits)}
        for arm in ARMS
        for size in FEW_SIZES
    ]
    return Measured({"batches": pd.DataFrame(rows), "sorted": pd.DataFrame(one_class), "few": pd.DataFrame(few)})


def accuracies(model: Classifier, size: int, digits: Digits) -> dict[str, float]:
    """On test images, in three ways."""
    return {
        "running": correct(model, digits.test, digits.test_labels).float().mean().item(),
        "own": with_own_statistics(model, digits.test, digits.test_labels, size),
        "precise": correct(precise(model, digits), digits.test, digits.test_labels).float().mean().item(),
    }


@torch.no_grad()
def with_own_statistics(model: Classifier, images: torch.Tensor, labels: torch.Tensor, size: int) -> float:
    """Accuracy where every batch is normalized by itself, as in training. Running statistics stay as they are."""
    model = copy.deepcopy(model).train()
    size = min(size, len(images))
    most = 100 * size  # in small batches it takes long, and a part says enough
    parts = list(zip(images[:most].split(size), labels[:most].split(size), strict=True))
    right = [model(x).argmax(1) == y for x, y in parts if len(x) == size]
    return torch.cat(right).float().mean().item()


@torch.no_grad()
def precise(model: Classifier, digits: Digits) -> Classifier:
    """A copy with running statistics taken anew, weights standing still (Wu and Johnson 2021, arXiv 2105.07576)."""
    model = copy.deepcopy(model)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain average over the batches shown
    model.train()
    if norms:
        for part in digits.images[:PRECISE].split(PRECISE // 4):
            model(part)
    return model


def after_sorted(arm: str, settings: BatchNormStudy, seed: int, digits: Digits) -> dict[str, float]:
    """Accuracies after batches of one class each, the classes taking turns."""
    model = network(NET, arm, settings, seed, digits).train()
    source = generator(digits.images.device, seed, "sorted")
    optimizer = torch.optim.SGD(model.parameters(), SORTED_RATE)
    of_class = [(digits.labels == k).nonzero().squeeze(1) for k in digits.labels.unique()]
    for step in range(settings.steps):
        members = of_class[step % len(of_class)]
        chosen = members[torch.randint(len(members), (SORTED_BATCH,), generator=source, device=members.device)]
        optimizer.zero_grad()
        F.cross_entropy(model(digits.images[chosen]), digits.labels[chosen]).backward()
        optimizer.step()
    return {
        "running": correct(model, digits.test, digits.test_labels).float().mean().item(),
        "own": with_own_statistics(model, digits.test, digits.test_labels, SORTED_BATCH),
    }


def after_few(arm: str, size: int, settings: BatchNormStudy, seed: int, digits: Digits) -> dict[str, float]:
    """Accuracies after training on the same few images again and again."""
    few = replace(digits, images=digits.images[:FEW], labels=digits.labels[:FEW])
    model = network(NET, arm, settings, seed, digits)
    steps = max(1, FEW_ROUNDS * settings.batch_images // size)
    train(model, RATE_AT_128 * size / 128, steps, steps, size, seed, few)
    return {
        "train": correct(model, few.images, few.labels).float().mean().item(),
        "test": correct(model, digits.test, digits.test_labels).float().mean().item(),
    }
