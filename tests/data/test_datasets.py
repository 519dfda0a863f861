"""`myMNIST`: torchvision's conventions, from CSV and from a store alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from pipeline.data import myMNIST
from pipeline.data.store import ImageStore
from pipeline.errors import UserError

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
