"""Changes of images: none is none, and each limit does what it says."""

from __future__ import annotations

import pytest
import torch

from pipeline.config import Augmentation
from pipeline.errors import UserError
from pipeline.training import augmentation
from pipeline.training.augmentation import augmented


def digits(count: int = 5) -> torch.Tensor:
    """Images with their content away from the border."""
    images = torch.zeros(count, 1, 28, 28)
    images[:, :, 8:20, 9:18] = torch.rand(count, 1, 12, 9, generator=torch.Generator().manual_seed(0))
    return images


@pytest.fixture
def at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chance always draws the upper limit."""
    monkeypatch.setattr(augmentation.torch, "rand", lambda *shape, **_: torch.ones(*shape))


def test_without_limits_nothing_changes() -> None:
    images = digits()
    assert torch.allclose(augmented(images, Augmentation(), torch.Generator()), images, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(augmented(images, Augmentation(), torch.Generator()), images, atol=1e-6)


@pytest.mark.usefixtures("at_the_limit")
def test_each_limit_does_what_it_says() -> None:
    images = digits()
    turned = augmented(images, Augmentation(rotation=90), torch.Generator())
    assert torch.allclose(turned, torch.rot90(images, 1, dims=(2, 3)), atol=1e-4)
    shifted = augmented(images, Augmentation(shift=3), torch.Generator())
    assert torch.allclose(shifted, images.roll((-3, -3), dims=(2, 3)), atol=1e-4)
    # Sampled from a grid 1.25 times as wide: what is 12 high becomes 9.6.
    smaller = augmented(images, Augmentation(scale=0.25), torch.Generator())
    assert smaller.sum() / images.sum() == pytest.approx(1 / 1.25**2, rel=0.05)
    sheared = augmented(images, Augmentation(shear=0.5), torch.Generator())
    rows = sheared[0, 0].sum(dim=1)
    assert torch.allclose(rows, images[0, 0].sum(dim=1), atol=1e-3), "rows keep what they have"
    assert not torch.allclose(sheared, images, atol=0.1)
    brighter = augmented(images, Augmentation(contrast=0.25), torch.Generator())
    assert torch.allclose(brighter, 1.25 * images, atol=1e-5)


@pytest.mark.usefixtures("at_the_limit")
def test_perspective_widens_one_corner_and_narrows_the_other() -> None:
    places = (torch.arange(28) + 0.5) / 14 - 1  # from −1 to 1, as the middles of pixels lie
    across, down = places.expand(28, 28), places[:, None].expand(28, 28)
    seen = augmented(across.expand(1, 1, 28, 28), Augmentation(perspective=0.2), torch.Generator())
    expected = across / (1 + 0.2 * (across + down))
    inside = (expected.abs() < places[-1]) & (expected.mT.abs() < places[-1])  # of the image that was
    assert inside.sum() > 600
    assert torch.allclose(seen[0, 0][inside], expected[inside], atol=1e-5)


@pytest.mark.usefixtures("at_the_limit")
@pytest.mark.parametrize("others", [{}, {"scale": 0.9, "shift": 20}])
def test_no_perspective_turns_an_image_over(others: dict[str, float]) -> None:
    limits = Augmentation(perspective=0.49, **others)
    places = (torch.arange(28) + 0.5) / 14 - 1
    diagonal = (places.expand(28, 28) + places[:, None]).expand(1, 1, 28, 28)
    seen = augmented(diagonal + 10, limits, torch.Generator())[0, 0].diagonal()
    inside = seen[seen > 0][1:-1]  # what comes in is black, and mixes with the pixels at the edge
    assert len(inside) >= 4
    assert (inside.diff() > 0).all(), "what lies further right and down still does"


def test_every_image_is_changed_by_its_own_chance_and_the_generators() -> None:
    images = digits(1).expand(6, 1, 28, 28)
    limits = Augmentation(rotation=15, scale=0.1, shift=2, shear=0.1, perspective=0.1, contrast=0.2)
    first = augmented(images, limits, torch.Generator().manual_seed(3))
    again = augmented(images, limits, torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert all(not torch.equal(first[0], other) for other in first[1:])
    assert first.shape == images.shape
    assert (first >= 0).all()


def test_limits_below_zero_are_refused() -> None:
    with pytest.raises(UserError, match=r"augmentation\.shift is -1; give 0 or more"):
        Augmentation(shift=-1)
    with pytest.raises(UserError, match=r"augmentation\.scale is 1; give a share below 1"):
        Augmentation(scale=1)
    with pytest.raises(UserError, match=r"augmentation\.perspective is 0\.5; give a share below 0\.5"):
        Augmentation(perspective=0.5)


def test_chance_goes_both_ways() -> None:
    images = torch.ones(400, 1, 8, 8)
    bright = augmented(images, Augmentation(contrast=0.5), torch.Generator().manual_seed(0))[:, 0, 4, 4]
    assert bright.min() < 0.6
    assert bright.max() > 1.4
    spot = torch.zeros(400, 1, 9, 9)
    spot[:, :, 4, 4] = 1
    moved = augmented(spot, Augmentation(shift=2), torch.Generator().manual_seed(0))
    places = torch.arange(9.0)
    assert abs((moved.sum(dim=2) @ places).mean() - 4) < 0.3
    assert abs((moved.sum(dim=3) @ places).mean() - 4) < 0.3
