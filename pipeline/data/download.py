"""Downloads from the published addresses, each file checked against its known checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.errors import UserError


@dataclass(frozen=True)
class Remote:
    """A file on the network: where it is and what it must be."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]


# Checksums: torchvision's source and the CIFAR page for CIFAR-10; for MNIST the CSV rebuilt from the IDX files.
MNIST = (
    Remote(
        "mnist_train.csv",
        "fb60bc58af4dac3554e394af262b3184479833d3cc540ff8783f274b73492d5d",
        ("https://pjreddie.com/media/files/mnist_train.csv",),
    ),
    Remote(
        "mnist_test.csv",
        "51c292478d94ec3a01461bdfa82eb0885d262eb09e615679b2d69dedb6ad09e7",
        ("https://pjreddie.com/media/files/mnist_test.csv",),
    ),
)
CIFAR10 = (
    Remote(
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        (
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
        ),
    ),
)


def fetch(files: tuple[Remote, ...], folder: Path) -> list[Path]:
    """Download what is not in the folder yet; every file there has the right checksum.

    Raises `UserError` when no mirror of a file gives it.
    """
    return [fetch_one(remote, folder) for remote in files]


def fetch_one(remote: Remote, folder: Path) -> Path:
    """Download one file from the first mirror that has it."""
    import pooch

    problems = []
    for url in remote.mirrors:
        try:
            return Path(
                pooch.retrieve(url, f"sha256:{remote.sha256}", fname=remote.name, path=folder, progressbar=True)
            )
        # requests' errors are OSErrors; a wrong checksum is pooch's ValueError, and pooch has removed the file.
        except (OSError, ValueError) as error:
            problems.append(f"{urlsplit(url).hostname}: {type(error).__name__}")
    raise UserError(
        f"{remote.name} could not be downloaded ({'; '.join(problems)}); "
        "give a folder that has it with SOURCE=path, or run on the bundled images with make demo"
    )


def reachable(files: tuple[Remote, ...], seconds: float = 5) -> bool:
    """Whether a mirror of every file answers."""
    import requests

    def answers(url: str) -> bool:
        try:
            # Not HEAD, which some servers refuse; with stream the body is left where it is.
            with requests.get(url, timeout=seconds, stream=True) as answer:
                return answer.ok
        except requests.RequestException:
            return False

    return all(any(answers(url) for url in remote.mirrors) for remote in files)
