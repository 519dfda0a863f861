"""A step of training, and what it takes without what we do for speed on a CPU.

    .venv/bin/python -m benchmarks.step

The residual U-Net, with "memory returned": glibc's malloc as it is; "fused attention": PyTorch's own kernel instead of
matrix products. The network of PyTorch's MNIST example, with "gradients as they come": poolings get them in the order
in memory that flattening left; "torch's dropout": `nn.Dropout` instead of ours. Each runs in a process of its own,
since malloc is set for a whole process, and all of them in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.machine import machine, ratio, spread
from benchmarks.throughput import BATCH, CPU, DENOISER_BATCH, classifying, denoising
from pipeline.config import Training
from pipeline.models import classifiers, residual
from pipeline.training import fit as training_loop
from pipeline.training.batches import Batches
from pipeline.training.device import choose_precision, keep_freed_memory

VARIANTS = {
    "residual U-Net": {
        "ours": "",
        "memory returned": "memory",
        "fused attention": "attention",
        "both": "memory attention",
    },
    "two convolutions": {
        "ours": "",
        "gradients as they come": "order",
        "torch's dropout": "dropout",
        "both": "order dropout",
    },
}


def milliseconds(network: str, without: str, steps: int, threads: int) -> float:
    """Of a step, in this process."""
    torch.set_num_threads(threads)
    if "memory" not in without:
        keep_freed_memory()
    if "attention" in without:
        residual.attention = F.scaled_dot_product_attention
    if "order" in without:
        training_loop.order_gradients = lambda model: []
    if "dropout" in without:
        classifiers.Dropout = nn.Dropout  # type: ignore[assignment,misc]
    precision = choose_precision(Training(), CPU)
    if network == "residual U-Net":
        return 1000 * DENOISER_BATCH / denoising(steps, precision)
    images = torch.randint(256, (2000, 1, 28, 28), dtype=torch.uint8)
    batches = Batches(images, torch.randint(10, (2000,)), torch.arange(2000), BATCH, CPU)
    return 1000 * BATCH / classifying(batches, classifiers.TutorialNet, steps, precision)


def in_a_process(network: str, without: str, steps: int, threads: int) -> float:
    """The same in a new one."""
    command = [sys.executable, "-m", "benchmarks.step", f"--steps={steps}", f"--threads={threads}"]
    command += [f"--network={network}", f"--without={without}"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(told.split()[-1])


def main() -> None:
    """Print milliseconds of each and their ratio to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--network", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--without", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    steps, threads = arguments.steps, arguments.threads
    if arguments.network:
        print(milliseconds(arguments.network, arguments.without, steps, threads))
        return
    print(machine("torch"), f"; {threads} threads, {choose_precision(Training(), CPU)}")
    for network, variants in VARIANTS.items():
        measured: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(arguments.repeats):
            for name, without in variants.items():
                measured[name].append(in_a_process(network, without, steps, threads))
        print(f"\n{network}")
        for name, values in measured.items():
            print(f"  {name:24} {spread(values, 'ms a step'):45} {ratio(values, measured['ours']):.2f}×")


if __name__ == "__main__":
    main()
