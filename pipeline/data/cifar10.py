"""CIFAR-10 in its published Python form: the folder `cifar-10-batches-py` of pickles, or the archive of it.

Format: https://www.cs.toronto.edu/~kriz/cifar.html. A pickle can run any code when it is loaded, so these are read by
an unpickler that knows nothing but what the format needs.
"""

from __future__ import annotations

import pickle
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from pipeline.data.store import Images
from pipeline.errors import UserError

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
TRAIN = [f"data_batch_{k}" for k in range(1, 6)]
TEST = ["test_batch"]
USUAL = {"train": 50_000, "test": 10_000}

# What a numpy array in a Python-2 pickle is made of; numpy 2 moved the first of them.
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class PlainUnpickler(pickle.Unpickler):
    """Loads dicts, lists, numbers, byte strings and numpy arrays; refuses everything else before it can run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR-10 batch contains")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_cifar10(path: Path) -> tuple[dict[str, Images], list[str], list[str]]:
    """Read the folder or the `.tar.gz`: the splits "train" and "test", the class names, and notes on what is missing.

    Images are (n, 3, 32, 32) uint8 in RGB. The count is each batch's own. Raises `UserError` for a missing batch, one
    that is not a plain pickle, and one whose parts disagree.
    """
    with batches(path) as load:
        meta = load("batches.meta")
        classes = [name.decode() for name in meta[b"label_names"]]
        splits = {
            split: join([checked(load(name), f"{path}: {name}", len(classes)) for name in names])
            for split, names in {"train": TRAIN, "test": TEST}.items()
        }
    notes = [
        f"CIFAR-10 here has {len(part.images):,} of the usual {USUAL[split]:,} {split} images."
        for split, part in splits.items()
        if len(part.images) != USUAL[split]
    ]
    return splits, classes, notes


@contextmanager
def batches(path: Path) -> Iterator[Callable[[str], dict[bytes, Any]]]:
    """A function that loads one pickle by its name. Archive members are read in place: nothing is extracted."""
    if path.is_dir():
        yield lambda name: load_plain(path / name, lambda: (path / name).open("rb"))
        return
    try:
        archive = tarfile.open(path)  # noqa: SIM115 - closed by the with below
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not a readable tar archive: {error}") from error
    with archive:

        def member(name: str) -> IO[bytes]:
            file = archive.extractfile(f"{FOLDER}/{name}")
            if file is None:
                raise KeyError(name)
            return file

        yield lambda name: load_plain(path / FOLDER / name, lambda: member(name))


def load_plain(path: Path, open_file: Callable[[], IO[bytes]]) -> dict[bytes, Any]:
    """Unpickle one file of the dataset. Raises `UserError` if it is missing, damaged or asks to run code."""
    try:
        with open_file() as file:
            content = PlainUnpickler(file, encoding="bytes").load()
    except (FileNotFoundError, KeyError) as error:
        raise UserError(f"{path}: missing; CIFAR-10's Python form has {', '.join([*TRAIN, *TEST])}") from error
    # A damaged pickle raises nearly anything: the unpickler walks through bytes that are not opcodes.
    except Exception as error:
        raise UserError(f"{path}: not a CIFAR-10 batch: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a CIFAR-10 batch: it holds a {type(content).__name__}, not a dict")
    return content


def checked(batch: dict[bytes, Any], where: str, classes: int) -> Images:
    """One batch as images and labels, its parts in agreement."""
    try:
        data, labels, names = batch[b"data"], batch[b"labels"], batch[b"filenames"]
    except KeyError as error:
        raise UserError(f"{where} lacks {error}; found {sorted(batch)}") from error
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == 3072):
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{where}: data is {found}; expected uint8 (n, 3072)")
    if not len(data) == len(labels) == len(names):
        raise UserError(f"{where}: {len(data)} images, {len(labels)} labels and {len(names)} names disagree")
    for label in labels:
        if not (isinstance(label, int) and 0 <= label < classes):
            raise UserError(f"{where}: label {label!r}; expected a whole number from 0 to {classes - 1}")
    return Images(data.reshape(-1, 3, 32, 32), np.array(labels, np.uint8))


def join(parts: list[Images]) -> Images:
    """Batches, one after the other."""
    return Images(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
