"""The datasets there are, which of them an experiment uses, and how each becomes a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config import Data, Run
from pipeline.console import say, waiting
from pipeline.data import download
from pipeline.data.source_code import code_digest, module_file
from pipeline.data.store import MANIFEST, Images, ImageStore, write_store
from pipeline.errors import UserError

Role = Literal["digits", "colour"]
ROLES: tuple[Role, ...] = ("digits", "colour")
Choice = Literal["full", "demo"]

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FULL_DATA_HINT = "for MNIST and CIFAR-10 run `make all` with a network, or `make all SOURCE=folder-with-their-files`"


@dataclass(frozen=True)
class Contents:
    """What a dataset's reader gives."""

    splits: dict[str, Images]
    classes: Sequence[str]
    sources: Sequence[Path]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Dataset:
    """One entry of the catalog."""

    name: str
    title: str
    find: Callable[[Path], list[Path] | None]
    """The dataset's files in a folder, or None."""
    read: Callable[[list[Path]], Contents]
    modules: tuple[str, ...]
    """The modules that read it, which decide what the store holds."""
    remote: tuple[download.Remote, ...] = ()
    wanted: str = ""
    """The files that `find` looks for, in words."""
    make: Callable[[Path], None] | None = None
    """Writes the files into a folder, for a dataset that comes with the dependencies."""


def find_mnist(folder: Path) -> list[Path] | None:
    """mnist_train.csv and mnist_test.csv, plain or gzip."""
    found = [
        next((path for path in (folder / f"mnist_{split}.csv{end}" for end in ("", ".gz")) if path.is_file()), None)
        for split in ("train", "test")
    ]
    return [path for path in found if path] if all(found) else None


def find_cifar10(folder: Path) -> list[Path] | None:
    """The extracted folder's files, or the archive."""
    from pipeline.data.cifar10 import ARCHIVE, FOLDER, TEST, TRAIN

    if (folder / FOLDER).is_dir():
        return [folder / FOLDER / name for name in (*TRAIN, *TEST, "batches.meta")]
    return [folder / ARCHIVE] if (folder / ARCHIVE).is_file() else None


def read_digits(files: list[Path]) -> Contents:
    """Both CSV files, through `myMNIST`."""
    from pipeline.data.datasets import myMNIST

    splits = {}
    for split, path in zip(("train", "test"), files, strict=True):
        digits = myMNIST(path, train=split == "train")
        splits[split] = Images(digits.data.unsqueeze(1).numpy(), digits.targets.numpy().astype("uint8"))
    return Contents(splits, DIGIT_NAMES, files)


def read_demo_digits(files: list[Path]) -> Contents:
    """As `read_digits`, with what they are."""
    contents = read_digits(files)
    note = "Handwritten digits of 8×8 pixels (scikit-learn), scaled to 28×28: not MNIST."
    return Contents(contents.splits, contents.classes, contents.sources, [note])


def read_cifar(files: list[Path]) -> Contents:
    """The extracted folder or the archive."""
    from pipeline.data.cifar10 import ARCHIVE, read_cifar10

    place = files[0] if files[0].name == ARCHIVE else files[0].parent
    splits, classes, notes = read_cifar10(place)
    return Contents(splits, classes, files, notes)


def read_demo_patches(_: list[Path]) -> Contents:
    """Tiles of the bundled photographs."""
    from pipeline.data.demo import read_patches

    splits, classes, photographs = read_patches()
    note = "32×32 tiles of photographs (scikit-image, scikit-learn), nine for training, two for testing: not CIFAR-10."
    return Contents(splits, classes, photographs, [note])


def make_demo_digits(folder: Path) -> None:
    """Write the demo's CSV files."""
    from pipeline.data.demo import write_digits

    write_digits(folder)


CATALOG: dict[tuple[Choice, Role], Dataset] = {
    ("full", "digits"): Dataset(
        "mnist",
        "MNIST",
        find_mnist,
        read_digits,
        ("pipeline.data.mnist_csv",),
        download.MNIST,
        "mnist_train.csv and mnist_test.csv (or .csv.gz)",
    ),
    ("full", "colour"): Dataset(
        "cifar10",
        "CIFAR-10",
        find_cifar10,
        read_cifar,
        ("pipeline.data.cifar10",),
        download.CIFAR10,
        "cifar-10-batches-py/ or cifar-10-python.tar.gz",
    ),
    ("demo", "digits"): Dataset(
        "demo-digits",
        "Demo digits",
        find_mnist,
        read_demo_digits,
        ("pipeline.data.demo", "pipeline.data.mnist_csv"),
        make=make_demo_digits,
    ),
    ("demo", "colour"): Dataset(
        "demo-patches",
        "Demo patches",
        lambda _: [],
        read_demo_patches,
        ("pipeline.data.demo",),
    ),
}


def choose(data: Data, run: Run, roles: Sequence[Role], every: bool = True) -> Choice:
    """Which data to use: the one place where that is decided.

    demo: the bundled images. full: MNIST and CIFAR-10 from `source`, from what was prepared before, or downloaded.
    auto: full where it is prepared or can be had, else demo. `roles` are the datasets that the stage needs, every one
    or at least one of them. Raises `UserError` if full is asked for and can't be had, and for a source without the
    files.
    """
    enough = all if every else any
    if data.choice == "demo":
        if data.source:
            raise UserError("DATA=demo uses the bundled images and takes no SOURCE; leave one of the two out")
        return "demo"
    if data.source:
        missing = [role for role in roles if CATALOG["full", role].find(data.source) is None]
        if missing and (every or missing == list(roles)):
            find_in_source(CATALOG["full", missing[0]], data.source)
        return "full"
    if enough(obtainable(data, run, role) for role in roles):
        return "full"
    if data.choice == "full":
        names = " and ".join(CATALOG["full", role].title for role in roles)
        raise UserError(
            f"DATA=full: {names} not prepared and not to be downloaded (no network?); "
            "give a folder with SOURCE=path, or run on the bundled images with make demo"
        )
    return "demo"


def obtainable(data: Data, run: Run, role: Role) -> bool:
    """Whether a dataset of the full data is in the source, or, without one, is prepared, downloaded or downloadable."""
    dataset = CATALOG["full", role]
    if data.source:
        return dataset.find(data.source) is not None
    return bool(
        (store_folder(run, dataset) / MANIFEST).exists()
        or dataset.find(run.cache / "downloads" / dataset.name)
        or download.reachable(dataset.remote)
    )


def opened(data: Data, run: Run, role: Role) -> ImageStore | None:
    """The store of the data chosen as it is, if there is one: nothing is made or checked."""
    try:
        return ImageStore.open(store_folder(run, chosen(data, role)))
    except FileNotFoundError:
        return None


def is_current(data: Data, run: Run, role: Role) -> bool:
    """Whether `prepare` would leave the store as it is."""
    dataset, store = chosen(data, role), opened(data, run, role)
    return store is not None and why_stale(store, dataset, given_files(dataset, data)) is None


def chosen(data: Data, role: Role) -> Dataset:
    """The dataset that an experiment uses, once that is settled."""
    assert data.choice != "auto", "settled before any stage runs"
    return CATALOG[data.choice, role]


def given_files(dataset: Dataset, data: Data) -> list[Path] | None:
    """The dataset's files in the user's source, or None without one."""
    return find_in_source(dataset, data.source) if data.source else None


def code_of(dataset: Dataset) -> str:
    """Digest of the code that decides what the dataset's store holds."""
    return code_digest(map(module_file, ("pipeline.data.store", *dataset.modules)))


def store_folder(run: Run, dataset: Dataset) -> Path:
    """Where a dataset's store is, or will be."""
    return run.cache / "data" / dataset.name


def find_in_source(dataset: Dataset, source: Path) -> list[Path]:
    """The dataset's files in the user's folder. Raises `UserError` if they aren't there."""
    if not source.is_dir():
        raise UserError(f"SOURCE={source}: no such folder")
    files = dataset.find(source)
    if files is None:
        raise UserError(f"SOURCE={source}: {dataset.title} is not there; expected {dataset.wanted}")
    return files


def prepare(data: Data, run: Run, role: Role) -> ImageStore:
    """The store of a dataset: as it is where it is whole and current, else made.

    It is current when the code that read it and the files it was read from are still the same; files that are gone
    count as the same, so that a store outlives a USB stick. Raises `UserError` if it can't be made; the old one stays.
    """
    from filelock import FileLock

    dataset = chosen(data, role)
    folder = store_folder(run, dataset)
    files = given_files(dataset, data)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        try:
            store = ImageStore.open(folder)
        except FileNotFoundError:
            reason = "not prepared yet"
        else:
            stale = why_stale(store, dataset, files)
            if stale is None:
                say(f"prepare   {dataset.title}: reuse, {counts(store)}")
                return store
            reason, files = stale, files or read_before(store)
        say(f"prepare   {dataset.title}: run ({reason})")
        if files is None or dataset.make:
            files = obtain(dataset, run.cache / "downloads")
        with waiting(f"Reading {dataset.title}"):
            contents = dataset.read(files)
            store = write_store(
                folder,
                title=dataset.title,
                classes=contents.classes,
                splits=contents.splits,
                sources=contents.sources,
                notes=contents.notes,
                code=code_of(dataset),
            )
        say(f"prepare   {dataset.title}: {counts(store)}, sha256 {store.manifest.digest[:12]}…")
        for note in store.manifest.notes:
            say(f"          {note}")
        return store


def why_stale(store: ImageStore, dataset: Dataset, files: list[Path] | None) -> str | None:
    """Why a store has to be made again, or None. `files` are those that the user names now, if any."""
    manifest = store.manifest
    changed = [source.path for source in manifest.sources if source.changed]
    if manifest.code != code_of(dataset):
        return "prepared by other code"
    if changed:
        return f"{changed[0]} has changed"
    if files and {str(path.resolve()) for path in files} != {source.path for source in manifest.sources}:
        return "prepared from another place"
    return None


def read_before(store: ImageStore) -> list[Path] | None:
    """The files that a store was made from, if all are still there."""
    files = [Path(source.path) for source in store.manifest.sources]
    return files if files and all(path.exists() for path in files) else None


def obtain(dataset: Dataset, downloads: Path) -> list[Path]:
    """The dataset's files among the downloads, downloaded or written there if need be."""
    folder = downloads / dataset.name
    if dataset.remote:
        return download.fetch(dataset.remote, folder)
    if dataset.make:
        dataset.make(folder)
    return dataset.find(folder) or []


def counts(store: ImageStore) -> str:
    """ "60,000 train + 10,000 test images of 1×28×28"."""
    parts = [f"{len(store.split(name)):,} {name}" for name in store.manifest.splits]
    return f"{' + '.join(parts)} images of {'×'.join(map(str, store.manifest.shape[1:]))}"
