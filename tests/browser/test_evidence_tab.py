"""The tab Evidence: its numbers are there, its buttons open the real setting."""

import pytest
from test_page import STAGE, drawn

from ddgan.evidence import EXPERIMENTS
from ddgan.request import Request


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_tab_shows_every_experiment_and_opens_its_setting(visit, width, dark):
    page = visit("?tab=evidence", width=width, dark=dark, ready="#evidence-oracle table")
    assert page.locator(".evidence section").count() == len(EXPERIMENTS)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#evidence-oracle svg").bounding_box()["width"] > 250
    colour = page.evaluate("getComputedStyle(document.querySelector('#evidence-oracle svg text')).fill")
    assert (sum(map(int, colour[4:-1].split(","))) > 380) is dark
    page.locator("#evidence-oracle .evidence-open").focus()
    with page.context.expect_page() as opened:  # beside this one, in which a model may be in training
        page.keyboard.press("Enter")
    page = opened.value
    page.wait_for_selector(f'{STAGE}[data-ready="1"]', timeout=30_000)
    request = Request.from_query(drawn(page))
    assert (request.T, request.denoisers) == (4, ("exact", "gaussian", "mean"))
    assert page.get_by_role("tab", name="Denoise").get_attribute("aria-selected") == "true"


def test_an_entry_of_the_list_leads_to_its_experiment(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    there = "Math.abs(document.querySelector('#evidence-edits').getBoundingClientRect().top) < 300"
    page.click("#evidence nav a[href='#evidence-edits']")
    page.wait_for_function(there)
    assert page.evaluate("document.activeElement.id") == "evidence-edits", "the next Tab goes on from there"
    assert page.url.endswith("?tab=evidence#evidence-edits")
    visit("?tab=evidence#evidence-edits", ready="#evidence-oracle table").wait_for_function(there)
    assert page.get_by_role("tab", name="Evidence").get_attribute("aria-selected") == "true"


def test_the_tab_is_filled_once(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    page.evaluate("document.querySelector('#evidence .evidence').dataset.mine = 1")
    page.get_by_role("tab", name="About").click()
    with page.expect_response("**/queue/join*"):
        page.get_by_role("tab", name="Evidence").click()
    page.wait_for_timeout(1000)
    assert page.locator("#evidence .evidence[data-mine]").is_visible()


def test_a_command_can_be_copied(visit):
    page = visit("?tab=evidence", ready="#evidence-oracle table")
    page.click("#evidence-speed [data-copy]")
    page.get_by_role("button", name="Copied").wait_for()
