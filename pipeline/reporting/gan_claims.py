"""The claims of the answer on the generator's loss."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.metrics.statistics import estimate, hill_index
from pipeline.reporting.claims import (
    Claim,
    Claims,
    Tables,
    above,
    below,
    by_seed,
    certain,
    difference,
    number,
    plain,
    ratio,
    selected,
    within,
)

SATURATING, OTHER = "saturating", "non-saturating"
EXACT = 1e-6
"""Greatest error of gradients of size 1 in float32 that is rounding alone."""
STUCK = 0.9
"""A generator has learnt nothing that was never nearer to the digits than this share of the distance it began with."""


def numbers(tables: Tables) -> Claim:
    """Written from the logit both losses have exact gradients; written through the sigmoid they break."""
    table = selected(tables["closed_form"], number="float32")
    stable = selected(table, form="softplus of the logit")
    naive = selected(table, form="log of the sigmoid")
    return Claim(
        {
            "error": f"{stable['error'].max():.1g}",
            "broken": f"{100 * naive['broken'].max():.0f} %",
            "first": f"{min(naive['first'].dropna(), key=abs):.1f}",
        },
        certain(stable["broken"].max() == 0 and stable["error"].max() < EXACT and naive["broken"].max() > 0),
    )


def ends(tables: Tables, loss: str, value: str = "norm") -> tuple[list[float], list[float]]:
    """A figure of the gradient by seed: with the untrained discriminator, and with the best."""
    table = selected(tables["gradients"], loss=loss)
    first, last = (by_seed(table, value, step=step) for step in (table["step"].min(), table["step"].max()))
    return first, last


def same_direction(tables: Tables) -> Claim:
    """In no batch looked at do the gradients point against each other, and autograd agrees with the closed form."""
    table = tables["gradients"]
    cosine = by_seed(table, "cosine", step=table["step"].max())
    error = table["error"].max()
    least = table["cosine"].min()
    # No interval: a cosine ends at 1, and these lie near it.
    spread = {"cosine": np.mean(cosine), "cosine_least": min(cosine), "cosine_greatest": max(cosine)}
    values = {name: f"{figure:.2f}" for name, figure in spread.items()}
    values |= {"least": f"{least:.3f}", "error": f"{error:.1g}"}
    return Claim(values, certain(least > 0 and error < 1e-3))


def vanishes(tables: Tables) -> Claim:
    """The saturating gradient vanishes as the discriminator gets better, the other does not."""
    saturating, other = (ratio(last, first) for first, last in (ends(tables, SATURATING), ends(tables, OTHER)))
    accepted = ends(tables, SATURATING, "accepted")[1]
    values = {"saturating": saturating.text(), "other": other.text(), "accepted": f"{np.mean(accepted):.1g}"}
    return Claim(values, min(below(saturating, 0.5), above(other, 0.5)))


def follows_ratio(tables: Tables) -> Claim:
    """The ratio of the norms is that of E[1 − D] to E[D], within a factor of two."""
    table = selected(tables["gradients"], loss=OTHER)
    last = table["step"].max()
    measured = [a / b for a, b in zip(ends(tables, OTHER)[1], ends(tables, SATURATING)[1], strict=True)]
    predicted = by_seed(table, "predicted_ratio", step=last)
    found = ratio(measured, predicted)
    values = {
        "measured": number(float(np.exp(np.mean(np.log(measured))))),
        "predicted": number(float(np.exp(np.mean(np.log(predicted))))),
        "by": found.text(),
    }
    return Claim(values, within(found, 1 / 2, 2))


def spread(tables: Tables) -> Claim:
    """The non-saturating gradient gets noisier from batch to batch as the discriminator gets better."""
    (first, last), (sat_first, sat_last) = (ends(tables, loss, "spread") for loss in (OTHER, SATURATING))
    other, saturating = ratio(last, first), ratio(sat_last, sat_first)
    values = {
        "other": other.text(),
        "saturating": saturating.text(),
        "other_last": plain(last, 3),
        "saturating_last": plain(sat_last, 2),
    }
    return Claim(values, above(other, 1))


def tails(tables: Tables) -> Claim:
    """Under a disturbed discriminator the non-saturating gradient has the heavier tails."""
    found = {
        loss: [hill_index(part[loss].tolist()) for _, part in tables["tails"].groupby("seed")]
        for loss in (SATURATING, OTHER)
    }
    by = ratio(found[OTHER], found[SATURATING])
    geometric = {loss: number(float(np.exp(np.mean(np.log(indices))))) for loss, indices in found.items()}
    values = {"saturating": geometric[SATURATING], "other": geometric[OTHER], "ratio": by.text()}
    return Claim(values, below(by, 1))


def without_adam(tables: Tables, loss: str, head_start: int, figure: str) -> pd.DataFrame:
    """A figure of a loss's trainings by plain and momentum descent.

    A row an optimizer, rate and seed, a column a look.
    """
    table = selected(tables["training"], loss=loss, head_start=head_start, discriminator_steps=1)
    return table[table["optimizer"] != "adam"].pivot(index=["optimizer", "rate", "seed"], columns="step", values=figure)


def shares_left(tables: Tables, loss: str, head_start: int) -> tuple[pd.Series, pd.Series]:
    """The share of its first distance from the digits that a generator had left at its nearest, and at the end."""
    distances = without_adam(tables, loss, head_start, "distance").fillna(np.inf)
    shares = distances.div(distances[0], axis="index")
    return shares.drop(columns=0).min(axis="columns"), shares[shares.columns.max()]


def at_best_rate(figures: pd.Series, shares: pd.Series) -> list[float]:
    """By seed, the mean over optimizers of a figure, at each one's rate of the least shares over all seeds.

    Both by optimizer, rate and seed.
    """
    best = shares.unstack("seed").mean(axis=1).groupby("optimizer").idxmin()
    means: list[float] = figures.unstack("seed").loc[best].mean().tolist()
    return means


def stalls(tables: Tables) -> Claim:
    """Without Adam and with the discriminator ahead, the saturating loss goes nowhere, and the other does."""
    ahead, rates = int(tables["training"]["head_start"].max()), tables["training"]["rate"]
    covered = without_adam(tables, OTHER, ahead, "covered")
    named = at_best_rate(covered[covered.columns.max()], shares_left(tables, OTHER, ahead)[1])
    values = {
        "ahead": str(ahead),
        "rates": str(rates.nunique()),
        "greatest": f"{rates.max():g}",
        "covered": plain(named, 1),
    }
    verdicts = []
    for start, when in ((ahead, "ahead"), (0, "even")):
        for loss, name, verdict in ((SATURATING, "saturating", above), (OTHER, "other", below)):
            nearest, end = (at_best_rate(shares, shares) for shares in shares_left(tables, loss, start))
            values |= {f"{name}_{when}": plain(nearest, 0, "%"), f"{name}_{when}_end": plain(end, 0, "%")}
            if start == ahead:
                verdicts.append(verdict(estimate(nearest), STUCK))
    return Claim(values, min(verdicts))


def final(tables: Tables, loss: str, optimizer: str, head_start: int) -> list[float]:
    """Distance of many samples from digits at the end, by seed."""
    where = {"loss": loss, "optimizer": optimizer, "head_start": head_start, "discriminator_steps": 1}
    return by_seed(tables["final"], "distance", **where)


def balanced(tables: Tables) -> Claim:
    """Without a head start and with Adam the two losses do about as well: within a factor of 1.25."""
    saturating, other = (final(tables, loss, "adam", 0) for loss in (SATURATING, OTHER))
    found = ratio(saturating, other)
    values = {"saturating": plain(saturating, 1), "other": plain(other, 1), "ratio": found.text()}
    return Claim(values, within(found, 1 / 1.25, 1.25))


def adam(tables: Tables) -> Claim:
    """Adam divides by the gradient's size: its steps differ by less than the root of what the gradients differ by."""
    ahead = int(tables["training"]["head_start"].max())
    table = selected(tables["training"], optimizer="adam", head_start=ahead, discriminator_steps=1)
    table = table[table["step"] > 0]
    sizes = {
        (loss, what): [float(part[what].median()) for _, part in selected(table, loss=loss).groupby("seed")]
        for loss in (SATURATING, OTHER)
        for what in ("gradient", "update")
    }
    gradient, update = (ratio(sizes[OTHER, what], sizes[SATURATING, what]) for what in ("gradient", "update"))
    by_root = ratio(
        [a**2 / b**2 for a, b in zip(sizes[OTHER, "update"], sizes[SATURATING, "update"], strict=True)],
        [a / b for a, b in zip(sizes[OTHER, "gradient"], sizes[SATURATING, "gradient"], strict=True)],
    )
    distances = {loss: final(tables, loss, "adam", ahead) for loss in (SATURATING, OTHER)}
    values = {
        "gradient": gradient.text(),
        "updates": update.text(),
        "by_root": by_root.text(),
        "saturating": plain(distances[SATURATING], 1),
        "other": plain(distances[OTHER], 1),
    }
    return Claim(values, below(by_root, 1))


def fixed_point(tables: Tables) -> Claim:
    """Both losses stay at the solution and come back to it."""
    table = tables["fixed_point"]
    drift = {
        (loss, start): by_seed(table, "drift", loss=loss, start=start)
        for loss in (SATURATING, OTHER)
        for start in sorted(table["start"].unique())
    }
    start = max(table["start"])
    values = {
        "start": f"{start:g}",
        "saturating": plain(drift[SATURATING, start], 3),
        "other": plain(drift[OTHER, start], 3),
        "stay": f"{max(max(drift[loss, 0.0]) for loss in (SATURATING, OTHER)):.1g}",
    }
    return Claim(values, certain(max(max(one) for one in drift.values()) < start / 2))


def lines(tables: Tables) -> Claim:
    """Near the best discriminator of two parallel lines the saturating loss does not move, the other does."""
    left = {loss: by_seed(tables["lines"], "left", loss=loss) for loss in (SATURATING, OTHER)}
    values = {"saturating": plain(left[SATURATING], 0, "%"), "other": plain(left[OTHER], 0, "%")}
    return Claim(values, min(above(estimate(left[SATURATING]), 0.5), below(estimate(left[OTHER]), 0.5)))


def modes(tables: Tables) -> Claim:
    """The non-saturating loss keeps fewer modes of a ring of eight Gaussians."""
    kept = {loss: by_seed(tables["ring"], "modes", loss=loss) for loss in (SATURATING, OTHER)}
    fewer = difference(kept[SATURATING], kept[OTHER])
    values = {
        "saturating": plain(kept[SATURATING], 1),
        "other": plain(kept[OTHER], 1),
        "difference": fewer.text(1),
    }
    return Claim(values, above(fewer, 0))


GAN_CLAIMS: Claims = {
    "numbers": ("closed_form", numbers),
    "same_direction": ("gradients", same_direction),
    "vanishes": ("gradients", vanishes),
    "follows_ratio": ("gradients", follows_ratio),
    "spread": ("gradients", spread),
    "tails": ("gradients", tails),
    "stalls": ("training", stalls),
    "balanced": ("training", balanced),
    "adam": ("training", adam),
    "fixed_point": ("lines", fixed_point),
    "lines": ("lines", lines),
    "modes": ("lines", modes),
}
