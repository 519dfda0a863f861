"""The datasets there are: where each one's files are found and how they are read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Csv, Data
from pipeline.data import download
from pipeline.data.store import Images
from pipeline.errors import UserError

Role = Literal["digits", "colour"]
ROLES: tuple[Role, ...] = ("digits", "colour")
Choice = Literal["full", "demo"]

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENDINGS = ("", ".gz", ".xz", ".zip", ".bz2")
"""Of a CSV's name after `.csv`."""


@dataclass(frozen=True)
class Contents:
    """What a dataset's reader gives."""

    splits: Mapping[str, Iterable[Images]]
    """In blocks, which are read when they are asked for."""
    classes: Sequence[str]
    sources: Sequence[Path]
    notes: list[str]
    """Complete once all blocks have been read."""


@dataclass(frozen=True)
class Dataset:
    """One dataset."""

    name: str
    title: str
    find: Callable[[Path], list[Path] | None]
    """The dataset's files in a folder, or None."""
    read: Callable[[list[Path], Data], Contents]
    modules: tuple[str, ...]
    """The modules that read it, which decide what the store holds."""
    options: Callable[[Data], dict[str, Any]] = lambda _: {}
    """The settings that decide how it is read."""
    usual: Mapping[str, int] | None = None
    """How many images it is known to have, by split."""
    remote: tuple[download.Remote, ...] = ()
    wanted: str = ""
    """The files that `find` looks for, in words."""
    make: Callable[[Path], None] | None = None
    """Writes the files into a folder, for a dataset that comes with the dependencies."""


def find_mnist(folder: Path) -> list[Path] | None:
    """mnist_train.csv and mnist_test.csv, plain or compressed."""
    train, test = csv_in(folder, "train"), csv_in(folder, "test")
    return [train, test] if train and test else None


def csv_in(folder: Path, split: str) -> Path | None:
    """The CSV of a split in a folder, plain or compressed."""
    names = (f"mnist_{split}.csv{ending}" for ending in ENDINGS)
    return next((path for path in map(folder.joinpath, names) if path.is_file()), None)


def read_mnist(files: list[Path], data: Data) -> Contents:
    """Both CSV files, and what speaks against their being MNIST's."""
    notes: list[str] = []
    return Contents(digit_splits(files, data.csv, notes), DIGIT_NAMES, files, notes)


def read_demo_digits(files: list[Path], _: Data) -> Contents:
    """The demo's CSV files, with what they are."""
    note = "Handwritten digits of 8×8 pixels (scikit-learn), scaled to 28×28: not MNIST."
    return Contents(digit_splits(files, Csv(), []), DIGIT_NAMES, files, [note])


def digit_splits(files: list[Path], csv: Csv, notes: list[str]) -> dict[str, Iterator[Images]]:
    """A training and a test CSV in blocks; doubts about them are added to the notes.

    Raises `UserError` for files without labels: these can only be predicted.
    """
    from pipeline.data.mnist_csv import DigitsCsv

    def blocks(digits: DigitsCsv) -> Iterator[Images]:
        yield from digits.blocks()
        notes.extend(digits.doubts)

    opened = [DigitsCsv(path, csv) for path in files]
    for digits in opened:
        if digits.form.label is None:
            raise UserError(f"{digits.path}: it has no labels, so it can neither be learnt from nor measured on")
    return dict(zip(("train", "test"), map(blocks, opened), strict=True))


def find_cifar(folder: Path) -> list[Path] | None:
    """Either published form, as a folder or an archive."""
    from pipeline.data.cifar10 import find_cifar10

    return find_cifar10(folder)


def read_cifar(files: list[Path], _: Data) -> Contents:
    """The extracted folder or the archive."""
    from pipeline.data.cifar10 import read_cifar10

    splits, classes = read_cifar10(files[0] if len(files) == 1 else files[0].parent)
    return Contents(splits, classes, files, [])


def read_demo_patches(_: list[Path], __: Data) -> Contents:
    """Tiles of the bundled photographs."""
    from pipeline.data.demo import read_patches

    splits, classes, photographs = read_patches()
    note = "32×32 tiles of photographs (scikit-image, scikit-learn), nine for training, two for testing: not CIFAR-10."
    return Contents({name: [part] for name, part in splits.items()}, classes, photographs, [note])


def make_demo_digits(folder: Path) -> None:
    """Write the demo's CSV files."""
    from pipeline.data.demo import write_digits

    write_digits(folder)


def read_images(files: list[Path], data: Data) -> Contents:
    """A folder of the user's own images."""
    from pipeline.data.image_folder import read_image_folder

    splits, classes, notes = read_image_folder(data.images)
    return Contents(splits, classes, files, notes)


def image_folder(folder: Path) -> Dataset:
    """The dataset that a folder of images is, named after it; two folders of one name are two datasets."""
    name = re.sub(r"\W+", "-", folder.resolve().name).strip("-").lower()
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:6]
    return Dataset(
        f"images-{name}-{place}",
        folder.resolve().name,
        lambda _: [folder],
        read_images,
        ("pipeline.data.image_folder",),
        lambda data: {"size": data.images.size, "fit": data.images.fit},
    )


CATALOG: dict[tuple[Choice, Role], Dataset] = {
    ("full", "digits"): Dataset(
        "mnist",
        "MNIST",
        find_mnist,
        read_mnist,
        ("pipeline.data.mnist_csv", "pipeline.data.csv_form", "pipeline.data.compressed"),
        lambda data: asdict(data.csv),
        {"train": 60_000, "test": 10_000},
        download.MNIST,
        "mnist_train.csv and mnist_test.csv, plain or with .gz, .xz, .zip or .bz2",
    ),
    ("full", "colour"): Dataset(
        "cifar10",
        "CIFAR-10",
        find_cifar,
        read_cifar,
        ("pipeline.data.cifar10", "pipeline.data.plain_pickle", "pipeline.data.compressed"),
        usual={"train": 50_000, "test": 10_000},
        remote=download.CIFAR10,
        wanted="cifar-10-batches-py/, cifar-10-batches-bin/, cifar-10-python.tar.gz or cifar-10-binary.tar.gz",
    ),
    ("demo", "digits"): Dataset(
        "demo-digits",
        "Demo digits",
        find_mnist,
        read_demo_digits,
        ("pipeline.data.demo", "pipeline.data.mnist_csv", "pipeline.data.csv_form", "pipeline.data.compressed"),
        make=make_demo_digits,
    ),
    ("demo", "colour"): Dataset(
        "demo-patches",
        "Demo patches",
        lambda _: [],
        read_demo_patches,
        ("pipeline.data.demo",),
    ),
}
