"""Networks for digits."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from pipeline.config import PROJECT_ROOT
from pipeline.models import CLASSIFIERS
from pipeline.models.classifiers import ConvNet, Dropout, TutorialNet


@pytest.mark.parametrize("size", [28, 32, 17])
@pytest.mark.parametrize("places", [1, 3])
def test_any_image_size_has_logits(size: int, places: int) -> None:
    network = ConvNet(channels=3, classes=7, widths=[4, 8, 6], depth=1, places=places)
    assert network(torch.rand(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize("file", sorted(PROJECT_ROOT.glob("experiments/mnist-*.yaml")), ids=lambda file: file.stem)
def test_the_experiments_networks_take_digits(file: Path) -> None:
    classify = yaml.safe_load(file.read_text())["classify"]
    network = CLASSIFIERS[classify["model"]](**classify.get("settings", {})).eval()
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_widths_and_depth_are_the_convolutions() -> None:
    network = ConvNet(widths=[4, 8], depth=3, unshuffle=2)
    shapes = [tuple(p.shape[:2]) for p in network.parameters() if p.ndim == 4]
    assert shapes == [(4, 4), (4, 4), (4, 4), (8, 4), (8, 8), (8, 8)]


def test_unpadded_stages_leave_the_border_out() -> None:
    network = ConvNet(widths=[4, 8, 6], unpadded=2, places=4)
    assert network.features[:-2](torch.rand(2, 1, 28, 28)).shape == (2, 6, 4, 4)  # 28 → 24, 12 → 8, 4
    edge = torch.zeros(1, 1, 28, 28)
    edge[:, :, 0] = edge[:, :, :, 0] = 1
    first = network.features[0]
    assert torch.equal(first(edge)[:, :, 1:, 1:], first(torch.zeros(1, 1, 28, 28))[:, :, 1:, 1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unpadded": -1}, "unpadded is -1"),
        ({"unpadded": 3}, "make 2 stages"),
        ({"unpadded": 1.5}, "unpadded is 1.5"),
        ({"widths": []}, "make no convolution"),
        ({"depth": 0}, "make no convolution"),
        ({"dropout": 1.0}, "dropout of 1.0"),
        ({"dropout": -0.1}, "dropout of -0.1"),
    ],
)
def test_what_makes_no_network_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ConvNet(**settings)  # type: ignore[arg-type]


def test_the_examples_network_has_its_size() -> None:
    assert sum(p.numel() for p in TutorialNet().parameters()) == 1_199_882


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_dropout_drops_its_share_and_keeps_the_mean(share: float, order: torch.memory_format) -> None:
    torch.manual_seed(0)
    ones = torch.ones(10, 13, 31, 31).contiguous(memory_format=order)
    dropped = Dropout(share)(ones)
    n = ones.numel()
    spread = math.sqrt(share * (1 - share) / n)
    assert abs((dropped == 0).float().mean().item() - share) <= 4 * spread + 2**-16
    assert torch.allclose(dropped[dropped > 0], torch.tensor(1 / (1 - share)))
    assert dropped.stride() == ones.stride()


def test_dropout_is_independent_from_one_element_to_the_next() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).float() - 0.5
    for lag in (1, 2, 3, 4, 8):  # four elements share a random word
        correlation = 4 * (kept[lag:] * kept[:-lag]).mean().item()
        assert abs(correlation) < 4 / math.sqrt(len(kept)), f"{lag} apart"


def test_dropout_is_decided_by_the_seed_and_does_nothing_in_use() -> None:
    layer, images = Dropout(0.4), torch.rand(3, 5)
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(layer(images))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], layer(images))
    assert torch.equal(layer.eval()(images), images)


def test_dropouts_gradient_passes_what_was_kept() -> None:
    x = torch.rand(1000, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert torch.equal(x.grad, (y > 0).float() / 0.7)
