"""Other noise at one step: the past stays, the rest changes, and the link holds it."""

from test_page import STAGE, after, choose, drawn, points, show_state

from ddgan.explorer.request import Request


def states(page, panel, T=4):
    found = []
    for i in range(T + 1):
        show_state(page, i)
        found.append(points(page, panel))
    return found


def test_a_fork_keeps_the_past_for_everyone_or_for_one(visit):
    page = visit("?n=500")
    before = states(page, 1)
    show_state(page, 2)  # x_2: the step 2 -> 1
    request = after(page, lambda: page.get_by_role("button", name="New z").click())
    assert [str(f) for f in request.forks] == ["z.2.1"]
    assert "x₂ and before" in page.inner_text(".stage-notice")
    now = states(page, 1)
    assert now[:3] == before[:3]
    changed = sum(a != b for a, b in zip(before[3], now[3], strict=True))
    assert changed > 450, "z is new for all"
    show_state(page, 2)
    for last in ("z.2.1", "z.2.2"):  # of the same step, as long as nobody moves: its other end is shown
        request = after(page, lambda: page.get_by_role("button", name="New z").click())
        assert str(request.forks[-1]).startswith("z.2.") and page.get_attribute(STAGE, "data-t") == "1", last
    for _ in range(2):
        after(page, lambda: page.get_by_role("button", name="Undo").click())

    show_state(page, 1)  # x_3, and one sample held
    page.focus("#stage .stage-panels")
    page.keyboard.press("ArrowDown")
    item = page.evaluate(f"document.querySelector('{STAGE}').stage.run().item")
    request = after(page, lambda: page.get_by_role("button", name="New ε").click())
    assert [str(f) for f in request.forks] == ["z.2.1", f"eps.3.2.{item}"]
    then = states(page, 1)
    assert then[:2] == now[:2]
    assert [j for j in range(500) if then[2][j] != now[2][j]] == [item]

    again = visit("?" + drawn(page))
    assert states(again, 1) == then
    assert after(page, lambda: page.get_by_role("button", name="Undo").click()).forks == request.forks[:1]
    assert states(page, 1) == now
    assert after(page, lambda: page.click("#dice")).forks == ()


def test_other_denoisers_keep_the_forks_and_another_picture_has_none(visit):
    page = visit("?n=500&forks=z.2.1")
    assert [str(f) for f in after(page, lambda: page.uncheck("#denoisers [name=gaussian]")).forks] == ["z.2.1"]
    assert after(page, lambda: choose(page, "schedule", "geometric")).forks == ()
    request = after(page, lambda: page.get_by_role("button", name="New z").click())
    assert len(request.forks) == 1 and request.schedule == "geometric"
    assert after(page, lambda: page.check("#denoisers [name=gaussian]")).forks == request.forks
    assert after(page, lambda: choose(page, "T", "3")).forks == ()


def test_a_floating_notice_does_not_follow_to_another_tab(visit):
    page = visit("?n=500", height=500)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    after(page, lambda: page.get_by_role("button", name="New z").click())
    page.wait_for_selector(".notice-floating")
    page.get_by_role("tab", name="Evidence").click()
    page.wait_for_selector(".notice-floating", state="detached", timeout=2000)


def test_one_history_takes_back_controls_new_noise_and_forks(visit):
    page = visit("?n=500")
    assert page.get_by_role("button", name="Undo").is_disabled()
    seen = [Request.from_query(drawn(page))]
    for act in (
        lambda: choose(page, "T", "8"),
        lambda: choose(page, "schedule", "cosine"),
        lambda: page.click("#dice"),
        lambda: page.get_by_role("button", name="New z").click(),
    ):
        seen.append(after(page, act))
    assert len(set(seen)) == 5
    page.focus(f"{STAGE} input[type=range]")
    for before in reversed(seen[:-1]):
        assert after(page, lambda: page.keyboard.press("Control+z")) == before
    assert page.get_by_role("button", name="Undo").is_disabled()
    page.wait_for_function("document.querySelector('#T input').value === '4'")
    assert page.input_value("#schedule input") == "vp (paper)" and page.input_value("#seed input") == "0"
    assert after(page, lambda: choose(page, "T", "2")) == Request(n=500, T=2)


def test_back_takes_a_change_back_forward_makes_it_again_and_both_survive_a_reload(visit):
    page = visit("?n=500")
    seen = [Request.from_query(drawn(page))]
    for act in (lambda: choose(page, "T", "8"), lambda: page.click("#dice")):
        seen.append(after(page, act))
    assert after(page, lambda: page.go_back()) == seen[1] and after(page, lambda: page.go_forward()) == seen[2]
    page.wait_for_function("document.querySelector('#seed input').value === '1'")
    page.reload(wait_until="domcontentloaded")
    page.wait_for_selector(f'{STAGE}[data-ready="1"][data-scored][data-opened]')
    visit.errors.clear()  # what a page was listening to ends with it
    assert Request.from_query(drawn(page)) == seen[2]
    for before in (seen[1], seen[0]):
        assert after(page, lambda: page.go_back()) == before
        assert Request.from_query(page.url.split("?")[1]) == before
    page.wait_for_function("document.querySelector('#T input').value === '4'")
    assert page.input_value("#seed input") == "0" and page.get_by_role("button", name="Undo").is_disabled()


def test_back_leaves_an_untouched_page_and_undo_and_tabs_leave_no_entry_that_does_nothing(visit, address):
    page, before = visit("?n=500"), "about:blank#before"

    def again():
        page.goto(address + "?n=500", wait_until="domcontentloaded")
        page.wait_for_selector(f'{STAGE}[data-ready="1"][data-scored][data-opened]')

    page.goto(before)
    again()
    show_state(page, 2)
    page.go_back()
    assert page.url == before
    again()
    first = drawn(page)
    after(page, lambda: choose(page, "T", "8"))
    page.get_by_role("tab", name="About").click()
    page.wait_for_url("**tab=about**")
    page.go_back()
    page.wait_for_selector(f"{STAGE} >> visible=true")
    assert "T=8" in drawn(page), "Back closes the tab first"
    after(page, lambda: page.get_by_role("button", name="Undo").click())
    assert drawn(page) == first
    page.go_back()
    assert page.url == before
    visit.errors.clear()  # what a page was listening to ends with it


def test_an_undo_that_is_refused_leaves_the_picture_and_can_be_tried_again(visit):
    page = visit("?n=500")
    first = drawn(page)
    second = after(page, lambda: choose(page, "T", "8"))
    page.route("**/points?*T=4&*", lambda route: route.fulfill(status=400, json={"detail": "No."}), times=1)
    page.go_back()
    page.wait_for_selector(f"{STAGE}.stale")
    assert page.inner_text(".stage-notice") == "No." and Request.from_query(drawn(page)) == second
    page.wait_for_url("**T=8**")
    assert page.input_value("#T input") == "8"
    after(page, lambda: page.go_back())
    assert drawn(page) == first


def test_a_drag_of_a_slider_is_one_change(visit):
    page = visit("?n=500&denoisers=ddim")
    first = drawn(page)
    page.click("#more-ways")
    slider = page.locator("#eta input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in (0.3, 0.5, 0.8):
        after(
            page,
            lambda at=share: page.mouse.move(box["x"] + at * box["width"], box["y"] + box["height"] / 2),
        )
    page.mouse.up()
    page.wait_for_timeout(500)
    after(page, lambda: page.go_back())
    assert drawn(page) == first
