"""CIFAR-10: read in every published form whatever its count, refused if its parts disagree or it could do harm."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data import cifar10
from pipeline.data.cifar10 import BINARY, PYTHON, find_cifar10, read_cifar10
from pipeline.data.store import Images
from pipeline.errors import UserError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def batch(count: int, seed: int) -> dict[bytes, Any]:
    random = np.random.default_rng(seed)
    return {
        b"data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
        b"labels": random.integers(0, 10, count).tolist(),
        b"filenames": [b"%d.png" % i for i in range(count)],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The published layout with few images, another count in every batch."""
    place = tmp_path / PYTHON.folder
    place.mkdir()
    for k, name in enumerate([*PYTHON.train, *PYTHON.test]):
        (place / name).write_bytes(pickle.dumps(batch(10 + k, k), protocol=4))
    (place / PYTHON.names).write_bytes(pickle.dumps({b"label_names": [n.encode() for n in NAMES]}, protocol=4))
    return place


@pytest.fixture
def binary_folder(tmp_path: Path) -> Path:
    """The same images in the binary layout."""
    place = tmp_path / BINARY.folder
    place.mkdir()
    for k, name in enumerate([*BINARY.train, *BINARY.test]):
        one = batch(10 + k, k)
        labels = np.array(one[b"labels"], np.uint8)[:, None]
        (place / name).write_bytes(np.hstack([labels, one[b"data"]]).tobytes())
    (place / BINARY.names).write_text("\n".join(NAMES) + "\n\n")
    return place


def packed(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def whole(place: Path) -> dict[str, Images]:
    """All splits of a folder or archive in one piece each."""
    splits, classes = read_cifar10(place)
    assert classes == NAMES
    joined = {}
    for name, blocks in splits.items():
        parts = list(blocks)
        joined[name] = Images(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    return joined


def test_images_and_labels_are_those_of_the_batches_in_order(folder: Path) -> None:
    splits = whole(folder)
    assert {name: part.images.shape for name, part in splits.items()} == {
        "train": (10 + 11 + 12 + 13 + 14, 3, 32, 32),
        "test": (15, 3, 32, 32),
    }
    second = batch(11, 1)
    # A row is 1,024 red, 1,024 green and 1,024 blue values, each plane row by row.
    assert splits["train"].images[10, 1, 0, 5] == second[b"data"][0, 1024 + 5]
    assert splits["train"].labels[10:21].tolist() == second[b"labels"]


@pytest.mark.parametrize("form", ["archive", "binary", "binary archive", "archive of another name"])
def test_every_form_gives_the_same(folder: Path, binary_folder: Path, tmp_path: Path, form: str) -> None:
    place = {
        "archive": lambda: packed(folder, tmp_path / PYTHON.archive),
        "binary": lambda: binary_folder,
        "binary archive": lambda: packed(binary_folder, tmp_path / BINARY.archive),
        "archive of another name": lambda: packed(folder, tmp_path / "cifar.tgz"),
    }[form]()
    ours, reference = whole(place), whole(folder)
    for split in ("train", "test"):
        assert np.array_equal(ours[split].images, reference[split].images)
        assert np.array_equal(ours[split].labels, reference[split].labels)


def test_each_form_is_found(folder: Path, binary_folder: Path, tmp_path: Path) -> None:
    assert find_cifar10(tmp_path / "nowhere") is None
    assert find_cifar10(folder) == [folder / name for name in PYTHON.files], "the extracted folder itself"
    assert find_cifar10(tmp_path) == [folder / name for name in PYTHON.files]
    folder.rename(tmp_path / "elsewhere")
    assert find_cifar10(tmp_path) == [binary_folder / name for name in BINARY.files]


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_a_pickle_that_would_run_a_command_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    (folder / "test_batch").write_bytes(pickle.dumps(Malicious(f"touch {trace}"), protocol=4))
    with pytest.raises(UserError, match=r"test_batch: not a file of CIFAR-10: it asks for (posix|nt)\.system"):
        whole(folder)
    assert not trace.exists()


def calls(module: str, name: str, *arguments: object) -> bytes:
    """A pickle of a dict whose value is what a function returns."""
    pushed = b"".join(pickle.dumps(argument, protocol=0)[:-1] for argument in arguments)
    return b"(S'data'\nc%s\n%s\n(%stRd." % (module.encode(), name.encode(), pushed)


def shaped(shape: bytes) -> bytes:
    """A pickle of an array of three bytes that says it has another shape."""
    array = b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n" + shape
    return b"(S'data'\n" + array + b"cnumpy\ndtype\n(S'u1'\ntRI00\nS'abc'\ntbd."


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (calls("builtins", "eval", "1"), "it asks for builtins.eval"),
        (calls("numpy", "ndarray", (10**12,)), "it makes an array in another way"),
        (calls("numpy", "dtype", "O8"), "an array of 'O8', not of bytes"),
        (calls("numpy", "fromfile", "/etc/passwd"), "it asks for numpy.fromfile"),
        (pickle.dumps({b"data": np.zeros(3)}, protocol=4), "an array of 'f8', not of bytes"),
        (pickle.dumps({b"data": np.array([{}])}, protocol=4), "an array of 'O8', not of bytes"),
        (pickle.dumps([1]), "it holds a list, not a dict"),
        (calls("numpy.core.multiarray", "_reconstruct", 1), "it holds an array that is never filled, or nothing"),
        (shaped(b"(S'aaaa'\nI150000000\nt"), "an array whose shape and data disagree"),
        (shaped(b"(I-1\nI-3\nt"), "an array whose shape and data disagree"),
        (b"<html>not found</html>", "invalid load key, '<'"),
        (b"", "not a pickle, or a damaged one"),
    ],
)
def test_only_plain_data_is_unpickled(folder: Path, pickled: bytes, message: str) -> None:
    (folder / "data_batch_2").write_bytes(pickled)
    with pytest.raises(UserError, match="data_batch_2: not a file of CIFAR-10") as refused:
        whole(folder)
    assert message in str(refused.value)


def test_pickles_of_python_2_are_read(folder: Path) -> None:
    data = np.arange(6144, dtype=np.uint8).reshape(2, 3072)
    raw = data.tobytes()
    # What Python 2 wrote: byte strings (U), lists, and an array whose bytes are a string (T).
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x02M\x00\x0ct"
        b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"I00\nT" + len(raw).to_bytes(4, "little") + raw + b"tb"
    )
    labels_and_names = b"U\x06labels](K\x03K\x05eU\x09filenames](U\x01aU\x01be"
    (folder / "test_batch").write_bytes(b"\x80\x02}(" + labels_and_names + b"U\x04data" + array + b"u.")
    assert np.array_equal(whole(folder)["test"].images.reshape(2, -1), data)
    assert whole(folder)["test"].labels.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({b"labels": [0] * 9}, "15 images, 9 labels and 15 names disagree"),
        ({b"filenames": [b"a"]}, "15 images, 15 labels and 1 names disagree"),
        ({b"labels": [10] * 15}, "label 10; expected a whole number from 0 to 9"),
        ({b"labels": [-1] * 15}, "label -1; expected a whole number from 0 to 9"),
        ({b"labels": ["cat"] * 15}, "label 'cat'; expected a whole number"),
        ({b"labels": np.zeros(15, np.uint8)}, "its labels and names must be lists"),
        (
            {b"data": np.zeros((15, 3071), np.uint8)},
            r"its data is an array of \(15, 3071\); expected \(n, 3072\) bytes",
        ),
        ({b"data": b"abc"}, "its data is bytes"),
    ],
)
def test_a_batch_whose_parts_disagree_is_refused(folder: Path, change: dict[bytes, Any], message: str) -> None:
    (folder / "test_batch").write_bytes(pickle.dumps({**batch(15, 5), **change}, protocol=4))
    with pytest.raises(UserError, match=message):
        whole(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "data_batch_3").unlink()
    with pytest.raises(UserError, match="data_batch_3 is missing; CIFAR-10 has data_batch_1, data_batch_2"):
        whole(folder)
    (folder / PYTHON.names).write_bytes(pickle.dumps({b"num_vis": 3072}))
    with pytest.raises(UserError, match=r"batches\.meta: label_names is None; expected a list of names"):
        whole(folder)
    (folder / PYTHON.names).write_bytes(pickle.dumps({b"label_names": [b"a"] * 300}))
    with pytest.raises(UserError, match="it has 300 names; at most 255 classes fit"):
        whole(folder)


def test_a_damaged_binary_batch_is_refused(binary_folder: Path) -> None:
    content = (binary_folder / "data_batch_2.bin").read_bytes()
    (binary_folder / "data_batch_2.bin").write_bytes(content[:-5])
    with pytest.raises(UserError, match=r"data_batch_2\.bin: 33,798 bytes; expected records of 3,073 bytes each"):
        whole(binary_folder)
    (binary_folder / "data_batch_2.bin").write_bytes(content[:3073] + b"\x0b" + content[3074:])
    with pytest.raises(UserError, match="record 2 has label 11; expected 0 to 9"):
        whole(binary_folder)


def archive_with(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(bytes(min(member.size, 1 << 20))) if member.isfile() else None)
    return path


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../../outside"), r"its member '\.\./\.\./outside' points out of the archive; refused"),
        (member("/etc/passwd"), "its member '/etc/passwd' points out of the archive; refused"),
        (member("..\\..\\outside"), "points out of the archive; refused"),
        (member("C:\\outside"), "points out of the archive; refused"),
        (member("cifar-10-batches-py/x/../../../y"), "points out of the archive; refused"),
        (member("data_batch_1", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link or a device, not a file"),
        (member("data_batch_1", type=tarfile.LNKTYPE, linkname="test_batch"), "is a link or a device, not a file"),
        (member("pipe", type=tarfile.FIFOTYPE), "is a link or a device, not a file"),
    ],
)
def test_an_archive_with_a_member_that_has_no_business_there_is_refused(
    tmp_path: Path, bad: tarfile.TarInfo, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_cifar10(archive_with(tmp_path / PYTHON.archive, member("readme.html"), bad))


def test_an_archive_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / PYTHON.archive
    header = member("cifar-10-batches-py/data_batch_1", size=1 << 40).tobuf()
    bomb.write_bytes(gzip.compress(header + bytes(1 << 20)))  # says a terabyte
    with pytest.raises(UserError, match="has 1,099,511,627,776 bytes, more than any of CIFAR-10; refused"):
        read_cifar10(bomb)

    # A name of a gigabyte, which tarfile reads whole before it gives any member.
    name = member("././@LongLink", size=1 << 30, type=tarfile.GNUTYPE_LONGNAME).tobuf()
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(name)
        file.writelines([bytes(1 << 20)] * 300)
    with pytest.raises(UserError, match="unpacked it has over 256 MiB; CIFAR-10 has 180; refused"):
        read_cifar10(bomb)

    many = archive_with(bomb, *(member(f"file-{k}") for k in range(1000)))
    with pytest.raises(UserError, match="over 64 members, more than CIFAR-10 has; refused"):
        read_cifar10(many)

    monkeypatch.setattr(cifar10, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="has 2,000 bytes, more than any of CIFAR-10; refused"):
        read_cifar10(archive_with(bomb, member("data_batch_1", size=2000)))


def test_a_changed_bit_is_noticed(folder: Path, tmp_path: Path) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.add(folder, folder.name)
    content = bytearray(gzip.compress(tar.getvalue(), 0))  # stored: every bit of a pixel is a bit of the file
    content[len(content) // 2] ^= 1
    (tmp_path / PYTHON.archive).write_bytes(content)
    with pytest.raises(UserError, match="cut off or damaged: CRC check failed"):
        whole(tmp_path / PYTHON.archive)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    bad = archive_with(tmp_path / PYTHON.archive, member("a/data_batch_1"), member("b/data_batch_1"))
    with pytest.raises(UserError, match="it has two files data_batch_1; refused"):
        read_cifar10(bad)


def test_a_cut_off_archive_and_what_is_none_are_refused(folder: Path, tmp_path: Path) -> None:
    archive = packed(folder, tmp_path / PYTHON.archive)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(UserError, match="cut off or damaged"):
        whole(archive)
    archive.write_bytes(b"<html></html>")
    with pytest.raises(UserError, match="not an archive of CIFAR-10, or a damaged one"):
        whole(archive)
    archive.unlink()
    with pytest.raises(UserError, match="no such file"):
        whole(archive)
    (tmp_path / "other").write_text("x")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "other", "other")
    with pytest.raises(UserError, match=r"batches\.meta is missing"):
        whole(archive)
