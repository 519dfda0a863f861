"""Figures of denoisers: colours that colour-blind readers tell apart, and markers; every seed as a dot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.metrics import SSIM_VARIANT
from pipeline.reporting.figures import interval, new_figure, one_legend
from pipeline.tracking import keys
from pipeline.trials import variance_text

VARIANCE = "noise variance σ² (pixels from 0 to 1)"
PSNR = "PSNR in dB (mean over images)"
MARKERS = "oXsPD^vphd<>"


def all_of(
    results: pd.DataFrame, matrix: pd.DataFrame, tables: Mapping[str, pd.DataFrame], classes: Sequence[str]
) -> dict[str, Figure]:
    """Every figure of a sweep, by the name of its file; those of trained models only where there are some."""
    found = {"quality_over_variance.png": quality_over_variance(results)}
    if not (results["model"] == "noisy").all():
        found["gain_over_variance.png"] = gain_over_variance(results)
    if results["trained"].any():
        found["quality_over_time.png"] = quality_over_time(results)
        if tables[keys.CURVES]["epoch"].max() > 1:  # of a single epoch there is but a dot
            found["denoising_curves.png"] = denoising_curves(tables[keys.CURVES])
        found["cross_matrix.png"] = cross_heat_map(matrix)
        found["psnr_by_class.png"] = class_heat_map(tables[keys.BY_CLASS], classes)
    return found


def quality_over_variance(results: pd.DataFrame) -> Figure:
    """PSNR and SSIM over the noise variance, a line a model: the mean over seeds, its 95 % t-interval, every seed.

    `results` is that of `reporting.denoising.denoising_results`, as everywhere here.
    """
    return over_variance(results, {"psnr": PSNR, "ssim": f"SSIM ({SSIM_VARIANT})"})


def gain_over_variance(results: pd.DataFrame) -> Figure:
    """How many dB each model is above the noisy image."""
    return over_variance(results, {"gain": "gain over the noisy image in dB"}, left_out="noisy")


def over_variance(results: pd.DataFrame, panels: dict[str, str], left_out: str | None = None) -> Figure:
    """A panel a measure, with one legend beside them; each model looks the same whatever is left out."""
    with sns.axes_style("whitegrid"), mpl.rc_context({"axes.titlesize": "medium"}):
        figure = new_figure(5 * len(panels) + 1.6, 3.8)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        # What is trained has the first and strongest colours, and the same ones in the figures of it alone.
        colours = colours_of(results.sort_values("trained", ascending=False, kind="stable")["model"])
        shown = results[results["model"] != left_out]
        for ax, (measure, label) in zip(axes, panels.items(), strict=True):
            sns.lineplot(
                shown,
                x="variance",
                y=measure,
                hue="model",
                style="model",
                markers=markers_of(colours),
                dashes=False,
                errorbar=interval,
                palette=colours,
                ax=ax,
            )
            sns.scatterplot(shown, x="variance", y=measure, hue="model", palette=colours, s=14, legend=False, ax=ax)
            ax.set(xlabel=VARIANCE, ylabel=label)
            variance_axis(ax, results["variance"])
        one_legend(figure, axes)
        return figure


def colours_of(models: pd.Series[str]) -> dict[str, tuple[float, float, float]]:
    """A colour a model, in the order of the table; more than ten models share ten colours and differ by marker."""
    names = list(dict.fromkeys(models))
    return dict(zip(names, sns.color_palette("colorblind", len(names)), strict=True))


def markers_of(models: Iterable[str]) -> dict[str, str]:
    """A marker a model, in their order."""
    return dict(zip(models, cycle(MARKERS), strict=False))


def variance_axis(ax: Axes, variances: pd.Series[float]) -> None:
    """A logarithmic axis where the variances span more than a factor of four, with a tick at each of a few."""
    if variances.nunique() > 1 and variances.max() / variances.min() > 4:
        ax.set_xscale("log")
        if variances.nunique() <= 8:
            ax.set_xticks(sorted(variances.unique()), minor=False)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()


def quality_over_time(results: pd.DataFrame) -> Figure:
    """PSNR against seconds of training, a dot a trained model and seed, a panel a variance."""
    trained = results[results["trained"]]
    variances = sorted(trained["variance"].unique())
    with sns.axes_style("whitegrid"):
        columns = min(len(variances), 4)
        lines = -(-len(variances) // columns)
        figure = new_figure(3.2 * columns + 1.6, 3.2 * lines)
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        colours = colours_of(trained["model"])
        for ax in grid[len(variances) :]:
            ax.axis("off")
        for ax, variance in zip(grid, variances, strict=False):
            part = trained[trained["variance"] == variance]
            sns.scatterplot(
                part, x="seconds", y="psnr", hue="model", style="model", palette=colours, hue_order=list(colours),
                markers=markers_of(colours), s=60, ax=ax,
            )  # fmt: skip
            ax.set(xlabel="seconds of training", ylabel="PSNR in dB", title=f"σ²={variance_text(variance)}")
        one_legend(figure, list(grid[: len(variances)]))
        return figure


def denoising_curves(curves: pd.DataFrame) -> Figure:
    """Validation PSNR over epochs, a line a trial. `curves` has the columns model, variance, seed, epoch, psnr."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(8, 3.8)
        ax = figure.subplots()
        named = curves.assign(**{"σ²": curves["variance"].map(variance_text)})
        sns.lineplot(
            named, x="epoch", y="psnr", hue="model", style="σ²", units="seed", estimator=None, marker="o",
            palette=colours_of(curves["model"]), ax=ax,
        )  # fmt: skip
        ax.set(xlabel="epoch", ylabel="PSNR in dB on validation images")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        one_legend(figure, [ax])
        return figure


def cross_heat_map(matrix: pd.DataFrame) -> Figure:
    """PSNR of every network (rows) at every variance (columns)."""
    return heat_map(matrix.rename(columns=variance_text), "PSNR in dB", "variance of the noise in the test images")


def class_heat_map(table: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """PSNR of each class (columns), a row a model and variance, coloured by the distance from the row's mean."""
    wide = table.pivot(index=["model", "variance"], columns="label", values="psnr")
    rows = [f"{model}, σ²={variance_text(variance)}" for model, variance in wide.index]
    named = wide.set_axis(rows).set_axis([classes[int(label)] for label in wide.columns], axis=1)
    distances = named.sub(named.mean(axis=1), axis=0)
    return heat_map(named, "dB from the row's mean", "class", distances)


def heat_map(table: pd.DataFrame, unit: str, below: str, colour: pd.DataFrame | None = None) -> Figure:
    """Figures in their cells; the colour is that of the figure, or of another table of the same shape."""
    with sns.axes_style("white"):
        figure = new_figure(2.5 + 0.9 * table.shape[1], 1.2 + 0.42 * table.shape[0])
        ax = figure.subplots()
        sns.heatmap(
            table if colour is None else colour,
            annot=table,
            fmt=".2f",
            cmap="viridis" if colour is None else "PuOr",
            center=None if colour is None else 0,
            linewidths=0.5,
            cbar_kws={"label": unit},
            ax=ax,
        )
        ax.set(xlabel=below, ylabel="")
        return figure
