"""The claims of the answer on batch normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, geometric_mean

import numpy as np
import pandas as pd

from pipeline.metrics.statistics import estimate
from pipeline.reporting.claims import (
    Claim,
    Ratio,
    Tables,
    above,
    below,
    by_seed,
    certain,
    plain,
    ratio,
    selected,
    within,
)

Figure = Callable[[pd.DataFrame], float]
"""Of the rows of one net, arm and seed."""
Mean = Callable[[Iterable[float]], float]

TARGET = 0.8
"""Accuracy to be reached, chosen beforehand; trainings that do not reach it count with the steps they had."""
GOOD = 0.05
"""A learning rate is good whose accuracy is no further below the arm's best than this, and reaches the target."""
RELU_SLOPE = 0.5 * math.log(math.pi / (math.pi - 1))
"""ln of the growth a layer of the gradient's norm in deep plain ReLU networks (Yang et al. 2019)."""


def batch_norm_claims(tables: Tables) -> list[Claim]:
    """Every claim that there are tables for."""
    claims = []
    if "rates" in tables:
        claims += [faster(tables, net) for net in ("sigmoid", "deep", "residual", "shallow")]
        claims.append(wider(tables))
        if "batch-none" in set(tables["rates"]["arm"]):  # runs from before it was tried lack it
            claims.append(initialisation(tables))
        claims += [small_rate(tables), frozen(tables)]
    if "probes" in tables:
        claims += [noisy(tables), shift(tables), smoother(tables)]
    if "batches" in tables:
        claims += [small_batches(tables), repaired(tables), one_class(tables), gap(tables)]
    if "depth" in tables:
        claims += [explosion(tables), scale(tables), decay(tables), cost(tables), folded(tables)]
    return claims


def tuned(table: pd.DataFrame) -> pd.DataFrame:
    """A row a net, arm and seed at the arm's best learning rate: that of the least mean steps on the half for choosing.

    Columns rate, steps (on the other half) and seconds until `TARGET`; reached. One rate for all seeds of an arm.
    """
    table = table.assign(
        choosing=table[f"chosen_{TARGET:g}"].fillna(table["limit"]),
        steps=table[f"measured_{TARGET:g}"].fillna(table["limit"]),
        reached=table[f"measured_{TARGET:g}"].notna(),
    )
    groups = [column for column in ("net", "arm") if column in table]
    rows = []
    for _, part in table.groupby(groups):
        # Where no rate gets there, the one that comes furthest.
        means = part.assign(left=-part.get("choice", 0)).groupby("rate")[["choosing", "left"]].mean()
        rows.append(part[part["rate"] == means.sort_values(["choosing", "left"]).index[0]])
    best: pd.DataFrame = pd.concat(rows)
    return best.assign(seconds=best["steps"] * best["ms"] / 1000) if "ms" in best else best


def steps_text(part: pd.DataFrame) -> str:
    """ "152 ± 14 (n = 5) [2/5]": mean steps, and how many trainings got there, if not all; the rest are limits."""
    text = plain(part["steps"].tolist(), 0)
    return text if part["reached"].all() else f"{text} [{part['reached'].sum()}/{len(part)}]"


def at_least(found: Ratio, over: pd.DataFrame, under: pd.DataFrame) -> str:
    """A ratio of steps in words: a lower bound where only those above it are limits."""
    return f"≥ {found.text()}" if under["reached"].all() and not over["reached"].all() else found.text()


def better_bare(best: pd.DataFrame) -> str:
    """Of the two arms without normalization the one with fewer steps; `best` is one net's of `tuned`."""
    steps = best[best["arm"].isin(("none", "he"))].groupby("arm")["steps"].mean()
    return str(steps.idxmin())


def faster(tables: Tables, net: str) -> Claim:
    """Tuned against tuned, batch normalization reaches the accuracy in fewer steps."""
    best = selected(tuned(tables["rates"]), net=net)
    arms = {arm: best[best["arm"] == arm].sort_values("seed") for arm in ("none", "he", "batch", "group")}
    bare = better_bare(best)
    steps = ratio(arms[bare]["steps"].tolist(), arms["batch"]["steps"].tolist())
    seconds = ratio(arms[bare]["seconds"].tolist(), arms["batch"]["seconds"].tolist())
    values = {
        "bare": steps_text(arms[bare]),
        "batch": steps_text(arms["batch"]),
        "group": steps_text(arms["group"]),
        "steps": at_least(steps, arms[bare], arms["batch"]),
        "seconds": at_least(seconds, arms[bare], arms["batch"]),
        "bare_rate": f"{arms[bare]['rate'].iloc[0]:g}",
        "batch_rate": f"{arms['batch']['rate'].iloc[0]:g}",
        "target": f"{100 * TARGET:.0f} %",
    }
    return Claim(f"faster_{net}", values, above(steps, 1))


def good_range(table: pd.DataFrame) -> float:
    """Width in decades of the learning rates that are good; `table` is of one net, arm and seed. 0: none is, or one."""
    good = table[table["final"] >= max(table["final"].max() - GOOD, TARGET)]["rate"]
    return float(np.log10(good.max() / good.min())) if len(good) else 0.0


def greatest_rate(table: pd.DataFrame) -> float:
    """The greatest learning rate that did not diverge; the least there is where all did."""
    trained = table.loc[~table["diverged"], "rate"]
    return float(trained.max() if len(trained) else table["rate"].min())


def over_nets(table: pd.DataFrame, arms: Sequence[str], figure: Figure, mean: Mean) -> list[float]:
    """By seed, the mean over the convolutional networks of a figure, in each of the arm with the highest mean."""
    nets = []
    for net in sorted(set(table["net"]) - {"sigmoid"}):
        found = [[figure(part) for _, part in selected(table, net=net, arm=arm).groupby("seed")] for arm in arms]
        nets.append(max(found, key=mean))
    return [mean(seed) for seed in zip(*nets, strict=True)]


def wider(tables: Tables) -> Claim:
    """In the convolutional networks more learning rates do, and greater ones before training diverges."""
    arms = (("batch",), ("none", "he"))
    batch, bare = (over_nets(tables["rates"], one, good_range, fmean) for one in arms)
    difference = estimate([a - b for a, b in zip(batch, bare, strict=True)])
    rates = ratio(*(over_nets(tables["rates"], one, greatest_rate, geometric_mean) for one in arms))
    values = {
        "batch": plain(batch),
        "bare": plain(bare),
        "difference": difference.text(2),
        "rates": rates.text(),
        "margin": f"{GOOD:g}",
        "target": f"{100 * TARGET:.0f} %",
    }
    return Claim("wider", values, min(above(rates, 1), above(difference, 0)))


def initialisation(tables: Tables) -> Claim:
    """Steps depend less on the first weights: PyTorch's own or scaled ones, the factor between them is smaller."""
    best = tuned(tables["rates"])

    def factors(arm: str, other: str) -> list[float]:
        """By seed, the logarithm of the mean factor between two arms' steps, whichever is the slower, over networks."""
        logarithms = best.pivot(index=["net", "seed"], columns="arm", values="steps").map(math.log)
        apart = (logarithms[arm] - logarithms[other]).abs()
        return [float(mean) for mean in apart.groupby("seed").mean()]

    bare, batch = factors("none", "he"), factors("batch-none", "batch")
    found = {
        "bare": bare,
        "batch": batch,
        "ratio": [a - b for a, b in zip(bare, batch, strict=True)],
    }
    ratios = {name: Ratio.of_logarithms(estimate(logarithms)) for name, logarithms in found.items()}
    return Claim("initialisation", {name: one.text() for name, one in ratios.items()}, above(ratios["ratio"], 1))


def small_rate(tables: Tables) -> Claim:
    """At one small rate for both, more than half of the advantage is gone (Bjorck et al. 2018)."""
    table = selected(tables["rates"], net="shallow")
    best = {arm: tuned(selected(table, arm=arm))["rate"].iloc[0] for arm in ("he", "batch")}
    small = min(best.values())
    finals = {arm: by_seed(selected(table, arm=arm, rate=small), "final") for arm in ("he", "batch")}
    tuned_finals = {arm: by_seed(selected(table, arm=arm, rate=best[arm]), "final") for arm in ("he", "batch")}
    same = [a - b for a, b in zip(finals["batch"], finals["he"], strict=True)]
    own = [a - b for a, b in zip(tuned_finals["batch"], tuned_finals["he"], strict=True)]
    left = estimate([at_small - at_best / 2 for at_small, at_best in zip(same, own, strict=True)])
    values = {
        "rate": f"{small:g}",
        "same": plain(same, 1, "%"),
        "own": plain(own, 1, "%"),
        "left": left.text(1, "%"),
    }
    return Claim("small_rate", values, below(left, 0))


def frozen(tables: Tables) -> Claim:
    """With statistics of one batch, kept, training takes more steps than with each batch's own."""
    best = selected(tuned(tables["rates"]), net="deep")
    arms = {arm: best[best["arm"] == arm].sort_values("seed") for arm in ("none", "he", "batch", "frozen")}
    bare = better_bare(best)
    found = ratio(arms["frozen"]["steps"].tolist(), arms["batch"]["steps"].tolist())
    values = {
        "frozen": steps_text(arms["frozen"]),
        "batch": steps_text(arms["batch"]),
        "bare": steps_text(arms[bare]),
        "ratio": at_least(found, arms["frozen"], arms["batch"]),
    }
    return Claim("frozen", values, above(found, 1))


def noisy(tables: Tables) -> Claim:
    """With noise that makes layer inputs drift more than without normalization, training is still faster."""
    arms = ("he", "batch", "noisy")
    best = {arm: tuned(selected(tables["noise"], arm=arm)).sort_values("seed") for arm in arms}
    steps = {arm: part["steps"].tolist() for arm, part in best.items()}
    looked_at = tables["probes"].dropna(subset="drift")
    drift = {arm: by_seed(looked_at, "drift", arm=arm) for arm in arms}
    values = {
        **{f"steps_{arm}": steps_text(part) for arm, part in best.items()},
        **{f"drift_{arm}": plain(found) for arm, found in drift.items()},
    }
    is_faster = above(ratio(steps["he"], steps["noisy"]), 1)
    drifts_more = above(ratio(drift["noisy"], drift["he"]), 1)
    return Claim("noisy", values, min(is_faster, drifts_more))


def shift(tables: Tables) -> Claim:
    """Internal covariate shift, as Santurkar et al. define it, is not lower with batch normalization by a fifth."""
    found = {arm: by_seed(tables["probes"], "shift", arm=arm) for arm in ("he", "batch")}
    by = ratio(found["batch"], found["he"])
    values = {"bare": plain(found["he"]), "batch": plain(found["batch"]), "ratio": by.text()}
    return Claim("shift", values, above(by, 0.8))


def smoother(tables: Tables) -> Claim:
    """Along the gradient the gradient itself turns less."""
    found = {arm: by_seed(tables["probes"], "bend", arm=arm) for arm in ("he", "batch")}
    by = ratio(found["batch"], found["he"])
    values = {"bare": plain(found["he"]), "batch": plain(found["batch"]), "ratio": by.text()}
    return Claim("smoother", values, below(by, 1))


def drop(tables: Tables, arm: str, column: str = "running") -> list[float]:
    """Accuracy lost from the greatest batch size to the least, with the same number of images, by seed."""
    table = selected(tables["batches"], arm=arm, budget="images")
    best, least = (by_seed(table, column, batch=size) for size in (table["batch"].max(), table["batch"].min()))
    return [a - b for a, b in zip(best, least, strict=True)]


def small_batches(tables: Tables) -> Claim:
    """In batches of two, batch normalization loses more than group normalization."""
    batch, group = drop(tables, "batch"), drop(tables, "group")
    difference = estimate([a - b for a, b in zip(batch, group, strict=True)])
    table = selected(tables["batches"], budget="images", batch=tables["batches"]["batch"].min())
    values = {
        "size": str(tables["batches"]["batch"].min()),
        "batch": plain(by_seed(table, "running", arm="batch"), 1, "%"),
        "group": plain(by_seed(table, "running", arm="group"), 1, "%"),
        "difference": difference.text(1, "%"),
    }
    return Claim("small_batches", values, above(difference, 0))


def repaired(tables: Tables) -> Claim:
    """Part of the loss is repaired by taking the statistics anew."""
    table = selected(tables["batches"], arm="batch", budget="images", batch=tables["batches"]["batch"].min())
    running, precise, own = (by_seed(table, column) for column in ("running", "precise", "own"))
    gain = estimate([a - b for a, b in zip(precise, running, strict=True)])
    values = {
        "running": plain(running, 1, "%"),
        "precise": plain(precise, 1, "%"),
        "own": plain(own, 1, "%"),
        "gain": gain.text(1, "%"),
    }
    return Claim("repaired", values, above(gain, 0))


def one_class(tables: Tables) -> Claim:
    """After batches of one class each, batch normalization fails with running statistics, group normalization less."""
    batch, group = (by_seed(tables["sorted"], "running", arm=arm) for arm in ("batch", "group"))
    difference = estimate([b - a for a, b in zip(batch, group, strict=True)])
    values = {"batch": plain(batch, 1, "%"), "group": plain(group, 1, "%"), "difference": difference.text(1, "%")}
    return Claim("one_class", values, above(difference, 0))


def gap(tables: Tables) -> Claim:
    """Small batches regularise: the gap between training and test images is smaller than in large ones."""
    table = selected(tables["batches"], arm="batch", budget="images").assign(gap=lambda t: t["train"] - t["running"])
    small, large = (by_seed(table, "gap", batch=size) for size in (8, table["batch"].max()))
    difference = estimate([a - b for a, b in zip(small, large, strict=True)])
    values = {"small": plain(small, 1, "%"), "large": plain(large, 1, "%"), "difference": difference.text(1, "%")}
    return Claim("gap", values, below(difference, 0))


def slopes(tables: Tables, kind: str) -> list[float]:
    """Growth a layer of ln of the gradient's norm towards the first layer, by seed."""
    return [
        float(np.polyfit(part["layers"], part["log_ratio"], 1)[0])
        for _, part in selected(tables["depth"], kind=kind).groupby("seed")
    ]


def explosion(tables: Tables) -> Claim:
    """Before training, gradients grow by about 1.21 a layer with batch normalization, and not with skips or without."""
    found = {kind: estimate(slopes(tables, kind)) for kind in ("he", "batch", "batch with skips")}
    factors = {kind: Ratio.of_logarithms(one).text(4) for kind, one in found.items()}
    values = {
        "batch": factors["batch"],
        "bare": factors["he"],
        "skips": factors["batch with skips"],
        "theory": f"{math.exp(RELU_SLOPE):.3f}",
    }
    near = within(found["batch"], 0.75 * RELU_SLOPE, 1.25 * RELU_SLOPE)
    return Claim("explosion", values, min(near, below(found["batch with skips"], RELU_SLOPE / 2)))


def scale(tables: Tables) -> Claim:
    """Weights before a normalization may be of any size: the output stays, the gradient is divided."""
    table = tables["scale"]
    factor = float(table["factor"].iloc[0])
    change, gradient = by_seed(table, "output_change"), by_seed(table, "gradient_ratio")
    values = {"factor": f"{factor:g}", "change": f"{max(change):.1g}", "gradient": plain(gradient, 4)}
    return Claim("scale", values, certain(max(change) < 0.01 and all(abs(one * factor - 1) < 0.05 for one in gradient)))


def decay(tables: Tables) -> Claim:
    """Weight decay then works through the learning rate: smaller weights, greater effective rate."""
    table = tables["decay"]
    without, with_it = (by_seed(table, "effective_rate", decay=value) for value in sorted(table["decay"].unique()))
    found = ratio(with_it, without)
    return Claim("decay", {"decay": f"{table['decay'].max():g}", "ratio": found.text()}, above(found, 1))


def cost(tables: Tables) -> Claim:
    """A step costs more time and memory."""
    table = tables["cost"]
    ms, kept = (ratio(by_seed(table, c, arm="batch"), by_seed(table, c, arm="he")) for c in ("ms", "bytes"))
    group = ratio(by_seed(table, "ms", arm="group"), by_seed(table, "ms", arm="he"))
    return Claim("cost", {"ms": ms.text(), "bytes": kept.text(), "group": group.text()}, above(ms, 1))


def folded(tables: Tables) -> Claim:
    """After training it costs nothing: it becomes part of the convolution before it."""
    table = selected(tables["cost"], arm="batch")
    difference = float(table["folded_difference"].max())
    found = ratio(by_seed(table, "inference_ms"), by_seed(table, "folded_ms"))
    return Claim("folded", {"difference": f"{difference:.1g}", "ratio": found.text()}, certain(difference < 1e-4))
