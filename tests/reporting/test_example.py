"""The example report that is kept in the repository, and what the READMEs say of it."""

from __future__ import annotations

import re

import pytest

from pipeline.config import PROJECT_ROOT

EXAMPLE = PROJECT_ROOT / "reports" / "example"


@pytest.mark.parametrize("language", ["en", "fa"])
def test_the_example_is_whole_and_names_no_place_outside_it(language: str) -> None:
    report = (EXAMPLE / f"report.{language}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", report)
    assert len(pictures) > 15
    for picture in pictures:
        assert (EXAMPLE / picture).read_bytes().startswith(b"\x89PNG"), picture
    assert {f"figures/{file.name}" for file in (EXAMPLE / "figures").iterdir()} == set(pictures)
    assert "Not run yet" not in report
    assert not re.search(r"(?<![\w.)/])/(home|root|tmp|work|Users)/", report), "a path of somebody's machine"


@pytest.mark.parametrize(("readme", "language"), [("README.md", "en"), ("README.fa.md", "fa")])
def test_the_figures_of_a_readme_are_those_of_the_example(readme: str, language: str) -> None:
    text = (PROJECT_ROOT / readme).read_text(encoding="utf-8")
    report = (EXAMPLE / f"report.{language}.md").read_text(encoding="utf-8")
    report = report.replace("\N{NO-BREAK SPACE}", " ").replace("\N{WORD JOINER}", "")
    (table,) = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    figures = re.findall(r"\*\*(.+?)\*\*", table)
    assert len(figures) > 5
    for figure in figures:
        assert figure in report, f"{readme}: {figure}"


def test_the_picture_of_the_readmes_is_there() -> None:
    for readme in ("README.md", "README.fa.md"):
        for file in re.findall(r"!\[[^]]+\]\(([^)]+)\)", (PROJECT_ROOT / readme).read_text(encoding="utf-8")):
            assert (PROJECT_ROOT / file).is_file(), file
