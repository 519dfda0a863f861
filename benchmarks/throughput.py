"""Images a second in training: our loop beside a DataLoader with PIL transforms, and what the convolutions reach alone.

    .venv/bin/python -m benchmarks.throughput folder/mnist_train.csv.gz

Both loops train the same network with AdamW, each in a process of its own: ours sets malloc, and the peer runs as it
would anywhere. Two lines of ours have the peer's batches, in float32 and at our own precision; the third has larger
ones. The last lines compare whole trainings, those of the experiments with their own batches and optimizers, with the
same convolutions by themselves: forward and backward, same widths, batch and precision.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
import yaml
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.convolutions import Alone, alone
from benchmarks.machine import machine, ratio, spread
from pipeline.config import PROJECT_ROOT, DenoisingTraining, Training
from pipeline.data import myMNIST
from pipeline.models import CLASSIFIERS
from pipeline.models.classifiers import ConvNet, Standardize, TutorialNet
from pipeline.models.residual import ResidualDenoiser
from pipeline.training.batches import Batch, Batches
from pipeline.training.build import in_memory_format
from pipeline.training.denoising import objective_of
from pipeline.training.device import choose_precision, keep_freed_memory
from pipeline.training.fit import Setting, fit
from pipeline.trials import DenoisingTrial

from torchvision import transforms  # isort: skip - after the module that makes it importable

CPU = torch.device("cpu")
BATCH, LARGER_BATCH = 64, 256
DENOISER_BATCH = 32
DIGITS = cache(myMNIST)  # read once a process
MEAN, DEVIATION = 0.1307, 0.3081
Optimizer = Literal["adamw", "muon"]
EXPERIMENTS = ("mnist-tutorial", "mnist-fast", "mnist-medium", "mnist-accurate")


class LeNet(nn.Module):
    """The small network of many tutorials (LeCun et al. 1998): two 5×5 convolutions and three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits


class Quiet:
    """An observer of nothing."""

    def fit_started(self, steps: int, done: int, batch_size: int) -> None: ...
    def step_finished(self, step: int, loss: float) -> None: ...
    def epoch_finished(self, epoch: int, metrics: object) -> None: ...
    def checkpoint_saved(self) -> None: ...
    def fit_finished(self) -> None: ...


def ours(
    csv: Path,
    network: Callable[[], nn.Module],
    images: int,
    precision: torch.dtype,
    size: int = BATCH,
    optimizer: Optimizer = "adamw",
) -> float:
    """Images a second of our loop."""
    digits = DIGITS(csv)
    batches = Batches(digits.data.unsqueeze(1), digits.targets, torch.arange(len(digits)), size, CPU)
    return classifying(batches, network, images // size, precision, optimizer)


def classifying(
    batches: Batches,
    network: Callable[[], nn.Module],
    steps: int,
    precision: torch.dtype,
    optimizer: Optimizer = "adamw",
) -> float:
    """Images a second of our loop on some batches of digits."""
    torch.manual_seed(0)
    model = in_memory_format(nn.Sequential(Standardize([MEAN], [DEVIATION]), network()), torch.channels_last)
    training = Training(steps=steps, batch_size=batches.size, learning_rate=1e-3, optimizer=optimizer)

    def loss(model: nn.Module, batch: Batch, _: torch.Generator) -> torch.Tensor:
        return F.cross_entropy(model(batch.images).float(), batch.labels)

    return steps * batches.size / fit(model, batches, loss, lambda _: {}, training, 0, Setting(precision, Quiet()))


def loader(csv: Path, network: Callable[[], nn.Module], images: int, workers: int) -> float:
    """Images a second of the common loop: a Dataset of PIL images, transforms, a DataLoader, float32."""
    digits = DIGITS(csv)
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))])
    digits.transform = transform
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = iter(
        DataLoader(digits, batch_size=BATCH, shuffle=True, num_workers=workers)
    )
    model.train()
    steps = images // BATCH
    started = time.perf_counter()
    for step in range(steps + 3):
        if step == 3:  # workers are up and the first batches made
            started = time.perf_counter()
        pictures, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(pictures), labels).backward()
        optimizer.step()
    return steps * BATCH / (time.perf_counter() - started)


def denoising(steps: int, precision: torch.dtype) -> float:
    """Images a second of our loop on the residual U-Net, noise and Muon included."""
    trial = DenoisingTrial(
        dataset="random",
        model="residual",
        settings={},
        seed=0,
        validation=0.02,
        variance=0.05,
        clip=False,
        span=None,
        training=DenoisingTraining(steps=steps, batch_size=DENOISER_BATCH, optimizer="muon", loss="log"),
    )
    model = in_memory_format(ResidualDenoiser(), torch.channels_last)
    images = torch.randint(256, (2000, 3, 32, 32), dtype=torch.uint8)
    batches = Batches(images, torch.zeros(2000), torch.arange(2000), DENOISER_BATCH, CPU)
    seconds = fit(model, batches, objective_of(trial), lambda _: {}, trial.training, 0, Setting(precision, Quiet()))
    return steps * DENOISER_BATCH / seconds


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("csv", type=Path, help="mnist_train.csv, plain or compressed")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    csv, steps = arguments.csv, arguments.steps
    best = choose_precision(Training(), CPU)
    print(
        machine("torch", "torchvision"), f"; {torch.get_num_threads()} threads, batches of {BATCH}, n = steps {steps}\n"
    )

    apart = get_context("spawn")
    with ProcessPoolExecutor(1, apart) as peers, ProcessPoolExecutor(1, apart, keep_freed_memory) as our_own:
        for name, network in {"LeNet": LeNet, "two convolutions": TutorialNet, "cnn": ConvNet}.items():
            tasks = {
                "DataLoader and PIL, float32": (peers, loader, (0,)),
                "the same, two workers": (peers, loader, (2,)),
                "ours, float32": (our_own, ours, (torch.float32,)),
                f"ours, {str(best)[6:]}": (our_own, ours, (best,)),
                f"ours, {str(best)[6:]}, batches of {LARGER_BATCH}": (our_own, ours, (best, LARGER_BATCH)),
            }
            rates: dict[str, list[float]] = {task: [] for task in tasks}
            for _ in range(arguments.repeats):
                for task, (process, measure, how) in tasks.items():
                    rates[task].append(process.submit(measure, csv, network, steps * BATCH, *how).result())
            peer = next(iter(rates.values()))
            print(f"{name} ({sum(p.numel() for p in network().parameters()):,} parameters)")
            for task, values in rates.items():
                print(f"  {task:34} {spread(values, 'images/s'):45} {ratio(values, peer):.2f}×")
            print(flush=True)

    keep_freed_memory()
    for name in EXPERIMENTS:
        classify = yaml.safe_load((PROJECT_ROOT / "experiments" / f"{name}.yaml").read_text())["classify"]
        network = partial(CLASSIFIERS[classify["model"]], **classify.get("settings", {}))
        size, optimizer = classify["training"]["batch_size"], classify["training"].get("optimizer", "adamw")
        for precision in dict.fromkeys((torch.float32, best)):
            convolutions = alone(network(), torch.rand(size, 1, 28, 28), precision)
            rate = ours(csv, network, steps * BATCH, precision, size, optimizer)
            share_of(name, precision, size, convolutions, rate)
    for precision in dict.fromkeys((torch.float32, best)):
        convolutions = alone(ResidualDenoiser(), torch.rand(DENOISER_BATCH, 3, 32, 32), precision)
        share_of("residual U-Net", precision, DENOISER_BATCH, convolutions, denoising(steps // 2, precision))


def share_of(name: str, precision: torch.dtype, batch: int, convolutions: Alone, reached: float) -> None:
    """Print images and FLOP a second of a training, those of its convolutions alone, and the share."""
    print(
        f"{name}, {str(precision)[6:]}: {reached:,.0f} images/s, {reached * convolutions.flop / batch / 1e12:.3f} "
        f"TFLOP/s; its convolutions alone {batch / convolutions.seconds:,.0f} images/s, "
        f"{convolutions.teraflops:.3f} TFLOP/s; share of these {reached * convolutions.seconds / batch:.0%}"
    )


if __name__ == "__main__":
    main()
