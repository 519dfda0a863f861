"""Pieces of the report: pictures are what they say, settings are not mixed, missing values stop the build."""

from __future__ import annotations

import json
import re
from io import StringIO
from unittest.mock import Mock

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import torch
from matplotlib.figure import Figure

from pipeline.config import PROJECT_ROOT
from pipeline.data.store import ImageStore
from pipeline.reporting import classification_figures, denoising, denoising_figures, grids
from pipeline.reporting.inputs import TEMPLATES, Part, inputs_digest
from pipeline.reporting.render import render
from pipeline.reporting.selection import by_setting
from pipeline.sweeps.record import misclassified, misses
from pipeline.tracking import keys
from pipeline.tracking.store import RunRecord


def test_the_grid_shows_each_pixel_enlarged_in_blocks_of_clean_noisy_denoised() -> None:
    clean, noisy, denoised = (torch.full((10, 3, 32, 32), value) for value in (0.0, 0.4, 0.8))
    picture = np.asarray(grids.block_grid(clean, noisy, denoised))
    assert picture.shape == (6 * (32 * 4 + 2) - 2, 5 * (32 * 4 + 2) - 2, 3)
    # One pixel from the middle of the left image of every row: two blocks of three rows.
    assert picture[64::130, 64, 0].tolist() == [0, 102, 204, 0, 102, 204]


def test_of_large_images_the_grid_shows_the_middle_as_it_is() -> None:
    images = torch.zeros(2, 1, 600, 300)
    images[:, :, 172:428, 22:278] = 1
    picture = np.asarray(grids.block_grid(images, images, images))
    assert picture.shape == (3 * 258 - 2, 2 * 258 - 2)
    assert (picture == 255).all()


def test_misclassified_digits_are_those_and_the_most_confident_come_first(digits: ImageStore) -> None:
    labels = torch.from_numpy(digits.labels[1437:]).long()
    logits = torch.nn.functional.one_hot(labels, 10).float() * 9
    for place, confidence in ((7, 2.0), (3, 5.0)):
        logits[place] = torch.zeros(10)
        logits[place, (labels[place] + 1) % 10] = confidence
    (line,) = misclassified(misses(logits, labels), digits).axes
    assert [tick.get_text().split(" (")[0] for tick in line.get_xticklabels()] == [
        f"{labels[place]} → {(labels[place] + 1) % 10}" for place in (3, 7)
    ]
    shown = np.asarray(line.images[0].get_array())
    side = digits.images.shape[3]
    np.testing.assert_array_equal(shown[:, :side], 255 - digits.images[1437 + 3, 0])
    np.testing.assert_array_equal(shown[:, -side:], 255 - digits.images[1437 + 7, 0])


def test_every_digit_has_its_caption() -> None:
    captions = ["3 → 5", "1 → 7", "0 → 6"]
    figure = grids.digit_grid(torch.rand(3, 1, 28, 28), captions, "title", columns=2)
    for line, expected in zip(figure.axes, (captions[:2], captions[2:]), strict=True):
        assert [tick.get_text() for tick in line.get_xticklabels()] == expected
        for digit, place in enumerate(line.get_xticks()):
            assert digit * 30 <= place < digit * 30 + 28


def test_no_digits_are_a_grid_too() -> None:
    assert not grids.digit_grid(torch.empty(0, 1, 28, 28), [], "title").axes[0].images


def test_only_mistakes_are_coloured_in_the_confusion_matrix() -> None:
    figure = classification_figures.confusion(torch.tensor([[90, 2], [0, 80]]), ["a", "b"], "title")
    (coloured,) = figure.axes[0].images
    assert np.asarray(coloured.get_array()).ravel().tolist() == [0, 2, 0, 0]
    assert [text.get_text() for text in figure.axes[0].texts] == ["90", "2", "0", "80"]


def test_the_plot_has_every_model_and_every_variance() -> None:
    results = pd.DataFrame(
        [
            {"model": model, "variance": variance, "psnr": 20 + seed, "ssim": 0.5, "trained": model != "noisy"}
            for model in ("noisy", "autoencoder")
            for variance in (0.01, 0.1)
            for seed in (0, 1)
        ]
    )
    figure = denoising_figures.quality_over_variance(results)
    ax = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["noisy", "autoencoder"]
    assert ax.get_xticks().tolist() == [0.01, 0.1]
    baseline, network = (line.get_color() for line in figure.legends[0].get_lines())
    first, second = sns.color_palette("colorblind", 2)
    assert (mpl.colors.to_rgb(network), mpl.colors.to_rgb(baseline)) == (first, second)


def test_a_model_looks_the_same_in_every_figure() -> None:
    results = pd.DataFrame(
        {"model": model, "variance": variance, "psnr": 20, "ssim": 0.5, "gain": 5, "trained": model == "net"}
        for model in ("linear", "noisy", "tv", "net")
        for variance in (0.01, 0.1)
    )

    def looks(figure: Figure) -> dict[str, tuple[object, object]]:
        legend = figure.legends[0]
        lines = [(line.get_color(), line.get_marker()) for line in legend.get_lines()]
        return dict(zip([text.get_text() for text in legend.get_texts()], lines, strict=True))

    quality, gain = (
        looks(draw(results)) for draw in (denoising_figures.quality_over_variance, denoising_figures.gain_over_variance)
    )
    assert quality.keys() - gain.keys() == {"noisy"}
    assert len(set(quality.values())) == 4
    assert gain.items() <= quality.items()


def run_of(run_id: str, seed: int, epochs: int, code: str, ended_ms: int, home: str = "mine") -> RunRecord:
    identity = {"kind": "k", "trial": {"seed": seed, "epochs": epochs}, "data": "d", "code": {"m": code}}
    tags = {keys.IDENTITY: json.dumps(identity), keys.OWNER: home, keys.USER: f"user of {home}"}
    return RunRecord(run_id, run_id, {}, {}, tags, "FINISHED", ended_ms)


def test_seeds_of_one_setting_are_together_and_code_versions_are_not_mixed() -> None:
    runs = [
        run_of("old-code", 1, 3, "v1", 1),
        run_of("b", 1, 3, "v2", 3),
        run_of("a", 0, 3, "v2", 2),
        run_of("longer", 0, 9, "v2", 4),
    ]
    assert [[run.run_id for run in group] for group in by_setting(runs, "mine")] == [["longer"], ["a", "b"]]
    for run in runs[1:3]:
        run.tags[keys.requested_by("mine")] = str(5 * 10**6)  # nanoseconds; the others count milliseconds
    asked_again = [[run.run_id for run in group] for group in by_setting(runs, "mine")]
    assert asked_again == [["a", "b"], ["longer"]], "what was asked for last comes first, whenever it was trained"


def test_on_a_shared_store_everybodys_own_code_counts_and_their_own_runs_come_first() -> None:
    runs = [
        run_of("mine-old", 0, 3, "v0", 1),
        run_of("mine", 0, 3, "v1", 2),
        run_of("hers", 0, 3, "v2", 3, "hers"),
        run_of("hers-again", 1, 3, "v1", 4, "hers-too"),
    ]
    assert [[run.run_id for run in group] for group in by_setting(runs, "mine")] == [["mine", "hers-again"], ["hers"]]
    assert by_setting(runs, "hers")[0][0].run_id == "hers"
    runs[1].tags[keys.requested_by("theirs")] = "1"
    found = [group[0].run_id for group in by_setting(runs, "theirs")]
    assert found == ["mine", "hers"], "what they asked for and need not train, and what others do now"
    renamed = [run_of("old", 0, 3, "v1", 1), run_of("new", 0, 3, "v2", 2)]
    renamed[0].tags[keys.USER] = "root"
    assert [group[0].run_id for group in by_setting(renamed, "mine")] == ["new"], "a home's work is one person's"


def test_of_homes_that_did_not_note_who_asks_the_last_asked_for_comes_first() -> None:
    runs = [run_of("a", 0, 3, "v", 1), run_of("b", 0, 9, "v", 2)]
    runs[0].tags[keys.REQUESTED] = str(3 * 10**6)
    assert [group[0].run_id for group in by_setting(runs, "mine")] == ["a", "b"]


def test_another_order_is_another_report() -> None:
    part = Part(Mock(), [run_of("a", 0, 3, "v", 1), run_of("b", 0, 9, "v", 2)], home="mine")
    before = inputs_digest([part], demo=False)
    assert inputs_digest([part], demo=False) == before
    part.runs[0].tags[keys.requested_by("mine")] = str(5 * 10**6)
    assert inputs_digest([part], demo=False) != before, "what was asked for last is shown first"


def test_a_value_that_the_template_needs_and_nobody_gives_stops_the_build() -> None:
    with pytest.raises(jinja2.UndefinedError, match="inputs"):
        render("report.en.md.j2", {})


@pytest.mark.parametrize("name", ["gan", "batch-norm"])
def test_persian_is_set_as_persian(name: str) -> None:
    text = (PROJECT_ROOT / "reports" / "answers" / f"{name}.fa.md").read_text(encoding="utf-8")
    assert text.startswith('<div dir="rtl">\n\n')
    assert text.endswith("\n\n</div>\n")
    shown = (PROJECT_ROOT / "reports" / "answers" / f"{name}.shown.fa.md").read_text(encoding="utf-8")
    report = (TEMPLATES / "report.fa.md.j2").read_text(encoding="utf-8")
    claims = (PROJECT_ROOT / "reports" / "answers" / f"{name}.claims.yaml").read_text(encoding="utf-8")
    prose = re.sub(r"\$\$?[^$]+\$\$?|\]\([^)]*\)|{[{%#].*?[}%#]}", "□", text + shown + report + claims, flags=re.DOTALL)
    prose = "\n".join(line.strip() for line in prose.splitlines())
    assert not re.search("[\u0643\u064a\u0660-\u0669]", prose), "Arabic letters or digits for Persian ones"
    assert not re.search("\u200c[\\s،؛.]|\\s\u200c", prose), "a half-space beside a space or at a word's end"
    assert not re.search(r"[\u0600-\u06ff] ها[ی\s]", prose), "a space where a half-space belongs"
    assert not re.search(r"\S  +\S", prose), "two spaces"


@pytest.mark.parametrize("file", sorted((PROJECT_ROOT / "reports" / "answers").glob("*.md")), ids=lambda f: f.name)
def test_a_formula_inside_a_sentence_stays_on_its_line(file) -> None:
    """Code hosts do not set `$…$` that runs over a line's end."""
    for line in file.read_text(encoding="utf-8").splitlines():
        assert line.count("$") % 2 == 0, line


def test_both_answers_are_there_in_both_languages_with_what_was_measured() -> None:
    names = sorted(path.name for path in (PROJECT_ROOT / "reports" / "answers").iterdir())
    kinds = ("claims.yaml", "en.md", "fa.md", "shown.en.md", "shown.fa.md")
    assert names == [f"{question}.{kind}" for question in ("batch-norm", "gan") for kind in kinds]


def test_classes_may_have_any_name_and_stand_in_their_order() -> None:
    images = pd.DataFrame(
        [
            {"model": model, "variance": variance, "label": label, "psnr": 20.0 + label + 2 * part, "trained": trained}
            for model, trained in (("mine", True), ("tv", False))
            for variance in (0.1, 0.01)
            for label in (2, 0, 1)
            for part in (0, 1)
        ]
    )
    classes = ["01", "1", "01"]
    table = pd.read_csv(StringIO(denoising.by_class(images, classes).to_csv(index=False)))  # as it is kept
    assert set(table["model"]) == {"mine"}, "of what is trained"
    figure = denoising_figures.class_heat_map(table, classes)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == classes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["mine, σ²=0.01", "mine, σ²=0.1"]
    assert [text.get_text() for text in axes.texts] == ["21.00", "22.00", "23.00"] * 2
