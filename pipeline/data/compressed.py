"""Files of bytes, compressed or not: what they are is told by their first bytes, not by their names."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from pipeline.errors import UserError

MAGIC = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\xfd7zXZ\x00": "xz", b"BZh": "bzip2"}
# What the standard library's decompressors raise for a file that is cut off or damaged.
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile)


@contextmanager
def open_bytes(path: Path) -> Iterator[tuple[io.BufferedReader, str]]:
    """Open a file for reading what is in it, with the name of its compression, "" for none.

    Raises `UserError` for a file that can't be read or is damaged, also while it is read inside the `with`.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file")
    try:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("rb"))
            start = file.peek(8)
            kind = next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "")
            if kind:
                content = stack.enter_context(decompressed(file, kind, path))
                file = stack.enter_context(io.BufferedReader(content))  # type: ignore[arg-type]
            yield file, kind
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except PermissionError as error:
        raise UserError(f"{path}: no permission to read it") from error
    except DAMAGED as error:
        raise UserError(f"{path}: cut off or damaged: {error}; get the file again") from error
    except OSError as error:
        raise UserError(f"{path}: can't be read: {error.strerror or error}") from error


def decompressed(file: IO[bytes], kind: str, path: Path) -> IO[bytes]:
    """The content of a compressed file."""
    if kind == "zip":
        archive = zipfile.ZipFile(file)
        members = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
        if len(members) != 1:
            raise UserError(f"{path}: a zip with {len(members)} files in it; expected one, the CSV: unpack it first")
        try:
            return archive.open(members[0])
        except RuntimeError as error:  # a password
            raise UserError(f"{path}: {error}") from error
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    return lzma.LZMAFile(file) if kind == "xz" else bz2.BZ2File(file)
