"""The posterior at a click: what the page shows is what the library computes for that point."""

import itertools
import json

import pytest
from test_page import choose, is_flat, on_paper

from ddgan.explorer.posterior import Question, ask
from ddgan.explorer.session import Session
from ddgan.views.posterior import posterior

BOX = ".posterior"


def answered(page, act=None):
    """(question, answer) of the posterior that is drawn, after an act that changes it."""
    if act is None:
        page.locator(BOX).scroll_into_view_if_needed()
    before = page.get_attribute(BOX, "data-answer") if act else None
    if act:
        act()
    page.wait_for_function(
        f"b => (document.querySelector('{BOX}').dataset.answer ?? b) !== b", arg=before, timeout=60_000
    )
    page.wait_for_timeout(300)
    plain = "(_, v) => ArrayBuffer.isView(v) ? [...v] : v"
    shown = page.evaluate(f"JSON.stringify(document.querySelector('{BOX}').answer, {plain})")
    return json.loads(page.get_attribute(BOX, "data-answer")), json.loads(shown)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_posterior_of_a_click_is_the_librarys(visit, width):
    page = visit(width=width)
    asked, shown = answered(page)
    assert (asked["t"], asked["of"]) == (1, "x_0")
    page.evaluate("document.querySelector('#stage .stage').stage.goto(2)")  # x_2
    canvas = page.locator("#stage .stage canvas").first
    asked, shown = answered(page, lambda: canvas.click(position={"x": 90, "y": 120}))
    assert asked["t"] == 2
    found = posterior(Session(), Question.parse(asked))
    assert shown == json.loads(json.dumps(found, default=lambda array: array.ravel().tolist()))
    answer = ask(Session(), Question.parse(asked))
    assert shown["gap"] == pytest.approx(answer.gap) and shown["modes"] == answer.modes
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner


def test_on_paper_no_answer_stands_below_the_panels_of_another_law(visit):
    page = visit(width=1280)
    answered(page)
    seen = f"document.querySelector('{BOX}').checkVisibility()"
    assert on_paper(page, seen)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    choose(page, "data", "two moons")
    page.wait_for_function("document.querySelector('#stage .stage').dataset.id.includes('two-moons')")
    page.wait_for_timeout(300)
    assert not on_paper(page, seen)


def test_the_answer_to_a_click_stands_beside_the_panels_until_it_is_closed(visit):
    page = visit("?t=1", width=1366, height=768)
    answered(page, lambda: page.locator("#stage .stage canvas").nth(1).click(position={"x": 90, "y": 120}))
    edges = """() => ['#stage', '#posterior', '.posterior-cell.truth canvas'].map(
      selector => document.querySelector(selector).getBoundingClientRect()).map(
      ({ left, right, top, bottom }) => ({ left, right, top, bottom }))"""
    stage, box, truth = page.evaluate(edges)
    assert stage["right"] <= box["left"] and abs(stage["top"] - box["top"]) < 2 and truth["bottom"] <= 768
    page.get_by_role("button", name="Close").click()
    stage, box, _ = page.evaluate(edges)
    assert box["top"] >= stage["bottom"]


def test_arrow_keys_walk_and_numbers_and_steps_can_be_chosen(visit):
    page = visit("?at=1,0.5,-0.25,x_s")
    asked, _ = answered(page)
    assert (asked["t"], asked["x"], asked["of"]) == (1, [0.5, -0.25], "x_s")
    page.focus(f"{BOX} .map .posterior-plot")
    asked, _ = answered(page, lambda: page.keyboard.press("ArrowRight"))
    assert asked["x"] == pytest.approx([0.55, -0.25])
    asked, _ = answered(page, lambda: page.select_option(f"{BOX} select", "3"))
    assert asked["t"] == 3

    def typed():
        page.fill(f"{BOX} [data-in='1']", "1.5")
        page.keyboard.press("Enter")

    asked, _ = answered(page, typed)
    assert asked["x"] == pytest.approx([0.55, 1.5])
    assert "at=3,0.55,1.5,x_s" in page.url


@pytest.mark.parametrize(("query", "dark"), [("at=1,0.3,0.2,x_0", False), ("data=4-gaussians-1d&at=2,0.3,x_s", True)])
def test_draws_are_shown_as_points_or_as_their_density_and_the_link_knows(visit, query, dark):
    page = visit("?n=500&" + query, dark=dark)
    _, shown = answered(page)
    pictures = f"[...document.querySelectorAll('{BOX} canvas')].map(canvas => canvas.toDataURL())"
    points = page.evaluate(pictures)
    page.focus(f"{BOX} [value=points]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('draws=density')")
    density = page.evaluate(pictures)
    # the map and the truth stay, every denoiser's picture changes, the discriminators stay
    assert [a != b for a, b in zip(points, density, strict=True)] == [False] * 2 + [True] * 3 + [False] * 2
    again = visit("?" + page.url.split("?")[1], dark=dark)
    answered(again)
    assert again.is_checked(f"{BOX} [value=density]")
    assert page.locator(f"{BOX} figcaption", has_text="density of 800 draws").count() == 3
    heaviest = " ".join(page.locator(f"{BOX} dd").all_inner_texts())
    assert (
        ", ".join(f"{100 * m['weight']:.{0 if m['weight'] >= 0.0995 else 1}f}" for m in shown["weights"][:3])
        in heaviest
    )


def test_memory_is_flat_over_two_hundred_posteriors(visit):
    page = visit("?n=500&draws=density")
    answered(page)
    page.focus(f"{BOX} .map .posterior-plot")
    keys = itertools.cycle(["ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"])

    def walk():
        before = page.get_attribute(BOX, "data-answer")
        page.keyboard.press(next(keys))
        page.wait_for_function(f"b => document.querySelector('{BOX}').dataset.answer !== b", arg=before)

    is_flat(page, walk)


def test_a_denoiser_that_refuses_says_so_here_too(visit):
    page = visit("?T=128&n=500&at=64,0.1,0.1,x_s")
    _, shown = answered(page)
    assert "steps of vp: choose 50 or fewer" in shown["panels"][1]["error"]
    assert "steps of vp: choose 50 or fewer" in page.inner_text(BOX)


def test_a_map_that_was_lost_on_the_way_is_asked_for_again(visit):
    page = visit("?n=500")
    answered(page)
    lost = []

    def lose(route):
        lost.append(route)
        route.abort()

    page.route("**/map?*", lose, times=1)
    with page.expect_response(lambda response: "/map?" in response.url):
        answered(page, lambda: page.select_option(f"{BOX} select", "2"))
    assert lost and "ERR_FAILED" in visit.errors.pop()


def test_the_panels_beside_an_answer_are_of_one_size_and_apart(visit):
    page = visit("?t=1", width=1366, height=768)
    answered(page, lambda: page.locator("#stage .stage canvas").nth(1).click(position={"x": 90, "y": 120}))
    edges = "nodes => nodes.map(node => node.getBoundingClientRect()).map(({ left, right }) => [left, right])"
    plots, numbers = (page.eval_on_selector_all(f"#stage {part}", edges) for part in (".stage-plot", ".stage-main"))
    assert len({round(right - left) for left, right in plots}) == 1
    for boxes in (plots, numbers):
        assert all(before[1] + 8 < after[0] for before, after in itertools.pairwise(boxes))


@pytest.mark.parametrize("part", ["#stage .stage-panels", f"{BOX} [data-in='0']"])
def test_escape_closes_the_answer_beside_and_the_focus_is_on_the_panels(visit, part):
    page = visit("?t=1", width=1366, height=768)
    beside, held = (
        "document.documentElement.hasAttribute('data-beside')",
        "document.querySelector('#stage .stage').stage.run().item !== null",
    )
    answered(page, lambda: page.locator("#stage .stage canvas").nth(1).click(position={"x": 90, "y": 120}))
    page.focus("#data input")
    page.wait_for_selector("[role=option] >> nth=0")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.querySelector('[role=option]')")
    assert page.evaluate(beside), "the list was closed"
    page.focus(part)
    page.keyboard.press("Escape")
    assert page.evaluate(f"[{beside}, {held}]") == [False, True]
    assert page.evaluate("document.activeElement.className") == "stage-panels"
    page.keyboard.press("Escape")
    assert not page.evaluate(held), "once more lets go of the sample"
