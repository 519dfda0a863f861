"""Why: how smooth the loss is along the gradient, how much layers shift under each other, and what noise does to it."""

from __future__ import annotations

import copy

import pandas as pd
import torch
import torch.nn.functional as F

from pipeline.config import BatchNormStudy
from pipeline.models.normalized import Classifier, set_training
from pipeline.studies.batch_norm_training import network, train
from pipeline.studies.measured import Digits, Measured, seeded
from pipeline.training.randomness import generator

NET = "deep"
ARMS = ("he", "batch", "noisy")
RATE = 0.05  # the same in all arms: the smoothness at a place is not a matter of tuning
RATES = (0.05, 0.2, 0.8)  # for the speed under noise, each arm at its best
REACHES = (0.5, 1.0, 2.0, 4.0)  # steps along the gradient, in units of the rate
EVERY = 10


def measure(settings: BatchNormStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Tables `probes` and `noise`.

    `probes`, a row an arm and look during training: least and greatest loss along the gradient within four steps'
    length, bend (greatest change of the gradient by the length of the way, an effective smoothness), shift (relative
    change of a layer's gradient when the layers before it are updated) and its cosine, means over layers (Santurkar et
    al. 2018), and drift (change of the mean input of layers from one look to the next, in standard deviations).
    `noise`, a row an arm and learning rate: first step with each accuracy on the two halves of the held-out images.
    """
    probes, noise = [], []
    for arm in ARMS:
        probes += [{"arm": arm, **row} for row in probed(arm, settings, seed, digits)]
        for rate in RATES:
            model = network(NET, arm, settings, seed, digits)
            course = train(model, rate, settings.steps, settings.every, settings.batch_size, seed, digits)
            noise.append({"arm": arm, "rate": rate, **course.firsts})
    return Measured({"probes": pd.DataFrame(probes), "noise": pd.DataFrame(noise)})


def probed(arm: str, settings: BatchNormStudy, seed: int, digits: Digits) -> list[dict[str, float]]:
    """A training with a look every few steps."""
    model = network(NET, arm, settings, seed, digits)
    source = generator(digits.images.device, seed, "probes")
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    rows = []
    before: list[torch.Tensor] | None = None
    with torch.random.fork_rng():
        seeded(seed, "probes")
        for step in range(settings.steps // 2):
            images, labels = digits.batch(settings.batch_size, source)
            if step % EVERY == 0:
                means = layer_means(model, images)
                row = {"step": step, **along_gradient(model, images, labels), **layer_shift(model, images, labels)}
                if before is not None:
                    row["drift"] = (
                        torch.stack([(now - then).abs().mean() for now, then in zip(means, before, strict=True)])
                        .mean()
                        .item()
                    )
                before = means
                rows.append(row)
            set_training(model)
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    return rows


def gradients(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, list[torch.Tensor]]:
    """Loss in training mode, and its gradient by every parameter; the noise of "noisy" is the same every time."""
    set_training(model)
    with torch.random.fork_rng():
        seeded(0, "probe noise")
        loss = F.cross_entropy(model(images), labels)
    return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))


def moved(model: Classifier, direction: list[torch.Tensor], length: float) -> Classifier:
    """A copy with its weights moved against a gradient."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, gradient in zip(other.parameters(), direction, strict=True):
            parameter.sub_(gradient, alpha=length)
    return other


def along_gradient(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Range of the loss, and how much the gradient turns, along the direction of descent."""
    model = copy.deepcopy(model)  # looking must not change running statistics
    loss, here = gradients(model, images, labels)
    size = torch.cat([g.flatten() for g in here]).norm()
    losses, bends = [], []
    for reach in REACHES:
        there_loss, there = gradients(moved(model, here, reach * RATE), images, labels)
        losses.append(there_loss)
        change = torch.cat([(a - b).flatten() for a, b in zip(here, there, strict=True)]).norm()
        bends.append((change / (reach * RATE * size)).item())
    return {"loss": loss, "least": min(losses), "greatest": max(losses), "bend": max(bends)}


def layer_shift(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """How a layer's gradient changes when all layers before it take their step; means over layers but the first."""
    model = copy.deepcopy(model)
    _, before = gradients(model, images, labels)
    names = [name for name, _ in model.named_parameters()]
    shifts, cosines = [], []
    for k in range(1, len(model.layers), 3):  # every third layer will do
        ahead = tuple(f"{part}.{j}." for j in range(k) for part in ("layers", "norms"))
        step = [
            gradient if name.startswith((*ahead, "first.")) else torch.zeros_like(gradient)
            for name, gradient in zip(names, before, strict=True)
        ]
        _, after = gradients(moved(model, step, RATE), images, labels)
        place = names.index(f"layers.{k}.weight")
        one, other = before[place].flatten(), after[place].flatten()
        shifts.append(((one - other).norm() / one.norm()).item())
        cosines.append(torch.cosine_similarity(one, other, dim=0).item())
    return {"shift": sum(shifts) / len(shifts), "cosine": sum(cosines) / len(cosines)}


@torch.no_grad()
def layer_means(model: Classifier, images: torch.Tensor) -> list[torch.Tensor]:
    """Mean input of every layer but the first by channel, in standard deviations of that channel."""
    model = copy.deepcopy(model)
    set_training(model)
    inputs = model.features(images)[1:]
    means = []
    for x in inputs:
        over = [dimension for dimension in range(x.ndim) if dimension != 1]
        means.append(x.mean(dim=over) / x.std(dim=over).clamp(min=1e-6))
    return means
