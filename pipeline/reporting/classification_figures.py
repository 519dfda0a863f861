"""Figures of classifiers: colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figures import new_figure

if TYPE_CHECKING:
    import torch


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Validation accuracy over epochs, a line a seed. `curves` has the columns run, epoch, accuracy."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(6, 3.4)
        ax = figure.subplots()
        sns.lineplot(curves, x="epoch", y="accuracy", hue="run", marker="o", palette="colorblind", ax=ax)
        ax.set(xlabel="epoch", ylabel="accuracy on validation images")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return figure


def confusion(matrix: torch.Tensor, classes: Sequence[str], title: str) -> Figure:
    """Counts of true (rows) against predicted (columns) labels. Colour shows the mistakes; the diagonal is left out."""
    with sns.axes_style("white"):
        figure = new_figure(6.2, 5.4)
        ax = figure.subplots()
        counts = pd.DataFrame(matrix.numpy(), index=list(classes), columns=list(classes))
        mistakes = counts.mask(np.eye(len(classes), dtype=bool), 0)
        sns.heatmap(mistakes, annot=counts, fmt="d", cmap="rocket_r", linewidths=0.5, cbar=False, ax=ax)
        ax.set(xlabel="predicted", ylabel="true", title=title)
        return figure
