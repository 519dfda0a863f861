"""Downloads from the published addresses and their mirrors, each file checked against its known checksum."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.console import say
from pipeline.errors import UserError

WAITS = (0.0, 3.0, 10.0)  # seconds before each round through the mirrors
TIMEOUT = (10.0, 30.0)  # seconds to connect, and without a byte
INSTEAD = "give a folder that has it with SOURCE=path, or run on the bundled images with make demo"


@dataclass(frozen=True)
class Remote:
    """A file on the network: what it must be and where it is."""

    name: str
    sha256: str
    mirrors: tuple[str, ...]

    def fetch(self, folder: Path) -> Path:
        """The file in a folder, downloaded from the first mirror that gives it whole, unless it is there.

        All mirrors are tried before one is tried again. Raises `UserError` when none gives it.
        """
        import pooch
        import requests

        downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
        problems: dict[str, str] = {}
        for wait in WAITS:
            time.sleep(wait)
            for url in self.mirrors:
                try:
                    return Path(pooch.retrieve(url, f"sha256:{self.sha256}", self.name, folder, downloader=downloader))
                # pooch has removed what it downloaded.
                except ValueError:
                    problems[url] = "sent something else than the published file"
                except requests.HTTPError as error:
                    problems[url] = f"answered: {error}".partition(" for url")[0]
                except requests.RequestException as error:
                    problems[url] = reason(error)
                except OSError as error:
                    raise UserError(f"{folder}: {self.name} can't be written: {error.strerror or error}") from error
        tried = "; ".join(f"{urlsplit(url).netloc} {problem}" for url, problem in problems.items())
        raise UserError(f"{self.name} could not be downloaded: {tried}; {INSTEAD}")

    def answers(self) -> bool:
        """Whether a mirror answers at all."""
        return any_answers(self.mirrors)


@dataclass(frozen=True)
class MnistCsv(Remote):
    """One of MNIST's CSV files, rebuilt byte for byte from the IDX files where they are to be had.

    These are a tenth of its size, and on more mirrors.
    """

    images: Remote
    labels: Remote

    def fetch(self, folder: Path) -> Path:
        from pipeline.data.files import file_digest
        from pipeline.data.mnist_idx import rebuild_csv

        path = folder / self.name
        if path.is_file() and file_digest(path) == self.sha256:
            return path
        try:
            images, labels = self.images.fetch(folder), self.labels.fetch(folder)
        except UserError as error:
            say(f"{error.args[0].removesuffix(INSTEAD)}trying the CSV itself")
            return super().fetch(folder)
        rebuild_csv(images, labels, path, self.sha256)
        images.unlink()
        labels.unlink()
        return path

    def answers(self) -> bool:
        return (self.images.answers() and self.labels.answers()) or super().answers()


def idx(name: str, sha256: str) -> Remote:
    """One of MNIST's IDX files. Checksums: TensorFlow Datasets' url_checksums/mnist.txt."""
    mirrors = "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"
    return Remote(name, sha256, tuple(mirror + name for mirror in mirrors))


# The CSV's checksums are those of the published files and of what the IDX files give.
MNIST = (
    MnistCsv(
        "mnist_train.csv",
        "fb60bc58af4dac3554e394af262b3184479833d3cc540ff8783f274b73492d5d",
        ("https://pjreddie.com/media/files/mnist_train.csv",),
        idx("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        idx("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ),
    MnistCsv(
        "mnist_test.csv",
        "51c292478d94ec3a01461bdfa82eb0885d262eb09e615679b2d69dedb6ad09e7",
        ("https://pjreddie.com/media/files/mnist_test.csv",),
        idx("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        idx("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)
# Checksum: torchvision's source and the CIFAR page (as md5).
CIFAR10 = (
    Remote(
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        (
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz",
            "https://oneflow-public.oss-cn-beijing.aliyuncs.com/datasets/cifar/cifar-10-python.tar.gz",
        ),
    ),
)


def mnist_csv(split: str, folder: Path) -> Path:
    """MNIST's "train" or "test" CSV in a folder, downloaded unless it is there."""
    return next(remote for remote in MNIST if remote.name == f"mnist_{split}.csv").fetch(folder)


def reachable(files: Sequence[Remote]) -> bool:
    """Whether every one of some files can be asked for."""
    with ThreadPoolExecutor(max(1, len(files))) as pool:
        return all(pool.map(lambda remote: remote.answers(), files))


def any_answers(urls: Sequence[str], seconds: float = 5) -> bool:
    """Whether one of some addresses answers; all are asked at once, so that no network costs one time-out."""
    import requests

    def answers(url: str) -> bool:
        try:
            # Not HEAD, which some servers refuse; with stream the body is left where it is.
            with requests.get(url, timeout=seconds, stream=True) as answer:
                return answer.ok
        except requests.RequestException:
            return False

    with ThreadPoolExecutor(len(urls)) as pool:
        return any(pool.map(answers, urls))


def reason(error: BaseException) -> str:
    """Why a mirror gave nothing, in plain words."""
    names = {type(one).__name__ for one in chain_of(error)}
    if names & {"ReadTimeoutError", "ReadTimeout", "ConnectTimeout", "TimeoutError"}:
        return "did not go on in time"
    if names & {"IncompleteRead", "ChunkedEncodingError"}:
        return "broke off"
    return "could not be reached"


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """An error, what it carries and what caused it."""
    yield error
    for inner in (*error.args, error.__cause__, error.__context__):
        if isinstance(inner, BaseException) and inner is not error:
            yield from chain_of(inner)
