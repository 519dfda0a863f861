"""Digits of CSV files and pictures are named, printed, written, and counted where labels are there."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.__main__ import main
from pipeline.config import Run
from pipeline.data.digit_form import as_digit
from pipeline.data.picture import Picture
from pipeline.data.store import ImageStore
from pipeline.tracking import keys
from pipeline.tracking.store import open_store
from tests.data.digits import Writing, written


@pytest.fixture
def measured_digits(digits: ImageStore) -> tuple[np.ndarray, np.ndarray]:
    """Images (360, 28, 28) and labels (360,) that the demo's classifiers are measured on."""
    part = digits.split("test")
    return np.array(digits.images[part.start : part.stop, 0]), np.array(digits.labels[part.start : part.stop])


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as text:
        return list(csv.DictReader(text))


def recorded_accuracy(home: Path) -> float:
    store = open_store(Run(home=home))
    (experiment,) = [key for key, name in store.experiments() if name == "demo-digits-classifier"]
    (run,) = store.finished(experiment, keys.KIND_TRIAL)
    return run.metrics[keys.TEST_ACCURACY]


def test_a_labelled_csv_gives_the_accuracy_that_was_recorded(
    trained_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = trained_home / ".cache" / "downloads" / "demo-digits" / "mnist_test.csv"
    out = tmp_path / "new" / "predictions.csv"
    assert main(["digits", str(source), "--out", str(out), f"--run.home={trained_home}"]) == 0
    accuracy = recorded_accuracy(trained_home)
    assert f"accuracy {accuracy:.2%}: {round(360 * accuracy)} of 360" in capsys.readouterr().out
    table = rows(out)
    assert list(table[0]) == ["file", "image", "digit", "confidence", "label"]
    assert np.mean([row["digit"] == row["label"] for row in table]) == pytest.approx(accuracy)
    assert all(0.1 <= float(row["confidence"]) <= 1 for row in table)


def test_an_unlabelled_csv_becomes_a_submission(
    trained_home: Path, tmp_path: Path, measured_digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = measured_digits
    for name, shown in {"test.csv": images, "inverted.csv": 255 - images}.items():
        content = written(labels, shown.reshape(len(shown), -1), Writing(names="pixel0", label="none"))
        (tmp_path / name).write_bytes(content)
    submissions = []
    for name in ("test.csv", "inverted.csv"):
        out = tmp_path / f"submission-{name}"
        arguments = [str(tmp_path / name), f"--out={out}", "--digits.form", "kaggle", f"--run.home={trained_home}"]
        assert main(["digits", *arguments]) == 0
        submissions.append(out.read_text())
    lines = submissions[0].splitlines()
    assert lines[0] == "ImageId,Label"
    assert [line.split(",")[0] for line in lines[1:]] == [str(k) for k in range(1, 361)]
    assert submissions[0] == submissions[1], "dark on light makes no difference"
    right = np.mean([int(line.split(",")[1]) for line in lines[1:]] == labels)
    assert right == pytest.approx(recorded_accuracy(trained_home))


def test_pictures_are_brought_to_the_classifiers_form(
    trained_home: Path,
    tmp_path: Path,
    measured_digits: tuple[np.ndarray, np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    images, _ = measured_digits
    (tmp_path / "in").mkdir()
    for k in range(10):
        image = Image.fromarray(images[k])
        image.save(tmp_path / "in" / f"{k}a.png")
        large = 255 - np.asarray(image.resize((140, 140), Image.Resampling.BICUBIC))
        Image.fromarray(large).convert("RGB").save(tmp_path / "in" / f"{k}b.jpg")
    out = tmp_path / "predictions.csv"
    assert main(["digits", str(tmp_path / "in"), f"--out={out}", f"--run.home={trained_home}"]) == 0
    digits = [row["digit"] for row in rows(out)]
    same = np.mean([a == b for a, b in zip(digits[::2], digits[1::2], strict=True)])
    assert same >= 0.9
    printed = capsys.readouterr().out
    assert printed.count("inverted, as it is dark on light; 140×140 brought to 28×28") == 10
    assert "cropped" not in printed


def test_a_small_digit_on_a_large_sheet_is_framed_as_mnist_frames_it() -> None:
    sheet = Image.new("L", (300, 200), 230)
    ImageDraw.Draw(sheet).line((40, 30, 40, 90), fill=20, width=6)  # a one, far from the middle
    pixels = np.asarray(sheet, np.float32)[None] / 255
    image, done = as_digit(Picture(pixels, None, 8, None), (28, 28))
    assert "cropped to the digit" in done
    assert image.shape == (28, 28)
    inked = np.flatnonzero((image > 0.3).any(axis=1))
    assert inked[-1] - inked[0] + 1 == pytest.approx(20, abs=1)
    ys, xs = np.indices(image.shape)
    assert (ys * image).sum() / image.sum() == pytest.approx(13.5, abs=0.6)
    assert (xs * image).sum() / image.sum() == pytest.approx(13.5, abs=0.6)
    assert image[[0, -1]].max() < 0.05, "the paper's grey is gone"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no digits; name CSV files or images"),
        (["nowhere.csv"], "nowhere.csv: no such file or folder"),
        (["typo.png", *(f"picture{k}.png" for k in range(60))], "typo.png: no such file or folder"),
        (["a.csv", "--digits.form=kaggle"], "say where the submission goes"),
        (["a.csv", "--out=a.csv"], "is one of the inputs, which would be written over"),
        (["a.csv", "--out=."], "this is a folder; give a file"),
        (["a.csv", "--model=cnm"], "no trained model called 'cnm'; did you mean cnn?"),
        (["a.csv"], "a.csv, line 1"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    message: str,
    trained_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("1,2,3\n")
    assert main(["digits", *arguments, f"--run.home={trained_home}"]) == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert len(complaint.splitlines()) == 1
    assert Path("a.csv").read_text() == "1,2,3\n"


def test_without_a_trained_model_the_command_that_trains_one_is_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("1,2,3\n")
    assert main(["digits", str(tmp_path / "a.csv"), f"--run.home={home}"]) == 2
    assert (
        "error: no classifier has been trained on mnist or demo-digits yet; make classify trains one"
        in capsys.readouterr().err
    )
