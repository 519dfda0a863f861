"""Which data is used, and when it is prepared anew."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Csv, Data, Run
from pipeline.data import catalog, download
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from tests.data.digits import Writing, digit_like, written


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror answers: the addresses are those of a port where nobody listens."""
    nobody = (download.Remote("nothing", "0" * 64, ("http://127.0.0.1:9/nothing",)),)
    for key, dataset in list(catalog.CATALOG.items()):
        if dataset.remote:
            monkeypatch.setitem(catalog.CATALOG, key, catalog.Dataset(**{**vars(dataset), "remote": nobody}))


@pytest.fixture
def source(prepared_home: Path, tmp_path: Path) -> Path:
    """A folder with MNIST-like CSV files of the user's own."""
    folder = tmp_path / "source"
    folder.mkdir()
    for split in ("train", "test"):
        text = (prepared_home / ".cache" / "downloads" / "demo-digits" / f"mnist_{split}.csv").read_bytes()
        (folder / f"mnist_{split}.csv.gz").write_bytes(gzip.compress(text))
    return folder


def test_demo_is_demo_wherever(home: Path) -> None:
    assert catalog.choose(Data(choice="demo"), Run(home=home), catalog.ROLES) == "demo"


@pytest.mark.usefixtures("offline")
def test_nobody_chose_and_there_is_nothing_so_it_is_the_demo(tmp_path: Path) -> None:
    assert catalog.choose(Data(), Run(home=tmp_path), catalog.ROLES) == "demo"


@pytest.mark.usefixtures("offline")
def test_full_without_any_way_to_get_it_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MNIST and CIFAR-10: not prepared.*SOURCE=path.*make demo"):
        catalog.choose(Data(choice="full"), Run(home=tmp_path), catalog.ROLES)


@pytest.mark.usefixtures("offline")
def test_what_was_prepared_before_is_full(tmp_path: Path, source: Path) -> None:
    run = Run(home=tmp_path)
    catalog.prepare(Data(choice="full", source=source), run, "digits")
    assert catalog.choose(Data(), run, ["digits"]) == "full"
    assert catalog.choose(Data(), run, catalog.ROLES) == "demo", "CIFAR-10 is not there"
    assert catalog.choose(Data(), run, catalog.ROLES, every=False) == "full", "a report makes do with one"


def test_a_source_without_the_files_is_an_error_even_when_nobody_chose(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        catalog.choose(Data(source=tmp_path / "nowhere"), Run(home=tmp_path), ["digits"])
    with pytest.raises(UserError, match=r"CIFAR-10 is not there; expected cifar-10-batches-py"):
        catalog.choose(Data(source=source), Run(home=tmp_path), catalog.ROLES)
    assert catalog.choose(Data(source=source), Run(home=tmp_path), catalog.ROLES, every=False) == "full"
    with pytest.raises(UserError, match="MNIST is not there"):
        catalog.choose(Data(source=tmp_path), Run(home=tmp_path), catalog.ROLES, every=False)
    with pytest.raises(UserError, match="leave one of the two out"):
        catalog.choose(Data(choice="demo", source=source), Run(home=tmp_path), ["digits"])


def test_a_prepared_store_is_reused_until_its_source_changes(tmp_path: Path, source: Path, capsys) -> None:
    run, data = Run(home=tmp_path / "home"), Data(choice="full", source=source)
    first = catalog.prepare(data, run, "digits")
    catalog.prepare(data, run, "digits")
    assert "reuse" in capsys.readouterr().out.splitlines()[-1]

    lines = gzip.decompress((source / "mnist_test.csv.gz").read_bytes()).splitlines(keepends=True)
    (source / "mnist_test.csv.gz").write_bytes(gzip.compress(b"".join(lines[:-1])))
    second = catalog.prepare(Data(choice="full"), run, "digits")
    assert "has changed" in capsys.readouterr().out
    assert len(second.split("test")) == len(first.split("test")) - 1
    assert second.manifest.digest != first.manifest.digest


def test_a_store_outlives_its_source(tmp_path: Path, source: Path, capsys) -> None:
    run = Run(home=tmp_path / "home")
    catalog.prepare(Data(choice="full", source=source), run, "digits")
    shutil.rmtree(source)
    catalog.prepare(Data(choice="full"), run, "digits")
    assert "reuse" in capsys.readouterr().out.splitlines()[-1]


def test_a_source_with_a_mistake_leaves_the_prepared_store(tmp_path: Path, source: Path) -> None:
    run, data = Run(home=tmp_path / "home"), Data(choice="full", source=source)
    first = catalog.prepare(data, run, "digits")
    (source / "mnist_train.csv.gz").write_bytes(gzip.compress(b"5,300\n"))
    with pytest.raises(UserError, match="line 1: 2 columns"):
        catalog.prepare(data, run, "digits")
    assert ImageStore.open(first.folder).manifest == first.manifest


def test_a_file_without_labels_is_not_prepared(tmp_path: Path, source: Path) -> None:
    lines = gzip.decompress((source / "mnist_test.csv.gz").read_bytes()).splitlines()
    (source / "mnist_test.csv.gz").write_bytes(b"\n".join(line.partition(b",")[2] for line in lines))
    with pytest.raises(UserError, match=r"mnist_test\.csv\.gz: it has no labels"):
        catalog.prepare(Data(choice="full", source=source), Run(home=tmp_path / "home"), "digits")


def test_other_settings_of_the_csv_prepare_it_anew(tmp_path: Path, capsys) -> None:
    source, run = tmp_path / "source", Run(home=tmp_path / "home")
    source.mkdir()
    for split in ("train", "test"):
        labels, pixels = digit_like(30, side=8)
        (source / f"mnist_{split}.csv").write_bytes(written(labels, pixels, Writing(label="last")))
    with pytest.raises(UserError, match="say image_size=8"):
        catalog.prepare(Data(choice="full", source=source), run, "digits")
    data = Data(choice="full", source=source, csv=Csv(image_size=8))
    first = catalog.prepare(data, run, "digits")
    assert first.manifest.shape == [60, 1, 8, 8]
    assert first.manifest.notes == [
        "MNIST here has 30 train images, not the usual 60,000.",
        "MNIST here has 30 test images, not the usual 10,000.",
    ]
    said = Data(choice="full", source=source, csv=Csv(image_size=8, label_column="last"))
    assert catalog.prepare(said, run, "digits").manifest.digest == first.manifest.digest
    assert "run (prepared with other settings)" in capsys.readouterr().out


def test_the_demos_digits_are_scikit_learns(digits: ImageStore) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    assert np.array_equal(digits.labels, original.target)
    # Ink stays where it was: the mean brightness of a digit survives the enlargement.
    means = digits.images.mean(axis=(1, 2, 3)), original.images.mean(axis=(1, 2)) * 255 / 16
    assert np.corrcoef(*means)[0, 1] > 0.99


def test_the_demos_test_patches_come_from_other_photographs(patches: ImageStore) -> None:
    labels = {name: set(patches.labels[list(patches.split(name))]) for name in ("train", "test")}
    assert labels["train"] & labels["test"] == set()
    assert [patches.manifest.classes[label] for label in sorted(labels["test"])] == ["chelsea", "coffee"]
