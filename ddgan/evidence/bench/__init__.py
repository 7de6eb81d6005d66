"""Measurements that the README quotes. Nothing here is asserted: a benchmark prints what one run on one machine gave."""

from __future__ import annotations

import copy
import math
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import checkpoint, views
from ..config import PRESETS, Config
from ..data import toy
from ..denoiser import Denoiser
from ..images import SETS, ImageSet, from_uint8
from ..metrics import evaluate
from ..networks import conv
from ..recorded import Recorded
from ..sampler import Draws, sample
from ..schedule import Schedule
from ..request import Request
from ..fit import new_objective
from ..machine import device, precision, record
from ..session import Session
from ..trainer import train

__all__ = [
    "CHROMIUM", "IMAGES", "SHAPE", "awake", "ddpm_size", "images", "live", "paper_size", "sampling_seconds", "served", "started",
    "toys", "ways",
]  # fmt: skip

TARGET = "25/25 modes, at least 95 % on a mode, KL at most .05"
N = 10_000
IMAGES, T = 16, 4  # what is timed: so many images, so many steps
SHAPE = SETS["cifar10"]
CHROMIUM = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def toys(seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything about 2-D data: live training, sampling, the page."""
    start, config = time.perf_counter(), PRESETS["25-gaussians-live"]
    report: dict[str, Any] = {**record(), "target": TARGET}
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
    return {**report, "wall_s": round(time.perf_counter() - start, 1)}


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


def _clock(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def images(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything about images: 16 of them in 4 steps, the same by other ways and by DDPM's many steps, training.

    Seconds are the least of `rounds`, the ways taken in turns, in processor time of the one thread: a busy machine hardly
    changes them. Peak memory is that of the process up to there.
    """
    start = time.perf_counter()
    report: dict[str, Any] = {**record(), "images": IMAGES, "steps": T}

    def note(name: str, value: Any) -> None:
        report[name] = value
        say(f"{name}: {value}")

    for name in ("mnist", "cifar10"):
        trained = (checkpoint.WEIGHTS / name / "model.safetensors").is_file()
        denoiser = checkpoint.load(name) if trained else awake(checkpoint.new_generator(PRESETS[name], SETS[name]))
        note(name, {"trained": trained, **ways(denoiser, SETS[name], rounds), "peak_MB": _peak()})
    paper = paper_size()
    note("paper_size", {"trained": False, **ways(paper, SHAPE, rounds), "peak_MB": _peak()})
    note("ddpm", _ddpm(rounds))
    if torch.cuda.is_available():
        on_gpu = copy.deepcopy(paper).to(device(), precision(device()))
        note("cuda_paper_size_100_images_s", round(sampling_seconds(on_gpu, SHAPE, T, rounds=6, n=100), 3))
    for name in ("mnist", "cifar10"):
        note(f"train_{name}_images_per_second", _training(PRESETS[name], SETS[name], full=rounds > 1))
    return {**report, "wall_s": round(time.perf_counter() - start, 1)}


@torch.no_grad()
def awake(network: nn.Module) -> Any:
    """A network with weights of ordinary size where training starts from tiny ones, so that rounding shows in its images."""
    for layer in network.eval().requires_grad_(False).modules():
        if isinstance(layer, nn.Conv2d):
            noise = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
            layer.weight.add_(noise, alpha=0.5 * layer.weight[0].numel() ** -0.5)
    return network


def ways(denoiser: Denoiser, shape: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Seconds for 16 images x 4 steps by each way to compute them, and their relative L2 distance to the first way's.

    eager       float32, channels first, resampling as it is defined: zeros between pixels, padding, filter, every other
    float32     channels last, resampling as networks/conv.py does it
    bfloat16    the same with weights in bfloat16: what is used where the processor is fast in it, else left out
    """
    found = {"eager": _eager(denoiser), "float32": denoiser}
    if (dtype := precision(torch.device("cpu"))) != torch.float32:
        found[str(dtype).removeprefix("torch.")] = copy.deepcopy(denoiser).to(dtype)
    draws = Draws.from_seeds(range(IMAGES), shape, T, denoiser.latent_dim)
    seconds, drawn = dict.fromkeys(found, math.inf), {}
    for _ in range(rounds):
        for way, network in found.items():
            start = time.process_time()
            *_, last = sample(Schedule.vp(T), network, draws)
            seconds[way], drawn[way] = min(seconds[way], time.process_time() - start), last.x_s
    truth = drawn["eager"]
    return {
        way: {
            "seconds": round(seconds[way], 3),
            "times_as_fast": round(seconds["eager"] / seconds[way], 1),
            "error": float(f"{(x - truth).norm() / truth.norm():.1e}"),
        }
        for way, x in drawn.items()
    }


def _eager(denoiser: Denoiser) -> Denoiser:
    """A copy that computes as published."""
    network = copy.deepcopy(denoiser).float().to(memory_format=torch.contiguous_format)
    network.first.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
    resampling = {conv.shrink: partial(_resampled, down=2, pad=1), conv.stretch: partial(_resampled, up=2, pad=1)}
    for layer in network.modules():
        if isinstance(layer, conv.Block):
            layer.resample = resampling.get(layer.resample)
        if isinstance(layer, conv.Pyramid):
            layer.forward = partial(_eager_pyramid, layer.conv)
    return network


def _resampled(x: Tensor, *, up: int = 1, down: int = 1, pad: int) -> Tensor:
    """Up- and downsampling with the FIR filter [1, 3, 3, 1] / 8, as defined."""
    B, C, H, W = x.shape
    wide = x.new_zeros(B, C, H * up, W * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (pad + up - 1, pad, pad + up - 1, pad))
    line = torch.tensor([1.0, 3, 3, 1]) * up / 8
    filtered = F.conv2d(wide.flatten(0, 1)[:, None], torch.outer(line, line)[None, None])
    return filtered[:, 0, ::down, ::down].unflatten(0, (B, C))


def _eager_pyramid(layer: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(_resampled(x, pad=2), layer.weight, layer.bias, stride=2)


def ddpm_size() -> Denoiser:
    """A U-Net of DDPM's size with fresh weights."""
    config = replace(PRESETS["cifar10-paper"], latent_dim=0, width=96, depth=1, multipliers=(1, 3, 2, 4))
    return awake(checkpoint.new_generator(config, SHAPE))


def paper_size() -> Denoiser:
    """The paper's generator with fresh weights."""
    return awake(checkpoint.new_generator(PRESETS["cifar10-paper"], SHAPE))


def sampling_seconds(network: Denoiser, shape: tuple[int, ...], steps: int, rounds: int, n: int = IMAGES) -> float:
    """Seconds for n samples, the least of `rounds`: of the processor's time, or on a GPU of the clock's."""
    cuda = network.device.type == "cuda"
    draws = Draws(*(v.to(network.device) for v in Draws.from_seeds(range(n), shape, steps, network.latent_dim)))

    def work() -> None:
        list(sample(Schedule.vp(steps), network, draws))
        if cuda:
            torch.cuda.synchronize()

    return min(_clock(work, time.perf_counter if cuda else time.process_time) for _ in range(rounds))


def _ddpm(rounds: int) -> dict[str, Any]:
    """One step of 16 images by a U-Net of DDPM's size, float32 and the fastest way, times DDIM's 50 and DDPM's 1000."""
    network = ddpm_size()
    report = {"parameters": sum(p.numel() for p in network.parameters()), "scaled_from_forwards": rounds + 1}
    for dtype in dict.fromkeys((torch.float32, precision(torch.device("cpu")))):
        second = sampling_seconds(network.to(dtype), SHAPE, 1, rounds + 1)
        name = str(dtype).removeprefix("torch.")
        report |= {f"ddim_50_{name}_s": round(50 * second, 1), f"ddpm_1000_{name}_s": round(1000 * second)}
    return report


def _training(config: Config, shape: tuple[int, ...], full: bool) -> int:
    """Images a second over updates of both networks on noise; with the share of penalties, if `full`."""
    noise = np.random.default_rng(0).integers(0, 256, (2000, *shape), dtype=np.uint8)
    objective = new_objective(config, ImageSet(noise))
    generator = torch.Generator(objective.source)
    x_0 = from_uint8(noise[: config.batch]).to(objective.device)
    # the first is slower, and has the penalty; on a CUDA device the first of both kinds are, until they are recorded
    for _ in range(config.every * (Recorded.FIRST + 1) if x_0.is_cuda else 1):
        objective.update(x_0, generator, 0.0)
    updates = config.every if full else 2

    def work() -> None:
        for _ in range(updates):
            objective.update(x_0, generator, 0.0)

    return round(updates * config.batch / _clock(work, time.process_time if x_0.device.type == "cpu" else time.perf_counter))


def _peak() -> int | None:
    """Megabytes that this process held at most so far; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))


@contextmanager
def served(*, ssr: bool = False, **environment: str) -> Iterator[tuple[str, float]]:
    """The app in a process of its own, with Gradio's server-side rendering or without: yields (address, seconds to HTTP 200)."""
    start = time.perf_counter()
    with started(GRADIO_SSR_MODE=str(ssr), **environment) as (_, address):
        yield address, time.perf_counter() - start


@contextmanager
def started(
    port: int | None = None, output: IO[bytes] | int = subprocess.DEVNULL, **environment: str
) -> Iterator[tuple[subprocess.Popen, str]]:
    """The app in a process of its own, all that it prints going to `output`: yields (process, address) once it answers.

    OSError where it does not within a minute.
    """
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    app = Path(__file__).parents[2] / "app.py"
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
