"""A real browser for the page: Debian's Chromium or Firefox, driven by Playwright. In CI a missing one is a failure."""

import io
import os
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from ddgan.evidence.bench.page import CHROMIUM, served

STAGE = "#stage .stage"
FAST = ("test_the_first_view_is_the_librarys_samples_on_one_noise", "test_scrubbing_by_keyboard_walks_the_states")
CHROMIUMS = "chromium-headless-shell", "chromium", "chromium-browser"  # the first opens a page in half the time
BROWSER = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
FIREFOX = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")


def missing(what):
    """Skip the test, or fail it in CI, for want of something."""
    (pytest.fail if os.environ.get("DDGAN_CI") else pytest.skip)(f"{what} is needed")


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
def playwright():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("Playwright")
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def chromium(playwright):
    if BROWSER is None:
        missing("Chromium")
    browser = playwright.chromium.launch(executable_path=BROWSER, args=CHROMIUM)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def firefox(playwright):
    """Firefox as it is distributed, by WebDriver BiDi:
    an experiment of Playwright's, which may ask too much of Firefox.
    """
    from playwright.sync_api import Error

    if FIREFOX is None:
        missing("Firefox")
    try:
        browser = playwright.firefox.launch(channel="moz-firefox", executable_path=FIREFOX)
        browser.new_context().close()
    except Error as error:
        missing(f"a Playwright that can drive {FIREFOX}, as 1.64 can, ({error.message.splitlines()[0]})")
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    return chromium


def failed(message):
    """Whether a message of the console is an error. A refused picture is none: its sentence is on the page."""
    refused = "status of 400" in message.text and "/pictures/" in message.location.get("url", "")
    return message.type == "error" and not refused


@pytest.fixture
def visit(browser, address):
    """Open the page in a fresh profile; every console error fails the test that caused it."""
    pages, errors = [], []

    def opened(
        query="", *, width=1280, height=900, dark=False, ready=f'{STAGE}[data-ready="1"][data-scored][data-opened]'
    ):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.set_default_timeout(60_000)  # a machine may be busy
        page.on("console", lambda message: errors.append(message.text) if failed(message) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address + query, wait_until="domcontentloaded")
        page.wait_for_selector(ready, timeout=60_000)
        pages.append(context)
        return page

    opened.errors = errors
    yield opened
    for context in pages:
        context.close()
    assert not errors
