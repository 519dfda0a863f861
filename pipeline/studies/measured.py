"""What an experiment of a study gives, and the images that it works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import torch

from pipeline.data.store import ImageStore
from pipeline.training.randomness import seed_of, validation_split


@dataclass(frozen=True)
class Measured:
    """Tables by the name of their file without ending, and a few figures for the comparison of runs."""

    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, float] = field(default_factory=dict)
    pictures: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Images (n, 1, h, w) from 0 to 1, by the name of their file without ending."""


@dataclass(frozen=True)
class Digits:
    """Images (n, 1, h, w) float32 from 0 to 1 and labels (n,) int64: for training, held out, and of the test."""

    images: torch.Tensor
    labels: torch.Tensor
    held_out: torch.Tensor
    held_out_labels: torch.Tensor
    test: torch.Tensor
    test_labels: torch.Tensor

    @classmethod
    def of(cls, store: ImageStore, validation: float, most: int, device: torch.device) -> Digits:
        """At most that many of a store's training images, always the same; all held-out and test images."""
        train, held_out = validation_split(store.split("train"), validation)
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed_of("study images")))
        parts = [train[order[:most]], held_out, torch.tensor(store.split("test"))]
        pixels, labels = torch.from_numpy(store.images), torch.from_numpy(store.labels).long()
        taken = [(pixels[part].float().div(255).to(device), labels[part].to(device)) for part in parts]
        return cls(*(tensor for pair in taken for tensor in pair))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image."""
        return tuple(self.images.shape[1:])

    def batch(self, size: int, source: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Training images and labels drawn with replacement."""
        chosen = torch.randint(len(self.images), (size,), generator=source, device=self.images.device)
        return self.images[chosen], self.labels[chosen]


def seeded(seed: int, *parts: object) -> None:
    """Seed the global generator, from which layers draw their first weights. Only inside `torch.random.fork_rng`."""
    torch.manual_seed(seed_of(seed, *parts))
