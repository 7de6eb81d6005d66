"""Rendered on the server first, as a hosted page may be, it is the same page."""

import shutil

import pytest
from test_page import STAGE, after, drawn

from ddgan.evidence.bench.page import served
from ddgan.explorer.request import Request

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="server-side rendering needs Node")


@pytest.fixture(scope="module")
def address():
    with served(ssr=True) as (address, _):
        yield address


def test_a_link_is_drawn_changed_and_asked_about(visit):
    page = visit("?n=500&T=3&seed=4")
    assert Request.from_query(drawn(page)) == Request(n=500, T=3, seed=4)
    assert after(page, lambda: page.click("#dice")).seed == 5
    page.locator(".posterior").scroll_into_view_if_needed()
    page.wait_for_selector(".posterior[data-answer]")
    assert page.evaluate("fetch('gradio_api/plotly?v=1').then(({ status }) => status)") == 200, "for landscapes"
    assert "seed=5" in page.url and page.locator(f"{STAGE} canvas").count() >= 3
