"""Images: the bars of the class posterior follow the sample that is chosen, and can be read without seeing them."""

import pytest
from test_strips import GALLERY, READY, goto

from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.image_classes import ABSENT, bars

CLASSES = "#classes .classes"


def shown(page, asked, exact="done"):
    page.wait_for_selector(f'{CLASSES}[data-asked="{asked}"][data-exact="{exact}"]', timeout=30_000)
    return page.locator(f"{CLASSES} .classes-bar")


def test_the_bars_are_those_of_the_library_and_follow_the_chosen_sample(visit):
    page = visit("?data=mnist&n=4&hold=2", ready=READY)  # the page's training set has no labels: the row is shipped
    found = shown(page, "2.ddgan")
    request = Request.from_query(page.get_attribute(GALLERY, "data-id"))
    *_, answer = bars(Session(), ImageQuestion(request, 1, 2, "ddgan"))
    assert found.count() == 3 * 5 and page.locator(f"{CLASSES} .classes-name").count() == 3
    for k, row in enumerate(answer["rows"]):
        for i in range(5):
            parts = found.nth(5 * k + i).locator("i")
            shares = parts.evaluate_all("parts => parts.map(part => [part.dataset.name, +part.dataset.share])")
            expected = [(name, p) for name, p in zip(answer["classes"], row["p"][i], strict=True) if p >= 0.002]
            assert [name for name, _ in shares] == [name for name, _ in expected], (row["key"], i)
            assert [p for _, p in shares] == pytest.approx([p for _, p in expected], abs=0.02)
    said = found.nth(4).get_attribute("aria-label")
    assert said.startswith("Training set, exact, x₀: ") and said.endswith("100 %; entropy 0.00 nats")
    assert "not for the world" in page.inner_text(CLASSES)
    page.focus("#gallery .gallery-panels")
    page.keyboard.press("ArrowUp")
    shown(page, "1.ddgan")
    page.keyboard.press("Enter")
    shown(page, "1.regression")


def test_a_state_is_marked_while_it_is_shown_and_brings_the_gallery_there(visit):
    page = visit("?data=mnist&n=4", ready=READY)
    shown(page, "0.ddgan")
    now = f"{CLASSES} .classes-state[aria-current=step]"
    goto(page, 1)
    assert page.inner_text(now) == "x₃"
    page.click(f"{CLASSES} .classes-state >> nth=3")
    page.wait_for_selector(f'{GALLERY}[data-t="1"]')
    assert page.inner_text(now) == "x₁"


def test_where_no_training_set_can_answer_the_page_says_so_to_a_visitor(visit):
    page = visit("?data=mnist&n=4&seed=5&T=2", ready=READY)
    assert shown(page, "0.ddgan", "error").count() == 2 * 3
    assert ABSENT in page.inner_text(CLASSES)


@pytest.mark.parametrize(("data", "dark"), [("mnist", True), ("cifar10", False)])
def test_the_bars_fit_a_phone_and_a_wide_part_has_its_name(visit, data, dark):
    page = visit(f"?data={data}&n=4", width=390, dark=dark, ready=READY)
    found = shown(page, "0.ddgan")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = found.last.bounding_box()
    assert box["width"] > 40 and box["height"] > 15
    wide = "parts => parts.filter(part => part.textContent && part.scrollWidth > part.clientWidth + 1).length"
    assert page.locator(f"{CLASSES} i").evaluate_all(wide) == 0, "no name is cut"


def test_images_without_a_classifier_have_a_sentence(visit):
    page = visit("?data=stackedmnist&n=4&T=1", ready=READY)
    page.wait_for_function(f"document.querySelector('{CLASSES}').innerText.includes('No classifier of StackedMNIST')")


@pytest.mark.parametrize("query", ["?tab=images", "?data=mnist&T=8&n=16", "?data=mnist&T=8&n=9&seed=2"])
def test_strip_predictions_and_bars_are_on_the_first_screen_of_a_laptop(visit, query):
    page = visit(query, width=1366, height=768, ready=READY)
    bars = shown(page, "0.ddgan", "error" if "seed" in query else "done")
    boxes = [
        page.locator(name).first for name in (".gallery .stage-strip", ".gallery-grid canvas", ".gallery-way canvas")
    ]
    for box in (*boxes, bars.last):
        found = box.bounding_box()
        assert found["y"] >= 0 and found["y"] + found["height"] <= 768 and found["height"] >= 24
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("width", [1366, 390])
def test_the_ruler_has_the_states_on_the_curve_of_the_set_and_says_where_most_is_decided(visit, width):
    page = visit("?data=mnist&n=4", width=width, ready=READY)
    shown(page, "0.ddgan")
    ruler = page.locator(f"{CLASSES} .classes-ruler")
    assert ruler.locator(".tick").count() == 5 and ruler.locator("path[fill]").count() == 3 * 5
    said = ruler.locator("svg").get_attribute("aria-label")
    assert "Training set, exact: x₄ 2.3" in said and ruler.locator("figcaption").inner_text() in said
    band, axis = ruler.locator(".most").bounding_box(), ruler.locator("svg").bounding_box()
    ticks = [tick.bounding_box()["x"] for tick in ruler.locator(".tick").all()]
    assert ticks == sorted(ticks) and axis["x"] <= ticks[0] and ticks[-1] <= axis["x"] + axis["width"]
    assert band["x"] == pytest.approx(ticks[1], abs=2), "from x₃"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_long_way_scrolls_inside_its_panel(visit):
    page = visit("?data=mnist&n=1&T=16", width=390, ready='#gallery .gallery[data-ready="1"]')
    way, panel = (f"document.querySelector('.gallery-{name}')" for name in ("way", "panel"))
    page.wait_for_function(f"{way}.scrollWidth > {way}.clientWidth")
    assert page.evaluate(f"{way}.getBoundingClientRect().right - {panel}.getBoundingClientRect().right") <= 1
    assert page.evaluate("document.documentElement.scrollWidth") == 390
