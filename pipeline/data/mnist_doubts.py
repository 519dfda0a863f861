"""MNIST test images whose labels people doubt.

Northcutt, Athalye & Mueller 2021 (arXiv 2103.14749, https://labelerrors.com) showed suspicious images to five raters
each: of these fewer than three agreed with the label (mturk/mnist_mturk.json of github.com/cleanlab/label-errors).
"""

from __future__ import annotations

from pipeline.data.store import ImageStore

DOUBTED = {
    947: 8,
    1621: 0,
    1901: 9,
    2130: 4,
    2462: 2,
    2597: 5,
    2654: 6,
    3520: 6,
    3558: 5,
    5937: 5,
    6651: 0,
    6783: 1,
    8527: 4,
    9679: 6,
    9729: 5,
}
"""Index of the test image → its label."""


def doubted_in(store: ImageStore) -> set[int]:
    """Indices in the test split of labels that are in doubt; none for images that aren't MNIST's in their order."""
    first, end = store.manifest.splits["test"]
    labels = store.labels[first:end]
    if len(labels) != 10_000 or any(labels[index] != label for index, label in DOUBTED.items()):
        return set()
    return set(DOUBTED)
