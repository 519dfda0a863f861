"""Networks that take noise out of images. All take and return (b, channels, h, w) images, clean ones in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class TutorialAutoencoder(nn.Module):
    """The autoencoder of a widely copied tutorial, layer by layer, on images from −1 to 1 as there.

    Two 3×3 convolutions (8 and 4 channels), two transposed ones (8 and 3), without padding, a ReLU after each of them.
    The last one keeps it from anything darker than mid-grey, whatever the training.
    """

    def __init__(self, channels: int = 3, variance: float = 0.05) -> None:
        super().__init__()
        self.layers = nn.Sequential(*tutorial_layers(channels), nn.ReLU())

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(2 * noisy - 1)
        return (output + 1) / 2

    @staticmethod
    def nearest_output(clean: torch.Tensor) -> torch.Tensor:
        """What comes nearest to clean images of all that can come out: its PSNR is a ceiling."""
        return clean.clamp(min=0.5)


class TutorialFixed(nn.Module):
    """The same layers on images from 0 to 1 with a linear output."""

    def __init__(self, channels: int = 3, variance: float = 0.05) -> None:
        super().__init__()
        self.layers = nn.Sequential(*tutorial_layers(channels))

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.layers(noisy)
        return output


def tutorial_layers(channels: int) -> list[nn.Module]:
    """All but what follows the last transposed convolution."""
    return [
        nn.Conv2d(channels, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 8, 3),
        nn.ReLU(),
        nn.ConvTranspose2d(8, channels, 3),
    ]


class Autoencoder(nn.Module):
    """Convolutional autoencoder: two convolutions down, two transposed convolutions up.

    The code is (b, 2·width, h/2, w/2), more numbers than the image has: it is the noise, not a narrow bottleneck, that
    stops the network from copying its input. The output is linear and not clipped. Odd sides get one more pixel within.
    `depth` is the number of further 3×3 convolutions that make the code.
    """

    def __init__(self, channels: int = 3, variance: float = 0.05, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        further = [
            layer
            for _ in range(depth)
            for layer in (nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU(inplace=True))
        ]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            *further,
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(width, channels, 3, padding=1),
        )

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        h, w = noisy.shape[2:]
        even = F.pad(noisy, (0, w % 2, 0, h % 2), mode="replicate")
        denoised: torch.Tensor = self.decoder(self.encoder(even))
        return denoised[:, :, :h, :w]


class DnCNN(nn.Module):
    """Zhang et al. 2017 (arXiv 1608.03981): a stack of 3×3 convolutions that predicts the noise, as a peer.

    The first layer and the last have biases, those between batch normalization; 17 layers of 64 channels as published.
    """

    def __init__(self, channels: int = 3, variance: float = 0.05, layers: int = 17, width: int = 64) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"layers is {layers}; give 2 or more")
        inner = [
            layer
            for _ in range(layers - 2)
            for layer in (
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
        ]
        self.noise = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(inplace=True),
            *inner,
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def forward(self, noisy: torch.Tensor) -> torch.Tensor:
        noise: torch.Tensor = self.noise(noisy)
        return noisy - noise.to(noisy.dtype)
