"""Batches as selections of indices from uint8 images that stay where the network is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count

import torch

from pipeline.training.randomness import generator

LARGE = 4 << 30  # bytes of images that may not all be in memory


@dataclass(frozen=True)
class Batch:
    """Images (b, c, h, w) float32 in [0, 1] on the device, labels (b,) int64, and their indices in the store."""

    images: torch.Tensor
    labels: torch.Tensor
    indices: torch.Tensor


class Batches:
    """The images of some indices, in batches.

    - `images` (N, c, h, w) uint8 and `labels` (N,); `indices` (n,) says which of them. They are kept on the device
      unless they have more than 4 GiB: then they may not be in memory either, and the next batch is read while this one
      is used.
    """

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, indices: torch.Tensor, size: int, device: torch.device
    ) -> None:
        stays = images.numel() > LARGE
        self.images = images if stays else images.to(device)
        self.labels = labels.to(device)
        self.indices, self.size, self.device, self.ahead = indices, size, device, stays

    def others(self, indices: torch.Tensor, size: int) -> Batches:
        """Batches of other indices from the same images, which are on the device once."""
        return Batches(self.images, self.labels, indices, size, self.device)

    def shuffled(self, seed: int, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """One epoch in an order decided by seed and epoch, without its first `skip` batches.

        There is no incomplete last batch, unless it is the only one.
        """
        source = generator(torch.device("cpu"), seed, "order", epoch)
        order = self.indices[torch.randperm(len(self.indices), generator=source)]
        yield from self.selected(order[: self.steps_per_epoch * self.size].split(self.size)[skip:])

    def endlessly(self, seed: int) -> Iterator[Batch]:
        """Epoch after epoch."""
        for epoch in count(1):
            yield from self.shuffled(seed, epoch)

    def in_order(self) -> Iterator[Batch]:
        """All images once, in the order of their indices."""
        yield from self.selected(self.indices.split(self.size))

    def selected(self, batches: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """Batches by their indices."""
        if not self.ahead or not batches:
            yield from map(self.select, batches)
            return
        with ThreadPoolExecutor(1) as reader:
            following = [reader.submit(self.select, batch) for batch in batches[:1]]
            for batch in [*batches[1:], None]:
                ready = following.pop().result()
                if batch is not None:
                    following.append(reader.submit(self.select, batch))
                yield ready

    def select(self, indices: torch.Tensor) -> Batch:
        """One batch."""
        images = self.images[indices.to(self.images.device)].to(self.device)
        scaled = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        return Batch(scaled, self.labels[indices.to(self.device)], indices)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in a shuffled epoch."""
        return max(1, len(self.indices) // self.size)
