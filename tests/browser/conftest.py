"""A real browser for the page: Debian's Chromium, driven by Playwright. In CI a missing browser is a failure."""

import io
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddgan.bench import CHROMIUM, served

STAGE = "#stage .stage"
FAST = ("test_the_first_view_is_the_librarys_samples_on_one_noise", "test_scrubbing_by_keyboard_walks_the_states")
BROWSER = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def pytest_collection_modifyitems(items):
    """FAST stand for the page in the fast suite (-m "not slow")."""
    for item in items:
        if "browser" in item.path.parts and item.originalname not in FAST:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The page, with small training sets of noise for the exact posterior over images."""
    folder, noise = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, shape in {"mnist": (28, 28), "cifar10": (32, 32, 3)}.items():
        with zipfile.ZipFile(folder / f"{name}-train.zip", "w") as archive:
            for i in range(20):
                Image.fromarray(noise.integers(0, 256, shape, dtype=np.uint8)).save(file := io.BytesIO(), "png")
                archive.writestr(f"{i}.png", file.getvalue())
    with served(DDGAN_DATA=str(folder)) as (address, _):
        yield address


@pytest.fixture(scope="session")
def chromium():
    if not os.environ.get("CI"):
        pytest.importorskip("playwright.sync_api")
        if BROWSER is None:
            pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Open the page in a fresh profile; every console error fails the test that caused it."""
    pages, errors = [], []

    def opened(query="", *, width=1280, height=900, dark=False, ready=f'{STAGE}[data-ready="1"]'):
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query, wait_until="domcontentloaded")
        page.wait_for_selector(ready, timeout=30_000)
        pages.append(context)
        return page

    opened.errors = errors
    yield opened
    for context in pages:
        context.close()
    assert not errors
