"""Batches as selections of indices from uint8 images that stay where the network is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from pipeline.training.randomness import generator


@dataclass(frozen=True)
class Batch:
    """Images (b, c, h, w) float32 in [0, 1] on the device, labels (b,) int64, and their indices in the store."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class Batches:
    """The images of some indices, in batches.

    - `images` (N, c, h, w) uint8 and `labels` (N,) on the device; `indices` (n,) says which of them.
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, size: int) -> None:
        self.images, self.labels, self.indices, self.size = images, labels, indices, size

    def shuffled(self, seed: int, epoch: int) -> Iterator[Batch]:
        """One epoch in an order decided by seed and epoch, without an incomplete last batch, unless it is the only."""
        source = generator(torch.device("cpu"), seed, "order", epoch)
        order = self.indices[torch.randperm(len(self.indices), generator=source)]
        for batch in order[: self.steps_per_epoch * self.size].split(self.size):
            yield self.select(batch)

    def in_order(self) -> Iterator[Batch]:
        """All images once, in the order of their indices."""
        for batch in self.indices.split(self.size):
            yield self.select(batch)

    def select(self, indices: torch.Tensor) -> Batch:
        """One batch."""
        there = indices.to(self.images.device)
        images = self.images[there].float().div_(255).contiguous(memory_format=torch.channels_last)
        return Batch(images, self.labels[there], indices)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a shuffled epoch."""
        return max(1, len(self.indices) // self.size)
