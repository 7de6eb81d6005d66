"""A walk through all tabs in Firefox: everything is drawn, nothing is said in the console."""

import json

import pytest
from test_page import STAGE, after, points
from test_strips import EXPLORER, GALLERY
from test_train import LIVE, WHILE
from test_why import WHY

# canvases in sight, one colour all over
SEEN = "[...document.querySelectorAll('canvas')].filter(canvas => canvas.checkVisibility() && canvas.clientWidth)"
BLANK = f"""() => {SEEN}.filter(canvas => {{
    const {{ data }} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return data.every((v, k) => v === data[k % 4]); }}).map(canvas => canvas.closest('figure, div').textContent)"""
ASKED = """() => document.querySelector('.posterior').dataset.answer
  ?.includes(new URLSearchParams(location.search).get('at')?.split(',')[1])"""


@pytest.fixture
def browser(firefox):
    return firefox


def attribute(page, selector, name):
    return page.get_attribute(selector, f"data-{name}")


def is_drawn(page, at_least):
    page.wait_for_function(f"({BLANK})().length === 0")
    assert page.evaluate(f"{SEEN}.length") >= at_least


def open_tab(page, name, ready):
    page.get_by_role("tab", name=name).click()
    page.wait_for_selector(ready, timeout=WHILE)
    assert not {"ₛ", "ₜ"} & {*page.inner_text("body")}, "hardly any font has them"


def test_denoise_plays_scrubs_draws_anew_and_answers_a_click(visit):
    page = visit("?t=4", width=1440)
    page.click(f"{STAGE} [data-act=play]")
    page.wait_for_selector(f"{STAGE}[data-t='0'][data-playing='0']")
    is_drawn(page, 3)
    page.focus(f"{STAGE} input[type=range]")
    page.keyboard.press("Home")
    page.wait_for_selector(f"{STAGE}[data-t='4']")
    track = page.locator(f"{STAGE} input[type=range]").bounding_box()
    page.mouse.click(track["x"] + 0.75 * track["width"], track["y"] + 20)
    page.wait_for_selector(f"{STAGE}[data-t='1']")
    before = points(page, 1)
    assert after(page, lambda: page.get_by_role("button", name="New z").click()).forks
    assert points(page, 1) != before
    page.locator(f"{STAGE} canvas").nth(1).click(position={"x": 90, "y": 120})
    page.locator(".posterior").scroll_into_view_if_needed()
    page.wait_for_function(ASKED)
    assert json.loads(attribute(page, ".posterior", "answer"))["x"] != [0.3, 0.2], "what it asks about at first"
    is_drawn(page, 8)


def test_every_other_tab_is_drawn_and_the_tour_leads_through(visit):
    page = visit("?n=500", width=1440)
    open_tab(page, "Images", f"{GALLERY}[data-ready='1']")
    page.wait_for_selector(f"{EXPLORER}[data-truth='done']", timeout=WHILE)
    page.focus(f"{GALLERY} input[type=range]")
    page.keyboard.press("Home")
    page.click(f"{GALLERY} [data-act=next]")
    page.wait_for_selector(f"{GALLERY}[data-state='1']")
    is_drawn(page, 8)
    open_tab(page, "Why", f"{WHY}[data-ready='1']")
    page.focus(f"{WHY} .why-handle.flow")
    t = attribute(page, WHY, "t")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("([why, t]) => document.querySelector(why).dataset.t !== t", arg=[WHY, t])
    is_drawn(page, 3)
    open_tab(page, "Train", f"{LIVE}[data-ready='1']")
    page.click("#start")
    page.wait_for_selector(f"{LIVE}[data-state='training']", timeout=WHILE)
    page.wait_for_timeout(2000)
    page.click("#stop")
    page.wait_for_selector(f"{LIVE}[data-state='stopped']", timeout=WHILE)
    assert int(attribute(page, LIVE, "step")) > 0
    is_drawn(page, 4)
    open_tab(page, "Evidence", "#evidence-oracle table")
    page.wait_for_function("[...document.querySelectorAll('#evidence img[src]')].every(image => image.naturalWidth)")
    open_tab(page, "About", ".about .katex")
    page.click("[data-tour]")
    for step in range(10):
        page.wait_for_selector(f".tour[data-step='{step}']", timeout=WHILE)
        if step not in (5, 7, 8, 9):
            is_drawn(page, 3)
        page.click(".tour [data-go=next]")
    assert page.get_by_role("tab", name="Train").get_attribute("aria-selected") == "true"
