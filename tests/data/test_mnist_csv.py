"""The CSV reader: every form that goes round is read exactly, what is wrong is refused with its place."""

from __future__ import annotations

import gzip
import logging
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.config import Csv
from pipeline.data import mnist_csv
from pipeline.data.mnist_csv import DigitsCsv, read_digits
from pipeline.data.store import UNLABELLED
from pipeline.errors import UserError
from tests.data.digits import Writing, compressed, digit_like, written

HEADER = "label," + ",".join(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))

WRITINGS = st.builds(
    Writing,
    names=st.sampled_from(["", "1x1", "pixel0", "pixel1", "numbers"]),
    label=st.sampled_from(["first", "last", "none"]),
    label_name=st.sampled_from(["label", "class", "Label", "y"]),
    index=st.booleans(),
    separator=st.sampled_from([",", ",", ";", "\t"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    final_newline=st.booleans(),
    byte_order_mark=st.booleans(),
    quoted=st.booleans(),
    decimal=st.booleans(),
    compression=st.sampled_from(["", "", "gz", "zip", "xz", "bz2"]),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(how=WRITINGS, count=st.integers(11, 60), seed=st.integers(0, 2**31), side=st.sampled_from([28, 28, 8, 5]))
def test_what_is_written_in_any_form_is_read_back(
    tmp_path: Path, how: Writing, count: int, seed: int, side: int
) -> None:
    labels, pixels = digit_like(count, seed, side)
    file = tmp_path / "digits.csv"  # whatever its compression: what it is is told by its content
    file.write_bytes(written(labels, pixels, how))

    digits = read_digits(file, Csv(image_size=side))

    assert digits.images.dtype == digits.labels.dtype == np.uint8
    assert digits.images.shape == (count, 1, side, side)
    assert np.array_equal(digits.images.reshape(count, -1), pixels)
    assert np.array_equal(digits.labels, np.full(count, UNLABELLED) if how.label == "none" else labels)


@pytest.mark.parametrize("label", ["first", "last"])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_a_file_of_few_rows_is_read(tmp_path: Path, label: str, count: int) -> None:
    labels, pixels = digit_like(count)
    (tmp_path / "digits.csv").write_bytes(written(labels, pixels, Writing(label=label)))
    assert np.array_equal(read_digits(tmp_path / "digits.csv").labels, labels)


def test_blocks_are_put_together_in_order_with_the_right_line_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mnist_csv, "BLOCK", 10_000)  # some rows each
    labels, pixels = digit_like(200)
    data = written(labels, pixels, Writing(names="pixel0", newline="\r\n", final_newline=False))
    (tmp_path / "digits.csv").write_bytes(data)
    digits = read_digits(tmp_path / "digits.csv")
    assert np.array_equal(digits.images.reshape(200, -1), pixels)
    assert np.array_equal(digits.labels, labels)

    lines = data.split(b"\r\n")
    lines[150] = lines[150].rpartition(b",")[0] + b",256"
    (tmp_path / "digits.csv").write_bytes(b"\r\n".join(lines))
    with pytest.raises(UserError, match=r"line 151, column 785 \('pixel783'\): found '256'"):
        read_digits(tmp_path / "digits.csv")


def test_columns_are_ordered_by_their_names(tmp_path: Path) -> None:
    labels, pixels = digit_like(20)
    order = np.random.default_rng(1).permutation(784)
    header = ",".join([*(f"pixel{k}" for k in order), "class"])
    rows = [",".join(map(str, [*image[order], label])) for label, image in zip(labels, pixels, strict=True)]
    (tmp_path / "digits.csv").write_text("\n".join([header, *rows]))
    digits = read_digits(tmp_path / "digits.csv")
    assert np.array_equal(digits.images.reshape(20, -1), pixels)
    assert np.array_equal(digits.labels, labels)


@pytest.mark.parametrize(
    ("how", "detected"),
    [
        (Writing(), "no header, label in column 1 of 785, 28×28 pixels"),
        (Writing(compression="gz"), "gzip, no header, label in column 1 of 785, 28×28 pixels"),
        (Writing(names="1x1"), "header label,1x1,…,28x28, label in column 1 of 785, 28×28 pixels"),
        (
            Writing(names="pixel1", label="last", label_name="class", compression="zip"),
            "zip, header pixel1,pixel2,…,class, label in column 785 of 785, 28×28 pixels",
        ),
        (
            Writing(names="numbers", index=True, separator=";"),
            "header ,0,…,784, separated by ';', row numbers in the first column, "
            "label in column 2 of 786, 28×28 pixels",
        ),
        (Writing(names="pixel0", label="none"), "header pixel0,pixel1,…,pixel783, no labels, 28×28 pixels"),
    ],
)
def test_what_was_detected_is_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, how: Writing, detected: str
) -> None:
    (tmp_path / "digits.csv").write_bytes(written(*digit_like(30), how))
    with caplog.at_level(logging.INFO, logger="pipeline"):
        DigitsCsv(tmp_path / "digits.csv")
    assert caplog.messages == [f"digits.csv: {detected}"]


def rows_of(count: int) -> str:
    return written(*digit_like(count), Writing()).decode()


def replaced(row: int, column: int, text: str) -> str:
    """Three good rows with one field (counted from 1) replaced."""
    lines = [line.split(",") for line in rows_of(3).splitlines()]
    lines[row - 1][column - 1] = text
    return "\n".join(map(",".join, lines)) + "\n"


def indexed(index: list[object], names: str = "", label: str = "none") -> str:
    """Rows with a first column of the test's own."""
    labels, pixels = digit_like(len(index))
    lines = written(labels, pixels, Writing(names=names, label=label)).decode().splitlines()
    first = [""] * (len(lines) - len(index)) + index
    return "".join(f"{key},{line}\n" for key, line in zip(first, lines, strict=True))


def one_hot(count: int) -> str:
    labels, pixels = digit_like(count)
    return "\n".join(",".join(map(str, [*p, *np.eye(10, dtype=int)[d]])) for d, p in zip(labels, pixels, strict=True))


LABELS: list[object] = digit_like(20)[0].tolist()
# Longer than the sample that the form is found by, so that only reading every row finds it.
LONG = indexed(index=list(range(3500)), label="first").splitlines()
QUOTED = "\n".join([*LONG[:3000], '"' + LONG[3000], LONG[3001].replace(",", '",', 1), *LONG[3002:]])
LATE = "\n".join([*LONG[:3000], "x" + LONG[3000], *LONG[3001:]])
ALL_ZERO = written(np.zeros(20, int), digit_like(20)[1], Writing()).decode()
UNCLEAR = "the labels may be in the first column or in the last column; say which with label_column=first, last or none"
OPTION = ' (with make: ARGS="--data.csv.label_column '
"""How that is said on the command line, up to the value."""

MALFORMED: list[tuple[str, str | bytes, str]] = [
    ("pixel over 255", replaced(2, 5, "300"), "line 2, column 5: found '300'; expected a pixel, a whole number from 0"),
    ("pixel 256", replaced(2, 5, "256"), "line 2, column 5: found '256'"),
    ("wraps in 16 bits", replaced(2, 5, "65541"), "line 2, column 5: found '65541'"),
    ("wraps in 32 bits", replaced(2, 5, "4294967301"), "line 2, column 5: found '4294967301'"),
    ("negative pixel", replaced(3, 785, "-1"), "line 3, column 785: found '-1'"),
    ("fraction", replaced(1, 9, "1.5"), "line 1, column 9: found '1.5'"),
    (
        "scaled pixel",
        replaced(2, 9, "0.5019"),
        "found '0.5019'; expected a pixel, a whole number from 0 to 255 (pixels",
    ),
    ("exponent", replaced(2, 9, "1e1"), "line 2, column 9: found '1e1'"),
    ("rounds to 255", replaced(2, 9, "254.99999999999999999"), "line 2, column 9: found '254.99999999999999999'"),
    ("minus 0", replaced(2, 9, "-0"), "line 2, column 9: found '-0'"),
    ("space inside", replaced(2, 9, "1 2"), "line 2, column 9: found '1 2'"),
    ("exponent before a mistake", replaced(1, 9, "1e1") + replaced(2, 5, "300"), "line 1, column 9: found '1e1'"),
    ("missing values first", "NA," * 784 + "NA\n" + rows_of(20), "line 1, column 1: found 'NA'; expected a label"),
    ("blank values first", "," * 784 + "\n" + rows_of(20), "line 1, column 1: found ''; expected a label"),
    ("label and blanks first", "5" + "," * 784 + "\n" + rows_of(20), "line 1, column 2: found ''; expected a pixel"),
    ("commas at line ends", rows_of(20).replace("\n", ",\n"), "expected 785 columns; every line ends in ','"),
    ("index that is none", indexed(names="pixel0", index=["banana"] * 20), "line 2: found 'banana'; expected a row n"),
    ("labels called index", indexed(names="pixel0", index=LABELS), "it may hold row numbers or the labels; say which"),
    ("index that repeats", indexed(names="pixel0", index=[12] * 20), "expected row numbers, but they repeat"),
    (
        "index with a gap",
        indexed(index=[*range(19), 20], label="first"),
        "the first doesn't count the rows from 0 or 1",
    ),
    ("index or labels", indexed(index=list(range(10))), "in the first column or missing, with row numbers first; say"),
    ("quote over two lines", QUOTED, "line 3001, column 1: found '3000,"),
    ("late bad index", LATE, "line 3001, column 1: found 'x3000'; expected a row number"),
    ("not a number", replaced(2, 7, "nan"), "line 2, column 7: found 'nan'"),
    ("infinity", replaced(2, 7, "inf"), "line 2, column 7: found 'inf'"),
    ("blank field", replaced(2, 7, ""), "line 2, column 7: found ''"),
    ("quoted blank", replaced(2, 7, '""'), "line 2, column 7: found ''"),
    ("word", replaced(2, 7, "abc"), "line 2, column 7: found 'abc'"),
    ("word in the first row", replaced(1, 7, "abc"), "line 1, column 7: found 'abc'"),
    ("hexadecimal", replaced(2, 7, "0x1f"), "line 2, column 7: found '0x1f'"),
    ("other digits", replaced(2, 7, "٥"), "line 2, column 7: found '٥'"),
    ("underscore", replaced(2, 7, "1_0"), "line 2, column 7: found '1_0'"),
    ("label 10", replaced(2, 1, "10"), "line 2, column 1: found '10'; expected a label, a whole number from 0 to 9"),
    ("label −1", replaced(2, 1, "-1"), "line 2, column 1: found '-1'; expected a label"),
    ("label 3.5", replaced(2, 1, "3.5"), "line 2, column 1: found '3.5'; expected a label"),
    ("blank label", replaced(2, 1, ""), "line 2, column 1: found ''; expected a label"),
    ("letters", HEADER + "\n" + replaced(2, 1, "25"), "line 3, column 1 ('label'): found '25'; expected a label"),
    ("named column", HEADER + "\n" + replaced(2, 5, "256"), "line 3, column 5 ('1x4'): found '256'"),
    ("short row", rows_of(2) + "1,2,3\n", "line 3: 3 columns; expected 785"),
    ("long row", rows_of(2) + rows_of(1).replace("\n", ",7\n"), "line 3: 786 columns; expected 785"),
    ("blank line", rows_of(2) + "\n" + rows_of(2), "line 3: the line is blank; expected 785 values"),
    ("open quote", replaced(2, 5, '"3'), "line 2: 5 columns; expected 785"),
    ("786 columns", rows_of(20).replace("\n", ",7\n"), "786 columns, and the first doesn't count the rows from 0 or 1"),
    ("one-hot labels", one_hot(5), "794 columns; expected 785: the label and 28×28 pixels; one-hot labels, in 10 colu"),
    ("other size", "5," + ",".join(["0"] * 64) + "\n", "65 columns; expected 785: the label and 28×28 pixels; for im"),
    ("list of files", "filepath,label\n1.png,5\n", "line 1: 2 columns; expected 785"),
    ("empty", "", "the file is empty; expected rows of a label and pixels"),
    ("blank", "\n\n \n", "the file is empty"),
    ("header only", HEADER + "\n", "a header and no rows"),
    (
        "two labels",
        HEADER.replace("1x1", "class") + "\n" + rows_of(2),
        "'label' and 'class' may both be the label; say",
    ),
    (
        "pixel missing",
        HEADER.replace(",5x5,", ",5x4,") + "\n" + rows_of(2),
        "the pixel after '5x4' is missing in the header",
    ),
    (
        "unknown name",
        HEADER.replace("label", "what") + "\n" + rows_of(2),
        "neither a label nor pixels: 'what'; if it holds the label, say label_column=what" + OPTION + "what",
    ),
    ("unclear: all 0", ALL_ZERO, UNCLEAR + OPTION + "first"),
    ("Git-LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "this is a Git-LFS pointer, not"),
    ("web page", "<!DOCTYPE html><html></html>\n", "this is a web page, not the data"),
    ("binary", bytes(range(256)) * 100, "a binary file, or text in UTF-16"),
    ("UTF-16", rows_of(2).encode("utf-16"), "a binary file, or text in UTF-16"),
    ("image", b"\x89PNG\r\n\x1a\n" + bytes(500), "a binary file"),
    ("old Mac", rows_of(3).replace("\n", "\r"), "its lines end in carriage returns alone"),
    ("cut-off gzip", gzip.compress(rows_of(50).encode())[:2000], "cut off or damaged"),
    ("damaged gzip", gzip.compress(rows_of(50).encode())[:1000] + bytes(3000), "cut off or damaged"),
    ("cut-off xz", compressed(rows_of(50).encode(), "xz")[:2000], "cut off or damaged"),
    ("cut-off zip", compressed(rows_of(50).encode(), "zip")[:2000], "cut off or damaged"),
    ("two lines in one", rows_of(2).replace("\n", ",", 1), "1570 columns; expected 785"),
]


@pytest.mark.parametrize(("content", "message"), [case[1:] for case in MALFORMED], ids=[case[0] for case in MALFORMED])
def test_a_bad_file_is_refused_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = tmp_path / "digits.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError) as refused:
        read_digits(file)
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(file))
    assert "\n" not in str(refused.value)


def test_what_is_no_readable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder, not a file"):
        read_digits(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        read_digits(tmp_path / "nothing.csv")


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_file_without_permission_is_refused() -> None:
    code = """
        import os, pathlib, sys
        from pipeline.data.mnist_csv import read_digits
        if os.getuid() == 0:
            os.setuid(65534)  # root may read anything
        read_digits(pathlib.Path(sys.argv[1]))
    """
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder) / "digits.csv"
        file.write_text(rows_of(2))
        file.chmod(0)
        done = subprocess.run([sys.executable, "-c", dedent(code), file], capture_output=True, text=True)
    assert "no permission to read it" in done.stderr


@pytest.mark.parametrize("label_column", ["first", "last", "none"])
def test_where_it_is_unclear_the_user_says_which(tmp_path: Path, label_column: str) -> None:
    file = tmp_path / "digits.csv"
    file.write_text(ALL_ZERO)
    pixels = digit_like(20)[1]
    if label_column == "none":
        with pytest.raises(UserError, match="785 columns, and the first doesn't count the rows"):
            read_digits(file, Csv(label_column="none"))
        return
    digits = read_digits(file, Csv(label_column=label_column))
    assert (digits.labels == 0).all()
    first = pixels[0] if label_column == "first" else [0, *pixels[0, :-1]]
    assert np.array_equal(digits.images[0].ravel(), first)


def test_a_label_column_may_be_named(tmp_path: Path) -> None:
    labels, pixels = digit_like(20)
    file = tmp_path / "digits.csv"
    file.write_bytes(written(labels, pixels, Writing(names="pixel0", label="last", label_name="what")))
    assert np.array_equal(read_digits(file, Csv(label_column="what")).labels, labels)
    with pytest.raises(UserError, match="there is no column 'which'; the header is pixel0,pixel1,…,what"):
        read_digits(file, Csv(label_column="which"))
    file.write_bytes(written(labels, pixels, Writing()))
    with pytest.raises(UserError, match="label_column=what, but the 785 columns have no names"):
        read_digits(file, Csv(label_column="what"))


def test_a_label_outside_the_range_past_the_sample_is_refused(tmp_path: Path) -> None:
    text = rows_of(2000).splitlines()
    text[1800] = "12" + text[1800][1:]
    (tmp_path / "digits.csv").write_text("\n".join(text))
    with pytest.raises(UserError, match="line 1801, column 1: found '12'; expected a label"):
        read_digits(tmp_path / "digits.csv")


@pytest.mark.parametrize("block", [100, 5_000, 8 << 20])
def test_trailing_blank_lines_are_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(mnist_csv, "BLOCK", block)
    (tmp_path / "digits.csv").write_text(rows_of(5) + "\n\r\n  \n" + " \n" * 200)
    assert len(read_digits(tmp_path / "digits.csv").labels) == 5
    (tmp_path / "digits.csv").write_text(rows_of(5) + "\n" * 200 + rows_of(5))
    with pytest.raises(UserError, match="line 6: the line is blank"):
        read_digits(tmp_path / "digits.csv")


def test_numbers_may_have_spaces_beside_them(tmp_path: Path) -> None:
    labels, pixels = digit_like(20)
    text = "".join(" , ".join(map(str, [label, *image])) + " \n" for label, image in zip(labels, pixels, strict=True))
    (tmp_path / "digits.csv").write_text(text)
    digits = read_digits(tmp_path / "digits.csv")
    assert np.array_equal(digits.images.reshape(20, -1), pixels)
    assert np.array_equal(digits.labels, labels)


def test_names_that_do_not_tell_are_a_header_all_the_same(tmp_path: Path) -> None:
    labels, pixels = digit_like(20)
    names = ",".join(f"f{k}" for k in range(785))
    (tmp_path / "digits.csv").write_text(f"{names}\n{written(labels, pixels, Writing()).decode()}")
    assert np.array_equal(read_digits(tmp_path / "digits.csv").labels, labels)
    numbers = ",".join(str(k) for k in range(1, 786))
    (tmp_path / "digits.csv").write_text(f"{numbers}\n{written(labels, pixels, Writing()).decode()}")
    assert np.array_equal(read_digits(tmp_path / "digits.csv").labels, labels)


def test_what_the_user_says_never_overrides_a_name(tmp_path: Path) -> None:
    names = ",".join([*(f"f{k}" for k in range(784)), "class"])
    labels, pixels = digit_like(20)
    file = tmp_path / "digits.csv"
    file.write_text(f"{names}\n{written(labels, pixels, Writing(label='last')).decode()}")
    assert np.array_equal(read_digits(file).labels, labels)
    for wanted in ("first", "none"):
        with pytest.raises(UserError, match=f"label_column={wanted}, but the header calls another column 'class'"):
            read_digits(file, Csv(label_column=wanted))


def test_fashion_under_mnists_name_is_doubted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(0)
    # Fashion-MNIST's test file: 1,000 of every class, a mean pixel of 73.
    labels = random.permutation(np.repeat(np.arange(10), 1000))
    pixels = random.integers(0, 147, (10_000, 784))
    file = tmp_path / "mnist_test.csv"
    file.write_bytes(written(labels, pixels, Writing()))
    read_digits(file)
    assert "1,000 images of every class, as Fashion-MNIST has" in caplog.text
    caplog.clear()
    file.write_bytes(written(labels[:500], pixels[:500], Writing()))
    read_digits(file)
    assert "may not be MNIST: its mean pixel is 73 of 255, where MNIST's is 33 and Fashion-MNIST's 73" in caplog.text


def test_digits_in_the_order_of_their_labels_are_not_doubted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.repeat(np.arange(10), 30)
    pixels = np.where(labels < 5, 44, 22)[:, None].repeat(784, axis=1)  # 33 in the mean, as MNIST has
    (tmp_path / "mnist_test.csv").write_bytes(written(labels, pixels, Writing()))
    monkeypatch.setattr(mnist_csv, "BLOCK", 50_000)
    read_digits(tmp_path / "mnist_test.csv")
    assert "may not be MNIST" not in caplog.text


def test_label_10_past_the_sample_is_refused(tmp_path: Path) -> None:
    text = rows_of(2000).splitlines()
    text[1800] = "10" + text[1800][1:]
    (tmp_path / "digits.csv").write_text("\n".join(text))
    with pytest.raises(UserError, match="line 1801, column 1: found '10'; expected a label"):
        read_digits(tmp_path / "digits.csv")
