"""What panels draw besides samples: the predicted x_0 that numbers judge, mean steps, added noise, the grid of z."""

import pytest
from test_page import STAGE, after, choose, drawn, points, show_state

from ddgan.diffusion.schedule import Schedule
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session

# how many pixels of a panel are of the colour of a look
OF_COLOUR = """([panel, look]) => {
  const canvas = document.querySelectorAll('#stage .stage-plot canvas')[panel];
  const wanted = getComputedStyle(document.querySelector('#stage .stage')).getPropertyValue('--look-' + look).trim()
    .match(/\\w\\w/g).map(v => parseInt(v, 16));
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let k = 0; k < data.length; k += 4)
    found += data[k + 3] > 120 && wanted.every((v, c) => Math.abs(v - data[k + c]) < 26);
  return found; }"""


def coloured(page, look, panel=0):
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(OF_COLOUR, [panel, look])


@pytest.mark.parametrize("dark", [False, True])
def test_numbers_say_what_they_judge_and_that_is_drawn(visit, dark):
    page = visit("?t=1&__theme=dark" if dark else "?t=1", dark=dark)
    titles = page.locator(".stage-main").all_inner_texts()
    assert titles[0].startswith("x₀ predicted: 25/25 modes, ") and titles[2].startswith("x₀ predicted: 0/25 modes, ")
    seen = coloured(page, "x0")
    page.locator("[data-layer=x0]").dispatch_event("click")
    assert coloured(page, "x0") == 0 < 200 < seen
    page.locator("[data-layer=x0]").dispatch_event("click")
    assert coloured(page, "x0") == seen
    show_state(page, 4)
    assert coloured(page, "x0") == 0, "at x_0 the predicted one is the sample itself"
    assert page.locator(".stage-main").all_inner_texts()[1].startswith("Samples: 25/25 modes, ")


@pytest.mark.parametrize("data", ["25-gaussians", "4-gaussians-1d"])
def test_mean_steps_are_a_layer_by_keyboard_and_in_the_link(visit, data):
    page = visit(f"?n=500&data={data}&t=2&layers=density")
    before = coloured(page, "ink")
    page.focus("[data-layer=field]")
    page.keyboard.press("Space")
    page.wait_for_selector(f"{STAGE}[data-field='2']")
    assert coloured(page, "ink") > before + 100
    page.wait_for_url("**layers=density,field**")
    show_state(page, 3)
    page.wait_for_selector(f"{STAGE}[data-field='1']")
    page.wait_for_url("**t=1&**")
    again = visit("?" + page.url.split("?")[1])
    again.wait_for_selector(f"{STAGE}[data-field='1']")
    assert again.is_checked("[data-layer=field]") and not again.is_checked("[data-layer=samples]")


@pytest.mark.parametrize("denoisers", ["exact,gaussian", "gaussian,ddgan"])
def test_noise_is_added_to_the_same_data_in_every_panel_and_then_the_film_goes_back(visit, denoisers):
    page = visit(f"?n=500&t=0&denoisers={denoisers}")
    own = points(page, 1)
    page.keyboard.press("n")
    page.wait_for_selector("[data-act=noise][aria-pressed=true]")
    request = Request(n=500, denoisers=("exact",))
    *_, last = Session().run(request, "exact")
    first = next(iter(Session().run(request, "exact"))).x_t
    alpha_bar = Session().schedule(request).alpha_bar.float()
    e = (first - alpha_bar[4].sqrt() * last.x_s) / (1 - alpha_bar[4]).sqrt()
    for i, t in ((4, 0), (2, 2), (0, 4)):
        show_state(page, i)
        expected = alpha_bar[t].sqrt() * last.x_s + (1 - alpha_bar[t]).sqrt() * e
        seen = points(page, 0)
        assert seen == points(page, 1)
        pairs = zip(sum(seen, []), expected.flatten().tolist(), strict=True)
        assert max(abs(a - b) for a, b in pairs) < 1e-3
        title = page.locator(".stage-main").first.inner_text()
        noisy = f"x{'₀₁₂₃₄'[t]} = {alpha_bar[t].sqrt():.2f} x₀ + {(1 - alpha_bar[t]).sqrt():.2f} ε"
        assert title == (noisy if t else "Data x₀")
    page.click("[data-act=noise]")
    show_state(page, 4)
    assert points(page, 1) == own
    page.click("[data-act=noise]")
    page.wait_for_selector("[data-act=noise][aria-pressed=true]")
    page.wait_for_selector("[data-act=noise][aria-pressed=false]")  # noise is reached
    page.wait_for_selector(f"{STAGE}[data-playing='0'][data-t='0']")
    assert points(page, 1) == own
    page.click("[data-act=noise]")
    after(page, lambda: page.click("#dice"))
    assert page.get_attribute("[data-act=noise]", "aria-pressed") == "false", "another picture begins anew"


def test_the_grid_of_z_is_drawn_for_the_question_and_in_the_link(visit):
    page = visit("?n=500&at=3,0.3,0.2,x_0")
    page.locator(".posterior").scroll_into_view_if_needed()
    page.wait_for_selector(".posterior[data-answer]")
    page.focus("[name=posterior-draws][value=density]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "(({fold, answer}) => fold && fold === answer)(document.querySelector('.posterior').dataset)"
    )
    assert "equally likely" in page.inner_text(".posterior-cell.ddgan figcaption")
    assert "draws" in page.inner_text(".posterior-cell.exact figcaption")
    page.wait_for_url("**draws=grid**")
    again = visit("?" + page.url.split("?")[1])
    again.locator(".posterior").scroll_into_view_if_needed()
    again.wait_for_selector(".posterior[data-fold]")


def test_an_end_of_the_curve_is_dragged_and_the_range_follows_as_one_change(visit):
    page = visit("?n=500&T=4&t=1")
    before, box = Request.from_query(drawn(page)), page.locator(".stage-end").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(f"{STAGE}[data-t='4']")  # a click is one on the scrubber
    assert Request.from_query(drawn(page)) == before
    page.mouse.down()
    for up in (5, 10, 15):
        page.mouse.move(x, y - up)
        page.wait_for_function(f"document.querySelector('{STAGE}').dataset.id.includes('span=0.1')")
    page.mouse.up()
    page.wait_for_function("/span=0.1,3/.test(location.search)")
    page.get_by_role("button", name="Range of the schedule").click()
    page.wait_for_function(
        "[...document.querySelectorAll('#hi input')].some(({value}) => value < 10 && "
        "new URLSearchParams(location.search).get('span') === `0.1,${value}`)"
    )
    request = Request.from_query(drawn(page))
    signal = Schedule.named("vp", 4, request.span).alpha_bar[4].sqrt()
    assert signal == pytest.approx(0.0066 + 15 / (44 * 36 / 40), abs=0.03), "where the pointer let go"
    assert after(page, lambda: page.keyboard.press("Control+z")) == before, "a drag is one change"
    page.locator(".stage-end").last.focus()
    bent = after(page, lambda: page.keyboard.press("ArrowDown"))
    assert bent.span[1] == 20 and Schedule.named("vp", 4, bent.span).alpha_bar[1].sqrt() == pytest.approx(
        0.70, abs=0.01
    )
    after(page, lambda: choose(page, "schedule", "cosine"))
    assert page.locator(".stage-end:visible").count() == 1, "its other end does not move alone"


def test_a_drag_that_is_refused_says_why_and_the_curve_stays(visit):
    page = visit("?n=500&T=4&t=1")
    before, box = drawn(page), page.locator(".stage-end").first.bounding_box()
    page.route("**/bent?*", lambda route: route.fulfill(status=400, json={"detail": "No such curve."}))
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    page.mouse.down()
    page.mouse.move(box["x"] + 12, box["y"] - 10)
    page.wait_for_function("document.querySelector('.stage-notice').clientHeight > 10")
    page.mouse.up()
    assert page.inner_text(".stage-notice") == "No such curve." and drawn(page) == before


def test_while_noise_is_added_no_diagram_tells_of_a_step_back(visit):
    page = visit("?n=500&hold=7&t=2")
    assert page.is_visible(".step-machine")
    page.click("[data-act=noise]")
    page.wait_for_selector("[data-act=noise][aria-pressed=true]")
    show_state(page, 2)
    assert page.is_hidden(".step-machine")
    page.click("[data-act=noise]")
    assert page.is_visible(".step-machine")
