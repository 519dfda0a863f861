"""Reads pickles of plain data, and nothing that could run code.

Loading a pickle calls whatever it names. This unpickler knows four names, those by which numpy's arrays are pickled,
and puts in their place stand-ins that do nothing but collect an array of bytes: no code outside this file is called
with what a pickle says.
"""

from __future__ import annotations

import pickle
from math import prod
from typing import IO, Any, NoReturn

import numpy as np


class PickledType:
    """Stands for `numpy.dtype('uint8')`, the only one allowed."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        if name not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {name!r}, not of bytes")

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment: nothing to keep for bytes."""


class PickledArray:
    """Stands for a numpy array while it is unpickled; `value` is then the array."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], PickledType, bool, bytes]) -> None:
        _, shape, kind, fortran, data = state
        whole = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
        if not (whole and isinstance(kind, PickledType) and isinstance(data, bytes) and prod(shape) == len(data)):
            raise pickle.UnpicklingError("an array whose shape and data disagree")
        self.value = np.frombuffer(data, np.uint8).reshape(shape, order="F" if fortran else "C")


def reconstruct(*_: object) -> PickledArray:
    """Stands for the function that numpy makes an array with before it is filled."""
    return PickledArray()


def not_called(*_: object) -> NoReturn:
    """Stands for the array class, which is only named."""
    raise pickle.UnpicklingError("it makes an array in another way than numpy's pickles do")


STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): reconstruct,  # since numpy 2
    ("numpy", "ndarray"): not_called,
    ("numpy", "dtype"): PickledType,
}


class PlainUnpickler(pickle.Unpickler):
    """Loads dicts, lists, numbers, strings and arrays of bytes; refuses everything else before it can run."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need") from None


def load_plain(file: IO[bytes]) -> dict[bytes, Any]:
    """The dict in a pickle, its strings as bytes and its arrays as numpy arrays of uint8.

    Raises `pickle.UnpicklingError` for a pickle that needs anything more, and for what is no pickle.
    """
    try:
        content = PlainUnpickler(file, encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    # A damaged pickle raises nearly anything: the unpickler walks through bytes that are not opcodes.
    except Exception as error:
        raise pickle.UnpicklingError(f"not a pickle, or a damaged one: {error}") from error
    if not isinstance(content, dict):
        raise pickle.UnpicklingError(f"it holds a {type(content).__name__}, not a dict")
    plain = {key: value.value if isinstance(value, PickledArray) else value for key, value in content.items()}
    if any(value is None for value in plain.values()):
        raise pickle.UnpicklingError("it holds an array that is never filled, or nothing")
    return plain
