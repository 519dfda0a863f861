"""Networks as users write them: some have nothing to train, some take one size, some can't be exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from pipeline.__main__ import main
from pipeline.config import Run
from pipeline.models import DENOISERS
from pipeline.sweeps.record import takes_other_sizes
from pipeline.tracking import keys
from pipeline.tracking.store import open_store
from tests.conftest import TINY
from tests.sweeps.sweeping import experiment_of


class Median(nn.Module):
    """A filter 3×3."""

    def __init__(self, channels: int, variance: float) -> None:
        super().__init__()

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        around = nn.functional.unfold(nn.functional.pad(noisy, (1, 1, 1, 1), mode="reflect"), 3)
        return around.unflatten(1, (noisy.shape[1], 9)).median(dim=2).values.view_as(noisy)


class Dense(nn.Module):
    """One layer from all pixels to all."""

    def __init__(self, channels: int, variance: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyLinear(channels * 32 * 32))
        self.layers(torch.zeros(1, channels, 32, 32))

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        change: torch.Tensor = self.layers(noisy)
        return noisy + change.view_as(noisy)


class Branching(nn.Module):
    """Looks at the pixels before it decides."""

    def __init__(self, channels: int, variance: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        if noisy.std() > 0.1:
            return noisy + self.layer(noisy)
        return noisy - self.layer(noisy)


def test_each_finishes_its_sweep_and_is_used_as_far_as_it_can_be(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for network in (Median, Dense, Branching):
        monkeypatch.setitem(DENOISERS, network.__name__.lower(), network)
    sweep = ["sweep", "--data.choice=demo", *TINY, "--sweep.variances=0.01 0.02", "--sweep.training.steps=2"]
    sweep += ["--sweep.models=median dense branching", "--sweep.baselines=noisy", f"--run.home={home}"]
    assert main(sweep) == 0
    printed = capsys.readouterr().out
    assert "branching · σ²=0.01 · seed 0: can't be exported, so it is in no registry (Guard" in printed
    assert main(sweep) == 0
    assert "nothing to run: every trial is done" in capsys.readouterr().out
    store = open_store(Run(home=home))
    runs = {run.name: run for run in store.finished(experiment_of(store), keys.KIND_TRIAL)}
    assert not runs["median · σ²=0.01 · seed 0"].trained

    picture = Image.effect_noise((48, 32), 20).convert("RGB")
    for name, width in (("fits", 32), ("wide", 48)):
        picture.crop((0, 0, width, 32)).save(home / f"{name}.png")
    use = ["--model=dense", "--variance=0.01", f"--out={home / 'out'}", f"--run.home={home}", "--data.choice=demo"]
    assert main(["denoise", str(home / "fits.png"), *use]) == 0
    assert main(["denoise", str(home / "wide.png"), *use]) == 2
    assert capsys.readouterr().err == f"error: {home / 'wide.png'}: this network takes images of 32×32 pixels alone\n"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (nn.Conv2d(3, 3, 3, padding=1), True),
        (Dense(3, 0.1), False),
        (nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.AdaptiveAvgPool2d(32)), False),
    ],
    ids=["convolution", "refuses", "always of one size"],
)
def test_what_sizes_a_network_takes_is_tried(network: nn.Module, expected: bool) -> None:
    assert takes_other_sizes(network, torch.rand(2, 3, 32, 32)) is expected
