"""A step of the residual U-Net's training, and what it takes without what we do for speed on a CPU.

    .venv/bin/python -m benchmarks.step

"memory returned": glibc's malloc as it is. "fused attention": PyTorch's own kernel instead of matrix products. Each
runs in a process of its own, since malloc is set for a whole process, and all of them in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import torch
import torch.nn.functional as F

from benchmarks.machine import machine, ratio, spread
from benchmarks.throughput import CPU, DENOISER_BATCH, denoising
from pipeline.config import Training
from pipeline.models import residual
from pipeline.training.device import choose_precision, keep_freed_memory

VARIANTS = {"ours": "", "memory returned": "memory", "fused attention": "attention", "both": "memory attention"}


def milliseconds(without: str, steps: int, threads: int) -> float:
    """Of a step, in this process."""
    torch.set_num_threads(threads)
    if "memory" not in without:
        keep_freed_memory()
    if "attention" in without:
        residual.attention = F.scaled_dot_product_attention
    return 1000 * DENOISER_BATCH / denoising(steps, choose_precision(Training(), CPU))


def in_a_process(without: str, steps: int, threads: int) -> float:
    """The same in a new one."""
    command = [sys.executable, "-m", "benchmarks.step", f"--steps={steps}", f"--threads={threads}"]
    told = subprocess.run([*command, f"--measure={without}"], capture_output=True, text=True, check=True).stdout
    return float(told.split()[-1])


def main() -> None:
    """Print milliseconds of each and their ratio to ours."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=VARIANTS.values(), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(milliseconds(arguments.measure, arguments.steps, arguments.threads))
        return
    print(machine("torch"), f"; {arguments.threads} threads, {choose_precision(Training(), CPU)}\n")
    measured: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.repeats):
        for name, without in VARIANTS.items():
            measured[name].append(in_a_process(without, arguments.steps, arguments.threads))
    for name, values in measured.items():
        print(f"  {name:16} {spread(values, 'ms a step'):45} {ratio(values, measured['ours']):.2f}×")


if __name__ == "__main__":
    main()
