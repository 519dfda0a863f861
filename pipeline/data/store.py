"""The store: one dataset as raw bytes that open in no time and stay the same.

`<folder>/<name>/` holds `images.u8` (N, C, H, W), `labels.u8` (N), both uint8 in C order, and `manifest.json`. Splits
are ranges of N. A store is written beside its place and renamed: it exists whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.files import SourceFile, replace_folder
from pipeline.errors import UserError

Bytes = NDArray[np.uint8]
MANIFEST = "manifest.json"
IMAGES = "images.u8"
LABELS = "labels.u8"
UNLABELLED = 255


@dataclass(frozen=True)
class Images:
    """Images in memory: (n, c, h, w) uint8 with one uint8 label each."""

    images: Bytes
    labels: Bytes
    """Indices of the classes; `UNLABELLED` where there is no label."""


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
    options: dict[str, Any]
    """The settings that the sources were read with."""
    code: str
    """Digest of the source that made the store: another one makes it stale."""
    digest: str
    """sha256 of classes, shape, splits, and the sha256 of images and labels."""


class ImageStore:
    """A prepared dataset, memory-mapped: opening it reads nothing but the manifest."""

    @classmethod
    def open(cls, folder: Path) -> ImageStore:
        """Open a store. Raises `FileNotFoundError` where there is none that is whole and that this version wrote."""
        try:
            while True:
                text = (folder / MANIFEST).read_text(encoding="utf-8")
                fields: dict[str, Any] = json.loads(text)
                fields["sources"] = [SourceFile(**source) for source in fields["sources"]]
                manifest = Manifest(**fields)
                n, c, h, w = manifest.shape
                for name, size in {IMAGES: n * c * h * w, LABELS: n}.items():
                    if (folder / name).stat().st_size != size:
                        raise ValueError(f"{name} has not the {size} bytes it should have")
                store = cls(folder, manifest)
                # Another store may have taken its place meanwhile: then these are not this manifest's images.
                if (folder / MANIFEST).read_text(encoding="utf-8") == text:
                    return store
        except (KeyError, TypeError, ValueError) as error:
            raise FileNotFoundError(f"{folder}: damaged or written by another version: {error}") from error

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        shape = tuple(manifest.shape)
        # Copy on write: nothing done to the arrays reaches the files. Mapped now, so that a store replaced later stays
        # the one that was opened.
        self.images: Bytes = np.memmap(folder / IMAGES, np.uint8, mode="c", shape=shape)
        """(N, C, H, W) uint8."""
        self.labels: Bytes = np.memmap(folder / LABELS, np.uint8, mode="c", shape=shape[:1])
        """(N,) uint8 indices into the manifest's classes."""

    def split(self, name: str) -> range:
        """Indices of a split, "train" or "test"."""
        first, end = self.manifest.splits[name]
        return range(first, end)


def write_store(
    folder: Path,
    *,
    title: str,
    classes: Sequence[str],
    splits: Mapping[str, Iterable[Images]],
    sources: Mapping[Path, str],
    notes: Sequence[str],
    options: Mapping[str, Any],
    code: str,
) -> ImageStore:
    """Write a store named after its folder, replacing the one there only when the new one is complete.

    Splits come in blocks and are written as they come, one block in memory at a time, while the sources' digests are
    computed beside. The sources are given with their `state_of` before they were read; `notes` may grow until the last
    block is read. Raises `UserError` for images of different shapes, a split without images, and a label that names no
    class.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        with ThreadPoolExecutor(1) as beside:
            described = [beside.submit(SourceFile.of, path, state) for path, state in sources.items()]
            try:
                shape, ranges, digests = write_splits(building, splits, title, len(classes))
            except BaseException:
                beside.shutdown(cancel_futures=True)
                raise
        manifest = Manifest(
            name=folder.name,
            title=title,
            classes=list(classes),
            shape=shape,
            splits=ranges,
            sources=[source.result() for source in described],
            notes=list(notes),
            options=dict(options),
            code=code,
            digest=hashlib.sha256(json.dumps([list(classes), shape, ranges, digests]).encode()).hexdigest(),
        )
        (building / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, ensure_ascii=False), encoding="utf-8")
        building.chmod(folder.parent.stat().st_mode)  # a temporary folder is closed to others
        replace_folder(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return ImageStore.open(folder)


def write_splits(
    folder: Path, splits: Mapping[str, Iterable[Images]], title: str, classes: int
) -> tuple[list[int], dict[str, list[int]], list[str]]:
    """Write images and labels of all splits; returns [N, C, H, W], the splits' ranges and both files' sha256."""
    image_shape: tuple[int, ...] | None = None
    ranges: dict[str, list[int]] = {}
    digests = hashlib.sha256(), hashlib.sha256()
    n = 0
    with (folder / IMAGES).open("wb") as images, (folder / LABELS).open("wb") as labels:
        for name, blocks in splits.items():
            first = n
            for block in blocks:
                if not len(block.images):
                    continue
                image_shape = image_shape or block.images.shape[1:]
                if block.images.shape[1:] != image_shape:
                    both = sorted([image_shape, block.images.shape[1:]])
                    raise UserError(f"{title}: images of different shapes (c, h, w) in one dataset: {both}")
                if block.labels.max(initial=0) >= classes:
                    raise UserError(
                        f"{title}: the {name} part has label {block.labels.max()}; there are {classes} classes"
                    )
                for file, digest, array in zip((images, labels), digests, (block.images, block.labels), strict=True):
                    data = np.ascontiguousarray(array).data.cast("B")
                    file.write(data)
                    digest.update(data)
                n += len(block.images)
            if n == first:
                raise UserError(f"{title}: the {name} part has no images")
            ranges[name] = [first, n]
    assert image_shape is not None, "there is a split, and it has images"
    return [n, *image_shape], ranges, [digest.hexdigest() for digest in digests]
