"""Bytes → store → dataset. `from pipeline.data import myMNIST` is what a script of your own needs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.data.datasets import myMNIST

__all__ = ["myMNIST"]


def __getattr__(name: str) -> Any:
    # Importing torch and torchvision takes seconds; planning a sweep opens stores without either.
    if name == "myMNIST":
        from pipeline.data.datasets import myMNIST

        return myMNIST
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
