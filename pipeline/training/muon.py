"""Muon for weights that are matrices, or can be seen as such."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from pipeline.training.device import has_bfloat16

MOMENTUM = 0.95
STEPS = 3  # of Newton–Schulz: enough for updates whose singular values differ by less than a factor of 3
A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the quintic iteration, as published."""
LEAST_NORM = 1e-7


class Muon(torch.optim.Optimizer):
    """Makes each update of a matrix orthogonal: Jordan 2024, https://kellerjordan.github.io/posts/muon/.

    Takes weights of convolutions (out, in, h, w) as matrices of one row an output channel, all of one shape together,
    in bfloat16 only where the hardware has it. `torch.optim.Muon` takes matrices only, one at a time, always in
    bfloat16, which costs a CPU without it more than forward and backward pass together.
    """

    def __init__(self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every weight that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[weight.flatten(1).shape].append(weight)
            for (rows, columns), weights in alike.items():
                directions = orthogonal(torch.stack([self.direction(weight) for weight in weights]))
                for weight, direction in zip(weights, directions.to(weights[0].dtype), strict=True):
                    matrix = as_matrix(weight, weight)
                    matrix.mul_(1 - group["lr"] * group["weight_decay"])
                    matrix.sub_(direction, alpha=group["lr"] * max(1, rows / columns) ** 0.5)

    def direction(self, weight: nn.Parameter) -> torch.Tensor:
        """The gradient with Nesterov momentum, as a matrix."""
        assert weight.grad is not None
        gradient = as_matrix(weight.grad, weight)
        state: dict[str, Any] = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM)


def as_matrix(tensor: torch.Tensor, weight: nn.Parameter) -> torch.Tensor:
    """(out, in, h, w) → (out, in·h·w), columns in the order of the weight's memory: of the weight itself a view."""
    ordered = tensor if weight.is_contiguous() else tensor.permute(0, 2, 3, 1)
    return ordered.flatten(1)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Roughly the nearest orthogonal matrices, by a quintic Newton–Schulz iteration: (n, rows, columns) → the same."""
    x = matrices.bfloat16() if has_bfloat16(matrices.device) else matrices
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=LEAST_NORM)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=B, alpha=C), x, beta=A)
    return x if wide else x.mT
