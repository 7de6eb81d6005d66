"""The tab Denoise in a real browser."""

import pytest
from playwright.sync_api import TimeoutError as Late

from ddgan.diffusion.schedule import FAMILIES
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session

STAGE = "#stage .stage"


def points(page, panel):
    return page.evaluate(f"p => document.querySelector('{STAGE}').stage.points(p)", panel)


def drawn(page):
    return page.get_attribute(STAGE, "data-id")


def after(page, act):
    """Do something, and wait until the stage has drawn another request."""
    before = drawn(page)
    act()
    page.wait_for_function(
        f"b => (({{id, scored}}) => id !== b && scored === id)(document.querySelector('{STAGE}').dataset)",
        arg=before,
        timeout=60_000,
    )
    return Request.from_query(drawn(page))


def painted(page, opened):
    """Wait until what an opened tab or accordion holds has been painted:
    until then Gradio writes its own values over what is typed.
    """
    page.wait_for_selector(opened)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def choose(page, control, option, timeout=None):
    page.click(f"#{control} input")
    page.get_by_role("option", name=option, exact=True).click(timeout=timeout)


def on_paper(page, expression, before=""):
    """The value of the expression as the page is printed, right after the statement `before`."""
    page.emulate_media(media="print")
    found = page.evaluate(f"{before}; dispatchEvent(new Event('beforeprint')); {expression}")
    page.emulate_media(media="screen")
    return found


def is_flat(page, update):
    """Two hundred updates leave neither megabytes nor elements behind."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def used():
        devtools.send("HeapProfiler.collectGarbage")
        metrics = {m["name"]: m["value"] for m in devtools.send("Performance.getMetrics")["metrics"]}
        return metrics["JSHeapUsedSize"] / 1e6, metrics["Nodes"]

    for _ in range(20):
        update()
    before = used()
    for _ in range(200):
        update()
    now = used()
    assert now[0] - before[0] < 4, "megabytes"
    assert now[1] - before[1] < 500, "elements"


def show_state(page, i):
    page.evaluate(f"i => document.querySelector('{STAGE}').stage.goto(i)", i)
    page.wait_for_function(f"i => document.querySelector('{STAGE}').stage.state() === i", arg=i)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_view_is_the_librarys_samples_on_one_noise(visit, width):
    page = visit(width=width)
    request = Request.from_query(drawn(page))
    assert request == Request()
    assert page.locator(f"{STAGE} canvas").count() >= 3
    for panel, name in enumerate(request.denoisers):
        steps = list(Session().run(request, name))
        for i, x in ((0, steps[0].x_t), (2, steps[1].x_s), (4, steps[-1].x_s)):
            show_state(page, i)
            seen = points(page, panel)
            assert len(seen) == request.n
            assert (
                max(
                    abs(a - b)
                    for p, q in zip(seen, x.clamp(-6, 6).tolist(), strict=True)
                    for a, b in zip(p, q, strict=True)
                )
                < 3e-4
            )
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"


@pytest.mark.parametrize(
    "tab, picture", [("denoise", f"{STAGE} canvas"), ("images", ".gallery-grid canvas"), ("train", "#live canvas")]
)
def test_a_phone_shows_a_picture_before_it_is_scrolled(visit, tab, picture):
    page = visit(f"?tab={tab}", width=390, height=664, ready=picture)
    page.wait_for_function(
        "picture => { const {top, width} = document.querySelector(picture).getBoundingClientRect(); "
        "return width && top + 100 <= innerHeight }",
        arg=picture,
    )


IN_VIEW = """(...selectors) => selectors.flat().flatMap(selector => [...document.querySelectorAll(selector)]).map(
  node => { const { top, bottom } = node.getBoundingClientRect(); return top >= 0 && bottom <= innerHeight; })"""


def test_a_projector_shows_controls_panels_and_their_main_numbers_at_once(visit):
    page = visit("?t=0", width=1366, height=768)
    parts = [".stage-plot", ".stage-main", "[data-fork=z]", "#T", "#dice", "#range", "#own"]
    assert page.evaluate(IN_VIEW, parts) == [True] * (3 + 3 + 5)
    assert page.locator(".stage-main").all_inner_texts()[1].startswith("Samples: 25/25 modes, 9")
    page.keyboard.press("p")
    page.wait_for_url("**present=1**")
    assert not page.locator("#T").is_visible() and page.evaluate(IN_VIEW, ".stage-plot") == [True] * 3
    page.keyboard.press("p")
    assert page.locator("#T").is_visible() and "present" not in page.url


def test_the_diagram_of_a_step_follows_the_scrubber_and_the_held_sample(visit):
    page = visit("?n=500&hold=7")
    for i, (t, s) in {1: (3, 2), 3: (1, 0), 4: (1, 0)}.items():  # at x_0 the step that made it
        shown = []
        for state in (4 - t, 4 - s):
            show_state(page, state)
            shown.append([f"{v:.2f}".replace("-", "−") for v in points(page, 1)[7]])
        show_state(page, i)
        page.wait_for_selector(f".step-machine figcaption:has-text('the step from x{'₀₁₂₃'[t]} to')")
        xt, xs = (page.text_content(f".step-machine .{name} text").replace("\u200b", "") for name in ("xt", "xs"))
        assert (xt, xs) == (f"x{t} = {', '.join(shown[0])}", f"x{s} = {', '.join(shown[1])}")
        assert page.is_visible(".step-machine .judge") and page.is_visible(".step-machine .eps") == (s > 0)
    after(page, lambda: page.uncheck("#denoisers [name=ddgan]"))
    assert not page.is_visible(".step-machine .judge"), "the exact law has no D"


@pytest.mark.parametrize("width", [1280, 390])
def test_scrubbing_by_keyboard_walks_the_states(visit, width):
    page = visit(width=width)
    page.focus(f"{STAGE} input[type=range]")
    page.keyboard.press("Home")
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.t === '4'")
    noise = points(page, 0)
    assert noise == points(page, 1) == points(page, 2), "all panels start from the same noise"
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.t === '3'")
    assert points(page, 0) != noise
    page.keyboard.press("End")
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.t === '0'")
    assert points(page, 0) != points(page, 2)


def test_the_star_is_at_the_energy_distances_that_chance_cannot_tell_from_the_least(visit):
    page = visit("?T=4&denoisers=exact,ddgan,gaussian,mean&t=0")
    rows = page.locator(f"{STAGE} .stage-metrics > div:first-of-type")
    assert all(text.startswith("Energy") for text in rows.all_inner_texts())
    starred = rows.locator("dd").evaluate_all("cells => cells.map(cell => cell.classList.contains('best'))")
    assert starred == [True, True, False, False] and page.locator(f"{STAGE} dd.best").count() == 2


# the page's frames come by hand: after(ms, frames) draws them, each so many ms after the one before; the state then
BY_HAND = """() => {
  let now = 0, waiting = [];
  requestAnimationFrame = act => waiting.push(act);
  after = (ms, frames = 1) => {
    for (let k = 0; k < frames; k++) { now += ms; waiting.splice(0).forEach(act => act(now)); }
    return document.querySelector('#stage .stage').stage.state();
  };
}"""


def test_play_has_its_true_speed_at_few_frames_a_second_and_a_hidden_page_stands_still(visit):
    page = visit("?n=500&T=4&t=4")
    page.evaluate(BY_HAND)
    page.evaluate("document.querySelector('#stage .stage').stage.play()")
    assert page.evaluate("after(250, 5)") == 0, "the first frame begins the film: 1,000 ms of it so far"
    assert page.evaluate("after(250)") == 1, "a state has 1,100 ms"
    assert page.evaluate("after(250, 4)") == 2
    assert page.evaluate("document.dispatchEvent(new Event('visibilitychange')), after(3_600_000)") == 2
    assert page.evaluate("after(250, 3)") == 2
    assert page.evaluate("after(250, 2)") == 3
    assert page.evaluate("after(3_600_000)") == 4, "after a sleep one second at most"
    page.keyboard.press(">")
    assert page.inner_text("[data-act=pace]") == "2×"
    page.evaluate("document.querySelector('#stage .stage').stage.play()")
    assert page.evaluate("after(250, 4)") == 1, "750 ms count twice"
    page.click("[data-act=pace]")
    page.click("[data-act=pace]")
    assert page.inner_text("[data-act=pace]") == "½×", "after the fastest comes the slowest"


def test_who_leaves_add_noise_goes_on_from_where_the_samples_are(visit):
    page = visit("?n=500&T=4&t=0")
    page.evaluate(BY_HAND)
    page.click("[data-act=noise]")
    assert page.evaluate("after(250, 7)") == 3, "a state of 1,100 ms on the way to noise"
    page.click("[data-act=noise]")
    assert page.evaluate("after(50, 2)") == 3
    assert page.evaluate("after(250, 5)") == 4


def test_a_film_goes_on_when_the_number_of_its_states_changes(visit):
    page = visit("?n=500&T=4&t=4")
    page.evaluate("document.querySelector('#stage .stage').stage.play()")
    page.wait_for_function("document.querySelector('#stage .stage').stage.state() > 0")
    assert after(page, lambda: choose(page, "T", "8")).T == 8
    page.wait_for_function("Number.isInteger(document.querySelector('#stage .stage').stage.state())")
    page.wait_for_selector(f"{STAGE}[data-playing='0'][data-t='0']")


@pytest.mark.parametrize("width", [1280, 390])
def test_changed_controls_recompute_and_keep_the_link_current(visit, width):
    page = visit(width=width)
    assert after(page, lambda: choose(page, "T", "2")).T == 2
    assert after(page, lambda: choose(page, "data", "8 Gaussians")).data == "8-gaussians"
    assert after(page, lambda: choose(page, "schedule", "cosine")).schedule == "cosine"
    request = after(page, lambda: page.click("#dice"))
    assert (request.seed, request.T, request.data, request.schedule) == (1, 2, "8-gaussians", "cosine")
    assert Request.from_query(page.url.split("?")[1]) == request


def test_a_link_opens_the_picture_that_it_names(visit):
    asked = Request.parse({"data": "rings", "T": 3, "seed": 11, "n": 500, "denoisers": "mean,exact", "span": "0.2,15"})
    page = visit("?" + asked.to_query() + "&__theme=dark", dark=True)
    assert Request.from_query(drawn(page)) == asked
    assert page.eval_on_selector("#posterior select", "select => getComputedStyle(select).colorScheme") == "dark"
    *_, last = Session().run(asked, "exact")
    show_state(page, 3)
    assert max(abs(a - b[0]) for (a, _), b in zip(points(page, 1), last.x_s.tolist(), strict=True)) < 3e-4


@pytest.mark.parametrize("data", ["25-gaussians", "4-gaussians-1d"])
def test_the_view_is_in_the_link_too(visit, data):
    page = visit(f"?n=500&data={data}")
    show_state(page, 1)
    page.locator(f"{STAGE} [data-layer=x0]").dispatch_event("click")
    page.focus("#stage .stage-panels")
    page.keyboard.press("ArrowDown")
    item = page.evaluate(f"document.querySelector('{STAGE}').stage.run().item")
    page.wait_for_function("['t=3', 'layers=', 'hold='].every(part => location.search.includes(part))")
    again = visit("?" + page.url.split("?")[1])
    run = again.evaluate(f"document.querySelector('{STAGE}').stage.run()")
    assert (run["t"], run["item"]) == (3, item)
    assert not again.is_checked(f"{STAGE} [data-layer=x0]") and again.is_checked(f"{STAGE} [data-layer=paths]")


@pytest.mark.parametrize(
    ("query", "words"),
    [("?T=0&data=nothing", "T must be"), ("?n=1000000000", "n must be"), ("?n=100000", "at most 5000 points")],
)
def test_a_link_that_makes_no_sense_gets_a_sentence_and_the_first_view(visit, query, words):
    page = visit(query)
    assert words in page.inner_text(".stage-notice")
    assert len(points(page, 0)) == Request().n
    page.evaluate(f"document.querySelector('{STAGE}').stage.goto(1)")
    page.wait_for_timeout(600)  # what the stage shows would be in the address by now
    assert page.evaluate("location.search") == query, "the reader mends it there"


def test_a_model_that_refuses_says_so_and_the_others_go_on(visit):
    page = visit("?T=128&n=500")
    assert points(page, 1) == []
    assert "steps of vp: choose 50 or fewer" in page.inner_text(STAGE)
    assert len(points(page, 0)) == len(points(page, 2)) == 500
    assert after(page, lambda: choose(page, "T", "8")).T == 8
    assert len(points(page, 1)) == 500


def test_bad_input_is_a_sentence_and_the_page_stays_usable(visit):
    page = visit()
    for name in Request().denoisers:
        page.uncheck(f"#denoisers [name={name}]")
    page.wait_for_function("document.querySelector('.stage-notice').textContent.includes('denoiser')")
    assert len(points(page, 0)) == Request().n, "the last picture stays"
    assert after(page, lambda: page.check("#denoisers [name=mean]")).denoisers == ("mean",)


def test_numbers_out_of_range_are_a_sentence_or_the_end_of_the_range_never_a_toast(visit):
    page = visit("?n=500")
    page.fill("#seed input", "-5")
    page.wait_for_function("document.querySelector('.stage-notice').textContent.includes('0..2147483647, got -5')")
    page.get_by_role("button", name="Range of the schedule").click()
    painted(page, "#hi")
    with page.expect_request(lambda sent: "5000" in sent.url):  # as typed: 50 stands there once the field is left
        page.fill("#hi input[type=number]", "5000")
    page.keyboard.press("Tab")
    request = after(page, lambda: page.fill("#seed input", "3"))
    assert (request.seed, request.span[1]) == (3, 50) and page.inner_text(".stage-notice") == ""
    assert page.locator(".toast-body").count() == 0


def test_memory_is_flat_over_two_hundred_updates(visit):
    page = visit("?n=500")
    is_flat(page, lambda: after(page, lambda: page.click("#dice")))


def test_two_visitors_do_not_see_each_others_pictures(visit):
    one, other = visit("?n=500&seed=1"), visit("?n=500&seed=2")
    first = points(one, 0)
    assert after(other, lambda: choose(other, "data", "rings")).data == "rings"
    assert Request.from_query(drawn(one)) == Request(n=500, seed=1) and points(one, 0) == first != points(other, 0)


def test_the_page_around_a_space_is_told_the_address_but_not_what_the_space_put_there(visit, address):
    page = visit()
    page.add_init_script("""told = [];
      Object.defineProperty(document, 'referrer', {value: 'https://huggingface.co/spaces/somebody/ddgan'});
      Object.defineProperty(window, 'parent', {value: {
        postMessage: (said, to) => to === 'https://huggingface.co' && told.push(said.queryString)}});""")
    page.goto(address + "?n=500&__sign=secret", wait_until="domcontentloaded")
    page.wait_for_function("told.some(query => query.includes('n=500') && query.includes('seed=0'))")
    page.get_by_role("tab", name="Evidence").click()
    page.wait_for_function("told.at(-1).includes('tab=evidence') && told.at(-1).includes('n=500')")
    assert "secret" not in page.evaluate("told.join()") and "__sign=secret" in page.url


def test_by_keyboard_the_list_in_focus_alone_is_open_and_it_is_whole(visit):
    page = visit("?T=2")
    page.focus("#data input")
    for key, name in [("Tab", "T"), ("Tab", "schedule"), ("Tab", "n"), ("Shift+Tab", "schedule")]:
        page.keyboard.press(key)
        page.wait_for_function(f"document.activeElement.closest('#{name}')")
    page.wait_for_timeout(500)  # Gradio answers a key late
    assert page.locator("[role=option]").count() == len(FAMILIES)
    for _ in range(3):
        page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.id === 'dice'")
    page.wait_for_timeout(500)
    assert page.locator("[role=option]").count() == 0


def test_no_older_picture_is_drawn_over_a_newer_one(visit):
    page = visit("?n=5000&T=1")
    choose(page, "T", "128")  # seconds for three denoisers, less for one
    for label in ("DDGAN", "Best Gaussian"):
        page.locator("#denoisers label", has_text=label).locator("input").uncheck()
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('denoisers=exact&')", timeout=90_000)
    page.wait_for_timeout(6000)  # the answer to the first question has come
    assert Request.from_query(drawn(page)).denoisers == ("exact",)


def holding(page):
    """Keep back what the page asks the server for; a function that lets it go, in order."""
    held, open_ = [], []
    page.route("**/pictures/**", lambda route: route.continue_() if open_ else held.append(route))

    def go():
        open_.append(True)
        for route in held:
            route.continue_()

    return go


def test_a_busy_server_is_asked_again_and_one_out_of_reach_too(visit):
    page, busy = visit("?n=500"), {"detail": "400 pictures wait here already: please try again in a moment."}

    def full(route):
        route.fulfill(status=429, json=busy, headers={"Retry-After": "1"})

    def away(route):
        route.abort()

    for T, answer, words in (("8", full, "as soon as it is its turn"), ("16", away, "What you see is of before")):
        page.route(f"**/points?*T={T}&*", answer, times=1)
        choose(page, "T", T)
        page.wait_for_selector(f"{STAGE}.stale")
        assert words in page.inner_text(".stage-notice")
        page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('T={T}&')")
        assert page.locator(f"{STAGE}.stale").count() == 0 and page.inner_text(".stage-notice") == ""
    assert all("429" in error or "ERR_FAILED" in error for error in visit.errors)
    visit.errors.clear()


def test_what_was_refused_leaves_the_last_picture_faded_and_may_be_asked_for_again(visit):
    page = visit("?n=500")
    page.route("**/points?*T=8&*", lambda route: route.fulfill(status=400, json={"detail": "No."}), times=1)
    choose(page, "T", "8")
    page.wait_for_selector(f"{STAGE}.stale")
    assert page.inner_text(".stage-notice") == "No." and Request.from_query(drawn(page)).T == 4
    assert after(page, lambda: choose(page, "T", "6")).T == 6
    assert after(page, lambda: choose(page, "T", "8")).T == 8


def test_the_newest_of_several_changes_is_drawn_whatever_comes_late(visit):
    page, held = visit("?n=500"), []
    page.route("**/points?*T=8&*", lambda route: held.append(route), times=1)
    choose(page, "T", "8")
    assert after(page, lambda: choose(page, "T", "6")).T == 6
    for route in held:
        route.continue_()
    page.wait_for_timeout(1000)
    assert Request.from_query(drawn(page)).T == 6


def test_a_schedule_chosen_while_another_ones_picture_is_on_its_way_is_drawn(visit):
    page = visit("?n=500")
    go = holding(page)
    choose(page, "schedule", "cosine")
    choose(page, "schedule", "linear σ²")
    go()
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('schedule=linear')")
    assert Request.from_query(drawn(page)).span is None


def test_new_noise_and_a_change_before_its_picture_make_one_of_both(visit):
    page = visit("?n=500")
    go = holding(page)
    page.click("#dice")
    page.wait_for_function("document.querySelector('#seed input').value === '1'")
    choose(page, "T", "8")
    go()
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('T=8')")
    page.wait_for_timeout(1000)
    request = Request.from_query(drawn(page))
    assert (request.seed, request.T) == (1, 8) and page.input_value("#seed input") == "1"


def is_wanted(request):
    return "/points?" in request.url and "x-idle" not in request.headers


def test_a_choice_asks_once_and_a_list_that_is_only_left_asks_for_nothing(visit):
    page, asked = visit("?n=500&span=0.5,10&forks=z.2.1"), []
    before = drawn(page)
    page.on("request", lambda request: asked.append(request) if is_wanted(request) else None)
    page.focus("#data input")
    for _ in range(4):  # over all lists
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
    assert asked == [] and drawn(page) == before
    assert after(page, lambda: choose(page, "T", "8")) == Request.from_query("n=500&span=0.5,10&T=8")
    page.wait_for_timeout(500)
    assert len(asked) == 1
    assert after(page, lambda: choose(page, "schedule", "linear σ²")).span is None
    page.wait_for_timeout(500)
    assert len(asked) == 2


def test_a_bar_behind_the_scrubber_says_what_a_gaussian_loses_in_each_step(visit):
    page = visit("?T=4&t=1", width=1366)
    assert page.eval_on_selector("#posterior select", "select => getComputedStyle(select).colorScheme") == "light"
    page.wait_for_selector(f"{STAGE} .stage-strip rect.gap >> nth=3")
    heights = [
        float(v)
        for v in page.eval_on_selector_all(f"{STAGE} rect.gap", "bars => bars.map(bar => bar.getAttribute('height'))")
    ]
    shown = [float(v) for v in page.locator(f"{STAGE} .stage-ticks .gap").all_inner_texts()]
    assert [round(h / 8, 2) for h in heights] == pytest.approx(shown, abs=0.01) and shown[3] > 4 > 0.1 > max(shown[:3])
    assert f"a Gaussian loses {shown[3]:.2f} nats in this step" in page.inner_text(f"{STAGE} .stage-level")
    page.focus(f"{STAGE} input[type=range]")
    page.keyboard.press("End")
    page.wait_for_selector(f"{STAGE} .stage-level .gap:has-text('what a Gaussian step loses, in nats')")
    after(page, lambda: choose(page, "T", "64"))
    page.wait_for_function(f"document.querySelectorAll('{STAGE} rect.gap').length === 16")
    assert all(
        float(v) < 4
        for v in page.eval_on_selector_all(f"{STAGE} rect.gap", "bars => bars.map(bar => bar.getAttribute('height'))")
    )


def test_back_leads_to_the_tab_before(visit):
    page = visit("?T=2")
    selected = "[role=tab][aria-selected=true]"
    for name in ("Images", "Evidence"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_url(f"**tab={name.lower()}**" if name == "Evidence" else "**data=mnist**")
    for name in ("Images", "Denoise"):
        page.go_back()
        page.wait_for_function(f"document.querySelector('{selected}').textContent.trim() === '{name}'")
    page.wait_for_selector(f"{STAGE}[data-ready='1']")
    assert Request.from_query(drawn(page)).T == 2


def test_who_chooses_a_tab_while_the_page_still_opens_stays_there(visit):
    page, chosen = visit(), "document.querySelector('[role=tab][aria-selected=true]')?.textContent.trim() === '{}'"
    page.add_init_script("""const later = setTimeout;
      window.setTimeout = (act, ms, ...more) => later(act, ms === 100 ? 3000 : ms, ...more);""")
    page.goto(page.url.split("?")[0] + "?tab=train")
    page.wait_for_function(chosen.format("Train"))
    page.get_by_role("tab", name="About").click()
    page.wait_for_timeout(3500)
    assert page.evaluate(chosen.format("About"))


def test_the_menu_calls_vp_the_papers_with_the_papers_range_alone(visit):
    page, called = visit("?n=500&span=0.5,10"), "document.querySelector('#{} input').value === '{}'"
    page.wait_for_function(called.format("schedule", "vp (other)"))
    after(page, lambda: choose(page, "schedule", "cosine"))
    after(page, lambda: choose(page, "schedule", "vp (paper)"))
    page.wait_for_function(called.format("schedule", "vp (paper)"))
    page.click("#range button")
    painted(page, "#hi")
    page.focus("#hi input[type=range]")
    after(page, lambda: page.keyboard.press("ArrowLeft"))
    page.wait_for_function(called.format("schedule", "vp (other)"))
    after(page, lambda: page.get_by_role("button", name="Back to the default").click())
    page.wait_for_function(called.format("schedule", "vp (paper)"))
    assert page.input_value("#hi input[type=range]") == "20" and "span" not in drawn(page)
    page = visit("?data=mnist&n=4&T=2&span=0.5,10", ready='#gallery .gallery[data-ready="1"]')
    page.wait_for_function(called.format("images-schedule", "vp (other)"))
    for schedule in ("cosine", "vp (paper)"):
        before = page.get_attribute("#gallery .gallery", "data-id")
        try:
            choose(page, "images-schedule", schedule, timeout=8_000)
        except Late:  # the answer to the choice before renewed the menu just then
            page.locator("#images-schedule input").blur()
            choose(page, "images-schedule", schedule)
        page.wait_for_function("b => document.querySelector('#gallery .gallery').dataset.id !== b", arg=before)
    page.wait_for_function(called.format("images-schedule", "vp (paper)"))
    assert "span" not in page.get_attribute("#gallery .gallery", "data-id")


def test_a_letter_in_a_list_is_no_key_of_the_page(visit):
    page = visit("?n=500")
    page.focus("#data input")
    page.wait_for_selector("[role=option] >> nth=0")
    page.keyboard.press("p")
    page.focus("#posterior select")
    page.keyboard.press("n")
    page.wait_for_timeout(300)
    assert "present" not in page.url and page.get_attribute("[data-act=noise]", "aria-pressed") == "false"


def test_the_pointer_reaches_what_a_floating_notice_covers(visit):
    page = visit("?n=500", width=390, height=844)
    page.locator(f"{STAGE} .stage-metrics").last.scroll_into_view_if_needed()
    page.evaluate("document.querySelector('[data-fork=eps]').click()")
    page.wait_for_selector(".notice-floating")
    assert page.evaluate("""() => {
      const { left, top, width, height } = document.querySelector('.notice-floating').getBoundingClientRect();
      return !document.elementFromPoint(left + width / 2, top + height / 2).closest('.notice-floating'); }""")


def test_escape_brings_the_page_back_from_present(visit):
    page = visit("?n=500")
    page.keyboard.press("p")
    page.wait_for_url("**present=1**")
    page.keyboard.press("Escape")
    assert page.locator("#T").is_visible() and "present" not in page.url


def test_an_arrow_in_a_list_does_not_scroll_the_page(visit):
    page = visit("?n=500")
    page.focus("#data input")
    page.wait_for_selector("[role=option] >> nth=0")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") == 0
    page.keyboard.press("ArrowDown")
    assert after(page, lambda: page.keyboard.press("Enter")).data != "25-gaussians"
