"""Your own data: what is drawn or uploaded becomes the data, exactly, and the link holds it."""

import numpy as np
import pytest

from ddgan.data.points import decode_points, from_points, thinned
from ddgan.data.tables import read_table
from ddgan.data.toys import TOYS, axes_of, data_label, law_of
from ddgan.diffusion.denoiser import ExactDenoiser
from ddgan.diffusion.sampler import Draws, sample
from ddgan.explorer.request import Request

STAGE = "#stage .stage"


def open_board(page):
    page.get_by_role("button", name="Your own data").click()
    page.wait_for_selector('.draw[data-ready="1"]')
    page.wait_for_function("document.querySelector('.draw canvas').width > 100")
    page.locator(".draw canvas").scroll_into_view_if_needed()
    return page.locator(".draw canvas").bounding_box()


def board(page):
    return page.evaluate("document.querySelector('.draw').board.points()")


def count(page):
    return int(page.get_attribute(".draw", "data-count"))


def data_of(page):
    """The request that the stage shows, once its data are own points."""
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('points')", timeout=60_000)
    return Request.from_query(page.get_attribute(STAGE, "data-id"))


def shows_the_law_of(page, request):
    """The exact law's last state on the stage is the library's, for the points that the name holds."""
    law = law_of(request.data)
    *_, last = sample(
        request.named_schedule(), ExactDenoiser(law), Draws.from_seeds(range(request.n), (2,), request.T, 3)
    )
    page.evaluate(f"i => document.querySelector('{STAGE}').stage.goto(i)", request.T)
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.t === '0'")
    seen = page.evaluate(f"document.querySelector('{STAGE}').stage.points(0)")
    assert len(seen) == request.n
    assert (
        max(abs(a - b) for p, q in zip(seen, last.x_s.tolist(), strict=True) for a, b in zip(p, q, strict=True)) < 3e-4
    )


def stroke(page, box, *corners):
    corners = [(box["x"] + u * box["width"], box["y"] + v * box["height"]) for u, v in corners]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=12)
    page.mouse.up()


def upload(page, path):
    with page.expect_file_chooser() as chooser:
        page.click("#upload-points")
    chooser.value.set_files(path)


def uploaded(page, path, text, words="are in the menu Data"):
    """Upload a table of this text; what the page says of it, once that has these words."""
    path.write_text(text)
    upload(page, path)
    return note(page, words)


def note(page, words):
    page.wait_for_function(
        "w => document.querySelector('.own-note').textContent.includes(w)", arg=words, timeout=60_000
    )
    return page.inner_text(".own-note")


@pytest.mark.parametrize("width", [1280, 390])
def test_points_drawn_with_the_mouse_become_the_law_and_the_link_holds_them(visit, width):
    page = visit("?n=500&denoisers=exact,ddgan", width=width)
    box = open_board(page)
    stroke(page, box, (0.2, 0.2), (0.8, 0.3), (0.5, 0.8))
    drawn = count(page)
    assert drawn > 40
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
    assert count(page) == drawn + 1, "a click is one point"
    x, y = board(page)[-1]
    assert (x, y) == (pytest.approx(-2.4, abs=0.05), pytest.approx(-2.4, abs=0.05))
    points = board(page)
    page.click("#use-points")
    request = data_of(page)
    # the name holds what was drawn, up to place, scale and rounding
    drawn = np.array(points)
    law = from_points(drawn, scale=(drawn - drawn.mean(0)).std())
    assert (law_of(request.data).mu - law.mu).abs().max() < 1e-3
    shows_the_law_of(page, request)
    assert page.input_value("#data input") == "your own points"
    assert "No DDGAN has been trained on these points yet" in page.inner_text(STAGE)
    assert Request.from_query(page.url.split("?")[1]) == request
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"

    again = visit("?" + page.url.split("?")[1], width=width)
    assert data_of(again) == request
    shows_the_law_of(again, request)
    assert again.input_value("#data input") == "your own points"
    open_board(again)
    assert count(again) == len(points), "the board has the points that the link holds"
    again.get_by_role("button", name="Train a DDGAN on these").click()
    again.wait_for_url("**tab=train**")
    again.wait_for_function("document.querySelector('#train-data input')?.value === 'your own points'")


def test_the_board_erases_undoes_and_clears(visit):
    page = visit("?n=500")
    box = open_board(page)
    stroke(page, box, (0.1, 0.5), (0.9, 0.5))
    drawn = board(page)
    page.get_by_text("Eraser", exact=True).click()
    stroke(page, box, (0.1, 0.5), (0.5, 0.5))
    left = board(page)
    # what is far from the rubber's way stays, what it went over is gone
    assert left == [p for p in drawn if p in left] and 0 < len(left) < len(drawn)
    assert all(x > -0.3 or abs(y) > 0.2 for x, y in left) and [p for p in drawn if p[0] > 0.3] == [
        p for p in left if p[0] > 0.3
    ]
    page.get_by_role("button", name="Undo", exact=True).first.click()
    assert board(page) == drawn
    page.get_by_role("button", name="Clear", exact=True).click()
    assert board(page) == []
    page.get_by_role("button", name="Undo", exact=True).first.click()
    assert board(page) == drawn


def test_the_board_works_by_keyboard_alone(visit):
    page = visit("?n=500&denoisers=exact")
    open_board(page)
    page.focus(".draw canvas")
    for key in ("ArrowRight", "Space", "ArrowRight", "ArrowRight", "ArrowUp", "Enter", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert board(page) == [[0, 0], [pytest.approx(0.2), pytest.approx(0.1)], [pytest.approx(0.2), 0]]
    page.keyboard.press("Control+z")
    assert count(page) == 2
    page.keyboard.press("Delete")  # the cursor is still at (0.2, 0), near both
    assert count(page) == 0
    page.focus(".draw [value=eraser]")  # every part of the board takes back its strokes
    page.keyboard.press("Control+z")
    assert count(page) == 2
    page.focus("#use-points")
    page.keyboard.press("Enter")
    assert len(decode_points(data_of(page).data)) == 2


@pytest.mark.parametrize("name", ["a smiley", "a spiral", "a heart"])
def test_every_example_is_a_law_as_it_stands(visit, name):
    page = visit("?n=500&denoisers=exact")
    open_board(page)
    page.get_by_role("button", name=name).click()
    assert 200 < count(page) <= 1000
    page.click("#use-points")
    shows_the_law_of(page, data_of(page))


def test_a_csv_becomes_the_data_and_a_long_one_is_thinned_and_says_so(visit, tmp_path):
    page = visit("?n=500&denoisers=exact")
    open_board(page)
    short, long = tmp_path / "square.csv", tmp_path / "long.csv"
    short.write_text("x,y\n" + "\n".join(f"{i % 7},{i // 7}" for i in range(49)))
    long.write_text("\n".join(f"{i % 60};{i // 60}" for i in range(1800)))
    upload(page, short)
    assert note(page, "square.csv") == "49 points of square.csv are in the menu Data: columns x and y, header skipped."
    request = data_of(page)
    assert (law_of(request.data).mu - from_points(read_table(short).points).mu).abs().max() < 1e-3
    shows_the_law_of(page, request)
    assert count(page) == 49, "the board shows them too"
    upload(page, long)
    assert "1,800 points of long.csv, 1,000 of them, evenly at random, are in the menu Data" in note(page, "long.csv")
    page.wait_for_function(
        f"b => document.querySelector('{STAGE}').dataset.id !== b", arg=request.to_query(), timeout=60_000
    )
    found = law_of(data_of(page).data)
    assert (found.mu - from_points(thinned(read_table(long).points)).mu).abs().max() < 1e-3


@pytest.mark.slow
def test_two_of_many_columns_are_chosen_and_keep_their_units(visit, tmp_path):
    page = visit("?n=500&denoisers=exact")
    open_board(page)
    people = "age;height;income;id\n" + "\n".join(
        f"{20 + i % 50};1,{i % 60 + 30};{30000 + 7919 * i % 90000};{i}" for i in range(99)
    )
    assert (
        uploaded(page, tmp_path / "PEOPLE.CSV", people, "choose") == "PEOPLE.CSV has 4 columns of numbers: choose two."
    )
    page.click("#own-y input")
    page.get_by_role("option", name="income").click()
    page.click("#use-columns")
    assert "columns age and income, semicolons between columns, header skipped, decimal comma" in note(
        page, "are in the menu Data"
    )
    request = data_of(page)
    assert [axis.name for axis in axes_of(request.data)] == ["age", "income"]
    shows_the_law_of(page, request)
    axes, limit = page.evaluate(f"(run => [run.axes, run.limit])(document.querySelector('{STAGE}').stage.run())")
    assert [axis["name"] for axis in axes] == ["age", "income"] and "60,000" in [text for _, text in axes[1]["ticks"]]
    assert law_of(request.data).mu.abs().max() < limit


@pytest.mark.slow
def test_a_point_is_typed_and_told_in_the_units_of_the_table(visit, tmp_path):
    page = visit("?n=500&denoisers=exact&t=1")
    open_board(page)
    people = "height,weight\n" + "\n".join(f"{160 + i % 30},{50000 + 1000 * (i % 41)}" for i in range(99))
    uploaded(page, tmp_path / "people.csv", people)
    shows_the_law_of(page, data_of(page))
    page.locator(".posterior").scroll_into_view_if_needed()
    axes, box = axes_of(data_of(page).data), page.locator("[data-in='0']")
    values = [float(page.locator(f"[data-in='{c}']").input_value()) for c in (0, 1)]
    expected = [axis.centre + axis.unit * x for axis, x in zip(axes, (0.3, 0.2), strict=True)]
    assert values == pytest.approx(expected, rel=0.01)
    box.fill("171")
    box.press("Enter")
    x = (171 - axes[0].centre) / axes[0].unit
    asked = "JSON.parse(document.querySelector('.posterior').dataset.answer ?? '{}').x?.[0]"
    page.wait_for_function(f"x => Math.abs({asked} - x) < 1e-3", arg=x)
    assert float(box.input_value()) == pytest.approx(171, abs=0.01 * axes[0].unit)
    page.focus(f"{STAGE} .stage-panels")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("document.querySelector('.step-machine .xt text').textContent.includes('=')")
    x, y = page.text_content(".step-machine .xt text").split("=")[1].split(", ")
    assert 100 < float(x) < 250 and 10_000 < float(y) < 120_000


def test_a_single_column_is_data_on_a_line(visit, tmp_path):
    page = visit("?n=500&denoisers=exact")
    open_board(page)
    line = ",length\n" + "\n".join(f"{i},{i % 7}.5" for i in range(60))
    assert "column 1 left out: it numbers the rows" in uploaded(page, tmp_path / "line.txt", line)
    assert law_of(data_of(page).data).shape == (1,)
    assert count(page) == 0, "the board is a plane"


def test_what_is_no_data_gets_one_sentence_and_the_picture_stays(visit, tmp_path):
    page = visit("?n=500&denoisers=exact")
    before = page.get_attribute(STAGE, "data-id")
    open_board(page)
    page.click("#use-points")
    assert "2 to 1000" in note(page, "pairs of numbers")
    path = tmp_path / "mine.csv"
    for content, words in {
        "once upon a time\nthere was\na law\n": "mine.csv has no column of numbers",
        "x,y\n1,2\n3,four\n": "3 of mine.csv must hold a finite number in column y, got 'four'",
        "1,2\n": "must be 2 to 1000 pairs of numbers, got 1",
        "1,2\n3,nan\n": "2 of mine.csv must hold a finite number",
        "1,2\n" * 5: "at least two different points",
        "1,2\n" * 300_000: "at most 1 MB",
    }.items():
        path.write_text(content)
        upload(page, path)
        said = note(page, words)
        assert said.count(".") - said.count(".csv") == 1 and page.locator(".own-note.failed").count() == 1
    assert page.get_attribute(STAGE, "data-id") == before
    assert page.input_value("#data input") == data_label(next(iter(TOYS)))


def test_a_link_whose_points_are_garbage_gets_a_sentence_and_the_first_view(visit):
    page = visit("?data=points:" + "A" * 7)
    assert "not understood" in page.inner_text(".stage-notice")
    assert Request.from_query(page.get_attribute(STAGE, "data-id")) == Request()


def test_a_finger_draws_and_the_page_does_not_scroll_under_it(visit):
    page = visit("?n=500&denoisers=exact", width=390)
    box = open_board(page)
    scrolled = page.evaluate("scrollY")
    finger = page.context.new_cdp_session(page)
    way = [(box["x"] + u * box["width"], box["y"] + u * box["height"]) for u in (0.2, 0.4, 0.6, 0.8)]
    for kind, (x, y) in zip(("touchStart", "touchMove", "touchMove", "touchMove"), way, strict=True):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function("+document.querySelector('.draw').dataset.count > 30")
    points = board(page)
    assert all(abs(x + y) < 1 for x, y in points), "along the diagonal that the finger went"
    assert page.evaluate("scrollY") == scrolled


def test_the_range_of_the_schedule_stands_below_the_open_box(visit):
    page = visit("")
    closed = page.locator("#range").bounding_box()
    open_board(page)
    box, below = (page.locator(at).bounding_box() for at in ("#own", "#range"))
    assert below["y"] >= box["y"] + box["height"]
    page.get_by_role("button", name="Your own data").click()
    page.wait_for_function("y => document.querySelector('#range').getBoundingClientRect().y === y", arg=closed["y"])
