"""Networks of a user's own are tried before anything is trained, and what is wrong with them is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.config import Augmentation, Training
from pipeline.errors import UserError
from pipeline.training.build import build, require_takes
from pipeline.trials import ClassificationTrial

SHAPE = (1, 28, 28)


class Own(nn.Module):
    """A network whose last step a test decides."""

    last: Callable[[torch.Tensor], object] = staticmethod(lambda logits: logits)

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(channels * 28 * 28, classes))

    def forward(self, images: torch.Tensor) -> object:
        return type(self).last(self.layers(images))


class Lazy(nn.Module):
    """Of which the sizes are not known before the first image."""

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(classes))


TRIAL = ClassificationTrial(
    dataset="mnist",
    model="own",
    settings={},
    seed=0,
    validation=0.1,
    training=Training(steps=1, batch_size=8, learning_rate=0.01),
    label_smoothing=0.0,
    augmentation=Augmentation(),
)


def raises(error: Exception) -> Callable[[torch.Tensor], object]:
    def step(logits: torch.Tensor) -> object:
        raise error

    return step


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (lambda logits: logits[:, :5], "own makes (1, 5) of an image (1, 1, 28, 28); expected (1, 10)"),
        (lambda logits: logits[..., None], "own makes (1, 10, 1) of an image"),
        (lambda logits: (logits, logits), "own makes tuple of an image"),
        (lambda logits: logits + None, "TypeError: unsupported operand"),
        (raises(NotImplementedError()), "own does not take images of 28×28 pixels: NotImplementedError (test_build.py"),
        (raises(KeyError("a")), "KeyError: 'a' (test_build.py, line "),
        (lambda logits: logits.detach(), "own can't be trained: what it gives does not depend on its weights"),
        (raises(ValueError("only squares")), "own does not take images of 28×28 pixels: only squares"),
    ],
)
def test_a_network_that_would_fail_after_its_training_is_refused_before(
    last: Callable[[torch.Tensor], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build({"own": Own}, TRIAL, channels=1, classes=10)
    require_takes(network, TRIAL, SHAPE, (10,))
    monkeypatch.setattr(Own, "last", staticmethod(last))
    with pytest.raises(UserError) as complaint:
        require_takes(network, TRIAL, SHAPE, (10,))
    assert message in str(complaint.value)


def test_the_line_of_the_networks_own_file_is_named() -> None:
    wanted = 1 + Path(__file__).read_text(encoding="utf-8").splitlines().index(
        "        return type(self).last(self.layers(images))"
    )
    network = build({"own": Own}, TRIAL, channels=1, classes=10)
    with pytest.raises(UserError, match=rf"RuntimeError: .*\(test_build.py, line {wanted}\)$"):
        require_takes(network, TRIAL, (1, 32, 32), (10,))


def test_a_network_that_can_not_be_made_is_refused_whatever_it_raises() -> None:
    with pytest.raises(UserError, match=r"^own: .*uninitialized parameter"):
        build({"own": Lazy}, TRIAL, channels=1, classes=10)
