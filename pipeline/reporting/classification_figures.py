"""Figures of classifiers: colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reporting.figures import new_figure

if TYPE_CHECKING:
    import pandas as pd
    import torch


def learning_curves(curves: pd.DataFrame) -> Figure:
    """Validation accuracy over epochs, a line a seed. `curves` has the columns run, epoch, accuracy."""
    import seaborn as sns  # not for the confusion matrix, which each trial draws: it takes a second to import

    with sns.axes_style("whitegrid"):
        figure = new_figure(6, 3.4)
        ax = figure.subplots()
        sns.lineplot(curves, x="epoch", y="accuracy", hue="run", marker="o", palette="colorblind", ax=ax)
        ax.set(xlabel="epoch", ylabel="accuracy on validation images")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        return figure


def confusion(matrix: torch.Tensor, classes: Sequence[str], title: str) -> Figure:
    """Counts of true (rows) against predicted (columns) labels. Colour shows the mistakes; the diagonal is left out."""
    figure = new_figure(6.2, 5.4)
    ax = figure.subplots()
    mistakes = matrix.clone().fill_diagonal_(0)
    ax.imshow(mistakes.numpy(), cmap="Oranges", aspect="auto")
    dark = mistakes > 0.6 * mistakes.max()
    for true, predicted in np.ndindex(*matrix.shape):
        colour = "white" if dark[true, predicted] else "black"
        ax.text(predicted, true, f"{matrix[true, predicted]}", color=colour, ha="center", va="center")
    places = range(len(classes))
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.set(xticks=places, xticklabels=classes, yticks=places, yticklabels=classes)
    return figure
