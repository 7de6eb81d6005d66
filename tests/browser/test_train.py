"""The tab Train in a real browser: a recorded run plays; a run is watched, held, stepped, stopped, handed on, and
nobody else's.
"""

import math

import pytest
from test_page import painted

from ddgan.data.points import encode_points
from ddgan.explorer.request import Request
from ddgan.models import checkpoint

STAGE = "#stage .stage"
LIVE = "#live .live"
WHILE = 120_000  # ms: a busy machine trains slowly


def opened(visit, query="", **how):
    page = visit(query, **how)
    page.get_by_role("tab", name="Train").click()
    painted(page, "#start")
    return page


def state(page):
    return page.get_attribute(LIVE, "data-state")


def step(page):
    return int(page.get_attribute(LIVE, "data-step"))


def reach(page, wanted):
    page.wait_for_selector(f'{LIVE}[data-state="{wanted}"]', timeout=WHILE)


def seconds(page, value):
    page.fill("#seconds input[type=number]", str(value))
    page.keyboard.press("Tab")


def choose(page, control, option):
    page.click(f"#{control} input")
    page.get_by_role("option", name=option, exact=True).click()


def wait(page, condition):
    page.wait_for_function(
        f"() => {{ const live = document.querySelector('{LIVE}'); return {condition}; }}", timeout=WHILE
    )


def give(page, path):
    with page.expect_file_chooser() as chooser:
        page.click("#upload")
    chooser.value.set_files(path)


@pytest.fixture
def trained(visit):
    """A page on which a model was trained for a moment by hand."""
    page = opened(visit)
    page.click("#one-step")
    wait(page, "live.dataset.state === 'paused' && +live.dataset.step === 1")
    page.click("#stop")
    page.wait_for_selector("#compare:not([disabled])", timeout=WHILE)
    return page


def box(page, selector):
    """(left, top, right, bottom) of an element in the window."""
    rect = page.evaluate(f"(({{left, top, right, bottom}}) => [left, top, right, bottom])({_rect(selector)})")
    return tuple(rect)


def _rect(selector):
    return f"document.querySelector({selector!r}).getBoundingClientRect()"


def pixels(page, selector):
    return page.evaluate(f"document.querySelector({selector!r}).toDataURL()")


def test_who_wants_no_motion_opens_at_the_end_of_the_recorded_run_and_can_walk_through_it(visit):
    page = opened(visit)
    reach(page, "recorded")
    end = step(page)
    assert page.get_attribute(LIVE, "data-playing") == "0" and end > 1000
    said = page.inner_text(f"{LIVE} .stage-notice")
    assert "A recorded run of “Works: T = 4”" in said and "Start trains with the settings chosen" in said
    assert "25 / 25" in page.inner_text(LIVE)
    assert page.inner_text(f"{LIVE} .live-cloud figcaption").endswith("T = 4, over 25 Gaussians")
    assert len(page.evaluate(f"document.querySelector('{LIVE}').live.points()")) == 1000
    assert len(page.evaluate(f"document.querySelector('{LIVE}').live.curve()")) > 50
    page.focus(f"{LIVE} .live-track input")
    page.keyboard.press("Home")
    wait(page, "+live.dataset.step === 0")
    assert page.evaluate(f"document.querySelector('{LIVE}').live.curve()") == []
    page.keyboard.press("End")
    wait(page, f"+live.dataset.step === {end}")
    page.select_option(f"{LIVE} .live-player select", "4")
    page.get_by_role("button", name="Play the recorded run again").click()
    wait(page, f"live.dataset.playing === '1' && +live.dataset.step > 0 && +live.dataset.step < {end}")
    page.get_by_role("button", name="Pause the recorded run").click()
    wait(page, "live.dataset.playing === '0'")
    at = step(page)
    page.wait_for_timeout(400)
    assert step(page) == at


def test_the_recorded_run_plays_when_the_tab_is_shown_and_start_ends_it(visit):
    page = visit()
    page.emulate_media(reduced_motion="no-preference")
    fetched = []
    page.on("request", lambda request: fetched.append(request.url) if "/recorded?" in request.url else None)
    page.wait_for_timeout(300)
    assert not fetched, "what nobody looks at"
    page.get_by_role("tab", name="Train").click()
    wait(page, "live.dataset.playing === '1' && +live.dataset.step > 0")
    page.get_by_role("tab", name="About").click()
    page.wait_for_timeout(300)
    at = step(page)
    page.wait_for_timeout(600)
    assert step(page) == at, "it stands still while nobody looks"
    page.get_by_role("tab", name="Train").click()
    wait(page, f"+live.dataset.step > {at}")
    page.click("#start")
    reach(page, "training")
    assert not page.is_visible(f"{LIVE} .live-player") and page.is_visible(f"{LIVE} .live-progress")
    assert page.get_attribute(LIVE, "data-playing") == "0" and "recorded" not in page.inner_text(LIVE)
    page.click("#stop")
    reach(page, "stopped")


def test_a_page_that_is_loaded_again_says_that_its_training_ended(visit, trained):
    for under_way in (False, True, False):
        if under_way:
            trained.click("#one-step")
            reach(trained, "paused")
        trained.reload(wait_until="domcontentloaded")
        reach(trained, "recorded")
        assert ("Your training ended as the page was loaded again" in trained.inner_text(LIVE)) is under_way
    visit.errors.clear()  # what a page was listening to ends with it


def test_on_a_projector_the_curves_stand_beside_the_cloud_in_the_first_view(visit):
    page = opened(visit, width=1366, height=768)
    reach(page, "recorded")
    cloud = box(page, f"{LIVE} .live-cloud canvas")
    for selector in (f"{LIVE} .live-charts", f"{LIVE} .live-surface canvas", "#compare", "#start"):
        assert box(page, selector)[3] <= 768, selector
    charts = box(page, f"{LIVE} .live-charts")
    assert cloud[3] <= 768 and charts[0] >= cloud[2] and charts[1] < cloud[3]


def test_on_a_phone_start_and_the_picture_come_before_the_settings(visit):
    page = opened(visit, width=390, height=844)
    reach(page, "recorded")
    start, cloud, settings = (box(page, of) for of in ("#start", f"{LIVE} .live-cloud canvas", "#experiment"))
    assert start[3] <= cloud[1] and cloud[3] <= settings[1]
    assert start[3] <= 844 and cloud[1] < 844 / 2, "the picture is in the first view"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_arrows_show_where_d_pulls_what_g_draws_and_can_be_left_out(visit, trained):
    of = f"{LIVE} .live-surface canvas"
    with_arrows = pixels(trained, of)
    trained.get_by_label("What G draws there").uncheck()
    trained.wait_for_timeout(200)
    assert pixels(trained, of) != with_arrows
    trained.get_by_label("What G draws there").check()
    trained.wait_for_timeout(200)
    assert pixels(trained, of) == with_arrows


def test_a_model_that_is_there_is_offered_for_comparison_beside_the_picture(visit, trained):
    assert "primary" in trained.get_attribute("#compare", "class")
    assert box(trained, "#compare")[3] <= box(trained, f"{LIVE} .live-cloud canvas")[1], "above it, in sight"


def test_a_short_training_reaches_25_modes_and_is_drawn_in_denoise(visit):
    page = opened(visit)
    seconds(page, 60)
    page.click("#start")
    reach(page, "training")
    assert page.is_disabled("#start") and page.is_disabled("#compare") and page.is_enabled("#stop")
    wait(page, "live.live.curve().some(row => row[3] === 25)")
    assert int(page.get_attribute(LIVE, "data-frames")) >= 3
    assert len(page.evaluate(f"document.querySelector('{LIVE}').live.points()")) == 1000
    before = step(page)
    wait(page, f"+live.dataset.step > {before}")
    page.click("#stop")
    reach(page, "stopped")
    assert "Stopped after" in page.inner_text(f"{LIVE} .stage-notice")
    assert "25 / 25" in page.inner_text(LIVE)
    page.wait_for_selector("#compare:not([disabled])", timeout=WHILE)
    old = page.get_attribute(STAGE, "data-id")
    page.click("#compare")
    page.wait_for_function(f"b => document.querySelector('{STAGE}').dataset.id !== b", arg=old, timeout=WHILE)
    asked = Request.from_query(page.get_attribute(STAGE, "data-id"))
    assert (asked.data, asked.T) == ("25-gaussians", 4) and asked.denoisers[-1].startswith("own-")
    panel = page.locator(f"{STAGE} .stage-panel").last
    assert "Your model" in panel.inner_text() and "trained on 25 Gaussians, T = 4" in panel.inner_text()
    page.wait_for_selector(f"{STAGE} .stage-panel >> nth=3")
    assert page.is_visible(STAGE)
    points = page.evaluate(f"p => document.querySelector('{STAGE}').stage.points(p)", len(asked.denoisers) - 1)
    assert len(points) == asked.n
    assert page.locator("#denoisers").get_by_label("Your model").is_checked()


def test_a_training_without_a_discriminator_says_so_and_draws_losses_below_zero(visit):
    page = opened(visit)
    choose(page, "network", "consistency, without D")
    page.wait_for_function("document.querySelector('#latent input').value === '0'")
    choose(page, "network", "mixture, without D")
    page.wait_for_function("document.querySelector('#latent input').value === '3'")
    page.click("#start")
    wait(page, "live.live.curve().some(row => row[2] < -1)")
    assert "this training has no D" in page.inner_text(f"{LIVE} .live-surface")
    assert page.inner_text(f"{LIVE} .live-line >> nth=0 >> b") == "–"
    assert page.inner_text(f"{LIVE} .live-line >> nth=1 >> b").startswith("−")
    assert page.evaluate(f"document.querySelector('{LIVE}').live.curve().every(row => Number.isNaN(row[1]))")
    page.click("#stop")
    reach(page, "stopped")


def test_pause_holds_one_step_steps_and_resume_goes_on(visit):
    page = opened(visit)
    seconds(page, 120)
    page.click("#start")
    reach(page, "training")
    page.click("#pause")
    reach(page, "paused")
    at = step(page)
    page.wait_for_timeout(600)
    assert step(page) == at and page.inner_text("#pause") == "Resume"
    page.click("#one-step")
    wait(page, f"+live.dataset.step === {at + 1}")
    choose(page, "lr-g", "0.0005")
    page.click("#pause")
    wait(page, f"+live.dataset.step > {at + 1} && live.dataset.state === 'training'")
    page.click("#stop")
    reach(page, "stopped")


def test_a_step_of_one_player_lights_that_player(visit):
    page = opened(visit)
    turns = f"{LIVE} .live-turns"
    buttons = [page.get_by_role("button", name=f"Step {name}") for name in "DG"]
    assert all(button.is_disabled() for button in buttons), "only while a training is paused"
    page.click("#one-step")
    page.wait_for_selector(f"{turns}[data-turn='once']")
    for k, (button, player) in enumerate(zip(buttons, "dg", strict=True), start=2):
        button.click()
        wait(page, f"+live.dataset.step === {k}")
        page.wait_for_selector(f"{turns}[data-turn='{player}']")
    assert page.inner_text(f"{LIVE} .live-line >> nth=0 >> b") == "–", "D did not learn in G's step"
    page.click("#stop")
    reach(page, "stopped")
    assert all(button.is_disabled() for button in buttons) and page.get_attribute(turns, "data-turn") == ""


def test_in_slow_motion_an_update_is_two_halves(visit):
    page = opened(visit)
    seconds(page, 60)
    page.click("#start")
    reach(page, "training")
    turns = f"{LIVE} .live-turns"
    page.wait_for_selector(f"{turns}[data-turn='turns']")
    page.select_option(f"{LIVE} .live-pace select", "slow")
    page.wait_for_selector(f"{turns}[data-turn='d']")
    assert "D learns alone, then G" in page.inner_text(f"{LIVE} .stage-notice")
    at = step(page)
    page.wait_for_selector(f"{turns}[data-turn='g']")
    wait(page, f"live.querySelector('.live-turns').dataset.turn === 'd' && +live.dataset.step > {at}")
    page.select_option(f"{LIVE} .live-pace select", "full")
    page.wait_for_selector(f"{turns}[data-turn='turns']")
    page.click("#stop")
    reach(page, "stopped")


def test_a_term_of_a_comment_says_what_it_means(visit):
    page = opened(visit)
    page.focus("#comment .gloss >> nth=0")
    assert "A mode is a place where samples crowd" in page.inner_text(".gloss-tip")
    choose(page, "experiment", "Fails: no z")
    page.wait_for_function("document.querySelector('#comment').textContent.includes('Without z')")
    page.focus("#comment .gloss >> nth=0")
    assert page.inner_text(".gloss-tip")


def test_a_training_follows_the_rate_that_was_changed_and_no_other_setting(visit, tmp_path):
    page = opened(visit)
    page.click("#one-step")
    wait(page, "live.dataset.state === 'paused' && +live.dataset.step === 1")
    choose(page, "experiment", "Late: rates ten times higher")
    page.wait_for_function("document.querySelector('#lr-g input').value === '0.04'")
    choose(page, "gamma", "0.05")
    page.wait_for_timeout(500)
    page.click("#one-step")
    wait(page, "+live.dataset.step === 2")
    page.click("#stop")
    page.wait_for_selector("#compare:not([disabled])", timeout=WHILE)
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "model.safetensors")
    assert checkpoint.load(tmp_path / "model.safetensors").card["changes"] == [{"after": 1, "gamma": 0.05}]
    page.click("#start")
    page.wait_for_function("document.querySelector('#train-said').textContent.includes('use the model before it')")
    page.click("#stop")


def test_one_training_at_a_time_the_next_knows_its_place_and_stop_frees_the_slot(visit):
    first, second = opened(visit), opened(visit)
    seconds(first, 120)
    first.click("#start")
    reach(first, "training")
    second.click("#start")
    reach(second, "waiting")
    second.wait_for_function(
        f"document.querySelector('{LIVE} .stage-notice').textContent.includes('one is before yours')"
    )
    assert second.locator(f"{LIVE}[data-state=training]").count() == 0
    first.click("#stop")
    reach(first, "stopped")
    reach(second, "training")
    third = opened(visit)
    third.click("#start")
    reach(third, "waiting")
    third.click("#stop")
    reach(third, "stopped")
    third.click("#start")
    reach(third, "waiting")
    second.close()
    reach(third, "training")
    third.click("#stop")
    reach(third, "stopped")


def test_a_model_goes_out_as_a_file_and_comes_back_for_its_visitor_only(visit, trained, tmp_path):
    with trained.expect_download() as download:
        trained.click("#download")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "ddgan-25-gaussians.safetensors"
    assert checkpoint.load(path).card["steps"] == 1
    other = opened(visit)
    assert other.is_disabled("#compare") and other.is_disabled("#download")
    assert other.locator("#denoisers").get_by_label("Your model").count() == 0
    give(other, path)
    other.wait_for_selector("#compare:not([disabled])")
    assert "Loaded: trained on 25 Gaussians, T = 4" in other.inner_text("#train-said")
    other.click("#compare")
    other.wait_for_selector(f"{STAGE} .stage-panel >> nth=3", timeout=WHILE)
    assert "own-" in other.get_attribute(STAGE, "data-id")


def test_a_model_of_points_that_its_file_does_not_hold_says_on_what_it_is_shown(visit, tmp_path):
    denoiser = checkpoint.load("25-gaussians")
    denoiser.card = {**denoiser.card, "config": {**denoiser.card["config"], "data": "mine.csv"}}
    checkpoint.save_file(tmp_path / "model.safetensors", denoiser)
    page = opened(visit)
    give(page, tmp_path / "model.safetensors")
    page.wait_for_selector("#compare:not([disabled])")
    page.click("#compare")
    page.wait_for_selector(f"{STAGE} .stage-panel >> nth=3", timeout=WHILE)
    assert "does not contain its training data; it is shown on 25 Gaussians instead" in page.inner_text(".stage-notice")


def test_a_foreign_file_and_settings_that_do_not_fit_are_a_sentence(visit, tmp_path):
    page = opened(visit)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"PK\x03\x04 a zip")
    give(page, bad)
    page.wait_for_selector("#train-said .failed")
    assert page.inner_text("#train-said") == "The file bad.safetensors is not a safetensors file, or is damaged."
    choose(page, "latent", "8")
    page.click("#start")
    page.wait_for_function(f"document.querySelector('{LIVE} .stage-notice').textContent.includes('latent has 0 or 2')")
    choose(page, "experiment", "Fails: no z")
    page.wait_for_function("document.querySelector('#comment').textContent.includes('Without z')")
    page.wait_for_function("document.querySelector('#latent input').value === '0'")


def test_own_points_of_a_link_are_trained_on(visit):
    ring = [[math.cos(k / 5), math.sin(k / 5)] for k in range(31)]
    asked = Request.parse({"data": encode_points(ring), "T": 3, "n": 500, "denoisers": "exact"})
    page = opened(visit, "?" + asked.to_query())
    page.wait_for_function("document.querySelector('#train-data input').value === 'your own points'")
    choose(page, "train-T", "3")
    page.click("#one-step")
    wait(page, "live.dataset.state === 'paused' && +live.dataset.step === 1")
    page.click("#stop")
    page.wait_for_selector("#compare:not([disabled])", timeout=WHILE)
    page.click("#compare")
    page.wait_for_selector(f"{STAGE} .stage-panel >> nth=1", timeout=WHILE)
    shown = Request.from_query(page.get_attribute(STAGE, "data-id"))
    assert (shown.data, shown.T, shown.n) == (asked.data, 3, 500) and shown.denoisers[0] == "exact"
    assert "trained on own points, T = 3" in page.inner_text(STAGE)


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_the_tab_fits_and_works_by_keyboard(visit, width, dark):
    page = opened(visit, width=width, dark=dark)
    choose(page, "train-data", "4 Gaussians on a line")
    page.wait_for_function("document.querySelector('#latent input').value === '1'")
    page.focus("#one-step")
    page.keyboard.press("Enter")
    wait(page, "live.dataset.state === 'paused' && +live.dataset.step === 1")
    assert len(page.evaluate(f"document.querySelector('{LIVE}').live.points()")[0]) == 1
    assert "modes covered" in page.locator(f"{LIVE} canvas").first.get_attribute("aria-label")
    scroll, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scroll <= inner, "the page must not scroll sideways"
    page.focus("#stop")
    page.keyboard.press("Enter")
    reach(page, "stopped")


def test_the_settings_are_in_the_link(visit):
    page = opened(visit)
    page.click("#train-T input")
    page.get_by_role("option", name="2", exact=True).click()
    page.click("#gamma input")
    page.get_by_role("option", name="0.05", exact=True).click()
    page.wait_for_function("/train=25-gaussians,2,.*,0.05,/.test(location.search)")
    again = visit("?" + page.url.split("?")[1], ready="#gamma input")
    again.wait_for_function("document.querySelector('#gamma input').value === '0.05'")
    assert again.input_value("#train-T input") == "2"
    assert again.input_value("#experiment input") == "Your own"


def test_lists_that_are_only_left_leave_the_experiment_and_a_choice_makes_it_ones_own(visit):
    page = opened(visit)
    first = page.input_value("#experiment input")
    page.get_by_role("button", name="More settings").click()
    painted(page, "#train-seed")
    page.fill("#train-seed input", "7")
    page.focus("#experiment input")
    for _ in range(5):
        page.keyboard.press("Tab")
        page.wait_for_timeout(300)
    assert page.input_value("#experiment input") == first and page.input_value("#train-seed input") == "7"
    choose(page, "gamma", "0.05")
    page.wait_for_function("document.querySelector('#experiment input').value === 'Your own'")


def test_the_link_of_other_data_has_the_z_that_fits_them(visit):
    page = opened(visit)
    choose(page, "train-data", "4 Gaussians on a line")
    page.wait_for_function("/train=4-gaussians-1d,(4|0),skip,[a-z0-9]+,1,/.test(location.search)")


def test_settings_that_make_no_sense_leave_the_first_experiment(visit):
    page = visit("?tab=train&train=25-gaussians,2,x", ready="#gamma input")
    page.wait_for_function("document.querySelector('#comment').textContent.includes('train has 13 settings, got 3')")
    assert page.input_value("#gamma input") == "0.01"


def test_settings_of_a_link_that_no_list_has_are_trained_with(visit):
    page = visit("?tab=train&train=25-gaussians,5,skip,r1r2,2,0.003,0.004,0.02,20,2,64,0,10", ready="#gamma input")
    page.wait_for_function("document.querySelector('#train-T input').value === '5'")
    page.click("#start")
    reach(page, "training")
    page.click("#stop")
    reach(page, "stopped")
