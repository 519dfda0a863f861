"""Both generator losses where everything is known: at the fixed point, on two lines, on a ring of Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from pipeline.config import GanStudy
from pipeline.models.gan import Discriminator, PointGenerator, QuadraticDiscriminator, ScaledNormal, ShiftedLine
from pipeline.studies.gan_gradients import adam, descend_discriminator, descend_generator, generated
from pipeline.studies.gan_losses import LOSSES
from pipeline.studies.measured import Digits, Measured, seeded
from pipeline.training.randomness import generator

BATCH = 256
RATE = 0.001
SGD_RATE = 0.05
MODES, MODE_STD, FAR = 8, 0.05, 3.0  # a point belongs to a mode up to three standard deviations away
KEPT = 0.01  # share of the points from which a mode counts as kept
POINTS = 4096
START = 1.0  # distance of the lines
AHEAD = 300  # steps of the discriminator before the generator's first
BETTER = 5  # and per step of it

Real = Callable[[int, torch.Generator], torch.Tensor]


def measure(settings: GanStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Tables `fixed_point` (loss, start, drift), `lines` (loss, distance left), `ring` (loss, modes, close).

    - fixed_point: a normal distribution against a normal one. start is the distance of the mean from the real one, at
      0 and not, drift the distance after training.
    - lines: points on a line against points on a parallel one, with a discriminator near its best: left is the share
      of the distance that is left.
    - ring: eight narrow Gaussians on a circle; modes that are kept, and the share of points close to one.
    """
    fixed_point = [
        {"loss": name, "start": start, "drift": fixed_point_drift(loss, start, settings.toy_steps, seed, device)}
        for name, loss in LOSSES.items()
        for start in (0.0, 0.5)
    ]
    lines = [
        {"loss": name, "left": distance_left(loss, settings.toy_steps, seed, device)} for name, loss in LOSSES.items()
    ]
    ring = [{"loss": name, **ring_kept(loss, settings.toy_steps, seed, device)} for name, loss in LOSSES.items()]
    tables = {"fixed_point": fixed_point, "lines": lines, "ring": ring}
    return Measured({name: pd.DataFrame(rows) for name, rows in tables.items()})


def play(
    net: nn.Module,
    other: nn.Module,
    own: torch.optim.Optimizer,
    others: torch.optim.Optimizer,
    loss: Callable[[torch.Tensor], torch.Tensor],
    real: Real,
    steps: int,
    source: torch.Generator,
    ahead: int,
    each: int,
) -> None:
    """Train a pair: the discriminator `ahead` steps first, then `each` per step of the generator."""
    for step in range(steps):
        for _ in range(each if step else ahead + each):
            descend_discriminator(other, others, real(BATCH, source), generated(net, BATCH, source).detach())
        descend_generator(net, own, loss(other(generated(net, BATCH, source))))


def fixed_point_drift(
    loss: Callable[[torch.Tensor], torch.Tensor], start: float, steps: int, seed: int, device: torch.device
) -> float:
    """Distance of (mean, std) from (0, 1) after training from (start, 1).

    The discriminator is pulled towards 1/2 a little (weight decay), without which even the exact game only circles
    around its fixed point.
    """
    net, other = ScaledNormal(start).to(device), QuadraticDiscriminator().to(device)
    source = generator(device, seed, "fixed point")
    own = torch.optim.SGD(net.parameters(), SGD_RATE)
    others = torch.optim.SGD(other.parameters(), SGD_RATE, weight_decay=0.1)

    def real(count: int, source: torch.Generator) -> torch.Tensor:
        return torch.randn(count, 1, generator=source, device=device)

    play(net, other, own, others, loss, real, steps, source, ahead=0, each=1)
    return math.hypot(net.mean.item(), net.std.item() - 1)


def distance_left(loss: Callable[[torch.Tensor], torch.Tensor], steps: int, seed: int, device: torch.device) -> float:
    """Share of the distance to the real line that is left, with plain gradient descent."""
    with torch.random.fork_rng():
        seeded(seed, "lines")
        other = Discriminator((2,), 64).to(device)
    net = ShiftedLine(START).to(device)
    source = generator(device, seed, "lines")
    own = torch.optim.SGD(net.parameters(), SGD_RATE)
    others = adam(other, RATE)

    def real(count: int, source: torch.Generator) -> torch.Tensor:
        along = torch.randn(count, 1, generator=source, device=device)
        return torch.cat([torch.zeros_like(along), along], dim=1)

    play(net, other, own, others, loss, real, steps // 5, source, AHEAD, BETTER)
    return abs(net.shift.item()) / START


def ring_kept(
    loss: Callable[[torch.Tensor], torch.Tensor], steps: int, seed: int, device: torch.device
) -> dict[str, float]:
    """Modes of the ring that get points, and the share of points close to a mode."""
    with torch.random.fork_rng():
        seeded(seed, "ring")
        net, other = PointGenerator().to(device), Discriminator((2,), 64).to(device)
    source = generator(device, seed, "ring")
    angles = torch.arange(MODES, device=device) * (2 * math.pi / MODES)
    centres = torch.stack([angles.cos(), angles.sin()], dim=1)

    def real(count: int, source: torch.Generator) -> torch.Tensor:
        chosen = torch.randint(MODES, (count,), generator=source, device=device)
        return centres[chosen] + MODE_STD * torch.randn(count, 2, generator=source, device=device)

    own = adam(net, RATE)
    others = adam(other, RATE)
    play(net, other, own, others, loss, real, steps, source, AHEAD, BETTER)
    with torch.no_grad():
        distance, nearest = torch.cdist(generated(net, POINTS, source), centres).min(dim=1)
    close = distance < FAR * MODE_STD
    shares = torch.bincount(nearest[close], minlength=MODES) / POINTS
    return {"modes": int((shares >= KEPT).sum()), "close": close.float().mean().item()}
