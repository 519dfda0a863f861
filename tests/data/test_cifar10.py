"""CIFAR-10's pickles: read whatever their count, refused if they disagree or ask to run code."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data.cifar10 import ARCHIVE, FOLDER, TEST, TRAIN, read_cifar10
from pipeline.errors import UserError


def batch(count: int, seed: int) -> dict[bytes, Any]:
    random = np.random.default_rng(seed)
    return {
        b"data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
        b"labels": random.integers(0, 10, count).tolist(),
        b"filenames": [b"%d.png" % i for i in range(count)],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The published layout with few images, another count in every batch."""
    place = tmp_path / FOLDER
    place.mkdir()
    for k, name in enumerate([*TRAIN, *TEST]):
        (place / name).write_bytes(pickle.dumps(batch(10 + k, k), protocol=4))
    names = [b"airplane", b"automobile", b"bird", b"cat", b"deer", b"dog", b"frog", b"horse", b"ship", b"truck"]
    (place / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=4))
    return place


def test_images_and_labels_are_those_of_the_batches_in_order(folder: Path) -> None:
    splits, classes, notes = read_cifar10(folder)
    assert {name: part.images.shape for name, part in splits.items()} == {
        "train": (10 + 11 + 12 + 13 + 14, 3, 32, 32),
        "test": (15, 3, 32, 32),
    }
    second = batch(11, 1)
    # A row is 1,024 red, 1,024 green and 1,024 blue values, each plane row by row.
    assert splits["train"].images[10, 1, 0, 5] == second[b"data"][0, 1024 + 5]
    assert splits["train"].labels[10:21].tolist() == second[b"labels"]
    assert classes[3] == "cat"
    assert notes == [
        "CIFAR-10 here has 60 of the usual 50,000 train images.",
        "CIFAR-10 here has 15 of the usual 10,000 test images.",
    ]


def test_the_archive_gives_the_same_as_the_folder(folder: Path, tmp_path: Path) -> None:
    archive = tmp_path / ARCHIVE
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, FOLDER)
    from_archive, from_folder = read_cifar10(archive)[0], read_cifar10(folder)[0]
    for split in ("train", "test"):
        assert np.array_equal(from_archive[split].images, from_folder[split].images)
        assert np.array_equal(from_archive[split].labels, from_folder[split].labels)


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_a_command_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    (folder / "test_batch").write_bytes(pickle.dumps(Malicious(f"touch {trace}"), protocol=4))
    with pytest.raises(UserError, match=r"test_batch: not a CIFAR-10 batch: it asks for (posix|nt)\.system"):
        read_cifar10(folder)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"labels": [0] * 9}, "15 images, 9 labels and 15 names disagree"),
        ({b"labels": [10] * 15}, "label 10; expected a whole number from 0 to 9"),
        ({b"data": np.zeros((15, 3071), np.uint8)}, r"data is uint8 \(15, 3071\); expected uint8 \(n, 3072\)"),
        ({b"data": np.zeros((15, 3072), np.float32)}, "data is float32"),
    ],
)
def test_a_batch_whose_parts_disagree_is_refused(folder: Path, change: dict[bytes, Any], message: str) -> None:
    (folder / "test_batch").write_bytes(pickle.dumps({**batch(15, 5), **change}, protocol=4))
    with pytest.raises(UserError, match=message):
        read_cifar10(folder)


def test_a_missing_and_a_damaged_batch_are_named(folder: Path) -> None:
    (folder / "data_batch_3").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match="data_batch_3: not a CIFAR-10 batch"):
        read_cifar10(folder)
    (folder / "data_batch_3").unlink()
    with pytest.raises(UserError, match="data_batch_3: missing"):
        read_cifar10(folder)
