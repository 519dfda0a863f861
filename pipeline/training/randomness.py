"""Random numbers that belong to a trial: one generator a purpose and an epoch.

A generator is seeded by a hash of (seed, purpose, epoch), so the order and the noise of epoch 7 do not depend on what
epoch 6 drew. Where torch's layers insist on the global generator, it is seeded for them and put back.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.training.held_out import held_out


def seed_of(*parts: object) -> int:
    """A 63-bit seed from anything that can be printed."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


def generator(device: torch.device, *parts: object) -> torch.Generator:
    """A torch generator on a device, seeded by what it is for."""
    return torch.Generator(device).manual_seed(seed_of(*parts))


def validation_split(train: range, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices for training and for validation, both sorted: the same for every seed, so that scores can be paired.

    How many: `pipeline.training.held_out`. Raises `UserError` where nothing is left for training.
    """
    order = np.random.Generator(np.random.Philox(seed_of("validation"))).permutation(np.asarray(train))
    count = held_out(len(train), share)
    if count >= len(train):
        raise UserError(
            f"data.validation: a share of {share:g} of {len(train)} training images leaves none to train on"
        )
    return torch.from_numpy(np.sort(order[count:])), torch.from_numpy(np.sort(order[:count]))
