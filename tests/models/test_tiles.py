"""What comes out of tiles is what comes out of the whole image."""

from __future__ import annotations

import pytest
import torch

from pipeline.models import DENOISERS
from pipeline.models.tiles import MARGIN, TILE, mirrored, tiled


@pytest.mark.parametrize("name", ["autoencoder", "residual", "dncnn", "tutorial-fixed"])
def test_tiles_change_nothing(name: str) -> None:
    torch.manual_seed(0)
    model = DENOISERS[name](channels=3).eval()
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # a U-Net begins with a last layer of zeros
    noisy = torch.rand(3, 200, 275)
    with torch.no_grad():
        whole = tiled(model, noisy, tile=TILE)
        seams = (tiled(model, noisy, tile=64, margin=0) - whole).abs().max()
        difference = (tiled(model, noisy, tile=64, margin=MARGIN) - whole).abs().max()
    assert seams > 0.01, "without margins there are seams to be seen"
    # Sums may be taken in another order; a step of 8 bits is 0.004.
    assert difference < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (16, 16), (17, 33)])
def test_any_size_will_do_and_only_padding_is_cut_off(size: tuple[int, int]) -> None:
    image = torch.rand(3, *size)
    assert torch.equal(tiled(lambda images: images, image, tile=16, margin=16), image)
    assert mirrored(image).shape[1] % 16 == mirrored(image).shape[2] % 16 == 0
