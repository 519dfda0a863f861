"""CSV files and pictures of digits → which digit each is, by a trained classifier from the registry."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config, Csv, Digits
from pipeline.console import counted, say, waiting
from pipeline.errors import UserError
from pipeline.stages.trained import trained
from pipeline.tracking import keys, registry
from pipeline.tracking.store import open_store

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

BATCH = 500
SHOWN = 20
"""Predictions printed of a file."""


@dataclass(frozen=True)
class Prediction:
    """What one image is said to be."""

    file: Path
    image: int
    """Its place in the file, from 1."""
    digit: int
    confidence: float
    label: int | None
    """What it is, where the file says so."""


@dataclass(frozen=True)
class Classifier:
    """A trained classifier and the images it takes."""

    model: torch.nn.Module
    shape: tuple[int, int]

    def predict(self, images: NDArray[np.float32]) -> Iterator[tuple[int, float]]:
        """The likeliest digit of each image (n, h, w) from 0 to 1, and its probability."""
        import torch

        for part in torch.from_numpy(images).unsqueeze(1).split(BATCH):
            with torch.no_grad():
                confidence, digit = self.model(part).softmax(dim=1).max(dim=1)
            yield from zip(digit.tolist(), confidence.tolist(), strict=True)


def run(config: Config) -> None:
    """Name the digits asked for, print or write them, and say how many are right where labels are there."""
    options = config.digits
    files = files_of(options)
    store = open_store(config.run)
    version = trained(config, store, "digits", keys.KIND_CLASSIFIER, options.model)[0]
    model, (_, channels, *shape) = registry.load(version)
    if channels != 1 or -1 in shape:
        raise UserError(f"{version.uri} takes images of {channels} channels; expected a classifier of grey digits")
    say(f"digits    {version.tags[keys.NETWORK]} ({version.uri})")
    classifier = Classifier(model, (shape[0], shape[1]))
    predictions: list[Prediction] = []
    for file, is_picture in counted(files, len(files), "reading digits"):
        some = of_picture(file, classifier) if is_picture else of_csv(file, classifier, config.data.csv)
        predictions += some
        if options.out is None and not is_picture:
            show(some)
    labelled = [one for one in predictions if one.label is not None]
    if labelled:
        right = sum(one.digit == one.label for one in labelled)
        say(f"digits    accuracy {right / len(labelled):.2%}: {right:,} of {len(labelled):,} as their labels say")
    if options.out is not None:
        from pipeline.data.files import write_whole

        write_whole(options.out, table_of(predictions, options.form).encode(errors="surrogateescape"))
        say(f"digits    {len(predictions):,} predictions written to {options.out}")


def files_of(options: Digits) -> list[tuple[Path, bool]]:
    """(file, whether it is a picture). Raises `UserError` for what is missing, and rather than write over an input."""
    if not options.inputs:
        raise UserError("no digits; name CSV files or images: make digits IN=test.csv OUT=predictions.csv")
    if options.form == "kaggle" and options.out is None:
        raise UserError("say where the submission goes: OUT=submission.csv (--out submission.csv)")
    if options.out is not None and options.out.is_dir():
        raise UserError(f"OUT={options.out}: this is a folder; give a file, such as predictions.csv")
    from pipeline.data.image_folder import ENDINGS
    from pipeline.data.picture import find_pictures

    files = [(path, path.suffix.lower() in ENDINGS) for path, _ in find_pictures(options.inputs)]
    if options.out is not None and options.out.resolve() in {file.resolve() for file, _ in files}:
        raise UserError(f"OUT={options.out} is one of the inputs, which would be written over; give another file")
    return files


def of_picture(file: Path, classifier: Classifier) -> list[Prediction]:
    """The one digit of a picture; says what it is and what was done to the picture."""
    from pipeline.data.digit_form import as_digit
    from pipeline.data.picture import read_picture

    image, done = as_digit(read_picture(file), classifier.shape)
    ((digit, confidence),) = classifier.predict(image[None])
    say(f"digits    {file}: {digit} ({confidence:.1%}){''.join(f'; {what}' for what in done)}")
    return [Prediction(file, 1, digit, confidence, None)]


def of_csv(file: Path, classifier: Classifier, options: Csv) -> list[Prediction]:
    """The digits of a CSV's rows, read in blocks; says what was done to them."""
    import numpy as np

    from pipeline.data.digit_form import is_dark_on_light, resized
    from pipeline.data.mnist_csv import DigitsCsv
    from pipeline.data.store import UNLABELLED

    predictions: list[Prediction] = []
    done: dict[str, None] = {}
    with waiting(f"Reading {file.name}"):
        for block in DigitsCsv(file, options).blocks():
            images = (block.images[:, 0] / 255).astype(np.float32)
            if is_dark_on_light(images):
                images = 1 - images
                done["inverted, as they are dark on light"] = None
            if images.shape[1:] != classifier.shape:
                size, wanted = ("×".join(map(str, shape)) for shape in (images.shape[1:], classifier.shape))
                done[f"{size} brought to {wanted}"] = None
                images = np.stack([resized(image, classifier.shape) for image in images])
            for (digit, confidence), label in zip(classifier.predict(images), block.labels.tolist(), strict=True):
                known = None if label == UNLABELLED else label
                predictions.append(Prediction(file, len(predictions) + 1, digit, confidence, known))
    say(f"digits    {file}: {len(predictions):,} images{''.join(f'; {what}' for what in done)}")
    return predictions


def show(predictions: Sequence[Prediction]) -> None:
    """Print the first few, and how to have them all."""
    for one in predictions[:SHOWN]:
        say(f"          image {one.image}: {one.digit} ({one.confidence:.1%})")
    if len(predictions) > SHOWN:
        say(f"          and {len(predictions) - SHOWN:,} more; OUT=predictions.csv writes all")


def table_of(predictions: Sequence[Prediction], form: str) -> str:
    """The predictions as CSV."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    if form == "kaggle":
        table.writerow(["ImageId", "Label"])
        table.writerows([place, one.digit] for place, one in enumerate(predictions, start=1))
        return text.getvalue()
    labelled = any(one.label is not None for one in predictions)
    table.writerow(["file", "image", "digit", "confidence", *(["label"] if labelled else [])])
    for one in predictions:
        label = ["" if one.label is None else one.label] if labelled else []
        table.writerow([one.file, one.image, one.digit, f"{one.confidence:.4f}", *label])
    return text.getvalue()
