"""Which images are used, and what their files do not tell by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.config.checks import expanded
from pipeline.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Csv:
    """What a CSV of digits doesn't tell by itself."""

    label_column: str = "auto"
    """first, last, none (unlabelled), or the column's name; auto: found by the header or by what the columns hold."""

    image_size: int = 28
    """Height and width of the images in pixels."""

    def __post_init__(self) -> None:
        if not 2 <= self.image_size <= 1024:
            raise UserError(f"data.csv.image_size is {self.image_size}; give the side of the images, such as 28")


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """A folder of images of your own, to denoise instead of CIFAR-10."""

    folder: Path | None = None
    """Images, or a folder of them a class; or all of that under train/ and test/."""

    size: int | None = None
    """Height and width in pixels to bring every image to; not given: left as they are, which must be all alike."""

    fit: Literal["crop", "resize"] = "crop"
    """How: crop takes the middle, resize shrinks or enlarges the shorter side first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", expanded(self.folder))
        if self.size is not None and not 4 <= self.size <= 4096:
            raise UserError(f"data.images.size is {self.size}; give a side in pixels, such as 32")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which images to use."""

    choice: Literal["auto", "full", "demo"] = "auto"
    """full: MNIST and CIFAR-10; demo: images inside the dependencies; auto: full if it can be had, else demo."""

    source: Path | None = None
    """Folder with mnist_train.csv, mnist_test.csv and CIFAR-10; nothing is downloaded and nothing is written there."""

    denoise: Literal["cifar10", "mnist"] = "cifar10"
    """Which of the two the denoisers are trained on."""

    csv: Csv = Csv()

    images: ImageFolder = ImageFolder()

    validation: float = 0.1
    """Share of the training images held out for validation, strictly between 0 and 1; of few images more: 20,
    or a fifth where that is less."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", expanded(self.source))
        if self.images.folder and self.denoise != "cifar10":
            raise UserError(f"IMAGES and DATASET={self.denoise} both say what to denoise; leave one of the two out")
        if not 0 < self.validation < 1:
            raise UserError(f"data.validation is {self.validation}; give a share between 0 and 1, such as 0.1")
