"""The store: the same bytes back, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from unittest.mock import Mock

import numpy as np
import pytest

from pipeline.config import PROJECT_ROOT
from pipeline.data import store
from pipeline.data.files import SourceFile, clean_up, state_of
from pipeline.data.mnist_doubts import DOUBTED, doubted_in
from pipeline.data.store import Images, ImageStore, write_store
from pipeline.errors import UserError


def test_a_file_may_have_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    before = state_of(tmp_path)
    (tmp_path / os.fsdecode(b"\xe9t\xe9.png")).write_bytes(b"1")
    assert state_of(tmp_path) != before
    assert SourceFile.of(tmp_path, state_of(tmp_path)).sha256


def some_images(count: int, seed: int = 0, classes: int = 3) -> Images:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    return Images(images, random.integers(0, classes, count).astype(np.uint8))


def written(folder: Path, train: Images, test: Images) -> ImageStore:
    return write_store(
        folder,
        title="t",
        classes=["a", "b", "c"],
        splits={"train": [train], "test": [test]},
        sources={},
        notes=[],
        options={},
        code="c",
    )


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    train, test = some_images(20), some_images(5, seed=1)
    written(tmp_path / "images", train, test)
    opened = ImageStore.open(tmp_path / "images")
    assert opened.split("train") == range(20)
    assert opened.split("test") == range(20, 25)
    assert np.array_equal(opened.images, np.concatenate([train.images, test.images]))
    assert np.array_equal(opened.labels, np.concatenate([train.labels, test.labels]))


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    train, test = some_images(20), some_images(5, seed=1)
    digest = written(tmp_path / "one", train, test).manifest.digest
    assert written(tmp_path / "two", train, test).manifest.digest == digest
    train.images[0, 0, 0, 0] ^= 1
    assert written(tmp_path / "three", train, test).manifest.digest != digest


def test_the_digest_does_not_depend_on_the_blocks(tmp_path: Path) -> None:
    train, test = some_images(20), some_images(5, seed=1)
    blocks = [Images(train.images[k : k + 7], train.labels[k : k + 7]) for k in (0, 7, 14)]
    digests = {
        write_store(
            tmp_path / name,
            title="t",
            classes=["a", "b", "c"],
            splits={"train": parts, "test": [test]},
            sources={},
            notes=[],
            options={},
            code="c",
        ).manifest.digest
        for name, parts in {"whole": [train], "blocks": blocks}.items()
    }
    assert len(digests) == 1


def test_a_store_that_is_not_whole_is_as_good_as_none(tmp_path: Path) -> None:
    place = written(tmp_path / "images", some_images(20), some_images(5)).folder
    with (place / store.IMAGES).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(FileNotFoundError, match=r"images\.u8 has not the 4800 bytes it should have"):
        ImageStore.open(place)
    (place / store.IMAGES).unlink()
    with pytest.raises(FileNotFoundError):
        ImageStore.open(place)


def test_an_open_store_stays_what_it_was_when_another_takes_its_place(tmp_path: Path) -> None:
    first = some_images(20)
    opened = written(tmp_path / "images", first, some_images(5))
    written(tmp_path / "images", some_images(9, seed=2), some_images(5))
    assert np.array_equal(opened.images[:20], first.images)


def test_a_store_is_as_open_to_others_as_the_folder_it_is_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    written(tmp_path / "images", some_images(20), some_images(5))
    assert (tmp_path / "images").stat().st_mode & 0o777 == 0o755


def test_a_folder_has_changed_when_anything_in_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "1.png").write_bytes(b"1")
    (folder / "2.png").write_bytes(b"2")
    first = SourceFile.of(folder, state_of(folder))
    assert not first.changed
    time.sleep(0.01)
    (folder / "cats" / "3.png").write_bytes(b"3")
    assert first.changed
    second = SourceFile.of(folder, state_of(folder))
    assert second.sha256 != first.sha256
    (folder / "cats" / "3.png").unlink()
    assert second.changed
    third = SourceFile.of(folder, state_of(folder))
    assert third.sha256 == first.sha256
    (folder / "2.png").rename(folder / "cats" / "2.png")
    assert third.changed, "of another class, though no file has changed"


def test_writing_to_an_open_store_leaves_the_file_alone(tmp_path: Path) -> None:
    opened = written(tmp_path / "images", some_images(20), some_images(5))
    before = (tmp_path / "images" / "images.u8").read_bytes()
    opened.images[:] = 0
    del opened
    assert (tmp_path / "images" / "images.u8").read_bytes() == before


def test_a_failed_write_leaves_the_old_store_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "images", some_images(20), some_images(5))

    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "replace_folder", fails)
        with pytest.raises(OSError, match="no space"):
            written(tmp_path / "images", some_images(9, seed=2), some_images(5))
    assert len(ImageStore.open(tmp_path / "images").split("train")) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_a_failed_swap_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path / "images", some_images(20), some_images(5))
    rename = Path.rename

    def fails(path: Path, target: Path) -> Path:
        if path.name.startswith("images.") and target == tmp_path / "images":
            raise PermissionError("in use")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        with pytest.raises(PermissionError):
            written(tmp_path / "images", some_images(9, seed=2), some_images(5))
    assert len(ImageStore.open(tmp_path / "images").split("train")) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_what_a_killed_process_left_is_put_back_and_removed(tmp_path: Path) -> None:
    place = written(tmp_path / "images", some_images(20), some_images(5)).folder
    # Killed between the two renames: the old store is aside, the new one is not there yet.
    (tmp_path / "images.old.abc").mkdir()
    place.rename(tmp_path / "images.old.abc" / "images")
    (tmp_path / "images.xyz").mkdir()
    (tmp_path / "images.lock").touch()
    clean_up(place)
    assert len(ImageStore.open(place).split("train")) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "images.lock"]


def test_an_open_store_is_of_one_piece_while_others_replace_it(tmp_path: Path) -> None:
    """A reader never gets one store's manifest with another's images."""
    place = tmp_path / "images"
    code = """
        import sys
        from pathlib import Path
        from tests.data.test_store import some_images, written
        for seed in range(200):
            written(Path(sys.argv[1]), some_images(20, seed), some_images(5, seed))
    """
    written(place, some_images(20), some_images(5))
    writer = subprocess.Popen([sys.executable, "-c", dedent(code), place], cwd=PROJECT_ROOT)
    opened = 0
    while writer.poll() is None:
        with suppress(FileNotFoundError):  # between the two renames
            found = ImageStore.open(place)
            digests = [hashlib.sha256(array.tobytes()).hexdigest() for array in (found.images, found.labels)]
            manifest = found.manifest
            parts = json.dumps([manifest.classes, manifest.shape, manifest.splits, digests])
            assert hashlib.sha256(parts.encode()).hexdigest() == manifest.digest
            opened += 1
    assert writer.returncode == 0
    assert opened > 20


def test_a_store_of_another_version_is_as_good_as_none(tmp_path: Path) -> None:
    written(tmp_path / "images", some_images(20), some_images(5))
    manifest = tmp_path / "images" / store.MANIFEST
    manifest.write_text(manifest.read_text().replace('"notes"', '"remarks"'))
    with pytest.raises(FileNotFoundError, match="another version"):
        ImageStore.open(tmp_path / "images")
    manifest.write_text(manifest.read_text()[:100])
    with pytest.raises(FileNotFoundError, match="damaged"):
        ImageStore.open(tmp_path / "images")


def test_a_split_without_images_and_images_of_two_shapes_are_refused(tmp_path: Path) -> None:
    nothing = Images(np.zeros((0, 3, 8, 8), np.uint8), np.zeros(0, np.uint8))
    with pytest.raises(UserError, match="the test part has no images"):
        written(tmp_path / "images", some_images(5), nothing)
    with pytest.raises(UserError, match="images of different shapes"):
        written(tmp_path / "images", some_images(5), Images(np.zeros((2, 1, 8, 8), np.uint8), np.zeros(2, np.uint8)))
    assert list(tmp_path.iterdir()) == []


def test_labels_without_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label 7; there are 3 classes"):
        written(tmp_path / "images", Images(some_images(1).images, np.array([7], np.uint8)), some_images(5))


def test_a_source_has_changed_when_its_bytes_may_have(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("1")
    source = SourceFile.of(file, state_of(file))
    assert not source.changed
    time.sleep(0.01)
    file.write_text("2")
    assert source.changed
    file.unlink()
    assert not source.changed, "a file that is gone says nothing against the store made from it"


def test_the_first_label_without_a_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="label 3; there are 3 classes"):
        written(tmp_path / "images", Images(some_images(1).images, np.array([3], np.uint8)), some_images(5))


def test_doubts_are_about_mnists_test_images_alone() -> None:
    labels = np.full(70_000, 9, np.uint8)
    for index, label in DOUBTED.items():
        labels[60_000 + index] = label
    store = Mock(manifest=Mock(splits={"test": [60_000, 70_000]}), labels=labels)
    assert doubted_in(store) == set(DOUBTED)
    labels[60_947] += 1
    assert doubted_in(store) == set()
