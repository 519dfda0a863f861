"""`myMNIST`: MNIST from CSV files, with the conventions of `torchvision.datasets.MNIST`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipeline.config import Csv
from pipeline.data import (
    download,
    torchvision_shim,  # noqa: F401 - before torchvision
)
from pipeline.data.mnist_csv import read_digits
from pipeline.data.sources import ENDINGS, csv_in
from pipeline.data.store import MANIFEST, UNLABELLED, Images, ImageStore
from pipeline.errors import UserError

from torchvision.datasets import VisionDataset  # isort: skip


class myMNIST(VisionDataset):
    """MNIST read from CSV; takes the place of `torchvision.datasets.MNIST` in a script.

    `root` is one of:

    - a folder with `mnist_train.csv` and `mnist_test.csv`, plain or compressed (`.gz .xz .zip .bz2`); with
      `download=True` they are downloaded there if they are missing,
    - a CSV file itself, in any form that `pipeline.data.csv_form` knows (then `train` only says what it is),
    - a store that `make prepare` made, such as `.cache/data/mnist`: opens at once, same tensors.

    `data` is (n, 28, 28) uint8 from 0 to 255 and `targets` (n,) int64 from 0 to 9. `dataset[i]` is an (image, label)
    pair: a PIL image of mode "L" passed through `transform`, an int passed through `target_transform`. Workers of a
    `DataLoader` get the images without a copy each: mapped from the store again, or in torch's shared memory.

    - `label_column`: "first", "last", "none" or a column's name, where a CSV doesn't tell by itself.
    - `image_size`: height and width of a CSV's images; `data` is then (n, image_size, image_size).

    A CSV without labels (Kaggle's test file) is taken with `train=False`, for prediction: all targets are −1.

    Raises `UserError` for a root without the files and for a CSV with anything in it that is not MNIST.
    """

    classes = [  # noqa: RUF012 - torchvision's own convention
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]

    def __init__(
        self,
        root: str | Path | ImageStore,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
        *,
        label_column: str = "auto",
        image_size: int = 28,
    ) -> None:
        self.store = opened(root)
        place = self.store.folder if self.store else Path(str(root)).expanduser()
        super().__init__(place, transform=transform, target_transform=target_transform)
        self.train = train
        if self.store:
            if (label_column, image_size) != ("auto", 28):
                raise UserError(f"{root}: label_column and image_size are for CSV files; this is a prepared store")
            channels, classes = self.store.manifest.shape[1], len(self.store.manifest.classes)
            if (channels, classes) != (1, len(self.classes)):
                raise UserError(f"{root}: a store of {channels} channels and {classes} classes, not of digits")
            self.take(part_of(self.store, train))
            return
        csv = Csv(label_column=label_column, image_size=image_size)
        digits = read_digits(find_csv(place, "train" if train else "test", download), csv)
        if train and (digits.labels == UNLABELLED).all():
            raise UserError(f"{root}: there are no labels to learn from; open it with train=False to predict them")
        self.take(digits)

    def take(self, digits: Images) -> None:
        """Make digits the dataset's own."""
        self.data = self.as_read = torch.from_numpy(digits.images).squeeze(1)
        self.targets = torch.from_numpy(digits.labels).long()
        self.targets[self.targets == UNLABELLED] = -1

    def __getstate__(self) -> dict[str, Any]:
        """What a worker process gets: of a store's images only where they are, unless they were changed since."""
        state = self.__dict__.copy()
        del state["as_read"]
        if self.store and self.data is self.as_read and self.data._version == 0:
            del state["data"]
            state["store"] = self.store.folder, self.store.manifest.digest
        else:
            state["store"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if state["store"]:
            folder, digest = state["store"]
            self.store = ImageStore.open(folder)
            if self.store.manifest.digest != digest:
                raise RuntimeError(f"{folder} was prepared anew while a DataLoader was being started")
            self.data = torch.from_numpy(part_of(self.store, self.train).images).squeeze(1)
        self.as_read = self.data

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name → label."""
        return {name: label for label, name in enumerate(self.classes)}

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image: Any = Image.fromarray(self.data[index].numpy())
        target: Any = int(self.targets[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitems__(self, indices: Sequence[int] | slice) -> list[tuple[Any, Any]]:
        """The items of several indices or of a slice, as a `DataLoader` asks for a batch."""
        chosen = range(len(self))[indices] if isinstance(indices, slice) else indices
        return [self[int(index)] for index in chosen]

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


def opened(root: str | Path | ImageStore) -> ImageStore | None:
    """The store that a root is, or None."""
    if isinstance(root, ImageStore):
        return root
    folder = Path(root).expanduser()
    return ImageStore.open(folder) if (folder / MANIFEST).is_file() else None


def part_of(store: ImageStore, train: bool) -> Images:
    """One split of a store, not copied."""
    indices = store.split("train" if train else "test")
    part = slice(indices.start, indices.stop)
    return Images(store.images[part], store.labels[part])


def find_csv(root: Path, split: str, may_download: bool) -> Path:
    """The CSV of a split: `root` itself, in `root`, or downloaded there."""
    if root.is_file():
        return root
    found = csv_in(root, split)
    if found is None and may_download:
        return download.mnist_csv(split, root)
    if found is None and not root.is_dir():
        raise UserError(f"{root}: no such file or folder")
    if found is None:
        endings = ", ".join(ENDINGS[1:])
        raise UserError(
            f"{root}: mnist_{split}.csv is not there, nor with {endings} after its name; "
            "give download=True to download it"
        )
    return found
