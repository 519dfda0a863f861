"""Optimizers do what the settings of a training say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.config import Training
from pipeline.training.optimizers import Optimizers
from tests.training.test_fit import network


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "muon"])
def test_weights_decay_and_biases_do_not(optimizer: str) -> None:
    model = network()
    training = Training(optimizer=optimizer, weight_decay=0.3, beta2=0.9)  # type: ignore[arg-type]
    decays = {
        id(parameter): group["weight_decay"]
        for member in Optimizers(model, training, 10).members
        for group in member.param_groups
        for parameter in group["params"]
    }
    assert {parameter.ndim > 1: decays[id(parameter)] for parameter in model.parameters()} == {True: 0.3, False: 0.0}
    assert len(decays) == len(list(model.parameters()))
    first = Optimizers(model, training, 10).members[0]
    if optimizer != "sgd":
        assert first.param_groups[0]["betas"][1] == 0.9


def test_gradients_are_limited_in_their_norm() -> None:
    for limit in (0.5, None):
        model = nn.Linear(64, 3)
        training = Training(optimizer="sgd", learning_rate=1.0, clip_norm=limit, weight_decay=0.0)
        optimizers = Optimizers(model, training, 10)
        before = torch.cat([p.detach().flatten() for p in model.parameters()])
        (1000 * model(torch.ones(2, 64))).sum().backward()
        rate = optimizers.learning_rate
        optimizers.step()
        step = (torch.cat([p.detach().flatten() for p in model.parameters()]) - before).norm().item()
        nesterov = 1.95  # the first step: the gradient and 0.95 of it again
        assert (step == pytest.approx(rate * nesterov * 0.5, rel=1e-3)) == (limit is not None)


def rates_of(training: Training, steps: int) -> list[list[float]]:
    optimizers, found = Optimizers(network(), training, steps), []
    for _ in range(steps):
        found.append([member.param_groups[0]["lr"] for member in optimizers.members])
        optimizers.step()
    return found


def test_the_learning_rate_rises_for_the_warmup_and_falls_as_it_is_told() -> None:
    for warmup, top in ((0.1, 9), (0.5, 49)):
        rates = [one for (one,) in rates_of(Training(learning_rate=0.1, warmup=warmup), 100)]
        assert rates.index(max(rates)) == top
        assert max(rates) == pytest.approx(0.1)
    falls = {
        anneal: [one for (one,) in rates_of(Training(learning_rate=0.1, warmup=0.1, anneal=anneal), 100)][9:]
        for anneal in ("linear", "cosine")
    }
    linear, cosine = (torch.tensor(falls[name]).diff() for name in ("linear", "cosine"))
    assert linear.max() - linear.min() < 1e-6
    assert cosine[45] < 3 * cosine[2]


def test_muon_has_a_learning_rate_of_its_own() -> None:
    rates = rates_of(Training(optimizer="muon", learning_rate=0.1, muon_learning_rate=0.7), 100)
    assert [max(column) for column in zip(*rates, strict=True)] == pytest.approx([0.1, 0.7])
