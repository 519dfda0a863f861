"""The optimizers of a network, with their schedules, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.config import Training
from pipeline.training.muon import Muon

# Of AdamW (its β₁) and SGD: the schedule lowers it while the learning rate rises.
LEAST_MOMENTUM, MOST_MOMENTUM = 0.85, 0.95


class Optimizers:
    """What `training.optimizer` names, on a one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).

    Muon takes the weights of the inner layers. The rest is AdamW's: the first and last layers, biases, and the scales
    of normalization.
    """

    def __init__(self, model: nn.Module, training: Training, total_steps: int) -> None:
        self.parameters = list(model.parameters())
        inner = inner_weights(model) if training.optimizer == "muon" else []
        rest = [p for p in self.parameters if all(p is not weight for weight in inner)]
        self.members: list[torch.optim.Optimizer] = [with_decay(rest, training)]
        if inner:
            self.members.append(Muon(inner, training.muon_learning_rate, training.weight_decay))
        self.schedules = [one_cycle(member, training, total_steps) for member in self.members]
        self.clip_norm = training.clip_norm

    def step(self) -> None:
        """Update the weights from their gradients, forget these, and move on in the schedule."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        for member in self.members:
            member.step()
            member.zero_grad()
        for schedule in self.schedules:
            schedule.step()

    @property
    def learning_rate(self) -> float:
        """Of the next step; AdamW's or SGD's."""
        return float(self.schedules[0].get_last_lr()[0])

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, but for the weights."""
        return {
            "optimizers": [member.state_dict() for member in self.members],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        for member, saved in zip(self.members, state["optimizers"], strict=True):
            member.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)


def one_cycle(
    optimizer: torch.optim.Optimizer, training: Training, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Up and down again; constant where there are too few steps for both."""
    if total_steps < 3:
        return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1, total_iters=total_steps)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[float(group["lr"]) for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=max(training.warmup, 2 / total_steps),  # a rise of a single step would be divided by zero
        anneal_strategy="cos" if training.anneal == "cosine" else "linear",
        cycle_momentum=not isinstance(optimizer, Muon),
        base_momentum=LEAST_MOMENTUM,
        max_momentum=MOST_MOMENTUM,
    )


def inner_weights(model: nn.Module) -> list[nn.Parameter]:
    """Weights of all convolutions and linear layers but the first and the last."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    inner = [layer.weight for layer in layers[1:-1]]
    return [weight for weight in inner if isinstance(weight, nn.Parameter) and weight.requires_grad]


def with_decay(parameters: Sequence[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """AdamW or SGD; weights decay, biases and the scales of normalization don't."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.learning_rate, momentum=MOST_MOMENTUM, nesterov=True, fused=fused)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=(MOST_MOMENTUM, training.beta2), fused=fused)
