"""The tab Why in a real browser: what it draws is what the library computes, and it can be driven by every means."""

from urllib.parse import parse_qs, urlsplit

import pytest
import torch

from ddgan.data import toy
from ddgan.gaussianity import GRID, landscape, mean_gap
from ddgan.schedule import Schedule
from ddgan.request import Request
from ddgan.session import Session

WHY, ORACLE = "#why .why", "#oracle .oracle"
LINE, SCHEDULE = toy("4-gaussians-1d"), Schedule.vp(GRID)
STEPS = [(0, 64, -0.4), (16, 64, 0.5), (128, 256, 0.1), (63, 64, -1.2), (0, GRID, 2.0), (8, 300, -2.6)]


@pytest.fixture
def shown(visit):
    """The tab, opened."""

    def opened(query="", **kw):
        page = visit(query, **kw)
        page.get_by_role("tab", name="Why").click()
        page.wait_for_selector(f'{WHY}[data-ready="1"]', timeout=30_000)
        return page

    return opened


def ask(page, what, *values):
    return page.evaluate(f"([what, values]) => document.querySelector('{WHY}').why[what](...values)", [what, values])


def chosen(page):
    """(t, s, x) as drawn."""
    return tuple(page.evaluate(f"['t', 's', 'x'].map(k => +document.querySelector('{WHY}').dataset[k])"))


def until(page, expression):
    page.wait_for_function(f"(({{t, s, x, rows, running}}) => {expression})(document.querySelector('{WHY}').dataset)")


def link(page):
    """The parameter `why` of the address, once it stands there and has come to rest."""
    page.wait_for_function("new URLSearchParams(location.search).has('why')")
    page.wait_for_timeout(400)  # the address follows a pause in the choosing
    return [float(v) for v in parse_qs(urlsplit(page.url).query)["why"][0].split(",")]


def spot(page, figure, across, down):
    """The pixel at these parts of a picture's frame, from its left and its top."""
    page.locator(f"{WHY} .{figure} .why-plot").scroll_into_view_if_needed()
    box = page.locator(f"{WHY} .{figure} canvas").bounding_box()
    return box["x"] + 46 + across * (box["width"] - 56), box["y"] + 20 + down * (box["height"] - 44)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_browsers_laws_are_the_librarys(shown, width):
    page = shown(width=width)
    grid = 2.6 * (2 * (torch.arange(400, dtype=torch.float64) + 0.5) / 400 - 1)
    for s, t, x in STEPS:
        x_t, levels = torch.tensor([[x]], dtype=torch.float64), (SCHEDULE.level(s), SCHEDULE.level(t))
        q = LINE.reverse(x_t, *levels)
        assert ask(page, "gap", s, t, x) == pytest.approx(float(q.gap()), abs=1e-9)
        assert ask(page, "best", s, t, x) == pytest.approx([float(q.mean()), float(q.cov())], abs=1e-9)
        p = LINE.given(x_t[0], *levels).log_prob(grid[:, None]).exp()
        assert ask(page, "curve", s, t, x) == pytest.approx(p.tolist(), rel=1e-9, abs=1e-12)
        high = (p[1:-1] > p[:-2]) & (p[1:-1] > p[2:]) & (p[1:-1] > p.max() / 100)
        assert ask(page, "modes", s, t, x) == int(high.sum())
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"


def test_the_map_is_the_landscape_and_between_its_cells_nearly_the_mean_gap(shown):
    page, found = shown(), landscape(LINE)
    for i, j in ((0, 20), (10, 30), (5, 47)):
        t, s = int(found.level[j]), int(found.level[i])
        assert ask(page, "mean", t, s) == pytest.approx(float(found.gap[i, j]), abs=1e-9)
    for t in (64, 128, 256, 512):
        for T in (1, 2, 4, 8, 16):
            if (step := GRID // T) <= t:
                exact = float(mean_gap(LINE, SCHEDULE.level(t - step), SCHEDULE.level(t)))
                assert ask(page, "mean", t, t - step) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("width", [1280, 390])
def test_what_is_under_the_pointer_is_chosen_and_the_link_keeps_it(visit, shown, width):
    page = shown("?seed=7&T=2", width=width)
    assert "why=" not in page.url, "nothing was chosen yet"
    page.mouse.move(*spot(page, "flow", 0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*spot(page, "flow", 0.5, 0.25), steps=4)
    page.mouse.up()
    until(page, "Math.abs(t - 128) < 6")  # a quarter of the way: the axis is a square root
    t, s, x = chosen(page)
    assert abs(x - 1.3) < 0.05 and t - s == 48
    assert f"{ask(page, 'gap', s, t, x):.2f}" in page.inner_text(".why-numbers")
    assert link(page) == pytest.approx([t / GRID, s / GRID, x], abs=1e-3)
    request = Request.from_query(page.url.split("?")[1])
    assert (request.seed, request.T) == (7, 2), "the other parameters stay"
    again = visit("?" + page.url.split("?")[1], width=width, ready=f'{WHY}[data-ready="1"]')  # the link names the tab
    assert chosen(again) == pytest.approx((t, s, x), abs=1e-3)


def test_a_step_of_a_walk_is_chosen_on_the_map_and_a_fraction_in_the_ladder(shown):
    page = shown()
    octaves = lambda k: (k + 0.35) / 6.7  # noqa: E731
    page.mouse.click(*spot(page, "map", 0.5, octaves(2)))  # T = 4, from t = 1/4
    until(page, "t === '128' && s === '0'")
    page.mouse.click(*spot(page, "map", 0.75**0.5, octaves(3)))  # T = 8, from t = 6/8
    until(page, "t === '384' && s === '320'")
    page.get_by_role("button", name="1/2 of the way").click()
    until(page, "s === '192'")
    assert page.get_by_role("button", name="1/2 of the way").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="all the way").click()
    until(page, "s === '0'")


def test_everything_can_be_chosen_from_the_keyboard(shown):
    page = shown("?why=0.25,0.125,0.5")
    assert chosen(page) == (128, 64, 0.5)
    page.focus(f"{WHY} .why-handle.flow")
    page.keyboard.press("ArrowRight")
    until(page, "t === '136' && s === '72'")
    page.keyboard.press("ArrowUp")
    until(page, "Math.abs(x - 0.6) < 1e-9")
    page.keyboard.press("Shift+ArrowLeft")
    until(page, "t === '135'")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    until(page, "t - s === 32")
    page.keyboard.press("ArrowLeft")
    until(page, "t === '127' && t - s === 32")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    until(page, "s === '0'")
    text = page.get_attribute(f"{WHY} .why-handle.map", "aria-valuetext")
    assert f"KL {ask(page, 'gap', 0, 127, 0.6):.2f} nats" in text


@pytest.mark.parametrize("why", ["0.2,0.5,0", "1,0", "a,b,c", "", "nan,0,0", "2,1,0"])
def test_a_link_that_makes_no_sense_gets_a_sentence_and_the_first_view(shown, why):
    page = shown(f"?why={why}")
    assert "not understood" in page.inner_text(".why-notice")
    assert chosen(page) == (64, 16, -0.4)


def test_the_oracle_fills_its_table_with_the_sessions_numbers(shown):
    page = shown(width=390)
    page.click("#oracle-run")
    page.wait_for_selector(f'{ORACLE}[data-rows="8"][data-running="0"]', timeout=120_000)
    session = Session()
    for row, T in ((0, 1), (2, 4), (5, 32)):
        request = Request(T=T, denoisers=("exact", "ddgan", "gaussian", "mean"))
        cells = page.locator(f"{ORACLE} tbody tr").nth(row).locator("td").all_inner_texts()
        for cell, name in zip(cells, request.denoisers, strict=True):
            *_, last = session.run(request, name)
            score = session.score(request, last.x_s)
            share, modes = cell.split(" % ")
            assert abs(float(share) - 100 * score["on_mode"]) < 0.0501 and modes == f"({score['modes']})"
    assert page.locator(f"{ORACLE} tbody tr").nth(7).locator("td").all_inner_texts()[1] == "–", "it was not trained for 128 steps"
    assert page.locator(f"{ORACLE} svg polyline").count() == 4


def test_the_oracle_stops_when_asked_and_starts_again(shown):
    page = shown()
    page.click("#oracle-run")
    page.wait_for_selector(f'{ORACLE}[data-running="1"]:not([data-rows="0"])', timeout=30_000)
    page.click("#oracle-stop")
    page.wait_for_selector(f'{ORACLE}[data-running="0"]')
    page.wait_for_timeout(1500)
    done = int(page.get_attribute(ORACLE, "data-rows"))
    assert 1 <= done < 8 and page.get_attribute(ORACLE, "data-running") == "0"
    page.click("#oracle-run")
    page.wait_for_selector(f'{ORACLE}[data-rows="8"][data-running="0"]', timeout=120_000)
