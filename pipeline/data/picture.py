"""Image files with all that they hold: 8 or 16 bits, grey or colour, transparency. Read from any form, written as PNG.

Pillow has no colours of 16 bits. It does decode them, and keeps one byte of each two: which one, it can be told.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.TiffImagePlugin import TiffImageFile

from pipeline.data.files import files_in
from pipeline.data.image_folder import ENDINGS, TIFF_BITS, opened
from pipeline.errors import UserError

PNG_KIND = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's number for grey, grey with alpha, colour, and colour with alpha, by their number of channels."""

TIFF_PHOTOMETRIC = 262
QUARTER_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (1, True), 6: (3, False), 7: (3, True), 8: (1, False)}
"""EXIF's orientation → quarter turns against the clock, and whether it is mirrored from left to right before."""
WRITER = "four-questions"
"""What images written here name as the software that wrote them."""


@dataclass(frozen=True)
class Picture:
    """One image."""

    pixels: NDArray[np.float32]
    """(c, h, w) from 0 to 1: one channel if it is grey, else three."""
    alpha: NDArray[np.unsignedinteger[Any]] | None
    """(h, w), as the file has it."""
    bits: Literal[8, 16]
    profile: bytes | None
    """What its colours mean (ICC)."""
    among: int = 1
    """How many there are in the file; this is the first."""

    def __str__(self) -> str:
        channels, h, w = self.pixels.shape
        kind = f"{'grey' if channels == 1 else 'colour'}{' with alpha' if self.alpha is not None else ''}"
        place = f", the first of {self.among} in the file" if self.among > 1 else ""
        return f"{w}×{h}, {kind}{', 16 bits' if self.bits == 16 else ''}{place}"

    def with_pixels(self, pixels: NDArray[np.float32]) -> Picture:
        """The same image with other pixels, rounded to what the file can hold."""
        most = 2**self.bits - 1
        return replace(self, pixels=(np.rint(pixels.clip(0, 1) * most) / most).astype(np.float32))

    def encoded(self) -> bytes:
        """As a PNG file."""
        most = 2**self.bits - 1
        samples = np.rint(self.pixels.transpose(1, 2, 0) * most).astype(np.uint8 if self.bits == 8 else np.uint16)
        if self.alpha is not None:
            samples = np.dstack([samples, self.alpha])
        return png(samples, self.profile)


def find_pictures(inputs: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Image files as (path, path below its input): those named, and all in the folders named, sorted.

    Raises `UserError` for what is not there and for a folder without images.
    """
    found = []
    for given in inputs:
        if given.is_dir():
            inside = [path for path in files_in(given) if path.suffix.lower() in ENDINGS]
            if not inside:
                raise UserError(f"{given}: no images in it; expected files that end in {' '.join(ENDINGS)}")
            found += [(path, path.relative_to(given)) for path in inside]
        elif given.exists():
            found.append((given, Path(given.name)))
        else:
            raise UserError(f"{given}: no such file or folder")
    return found


def read_picture(path: Path) -> Picture:
    """Read an image; of several in a file the first, upright. Raises `UserError` for what can't be decoded."""
    try:
        with opened(path) as image:
            profile = profile_of(image)
            among = getattr(image, "n_frames", 1)
            samples = all_samples(image, path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: can't be decoded: {error}") from error
    samples = samples.reshape(*samples.shape[:2], -1)
    channels = samples.shape[2]
    colours = samples[:, :, : channels - (channels in (2, 4))]
    most = np.iinfo(samples.dtype).max
    return Picture(
        pixels=np.ascontiguousarray(colours.transpose(2, 0, 1), np.float32) / np.float32(most),
        alpha=samples[:, :, -1] if channels in (2, 4) else None,
        bits=8 if most == 255 else 16,
        profile=profile,
        among=among,
    )


def profile_of(image: Image.Image) -> bytes | None:
    """An image's colour profile, unless it is of what the samples are turned from, such as CMYK."""
    profile: bytes | None = image.info.get("icc_profile")
    meant = b"GRAY" if image.mode[0] in "1LI" else b"RGB "
    return profile if profile and profile[16:20] == meant else None


def all_samples(image: Image.Image, path: Path) -> NDArray[np.unsignedinteger[Any]]:
    """(h, w) or (h, w, channels) of uint8 or uint16, nothing cut off but values of 32 bits, which are refused."""
    if isinstance(image, PngImageFile) and (raw := image.tile[0].args) in ("RGB;16B", "RGBA;16B", "LA;16B"):
        return turned(png_of_16_bits(image, str(raw), path), image)
    if isinstance(image, TiffImageFile) and max(image.tag_v2.get(TIFF_BITS, (8,))) > 8 and image.mode != "I;16":
        return turned(tiff_samples(path), image)
    if image.mode in ("F", "I"):
        raise UserError(f"{path}: pixels of 32 bits; expected 8 or 16")
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        samples = np.asarray(upright).astype(np.uint16)
        white_is_0 = isinstance(image, TiffImageFile) and image.tag_v2.get(TIFF_PHOTOMETRIC) == 0
        return np.invert(samples) if white_is_0 else samples
    grey = upright.mode in ("1", "L", "LA", "La")
    transparent = upright.has_transparency_data
    return np.asarray(upright.convert(("LA" if grey else "RGBA") if transparent else ("L" if grey else "RGB")))


def turned(samples: NDArray[np.uint16], image: Image.Image) -> NDArray[np.uint16]:
    """Samples (h, w, …) brought upright, as `ImageOps.exif_transpose` does with what Pillow can hold."""
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    turns, mirrored = QUARTER_TURNS.get(orientation, (0, False))
    return np.rot90(np.fliplr(samples) if mirrored else samples, turns)


def png_of_16_bits(image: PngImageFile, raw: str, path: Path) -> NDArray[np.uint16]:
    """Samples (h, w, channels) of which Pillow would keep the upper bytes: the file is decoded twice, for both."""
    if raw == "LA;16B":
        # Two values of two bytes: told that these are four values of one, Pillow hands all bytes out.
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        return np.asarray(image).view(">u2").astype(np.uint16)
    with opened(path) as again:
        assert isinstance(again, PngImageFile), "it was one before"
        # Read as if the lower byte came first, the upper byte of each value is what really is the lower one.
        again.tile = [tile._replace(args=raw.replace("16B", "16L")) for tile in again.tile]
        lower = np.asarray(again).astype(np.uint16)
    return np.asarray(image).astype(np.uint16) * np.uint16(256) + lower


def tiff_samples(path: Path) -> NDArray[np.uint16]:
    """The first image of a TIFF of 16 bits: (h, w) or (h, w, channels)."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        samples = page.asarray()
        axes = page.axes
    if samples.dtype != np.uint16 or axes not in ("YX", "YXS", "SYX"):
        raise UserError(f"{path}: a TIFF of {samples.dtype} with axes {axes}; expected 8 or 16 bits, grey or colour")
    return np.moveaxis(samples, 0, -1) if axes == "SYX" else samples


def png(samples: NDArray[np.unsignedinteger[Any]], profile: bytes | None) -> bytes:
    """A PNG file of (h, w, channels) uint8 or uint16, which Pillow can't write."""
    if samples.dtype == np.uint8:
        file = io.BytesIO()
        image = Image.fromarray(samples.squeeze(2) if samples.shape[2] == 1 else samples)
        info = PngInfo()
        info.add_text("Software", WRITER)
        image.save(file, "PNG", icc_profile=profile, pnginfo=info)
        return file.getvalue()
    h, w, channels = samples.shape
    rows = np.ascontiguousarray(samples.astype(">u2")).view(np.uint8).reshape(h, -1)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # each byte minus the one above, modulo 256
    filtered = np.insert(up, 0, 2, axis=1)  # filter 2: "up"
    header = struct.pack(">IIBBBBB", w, h, 16, PNG_KIND[channels], 0, 0, 0)
    colour = [(b"iCCP", b"ICC\0\0" + zlib.compress(profile))] if profile else []
    text = (b"tEXt", b"Software\0" + WRITER.encode())
    chunks = [(b"IHDR", header), *colour, text, (b"IDAT", zlib.compress(filtered.tobytes(), 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def written_here(file: Path) -> bool:
    """Whether a file is an image that `Picture.encoded` made."""
    try:
        with opened(file) as image:
            return bool(image.info.get("Software") == WRITER)
    except UserError:
        return False
