"""Image files keep their bits, colours and transparency."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.data.files import write_whole
from pipeline.data.picture import Picture, find_pictures, read_picture, written_here
from pipeline.errors import UserError

KINDS = {"grey": 1, "grey with alpha": 2, "colour": 3, "colour with alpha": 4}


def samples_of(channels: int, bits: int) -> np.ndarray:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(channels).integers(0, 2**bits, (23, 41, channels)).astype(kind)


def written_png(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits in its simplest form, from its specification: no filter, one chunk of pixels."""
    h, w, channels = samples.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    chunks = {b"IHDR": struct.pack(">IIBBBBB", w, h, 16, kind, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_a_png_is_read_and_written(tmp_path: Path, kind: str, bits: int) -> None:
    samples = samples_of(KINDS[kind], bits)
    if bits == 8:
        Image.fromarray(samples.squeeze()).save(tmp_path / "a.png")
    else:
        (tmp_path / "a.png").write_bytes(written_png(samples))
    picture = read_picture(tmp_path / "a.png")
    assert str(picture) == f"41×23, {kind}{', 16 bits' if bits == 16 else ''}"
    colours = samples[:, :, : 1 if KINDS[kind] < 3 else 3]
    assert np.array_equal(np.rint(picture.pixels * (2**bits - 1)), colours.transpose(2, 0, 1))
    if "alpha" in kind:
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, samples[:, :, -1])

    (tmp_path / "b.png").write_bytes(picture.encoded())
    with Image.open(tmp_path / "b.png") as image:
        image.verify()
    again = read_picture(tmp_path / "b.png")
    assert np.array_equal(again.pixels, picture.pixels)
    assert again.bits == bits
    assert (again.alpha is None) == (picture.alpha is None)
    assert [written_here(tmp_path / name) for name in ("a.png", "b.png")] == [False, True]


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_a_tiff_of_16_bits_keeps_them(tmp_path: Path, planes: str) -> None:
    samples = samples_of(3, 16)
    stored = samples if planes == "contig" else np.ascontiguousarray(samples.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planes)
    picture = read_picture(tmp_path / "a.tif")
    assert np.array_equal(np.rint(picture.pixels * 65535), samples.transpose(2, 0, 1))


@pytest.mark.parametrize("ending", ["jpg", "webp", "bmp", "tif"])
def test_other_forms_are_read_as_pillow_reads_them(tmp_path: Path, ending: str) -> None:
    Image.fromarray(samples_of(3, 8)).save(tmp_path / f"a.{ending}")
    expected = np.asarray(Image.open(tmp_path / f"a.{ending}").convert("RGB"))
    picture = read_picture(tmp_path / f"a.{ending}")
    assert np.array_equal(np.rint(picture.pixels * 255), expected.transpose(2, 0, 1))


def test_a_palette_with_transparency_becomes_colour_with_alpha(tmp_path: Path) -> None:
    image = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) % 4).convert("P")
    image.save(tmp_path / "a.png", transparency=0)
    picture = read_picture(tmp_path / "a.png")
    assert picture.alpha is not None
    assert (picture.alpha == 0).sum() == 16
    assert picture.pixels.shape == (3, 8, 8)


def test_what_is_no_image_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    Image.fromarray(samples_of(3, 8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    tifffile.imwrite(tmp_path / "floats.tif", np.zeros((8, 8, 3), np.float32), photometric="rgb")
    for name, message in {
        "text.png": "not an image",
        "cut.png": "can't be decoded",
        "floats.tif": "float32|not an",
    }.items():
        with pytest.raises(UserError, match=message):
            read_picture(tmp_path / name)


def test_folders_are_searched_and_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("b.PNG", "deep/a.jpg", "notes.txt"):
        (tmp_path / "in" / name).touch()
    assert [below for _, below in find_pictures([tmp_path / "in"])] == [Path("b.PNG"), Path("deep/a.jpg")]
    for missing, message in {"nowhere": "no such file or folder", "empty": "no images in it"}.items():
        with pytest.raises(UserError, match=message):
            find_pictures([tmp_path / missing])


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "file")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "deep" / "file").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "file", "link"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_written_into_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"content")
    reader.join(timeout=10)
    assert received == [b"content"]
    assert pipe.is_fifo()


def test_a_cameras_rotation_is_applied_to_a_picture(tmp_path: Path) -> None:
    samples = samples_of(3, 8)
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown turned by 90° counter-clockwise
    Image.fromarray(np.rot90(samples, k=-1).copy()).save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    assert np.array_equal(np.rint(picture.pixels * 255), samples.transpose(2, 0, 1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bits_are_turned_upright_as_8_are(tmp_path: Path, orientation: int) -> None:
    samples = samples_of(3, 8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(samples).save(tmp_path / "8.tif", exif=exif)
    tag = (0x0112, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "16.tif", samples.astype(np.uint16) * 257, photometric="rgb", extratags=[tag])
    fine, coarse = (read_picture(tmp_path / name) for name in ("16.tif", "8.tif"))
    assert (fine.bits, coarse.bits) == (16, 8)
    np.testing.assert_allclose(fine.pixels, coarse.pixels, atol=1e-6)


def test_white_may_be_zero(tmp_path: Path) -> None:
    samples = samples_of(1, 16).squeeze()
    tifffile.imwrite(tmp_path / "a.tif", 65535 - samples, photometric="miniswhite")
    assert np.array_equal(np.rint(read_picture(tmp_path / "a.tif").pixels[0] * 65535), samples)


def test_a_profile_that_is_not_of_the_pixels_is_left_out(tmp_path: Path) -> None:
    for mode, space, kept in (("CMYK", b"CMYK", False), ("RGB", b"RGB ", True), ("L", b"GRAY", True)):
        profile = bytes(16) + space + bytes(108)
        Image.new(mode, (20, 20)).save(tmp_path / "a.jpg", icc_profile=profile)
        assert read_picture(tmp_path / "a.jpg").profile == (profile if kept else None)


def test_postscript_is_not_run_whatever_its_name(tmp_path: Path) -> None:
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "photo.png").write_text(text, encoding="ascii")
    with pytest.raises(UserError, match=r"photo\.png: not an image"):
        read_picture(tmp_path / "photo.png")


def test_pixels_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    picture = Picture(np.zeros((1, 1, 4), np.float32), None, 8, None)
    wished = np.array([[[0.6, 1.4, 254.7, 400]]], np.float32) / 255
    assert np.rint(picture.with_pixels(wished).pixels * 255).tolist() == [[[1, 1, 255, 255]]]
