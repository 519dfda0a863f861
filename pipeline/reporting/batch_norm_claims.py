"""The claims of the answer on batch normalization: on speed, from `batch_norm_speed`, and on what else it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from pipeline.metrics.statistics import estimate
from pipeline.reporting.batch_norm_speed import (
    NET_ORDER,
    PLAIN,
    faster,
    frozen,
    initialisation,
    noisy,
    small_rate,
    wider,
)
from pipeline.reporting.claims import (
    Claim,
    Claims,
    Ratio,
    Tables,
    above,
    below,
    by_seed,
    certain,
    difference,
    plain,
    ratio,
    selected,
    within,
)
from pipeline.studies.batch_norm_batches import FEW

ARMS = {"batch": "batch", "group": "group", "bare": "he"}
"""By the names under which their figures stand."""
RELU_SLOPE = 0.5 * math.log(math.pi / (math.pi - 1))
"""ln of the growth a layer of the gradient's norm in deep plain ReLU networks (Yang et al. 2019)."""


def shift(tables: Tables) -> Claim:
    """Internal covariate shift (after Santurkar et al., but relative) is not lower with it by a fifth or more."""
    by, values = probed(tables, "shift")
    return Claim(values, above(by, 0.8))


def smoother(tables: Tables) -> Claim:
    """Along the gradient the gradient itself changes less."""
    by, values = probed(tables, "bend")
    return Claim(values, below(by, 1))


def probed(tables: Tables, column: str) -> tuple[Ratio, dict[str, str]]:
    """What a probe gives with batch normalization by what it gives without, and the figures in words.

    The looks' geometric mean, of all, of the early and of the late ones: what changes sign on the way is to be seen.
    """
    table = tables["probes"].assign(figure=np.log(tables["probes"][column].clip(lower=1e-30)))

    def by(part: pd.DataFrame) -> Ratio:
        bare, batch = (by_seed(part, "figure", arm=arm) for arm in ("he", "batch"))
        return Ratio.of_logarithms(difference(batch, bare))

    levels = {arm: Ratio.of_logarithms(estimate(by_seed(table, "figure", arm=arm))) for arm in ("he", "batch")}
    halfway = table["step"].max() / 2
    parts = {"early": table[table["step"] <= halfway], "late": table[table["step"] > halfway]}
    return by(table), {
        "bare": levels["he"].text(),
        "batch": levels["batch"].text(),
        "ratio": by(table).text(),
        "halfway": f"{halfway:g}",
        **{name: "–" if part.empty else by(part).text() for name, part in parts.items()},
    }


def percentages(found: Mapping[str, list[float]]) -> dict[str, str]:
    """Shares, by seed, in words."""
    return {name: plain(shares, 1, "%") for name, shares in found.items()}


def small_batches(tables: Tables) -> Claim:
    """In batches of two, batch normalization is less accurate than group normalization."""
    least = tables["batches"]["batch"].min()
    table = selected(tables["batches"], budget="images", batch=least)
    found = {name: by_seed(table, "running", arm=arm) for name, arm in ARMS.items()}
    behind = difference(found["group"], found["batch"])
    return Claim({"size": str(least), **percentages(found), "difference": behind.text(1, "%")}, above(behind, 0))


def repaired(tables: Tables) -> Claim:
    """After training in batches of two, statistics taken anew do better than the running ones."""
    table = selected(tables["batches"], arm="batch", budget="images", batch=tables["batches"]["batch"].min())
    found = {column: by_seed(table, column) for column in ("running", "precise", "own")}
    gain = difference(found["precise"], found["running"])
    return Claim({**percentages(found), "gain": gain.text(1, "%")}, above(gain, 0))


def one_class(tables: Tables) -> Claim:
    """After batches of one class each, running statistics do worse than those of mixed test batches."""
    table = tables["sorted"]
    found = {column: by_seed(table, column, arm="batch") for column in ("running", "own")}
    others = {name: by_seed(table, "running", arm=ARMS[name]) for name in ("group", "bare")}
    behind = difference(found["own"], found["running"])
    return Claim({**percentages(found | others), "difference": behind.text(1, "%")}, above(behind, 0))


def gap(tables: Tables) -> Claim:
    """Small batches regularise through it: they narrow the gap between images trained on and others more than without.

    Smaller batches also mean more steps at smaller rates, and that without normalization too.
    """
    table = tables["few"].assign(gap=lambda t: t["train"] - t["test"])
    sizes = sorted(table["batch"].unique())
    small, large = (by_seed(table, "gap", arm="batch", batch=size) for size in sizes)
    bare_small, bare_large = (by_seed(table, "gap", arm="he", batch=size) for size in sizes)
    learnt = by_seed(table, "train", arm="batch")

    def narrower(of_small: list[float], of_large: list[float]) -> list[float]:
        return [a - b for a, b in zip(of_small, of_large, strict=True)]

    by = difference(narrower(small, large), narrower(bare_small, bare_large))
    gaps = {"small": small, "large": large, "bare_small": bare_small, "bare_large": bare_large}
    values = {
        "images": str(FEW),
        "size": str(sizes[0]),
        "greatest": str(sizes[1]),
        **percentages({**gaps, "learnt": learnt}),
        "difference": by.text(1, "%"),
    }
    return Claim(values, below(by, 0))


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
    return Claim(values, min(near, below(found["batch with skips"], RELU_SLOPE / 2)))


def scale(tables: Tables) -> Claim:
    """Weights before a normalization may be of any size: the output stays, the gradient is divided."""
    table = tables["scale"]
    factor = float(table["factor"].iloc[0])
    change, gradient = by_seed(table, "output_change"), by_seed(table, "gradient_ratio")
    values = {"factor": f"{factor:g}", "change": f"{max(change):.1g}", "gradient": plain(gradient, 4)}
    return Claim(values, certain(max(change) < 0.01 and all(abs(one * factor - 1) < 0.05 for one in gradient)))


def decay(tables: Tables) -> Claim | None:
    """Weight decay acts as a learning rate that grows: with one, and no decay, the function is about the same."""
    table = tables["decay"]
    if "way" not in table:
        return None
    ways = ("with", "without", "growing rate")
    apart = {way: by_seed(table, "apart", way=way) for way in ways[1:]}
    rate = {way: by_seed(table, "effective_rate", way=way) for way in ways}
    nearer = ratio(apart["growing rate"], apart["without"])
    values = {
        "without": plain([100 * one for one in apart["without"]], 2),
        "growing": plain([100 * one for one in apart["growing rate"]], 2),
        "nearer": nearer.text(),
        "ratio": ratio(rate["with"], rate["without"]).text(),
        "ratio_growing": ratio(rate["with"], rate["growing rate"]).text(),
    }
    return Claim(values, below(nearer, 0.5))


def cost(tables: Tables) -> Claim:
    """A step costs more time and memory."""
    table = tables["cost"]
    ms, kept = (ratio(by_seed(table, c, arm="batch"), by_seed(table, c, arm="he")) for c in ("ms", "bytes"))
    group = ratio(by_seed(table, "ms", arm="group"), by_seed(table, "ms", arm="he"))
    return Claim({"ms": ms.text(), "bytes": kept.text(), "group": group.text()}, above(ms, 1))


def folded(tables: Tables) -> Claim:
    """After training it becomes part of the convolution before it: the same output in less time."""
    table = selected(tables["cost"], arm="batch")
    difference = float(table["folded_difference"].max())
    found = ratio(by_seed(table, "inference_ms"), by_seed(table, "folded_ms"))
    return Claim(
        {"difference": f"{difference:.1g}", "ratio": found.text()},
        min(certain(difference < 1e-4), above(found, 1)),
    )


BATCH_NORM_CLAIMS: Claims = {
    **{f"faster_{net}": ("rates", partial(faster, net=net)) for net in NET_ORDER},
    "wider": ("rates", partial(wider, nets=PLAIN)),
    "wider_residual": ("rates", partial(wider, nets=("residual",))),
    "initialisation": ("rates", initialisation),
    "small_rate": ("rates", small_rate),
    "frozen": ("rates", frozen),
    "noisy": ("probes", noisy),
    "shift": ("probes", shift),
    "smoother": ("probes", smoother),
    "small_batches": ("batches", small_batches),
    "repaired": ("batches", repaired),
    "one_class": ("sorted", one_class),
    "gap": ("few", gap),
    "explosion": ("depth", explosion),
    "scale": ("scale", scale),
    "decay": ("decay", decay),
    "cost": ("cost", cost),
    "folded": ("cost", folded),
}
