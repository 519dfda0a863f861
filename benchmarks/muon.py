"""A step of our Muon beside torch's, on the weights of the residual U-Net.

    .venv/bin/python -m benchmarks.muon

Both make the same update (tests/training/test_fit.py); torch's takes matrices, so it is given copies. Beside them the
forward and backward pass of a batch of 32, in the arithmetic that training would choose.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.machine import machine
from pipeline.config import Training
from pipeline.models.residual import ResidualDenoiser
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.muon import Muon
from pipeline.training.optimizers import inner_weights

REPEATS = 10
CPU = torch.device("cpu")


def milliseconds(call: Callable[[], object]) -> float:
    """Of one call, the mean of several after one that warms up."""
    call()
    started = time.perf_counter()
    for _ in range(REPEATS):
        call()
    return (time.perf_counter() - started) / REPEATS * 1000


def main() -> None:
    """Print milliseconds of each and the ratio."""
    precision = choose_precision(Training(), CPU)
    print(machine("torch"), f"training in {precision}", "\n")
    network = ResidualDenoiser().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(32, 3, 32, 32).contiguous(memory_format=torch.channels_last)

    def forward_and_back() -> None:
        with arithmetic(precision, CPU):
            loss = (network(images).float() - images).square().mean()
        loss.backward()

    passes = milliseconds(forward_and_back)
    weights = inner_weights(network)
    matrices = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in weights]
    for weight, matrix in zip(weights, matrices, strict=True):
        assert weight.grad is not None
        matrix.grad = weight.grad.flatten(1).clone()
    ours = milliseconds(Muon(weights, lr=0.01, weight_decay=0.0).step)
    theirs = milliseconds(torch.optim.Muon(matrices, lr=0.01, weight_decay=0.0, ns_steps=3).step)
    print(f"forward and backward pass {passes:.1f} ms")
    print(f"Muon, {len(weights)} weights: ours {ours:.1f} ms, torch's {theirs:.1f} ms: {theirs / ours:.1f}×")


if __name__ == "__main__":
    main()
