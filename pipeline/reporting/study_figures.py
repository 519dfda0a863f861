"""Figures of the studies: colours that colour-blind readers tell apart, line styles besides, intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter
from numpy.typing import NDArray

from pipeline.reporting.claims import Tables, selected
from pipeline.reporting.figures import interval, new_figure, one_legend

LOSS_ORDER = ["saturating", "non-saturating"]
LOSS_NAMES = {"saturating": "saturating, log(1 − D)", "non-saturating": "non-saturating, −log D"}
ARM_NAMES = {
    "none": "none",
    "he": "none, He init.",
    "batch": "batch norm",
    "batch-none": "batch norm, PyTorch's init.",
    "group": "group norm",
    "frozen": "batch norm, frozen statistics",
    "noisy": "batch norm and noise",
}
WHOLE_RANGE = ("pi", 100)
"""From the least to the greatest of the seeds, for seaborn."""
NET_NAMES = {"sigmoid": "sigmoid", "shallow": "shallow plain", "deep": "deep plain", "residual": "deep with skips"}


def lines(table: pd.DataFrame, ax: Axes, x: str, y: str, hue: str, style: str = "", **options: object) -> None:
    """Means with 95 % t-intervals over seeds, a line a value of `hue`, dashed by `style` or by the same."""
    shown = {"errorbar": interval, "palette": "colorblind", **options}
    sns.lineplot(table, x=x, y=y, hue=hue, style=style or hue, ax=ax, **shown)


def gan_figures(tables: Tables, samples: Mapping[str, NDArray[np.uint8]]) -> dict[str, Figure]:
    """By the name of their file, those that there are tables for."""
    found = {"gan_losses.png": losses()}
    if "gradients" in tables:
        found["gan_gradients.png"] = gradients(tables["gradients"])
        found["gan_tails.png"] = tails(tables["tails"])
    if "training" in tables:
        found["gan_training.png"] = training(tables["training"])
    if samples:
        found["gan_samples.png"] = sample_grids(samples)
    return found


def losses() -> Figure:
    """Both losses and their derivatives by the logit, over D(G(z))."""
    d = np.linspace(0.001, 0.999, 500)
    with sns.axes_style("whitegrid"):
        figure = new_figure(9, 3.4)
        left, right = figure.subplots(1, 2)
        colours = sns.color_palette("colorblind")
        curves = {"saturating": (np.log(1 - d), -d, "-"), "non-saturating": (-np.log(d), -(1 - d), "--")}
        for colour, (name, (loss, gradient, style)) in zip(colours, curves.items(), strict=False):
            left.plot(d, loss, style, color=colour, label=LOSS_NAMES[name])
            right.plot(d, gradient, style, color=colour, label=LOSS_NAMES[name])
        left.set(xlabel="D(G(z))", ylabel="loss", title="loss of the generator", ylim=(-5, 5))
        right.set(xlabel="D(G(z))", ylabel="derivative by the logit", title="its gradient, image by image")
        left.legend()
        return figure


def gradients(table: pd.DataFrame) -> Figure:
    """Norm of the generator's gradient over steps of the discriminator, and the ratio against the prediction."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(9, 3.6)
        left, right = figure.subplots(1, 2)
        # On a logarithm an interval stays where the norms are: above 0.
        named = table.assign(loss=table["loss"].map(LOSS_NAMES), step=table["step"] + 1, size=np.log10(table["norm"]))
        lines(named, left, "step", "size", "loss")
        left.set(xscale="log", xlabel="steps of the discriminator + 1", ylabel="log₁₀ of the gradient's norm")
        norms = table.pivot_table(index=["seed", "step"], columns="loss", values="norm")
        predicted = selected(table, loss="non-saturating").set_index(["seed", "step"])["predicted_ratio"]
        measured = norms["non-saturating"] / norms["saturating"]
        right.loglog(predicted, measured.reindex(predicted.index), "o", markersize=4, alpha=0.6)
        ends = [predicted.min(), predicted.max()]
        right.loglog(ends, ends, "k--", linewidth=1, label="equal")
        right.set(xlabel="E[1 − D] / E[D]", ylabel="ratio of the two norms")
        right.legend()
        return figure


def tails(table: pd.DataFrame) -> Figure:
    """How often a gradient is so far from its median, when the discriminator is disturbed."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(5.5, 3.6)
        ax = figure.subplots()
        for colour, style, loss in zip(sns.color_palette("colorblind"), ("-", "--"), LOSS_ORDER, strict=False):
            for number, (_, part) in enumerate(table.groupby("seed")):
                far = np.sort(np.abs(part[loss] - part[loss].median()).to_numpy())[::-1]
                share = np.arange(1, len(far) + 1) / len(far)
                label = LOSS_NAMES[loss] if number == 0 else None
                ax.loglog(far / np.median(far), share, style, color=colour, linewidth=1, label=label)
        ax.set(xlim=(0.3, None), xlabel="distance from the median, in median distances", ylabel="share of draws beyond")
        ax.legend()
        return figure


def training(table: pd.DataFrame) -> Figure:
    """Distance of samples from real digits over training, a panel an optimizer, with and without a head start."""
    table = selected(table, discriminator_steps=1, rate=1)
    table = table[table["head_start"].isin([0, table["head_start"].max()])]
    with sns.axes_style("whitegrid"):
        figure = new_figure(10, 3.6)
        axes = figure.subplots(1, 3, sharey=True)
        named = table.assign(loss=table["loss"].map(LOSS_NAMES)).rename(columns={"head_start": "head start"})
        for ax, optimizer in zip(axes, ("sgd", "momentum", "adam"), strict=True):
            lines(
                selected(named, optimizer=optimizer),
                ax,
                "step",
                "distance",
                "loss",
                style="head start",
                legend=optimizer == "sgd",
            )
            distance = "squared Fréchet distance"
            ax.set(title=optimizer, xlabel="steps of the generator", ylabel=distance)
        one_legend(figure, axes)
        return figure


def sample_grids(samples: Mapping[str, NDArray[np.uint8]], columns: int = 10) -> Figure:
    """Generated digits side by side, the same noise under both losses."""
    figure = new_figure(9, 1.5)
    for ax, (loss, images) in zip(figure.subplots(1, 2), samples.items(), strict=True):
        lines = len(images) // columns
        grid = images[: lines * columns, 0].reshape(lines, columns, *images.shape[2:]).transpose(0, 2, 1, 3)
        ax.imshow(grid.reshape(lines * images.shape[2], -1), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(LOSS_NAMES[loss], fontsize=10)
        ax.axis("off")
    return figure


def batch_norm_figures(tables: Tables) -> dict[str, Figure]:
    """By the name of their file, those that there are tables for."""
    found = {}
    if "rates" in tables:
        found["bn_rates.png"] = rates(tables["rates"])
    if "batches" in tables:
        found["bn_batches.png"] = batches(tables["batches"])
    if "probes" in tables:
        found["bn_probes.png"] = probes(tables["probes"])
    if "depth" in tables:
        found["bn_depth.png"] = depth(tables["depth"])
    return found


def rates(table: pd.DataFrame) -> Figure:
    """Accuracy at the end over the learning rate, a panel a network and a line an arm; bands hold all seeds."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(11.5, 5.6)
        axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
        named = table.assign(arm=table["arm"].map(ARM_NAMES))
        for number, (ax, net) in enumerate(zip(axes, NET_NAMES, strict=True)):
            # Where an arm diverges with some seeds only, a t-interval would leave the range of accuracies.
            of_net = selected(named, net=net)
            lines(of_net, ax, "rate", "final", "arm", markers=True, legend=number == 0, errorbar=WHOLE_RANGE)
            ax.set(xscale="log", title=NET_NAMES[net], xlabel="learning rate", ylabel="accuracy at the end")
            ax.set_ylim(0, 1)
        one_legend(figure, axes)
        return figure


def batches(table: pd.DataFrame) -> Figure:
    """Test accuracy over the batch size: the same number of images, and the same number of steps."""
    named = table.assign(arm=table["arm"].map(ARM_NAMES))
    repaired = selected(table, arm="batch").assign(arm="batch norm, statistics anew", running=lambda t: t["precise"])
    both = pd.concat([named, repaired])
    with sns.axes_style("whitegrid"):
        figure = new_figure(11, 3.6)
        for ax, budget in zip(figure.subplots(1, 2, sharey=True), ("images", "steps"), strict=True):
            # Where an arm learns with some seeds only, a t-interval would leave the range of accuracies.
            of_budget, legend = selected(both, budget=budget), budget == "images"
            lines(of_budget, ax, "batch", "running", "arm", markers=True, legend=legend, errorbar=WHOLE_RANGE)
            title = f"the same number of {budget} for every size"
            ax.set(xscale="log", xlabel="batch size", ylabel="test accuracy", title=title)
            sizes = sorted(table["batch"].unique())
            ax.set_xticks(sizes, labels=[str(size) for size in sizes])
        one_legend(figure, figure.axes)
        return figure


def probes(table: pd.DataFrame) -> Figure:
    """Loss along the gradient as a band, and how much the gradient changes, over training."""
    with sns.axes_style("whitegrid"):
        figure = new_figure(9, 3.6)
        left, right = figure.subplots(1, 2)
        arms = table.groupby("arm", sort=False)
        for colour, style, (arm, part) in zip(
            sns.color_palette("colorblind"), cycle(("-", "--", ":")), arms, strict=False
        ):
            means = part.groupby("step")[["least", "greatest", "loss"]].mean()
            left.fill_between(means.index, means["least"], means["greatest"], color=colour, alpha=0.3)
            left.plot(means.index, means["loss"], style, color=colour, label=ARM_NAMES[str(arm)])
        left.set(xlabel="step", ylabel="loss; band: along the gradient", yscale="log")
        for axis_part in (left.yaxis.set_major_formatter, left.yaxis.set_minor_formatter):
            axis_part(LogFormatter(minor_thresholds=(2, 1)))  # 3, not 3 × 10⁰
        left.legend(fontsize=7)
        # On a logarithm an interval stays above 0.
        named = table.assign(arm=table["arm"].map(ARM_NAMES), bend=np.log10(table["bend"]))
        lines(named, right, "step", "bend", "arm")
        right.set(ylabel="log₁₀ of the gradient's change / distance")
        right.legend(fontsize=7)
        return figure


def depth(table: pd.DataFrame) -> Figure:
    """How much greater the first layer's gradient is than the last's before training, over the number of layers."""
    names = {"he": "none, He init.", "batch": "batch norm", "batch with skips": "batch norm and skips"}
    with sns.axes_style("whitegrid"):
        figure = new_figure(5.5, 3.6)
        ax = figure.subplots()
        # On a logarithm an interval stays above 0.
        named = table.assign(kind=table["kind"].map(names), ratio=table["log_ratio"] / np.log(10))
        lines(named, ax, "layers", "ratio", "kind", markers=True)
        ax.set(xlabel="layers", ylabel="log₁₀ of gradient norm, first layer / last")
        ax.legend(title=None)
        return figure
