"""The claims of the answer on the generator's loss."""

from __future__ import annotations

import numpy as np

from pipeline.metrics.statistics import estimate, hill_index
from pipeline.reporting.claims import (
    Claim,
    Tables,
    by_seed,
    number,
    plain,
    ratio,
    selected,
    surely_above,
    surely_below,
    times,
    within,
)

SATURATING, OTHER = "saturating", "non-saturating"
STUCK = 0.9
"""A generator has learnt nothing that was never nearer to the digits than this share of the distance it began with."""


def gan_claims(tables: Tables) -> list[Claim]:
    """Every claim that there are tables for."""
    claims = []
    if "closed_form" in tables:
        claims.append(numbers(tables))
    if "gradients" in tables:
        claims += [same_direction(tables), vanishes(tables), follows_ratio(tables), spread(tables), tails(tables)]
    if "training" in tables:
        claims += [stalls(tables), balanced(tables), adam(tables)]
    if "lines" in tables:
        claims += [fixed_point(tables), lines(tables), modes(tables)]
    return claims


def numbers(tables: Tables) -> Claim:
    """Written from the logit both losses are exact; written through the sigmoid they break."""
    table = selected(tables["closed_form"], number="float32")
    stable = selected(table, form="softplus of the logit")
    naive = selected(table, form="log of the sigmoid")
    return Claim(
        "numbers",
        {
            "error": f"{stable['error'].max():.1g}",
            "broken": f"{100 * naive['broken'].max():.0f} %",
            "first": f"{naive['first'].abs().min():.1f}",
        },
        bool(stable["broken"].max() == 0 and naive["broken"].max() > 0),
    )


def ends(tables: Tables, loss: str, value: str = "norm") -> tuple[list[float], list[float]]:
    """A figure of the gradient by seed: with the untrained discriminator, and with the best."""
    table = selected(tables["gradients"], loss=loss)
    first, last = (by_seed(table, value, step=step) for step in (table["step"].min(), table["step"].max()))
    return first, last


def same_direction(tables: Tables) -> Claim:
    """The two gradients of a batch never point against each other, and autograd agrees with the closed form."""
    table = tables["gradients"]
    cosine = by_seed(table, "cosine", step=table["step"].max())
    error = table["error"].max()
    least = table["cosine"].min()
    values = {"cosine": plain(cosine, 3), "least": f"{least:.3f}", "error": f"{error:.1g}"}
    return Claim("same_direction", values, bool(least > 0 and error < 1e-3))


def vanishes(tables: Tables) -> Claim:
    """The saturating gradient vanishes as the discriminator gets better, the other does not."""
    saturating, other = (ratio(last, first) for first, last in (ends(tables, SATURATING), ends(tables, OTHER)))
    accepted = ends(tables, SATURATING, "accepted")[1]
    values = {"saturating": times(saturating), "other": times(other), "accepted": f"{np.mean(accepted):.1g}"}
    return Claim("vanishes", values, surely_below(saturating, 0.5) and surely_above(other, 0.5))


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
        "by": times(found),
    }
    return Claim("follows_ratio", values, within(found, 2))


def spread(tables: Tables) -> Claim:
    """The non-saturating gradient gets noisier from batch to batch as the discriminator gets better."""
    (first, last), (sat_first, sat_last) = (ends(tables, loss, "spread") for loss in (OTHER, SATURATING))
    other, saturating = ratio(last, first), ratio(sat_last, sat_first)
    return Claim("spread", {"other": times(other), "saturating": times(saturating)}, surely_above(other, 1))


def tails(tables: Tables) -> Claim:
    """Under a disturbed discriminator the non-saturating gradient has the heavier tails."""
    found = {
        loss: [hill_index(part[loss].tolist()) for _, part in tables["tails"].groupby("seed")]
        for loss in (SATURATING, OTHER)
    }
    values = {"saturating": plain(found[SATURATING]), "other": plain(found[OTHER])}
    return Claim("tails", values, surely_below(ratio(found[OTHER], found[SATURATING]), 1))


def nearest(tables: Tables, loss: str, head_start: int) -> list[float]:
    """By seed, the least share of its first distance from the digits that a generator came to without Adam.

    Over all looks and learning rates, so that each loss has its best; mean of plain and momentum descent.
    """
    table = selected(tables["training"], loss=loss, head_start=head_start, discriminator_steps=1)
    table = table[table["optimizer"] != "adam"]
    first = table[table["step"] == 0].groupby(["seed", "optimizer"])["distance"].mean()
    shares = table.groupby(["seed", "optimizer"])["distance"].min() / first
    return [float(share) for share in shares.groupby("seed").mean()]


def stalls(tables: Tables) -> Claim:
    """Without Adam the saturating loss goes nowhere at any of the rates, head start or not, and the other does."""
    ahead, rate = int(tables["training"]["head_start"].max()), tables["training"]["rate"].max()
    shares = {(loss, start): nearest(tables, loss, start) for loss in (SATURATING, OTHER) for start in (0, ahead)}
    values = {
        "ahead": str(ahead),
        "rate": f"{rate:g}",
        "saturating_ahead": plain(shares[SATURATING, ahead], 0, "%"),
        "other_ahead": plain(shares[OTHER, ahead], 0, "%"),
        "saturating_even": plain(shares[SATURATING, 0], 0, "%"),
        "other_even": plain(shares[OTHER, 0], 0, "%"),
    }
    holds = all(
        estimate(shares[SATURATING, start]).low > STUCK > estimate(shares[OTHER, start]).high for start in (0, ahead)
    )
    return Claim("stalls", values, holds)


def final(tables: Tables, loss: str, optimizer: str, head_start: int) -> list[float]:
    """Distance of many samples from digits at the end, by seed."""
    where = {"loss": loss, "optimizer": optimizer, "head_start": head_start, "discriminator_steps": 1}
    return by_seed(tables["final"], "distance", **where)


def balanced(tables: Tables) -> Claim:
    """Without a head start and with Adam the two losses do about as well: within a factor of 1.25."""
    saturating, other = (final(tables, loss, "adam", 0) for loss in (SATURATING, OTHER))
    found = ratio(saturating, other)
    values = {"saturating": plain(saturating, 1), "other": plain(other, 1), "ratio": times(found)}
    return Claim("balanced", values, within(found, 1.25))


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
        "gradient": times(gradient),
        "updates": times(update),
        "by_root": times(by_root),
        "saturating": plain(distances[SATURATING], 1),
        "other": plain(distances[OTHER], 1),
    }
    return Claim("adam", values, surely_below(by_root, 1))


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
    return Claim("fixed_point", values, max(max(one) for one in drift.values()) < start / 2)


def lines(tables: Tables) -> Claim:
    """Near the best discriminator of two parallel lines the saturating loss does not move, the other does."""
    left = {loss: by_seed(tables["lines"], "left", loss=loss) for loss in (SATURATING, OTHER)}
    values = {"saturating": plain(left[SATURATING], 0, "%"), "other": plain(left[OTHER], 0, "%")}
    return Claim("lines", values, estimate(left[SATURATING]).low > 0.5 > estimate(left[OTHER]).high)


def modes(tables: Tables) -> Claim:
    """The non-saturating loss keeps fewer modes of a ring of eight Gaussians."""
    kept = {loss: by_seed(tables["ring"], "modes", loss=loss) for loss in (SATURATING, OTHER)}
    difference = estimate([a - b for a, b in zip(kept[SATURATING], kept[OTHER], strict=True)])
    values = {
        "saturating": plain(kept[SATURATING], 1),
        "other": plain(kept[OTHER], 1),
        "difference": difference.text(1),
    }
    return Claim("modes", values, difference.low > 0)
