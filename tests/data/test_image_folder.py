"""A folder of one's own images: flat or by class, with or without splits, brought to one size only when told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Data, ImageFolder, Run
from pipeline.data import catalog
from pipeline.data.image_folder import read_image_folder
from pipeline.data.store import Images
from pipeline.errors import UserError


def save(path: Path, seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> np.ndarray:
    """Write a random image; returns its pixels as (c, h, w)."""
    channels = len(Image.new(mode, (1, 1)).getbands())
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    return pixels.transpose(2, 0, 1)


def read(folder: Path, **options: object) -> tuple[dict[str, Images], list[str], list[str]]:
    splits, classes, notes = read_image_folder(ImageFolder(folder=folder, **options))  # type: ignore[arg-type]
    joined = {}
    for name, blocks in splits.items():
        parts = list(blocks)
        joined[name] = Images(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    return joined, classes, notes


def test_a_flat_folder_gives_every_tenth_image_to_the_test(tmp_path: Path) -> None:
    pixels = [save(tmp_path / "photos" / f"{k:02}.png", k) for k in range(25)]
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    splits, classes, notes = read(tmp_path / "photos")
    assert np.array_equal(splits["test"].images, [pixels[9], pixels[19]])
    assert np.array_equal(splits["train"].images, [p for k, p in enumerate(pixels) if k not in (9, 19)])
    assert classes == ["photos"]
    assert notes == ["Every 10th image of a folder is a test image; the folder has no train/ and test/."]


def test_folders_are_classes_as_in_torchvisions_image_folder(tmp_path: Path) -> None:

    from pipeline.data import torchvision_shim  # noqa: F401

    from torchvision.datasets import ImageFolder as Reference  # isort: skip

    for split in ("train", "test"):
        for name in ("cats", "ants", "bees"):
            for k in range(3):
                save(tmp_path / split / name / f"{k}.png", hash((split, name, k)) % 1000)
    splits, classes, notes = read(tmp_path)
    assert notes == []
    for split in ("train", "test"):
        reference = Reference(tmp_path / split)
        assert classes == reference.classes
        assert splits[split].labels.tolist() == reference.targets
        expected = [np.asarray(image).transpose(2, 0, 1) for image, _ in reference]
        assert np.array_equal(splits[split].images, expected)


@pytest.mark.parametrize(
    ("folders", "train", "test", "note"),
    [
        (("Train", "Test"), "Train", "Test", None),
        (("training", "val"), "training", "val", "val/ is the test part."),
        (("train", "test", "val"), "train", "test", "val/ is left out: validation images are split from train/."),
    ],
)
def test_splits_are_known_by_their_usual_names(
    tmp_path: Path, folders: tuple[str, ...], train: str, test: str, note: str | None
) -> None:
    saved = {name: save(tmp_path / name / "cats" / "1.png", k) for k, name in enumerate(folders)}
    splits, classes, notes = read(tmp_path)
    assert np.array_equal(splits["train"].images, [saved[train]])
    assert np.array_equal(splits["test"].images, [saved[test]])
    assert classes == ["cats"]
    assert notes == ([note] if note else [])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("car", "train"):
        for k in range(10):
            save(tmp_path / name / f"{k}.png", k)
    assert read(tmp_path)[1] == ["car", "train"]


def test_grey_images_have_one_channel_and_mixed_ones_three(tmp_path: Path) -> None:
    grey = [save(tmp_path / f"{k:02}.png", k, mode="L") for k in range(10)]
    assert np.array_equal(read(tmp_path)[0]["test"].images, [grey[9]])
    save(tmp_path / "10.png", 10)
    splits = read(tmp_path)[0]
    assert np.array_equal(splits["test"].images[0], np.repeat(grey[9], 3, axis=0))


def test_16_bits_are_scaled_not_cut(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 120).astype(np.uint16).reshape(10, 12)
    for k in range(10):
        Image.fromarray(values).save(tmp_path / f"{k}.png")
    image = read(tmp_path)[0]["train"].images[0, 0]
    assert image.shape == (10, 12)
    assert np.array_equal(image, (values / 257).round())
    assert image.max() == 255


def test_transparency_is_left_out_and_a_cameras_rotation_applied(tmp_path: Path) -> None:
    pixels = save(tmp_path / "0.png", 0, mode="RGBA")
    upright = save(tmp_path / "turned" / "1.png", 1)
    exif = Image.Exif()
    exif[0x0112] = 8  # to be shown turned by 90° counter-clockwise
    turned = Image.fromarray(np.rot90(upright.transpose(1, 2, 0), k=-1).copy())
    (tmp_path / "turned" / "1.png").unlink()
    for k in range(1, 11):
        turned.save(tmp_path / f"{k:02}.png", exif=exif)
    splits = read(tmp_path)[0]
    assert np.array_equal(splits["train"].images[0], pixels[:3])
    assert np.array_equal(splits["train"].images[1], upright)


def test_other_sizes_are_refused_or_brought_to_one(tmp_path: Path) -> None:
    pixels = [save(tmp_path / f"{k:02}.png", k, size=(12, 10)) for k in range(10)]
    large = save(tmp_path / "10.png", 10, size=(20, 14))
    with pytest.raises(UserError, match=r"10\.png: 20×14 pixels, where 00\.png has 12×10; bring all to one size"):
        read(tmp_path)
    splits, _, notes = read(tmp_path, size=8)
    assert np.array_equal(splits["train"].images[0], pixels[0][:, 1:9, 2:10])
    assert np.array_equal(splits["train"].images[-1], large[:, 3:11, 6:14])
    assert notes[-1] == "Images were brought to 8×8 pixels (crop)."
    with pytest.raises(UserError, match=r"12×10 pixels, too small to crop 11×11 from; use --data\.images\.fit resize"):
        read(tmp_path, size=11)
    assert read(tmp_path, size=16, fit="resize")[0]["train"].images.shape[1:] == (3, 16, 16)


def test_another_size_in_the_test_folder_is_refused_as_well(tmp_path: Path) -> None:
    save(tmp_path / "train" / "a.png", 0, size=(12, 10))
    save(tmp_path / "test" / "b.png", 1, size=(20, 14))
    with pytest.raises(UserError, match=r"b\.png: 20×14 pixels, where a\.png has 12×10; bring all to one size"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "no images in it; expected files that end in .png"),
        (lambda folder: folder.rmdir(), "no such folder"),
        (lambda folder: save(folder / "1.png", 1), "1 images; at least 10 in one folder are needed"),
        (lambda folder: [(folder / f"{k}.png").write_text("x") for k in range(10)], "0.png: not an image"),
        (
            lambda folder: [Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / f"{k}.tif") for k in range(10)],
            "0.tif: pixels of 32 bits; expected 8 or 16",
        ),
        (lambda folder: save(folder / "train" / "1.png", 1), "it has train; expected a train/ and a test/ beside it"),
        (
            lambda folder: [save(folder / part / "1.png", 1) for part in ("train", "test", "other")],
            "it has train and test, and",
        ),
    ],
)
def test_what_is_no_folder_of_images_is_refused(tmp_path: Path, prepare, message: str) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(UserError) as refused:
        read(folder)
    assert message in str(refused.value)


def test_a_cut_off_image_is_named(tmp_path: Path) -> None:
    for k in range(10):
        save(tmp_path / f"{k}.png", k)
    content = (tmp_path / "4.png").read_bytes()
    (tmp_path / "4.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"4\.png: can't be decoded"):
        read(tmp_path)


def test_what_is_lost_or_mixed_is_noted(tmp_path: Path) -> None:
    for k in range(20):
        save(tmp_path / f"colour-{k:02}.png", k)
    for k in range(2):
        Image.fromarray(np.full((10, 12), 257 * k, np.uint16)).save(tmp_path / f"deep-{k}.png")
    _, _, notes = read(tmp_path)
    assert "2 of 22 images have 16 bits, of which 8 are kept." in notes
    assert "2 of 22 images are grey: in three equal channels, each with noise of its own." in notes


def test_lossy_files_are_noted(tmp_path: Path) -> None:
    for k in range(10):
        save(tmp_path / f"{k}.jpg", k)
    assert read(tmp_path)[2][-1] == "10 of 10 images are JPEG or WebP: their artefacts count as part of the image."


def test_they_become_a_store_that_is_reused_until_they_change(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "My Photos"
    for k in range(20):
        save(folder / f"{k:02}.png", k)
    run = Run(home=tmp_path / "home")
    data = Data(choice="full", images=ImageFolder(folder=folder))
    assert catalog.choose(Data(images=data.images), run, ["colour"]) == "full"
    store = catalog.prepare(data, run, "colour")
    assert re.fullmatch(r"images-my-photos-[0-9a-f]{6}", store.manifest.name)
    assert store.manifest.title == "My Photos"
    assert store.manifest.shape == [20, 3, 10, 12]
    catalog.prepare(data, run, "colour")
    assert "reuse" in capsys.readouterr().out.splitlines()[-1]

    smaller = Data(choice="full", images=ImageFolder(folder=folder, size=8))
    assert catalog.prepare(smaller, run, "colour").manifest.shape == [20, 3, 8, 8]
    assert "prepared with other settings" in capsys.readouterr().out
    save(folder / "20.png", 20)
    assert catalog.prepare(smaller, run, "colour").manifest.shape == [21, 3, 8, 8]
    assert "has changed" in capsys.readouterr().out
    with pytest.raises(UserError, match="DATA=demo uses the bundled images and takes no IMAGES"):
        catalog.choose(Data(choice="demo", images=data.images), run, ["colour"])


def test_every_tenth_image_of_each_class_is_a_test_image(tmp_path: Path) -> None:
    for name, count in (("ants", 15), ("bees", 15), ("cats", 25)):
        for k in range(count):
            save(tmp_path / name / f"{k:02}.png", k)
    splits, _, _ = read(tmp_path)
    assert np.bincount(splits["test"].labels).tolist() == [1, 1, 2]


def test_resizing_keeps_the_proportions(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :20], wide[:, 40:] = 255, 255  # what is left and right of the middle is cut off
    for k in range(10):
        Image.fromarray(wide).save(tmp_path / f"{k}.png")
    assert read(tmp_path, size=10, fit="resize")[0]["train"].images[0].mean() < 20
