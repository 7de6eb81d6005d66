"""Behind a proxy that strips a prefix, and in a frame of another page, as on a Space, it is the same page."""

import socket
import threading

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, StreamingResponse
from starlette.routing import Route
from test_page import STAGE

from ddgan.evidence.bench.page import started
from ddgan.explorer.request import Request

PREFIX = "/spaces/someone/ddgan"
HOPS = ("connection", "transfer-encoding", "keep-alive")


def proxied(address, seen):
    """The app of a proxy that serves `address` under PREFIX, and a page that frames it."""
    http = httpx.AsyncClient(base_url=address, timeout=60)

    async def forward(request):
        seen.append(request.url.path)
        url = httpx.URL(path="/" + request.path_params["path"], query=request.url.query.encode())
        sent = http.build_request(request.method, url, headers=request.headers.raw, content=await request.body())
        answer = await http.send(sent, stream=True)
        headers = {name: value for name, value in answer.headers.items() if name not in HOPS}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, headers)

    async def frame(request):
        src = f"{PREFIX}/?{request.url.query}"
        return HTMLResponse(f'<!doctype html><title>A Space</title><iframe src="{src}" width="1280" height="900">')

    return Starlette(
        routes=[
            Route("/frame", frame),
            Route(PREFIX + "/{path:path}", forward, methods=["GET", "POST", "HEAD"]),
        ]
    )


@pytest.fixture(scope="module")
def space():
    """(its address, the paths that it was asked for)"""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    here, seen = f"http://127.0.0.1:{port}", []
    with started(GRADIO_ROOT_PATH=here + PREFIX) as (_, address):
        server = uvicorn.Server(uvicorn.Config(proxied(address, seen), port=port, log_level="error"))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        yield here, seen
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize("framed", [False, True])
def test_pictures_come_through_the_proxy(chromium, space, framed):
    (here, seen), asked = space, "n=500&T=3&seed=4"
    context = chromium.new_context(viewport={"width": 1300, "height": 950}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{here}/frame?{asked}" if framed else f"{here}{PREFIX}/?{asked}")
    inner = page.frame_locator("iframe") if framed else page
    stage = inner.locator(f'{STAGE}[data-ready="1"][data-scored]')
    stage.wait_for(timeout=60_000)
    assert Request.from_query(stage.get_attribute("data-id")) == Request(n=500, T=3, seed=4)
    inner.locator("#dice").click()
    inner.locator(f'{STAGE}[data-scored*="seed=5"]').wait_for()
    inner.locator(".posterior").scroll_into_view_if_needed()
    inner.locator(".posterior[data-answer]").wait_for()
    assert all(path.startswith(PREFIX) for path in seen) and any("/pictures/" in path for path in seen)
    context.close()
