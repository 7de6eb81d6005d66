"""The server goes and comes back under an open tab: what was asked for meanwhile comes by itself."""

import socket

from test_page import STAGE, choose, drawn

from ddgan.evidence.bench.page import started
from ddgan.explorer.request import Request


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_a_tab_that_stays_open_shows_its_picture_again_after_a_restart(chromium):
    port = free_port()
    page = chromium.new_page()
    with started(port) as (_, address):
        page.goto(f"{address}?n=500&T=3&seed=4", wait_until="domcontentloaded")
        page.wait_for_selector(f'{STAGE}[data-ready="1"]')
        page.wait_for_timeout(1000)
    choose(page, "n", "1000")
    page.wait_for_selector(f"{STAGE}.stale")
    assert "The server does not answer" in page.inner_text(".stage-notice")
    with started(port):
        page.wait_for_selector(f'{STAGE}[data-scored*="n=1000"]', timeout=60_000)
        assert Request.from_query(drawn(page)) == Request(n=1000, T=3, seed=4)
        assert page.locator(f"{STAGE}.stale").count() == 0 and page.inner_text(".stage-notice") == ""
    page.context.close()
