"""All that decides a result, and apart from it all that does not.

A `Config` is read from a YAML file in `experiments/` and overridden by dotted names on the command line. From it the
stages make trials (`pipeline.trials`): one trained model each, holding exactly what decides its numbers. `Run` holds
the rest: where results are kept and on what they are computed. Nothing here imports anything heavy, so that `--help`
is instant.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.data import Csv, Data, ImageFolder
from pipeline.config.experiments import Classify, Sweep
from pipeline.config.run import PROJECT_ROOT, Run
from pipeline.config.studies import BatchNormStudy, GanStudy
from pipeline.config.training import Augmentation, DenoisingTraining, Training
from pipeline.config.use import Denoise, Digits, Report, Server, Ui

__all__ = [
    "PROJECT_ROOT",
    "Augmentation",
    "BatchNormStudy",
    "Classify",
    "Config",
    "Csv",
    "Data",
    "Denoise",
    "DenoisingTraining",
    "Digits",
    "GanStudy",
    "ImageFolder",
    "Report",
    "Run",
    "Server",
    "Sweep",
    "Training",
    "Ui",
]


@dataclass(frozen=True, kw_only=True)
class Config:
    """One experiment file: the settings of every stage."""

    data: Data = Data()
    classify: Classify = Classify()
    sweep: Sweep = Sweep()
    gan: GanStudy = GanStudy()
    batch_norm: BatchNormStudy = BatchNormStudy()
    report: Report = Report()
    ui: Ui = Ui()
    denoise: Denoise = Denoise()
    digits: Digits = Digits()
    server: Server = Server()
    run: Run = Run()
