"""Whole trainings under both generator losses, with the discriminator more or less ahead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from pipeline.config import GanStudy
from pipeline.models.gan import Discriminator, Generator
from pipeline.studies.digit_judge import Judge
from pipeline.studies.gan_gradients import adam, descend_discriminator, descend_generator, generated
from pipeline.studies.gan_losses import LOSSES
from pipeline.studies.measured import Digits, Measured, seeded
from pipeline.training.randomness import generator

# Rates with which the non-saturating loss learns without a head start; chosen on a seed that no study uses.
RATES = {"sgd": 0.1, "momentum": 0.02}
FACTORS = (16.0, 256.0)
"""Of these that plain and momentum descent are tried with as well: the saturating loss may want far greater rates."""
MOMENTUM = 0.9
FIXED = 500
ACCEPTED = 0.1  # mean D(G(z)) from which a generator counts as under way
SHOWN = 20


@dataclass(frozen=True)
class Arm:
    """One way to train a pair. The discriminator's optimizer is Adam in all of them."""

    loss: str
    optimizer: str
    head_start: int
    """Steps of the discriminator before the generator's first."""
    discriminator_steps: int = 1
    """Per step of the generator."""
    rate: float = 1.0
    """Factor of the generator's learning rate."""


def arms(head_start: int) -> Iterator[Arm]:
    """Every loss and optimizer with no, a short and the whole head start; and with five steps a step and none.

    Without Adam, which adapts it, also at greater learning rates, with no and with the whole head start.
    """
    for loss in LOSSES:
        for optimizer in ("sgd", "momentum", "adam"):
            for ahead in (0, head_start // 10, head_start):
                yield Arm(loss, optimizer, ahead)
            yield Arm(loss, optimizer, 0, 5)
            if optimizer != "adam":
                for factor in FACTORS:
                    for ahead in (0, head_start):
                        yield Arm(loss, optimizer, ahead, rate=factor)


def measure(settings: GanStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Train a pair under every arm from the same weights and the same noise.

    Table `training`, a row an arm and look: step, accepted (mean D(G(z)) of fixed noise), gradient (norm of the
    generator's, of its own loss), update (norm of what its optimizer did with it), and the judge's scores against
    held-out digits. Table `final`: the judge's scores of many samples against test digits, and started, the first step
    looked at with accepted above 0.1.
    """
    judge = Judge.trained(digits, settings.judge_steps, device)
    rows, finals = [], []
    pictures = {}
    for arm in arms(settings.head_start):
        net, looks = trained(arm, settings, seed, digits, judge, device)
        rows += [{**asdict(arm), **look} for look in looks]
        source = generator(device, seed, "samples")
        with torch.no_grad():
            samples = torch.cat([generated(net, part, source) for part in portions(settings.samples)])
        started = next((look["step"] for look in looks if look["step"] and look["accepted"] > ACCEPTED), float("nan"))
        finals.append({**asdict(arm), **judge.scores(samples, judge.test), "started": started})
        if arm == Arm(arm.loss, "momentum", settings.head_start):
            pictures[f"samples_{arm.loss}"] = samples[:SHOWN].cpu()
    return Measured(
        {"training": pd.DataFrame(rows), "final": pd.DataFrame(finals)}, {"judge_accuracy": judge.accuracy}, pictures
    )


def trained(
    arm: Arm, settings: GanStudy, seed: int, digits: Digits, judge: Judge, device: torch.device
) -> tuple[Generator, list[dict[str, float]]]:
    """The generator after training, and what was seen on the way."""
    with torch.random.fork_rng():
        seeded(seed, "gan training")
        net = Generator(digits.shape, hidden=settings.hidden).to(device)
        other = Discriminator(digits.shape, settings.hidden).to(device)
    source = generator(device, seed, "gan training")
    fixed = torch.randn(FIXED, net.latent, generator=source, device=device)
    own = optimizer_of(arm, net, settings)
    others = adam(other, settings.learning_rate)

    def step_other() -> None:
        images = generated(net, settings.batch_size, source).detach()
        descend_discriminator(other, others, digits.batch(settings.batch_size, source)[0], images)

    for _ in range(arm.head_start):
        step_other()
    looks = [look(net, other, fixed, judge, 0, float("nan"), float("nan"))]
    every = max(1, settings.steps // settings.looks)
    for step in range(1, settings.steps + 1):
        for _ in range(arm.discriminator_steps):
            step_other()
        seen = step % every == 0 or step == settings.steps
        before = parameters_to_vector(net.parameters()).detach() if seen else None
        descend_generator(net, own, LOSSES[arm.loss](other(generated(net, settings.batch_size, source))))
        if before is not None:
            gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).norm().item()
            moved = (parameters_to_vector(net.parameters()) - before).norm().item()
            looks.append(look(net, other, fixed, judge, step, gradient, moved))
    return net, looks


def optimizer_of(arm: Arm, net: nn.Module, settings: GanStudy) -> torch.optim.Optimizer:
    """The generator's optimizer."""
    if arm.optimizer == "adam":
        return adam(net, arm.rate * settings.learning_rate)
    momentum = MOMENTUM if arm.optimizer == "momentum" else 0
    return torch.optim.SGD(net.parameters(), arm.rate * RATES[arm.optimizer], momentum=momentum)


@torch.no_grad()
def look(
    net: Generator, other: Discriminator, fixed: torch.Tensor, judge: Judge, step: int, gradient: float, update: float
) -> dict[str, float]:
    """What can be seen of a pair at a step."""
    images = net(fixed)
    accepted = other(images).sigmoid().mean().item()
    return {
        "step": step,
        "accepted": accepted,
        "gradient": gradient,
        "update": update,
        **judge.scores(images, judge.held_out),
    }


def portions(count: int, most: int = 1000) -> list[int]:
    """A number as a sum of numbers that are not greater than `most`."""
    return [most] * (count // most) + ([count % most] if count % most else [])
