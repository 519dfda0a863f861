"""Networks that take noise out of images. All take and return (b, channels, h, w) images, clean ones in [0, 1]."""

from __future__ import annotations

import torch
from torch import nn


class Autoencoder(nn.Module):
    """Convolutional autoencoder: two convolutions down, two transposed convolutions up.

    h and w must be even. The code is (b, 2·width, h/2, w/2), more numbers than the image has: it is the noise, not a
    narrow bottleneck, that stops the network from copying its input. The output is linear and not clipped.
    """

    def __init__(self, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, channels, 3, padding=1),
        )

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        denoised: torch.Tensor = self.decoder(self.encoder(noisy))
        return denoised
