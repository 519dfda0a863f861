"""CIFAR-10 as it is published: Python pickles or plain binary records, a folder or the archive of it.

Formats: https://www.cs.toronto.edu/~kriz/cifar.html. Nothing in them is trusted: pickles are read by an unpickler that
runs nothing, archives in one pass, member by member, without writing anything.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from pipeline.data.compressed import open_bytes
from pipeline.data.plain_pickle import load_plain
from pipeline.data.store import UNLABELLED, Images
from pipeline.errors import UserError

PIXELS = 3 * 32 * 32
MOST_BYTES = 64 << 20  # of one file of the dataset; the largest there is has 31 MB
MOST_UNPACKED = 256 << 20  # of all that is in an archive; the published ones have 184 MB
MOST_MEMBERS = 64  # of an archive; the published ones have 9


@dataclass(frozen=True)
class Version:
    """One published form."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    """The file of the classes' names."""
    batch: Callable[[bytes, str, int], Images]
    """Reads a batch: its bytes, what to call it in an error, the number of classes."""
    classes: Callable[[bytes, str], list[str]]

    @property
    def files(self) -> tuple[str, ...]:
        """All files of it."""
        return (*self.train, *self.test, self.names)


def read_cifar10(place: Path) -> tuple[dict[str, Iterator[Images]], list[str]]:
    """Read a folder or an archive: the splits "train" and "test" in blocks, and the classes' names.

    Images are (n, 3, 32, 32) uint8 in RGB, as many as each batch has. Raises `UserError` for a missing batch, one whose
    parts disagree, a pickle that is not plain data and an archive with anything unusual in it.
    """
    contents = Folder(place) if place.is_dir() else from_archive(place)
    version = next((version for version in VERSIONS if version.train[0] in contents), PYTHON)

    def content(name: str) -> bytes:
        if name not in contents:
            raise UserError(f"{place}: {name} is missing; CIFAR-10 has {', '.join(version.files)}")
        return contents[name]

    classes = version.classes(content(version.names), f"{place}: {version.names}")

    def part(names: Sequence[str]) -> Iterator[Images]:
        for name in names:
            yield version.batch(content(name), f"{place}: {name}", len(classes))

    return {"train": part(version.train), "test": part(version.test)}, classes


class Folder(Mapping[str, bytes]):
    """The files in a folder, read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> bytes:
        path = self.path / name
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: {path.stat().st_size:,} bytes; a file of CIFAR-10 has at most 31 MB")
        try:
            return path.read_bytes()
        except PermissionError as error:
            raise UserError(f"{path}: no permission to read it") from error

    def __contains__(self, name: object) -> bool:
        return (self.path / str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self.path.iterdir())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def from_archive(path: Path) -> dict[str, bytes]:
    """The dataset's files in an archive, read in one pass: going back would decompress it from the start again."""
    contents: dict[str, bytes] = {}
    wanted = {name for version in VERSIONS for name in version.files}
    with open_bytes(path) as (file, _):
        stream = Capped(file, path)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in regular_members(archive, path):
                    name = PurePosixPath(member.name).name
                    if name in contents:
                        raise UserError(f"{path}: it has two files {name}; refused")
                    if name in wanted:
                        content = archive.extractfile(member)
                        assert content is not None, "it is a regular file"
                        contents[name] = content.read()
        except (tarfile.TarError, ValueError) as error:
            raise UserError(f"{path}: not an archive of CIFAR-10, or a damaged one: {error}") from error
        while stream.read(1 << 20):
            pass  # to the end, where gzip has its checksum
    return contents


class Capped(io.BufferedIOBase):
    """A stream that ends in an error where an archive of CIFAR-10 would long have ended."""

    def __init__(self, file: io.BufferedReader, path: Path) -> None:
        self.file, self.path, self.left = file, path, MOST_UNPACKED

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes. Raises `UserError` past the cap."""
        content = self.file.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise UserError(f"{self.path}: unpacked it has over {MOST_UNPACKED >> 20} MiB; CIFAR-10 has 180; refused")
        return content


def regular_members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """The files in an archive. Raises `UserError` for what a dataset's archive has no business to have."""
    for count, member in enumerate(archive, start=1):
        name = PureWindowsPath(member.name)  # which takes both kinds of slashes
        if name.anchor or ".." in name.parts:
            raise UserError(f"{path}: its member {member.name!r} points out of the archive; refused")
        if not (member.isfile() or member.isdir()):
            raise UserError(f"{path}: its member {member.name!r} is a link or a device, not a file; refused")
        if member.size > MOST_BYTES:
            raise UserError(
                f"{path}: its member {member.name!r} has {member.size:,} bytes, more than any of CIFAR-10; refused"
            )
        if count > MOST_MEMBERS:
            raise UserError(f"{path}: over {MOST_MEMBERS} members, more than CIFAR-10 has; refused")
        if member.isfile():
            yield member


def pickled_batch(content: bytes, where: str, classes: int) -> Images:
    """A batch of the Python version, its parts in agreement."""
    batch = unpickled(content, where)
    try:
        data, labels, names = batch[b"data"], batch[b"labels"], batch[b"filenames"]
    except KeyError as error:
        found = ", ".join(sorted(map(str, batch)))
        raise UserError(f"{where}: it lacks {error}; found {found}") from error
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS:
        found = f"an array of {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise UserError(f"{where}: its data is {found}; expected (n, {PIXELS}) bytes")
    if not isinstance(labels, list) or not isinstance(names, list):
        raise UserError(f"{where}: its labels and names must be lists, not {type(labels)} and {type(names)}")
    if not len(data) == len(labels) == len(names):
        raise UserError(f"{where}: {len(data)} images, {len(labels)} labels and {len(names)} names disagree")
    for label in labels:
        if not (isinstance(label, int) and 0 <= label < classes):
            raise UserError(f"{where}: label {label!r}; expected a whole number from 0 to {classes - 1}")
    return Images(data.reshape(-1, 3, 32, 32), np.array(labels, np.uint8))


def pickled_classes(content: bytes, where: str) -> list[str]:
    """The classes' names of the Python version."""
    names = unpickled(content, where).get(b"label_names")
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes) for name in names):
        raise UserError(f"{where}: label_names is {names!r}; expected a list of names")
    if len(names) > UNLABELLED:
        raise UserError(f"{where}: it has {len(names)} names; at most {UNLABELLED} classes fit")
    return [name.decode(errors="replace") for name in names]


def unpickled(content: bytes, where: str) -> dict[bytes, Any]:
    """Plain data from a pickle."""
    try:
        return load_plain(io.BytesIO(content))
    except pickle.UnpicklingError as error:
        raise UserError(f"{where}: not a file of CIFAR-10: {error}") from error


def binary_batch(content: bytes, where: str, classes: int) -> Images:
    """A batch of the binary version: records of a label and 3,072 pixels."""
    if not content or len(content) % (1 + PIXELS):
        raise UserError(f"{where}: {len(content):,} bytes; expected records of {1 + PIXELS:,} bytes each")
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    labels = records[:, 0].copy()
    if labels.max() >= classes:
        at = int(np.argmax(labels >= classes))
        raise UserError(f"{where}: record {at + 1} has label {labels[at]}; expected 0 to {classes - 1}")
    return Images(records[:, 1:].reshape(-1, 3, 32, 32), labels)


def binary_classes(content: bytes, where: str) -> list[str]:
    """The classes' names of the binary version, one a line."""
    names = content.decode("utf-8", errors="replace").split()
    if not names:
        raise UserError(f"{where}: it is empty; expected the classes' names, one a line")
    return names


PYTHON = Version(
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{k}" for k in range(1, 6)),
    ("test_batch",),
    "batches.meta",
    pickled_batch,
    pickled_classes,
)
BINARY = Version(
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz",
    tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
    ("test_batch.bin",),
    "batches.meta.txt",
    binary_batch,
    binary_classes,
)
VERSIONS = (PYTHON, BINARY)


def find_cifar10(folder: Path) -> list[Path] | None:
    """CIFAR-10's files in a folder, or None: an extracted folder, that folder itself, or an archive."""
    for version in VERSIONS:
        if (folder / version.folder).is_dir():
            return [folder / version.folder / name for name in version.files]
        if (folder / version.train[0]).is_file():
            return [folder / name for name in version.files]
        if (folder / version.archive).is_file():
            return [folder / version.archive]
    return None
