"""Real images that come inside the dependencies: what `make demo` runs on, without a network.

Digits: scikit-learn's 1,797 handwritten digits of 8×8 pixels (Alpaydin & Kaynak 1998, UCI machine learning
repository), scaled to 28×28 and written as CSV in MNIST's layout. Patches: 32×32 tiles of the photographs bundled with
scikit-image and scikit-learn, test tiles from other photographs than training tiles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.store import Bytes, Images

TEST_DIGITS = 360  # the last fifth: mostly other writers than the rest
TRAIN_PHOTOGRAPHS = (
    "astronaut.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
    "retina.jpg",
    "hubble_deep_field.jpg",
    "ihc.png",
    "china.jpg",
    "flower.jpg",
)
TEST_PHOTOGRAPHS = ("chelsea.png", "coffee.png")
TILE = 32
MOST_TILES = 256  # a photograph, so that the large ones do not drown the rest


def write_digits(folder: Path) -> None:
    """Write `mnist_train.csv` (1,437 rows) and `mnist_test.csv` (360 rows), headerless, in MNIST's layout."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = np.column_stack([digits.target, np.stack([enlarged(image) for image in digits.images])])
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in {"train": rows[:-TEST_DIGITS], "test": rows[-TEST_DIGITS:]}.items():
        np.savetxt(folder / f"mnist_{name}.csv", part, fmt="%d", delimiter=",")


def enlarged(image: np.ndarray) -> Bytes:
    """One digit of 8×8 values from 0 to 16 as 784 pixels from 0 to 255."""
    grey = Image.fromarray((image * (255 / 16)).round().astype(np.uint8))
    return np.asarray(grey.resize((28, 28), Image.Resampling.BICUBIC)).reshape(-1)


def read_patches() -> tuple[dict[str, Images], list[str], list[Path]]:
    """The splits "train" and "test", the photographs' names (the classes), and their files."""
    files = {path.name: path for path in bundled_photographs()}
    names = [*TRAIN_PHOTOGRAPHS, *TEST_PHOTOGRAPHS]
    splits = {}
    for split, photographs in {"train": TRAIN_PHOTOGRAPHS, "test": TEST_PHOTOGRAPHS}.items():
        patches = [cut_tiles(np.asarray(Image.open(files[name]).convert("RGB"))) for name in photographs]
        labels = np.repeat([names.index(name) for name in photographs], [len(part) for part in patches])
        splits[split] = Images(np.concatenate(patches), labels.astype(np.uint8))
    return splits, [Path(name).stem for name in names], [files[name] for name in names]


def bundled_photographs() -> list[Path]:
    """The photographs' files inside the installed packages. Neither package is imported: only found."""
    from importlib.util import find_spec

    folders = []
    for package, inside in {"skimage": "data", "sklearn": "datasets/images"}.items():
        spec = find_spec(package)
        assert spec is not None, f"{package} is a dependency"
        assert spec.origin is not None, f"{package} has files"
        folders.append(Path(spec.origin).parent / inside)
    wanted = {*TRAIN_PHOTOGRAPHS, *TEST_PHOTOGRAPHS}
    return [path for folder in folders for path in sorted(folder.iterdir()) if path.name in wanted]


def cut_tiles(photograph: Bytes) -> Bytes:
    """Up to `MOST_TILES` tiles of an (h, w, 3) photograph, evenly spread and not overlapping: (n, 3, 32, 32)."""
    rows, columns = photograph.shape[0] // TILE, photograph.shape[1] // TILE
    grid = photograph[: rows * TILE, : columns * TILE].reshape(rows, TILE, columns, TILE, 3)
    every = grid.transpose(0, 2, 4, 1, 3).reshape(-1, 3, TILE, TILE)
    chosen = np.linspace(0, len(every) - 1, min(MOST_TILES, len(every))).round().astype(int)
    tiles: Bytes = every[chosen]
    return tiles
