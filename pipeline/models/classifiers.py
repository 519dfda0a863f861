"""Networks that name what is in an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class ConvNet(nn.Module):
    """Stages of 3×3 convolutions with batch normalization and ReLU.

    Takes standardised (b, channels, h, w) images; returns logits (b, classes). Between stages, 2×2 max pooling halves
    the size; what the last one gives is pooled to `places`×`places` positions, so any image size will do that the
    unpadded stages leave something of.

    - `widths`: channels of each stage.
    - `depth`: convolutions a stage.
    - `unshuffle`: bring blocks of that many pixels a side into channels first, which leaves fewer places to convolve.
      h and w must be multiples of it.
    - `unpadded`: number of stages, from the first, whose convolutions leave the border out: where nothing is to be seen
      there, as with digits, much is saved.
    - `dropout`: share of what the last layer sees that is set to zero by chance in training.
    """

    def __init__(
        self,
        channels: int = 1,
        classes: int = 10,
        widths: Sequence[int] = (32, 64),
        depth: int = 2,
        unshuffle: int = 1,
        places: int = 1,
        unpadded: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not widths or depth < 1:
            raise ValueError(f"widths {list(widths)} and depth {depth} make no convolution")
        if unpadded not in range(len(widths) + 1):
            raise ValueError(f"unpadded is {unpadded}; the widths {list(widths)} make {len(widths)} stages")
        layers: list[nn.Module] = [nn.PixelUnshuffle(unshuffle)] if unshuffle > 1 else []
        inputs = channels * unshuffle**2
        for stage, width in enumerate(widths):
            for number in range(depth):
                pooled = number == depth - 1 and stage < len(widths) - 1
                layers += conv_block(inputs, width, pooled, padding=0 if stage < unpadded else 1)
                inputs = width
        layers += [nn.AdaptiveMaxPool2d(places), nn.Flatten(), *[Dropout(dropout)] * (dropout > 0)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(inputs * places**2, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.features(images))
        return logits


def conv_block(inputs: int, outputs: int, pooled: bool, padding: int) -> list[nn.Module]:
    """3×3 convolution, perhaps 2×2 max pooling, batch normalization, ReLU.

    Pooled first, there is a quarter to normalize. The normalization's shift makes the convolution's bias redundant. Its
    running statistics follow quickly: a training may have no more than some hundred steps.
    """
    convolution = nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False)
    pooling = [nn.MaxPool2d(2)] if pooled else []
    return [convolution, *pooling, nn.BatchNorm2d(outputs, momentum=0.2), nn.ReLU(inplace=True)]


class Dropout(nn.Module):
    """What `nn.Dropout` does; on a CPU from 16 random bits an element, with `share` rounded down to a 65,536th.

    Where PyTorch draws Bernoulli numbers one by one, a training step of `TutorialNet` takes a tenth longer with its own
    dropout (benchmarks/step.py).
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share < 1:
            raise ValueError(f"a dropout of {share}: give a share from 0 to below 1")
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or x.device.type != "cpu":
            return F.dropout(x, self.share, self.training)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        alike = torch.empty_like(x, device="meta")
        bits = words.view(torch.int16)[: x.numel()].as_strided(alike.shape, alike.stride())
        kept = bits >= int(self.share * 2**16) - 2**15
        return x * kept / (1 - self.share)

    def extra_repr(self) -> str:
        return f"{self.share}"


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
            Dropout(0.25),
            nn.Flatten(),
            nn.Linear(9216, 128),
            nn.ReLU(),
            Dropout(0.5),
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
