"""Denoisers trained for equal times beside BM3D and the rest: quality on the same noisy images, and time an image.

    .venv/bin/python -m benchmarks.denoisers folder --home somewhere --seconds 300

Trains what `experiments/denoise.yaml` says of these networks (one seed) as `python -m pipeline sweep` in a home folder
of its own; what is finished there is used again. Then all methods, BM3D too, are measured on the first test images with
the same noise: mean PSNR, the leader's margin, and milliseconds an image, one after the other for BM3D, in one batch
for networks. Beside them stands what the leader's convolutions reach alone, so that another machine's seconds can be
scaled. BM3D (Dabov et al. 2007, IEEE TIP 16(8)) is not a dependency: `pip install bm3d bm4d`, for non-commercial use.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.convolutions import alone
from benchmarks.machine import machine
from pipeline.config import Run, Training
from pipeline.data.store import ImageStore
from pipeline.metrics.image import psnr
from pipeline.models import DENOISERS
from pipeline.reporting.selection import latest_sweep
from pipeline.stages import sweep
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord, TrackingStore, open_store
from pipeline.training.build import in_memory_format
from pipeline.training.device import arithmetic, choose_precision
from pipeline.training.noise import fixed_noise

CPU = torch.device("cpu")
LEADER = "residual"
BATCH = 32


def train(arguments: argparse.Namespace) -> None:
    """The sweep whose networks are compared."""
    command = [sys.executable, "-m", "pipeline", "sweep", "--config=experiments/denoise.yaml"]
    command += [f"--data.source={arguments.folder}", f"--run.home={arguments.home}", "--sweep.seeds=0"]
    command += [f"--sweep.models={arguments.models}", f"--sweep.variances={arguments.variances}"]
    command += [f"--sweep.training.seconds={arguments.seconds:g}"]
    command += [f"--sweep.training_of.conditional.seconds={2 * arguments.seconds:g}"]
    subprocess.run([*command, *arguments.options], check=True)


def of_the_sweep(store: TrackingStore, images: ImageStore) -> dict[tuple[float, str], RunRecord]:
    """The runs of the sweep just asked for, by variance and model."""
    experiment = store.find_experiment(sweep.experiment_name(images.manifest, clip=False), images.manifest.digest)
    found = latest_sweep(store, experiment) if experiment else None
    assert found, "made a moment ago"
    _, runs = found
    return {(float(run.params["variance"]), run.params["model"]): run for run in runs}


def trained_network(run: RunRecord, store: TrackingStore, channels: int) -> nn.Module:
    """The denoiser of a run, with its weights if it has any."""
    settings = json.loads(run.params["settings"])
    network = DENOISERS[run.params["model"]](channels=channels, variance=float(run.params["variance"]), **settings)
    network = in_memory_format(network.eval(), torch.channels_last)
    if run.trained:
        network.load_state_dict(store.weights(run.run_id, keys.WEIGHTS))
    return network


def milliseconds(network: nn.Module, noisy: torch.Tensor) -> float:
    """An image, in one batch; the quickest of three."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        with torch.no_grad(), arithmetic(choose_precision(Training(), CPU), CPU):
            network(noisy)
        times.append(time.perf_counter() - started)
    return min(times) / len(noisy) * 1000


def bm3d(noisy: torch.Tensor, clean: torch.Tensor, variance: float) -> tuple[float, float] | None:
    """Mean PSNR and milliseconds an image; None if it isn't installed."""
    try:
        from bm3d import bm3d_rgb
    except ImportError:
        return None
    planes = noisy.permute(0, 2, 3, 1).numpy()
    started = time.perf_counter()
    denoised = np.stack([bm3d_rgb(image, variance**0.5) for image in planes])
    seconds = time.perf_counter() - started
    restored = torch.from_numpy(denoised).permute(0, 3, 1, 2).float().clamp(0, 1)
    return psnr(restored, clean).mean().item(), seconds / len(clean) * 1000


def compare(store: TrackingStore, images: ImageStore, count: int) -> pd.DataFrame:
    """A row a variance and method."""
    indices = images.split("test")[:count]
    clean = torch.from_numpy(images.images[list(indices)]).float() / 255
    rows = []
    runs = of_the_sweep(store, images)
    for variance in sorted({variance for variance, _ in runs}):
        noisy = fixed_noise(clean, indices, variance, False, images.manifest.digest)
        for (of, model), run in runs.items():
            if of == variance:
                quality = store.table(run.run_id, keys.per_image(variance))["psnr"].head(count).mean()
                trained = run.metrics[keys.TRAIN_SECONDS], int(run.params["steps"])
                network = trained_network(run, store, noisy.shape[1])
                rows.append((variance, model, quality, milliseconds(network, noisy), *trained))
        peer = bm3d(noisy, clean, variance)
        if peer:
            rows.append((variance, "BM3D", *peer, 0.0, 0))
    table = pd.DataFrame(rows, columns=["variance", "method", "PSNR", "ms an image", "trained s", "steps"])
    leaders = table[table["method"] == LEADER].set_index("variance")
    table["leader's margin, dB"] = table["variance"].map(leaders["PSNR"]) - table["PSNR"]
    table["slower than leader"] = table["ms an image"] / table["variance"].map(leaders["ms an image"])
    return table.sort_values(["variance", "PSNR"])


def main() -> None:
    """Print the machine, what convolutions reach on it, and the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with CIFAR-10")
    parser.add_argument("--home", type=Path, required=True, help="where runs are kept and used again")
    parser.add_argument("--seconds", type=float, default=300, help="of training of each; conditional gets twice that")
    parser.add_argument("--models", default="residual dncnn tutorial-fixed autoencoder")
    parser.add_argument("--variances", default="0.01 0.05 0.1")
    parser.add_argument("--images", type=int, default=100, help="the first test images")
    arguments, arguments.options = parser.parse_known_args()
    precision = choose_precision(Training(), CPU)
    network = DENOISERS[LEADER](channels=3, variance=0.05)
    reached = alone(network, torch.rand(BATCH, 3, 32, 32), precision)
    print(machine("torch", "scikit-image"), f"; {torch.get_num_threads()} threads, {precision}")
    print(
        f"the leader's convolutions alone, forward and backward, batch {BATCH}: {reached.teraflops:.3f} TFLOP/s, "
        f"{BATCH / reached.seconds:,.0f} images/s\n"
    )
    train(arguments)
    run = Run(home=arguments.home)
    images = ImageStore.open(run.cache / "data" / "cifar10")
    table = compare(open_store(run), images, arguments.images)
    print(f"\nfirst {arguments.images} test images, unclipped noise")
    print(table.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    if "BM3D" not in set(table["method"]):
        print("BM3D is not installed: pip install bm3d bm4d (for non-commercial use)")


if __name__ == "__main__":
    main()
