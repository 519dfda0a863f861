"""Every network and kind of normalization at every learning rate, so that tuned can be compared with tuned."""

from __future__ import annotations

import pandas as pd
import torch

from pipeline.config import BatchNormStudy
from pipeline.studies.batch_norm_training import NETS, network, rates_of, train
from pipeline.studies.measured import Digits, Measured

ARMS = ("none", "he", "batch", "batch-none", "group", "frozen")


def measure(settings: BatchNormStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Table `rates`, a row a network, arm and learning rate.

    chosen_T and measured_T: first step with accuracy T on either half of the held-out images (nan: not within the
    steps); final: accuracy at the end on the half that is reported, choice: on the other; ms a step; diverged.
    """
    rows = []
    for name in NETS:
        for arm in ARMS:
            for rate in rates_of(settings):
                model = network(name, arm, settings, seed, digits)
                course = train(model, rate, settings.steps, settings.every, settings.batch_size, seed, digits)
                rows.append(
                    {
                        "net": name,
                        "arm": arm,
                        "rate": rate,
                        **course.firsts,
                        "final": course.measured[-1],
                        "choice": course.chosen[-1],
                        "ms": course.ms_a_step,
                        "diverged": course.diverged,
                    }
                )
    return Measured({"rates": pd.DataFrame(rows)})
