"""Files and folders: what they were when they were read, and written so that they are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError

OLD = ".old."


@dataclass(frozen=True)
class SourceFile:
    """A file or a folder that a store was made from, as it was then."""

    path: str
    state: str
    """As `state_of` gave it before it was read."""
    sha256: str
    """Of a file's content; of a folder the names and contents of all files in it."""

    @classmethod
    def of(cls, path: Path, state: str) -> SourceFile:
        """Describe what had a state before it was read: a change meanwhile will count as one."""
        if path.is_dir():
            digest = hashlib.sha256()
            for file in files_in(path):
                line = f"{file.relative_to(path).as_posix()}\0{file_digest(file)}\n"
                digest.update(line.encode(errors="surrogateescape"))
            return cls(str(path.resolve()), state, digest.hexdigest())
        return cls(str(path.resolve()), state, file_digest(path))

    @property
    def changed(self) -> bool:
        """Whether it is there and no longer what was read. What is gone, or can't be looked at, has not changed."""
        try:
            return state_of(Path(self.path)) != self.state
        except OSError:
            return False


def state_of(path: Path) -> str:
    """What tells without reading that a file has changed: size and time; for a folder those of all files in it."""
    if path.is_dir():
        listing = "".join(f"{file.relative_to(path).as_posix()}\0{state_of(file)}\n" for file in files_in(path))
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
    stat = path.stat()
    return f"{stat.st_size} bytes, {stat.st_mtime_ns} ns"


def files_in(folder: Path) -> list[Path]:
    """All files in a folder and its folders, sorted, but for hidden ones."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(file: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all; into what is no file, such as a pipe or a device, at once.

    Raises `UserError` where nothing can be written.
    """
    try:
        if file.exists() and not file.is_file():
            file.write_bytes(content)
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        file = file.resolve()  # a link stays, and what it leads to is replaced
        building = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            building.write_bytes(content)
            building.replace(file)
        finally:
            building.unlink(missing_ok=True)
    except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{file}: can't be written: {error.strerror}") from error


def replace_folder(new: Path, place: Path) -> None:
    """Move a complete folder to its place. Whoever has the old one open keeps reading it."""
    if not place.exists():
        new.rename(place)
        return
    old = Path(tempfile.mkdtemp(prefix=f"{place.name}{OLD}", dir=place.parent)) / place.name
    place.rename(old)
    try:
        new.rename(place)
    except BaseException:
        old.rename(place)
        raise
    finally:
        shutil.rmtree(old.parent)


def clean_up(folder: Path) -> None:
    """Put back a store that was moved aside by a process that was killed then, and remove what such a one has left.

    To be called by nobody but who may write the store.
    """
    for left in folder.parent.glob(f"{folder.name}.*/"):
        if left.name.startswith(f"{folder.name}{OLD}") and (left / folder.name).exists() and not folder.exists():
            (left / folder.name).rename(folder)
        shutil.rmtree(left)
