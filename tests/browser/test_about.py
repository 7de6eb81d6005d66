"""The tour drives the real controls; links choose tabs and leave parts out."""

import pytest
from test_page import STAGE, drawn

from ddgan.explorer.request import Request

# what each step speaks of, in the view and not under the card
PLOTS = "#stage .stage-plot"
SPOKEN_OF = [*[PLOTS] * 4, "#posterior .truth .posterior-plot", PLOTS, PLOTS, "#why .why-plot",
    "#gallery .gallery-grids", "#train-buttons"]  # fmt: skip
LAST = len(SPOKEN_OF) - 1
SEEN = """([selector, most]) => { const card = document.querySelector('.tour').getBoundingClientRect();
  const boxes = [...document.querySelectorAll(selector)].slice(0, most).map(node => node.getBoundingClientRect());
  return boxes.length > 0 && boxes.every(({ left, right, top, bottom }) => top >= -1 && bottom <= innerHeight + 1 &&
    (right <= card.left || left >= card.right || bottom <= card.top || top >= card.bottom)); }"""
# terms: what is seen of one
TIP = "document.querySelector('.gloss-tip:not([hidden])')?.textContent"


@pytest.mark.parametrize(("width", "height"), [(1366, 640), (1280, 900), (390, 844), (390, 664)])
def test_the_tour_drives_the_real_controls(visit, width, height):
    page = visit(
        "?T=2&data=rings&n=500&schedule=cosine&span=0.1,0.9&denoisers=gaussian,ddgan", width=width, height=height
    )
    page.click("[data-tour]")
    steps = []
    for step, spoken_of in enumerate(SPOKEN_OF):
        page.wait_for_function(f"document.querySelector('.tour').dataset.step === '{step}'", timeout=60_000)
        assert page.inner_text(".tour-count") == f"{step + 1} of {LAST + 1}"
        if width > 1000 or step < 4:
            page.wait_for_function(SEEN, arg=[spoken_of, 3 if spoken_of == PLOTS else 1])
        if step > 7:
            page.click(".tour [data-go=next]")
            continue
        request = Request.from_query(drawn(page))
        steps.append((request.data, request.T))
        assert (request.schedule, request.span) == ("optimal" if step == 6 else "vp", None)
        if step != 5:
            assert request.denoisers == ("exact", "ddgan", "gaussian")
        if step == 2:
            assert page.is_checked(f"{STAGE} [data-layer=x0]")
        if step == 3:
            assert page.evaluate(f"document.querySelector('{STAGE}').stage.run().item") is not None
        page.click(".tour [data-go=next]")
    assert steps == [("25-gaussians", 4)] * 5 + [("25-gaussians", 64), ("25-gaussians", 4), ("25-gaussians", 4)]
    assert page.get_by_role("tab", name="Train").get_attribute("aria-selected") == "true"
    assert page.is_hidden(".tour")


def test_a_link_chooses_the_tab_and_leaves_parts_out(visit):
    page = visit("?hide=controls,posterior&T=3")
    assert page.is_hidden(".controls") and page.is_hidden("#posterior") and page.is_visible(STAGE)
    page = visit("?T=3")
    page.get_by_role("tab", name="About").click()
    page.wait_for_function("location.search.includes('tab=about')")
    page.get_by_role("heading", name="What you are looking at").wait_for()


@pytest.mark.parametrize("dark", [False, True])
def test_a_term_says_what_it_means_by_pointer_focus_and_tap(visit, dark):
    page = visit("?tab=about", ready=".about .katex", dark=dark)
    law, mode = page.locator(".about .gloss", has_text="law").first, page.locator(".about .gloss", has_text="z").first
    for term in (law, mode):
        assert min(term.bounding_box()[side] for side in ("width", "height")) >= 24
    law.hover()
    page.wait_for_function(f"{TIP}?.startsWith('A law is')")
    page.locator(".gloss-tip").hover()
    assert page.evaluate(TIP), "the pointer may go over into it"
    page.get_by_role("heading", name="What you are looking at").hover()
    page.wait_for_function(f"!{TIP}")
    mode.focus()
    page.wait_for_function(f"{TIP}?.startsWith('z holds')")
    box = page.locator(".gloss-tip p").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1280
    page.keyboard.press("Escape")
    page.wait_for_function(f"!{TIP}")
    law.click()
    page.wait_for_function(f"{TIP}?.startsWith('A law is')")
    page.mouse.click(5, 5)
    page.wait_for_function(f"!{TIP}")


@pytest.mark.parametrize("dark", [False, True])
def test_the_machine_is_drawn_in_the_colours_of_the_theme(visit, dark):
    page = visit("?tab=about", ready=".about .katex", dark=dark, width=390)
    picture = page.get_by_role("img", name="One step of a Denoising Diffusion GAN")
    assert 250 < picture.bounding_box()["width"] <= 390 and page.evaluate("document.body.scrollWidth") <= 390
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.querySelector('{of}')).{which}")
        for of, which in (("#machine text", "fill"), ("body", "backgroundColor"))
    )
    bright = [sum(map(int, colour[4:-1].split(","))) > 380 for colour in (ink, paper)]
    assert bright == [dark, not dark]
    assert page.locator("#machine [data-part]").count() == 8


def test_escape_closes_the_tour_wherever_the_focus_is(visit):
    page = visit("?n=500")
    page.click("[data-tour]")
    page.wait_for_selector(".tour[data-step='0']")
    page.focus(f"{STAGE} input[type=range]")
    page.keyboard.press("Escape")
    assert page.is_hidden(".tour")


def test_the_tours_last_card_does_not_cover_start(visit):
    page = visit("?tab=train", width=390, height=844, ready="#live .live[data-opened][data-run]")
    page.click("[data-tour]")
    for step in range(LAST):
        page.wait_for_selector(f".tour[data-step='{step}']")
        page.click(".tour [data-go=next]")
    page.wait_for_selector(f".tour[data-step='{LAST}']")
    page.wait_for_function(SEEN, arg=["#train-buttons", 1])


def test_the_tour_shows_what_it_speaks_of_whatever_was_hidden(visit):
    page = visit("?n=500&layers=x0,field")
    page.click("[data-tour]")
    page.wait_for_selector(".tour[data-step='0']")
    shown = {name: page.is_checked(f"[data-layer={name}]") for name in ("samples", "density", "x0", "paths", "field")}
    assert shown == {"samples": True, "density": True, "x0": False, "paths": True, "field": False}


def test_about_names_the_keys_of_the_scrubber_the_panels_and_the_boards(visit):
    page = visit("?tab=about", ready=".about .katex")
    keys = page.locator(".about tr", has_text="play, pause").locator("xpath=ancestor::table").inner_text()
    for key in ("Home, End", "Page up, Page down", "Enter", "Esc", "Delete", "dot of the schedule", "drawing board"):
        assert key in keys
