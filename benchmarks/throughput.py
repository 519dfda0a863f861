"""Images a second in training: our loop beside a DataLoader with PIL transforms, and what the convolutions reach alone.

    .venv/bin/python -m benchmarks.throughput folder/mnist_train.csv.gz

Both loops train the same network with as many images a step and AdamW.
"ours, best" is our loop at its own precision and memory format. The last table compares the two-convolution network
with the same convolutions by themselves: forward and backward, same widths, batch and precision.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.machine import machine, ratio, spread
from pipeline.config import Training
from pipeline.data import myMNIST
from pipeline.models.classifiers import ConvNet, Standardize, TutorialNet
from pipeline.training.batches import Batches
from pipeline.training.build import in_memory_format
from pipeline.training.device import choose_precision
from pipeline.training.fit import Setting, fit

from torchvision import transforms  # isort: skip - after the module that makes it importable

CPU = torch.device("cpu")
BATCH = 64
MEAN, DEVIATION = 0.1307, 0.3081


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
    def fit_finished(self) -> None: ...


def ours(digits: myMNIST, network: Callable[[], nn.Module], steps: int, precision: torch.dtype) -> float:
    """Images a second of our loop."""
    torch.manual_seed(0)
    model = in_memory_format(nn.Sequential(Standardize([MEAN], [DEVIATION]), network()), torch.channels_last)
    batches = Batches(digits.data.unsqueeze(1), digits.targets, torch.arange(len(digits)), BATCH, CPU)
    training = Training(steps=steps, batch_size=BATCH, learning_rate=1e-3)

    def loss(model: nn.Module, batch: object, _: torch.Generator) -> torch.Tensor:
        return F.cross_entropy(model(batch.images).float(), batch.labels)  # type: ignore[attr-defined]

    return steps * BATCH / fit(model, batches, loss, lambda _: {}, training, 0, Setting(precision, Quiet()))


def loader(digits: myMNIST, network: Callable[[], nn.Module], steps: int, workers: int) -> float:
    """Images a second of the common loop: a Dataset of PIL images, transforms, a DataLoader, float32."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((MEAN,), (DEVIATION,))])
    digits.transform = transform
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]] = iter(
        DataLoader(digits, batch_size=BATCH, shuffle=True, num_workers=workers)
    )
    model.train()
    started = time.perf_counter()
    for step in range(steps + 3):
        if step == 3:  # workers are up and the first batches made
            started = time.perf_counter()
        images, labels = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return steps * BATCH / (time.perf_counter() - started)


def convolutions_alone(network: nn.Module, precision: torch.dtype, repeats: int = 30) -> tuple[float, float]:
    """Seconds a batch of all 3×3 convolutions of a network, forward and backward, and their TFLOP/s."""
    shapes: list[tuple[nn.Conv2d, torch.Size]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: shapes.append((layer, inputs[0].shape)))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    network(torch.rand(BATCH, 1, 28, 28))
    for hook in hooks:
        hook.remove()
    seconds = flop = 0.0
    for index, (layer, shape) in enumerate(shapes):
        x = torch.rand(shape).to(precision).contiguous(memory_format=torch.channels_last).requires_grad_(index > 0)
        w = layer.weight.detach().to(precision).contiguous(memory_format=torch.channels_last).requires_grad_()
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            y = F.conv2d(x, w, padding=layer.padding)
            y.backward(torch.ones_like(y))
            times.append(time.perf_counter() - started)
        seconds += median(times)
        flop += (3 if index else 2) * 2 * y.numel() * layer.weight[0].numel()
    return seconds, flop / seconds / 1e12


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("csv", type=Path, help="mnist_train.csv, plain or compressed")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    steps = arguments.steps
    digits = myMNIST(arguments.csv)
    best = choose_precision(Training(), CPU)
    print(
        machine("torch", "torchvision"), f"; {torch.get_num_threads()} threads, batches of {BATCH}, n = steps {steps}\n"
    )

    for name, network in {"LeNet": LeNet, "two convolutions": TutorialNet, "cnn": ConvNet}.items():
        tasks: dict[str, Callable[[], float]] = {
            "DataLoader and PIL, float32": lambda n=network: loader(digits, n, steps, 0),  # type: ignore[misc]
            "the same, two workers": lambda n=network: loader(digits, n, steps, 2),  # type: ignore[misc]
            "ours, float32": lambda n=network: ours(digits, n, steps, torch.float32),  # type: ignore[misc]
            f"ours, best ({str(best)[6:]})": lambda n=network: ours(digits, n, steps, best),  # type: ignore[misc]
        }
        rates: dict[str, list[float]] = {task: [] for task in tasks}
        for _ in range(arguments.repeats):
            for task, measure in tasks.items():
                rates[task].append(measure())
        peer = next(iter(rates.values()))
        print(f"{name} ({sum(p.numel() for p in network().parameters()):,} parameters)")
        for task, values in rates.items():
            print(f"  {task:30} {spread(values, 'images/s'):45} {ratio(values, peer):.2f}×")
        print()

    for name, network in {"two convolutions": TutorialNet, "cnn": ConvNet}.items():
        model = network()
        for precision in (torch.float32, best):
            alone, tflops = convolutions_alone(model, precision)
            reached = ours(digits, network, steps, precision)
            print(
                f"{name}, {str(precision)[6:]}: {reached:,.0f} images/s; its convolutions alone {BATCH / alone:,.0f} "
                f"images/s, {tflops:.2f} TFLOP/s; share of these {reached * alone / BATCH:.0%}"
            )


if __name__ == "__main__":
    main()
