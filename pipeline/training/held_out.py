"""How many training images are for validation."""

from __future__ import annotations

LEAST = 20
"""By fewer images than this networks can't be told apart."""


def held_out(images: int, share: float) -> int:
    """Of so many training images those held out: the share, but of few `LEAST`, or a fifth where that is less."""
    return max(by_share(images, share), min(LEAST, images // 5))


def held_out_in_words(images: int, share: float) -> str:
    """ "0.02", or "20-images" where it is not the share that decides."""
    count = held_out(images, share)
    return f"{share:g}" if count == by_share(images, share) else f"{count}-images"


def by_share(images: int, share: float) -> int:
    """The share alone, but one at least."""
    return max(1, round(share * images))
