"""The CSV reader: what it accepts is read exactly, what it refuses is refused with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.data.mnist_csv import read_mnist_csv
from pipeline.errors import UserError

HEADER = "label," + ",".join(f"{row}x{column}" for row in range(1, 29) for column in range(1, 29))


def rows_of(count: int, seed: int = 0) -> np.ndarray:
    """Random labels and pixels, one row an image."""
    random = np.random.default_rng(seed)
    return np.column_stack([random.integers(0, 10, count), random.integers(0, 256, (count, 784))])


def text_of(rows: np.ndarray) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 20),
    seed=st.integers(0, 2**31),
    header=st.booleans(),
    crlf=st.booleans(),
    final_newline=st.booleans(),
    compressed=st.booleans(),
)
def test_what_is_written_is_read_back(
    tmp_path: Path, count: int, seed: int, header: bool, crlf: bool, final_newline: bool, compressed: bool
) -> None:
    rows = rows_of(count, seed)
    text = (HEADER + "\n" if header else "") + text_of(rows)
    if not final_newline:
        text = text.removesuffix("\n")
    data = text.replace("\n", "\r\n" if crlf else "\n").encode()
    file = tmp_path / ("digits.csv.gz" if compressed else "digits.csv")
    file.write_bytes(gzip.compress(data) if compressed else data)

    digits = read_mnist_csv(file)

    assert digits.images.dtype == digits.labels.dtype == np.uint8
    assert np.array_equal(digits.images.reshape(count, 784), rows[:, 1:])
    assert np.array_equal(digits.labels, rows[:, 0])


def replaced(row: int, column: int, text: str) -> str:
    """Three good rows with one field (counted from 1) replaced."""
    lines = [line.split(",") for line in text_of(rows_of(3)).splitlines()]
    lines[row - 1][column - 1] = text
    return "\n".join(map(",".join, lines)) + "\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replaced(2, 5, "300"), "line 2, column 5: found '300'; expected a pixel, a whole number from 0 to 255"),
        (replaced(3, 785, "-1"), "line 3, column 785: found '-1'"),
        (replaced(2, 7, "nan"), "line 2, column 7: found 'nan'"),
        (replaced(2, 7, ""), "line 2, column 7: found ''"),
        (replaced(1, 9, "1.5"), "line 1, column 9: found '1.5'"),
        (replaced(2, 1, "10"), "line 2, column 1: found '10'; expected a label, a whole number from 0 to 9"),
        (HEADER + "\n" + replaced(2, 5, "256"), "line 3, column 5: found '256'"),
        (text_of(rows_of(2)) + "1,2,3\n", "line 3: 3 columns; expected 785"),
        (text_of(rows_of(2)).replace("\n", ",7\n", 2).split("\n", 1)[1] + "", "786 columns"),
        (text_of(rows_of(1)) + text_of(rows_of(1)).replace("\n", ",7\n"), "line 2: 786 columns; expected 785"),
        ("", "the file is empty"),
        (HEADER + "\n", "a header and no rows"),
        ("version https://git-lfs.github.com/spec/v1\n", "line 1: 1 columns; expected 785"),
        (HEADER.replace("label", "class") + "\n", "line 1, column 1: 'class'"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "digits.csv"
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        read_mnist_csv(file)
    assert message in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "digits.csv.gz"
    file.write_bytes(gzip.compress(text_of(rows_of(50)).encode())[:2000])
    with pytest.raises(UserError, match=r"digits\.csv\.gz"):
        read_mnist_csv(file)
