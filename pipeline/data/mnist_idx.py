"""MNIST's IDX files, and from them the CSV as it is published, byte for byte.

Format: http://yann.lecun.com/exdb/mnist/: big-endian 32-bit magic number (2051 images, 2049 labels) and sizes, then
unsigned bytes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from pipeline.data.compressed import open_bytes
from pipeline.data.files import file_digest
from pipeline.data.store import Bytes
from pipeline.errors import UserError


def rebuild_csv(images: Path, labels: Path, csv: Path, sha256: str) -> None:
    """Write the headerless CSV (label, then pixels row by row) of an IDX pair, if it has the right checksum.

    Raises `UserError` if it has not; `csv` appears only when it is complete and right.
    """
    import polars

    pixels, digits = read_idx(images), read_idx(labels)
    if len(pixels) != len(digits):
        raise UserError(f"{images.name} has {len(pixels)} images and {labels.name} {len(digits)} labels")
    table = polars.DataFrame(np.column_stack([digits, pixels.reshape(len(pixels), -1)]))
    with tempfile.TemporaryDirectory(dir=csv.parent) as folder:
        building = Path(folder) / csv.name
        table.write_csv(building, include_header=False)
        if file_digest(building) != sha256:
            raise UserError(f"{csv.name} rebuilt from {images.name} is not the published file")
        building.replace(csv)


def read_idx(path: Path) -> Bytes:
    """The array in an IDX file, plain or compressed: (n, h, w) or (n,) uint8. Raises `UserError` if it is none."""
    with open_bytes(path) as (file, _):
        content = file.read()
    magic = content[:4]
    if magic[:3] != b"\0\0\x08" or magic[3:] not in (b"\1", b"\3"):
        raise UserError(f"{path}: not an IDX file of bytes; it begins with {magic.hex(' ')}")
    if len(content) < 4 + 4 * magic[3]:
        raise UserError(f"{path}: an IDX file that breaks off in its header")
    shape = np.frombuffer(content, ">u4", magic[3], 4)
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape))
    if data.size != shape.prod(dtype=np.int64):
        sizes = "×".join(map(str, shape))
        raise UserError(f"{path}: {data.size:,} bytes of data; its header says {sizes}")
    return data.reshape(shape)
