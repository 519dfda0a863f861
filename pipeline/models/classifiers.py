"""Networks that name what is in an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


class ConvNet(nn.Module):
    """Stages of two 3×3 convolutions with batch normalization and ReLU.

    Takes standardised (b, channels, h, w) images; returns logits (b, classes). Stages end in 2×2 max pooling, the last
    in the maximum over all positions, so any image size will do. Stage k has `width·2^k` channels.

    - `unshuffle`: bring blocks of that many pixels a side into channels first, which leaves fewer places to convolve.
      h and w must be multiples of it.
    - `dropout`: share of what the last layer sees that is set to zero by chance in training.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        width: int = 32,
        stages: int = 2,
        unshuffle: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = channels * unshuffle**2
        layers: list[nn.Module] = [nn.PixelUnshuffle(unshuffle)] if unshuffle > 1 else []
        for stage in range(stages):
            outputs = width * 2**stage
            layers += [*conv_block(inputs, outputs), *conv_block(outputs, outputs)]
            layers.append(nn.MaxPool2d(2) if stage < stages - 1 else nn.AdaptiveMaxPool2d(1))
            inputs = outputs
        self.features = nn.Sequential(*layers, nn.Flatten(), *[nn.Dropout(dropout)] * (dropout > 0))
        self.head = nn.Linear(inputs, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def conv_block(inputs: int, outputs: int) -> list[nn.Module]:
    """3×3 convolution, batch normalization, ReLU. The normalization's shift makes the convolution's bias redundant.

    Running statistics follow quickly: a training may have no more than some hundred steps.
    """
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, momentum=0.2), nn.ReLU(inplace=True)]


class TutorialNet(nn.Module):
    """The network of PyTorch's MNIST example (https://github.com/pytorch/examples, mnist/main.py), as a comparison.

    Two 3×3 convolutions without padding, one pooling, two linear layers with dropout; 28×28 images. Returns logits;
    the example returns their log-softmax, which the cross-entropy takes alike.
    """

    def __init__(self, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(images)
        return logits


class Standardize(nn.Module):
    """Images in [0, 1] to zero mean and unit variance a channel: (b, c, h, w) → the same.

    Part of the trained model, so that whoever loads it gives plain images.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - self.mean) / self.std
