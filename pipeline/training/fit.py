"""The one training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch
from torch import nn

from pipeline.config import Training
from pipeline.errors import NonFiniteLossError
from pipeline.training.batches import Batch, Batches
from pipeline.training.device import arithmetic
from pipeline.training.observer import Observer
from pipeline.training.randomness import generator, seed_of

Objective = Callable[[nn.Module, Batch, torch.Generator], torch.Tensor]
"""Scalar loss of a network on a batch; what is random about it comes from the generator."""

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Figures of a network on validation images."""

SECONDS_BETWEEN_REPORTS = 0.2


def fit(
    model: nn.Module,
    batches: Batches,
    objective: Objective,
    validate: Validate,
    training: Training,
    precision: torch.dtype,
    seed: int,
    observer: Observer,
) -> float:
    """Train a model in place with AdamW on a one-cycle schedule; returns the seconds of training alone.

    The observer hears `train/loss` and the figures of `validate` after each epoch. Raises `NonFiniteLossError` with
    the step and the learning rate.
    """
    device = batches.images.device
    total = training.epochs * batches.steps_per_epoch
    optimizer = torch.optim.AdamW(
        parameter_groups(model, training.weight_decay), lr=training.learning_rate, fused=device.type in ("cuda", "cpu")
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, total_steps=total)
    seconds, step, reported = 0.0, 0, 0.0

    observer.fit_started(total)
    try:
        for epoch in range(1, training.epochs + 1):
            started = time.perf_counter()
            model.train()
            noise = generator(device, seed, "objective", epoch)
            losses = []
            # Dropout and the like draw from the global generator: seed it for this epoch and put it back after.
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(seed_of(seed, "network", epoch))
                for batch in batches.shuffled(seed, epoch):
                    with arithmetic(precision, device):
                        loss = objective(model, batch, noise)
                    if not torch.isfinite(loss):
                        rate = schedule.get_last_lr()[0]
                        raise NonFiniteLossError(
                            f"the loss is {loss.item()} at step {step + 1} of {total}, learning rate {rate:.3g}"
                        )
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    optimizer.zero_grad()
                    losses.append(loss.detach())
                    step += 1
                    if time.perf_counter() - reported > SECONDS_BETWEEN_REPORTS:
                        observer.step_finished(step, loss.item())
                        reported = time.perf_counter()
            mean_loss = torch.stack(losses).mean().item()
            seconds += time.perf_counter() - started
            observer.epoch_finished(epoch, {"train/loss": mean_loss, **validate(model)})
    finally:
        observer.fit_finished()
    model.eval()
    return seconds


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weights with decay; biases and the scales of normalization without."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
