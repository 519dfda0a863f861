"""A folder of images of your own: flat, a folder a class, or both of these under train/ and test/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.config import ImageFolder
from pipeline.data.files import files_in
from pipeline.data.store import UNLABELLED, Bytes, Images
from pipeline.errors import UserError

FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is read, whatever a file's ending: Pillow would hand PostScript to another program, which runs it."""
ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
LOSSY = (".jpg", ".jpeg", ".webp")
TEST_EVERY = 10
"""Without a test folder, of every class each tenth image is a test image."""
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")
TIFF_BITS = 258  # the tag "BitsPerSample"
GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "F")
"""Kinds of pixels without colours."""
BLOCK = 256  # images decoded at a time


@dataclass(frozen=True)
class LabelledFile:
    """An image's file and its class."""

    path: Path
    label: int


def find_images(folder: Path) -> list[Path]:
    """All image files in a folder and its folders, sorted. Raises `UserError` if there are none."""
    if not folder.is_dir():
        raise UserError(f"IMAGES={folder}: no such folder")
    found = [path for path in files_in(folder) if path.suffix.lower() in ENDINGS]
    if not found:
        raise UserError(f"IMAGES={folder}: no images in it; expected files that end in {' '.join(ENDINGS)}")
    return found


def read_image_folder(options: ImageFolder) -> tuple[dict[str, Iterator[Images]], list[str], list[str]]:
    """The splits "train" and "test" in blocks, the classes' names, and notes on what the images are.

    Images are (n, c, h, w) uint8: one channel if all files are grey, else RGB. 16-bit values are brought to 8 bits,
    transparency is left out, and a camera's rotation applied. Raises `UserError` for an image that can't be decoded,
    and for images of different sizes unless `options.size` says what to bring them to.
    """
    folder = options.folder
    assert folder is not None, "asked for only with a folder"
    files = find_images(folder)
    splits, classes, notes = labelled(files, folder)
    kinds = [kind_of(path) for path in files]
    grey, deep = (sum(counts) for counts in zip(*kinds, strict=True))
    channels = 1 if grey == len(files) else 3
    lossy = sum(path.suffix.lower() in LOSSY for path in files)
    if lossy:
        notes.append(
            f"{lossy:,} of {len(files):,} images are JPEG or WebP: their artefacts count as part of the image."
        )
    if deep:
        notes.append(f"{deep:,} of {len(files):,} images have 16 bits, of which 8 are kept.")
    if channels == 3 and grey:
        notes.append(
            f"{grey:,} of {len(files):,} images are grey: in three equal channels, each with noise of its own."
        )
    if options.size:
        notes.append(f"Images were brought to {options.size}×{options.size} pixels ({options.fit}).")
    first: list[tuple[Path, tuple[int, ...]]] = []
    return {split: blocks(part, channels, options, first) for split, part in splits.items()}, classes, notes


def labelled(files: Sequence[Path], folder: Path) -> tuple[dict[str, list[LabelledFile]], list[str], list[str]]:
    """Files by split with their classes, the classes, and how the splits were made."""
    inside = {path: path.relative_to(folder).parts for path in files}
    split_of, notes = split_folders({parts[0] for parts in inside.values() if len(parts) > 1}, folder)
    if split_of:
        astray = next((path for path, parts in inside.items() if parts[0] not in split_of), None)
        if astray:
            raise UserError(f"IMAGES={folder}: it has {' and '.join(split_of)}, and {astray} is in neither")
        inside = {path: parts for path, parts in inside.items() if split_of[parts[0]]}
    depth = 1 if split_of else 0
    class_of = {path: parts[depth] if len(parts) > depth + 1 else "" for path, parts in inside.items()}
    names = sorted(set(class_of.values()))
    if len(names) > UNLABELLED:
        notes.append(f"The images are in {len(names)} folders, more than {UNLABELLED}: they count as one class.")
        class_of, names = dict.fromkeys(class_of, ""), [""]
    of_split: dict[str, list[LabelledFile]] = {"train": [], "test": []}
    counts = dict.fromkeys(names, 0)
    for path, parts in inside.items():
        name = class_of[path]
        counts[name] += 1
        split = split_of[parts[0]] if split_of else "test" if counts[name] % TEST_EVERY == 0 else "train"
        of_split[split].append(LabelledFile(path, names.index(name)))
    if not split_of:
        notes.append(f"Every {TEST_EVERY}th image of a folder is a test image; the folder has no train/ and test/.")
        if not of_split["test"]:
            raise UserError(f"IMAGES={folder}: {len(files)} images; at least {TEST_EVERY} in one folder are needed")
    return of_split, [name or folder.name for name in names], notes


def split_folders(names: set[str], folder: Path) -> tuple[dict[str, str], list[str]]:
    """Folder → split, if folders are splits rather than classes, and a note on one that is something else.

    A validation folder is the test part where there is no other, and left out (as "") where there is. Raises
    `UserError` for a training folder alone.
    """
    train, test, validation = (
        [name for name in sorted(names) if name.lower() in kind] for kind in (TRAIN_NAMES, TEST_NAMES, VALIDATION_NAMES)
    )
    measured = test or validation
    if len(train) == len(measured) == 1:
        of = {train[0]: "train", measured[0]: "test"}
        if not test:
            return of, [f"{validation[0]}/ is the test part."]
        left_out = [f"{name}/ is left out: validation images are split from {train[0]}/." for name in validation]
        return {**of, **dict.fromkeys(validation, "")}, left_out
    if train and names <= {*train, *test, *validation}:
        raise UserError(f"IMAGES={folder}: it has {', '.join(sorted(names))}; expected a train/ and a test/ beside it")
    return {}, []


def blocks(
    files: Sequence[LabelledFile], channels: int, options: ImageFolder, first: list[tuple[Path, tuple[int, ...]]]
) -> Iterator[Images]:
    """Decode files, some hundred at a time. `first` gets the first image of all splits, whose size all must have."""
    for start in range(0, len(files), BLOCK):
        part = files[start : start + BLOCK]
        images = []
        for file in part:
            image = decode(file.path, channels, options)
            if not first:
                first.append((file.path, image.shape))
            (other, shape) = first[0]
            if image.shape != shape:
                raise UserError(
                    f"{file.path}: {size_of(image.shape)} pixels, where {other.name} has {size_of(shape)}; "
                    "bring all to one size with --data.images.size 32 (and --data.images.fit crop or resize)"
                )
            images.append(image)
        yield Images(np.stack(images), np.array([file.label for file in part], np.uint8))


def size_of(shape: tuple[int, ...]) -> str:
    """ "32×48", width first as people say it."""
    return f"{shape[2]}×{shape[1]}"


def kind_of(path: Path) -> tuple[bool, bool]:
    """Whether a file has no colours, and whether its values have 16 bits, by its header."""
    with opened(path) as image:
        if isinstance(image, TiffImageFile):
            deep = max(image.tag_v2.get(TIFF_BITS, (8,))) > 8
        else:
            deep = isinstance(image, ImageFile) and any("16B" in str(tile.args) for tile in image.tile)
        return image.mode in GREY, deep


def decode(path: Path, channels: int, options: ImageFolder) -> Bytes:
    """One image as (channels, h, w) uint8."""
    try:
        with opened(path) as image:
            upright = as_8_bits(ImageOps.exif_transpose(image), path).convert("L" if channels == 1 else "RGB")
            if options.size:
                upright = fitted(upright, options.size, options.fit, path)
            pixels = np.asarray(upright)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: can't be decoded: {error}") from error
    return pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)


def opened(path: Path) -> Image.Image:
    """Open an image's file; decoding comes later. Raises `UserError` for a file that is no image."""
    try:
        return Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UserError(f"{path}: not an image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: can't be opened: {error}") from error


def as_8_bits(image: Image.Image, path: Path) -> Image.Image:
    """Grey values of 16 bits brought to 8, which Pillow would cut off. Raises `UserError` for 32 bits."""
    if image.mode in ("F", "I"):
        raise UserError(f"{path}: pixels of 32 bits; expected 8 or 16")
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    return image


def fitted(image: Image.Image, size: int, fit: str, path: Path) -> Image.Image:
    """An image of size×size pixels: its middle, or shrunk or enlarged to it by the shorter side and then its middle."""
    if fit == "resize":
        return ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    if min(image.size) < size:
        wide, high = image.size
        raise UserError(
            f"{path}: {wide}×{high} pixels, too small to crop {size}×{size} from; use --data.images.fit resize"
        )
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))
