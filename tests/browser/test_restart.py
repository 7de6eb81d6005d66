"""The server goes and comes back under an open tab: the page is there again, as its address says."""

import socket

from test_page import STAGE, drawn

from ddgan.bench import started
from ddgan.request import Request


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
        page.evaluate("window.before = true")
    page.click("#dice")
    with started(port):
        page.wait_for_function("!window.before", timeout=60_000)
        page.wait_for_selector(f'{STAGE}[data-ready="1"]')
        assert Request.from_query(drawn(page)) == Request(n=500, T=3, seed=4)
    page.context.close()
