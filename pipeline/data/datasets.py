"""`myMNIST`: MNIST from CSV files, with the conventions of `torchvision.datasets.MNIST`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pipeline.data import (
    download,
    torchvision_shim,  # noqa: F401 - before torchvision
)
from pipeline.data.mnist_csv import read_mnist_csv
from pipeline.data.store import MANIFEST, Images, ImageStore
from pipeline.errors import UserError

from torchvision.datasets import VisionDataset  # isort: skip


class myMNIST(VisionDataset):
    """MNIST read from CSV; takes the place of `torchvision.datasets.MNIST` in a script.

    `root` is one of:

    - a folder with `mnist_train.csv` and `mnist_test.csv` (or `.csv.gz`); with `download=True` they are downloaded
      there if they are missing,
    - a CSV file itself (then `train` only says what it is),
    - a store that `make prepare` made, such as `.cache/data/mnist`: opens at once, same tensors.

    `data` is (n, 28, 28) uint8 from 0 to 255 and `targets` (n,) int64 from 0 to 9. `dataset[i]` is an (image, label)
    pair: a PIL image of mode "L" passed through `transform`, an int passed through `target_transform`.

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
        root: str | Path,
        train: bool = True,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        digits = load(Path(root), "train" if train else "test", download)
        self.data = torch.from_numpy(digits.images).squeeze(1)
        self.targets = torch.from_numpy(digits.labels).long()

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

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


def load(root: Path, split: str, may_download: bool) -> Images:
    """The images of one split from whatever `root` is."""
    if (root / MANIFEST).is_file():
        store = ImageStore.open(root)
        chosen = slice(store.split(split).start, store.split(split).stop)
        return Images(store.images[chosen], store.labels[chosen])
    if root.is_file():
        return read_mnist_csv(root)
    name = f"mnist_{split}.csv"
    for path in (root / name, root / f"{name}.gz"):
        if path.is_file():
            return read_mnist_csv(path)
    if may_download:
        remote = next(file for file in download.MNIST if file.name == name)
        return read_mnist_csv(download.fetch_one(remote, root))
    raise UserError(f"{root}: {name} is not there, nor {name}.gz; give download=True to download it")
