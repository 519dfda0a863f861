"""MNIST's IDX files become the CSV as it is published, byte for byte."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.mnist_csv import read_digits
from pipeline.data.mnist_idx import read_idx, rebuild_csv
from pipeline.errors import UserError
from tests.data.digits import Writing, digit_like, written


def write_idx(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> tuple[Path, Path]:
    """An IDX pair as it is published."""
    folder.mkdir(parents=True, exist_ok=True)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(struct.pack(">4I", 2051, *pixels.shape) + pixels.tobytes()))
    digits = folder / "train-labels-idx1-ubyte.gz"
    digits.write_bytes(gzip.compress(struct.pack(">2I", 2049, len(labels)) + labels.tobytes()))
    return images, digits


def idx_files(folder: Path) -> tuple[Path, Path, bytes]:
    """An IDX pair of some digits and the CSV of the same."""
    labels, pixels = digit_like(40)
    images, digits = write_idx(folder, pixels.astype(np.uint8).reshape(-1, 28, 28), labels.astype(np.uint8))
    return images, digits, written(labels, pixels, Writing())


def test_the_csv_is_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    images, labels, csv = idx_files(tmp_path)
    target = tmp_path / "mnist_train.csv"
    rebuild_csv(images, labels, target, hashlib.sha256(csv).hexdigest())
    assert target.read_bytes() == csv
    target.unlink()
    with pytest.raises(UserError, match=r"rebuilt from train-images-idx3-ubyte\.gz is not the published file"):
        rebuild_csv(images, labels, target, "0" * 64)
    assert not target.exists()


@pytest.mark.skipif("MNIST_CSV" not in os.environ, reason="set MNIST_CSV to a folder with the published CSV files")
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_published_csv_is_rebuilt_from_an_idx_pair_of_it(tmp_path: Path, split: str) -> None:
    from pipeline.data.download import MNIST
    from pipeline.data.sources import csv_in

    source = csv_in(Path(os.environ["MNIST_CSV"]), split)
    assert source is not None
    digits = read_digits(source)
    images, labels = write_idx(tmp_path, digits.images[:, 0], digits.labels)
    remote = next(remote for remote in MNIST if split in remote.name)
    rebuild_csv(images, labels, tmp_path / remote.name, remote.sha256)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not an IDX file of bytes; it begins with 3c 68 74 6d"),
        (struct.pack(">4I", 2051, 2, 28, 28) + bytes(5), "5 bytes of data; its header says 2×28×28"),
        (struct.pack(">2I", 2051, 2), "an IDX file that breaks off in its header"),
        (struct.pack(">4I", 0x0D03, 2, 28, 28), "not an IDX file of bytes"),
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_idx(tmp_path / "file")


def test_images_and_labels_of_different_counts_are_refused(tmp_path: Path) -> None:
    images, _ = write_idx(tmp_path, np.zeros((3, 28, 28), np.uint8), np.zeros(2, np.uint8))
    with pytest.raises(UserError, match=r"3 images and .* 2 labels"):
        rebuild_csv(images, tmp_path / "train-labels-idx1-ubyte.gz", tmp_path / "x.csv", "0" * 64)
