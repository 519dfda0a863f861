"""Claims on the steps that training takes with batch normalization and without, and on the rates it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import fmean, geometric_mean

import numpy as np
import pandas as pd

from pipeline.metrics.statistics import estimate
from pipeline.reporting.claims import (
    VERDICT_MARKS,
    Claim,
    Ratio,
    Tables,
    above,
    below,
    by_seed,
    difference,
    logarithms,
    number,
    plain,
    ratio,
    selected,
)
from pipeline.studies.batch_norm_training import WATCHED, WORST

Figure = Callable[[pd.DataFrame], float]
"""Of the rows of one net, arm and seed."""
Mean = Callable[[Iterable[float]], float]

TARGET = 0.8
"""Accuracy to be reached, chosen beforehand; trainings that do not reach it count with the steps they had."""
GOOD = 0.05
"""A learning rate is good whose accuracy is no further below the arm's best than this, and reaches the target."""
NET_ORDER = ("sigmoid", "deep", "residual", "shallow")
PLAIN = ("shallow", "deep")
"""Convolutional networks without skip connections."""
OTHER_TARGETS = (0.7, 0.9)
"""Recorded beside the one that is judged."""


def counted(table: pd.DataFrame, target: float = TARGET) -> pd.DataFrame:
    """With the columns steps until a target, on the half that is reported, choosing, the same on the other, reached.

    Trainings that do not get there count with the steps they had; so do those that have broken down again by the end,
    where the table tells.
    """
    chosen, measured = table[f"chosen_{target:g}"], table[f"measured_{target:g}"]
    if {"choice", "final"} <= set(table):
        chosen, measured = chosen.where(table["choice"] >= WORST), measured.where(table["final"] >= WORST)
    return table.assign(
        choosing=chosen.fillna(table["limit"]), steps=measured.fillna(table["limit"]), reached=measured.notna()
    )


def tuned(table: pd.DataFrame, target: float = TARGET) -> pd.DataFrame:
    """A row a net, arm and seed at the arm's best learning rate: that of the least mean steps on the half for choosing.

    Columns rate, steps (on the other half) and seconds until the target; reached. One rate for all seeds of an arm.
    """
    table = counted(table, target)
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


def by_steps(over: pd.DataFrame, under: pd.DataFrame, column: str = "steps") -> tuple[Ratio, str]:
    """The ratio of two arms' steps, or seconds, and in words: a lower bound where only those above it are limits."""
    found = ratio(by_seed(over, column), by_seed(under, column))
    is_bound = under["reached"].all() and not over["reached"].all()
    return found, f"≥ {found.text()}" if is_bound else found.text()


def better_bare(best: pd.DataFrame) -> str:
    """Of the two arms without normalization the one with fewer steps by the images for choosing.

    `best` is one net's of `tuned`.
    """
    steps = best[best["arm"].isin(("none", "he"))].groupby("arm")["choosing"].mean()
    return str(steps.idxmin())


def faster(tables: Tables, net: str) -> Claim:
    """Tuned against tuned, batch normalization reaches the accuracy in fewer steps."""
    best = selected(tuned(tables["rates"]), net=net)
    bare, batch, group = (selected(best, arm=arm) for arm in (better_bare(best), "batch", "group"))
    steps, steps_in_words = by_steps(bare, batch)
    values = {
        "bare": steps_text(bare),
        "batch": steps_text(batch),
        "group": steps_text(group),
        "steps": steps_in_words,
        "seconds": by_steps(bare, batch, "seconds")[1],
        "bare_rate": f"{bare['rate'].iloc[0]:g}",
        "batch_rate": f"{batch['rate'].iloc[0]:g}",
        "target": f"{100 * TARGET:.0f} %",
        "others": "; ".join(
            f"{100 * target:.0f} %: {ratio_at(tables, net, target)}"
            for target in OTHER_TARGETS
            if f"measured_{target:g}" in tables["rates"]
        ),
        "limit": f"{best['limit'].max():g}",
        "looked_at": str(WATCHED // 2),
    }
    return Claim(values, above(steps, 1))


def ratio_at(tables: Tables, net: str, target: float) -> str:
    """Steps without batch normalization by those with it until a target, tuned for it, in words."""
    best = selected(tuned(tables["rates"], target), net=net)
    return by_steps(selected(best, arm=better_bare(best)), selected(best, arm="batch"))[1]


def good_range(table: pd.DataFrame) -> float:
    """Width in decades of the learning rates that are good; `table` is of one net, arm and seed. 0: none is, or one."""
    good = table[table["final"] >= max(table["final"].max() - GOOD, TARGET)]["rate"]
    return float(np.log10(good.max() / good.min())) if len(good) else 0.0


def greatest_rate(table: pd.DataFrame) -> float:
    """The greatest learning rate that did not diverge; the least there is where all did."""
    trained = table.loc[~table["diverged"], "rate"]
    return float(trained.max() if len(trained) else table["rate"].min())


def over_nets(table: pd.DataFrame, nets: Sequence[str], arms: Sequence[str], figure: Figure, mean: Mean) -> list[float]:
    """By seed, the mean over networks of a figure, in each of the arm with the highest mean."""
    best = []
    for net in nets:
        found = [[figure(part) for _, part in selected(table, net=net, arm=arm).groupby("seed")] for arm in arms]
        best.append(max(found, key=mean))
    return [mean(seed) for seed in zip(*best, strict=True)]


def wider(tables: Tables, nets: Sequence[str]) -> Claim:
    """In these networks more learning rates do, and greater ones before training diverges.

    All are of the rates tried, so no interval is narrower than these lie apart.
    """
    table = tables["rates"]
    tried = sorted(table["rate"].unique())
    # Of exactly one step it can't be told by how much it is more; rates are rounded, and so are not quite evenly apart.
    apart = (1 + 1e-6) * max(math.log(greater / rate) for rate, greater in pairwise(tried))
    arms = (("batch",), ("none", "he"))
    batch, bare = (over_nets(table, nets, one, good_range, fmean) for one in arms)
    decades = difference(batch, bare).at_least(apart / math.log(10))
    greatest = logarithms(*(over_nets(table, nets, one, greatest_rate, geometric_mean) for one in arms))
    rates = Ratio.of_logarithms(estimate(greatest).at_least(apart))
    values = {
        "batch": f"{fmean(batch):.2f}",
        "bare": f"{fmean(bare):.2f}",
        "difference": decades.text(2),
        "rates": rates.text(),
        "margin": f"{GOOD:g}",
        "target": f"{100 * TARGET:.0f} %",
        "apart": f"{apart / math.log(10):.2f}",
        "factor": number(math.exp(apart)),
    }
    return Claim(values, min(above(rates, 1), above(decades, 0)))


def initialisation(tables: Tables) -> Claim | None:
    """Steps depend less on the first weights: PyTorch's own or scaled ones, the factor between them is smaller."""
    if "batch-none" not in set(tables["rates"]["arm"]):
        return None
    best = tuned(tables["rates"])

    def factors(arm: str, other: str) -> list[float]:
        """By seed, the logarithm of the mean factor between two arms' steps, whichever is the slower, over networks."""
        steps = best.pivot(index=["net", "seed"], columns="arm", values="steps").map(math.log)
        apart = (steps[arm] - steps[other]).abs()
        return [float(mean) for mean in apart.groupby("seed").mean()]

    bare, batch = factors("none", "he"), factors("batch-none", "batch")
    found = {"bare": estimate(bare), "batch": estimate(batch), "ratio": difference(bare, batch)}
    ratios = {name: Ratio.of_logarithms(one) for name, one in found.items()}
    # Where one did not get there, the factor may be greater; where both did not, too.
    bounds = {
        name: "" if best.loc[best["arm"].isin(arms), "reached"].all() else "≥ "
        for name, arms in (("bare", ("none", "he")), ("batch", ("batch-none", "batch")))
    }
    values = {name: bounds.get(name, "") + one.text() for name, one in ratios.items()}
    return Claim(values, above(ratios["ratio"], 1))


def small_rate(tables: Tables) -> Claim:
    """At one rate, the smaller of the two best, more than half of the advantage is gone (Bjorck et al. 2018).

    Of the logarithm of the ratio of steps, in every network.
    """
    table, best = counted(tables["rates"]), tuned(tables["rates"])
    values, verdicts = {}, []
    for net in NET_ORDER:
        of_net = selected(best, net=net)
        arms = (better_bare(of_net), "batch")
        tuned_bare, tuned_batch = (selected(of_net, arm=arm) for arm in arms)
        least = min(rows["rate"].iloc[0] for rows in (tuned_bare, tuned_batch))
        bare, batch = (selected(table, net=net, arm=arm, rate=least) for arm in arms)
        advantage = logarithms(by_seed(tuned_bare, "steps"), by_seed(tuned_batch, "steps"))
        left = logarithms(by_seed(bare, "steps"), by_seed(batch, "steps"))
        verdict = below(difference(left, [one / 2 for one in advantage]), 0)
        in_words = f"{by_steps(bare, batch)[1]} / {by_steps(tuned_bare, tuned_batch)[1]}"
        values[net] = f"{in_words} ({VERDICT_MARKS[verdict]})"
        verdicts.append(verdict)
    return Claim(values, min(verdicts))


def frozen(tables: Tables) -> Claim:
    """With statistics of one batch, kept, training takes more steps than with each batch's own."""
    best = selected(tuned(tables["rates"]), net="deep")
    frozen, batch, bare = (selected(best, arm=arm) for arm in ("frozen", "batch", better_bare(best)))
    found, in_words = by_steps(frozen, batch)
    values = {
        "frozen": steps_text(frozen),
        "batch": steps_text(batch),
        "bare": steps_text(bare),
        "ratio": in_words,
    }
    return Claim(values, above(found, 1))


def noisy(tables: Tables) -> Claim:
    """With noise that makes layer inputs drift more than without normalization, training is still faster."""
    arms = ("he", "batch", "noisy")
    best = {arm: tuned(selected(tables["noise"], arm=arm)) for arm in arms}
    looked_at = tables["probes"].dropna(subset="drift")
    drift = {arm: by_seed(looked_at, "drift", arm=arm) for arm in arms}
    values = {
        **{f"steps_{arm}": steps_text(part) for arm, part in best.items()},
        **{f"drift_{arm}": plain(found) for arm, found in drift.items()},
    }
    is_faster = above(by_steps(best["he"], best["noisy"])[0], 1)
    drifts_more = above(ratio(drift["noisy"], drift["he"]), 1)
    return Claim(values, min(is_faster, drifts_more))
