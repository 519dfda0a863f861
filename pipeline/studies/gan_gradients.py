"""Gradients of both generator losses as the discriminator gets better, with the generator standing still."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import nn

from pipeline.config import GanStudy
from pipeline.models.gan import Discriminator, Generator
from pipeline.studies.gan_losses import LOSSES, WEIGHTS, discriminator_loss
from pipeline.studies.measured import Digits, Measured, seeded
from pipeline.training.randomness import generator

BETAS = (0.5, 0.999)
PROBED = 512  # noise vectors that a gradient is the mean over
BATCHES = 16  # that its spread is over
DISTURBANCE = 0.05  # of a weight's root mean square
DISTURBED_BATCH = 16


def measure(settings: GanStudy, seed: int, digits: Digits, device: torch.device) -> Measured:
    """Train a generator a little, freeze it, and train a fresh discriminator against it.

    Table `gradients`, a row a step of the discriminator and loss: norm of the generator's gradient on one large batch,
    spread (standard deviation of the norm over small batches by their mean), cosine (between both losses), error (of
    autograd against the closed form, relative), accepted (mean D(G(z))), discriminator_loss (on held-out images).
    Table `tails`: projections on a fixed direction of the gradient under disturbed discriminators, by loss.
    """
    with torch.random.fork_rng():
        seeded(seed, "gan gradients")
        frozen = Generator(digits.shape, hidden=settings.hidden).to(device)
        first = Discriminator(digits.shape, settings.hidden).to(device)
        fresh = Discriminator(digits.shape, settings.hidden).to(device)
    source = generator(device, seed, "gan gradients")
    warm_up(frozen, first, settings, digits, source)
    noise = torch.randn(PROBED, frozen.latent, generator=source, device=device)
    optimizer = adam(fresh, settings.learning_rate)
    rows = []
    looks = set(log_spaced(settings.probe_steps))
    for step in range(settings.probe_steps + 1):
        if step in looks:
            rows += [{"step": step, **row} for row in probe(frozen, fresh, noise, digits.held_out[:PROBED])]
        real, _ = digits.batch(settings.batch_size, source)
        descend_discriminator(fresh, optimizer, real, generated(frozen, settings.batch_size, source).detach())
    tails = disturbed(frozen, fresh, settings.draws, source)
    table = pd.DataFrame(rows)
    first_norm, last_norm = (
        table[table["step"] == step].set_index("loss")["norm"] for step in (table["step"].min(), table["step"].max())
    )
    figures = {f"{name} gradient_last_over_first": float(last_norm[name] / first_norm[name]) for name in LOSSES}
    return Measured({"gradients": table, "tails": tails}, figures)


def warm_up(one: Generator, other: Discriminator, settings: GanStudy, digits: Digits, source: torch.Generator) -> None:
    """Train a pair with Adam and the non-saturating loss."""
    own, others = adam(one, settings.learning_rate), adam(other, settings.learning_rate)
    for _ in range(settings.warm_steps):
        images = generated(one, settings.batch_size, source)
        descend_discriminator(other, others, digits.batch(settings.batch_size, source)[0], images.detach())
        descend_generator(one, own, LOSSES["non-saturating"](other(images)))


def adam(network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """As usual for generative adversarial networks (Radford et al. 2016, arXiv 1511.06434, section 4)."""
    return torch.optim.Adam(network.parameters(), learning_rate, BETAS, fused=True)


def generated(network: nn.Module, count: int, source: torch.Generator) -> torch.Tensor:
    """That many images or points from fresh noise."""
    images: torch.Tensor = network(torch.randn(count, network.latent, generator=source, device=source.device))  # type: ignore[call-overload]
    return images


def descend_discriminator(
    network: nn.Module, optimizer: torch.optim.Optimizer, real: torch.Tensor, images: torch.Tensor
) -> None:
    """One step."""
    optimizer.zero_grad()
    logits = network(torch.cat([real, images]))
    discriminator_loss(logits[: len(real)], logits[len(real) :]).backward()
    optimizer.step()


def descend_generator(network: nn.Module, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step. The discriminator gets no gradients from it: it must not step with them, and they cost time."""
    optimizer.zero_grad()
    loss.backward(inputs=list(network.parameters()))
    optimizer.step()


def log_spaced(last: int, count: int = 16) -> list[int]:
    """Steps from 0 to the last, about evenly spaced on a logarithmic axis."""
    return sorted({0, *np.unique(np.geomspace(1, last, count).round().astype(int)).tolist()})


def flat_gradient(loss: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Gradient by all of a network's parameters as one vector. The graph stays, for others."""
    gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    return torch.cat([gradient.flatten() for gradient in gradients])


def probe(frozen: Generator, judge: Discriminator, noise: torch.Tensor, real: torch.Tensor) -> list[dict[str, object]]:
    """A row a loss; see `measure`."""
    logits = judge(frozen(noise))
    whole, errors = {}, {}
    for name, loss in LOSSES.items():
        whole[name] = flat_gradient(loss(logits), frozen)
        weights = WEIGHTS[name](logits.detach())
        by_hand = flat_gradient((weights * logits).mean(), frozen)
        errors[name] = ((whole[name] - by_hand).norm() / by_hand.norm()).item()
    small: dict[str, list[float]] = {name: [] for name in LOSSES}
    for part in noise.chunk(BATCHES):
        logits_of_part = judge(frozen(part))
        for name, loss in LOSSES.items():
            small[name].append(flat_gradient(loss(logits_of_part), frozen).norm().item())
    saturating, other = whole.values()
    with torch.no_grad():
        accepted = logits.sigmoid().mean().item()
        rejected = (-logits).sigmoid().mean().item()
        quality = discriminator_loss(judge(real), logits).item()
    return [
        {
            "loss": name,
            "norm": whole[name].norm().item(),
            "spread": float(np.std(small[name], ddof=1) / np.mean(small[name])),
            "cosine": torch.cosine_similarity(saturating, other, dim=0).item(),
            "error": errors[name],
            "accepted": accepted,
            "predicted_ratio": rejected / accepted,
            "discriminator_loss": quality,
        }
        for name in LOSSES
    ]


def disturbed(frozen: Generator, judge: Discriminator, draws: int, source: torch.Generator) -> pd.DataFrame:
    """Projections of the gradients on one random direction, a row a draw of Gaussian noise on the judge's weights."""
    device = source.device
    size = sum(parameter.numel() for parameter in frozen.parameters())
    direction = torch.nn.functional.normalize(torch.randn(size, generator=source, device=device), dim=0)
    noise = torch.randn(DISTURBED_BATCH, frozen.latent, generator=source, device=device)
    weights = [parameter.detach().clone() for parameter in judge.parameters()]
    rows = []
    for _ in range(draws):
        with torch.no_grad():
            for parameter, weight in zip(judge.parameters(), weights, strict=True):
                scale = DISTURBANCE * weight.square().mean().sqrt()
                parameter.copy_(weight + scale * torch.randn(weight.shape, generator=source, device=device))
        logits = judge(frozen(noise))
        rows.append({name: (flat_gradient(f(logits), frozen) @ direction).item() for name, f in LOSSES.items()})
    with torch.no_grad():
        for parameter, weight in zip(judge.parameters(), weights, strict=True):
            parameter.copy_(weight)
    return pd.DataFrame(rows)
