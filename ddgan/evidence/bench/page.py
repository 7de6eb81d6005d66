"""The app in a process of its own, and how fast its page is in Chromium."""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

__all__ = ["CHROMIUM", "looked_at", "opened", "scrubbed", "served", "started"]

CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def served(*, ssr: bool = False, **environment: str) -> Iterator[tuple[str, float]]:
    """Run the app in its own process, with or without server-side rendering. Yields (address, seconds to HTTP 200)."""
    start = time.perf_counter()
    with started(GRADIO_SSR_MODE=str(ssr), **environment) as (_, address):
        yield address, time.perf_counter() - start


@contextmanager
def started(
    port: int | None = None,
    output: IO[bytes] | int = subprocess.DEVNULL,
    root: Path | None = None,
    **environment: str,
) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the app in its own process, which prints to `output`. Yields (process, address) once it answers.

    `root` is the checkout that it runs from, this one by default.

    OSError if it does not answer within a minute.
    """
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    app = (root or Path(__file__).parents[3]).resolve() / "app.py"
    process = subprocess.Popen(
        [sys.executable, str(app), "--host", "127.0.0.1", "--port", str(port)],
        stdout=output,
        stderr=output,
        cwd=app.parent,
        env={**os.environ, "GRADIO_SSR_MODE": "False", **environment},
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            try:
                with urllib.request.urlopen(address, timeout=5):
                    break
            except OSError:
                if process.poll() is not None:
                    raise
                time.sleep(0.1)
        else:
            raise OSError(f"the app does not answer at {address}")
        yield process, address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()


def opened(say: Callable[[str], None]) -> dict[str, Any]:
    """Time the first page in seconds, and a changed control to new pixels in a real browser in milliseconds."""
    with served() as (address, seconds):
        report: dict[str, Any] = {"start_to_first_200_s": round(seconds, 1)}
        found = looked_at(address, 15)
        if not found:
            say("control_to_pixels_ms needs playwright and Chromium: not measured")
        return {**report, **found}


def looked_at(address: str, times: int) -> dict[str, Any]:
    """In Chromium: seconds from opening the page to its picture, ms from a changed control to new pixels; {} without.

    The first three of each are left out. Also the time of a frame while 5,000 points in three panels are scrubbed, with
    the processor four times as slow.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {}
    found: dict[str, list[float]] = {"open_to_picture_s": [], "control_to_pixels_ms": [], "click_to_posterior_ms": []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=CHROMIUM
        )
        for _ in range(max(4, times // 2)):
            page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
            begun = time.perf_counter()
            page.goto(address, wait_until="commit")
            page.wait_for_selector('#stage .stage[data-ready="1"]')
            found["open_to_picture_s"].append(round(time.perf_counter() - begun, 2))
            page.wait_for_timeout(2000)
            page.context.close()
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_selector('#stage .stage[data-ready="1"]')
        page.wait_for_timeout(4000)
        for what, act in (("control_to_pixels_ms", _PRESS), ("click_to_posterior_ms", _WALK)):
            for _ in range(times):
                found[what].append(page.evaluate(act))
                page.wait_for_timeout(50)
            page.locator("#posterior").scroll_into_view_if_needed()
            page.wait_for_timeout(4000)
        slow = {f"scrub_5000_throttled_{what}": value for what, value in scrubbed(page, address).items()}
        browser.close()
    kept = {what: values[3:] for what, values in found.items()}
    medians = {re.sub("_(m?s)$", r"_median_\1", what): statistics.median(kept[what]) for what in kept}
    return {**kept, **medians, **slow}


def scrubbed(page: Any, address: str) -> dict[str, Any]:
    """Scrub 5,000 points in three panels with the processor four times as slow: milliseconds of the frames.

    Also what the page's main thread does in a frame, on average: `all` has painting and handing over besides.
    """
    page.goto(f"{address}?n=5000", wait_until="domcontentloaded")
    page.wait_for_selector('#stage .stage[data-ready="1"]')
    page.wait_for_timeout(4000)
    protocol = page.context.new_cdp_session(page)
    protocol.send("Performance.enable")
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": 4})

    def spent() -> dict[str, float]:
        return {m["name"]: m["value"] for m in protocol.send("Performance.getMetrics")["metrics"]}

    before, frames, after = spent(), page.evaluate(_SCRUB), spent()
    kinds = {"script": "Script", "style": "RecalcStyle", "layout": "Layout", "all": "Task"}
    seconds = {kind: after[f"{name}Duration"] - before[f"{name}Duration"] for kind, name in kinds.items()}
    return {
        "median_ms": round(statistics.median(frames[10:])),
        "p95_ms": round(statistics.quantiles(frames[10:], n=20)[-1]),
        "max_ms": round(max(frames[10:])),
        "mean_ms": {kind: round(1000 * value / len(frames), 1) for kind, value in seconds.items()},
    }


# act, then wait for the frame after the one that draws a new answer
_UNTIL_DRAWN = """() => new Promise(done => {
    const start = performance.now();
    new MutationObserver((_, observer) => {
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => done(Math.round(performance.now() - start))));
    }).observe(document.querySelector('%s'), {attributeFilter: ['%s']});
    %s;
})"""
# drag the scrubber through the states twice, a place a frame: the time of each frame in ms
_SCRUB = """async () => {
    const range = document.querySelector('#stage input[type=range]'), frames = [], places = 60;
    range.dispatchEvent(new PointerEvent('pointerdown', {bubbles: true}));
    for (let i = 0, last = performance.now(); i < 2 * places; i++) {
        range.value = range.max * (i % places) / places;
        range.dispatchEvent(new Event('input', {bubbles: true}));
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - last);
        last = now;
    }
    window.dispatchEvent(new PointerEvent('pointerup'));
    return frames;
}"""
_PRESS = _UNTIL_DRAWN % ("#stage .stage", "data-id", "document.querySelector('#dice').click()")
_WALK = _UNTIL_DRAWN % (
    ".posterior",
    "data-answer",
    "document.querySelector('.map .posterior-plot').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))",
)
