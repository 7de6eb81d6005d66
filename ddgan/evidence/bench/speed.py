"""How fast points and images are trained and sampled, by several ways."""

from __future__ import annotations

import copy
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ...data.images import SETS, ImageSet, from_uint8
from ...data.toys import TOYS, toy
from ...diffusion.denoiser import Denoiser
from ...diffusion.sampler import Draws, sample
from ...diffusion.schedule import Schedule
from ...explorer.methods import METHODS
from ...explorer.request import Request
from ...explorer.session import Session
from ...machine import cores, device, precision, record, use_cores
from ...metrics.points import score
from ...models import checkpoint, layers, registry, unet
from ...models.config import PRESETS, Config
from ...training.cuda_graph import Recorded
from ...training.run import new_objective
from ...training.trainer import Objective, train
from ...views.encoding import encoded
from ...views.stage import stage, staged
from .page import opened

__all__ = [
    "SHAPE", "TIMED_IMAGES", "awake", "ddpm_size", "images", "live", "paper_size", "raced", "sampling_seconds", "toys",
    "ways",
]  # fmt: skip

TARGET = "25/25 modes, at least 95 % on a mode, KL at most .05"
N = 10_000
TIMED_IMAGES, T = 16, 4  # images and steps of a timed sampling
SHAPE = SETS["cifar10"]


def toys(seeds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything about 2-D data: live training, sampling, the page."""
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
    report["sample_2000_x_8"] = {name: raced(name) for name in TOYS}
    say(f"sample_2000_x_8: {report['sample_2000_x_8']}")
    report["payload_kB"] = round(len(encoded(stage(staged(Session(), Request())))) / 1000)
    report |= opened(say)
    return {**report, "wall_s": round(time.perf_counter() - start, 1)}


def live(config: Config, seconds: float) -> dict[str, Any]:
    """Train for some seconds. Report the end, and when the target was reached (untimed checks, every 100 updates)."""
    law = toy(config.data)
    objective = new_objective(config, law)
    reference = law.sample(N, torch.Generator().manual_seed(1))
    draws = Draws.from_seeds(range(N), law.shape, config.T or 4, objective.denoiser.latent_dim)

    def numbers() -> dict[str, float]:
        *_, last = sample(Schedule.vp(config.T or 4), objective.denoiser, draws)
        return score(last.x_s, law, reference)

    reached = None
    long = replace(config, steps=10**9)  # the clock ends the run
    for step in train(
        objective, lambda _, noise: (law.sample(long.batch, noise), None), seed=config.seed, seconds=seconds
    ):
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


def raced(data: str, rounds: int = 10) -> dict[str, float]:
    """2,000 points of a toy in 8 steps: processor time of the DDGAN in milliseconds, and of each method in DDGANs.

    Medians of rounds in which each method is timed once. `flow_ms` is a first map, which is then kept.
    """
    session, clocks = Session(), {name: [] for name in METHODS if name != "official"}
    for i in range(rounds + 1):
        for name in clocks:
            request = Request(data=data, T=8, n=2000, seed=i)
            run = partial(session.run, request, name)
            clocks[name].append(1000 * _clock(lambda run=run: list(run()), time.process_time))
    clocks = {name: clock[1:] for name, clock in clocks.items()}  # the first loads models
    ratios = {
        name: round(statistics.median(a / b for a, b in zip(clock, clocks["ddgan"], strict=True)), 2)
        for name, clock in clocks.items()
        if name not in ("ddgan", "flow")
    }
    first = {f"{name}_ms": round(statistics.median(clocks[name]), 1) for name in ("ddgan", "flow")}
    return first | ratios


def _clock(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def images(rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything about images: 16 images in 4 steps by several ways, DDPM's many steps, and training.

    Seconds are processor time of one thread, the least of `rounds`, and the ways take turns. So a busy machine hardly
    changes them. Peak memory is the most that the process has used so far.
    """
    start = time.perf_counter()
    report: dict[str, Any] = {**record(), "images": TIMED_IMAGES, "steps": T}

    def note(name: str, value: Any) -> None:
        report[name] = value
        say(f"{name}: {value}")

    for name in ("mnist", "cifar10"):
        trained = (checkpoint.WEIGHTS / name / "model.safetensors").is_file()
        denoiser = checkpoint.load(name) if trained else awake(registry.new_generator(PRESETS[name], SETS[name]))
        note(name, {"trained": trained, **ways(denoiser, SETS[name], rounds), "peak_MB": _peak()})
    paper = paper_size()
    note("paper_size", {"trained": False, **ways(paper, SHAPE, rounds), "peak_MB": _peak()})
    note("ddpm", _ddpm(rounds))
    if torch.cuda.is_available():
        on_gpu = copy.deepcopy(paper).to(device(), precision(device()))
        note("cuda_paper_size_100_images_s", round(sampling_seconds(on_gpu, SHAPE, T, rounds=6, n=100), 3))
    for name in ("mnist", "cifar10"):
        for n in sorted({1, cores()}):
            words = f"train_{name}_images_per_second" + f"_{n}_threads" * (n > 1)
            note(words, _training(PRESETS[name], SETS[name], n, full=rounds > 1))
        if device().type == "cpu":
            note(f"train_{name}_against_a_product", _against_a_product(PRESETS[name], SETS[name]))
    return {**report, "wall_s": round(time.perf_counter() - start, 1)}


@torch.no_grad()
def awake(network: nn.Module) -> Any:
    """Give the layers that start with tiny weights ordinary ones, so that rounding shows in the images."""
    for layer in network.eval().requires_grad_(False).modules():
        if isinstance(layer, nn.Conv2d):
            noise = torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
            layer.weight.add_(noise, alpha=0.5 * layer.weight[0].numel() ** -0.5)
    return network


def ways(denoiser: Denoiser, shape: tuple[int, ...], rounds: int) -> dict[str, dict[str, float]]:
    """Time 16 images x 4 steps by each way, and measure their relative L2 distance to the images of the first way.

    eager       float32, channels first, resampling as it is defined: zeros between pixels, padding, a filter, every
                other pixel
    float32     channels last, resampling as models/layers.py does it
    bfloat16    the same with weights in bfloat16; left out if the processor is not fast in it
    """
    found = {"eager": _eager(denoiser), "float32": denoiser}
    if (dtype := precision(torch.device("cpu"))) != torch.float32:
        found[str(dtype).removeprefix("torch.")] = copy.deepcopy(denoiser).to(dtype)
    draws = Draws.from_seeds(range(TIMED_IMAGES), shape, T, denoiser.latent_dim)
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
    """Copy the network so that it computes as published."""
    network = copy.deepcopy(denoiser).float().to(memory_format=torch.contiguous_format)
    network.first.register_forward_pre_hook(lambda _, given: (given[0].contiguous(),))
    resampling = {layers.shrink: partial(_resampled, down=2, pad=1), layers.stretch: partial(_resampled, up=2, pad=1)}
    for layer in network.modules():
        if isinstance(layer, layers.Block):
            layer.resample = resampling.get(layer.resample)
        if isinstance(layer, unet.Pyramid):
            layer.forward = partial(_eager_pyramid, layer.conv)
    return network


def _resampled(x: Tensor, *, up: int = 1, down: int = 1, pad: int) -> Tensor:
    """Resample with the FIR filter [1, 3, 3, 1] / 8, as defined."""
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
    """Make a U-Net of DDPM's size with fresh weights."""
    config = replace(PRESETS["cifar10-paper"], latent_dim=0, width=96, depth=1, multipliers=(1, 3, 2, 4))
    return awake(registry.new_generator(config, SHAPE))


def paper_size() -> Denoiser:
    """Make the paper's generator with fresh weights."""
    return awake(registry.new_generator(PRESETS["cifar10-paper"], SHAPE))


def sampling_seconds(
    network: Denoiser, shape: tuple[int, ...], steps: int, rounds: int, n: int = TIMED_IMAGES
) -> float:
    """Time n samples: the least of `rounds`, in seconds of processor time, or of wall time on a GPU."""
    cuda = network.device.type == "cuda"
    draws = Draws(*(v.to(network.device) for v in Draws.from_seeds(range(n), shape, steps, network.latent_dim)))

    def work() -> None:
        list(sample(Schedule.vp(steps), network, draws))
        if cuda:
            torch.cuda.synchronize()

    return min(_clock(work, time.perf_counter if cuda else time.process_time) for _ in range(rounds))


def _ddpm(rounds: int) -> dict[str, Any]:
    """Time one step of 16 images by a U-Net of DDPM's size, and multiply it by DDIM's 50 and DDPM's 1000 steps."""
    network = ddpm_size()
    report = {"parameters": sum(p.numel() for p in network.parameters()), "scaled_from_forwards": rounds + 1}
    for dtype in dict.fromkeys((torch.float32, precision(torch.device("cpu")))):
        second = sampling_seconds(network.to(dtype), SHAPE, 1, rounds + 1)
        name = str(dtype).removeprefix("torch.")
        report |= {f"ddim_50_{name}_s": round(50 * second, 1), f"ddpm_1000_{name}_s": round(1000 * second)}
    return report


def _training(config: Config, shape: tuple[int, ...], n: int, *, full: bool) -> int:
    """Count images per second in updates of both networks on noise. `full` includes the usual share of penalties.

    A second is one of processor time on one thread, of wall time on n or on a GPU.
    """
    use_cores(n)
    objective, update = _updating(config, shape)
    cuda = objective.device.type == "cuda"
    # the first update is slower and has the penalty; on a CUDA device updates of both kinds are slower until recorded
    for _ in range(config.every * (Recorded.FIRST + 1) if cuda else 1):
        update()
    updates = config.every if full else 2

    def work() -> None:
        for _ in range(updates):
            update()

    seconds = _clock(work, time.process_time if not cuda and n == 1 else time.perf_counter)
    use_cores()
    return round(updates * config.batch / seconds)


def _updating(config: Config, shape: tuple[int, ...]) -> tuple[Objective, Callable[[], Any]]:
    """An objective on noise, and an update of both its networks."""
    noise = np.random.default_rng(0).integers(0, 256, (2000, *shape), dtype=np.uint8)
    objective = new_objective(config, ImageSet(noise))
    generator = torch.Generator(objective.source)
    x_0 = from_uint8(noise[: config.batch]).to(objective.device)
    return objective, lambda: objective.update(x_0, generator, 0.0)


def _against_a_product(config: Config, shape: tuple[int, ...]) -> dict[str, float]:
    """Count the operations of an update without a penalty, and time it beside a plain product of two matrices.

    `share` is its speed as a share of the product's, in the same arithmetic on one thread: what is left to gain without
    other networks.
    """
    objective, update = _updating(config, shape)
    update()  # the one with the penalty, whose operations torch cannot count
    with FlopCounterMode(display=False) as counter:
        update()
    a = torch.randn(1024, 1024).to(objective.descent.precision)
    products = min(_clock(lambda: a @ a, time.process_time) for _ in range(10))
    updates = min(_clock(update, time.process_time) for _ in range(2))
    operations = counter.get_total_flops()
    return {
        "gflop_an_image": round(operations / config.batch / 1e9, 2),
        "share": round(operations / updates / (2 * 1024**3 / products), 2),
    }


def _peak() -> int | None:
    """Return the most megabytes that this process has held so far, or None if the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
