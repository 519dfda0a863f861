"""What the convolutions of a network reach by themselves: the yardstick of a training's speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

REPEATS = 15


@dataclass(frozen=True)
class Alone:
    """Forward and backward through every convolution of a network once, one after the other."""

    seconds: float
    """A batch."""
    flop: float
    """A batch; a multiplication and an addition are two."""

    @property
    def teraflops(self) -> float:
        """Rate reached."""
        return self.flop / self.seconds / 1e12


@torch.no_grad()
def shapes_of(network: nn.Module, images: torch.Tensor) -> list[tuple[nn.Conv2d | nn.ConvTranspose2d, torch.Size]]:
    """Every convolution of a network and the shape of what it gets."""
    found: list[tuple[nn.Conv2d | nn.ConvTranspose2d, torch.Size]] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: found.append((layer, inputs[0].shape)))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    network(images)
    for hook in hooks:
        hook.remove()
    return found


def alone(network: nn.Module, images: torch.Tensor, precision: torch.dtype) -> Alone:
    """Median seconds of `conv2d` and `conv_transpose2d`, forward and backward, in `channels_last`.

    The first convolution's input needs no gradient, as in training.
    """
    seconds = flop = 0.0
    for index, (layer, shape) in enumerate(shapes_of(network, images)):
        transposed = isinstance(layer, nn.ConvTranspose2d)
        convolve = F.conv_transpose2d if transposed else F.conv2d
        x, w = (
            tensor.to(precision).contiguous(memory_format=torch.channels_last)
            for tensor in (torch.rand(shape), layer.weight.detach())
        )
        x.requires_grad_(index > 0)
        w.requires_grad_()
        times = []
        for _ in range(REPEATS):
            started = time.perf_counter()
            y = convolve(x, w, stride=layer.stride, padding=layer.padding)  # type: ignore[operator]
            y.backward(torch.ones_like(y))
            times.append(time.perf_counter() - started)
        seconds += median(times)
        products = x.numel() * w[0].numel() if transposed else y.numel() * w[0].numel()
        flop += (3 if index else 2) * 2 * products
    return Alone(seconds, flop)
