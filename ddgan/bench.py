"""Measurements that the README quotes. Nothing here is asserted: a benchmark prints what one run on one machine gave."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from . import views
from .config import PRESETS, Config
from .data import toy
from .metrics import evaluate
from .sampler import Draws, sample
from .schedule import Schedule
from .request import Request
from .fit import new_objective
from .machine import hardware
from .session import Session
from .trainer import train

__all__ = ["CHROMIUM", "live", "served", "toys"]

TARGET = "25/25 modes, at least 95 % on a mode, KL at most .05"
N = 10_000
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def toys(seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything about 2-D data: live training, sampling, the page."""
    config = PRESETS["25-gaussians-live"]
    report: dict[str, Any] = {"hardware": hardware(), "torch": torch.__version__, "target": TARGET}
    runs = {
        "live_T4": (config, 10.0, range(seeds)),
        "live_any_T": (replace(config, T=None), 15.0, range(seeds)),
        "paper_recipe_T4": (PRESETS["25-gaussians-paper"], 10.0, range(1)),
    }
    for name, (recipe, seconds, of_seeds) in runs.items():
        report[name] = []
        for seed in of_seeds:
            report[name].append(live(replace(recipe, seed=seed), seconds))
            say(f"{name} seed {seed}: {report[name][-1]}")
    report["sample_2000_x_4_ms"] = _sampling()
    report["payload_kB"] = round(len(views.stage(Session(), Request())) / 1000)
    report |= _page(say)
    return report


def live(config: Config, seconds: float) -> dict[str, Any]:
    """Train for some seconds; when the target was reached (looked at every 100 updates, off the clock), and the end."""
    law = toy(config.data)
    objective = new_objective(config, law)
    reference = law.sample(N, torch.Generator().manual_seed(1))
    draws = Draws.from_seeds(range(N), law.shape, config.T or 4, objective.denoiser.latent_dim)

    def numbers() -> dict[str, float]:
        *_, last = sample(Schedule.vp(config.T or 4), objective.denoiser, draws)
        return evaluate(last.x_s, law, reference)

    reached = None
    long = replace(config, steps=10**9)  # the clock ends the run
    for step in train(objective, lambda _, noise: law.sample(long.batch, noise), seed=config.seed, seconds=seconds):
        if reached is None and step.step % 100 == 0:
            now = numbers()
            if now["modes"] == law.modes and now["on_mode"] >= 0.95 and now["kl"] <= 0.05:
                reached = round(step.seconds, 1)
    end = numbers()
    return {
        "seed": config.seed,
        "seconds_to_target": reached,
        "seconds": seconds,
        "updates_per_second": round(step.step / step.seconds),
        "modes": end["modes"],
        "on_mode": round(end["on_mode"], 4),
        "kl": round(end["kl"], 4),
    }


def _sampling() -> dict[str, float]:
    session, request = Session(), Request()
    times = {}
    for name in request.denoisers:
        list(session.run(request, name))
        clocks = [_clock(lambda name=name: list(session.run(request, name))) for _ in range(20)]
        times[name] = round(1000 * statistics.median(clocks), 1)
    return times


def _clock(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def served(*, ssr: bool = False):
    """The app in a process of its own, with Gradio's server-side rendering or without: yields (address, seconds to HTTP 200)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = Path(__file__).parents[1] / "app.py"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(app), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=app.parent,
        env={**os.environ, "GRADIO_SSR_MODE": str(ssr)},
    )
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            try:
                with urllib.request.urlopen(address, timeout=5):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield address, time.perf_counter() - start
    finally:
        process.terminate()
        process.wait(20)


def _page(say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds to the first page, and milliseconds from a changed control to new pixels in a real browser."""
    with served() as (address, seconds):
        report: dict[str, Any] = {"start_to_first_200_s": round(seconds, 1), "control_to_pixels_ms": None}
        try:
            from playwright.sync_api import sync_playwright
        except ImportError:
            say("control_to_pixels_ms needs playwright and Chromium: not measured")
            return report
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=CHROMIUM
            )
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.goto(address, wait_until="domcontentloaded")
            page.wait_for_selector('#stage .stage[data-ready="1"]')
            page.wait_for_timeout(4000)
            report["control_to_pixels_ms"] = [page.evaluate(_PRESS) for _ in range(15)][3:]
            page.locator("#posterior").scroll_into_view_if_needed()
            page.wait_for_timeout(4000)
            report["click_to_posterior_ms"] = [page.evaluate(_WALK) for _ in range(15)][3:]
            browser.close()
        for name in ("control_to_pixels", "click_to_posterior"):
            report[f"{name}_median_ms"] = round(statistics.median(report[f"{name}_ms"]))
    return report


# act, and wait for the frame after the one in which another answer was drawn
_UNTIL_DRAWN = """() => new Promise(done => {
    const start = performance.now();
    new MutationObserver((_, observer) => {
        observer.disconnect();
        requestAnimationFrame(() => requestAnimationFrame(() => done(Math.round(performance.now() - start))));
    }).observe(document.querySelector('%s'), {attributeFilter: ['%s']});
    %s;
})"""
_PRESS = _UNTIL_DRAWN % ("#stage .stage", "data-id", "document.querySelector('#dice').click()")
_WALK = _UNTIL_DRAWN % (
    ".posterior",
    "data-answer",
    "document.querySelector('.map .posterior-plot').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))",
)
