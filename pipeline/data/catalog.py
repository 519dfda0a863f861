"""Which datasets an experiment uses, and how each becomes a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.config import Data, Run
from pipeline.console import say, waiting
from pipeline.data import download
from pipeline.data.files import clean_up, state_of
from pipeline.data.source_code import code_digest, module_file
from pipeline.data.sources import CATALOG, ROLES, Choice, Dataset, Role, image_folder
from pipeline.data.store import MANIFEST, Images, ImageStore, write_store
from pipeline.errors import UserError

__all__ = [
    "FULL_DATA_HINT",
    "ROLES",
    "Choice",
    "Role",
    "candidates",
    "choose",
    "chosen",
    "is_current",
    "obtainable",
    "opened",
    "prepare",
]

FULL_DATA_HINT = "for MNIST and CIFAR-10 run `make all` with a network, or `make all SOURCE=folder-with-their-files`"


def choose(data: Data, run: Run, roles: Sequence[Role], every: bool = True) -> Choice:
    """Which data to use: the one place where that is decided.

    demo: the bundled images. full: MNIST and CIFAR-10 from `source`, from what was prepared before, or downloaded.
    auto: full where it is prepared or can be had, else demo. `roles` are the datasets that the stage needs, every one
    or at least one of them. Raises `UserError` if full is asked for and can't be had, and for a source without the
    files.
    """
    own = {"SOURCE": data.source, "IMAGES": data.images.folder}
    if data.choice == "demo":
        for name, folder in own.items():
            if folder:
                raise UserError(f"DATA=demo uses the bundled images and takes no {name}; leave one of the two out")
        return "demo"
    missing = [role for role in roles if not obtainable(data, run, role)]
    if not missing or (len(missing) < len(roles) and not every):
        return "full"
    if data.source:
        find_in_source(CATALOG["full", missing[0]], data.source)
    if data.choice == "full" or data.images.folder:
        names = " and ".join(CATALOG["full", role].title for role in missing)
        raise UserError(
            f"{names}: not prepared and not to be downloaded (no network?); "
            "give a folder with SOURCE=path, or run on the bundled images with make demo"
        )
    return "demo"


def obtainable(data: Data, run: Run, role: Role) -> bool:
    """Whether a dataset of the full data is in the source, or, without one, is prepared, downloaded or downloadable.

    Raises `UserError` for a folder of the user's own images without images.
    """
    dataset = dataset_of(data, "full", role)
    if has_own_images(data, role):
        return given_files(dataset, data, role) is not None
    if data.source:
        return dataset.find(data.source) is not None
    return bool(
        (store_folder(run, dataset) / MANIFEST).exists()
        or dataset.find(run.cache / "downloads" / dataset.name)
        or download.reachable(dataset.remote)
    )


def opened(data: Data, run: Run, role: Role) -> ImageStore | None:
    """The store of the data chosen as it is, if there is one: nothing is made or checked."""
    return store_of(run, chosen(data, role))


def is_current(data: Data, run: Run, role: Role) -> bool:
    """Whether `prepare` would leave the store as it is."""
    dataset, store = chosen(data, role), opened(data, run, role)
    return store is not None and why_stale(store, dataset, data, given_files(dataset, data, role)) is None


def candidates(data: Data, run: Run, role: Role) -> list[tuple[str, str | None]]:
    """(name, digest) of the datasets that may be meant, the first choice first; the digest only where one is prepared.

    For those who use what was trained: nothing is made, downloaded or checked.
    """
    choices: tuple[Choice, ...] = ("full", "demo") if data.choice == "auto" else (data.choice,)
    stores = {dataset.name: store_of(run, dataset) for dataset in (dataset_of(data, one, role) for one in choices)}
    return [(name, store.manifest.digest if store else None) for name, store in stores.items()]


def chosen(data: Data, role: Role) -> Dataset:
    """The dataset that an experiment uses, once that is settled."""
    assert data.choice != "auto", "settled before any stage runs"
    return dataset_of(data, data.choice, role)


def dataset_of(data: Data, choice: Choice, role: Role) -> Dataset:
    """The dataset in a role: one of the catalog, or the user's own images."""
    if has_own_images(data, role):
        assert data.images.folder is not None
        return image_folder(data.images.folder)
    return CATALOG[choice, "digits" if data.denoise == "mnist" else role]


def has_own_images(data: Data, role: Role) -> bool:
    """Whether the user's own images take this role."""
    return role == "colour" and data.images.folder is not None


def given_files(dataset: Dataset, data: Data, role: Role) -> list[Path] | None:
    """The dataset's files where the user says they are, or None where nothing is said.

    Raises `UserError` if they aren't there.
    """
    if has_own_images(data, role):
        from pipeline.data.image_folder import find_images

        assert data.images.folder is not None
        find_images(data.images.folder)
        return [data.images.folder]
    return find_in_source(dataset, data.source) if data.source else None


def code_of(dataset: Dataset) -> str:
    """Digest of the code that decides what the dataset's store holds."""
    return code_digest(map(module_file, ("pipeline.data.store", "pipeline.data.files", *dataset.modules)))


def store_folder(run: Run, dataset: Dataset) -> Path:
    """Where a dataset's store is, or will be."""
    return run.cache / "data" / dataset.name


def store_of(run: Run, dataset: Dataset) -> ImageStore | None:
    """A dataset's store as it is, if there is one."""
    try:
        return ImageStore.open(store_folder(run, dataset))
    except (FileNotFoundError, NotADirectoryError):
        return None


def find_in_source(dataset: Dataset, source: Path) -> list[Path]:
    """The dataset's files in the user's folder. Raises `UserError` if they aren't there."""
    if not source.is_dir():
        raise UserError(f"SOURCE={source}: no such folder")
    files = dataset.find(source)
    if files is None:
        there = sorted(path.name for path in source.iterdir() if not path.name.startswith("."))
        holds = f"the folder holds {', '.join(there[:6])}{' …' if len(there) > 6 else ''}" if there else "it is empty"
        raise UserError(f"SOURCE={source}: {dataset.title} is not there; expected {dataset.wanted}; {holds}")
    return files


def prepare(data: Data, run: Run, role: Role) -> ImageStore:
    """The store of a dataset: as it is where it is whole and current, else made.

    It is current when the code that read it and the files it was read from are still the same; files that are gone
    count as the same, so that a store outlives a USB stick. Raises `UserError` if it can't be made; the old one stays.
    """
    from filelock import FileLock

    dataset = chosen(data, role)
    folder = store_folder(run, dataset)
    files = given_files(dataset, data, role)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        clean_up(folder)
        try:
            store = ImageStore.open(folder)
        except FileNotFoundError:
            reason = "not prepared yet"
        else:
            stale = why_stale(store, dataset, data, files)
            if stale is None:
                say(f"prepare   {dataset.title}: reuse, {counts(store)}")
                return store
            reason, files = stale, files or read_before(store)
        say(f"prepare   {dataset.title}: run ({reason})")
        if files is None or dataset.make:
            files = obtain(dataset, run.cache / "downloads")
        with waiting(f"Reading {dataset.title}"):
            states = {file: state_of(file) for file in files if file.exists()}
            contents = dataset.read(files, data)
            splits = {
                split: counted(blocks, split, dataset, contents.notes) for split, blocks in contents.splits.items()
            }
            store = write_store(
                folder,
                title=dataset.title,
                classes=contents.classes,
                splits=splits,
                sources={file: states.get(file) or state_of(file) for file in contents.sources},
                notes=contents.notes,
                options=dataset.options(data),
                code=code_of(dataset),
            )
        say(f"prepare   {dataset.title}: {counts(store)}, sha256 {store.manifest.digest[:12]}…")
        for note in store.manifest.notes:
            say(f"          {note}")
        return store


def why_stale(store: ImageStore, dataset: Dataset, data: Data, files: list[Path] | None) -> str | None:
    """Why a store has to be made again, or None. `files` are those that the user names now, if any."""
    manifest = store.manifest
    changed = [source.path for source in manifest.sources if source.changed]
    if manifest.code != code_of(dataset):
        return "prepared by other code"
    if manifest.options != dataset.options(data):
        return "prepared with other settings"
    if changed:
        return f"{changed[0]} has changed"
    if files and {str(path.resolve()) for path in files} != {source.path for source in manifest.sources}:
        return "prepared from another place"
    return None


def counted(blocks: Iterable[Images], split: str, dataset: Dataset, notes: list[str]) -> Iterator[Images]:
    """The same blocks; if in the end they aren't as many images as usual, a note says so."""
    count = 0
    for block in blocks:
        count += len(block.images)
        yield block
    usual = dataset.usual[split] if dataset.usual else count
    if count != usual:
        notes.append(f"{dataset.title} here has {count:,} {split} images, not the usual {usual:,}.")


def read_before(store: ImageStore) -> list[Path] | None:
    """The files that a store was made from, if all are still there."""
    files = [Path(source.path) for source in store.manifest.sources]
    return files if files and all(path.exists() for path in files) else None


def obtain(dataset: Dataset, downloads: Path) -> list[Path]:
    """The dataset's files among the downloads, downloaded or written there if need be."""
    folder = downloads / dataset.name
    if dataset.make:
        dataset.make(folder)
    found = dataset.find(folder) or []
    named = {remote.name for remote in dataset.remote}
    if not dataset.remote or (found and named.isdisjoint(path.name for path in found)):
        return found  # put there by hand, in another form than the one that is downloaded
    return [remote.fetch(folder) for remote in dataset.remote]


def counts(store: ImageStore) -> str:
    """ "60,000 train + 10,000 test images of 1×28×28"."""
    parts = [f"{len(store.split(name)):,} {name}" for name in store.manifest.splits]
    return f"{' + '.join(parts)} images of {'×'.join(map(str, store.manifest.shape[1:]))}"
