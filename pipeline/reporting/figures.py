"""What all figures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.metrics.statistics import estimate

if TYPE_CHECKING:
    import pandas as pd


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that belongs to no screen."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def one_legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """The same legend of all panels, beside them, where it covers nothing."""
    handles, labels = axes[0].get_legend_handles_labels()
    for ax in axes:
        legend = ax.get_legend()
        if legend is not None:
            legend.remove()
    figure.legend(handles, labels, loc="outside right center", frameon=False)


def interval(values: pd.Series[float]) -> tuple[float, float]:
    """Ends of the 95 % t-interval of the mean; the mean itself for one value."""
    found = estimate(values.tolist())
    return found.low, found.high
