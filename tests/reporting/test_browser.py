"""Both pages in a real browser, wide and narrow, light and dark: whole pictures, set formulas, nothing sticking out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import TINY, TINY_STUDIES, Pipeline

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SEEN = """() => ({
  pictures: [...document.images].map(image => [image.complete && image.naturalWidth > 0, image.alt]),
  formulas: document.querySelectorAll('math').length,
  rawFormulas: [...document.querySelectorAll('p, li, td, h1, h2, h3')]
    .filter(e => /\\$|\\\\[a-z]+/.test([...e.childNodes].filter(n => n.nodeType === 3).map(n => n.data).join('')))
    .map(e => e.textContent),
  tooWide: [...document.querySelectorAll('body > *, body > div > *')]
    .filter(e => !e.matches('.table > table') && e.getBoundingClientRect().width > window.innerWidth + 1)
    .map(e => e.tagName + e.className),
  page: document.documentElement.scrollWidth - window.innerWidth,
  direction: getComputedStyle(document.body).direction,
  background: getComputedStyle(document.body).backgroundColor,
  leftToRight: [...document.querySelectorAll('math, code')].every(e => getComputedStyle(e).direction === 'ltr'),
})"""


def test_the_reports_are_whole_in_chromium(pipeline: Pipeline, home: Path, chromium: Browser) -> None:
    done = pipeline("all", "--data.choice=demo", *TINY, *TINY_STUDIES, "--sweep.variances=0.05")
    assert done.returncode == 0, done.stderr
    folder = home / "reports" / "output" / "demo"
    for language, direction in (("en", "ltr"), ("fa", "rtl")):
        for width in (1280, 390):
            backgrounds = set()
            for scheme in ("light", "dark"):
                context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
                context.set_offline(True)
                opened = context.new_page()
                asked = []
                opened.on("request", lambda request, asked=asked: asked.append(request.url))
                opened.goto((folder / f"report.{language}.html").as_uri())
                seen = opened.evaluate(SEEN)
                where = f"{language}, {width} pixels, {scheme}"
                assert len(seen["pictures"]) >= 15, where
                assert all(whole and alternative for whole, alternative in seen["pictures"]), where
                assert seen["formulas"] > 30, where
                assert seen["rawFormulas"] == [], where
                assert seen["tooWide"] == [], where
                assert seen["page"] <= 0, where
                assert seen["direction"] == direction, where
                assert seen["leftToRight"], where
                assert [url for url in asked if not url.startswith(("file:", "data:"))] == [], where
                backgrounds.add(seen["background"])
                context.close()
            assert len(backgrounds) == 2, "dark is dark"
