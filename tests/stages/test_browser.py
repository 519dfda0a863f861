"""What a person sees after a sweep: the link that `ui` prints opens on charts and images of all its runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import run_pipeline
from tests.stages.test_ui import free_port, ui_of
from tests.sweeps.sweeping import FOUR, SWEEP

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

RUNS = [f"{model} · σ²={variance} · seed 0" for model in ("autoencoder", "noisy") for variance in ("0.01", "0.1")]
SECONDS = 40


@pytest.fixture
def page(chromium: Browser) -> Page:
    """A page in a browser that has never seen MLflow."""
    opened = chromium.new_page(viewport={"width": 1600, "height": 2400})
    opened.set_default_timeout(SECONDS * 1000)
    return opened


def test_the_printed_link_shows_every_run_of_the_sweep_and_compare_works(home: Path, page: Page) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=SECONDS * 1000)
    assert run_pipeline(*SWEEP, FOUR, f"--run.home={home}").returncode == 0
    with ui_of(home, free_port()) as (_, printed):
        (link,) = re.findall(r"demo-patches-denoising +(\S+)", printed)
        page.goto(link)

        for name in RUNS:
            expect(page.get_by_role("link", name=name)).to_be_visible()
        expect(page.get_by_text("4 matching runs")).to_be_visible()  # not the summary

        sections = ["1 results", "2 params and results", "3 images", "4 curves"]
        expect(page.get_by_text(re.compile(rf"^({'|'.join(sections)})$"))).to_have_text(sections)
        for metric in ("test/psnr", "test/ssim", "test/psnr_gain", "val/psnr", "train/loss"):
            expect(page.get_by_text(metric, exact=True).first).to_be_visible()
        expect(page.locator(".barlayer")).to_have_count(3)
        expect(page.locator(".barlayer .point")).to_have_count(3 * len(RUNS))

        parallel = page.locator(".parcoords")
        for axis in ("model", "variance", "test/psnr", "test/ssim", "test/psnr_gain"):
            expect(parallel.get_by_text(axis, exact=True)).to_have_count(1)
        for model in ("autoencoder", "noisy"):  # a run that lacks what an axis shows would be dropped
            expect(parallel.get_by_text(model, exact=True)).to_have_count(1)

        images = page.locator("img[src*='examples~grid']")
        expect(images).to_have_count(len(RUNS))
        page.wait_for_function("[...document.querySelectorAll('img')].every(image => image.naturalWidth > 0)")

        page.get_by_label("Select all runs").check()
        page.get_by_role("button", name="Compare").click()
        expect(page.get_by_role("heading", name=re.compile("Comparing 4 Runs"))).to_be_visible()
        for name in RUNS:
            expect(page.get_by_text(name, exact=True).first).to_be_visible()
        expect(page.get_by_text("variance", exact=True).first).to_be_visible()
