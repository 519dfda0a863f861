"""The store: one dataset as raw bytes that open in no time and stay the same.

`<folder>/<name>/` holds `images.u8` (N, C, H, W), `labels.u8` (N), both uint8 in C order, and `manifest.json`. Splits
are ranges of N. A store is written beside its place and renamed: it exists whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import UserError

Bytes = NDArray[np.uint8]
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SourceFile:
    """A file that a store was made from, as it was then."""

    path: str
    bytes: int
    modified_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """Describe a file; reads it once."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        stat = path.stat()
        return cls(str(path.resolve()), stat.st_size, stat.st_mtime_ns, digest)

    @property
    def changed(self) -> bool:
        """Whether the file is there and no longer the one that was read. One that is gone has not changed."""
        try:
            stat = Path(self.path).stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) != (self.bytes, self.modified_ns)


@dataclass(frozen=True)
class Images:
    """Images in memory: (n, c, h, w) uint8 with one uint8 label each."""

    images: Bytes
    labels: Bytes


@dataclass(frozen=True)
class Manifest:
    """What a store holds and where it came from."""

    name: str
    title: str
    classes: list[str]
    shape: list[int]
    """[N, C, H, W]"""
    splits: dict[str, list[int]]
    """Name of a split → [first, past the last] index."""
    sources: list[SourceFile]
    notes: list[str]
    """What a reader of results should know, one sentence each."""
    code: str
    """Digest of the source that made the store: another one makes it stale."""
    digest: str
    """sha256 of classes, shape, splits, images and labels."""


class ImageStore:
    """A prepared dataset, memory-mapped: opening it reads nothing but the manifest."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    @classmethod
    def open(cls, folder: Path) -> ImageStore:
        """Open a store. Raises `FileNotFoundError` where there is none, or none that this version wrote."""
        text = (folder / MANIFEST).read_text(encoding="utf-8")
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["sources"] = [SourceFile(**source) for source in fields["sources"]]
            return cls(folder, Manifest(**fields))
        except (KeyError, TypeError, ValueError) as error:
            raise FileNotFoundError(f"{folder}: its manifest is damaged or another version's: {error}") from error

    @cached_property
    def images(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """(N, C, H, W) uint8. Copy on write: nothing done to it reaches the file."""
        n, c, h, w = self.manifest.shape
        return np.memmap(self.folder / "images.u8", np.uint8, mode="c", shape=(n, c, h, w))

    @cached_property
    def labels(self) -> np.memmap[Any, np.dtype[np.uint8]]:
        """(N,) uint8 indices into the manifest's classes."""
        return np.memmap(self.folder / "labels.u8", np.uint8, mode="c", shape=(self.manifest.shape[0],))

    def split(self, name: str) -> range:
        """Indices of a split, "train" or "test"."""
        first, end = self.manifest.splits[name]
        return range(first, end)


def write_store(
    folder: Path,
    *,
    title: str,
    classes: Sequence[str],
    splits: Mapping[str, Images],
    sources: Sequence[Path],
    notes: Sequence[str],
    code: str,
) -> ImageStore:
    """Write a store named after its folder, replacing the one there only when the new one is complete.

    Raises `UserError` when the splits' image shapes differ or a label names no class.
    """
    shapes = {part.images.shape[1:] for part in splits.values()}
    if len(shapes) != 1:
        raise UserError(f"{title}: images of different shapes (c, h, w) in one dataset: {sorted(shapes)}")
    for name, part in splits.items():
        if part.labels.max(initial=0) >= len(classes):
            raise UserError(f"{title}: the {name} part has label {part.labels.max()}; there are {len(classes)} classes")

    ranges, first = {}, 0
    for name, part in splits.items():
        ranges[name] = [first, first + len(part.images)]
        first += len(part.images)
    shape = [first, *shapes.pop()]

    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        digest = hashlib.sha256(json.dumps([list(classes), shape, ranges]).encode())
        for file, arrays in {
            "images.u8": [part.images for part in splits.values()],
            "labels.u8": [part.labels for part in splits.values()],
        }.items():
            with (building / file).open("wb") as out:
                for array in arrays:
                    data = np.ascontiguousarray(array).data.cast("B")
                    out.write(data)
                    digest.update(data)
        manifest = Manifest(
            name=folder.name,
            title=title,
            classes=list(classes),
            shape=shape,
            splits=ranges,
            sources=[SourceFile.of(path) for path in sources],
            notes=list(notes),
            code=code,
            digest=digest.hexdigest(),
        )
        (building / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False), encoding="utf-8")
        replace_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ImageStore.open(folder)


def replace_folder(new: Path, place: Path) -> None:
    """Move a complete folder to its place. Whoever has the old one open keeps reading it."""
    if place.exists():
        old = Path(tempfile.mkdtemp(prefix=f"{place.name}.old.", dir=place.parent))
        place.rename(old / place.name)
        new.rename(place)
        shutil.rmtree(old)
    else:
        new.rename(place)
