"""Figures of results: colours that colour-blind readers tell apart, every seed as a dot."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import seaborn as sns
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.metrics.image import SSIM_VARIANT
from pipeline.metrics.statistics import estimate


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that belongs to no screen."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def quality_over_variance(results: pd.DataFrame) -> Figure:
    """PSNR and SSIM over the noise variance, a line a model: the mean over seeds, its 95 % t-interval, every seed.

    `results` has a row a trial with the columns model, variance, psnr, ssim; see `reporting.collect`.
    """
    with sns.axes_style("whitegrid"), mpl.rc_context({"axes.titlesize": "medium"}):
        figure = new_figure(10, 3.8)
        axes = figure.subplots(1, 2)
        panels = {"psnr": "PSNR in dB (mean over images)", "ssim": f"SSIM ({SSIM_VARIANT})"}
        for ax, (measure, label) in zip(axes, panels.items(), strict=True):
            sns.lineplot(
                results,
                x="variance",
                y=measure,
                hue="model",
                style="model",
                markers=True,
                dashes=False,
                errorbar=interval,
                palette="colorblind",
                ax=ax,
            )
            sns.scatterplot(
                results, x="variance", y=measure, hue="model", palette="colorblind", s=14, legend=False, ax=ax
            )
            ax.set(xlabel="noise variance σ² (pixels from 0 to 1)", ylabel=label)
            if results["variance"].nunique() > 1 and results["variance"].max() / results["variance"].min() > 4:
                ax.set_xscale("log")
                ax.set_xticks(sorted(results["variance"].unique()), minor=False)
                ax.xaxis.set_major_formatter("{x:g}")
                ax.minorticks_off()
        return figure


def interval(values: pd.Series[float]) -> tuple[float, float]:
    """Ends of the 95 % t-interval of the mean; the mean itself for one value."""
    found = estimate(values.tolist())
    half_width = found.half_width or 0.0
    return found.mean - half_width, found.mean + half_width


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
        mistakes = counts.mask(torch.eye(len(classes), dtype=torch.bool).numpy(), 0)
        sns.heatmap(mistakes, annot=counts, fmt="d", cmap="rocket_r", linewidths=0.5, cbar=False, ax=ax)
        ax.set(xlabel="predicted", ylabel="true", title=title)
        return figure
