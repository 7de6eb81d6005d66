"""The landscape: there once it is asked for, all surfaces seen from one place,
and the same as a file without a server.
"""

import json

import pytest
from plotly.offline import get_plotlyjs
from test_click import BOX, answered

from ddgan.explorer.posterior import Question
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.landscape import MARK, page, write
from ddgan.views.looks import COLOURS, mixed

WHILE = 120_000  # ms: three surfaces without a GPU, on two cores
FOLD, PLOT = f"{BOX} .posterior-fold", ".landscape-plot"
DRAWN = f"{PLOT}:not([data-drawn='0'])"
# where plotly itself sees each scene from
EYES = f"""() => {{ const layout = document.querySelector('{PLOT}')._fullLayout;
  return Object.keys(layout).filter(key => /^scene\\d*$/.test(key))
    .map(key => layout[key]._scene.getCamera().eye); }}"""
LOADED = "performance.getEntriesByType('resource').some(({ name }) => name.includes('plotly'))"


def eyes(document, act):
    """The eyes of all scenes after an act that turns them."""
    before = document.evaluate(EYES)
    act()
    document.wait_for_function(
        f"before => JSON.stringify(({EYES})()) !== before", arg=json.dumps(before, separators=(",", ":")), timeout=WHILE
    )
    return document.evaluate(EYES)


def turn_together(document, surfaces=3):
    """What one does to one of them, all do: by keys, by a drag and by a button."""
    document.focus(PLOT)
    box = document.locator(PLOT).bounding_box()

    def drag():
        x, y = box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2
        document.mouse.move(x, y)
        document.mouse.down()
        document.mouse.move(x + 60, y + 30)
        document.mouse.up()

    first = document.evaluate(EYES)
    for act in (
        lambda: document.keyboard.press("ArrowLeft"),
        drag,
        document.get_by_role("button", name="From above").click,
    ):
        found = eyes(document, act)
        assert len(found) == surfaces and all(eye == pytest.approx(found[0]) for eye in found)
    again = eyes(document, document.get_by_role("button", name="First view").click)
    assert [pytest.approx(eye, abs=1e-6) for eye in first] == again


def test_it_comes_when_it_is_opened_and_all_its_surfaces_turn_together(visit):
    page = visit("?n=500")
    answered(page)
    assert page.evaluate(LOADED) is False and page.locator(PLOT).count() == 0
    page.click(f"{FOLD} summary")
    page.wait_for_selector(f"{FOLD}[data-landscape] {DRAWN}", timeout=WHILE)
    assert page.evaluate(LOADED) and "landscape=1" in page.url
    turn_together(page)
    page.focus(PLOT)
    eye = eyes(page, lambda: page.keyboard.press("ArrowUp"))[0]
    page.select_option(f"{BOX} select", "3")
    page.wait_for_selector(f"{FOLD}[data-landscape*='\"t\":3']", timeout=WHILE)
    assert all(other == pytest.approx(eye) for other in page.evaluate(EYES)), "another x_t is seen from the same place"
    assert "= 4, step x₃ → x₂" in page.inner_text(f"{FOLD} .landscape-note")


def test_a_link_opens_it_in_the_page_s_theme_and_one_below_the_other_on_a_phone(visit):
    page = visit("?n=500&at=1,0.5,-0.25,x_0&landscape=1", width=390, dark=True)
    page.locator(BOX).scroll_into_view_if_needed()
    page.wait_for_selector(f"{FOLD}[data-landscape] {DRAWN}", timeout=WHILE)
    domains = page.evaluate(
        f"document.querySelector('{PLOT}').data"
        f".map(({{ scene }}) => document.querySelector('{PLOT}').layout[scene].domain)"
    )
    assert [domain["x"] for domain in domains] == [[0, 1]] * 3 and domains[0]["y"][0] > domains[1]["y"][1] > domains[2][
        "y"
    ][1]
    colour = f"document.querySelector('{PLOT}')._fullData[0].colorscale[0][1]"
    ground = [mixed(COLOURS["plot"][k], COLOURS["density"][k], 0.14) for k in (0, 1)]
    assert page.evaluate(colour) == ground[1]
    page.evaluate("document.body.classList.remove('dark')")
    page.wait_for_function(f"ground => {colour} === ground", arg=ground[0], timeout=WHILE)
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner


def test_what_is_saved_is_the_librarys_file(visit, address):
    shown = visit("?n=500&at=2,0.5,-0.25,x_s&landscape=1")
    shown.locator(BOX).scroll_into_view_if_needed()
    shown.wait_for_selector(f"{FOLD}[data-landscape] {DRAWN}", timeout=WHILE)
    asked = Question.parse(json.loads(shown.get_attribute(BOX, "data-answer")))
    with shown.expect_download(timeout=WHILE) as made:
        shown.get_by_role("button", name="Save as a file").click()
    assert made.value.suggested_filename == "ddgan-25-gaussians-T4-t2-x_s.html"
    with open(made.value.path(), encoding="utf-8") as file:
        assert file.read() == page(Session(), asked, address).replace(MARK, get_plotlyjs())


def test_the_file_needs_no_server_and_turns_as_the_page_does(browser, tmp_path):
    write(tmp_path / "x.html", Session(), Question.of_words(Request("rings"), "1,0.3,0.2,x_0"))
    context = browser.new_context(color_scheme="dark", offline=True, viewport={"width": 1100, "height": 800})
    document, errors = context.new_page(), []
    document.on("pageerror", lambda error: errors.append(str(error)))
    document.on(
        "request",
        lambda request: errors.append(request.url) if not request.url.startswith(("file:", "blob:", "data:")) else None,
    )
    document.goto((tmp_path / "x.html").as_uri(), wait_until="domcontentloaded")
    document.wait_for_selector(DRAWN, timeout=WHILE)
    assert document.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(14, 16, 23)", (
        "dark, as the system is"
    )
    turn_together(document)
    assert not errors
    context.close()


def test_a_line_has_none_and_says_so(visit):
    page = visit("?data=4-gaussians-1d&n=500&landscape=1")
    page.locator(BOX).scroll_into_view_if_needed()
    page.get_by_text("A landscape needs two coordinates").wait_for()
    assert not page.locator(f"{FOLD} .landscape-save").is_visible()


def test_all_of_its_surfaces_are_seen(visit):
    page = visit("?n=500&at=1,0.5,-0.25,x_0&landscape=1")
    page.locator(BOX).scroll_into_view_if_needed()
    page.wait_for_selector(f"{FOLD}[data-landscape] {DRAWN}", timeout=WHILE)
    seen = "canvases => canvases.map(canvas => canvas.checkVisibility({ visibilityProperty: true }))"
    assert page.eval_on_selector_all(f"{PLOT} canvas", seen) == [True] * 3
