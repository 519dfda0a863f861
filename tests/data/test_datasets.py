"""`myMNIST`: torchvision's conventions, from CSV and from a store alike."""

from __future__ import annotations

import copy
import pickle
import shutil
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from pipeline.data import myMNIST
from pipeline.data.store import ImageStore
from pipeline.errors import UserError
from tests.data.digits import Writing, digit_like, written

from torchvision import transforms  # isort: skip - after the module that makes it importable


@pytest.fixture(scope="module")
def csv_folder(prepared_home: Path) -> Path:
    return prepared_home / ".cache" / "downloads" / "demo-digits"


def test_csv_and_store_give_the_same_tensors(csv_folder: Path, digits: ImageStore) -> None:
    for train, count in ((True, 1437), (False, 360)):
        from_csv, from_store = myMNIST(csv_folder, train=train), myMNIST(digits.folder, train=train)
        assert len(from_csv) == len(from_store) == count
        assert torch.equal(from_csv.data, from_store.data)
        assert torch.equal(from_csv.targets, from_store.targets)
        assert from_csv.data.dtype == torch.uint8
        assert from_csv.data.shape == (count, 28, 28)
        assert from_csv.targets.dtype == torch.int64


def test_an_item_is_a_pil_image_and_an_int(csv_folder: Path) -> None:
    image, label = myMNIST(csv_folder, train=False)[0]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("L", (28, 28))
    assert type(label) is int


def test_transforms_are_applied_to_both(csv_folder: Path) -> None:
    dataset = myMNIST(
        csv_folder, train=False, transform=transforms.ToTensor(), target_transform=lambda label: label + 100
    )
    image, label = dataset[3]
    assert image.shape == (1, 28, 28)
    assert torch.equal(image[0], dataset.data[3] / 255)
    assert label == dataset.targets[3] + 100


def test_a_csv_file_itself_is_a_root(csv_folder: Path) -> None:
    assert len(myMNIST(csv_folder / "mnist_test.csv", train=False)) == 360


def test_names_are_torchvisions(csv_folder: Path) -> None:
    from torchvision.datasets import MNIST

    dataset = myMNIST(csv_folder)
    assert dataset.classes == MNIST.classes
    assert dataset.class_to_idx == {name: label for label, name in enumerate(MNIST.classes)}


def test_a_root_without_the_files_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mnist_train\.csv is not there"):
        myMNIST(tmp_path)
    with pytest.raises(UserError, match=r"nothing\.csv: no such file or folder"):
        myMNIST(tmp_path / "nothing.csv")


def test_it_takes_the_place_of_mnist_in_the_common_script(csv_folder: Path) -> None:
    """The data part and loop of PyTorch's MNIST example, with `myMNIST` for `datasets.MNIST`, and workers."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = myMNIST(csv_folder, train=True, download=True, transform=transform)
    test = myMNIST(csv_folder, train=False, transform=transform)
    torch.manual_seed(1)
    loader = DataLoader(train, batch_size=64, shuffle=True, num_workers=1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    for _ in range(2):
        for data, target in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), target).backward()
            optimizer.step()
    correct = sum((model(data).argmax(1) == target).sum().item() for data, target in DataLoader(test, batch_size=360))
    assert correct / len(test) > 0.8, "a network that learned from wrong pairs would be right one time in ten"


def test_a_batch_of_indices_gives_the_same_items(csv_folder: Path) -> None:
    dataset = myMNIST(csv_folder, train=False, transform=transforms.ToTensor())
    for indices in ([5, 3, 5], range(10, 20), torch.tensor([0, 359]), []):
        items = dataset.__getitems__(indices)
        assert len(items) == len(indices)
        for index, (image, label) in zip(indices, items, strict=True):
            assert torch.equal(image, dataset[index][0])
            assert label == dataset[index][1]
    assert [label for _, label in dataset.__getitems__(slice(2, 9, 3))] == [dataset[k][1] for k in (2, 5, 8)]


def test_a_stores_images_are_mapped_again_where_they_are_unpickled(digits: ImageStore) -> None:
    dataset = myMNIST(digits.folder, train=False)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 10_000, "282,240 pixels do not fit: they are not in it"
    again = pickle.loads(pickled)
    assert torch.equal(again.data, dataset.data)
    assert torch.equal(again.targets, dataset.targets)


def test_a_csvs_images_go_to_workers_in_shared_memory(csv_folder: Path) -> None:
    dataset = myMNIST(csv_folder / "mnist_test.csv", train=False)
    assert len(ForkingPickler.dumps(dataset)) < 10_000
    assert dataset.data.is_shared()


@pytest.mark.parametrize("start", ["spawn", "forkserver"])
def test_workers_started_anew_read_the_same(digits: ImageStore, start: str) -> None:
    dataset = myMNIST(digits.folder, train=False, transform=transforms.ToTensor())
    loader = DataLoader(dataset, batch_size=120, num_workers=2, multiprocessing_context=start)
    images, labels = zip(*loader, strict=True)
    assert torch.equal(torch.cat(images)[:, 0], dataset.data / 255)
    assert torch.equal(torch.cat(labels), dataset.targets)


def test_what_was_changed_goes_to_workers_as_it_is(digits: ImageStore) -> None:
    """Keeping some classes, the common idiom, and changing images in place."""
    dataset = myMNIST(digits.folder, train=False)
    keep = dataset.targets == 4
    dataset.data, dataset.targets = dataset.data[keep], dataset.targets[keep]
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.data, dataset.data)
    assert torch.equal(again.targets, dataset.targets)

    relabelled = myMNIST(digits.folder, train=False)
    relabelled.targets %= 2
    assert torch.equal(copy.deepcopy(relabelled).targets, relabelled.targets)
    inverted = myMNIST(digits.folder, train=False)
    inverted.data[:] = 255 - inverted.data
    assert torch.equal(pickle.loads(pickle.dumps(inverted)).data, inverted.data)


def test_an_item_of_a_class_of_ones_own_is_what_a_loader_gives(csv_folder: Path) -> None:
    class WithIndex(myMNIST):
        def __getitem__(self, index: int) -> tuple[object, ...]:
            return (*super().__getitem__(index), index)

    dataset = WithIndex(csv_folder, train=False, transform=transforms.ToTensor())
    _, _, indices = next(iter(DataLoader(dataset, batch_size=4)))
    assert indices.tolist() == [0, 1, 2, 3]


def test_a_store_of_anything_else_is_no_mnist(patches: ImageStore, digits: ImageStore) -> None:
    with pytest.raises(UserError, match="a store of 3 channels and 11 classes, not of digits"):
        myMNIST(patches.folder)
    with pytest.raises(UserError, match="label_column and image_size are for CSV files"):
        myMNIST(digits.folder, label_column="last")


def test_a_store_that_changed_is_not_mapped_again(tmp_path: Path, digits: ImageStore) -> None:
    shutil.copytree(digits.folder, tmp_path / "digits")
    pickled = pickle.dumps(myMNIST(tmp_path / "digits"))
    manifest = tmp_path / "digits" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(digits.manifest.digest, "0" * 64))
    with pytest.raises(RuntimeError, match="was prepared anew"):
        pickle.loads(pickled)


def test_an_unlabelled_csv_is_for_prediction_only(tmp_path: Path) -> None:
    labels, pixels = digit_like(20)
    (tmp_path / "test.csv").write_bytes(written(labels, pixels, Writing(names="pixel0", label="none")))
    dataset = myMNIST(tmp_path / "test.csv", train=False)
    assert np.array_equal(dataset.data.reshape(20, -1), pixels)
    assert (dataset.targets == -1).all()
    with pytest.raises(UserError, match="there are no labels to learn from; open it with train=False"):
        myMNIST(tmp_path / "test.csv")


def test_what_a_csv_does_not_tell_can_be_said(tmp_path: Path) -> None:
    labels, pixels = digit_like(20, side=8)
    (tmp_path / "mnist_train.csv.xz").write_bytes(written(labels, pixels, Writing(label="last", compression="xz")))
    dataset = myMNIST(tmp_path, label_column="last", image_size=8)
    assert dataset.data.shape == (20, 8, 8)
    assert dataset.targets.tolist() == labels.tolist()
    with pytest.raises(UserError, match="for images of 8×8 pixels say image_size=8"):
        myMNIST(tmp_path)
