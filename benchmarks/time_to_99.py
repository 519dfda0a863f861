"""Seconds of training until 99 % of MNIST's test images are right: PyTorch's own example beside ours, in one run.

    .venv/bin/python -m benchmarks.time_to_99 folder

The example (https://github.com/pytorch/examples, mnist/main.py) with its own settings: Adadelta at 1.0, times 0.7 an
epoch, batches of 64, a DataLoader with PIL transforms; looked at after every epoch, stopped at 99 %. Only its dataset
is `myMNIST`. Ours is experiments/mnist-fast.yaml, whose length is fixed beforehand. Seconds are of training alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

import mlflow
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from benchmarks.machine import machine
from pipeline.data import myMNIST
from pipeline.models.classifiers import TutorialNet

from torchvision import transforms  # isort: skip - after the module that makes it importable

TARGET = 0.99


def example(folder: Path) -> tuple[float, list[float]]:
    """Seconds of training until the target, and the accuracy after each epoch."""
    torch.manual_seed(1)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = DataLoader(myMNIST(folder, train=True, transform=transform), batch_size=64, shuffle=True)
    test = DataLoader(myMNIST(folder, train=False, transform=transform), batch_size=1000)
    model = TutorialNet()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    seconds, accuracies = 0.0, []
    for _ in range(14):
        model.train()
        started = time.perf_counter()
        for images, labels in train:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        seconds += time.perf_counter() - started
        schedule.step()
        model.eval()
        with torch.no_grad():
            right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in test)
        accuracies.append(right / 10_000)
        print(f"  after {seconds:.0f} s: {accuracies[-1]:.2%}", flush=True)
        if accuracies[-1] >= TARGET:
            break
    return seconds, accuracies


def ours(folder: Path, experiment: str) -> tuple[list[float], list[float], float]:
    """Seconds of training and accuracy of every seed of an experiment file, and seconds of the whole command."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "pipeline", "classify", f"--run.home={home}", f"--data.source={folder}"]
        subprocess.run([*command, "--dry-run"], check=True, stdout=subprocess.DEVNULL)  # prepares the digits
        started = time.perf_counter()
        subprocess.run([*command, f"--config=experiments/{experiment}.yaml"], check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - started
        mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
        runs = mlflow.search_runs(search_all_experiments=True, filter_string="tags.kind = 'trial'")
    return runs["metrics.time/train_s"].tolist(), runs["metrics.test/accuracy"].tolist(), whole


def main() -> None:
    """Print both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with mnist_train.csv and mnist_test.csv, plain or compressed")
    parser.add_argument("--experiment", default="mnist-fast")
    arguments = parser.parse_args()
    print(machine("torch", "torchvision"), f"; {torch.get_num_threads()} threads\n")
    seconds, accuracies, whole = ours(arguments.folder, arguments.experiment)
    print(
        f"ours, {arguments.experiment}: {mean(accuracies):.2%} in {mean(seconds):.2f} s of training, mean of "
        f"{len(seconds)} seeds ({min(accuracies):.2%} to {max(accuracies):.2%}); "
        f"the whole command, all seeds: {whole:.0f} s"
    )
    print("PyTorch's example:")
    example_seconds, reached = example(arguments.folder)
    print(
        f"{reached[-1]:.2%} after {example_seconds:.0f} s of training, {len(reached)} epochs\n"
        f"{example_seconds / mean(seconds):.0f}× as long as ours"
    )


if __name__ == "__main__":
    main()
