"""What a minute of training costs besides: importing, data, evaluation, tracking; beside an MLflow script by hand.

    .venv/bin/python -m benchmarks.around folder

Ours is `python -m pipeline classify` with a budget in seconds, in a home folder whose data are prepared and whose
tracking store is there: seconds of the whole command less those of training. The peer is what one would write by hand,
without any training: pandas reads the CSV files, the same network names the test images, and MLflow keeps accuracy,
confusion matrix and model in a store like ours. Beside both stands what importing takes, of what ours can't do without.
Every figure is of new processes, in turn.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.machine import machine, spread
from pipeline.config import PROJECT_ROOT

EXPERIMENT = PROJECT_ROOT / "experiments" / "mnist-accurate.yaml"
IMPORTS = (
    "import mlflow.store.tracking.sqlalchemy_store, pipeline.data.datasets, torch.export._trace, matplotlib.figure; "
    "import os; os._exit(0)"  # what Python does at its end is not importing
)


def by_hand(folder: Path, home: Path) -> None:
    """All but the training, in this process."""
    import matplotlib.pyplot as plt
    import mlflow
    import pandas as pd
    import seaborn as sns
    import torch

    from pipeline.data.datasets import find_csv
    from pipeline.models import CLASSIFIERS

    images, labels = {}, {}
    for split in ("train", "test"):
        table = pd.read_csv(find_csv(folder, split, may_download=False), header=None).to_numpy()
        labels[split] = torch.from_numpy(table[:, 0])
        images[split] = torch.from_numpy(table[:, 1:]).reshape(-1, 1, 28, 28).float() / 255
    settings = yaml.safe_load(EXPERIMENT.read_text())["classify"]
    model = CLASSIFIERS[settings["model"]](channels=1, classes=10, **settings["settings"]).eval()
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    experiment = mlflow.create_experiment(f"by hand {time.time()}", artifact_location=str(home / "mlruns"))
    with mlflow.start_run(experiment_id=experiment):
        with torch.no_grad():
            predicted = torch.cat([model(part).argmax(1) for part in images["test"].split(1000)])
        mlflow.log_metric("accuracy", (predicted == labels["test"]).float().mean().item())
        sns.heatmap(pd.crosstab(labels["test"].numpy(), predicted.numpy()), annot=True, fmt="d")
        mlflow.log_figure(plt.gcf(), "confusion_matrix.png")
        mlflow.pytorch.log_model(model, name="model", input_example=images["test"][:2].numpy())


def seconds(*command: str) -> float:
    """Of a new Python process, from its start to its end."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def trained_for(home: Path, seed: int) -> float:
    """Seconds of training of the run of a seed."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    runs = mlflow.search_runs(search_all_experiments=True, filter_string=f"params.seed = '{seed}'")
    return float(runs["metrics.time/train_s"].item())


def compare(folder: Path, budget: float, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds around training and of training, of each way and repetition."""
    found: dict[str, list[tuple[float, float]]] = {"ours": [], "by hand": [], "importing alone": []}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        common = ["-m", "pipeline", "classify", f"--config={EXPERIMENT}", f"--data.source={folder}"]
        common += [f"--run.home={home}", f"--classify.training.seconds={budget:g}"]
        seconds(*common, "--run.dry_run=true")  # prepares the digits and makes the store
        for seed in range(repeats):
            whole = seconds(*common, f"--classify.seeds={seed}")
            training = trained_for(home, seed)
            found["ours"].append((whole - training, training))
            found["by hand"].append((seconds("-m", "benchmarks.around", str(folder), f"--home={home}"), training))
            found["importing alone"].append((seconds("-c", IMPORTS), training))
    return found


def main() -> None:
    """Print seconds around training, and their share of the whole."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="with mnist_train.csv and mnist_test.csv, plain or compressed")
    parser.add_argument("--seconds", type=float, default=60, help="of training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)  # of one process that does it by hand
    arguments = parser.parse_args()
    if arguments.home:
        by_hand(arguments.folder, arguments.home)
        return
    print(machine("torch", "mlflow", "torchvision"), "\n")
    for name, measured in compare(arguments.folder, arguments.seconds, arguments.repeats).items():
        share = median(around / (around + training) for around, training in measured)
        trained = median(training for _, training in measured)
        print(f"{name}: {spread([around for around, _ in measured])} around {trained:.1f} s of training: {share:.1%}")


if __name__ == "__main__":
    main()
