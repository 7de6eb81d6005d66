"""How long visitors wait for pictures of points, and how large these are; beside it the same of another checkout.

Visitors are tasks of this process, on the machine of the server, so the times include both. Every wave ends after a
stated number of requests.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from ...machine import record
from .crowd import LIMITS, REQUEST_TIMEOUT, WAVES, Visitor, endpoints, percentiles, training
from .page import CHROMIUM, looked_at, scrubbed, started

__all__ = ["scrub", "serve"]

IDLE = 6  # seconds after which a page that nobody uses has made itself ready to train
GOALS = {
    "distinct_50_p95_s": 1.0,
    "distinct_100_p95_s": 2.0,
    "one_link_100_p95_s": 0.3,
    "payload_kB": 290,
    "control_to_pixels_median_ms": 80,
    "open_to_picture_median_s": 1.2,
    "scrub_5000_throttled_max_ms": 33,
}

Ask = Callable[[int], Awaitable[int]]  # a visitor's picture of this seed -> its bytes


def serve(share: float, say: Callable[[str], None], against: Path | None = None) -> dict[str, Any]:
    """Measure this checkout and `against`, one after the other: {what: {new, old, goal}}, times in seconds or ms."""
    found = {"new": _of(None, share, lambda words: say(f"new: {words}"))}
    if against:
        found["old"] = _of(against, share, lambda words: say(f"old: {words}"))
    table = {
        what: {**{way: numbers.get(what) for way, numbers in found.items()}, "goal": GOALS.get(what)}
        for what in found["new"]
    }
    return {**record(), "pictures": table}


def scrub(rounds: int, say: Callable[[str], None], against: Path | None = None) -> dict[str, Any]:
    """Only how long the frames are while points are scrubbed: in this checkout and `against`, which take turns."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[Any]] = {}
    with ExitStack() as running, sync_playwright() as playwright:
        roots = {"new": None, **({"old": against} if against else {})}
        pages = {way: running.enter_context(started(root=root))[1] for way, root in roots.items()}
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=CHROMIUM
        )
        for way, address in list(pages.items()) * rounds:
            page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
            found.setdefault(way, []).append(scrubbed(page, address))
            page.context.close()
            say(f"{way}: {found[way][-1]}")
        browser.close()
    return {**record(), "scrub_5000_throttled": found}


def _of(root: Path | None, share: float, say: Callable[[str], None]) -> dict[str, Any]:
    report: dict[str, Any] = {}

    def note(what: str, value: Any) -> None:
        report[what] = value
        say(f"{what}: {value}")

    with started(root=root) as (_, address):
        asyncio.run(_waves(address, share, note))
        for what, value in looked_at(address, 5 if share < 1 else 15).items():
            note(what, value)
    return report


async def _waves(address: str, share: float, note: Callable[[str, Any], None]) -> None:
    async with httpx.AsyncClient(base_url=address, limits=LIMITS, timeout=REQUEST_TIMEOUT) as client:
        one, whole = await _way(client)
        note("payload_kB", round(await whole(0) / 1000))
        asks = [one() for _ in range(max(WAVES))]
        known = await endpoints(client)
        users = {n: times for n, times in WAVES.items() if share == 1 or n <= 10}
        for n, times in users.items():
            for p, seconds in (await _wave(asks[:n], times, 10_000 * n)).items():
                note(f"distinct_{n}_{p}_s", seconds)
        for p, seconds in (await _wave(asks[: max(users)], 1, 1, same=True)).items():
            note(f"one_link_{max(users)}_{p}_s", seconds)
        await asyncio.sleep(IDLE)
        async with training(Visitor(client, known)):
            for p, seconds in (await _wave(asks[:1], 20, 77_000)).items():
                note(f"while_training_1_{p}_s", seconds)


async def _wave(asks: list[Ask], times: int, first: int, *, same: bool = False) -> dict[str, float]:
    """p50 and p95 of the seconds that each picture took; all of other seeds, or all of one."""

    async def visitor(i: int, ask: Ask) -> list[float]:
        took = []
        for k in range(times):
            begun = time.perf_counter()
            await ask(first if same else first + times * i + k)
            took.append(time.perf_counter() - begun)
        return took

    waits = sum(await asyncio.gather(*(visitor(i, ask) for i, ask in enumerate(asks))), [])
    return {name: value for name, value in percentiles(waits).items() if name != "p99"}


async def _way(client: httpx.AsyncClient) -> tuple[Callable[[], Ask], Ask]:
    """How this server is asked: a new visitor's pictures of one DDGAN, and the picture that the page opens with."""
    found = re.search(r"gradio_api/pictures/\w+", (await client.get("/")).text)
    assert found is not None  # or it is a checkout from before pictures were resources

    def visitor(query: str = "denoisers=ddgan&") -> Ask:
        name = secrets.token_hex(6)

        async def ask(seed: int) -> int:
            url = client.base_url.join(f"/{found.group()}/points?{query}seed={seed}")
            while (answer := await _fetched(url, {"X-Visitor": name})).status_code == 429:
                await asyncio.sleep(float(answer.headers["retry-after"]))
            answer.raise_for_status()
            return len(answer.content)

        return ask

    return visitor, visitor("")


async def _fetched(url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
    """The answer to a GET on a connection of its own. httpx takes several times the server's time for it."""
    reader, writer = await asyncio.open_connection(url.host, url.port, limit=2**20)
    try:
        said = {"Host": url.netloc.decode(), "Connection": "close", **headers}
        lines = [f"GET {url.raw_path.decode()} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head, body = await reader.readuntil(b"\r\n\r\n"), await reader.read()
    finally:
        writer.close()
    status, *fields = head.decode("latin-1").strip().split("\r\n")
    request, found = httpx.Request("GET", url), [tuple(field.split(": ", 1)) for field in fields]
    return httpx.Response(int(status.split()[1]), headers=found, content=body, request=request)
