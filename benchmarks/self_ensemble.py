"""A denoiser alone beside the mean of what it makes of an image and of its mirror image, or of all 8 flips and turns.

    .venv/bin/python -m benchmarks.self_ensemble home

Trains nothing: takes the networks of the latest sweep over CIFAR-10 in that home folder. Prints of each, and of each
way, the mean PSNR of the test images, what the ensemble wins by, with the 95 % interval of the paired differences, and
milliseconds an image. Self-ensemble: Timofte et al. 2016 (CVPR), section 3.6.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from benchmarks.denoisers import of_the_sweep, trained_network
from benchmarks.machine import machine
from pipeline.config import Run, Training
from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr
from pipeline.metrics.statistics import estimate
from pipeline.tracking.store import open_store
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.noise import fixed_noise

CPU = torch.device("cpu")
AT_ONCE = 100
ALONE = "alone"
WAYS = {
    ALONE: [(False, 0)],
    "with its mirror image": [(False, 0), (True, 0)],
    "all 8": [(mirror, turns) for mirror in (False, True) for turns in range(4)],
}
"""Of each: whether to mirror, and quarter turns."""


def denoised(network: nn.Module, noisy: torch.Tensor, way: str) -> torch.Tensor:
    """(b, c, h, w) → the same, from 0 to 1."""
    total = torch.zeros_like(noisy)
    for mirror, turns in WAYS[way]:
        seen = torch.rot90(noisy.flip(3) if mirror else noisy, turns, (2, 3))
        restored = torch.rot90(network(seen).float(), -turns, (2, 3))
        total += restored.flip(3) if mirror else restored
    return (total / len(WAYS[way])).clamp(0, 1)


def measured(network: nn.Module, noisy: torch.Tensor, clean: torch.Tensor, way: str) -> tuple[torch.Tensor, float]:
    """PSNR of each image, and milliseconds an image."""
    quality = []
    started = time.perf_counter()
    for some, their_clean in zip(noisy.split(AT_ONCE), clean.split(AT_ONCE), strict=True):
        with torch.no_grad(), arithmetic(choose_precision(Training(), CPU), CPU):
            restored = denoised(network, some, way)
        quality.append(psnr(restored, their_clean))
    return torch.cat(quality), (time.perf_counter() - started) / len(noisy) * 1000


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("home", type=Path, help="where the sweep's runs are kept")
    run = Run(home=parser.parse_args().home)
    print(machine("torch"), f"; {torch.get_num_threads()} threads, {choose_precision(Training(), CPU)}\n")
    images, store = ImageStore.open(run.cache / "data" / "cifar10"), open_store(run)
    indices = images.split("test")
    clean = torch.from_numpy(images.images[list(indices)]).float() / 255
    rows = []
    for (variance, model), record in of_the_sweep(store, images).items():
        if not record.trained:
            continue
        network = trained_network(record, store, clean.shape[1])
        noisy = fixed_noise(clean, indices, variance, False, images.manifest.digest)
        qualities = {}
        for way in WAYS:
            qualities[way], milliseconds = measured(network, noisy, clean, way)
            gain = "" if way == ALONE else estimate((qualities[way] - qualities[ALONE]).tolist()).text(3, "dB")
            rows.append((variance, model, way, f"{qualities[way].mean():.3f}", gain, f"{milliseconds:.2f}"))
    columns = ["variance", "network", "way", "PSNR, dB", "more than alone", "ms an image"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False))


if __name__ == "__main__":
    main()
