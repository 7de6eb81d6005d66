"""The tab Why in a real browser: what it draws is what the library computes, and it can be driven by every means."""

from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from test_page import on_paper

from ddgan.data.toys import toy
from ddgan.diffusion.gaussianity import VP_LEVELS, bound, gap_map, mean_gap, optimal, vp_time
from ddgan.diffusion.schedule import Schedule
from ddgan.explorer.methods import METHODS
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.recorded import RACED, raced

WHY, RACE = "#why .why", "#race .race"
WHILE = 120_000  # ms
DATA = "4-gaussians-1d"
LINE, SCHEDULE = toy(DATA), Schedule.vp(VP_LEVELS)
STEPS = [(0, 64, -0.4), (16, 64, 0.5), (128, 256, 0.1), (63, 64, -1.2), (0, VP_LEVELS, 2.0), (8, 300, -2.6)]


@pytest.fixture
def shown(visit):
    """The tab, opened."""

    def opened(query="", **kw):
        page = visit(query, **kw)
        page.get_by_role("tab", name="Why").click()
        page.wait_for_selector(f'{WHY}[data-ready="1"]', timeout=60_000)
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


def test_the_map_is_the_gap_map_and_between_its_cells_nearly_the_mean_gap(shown):
    page, found = shown(), gap_map(LINE)
    for i, j in ((0, 20), (10, 30), (5, 47)):
        t, s = int(found.level[j]), int(found.level[i])
        assert ask(page, "mean", t, s) == pytest.approx(float(found.gap[i, j]), abs=1e-9)
    for t in (64, 128, 256, 512):
        for T in (1, 2, 4, 8, 16):
            if (step := VP_LEVELS // T) <= t:
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
    assert f"{ask(page, 'gap', s, t, x):.2f} nats" in page.inner_text(".why-numbers")
    assert f"{ask(page, 'mean', t, s):.2f} nats" in page.inner_text(".why-numbers")
    assert link(page) == pytest.approx([t / VP_LEVELS, s / VP_LEVELS, x], abs=1e-3)
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


def stands(page, schedule, T):
    """The path of this schedule is on the map."""
    page.wait_for_selector(f"{WHY}[data-path='{schedule},{T}']", timeout=WHILE)


def on_map(schedule):
    """The steps of a schedule as [t, length] on the map, from noise to data."""
    t = vp_time(schedule.level(torch.arange(schedule.T + 1)))
    shortest = VP_LEVELS * 2 ** (0.35 - 6.7)
    return [
        [pytest.approx(float(t[k])), pytest.approx(max(shortest, float(t[k] - t[k - 1])))]
        for k in range(schedule.T, 0, -1)
    ]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_map_has_the_path_of_the_schedule_and_the_best_one_and_says_their_bounds(shown, width):
    page = shown(width=width)
    stands(page, "vp", 4)
    assert ask(page, "path", "chosen") == [
        [pytest.approx(t, abs=1e-6), pytest.approx(128, abs=1e-6)] for t in (512, 384, 256, 128)
    ]
    assert ask(page, "path", "best") == on_map(optimal(LINE, 4))
    said, least = page.inner_text(f"{WHY} .why-path p"), f"{bound(LINE, optimal(LINE, 4)):.2f}"
    assert (
        said.startswith(f"vp, T = 4: {bound(LINE, Schedule.vp(4)):.2f} nats; the best four steps: {least}.")
        and "edge" not in said
    )
    page.select_option(f"{WHY} [name=schedule]", "geometric")
    stands(page, "geometric", 4)
    page.focus(f"{WHY} [name=steps]")
    for _ in range(5):
        page.keyboard.press("ArrowDown")
    stands(page, "geometric", 32)
    assert ask(page, "path", "chosen") == on_map(Schedule.named("geometric", 32))
    said, least = page.inner_text(f"{WHY} .why-path p"), bound(LINE, Schedule.named("geometric", 32))
    assert f"geometric, T = 32: {least:.2f} nats" in said
    assert "steps are shorter than the map shows: drawn at its edge" in said
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert "path=geometric,32" in page.url
    page.select_option(f"{WHY} [name=schedule]", "optimal")
    stands(page, "optimal", 32)
    assert "no other 32 steps lose less" in page.inner_text(f"{WHY} .why-path p")
    page.select_option(f"{WHY} [name=steps]", "1")
    stands(page, "optimal", 1)
    assert "no other single step loses less" in page.inner_text(f"{WHY} .why-path p")


@pytest.mark.parametrize(
    ("asked", "path"), [("cosine,8", "cosine,8"), ("cosine,5", "vp,4"), ("<b>,4", "vp,4"), ("", "vp,4")]
)
def test_a_link_chooses_a_path_that_there_is(shown, asked, path):
    stands(shown(f"?path={asked}"), *path.split(","))


# ---------------------------------------------------------------- the race

RUN, STOP = "#race-run", "#race-stop"
# {name of a line: its values}, as plotly has them
DRAWN = (
    "Object.fromEntries(document.querySelector('.race-plot').data.map(({ name, customdata }) => [name, customdata]))"
)


def race(page, **data):
    """Wait until the race has these."""
    page.wait_for_selector(RACE + "".join(f"[data-{name}='{value}']" for name, value in data.items()), timeout=WHILE)


def entries(page):
    return int(page.get_attribute(RACE, "data-entries"))


def some(page, more_than=0):
    page.wait_for_function(f"document.querySelector('{RACE}').dataset.entries > {more_than}", timeout=WHILE)


def choose(page, control, name):
    page.click(f"#race-{control} input")
    page.get_by_role("listbox").get_by_role("option", name=name, exact=True).click()


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_race_draws_the_sessions_numbers_in_any_measure_and_computes_them_once(shown, width, dark):
    page, session = shown(f"?race={DATA},vp,energy", width=width, dark=dark), Session()
    race(page, drawn=f"{DATA},vp,energy")
    if not entries(page):  # of another test
        assert page.is_visible(f"{RACE} .race-empty") and not page.is_visible(f"{RACE} .race-plot")
        page.click(RUN)
    some(page)
    race(page, running=0, drawn=f"{DATA},vp,energy")
    page.locator(f"{RACE} .race-plot").scroll_into_view_if_needed()  # what is far out of sight is not drawn
    page.wait_for_function("document.querySelector('.race-plot').data?.some(({ x }) => x.includes(127))", timeout=WHILE)

    def compare(measure):
        found = page.evaluate(DRAWN)
        for name, k in (("exact", 0), ("gaussian", 3), ("heun", 3), ("dpm", 5), ("flow", 0)):
            request = Request(DATA, (name,), 2**k)
            *_, last = session.run(request, name)
            assert found[METHODS[name].label][k] == pytest.approx(session.score(request, last.x_s)[measure])

    compare("energy")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    choose(page, "measure", "Width of the modes")
    race(page, drawn=f"{DATA},vp,width")
    compare("width")
    assert not asked, "another measure is no run"
    assert f"race={DATA},vp,width" in page.url.split("?")[1].split("&")
    words = page.inner_text(f"{RACE} .race-words")
    assert "DDGAN: not with T = 64; this model knows up to 50 steps of vp" in words
    page.click(f"{RACE} summary")
    row = page.get_by_role("row", name="Best Gaussian").locator("td").all_inner_texts()
    assert len(row) == 7 and row[0] == f"{page.evaluate(DRAWN)['Best Gaussian'][0]:.2f}"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for part in (".xtick text", ".legendtext", ".annotation-text"):
        colour = page.evaluate(f"getComputedStyle(document.querySelector('.race-plot {part}')).fill")
        assert (sum(map(int, colour[4:-1].split(","))) > 380) is dark, part


def test_the_race_opens_filled_with_what_is_shipped_and_says_so(shown):
    page, found = shown(), raced(*RACED)
    race(page, drawn="25-gaussians,vp,energy", entries=0, running=0, shown=len(found.entries))
    assert page.inner_text(f"{RACE} .race-source") == (
        f"Shipped results (commit {found.commit}, seed 0, 2,000 samples): press Race to compute them here."
    )
    assert not page.is_visible(f"{RACE} .race-empty")
    height = on_paper(page, f"document.querySelector('{RACE} .race-plot').clientHeight")
    assert height == 0, "on paper no blank stands for a figure that was never in sight"
    page.locator(f"{RACE} .race-plot").scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.race-plot').data?.some(({ x }) => x.includes(127))", timeout=WHILE)
    drawn = page.evaluate(DRAWN)
    for name, T, k in (("exact", 1, 0), ("gaussian", 8, 3), ("flow", 1, 0)):
        assert drawn[METHODS[name].label][k] == pytest.approx(found.entries[name, T].scores["energy"])
    page.click(RUN)
    some(page)
    page.click(STOP)
    race(page, running=0)
    page.wait_for_function(f"document.querySelector('{RACE} .race-source').textContent.includes('computed here')")
    assert int(page.get_attribute(RACE, "data-shown")) == len(found.entries)


def test_a_mark_tells_the_method_what_it_paid_its_schedule_and_what_its_value_may_hide(shown):
    page = shown(f"?race={DATA},geometric,energy")
    race(page, drawn=f"{DATA},geometric,energy")
    page.click(RUN)
    some(page)
    page.wait_for_selector(".race-plot .trace .point")
    mark, text = page.locator(".race-plot .trace").nth(0).locator(".point").first, page.locator(".race-plot .hovertext")
    for _ in range(40):  # each row that comes draws the marks anew, and none of them is pointed at then
        page.mouse.move(0, 0)
        mark.hover(force=True)
        page.wait_for_timeout(250)
        if text.count():
            break
    told = text.text_content(timeout=1000)
    for words in ("geometric, T = 1, 1 evaluation", "Energy distance", "of 4 modes", "on a mode"):
        assert words in told
    if page.is_enabled(STOP):
        page.click(STOP)


def test_another_schedule_is_another_race_and_a_stop_leaves_what_there_is(shown):
    page = shown("?race=checkerboard,vp,energy")
    race(page, drawn="checkerboard,vp,energy", entries=0, running=0)
    page.click(RUN)
    some(page)
    assert page.is_disabled(RUN), "one run at a time"
    page.click(STOP)
    race(page, running=0)
    page.wait_for_timeout(1500)
    done = entries(page)
    assert done >= 1 and page.is_visible(f"{RACE} .race-plot") and "Stopped" in page.inner_text(".race-state")
    choose(page, "schedule", "cosine")
    race(page, drawn="checkerboard,cosine,energy", entries=0)
    assert page.is_visible(f"{RACE} .race-empty") and not page.inner_text(".race-state"), "this one was not stopped"
    choose(page, "schedule", "vp (paper)")
    race(page, drawn="checkerboard,vp,energy")
    assert entries(page) == done, "it stays"
    page.click(RUN)
    some(page, more_than=done)
    held, done = [], entries(page)
    page.route("**/cancel*", lambda route: held.append(route))
    page.click(STOP)
    race(page, running=0)
    page.click(RUN)  # before the server has heard of the stop
    race(page, running=1)
    for route in held:
        route.continue_()
    some(page, more_than=done)


@pytest.mark.parametrize("asked", ["25-gaussians,nothing,energy", "a,b", "", "25-gaussians"])
def test_a_link_to_no_race_shows_the_first_for_what_is_none(shown, asked):
    page = shown(f"?race={asked}")
    race(page, drawn="25-gaussians,vp,energy")
