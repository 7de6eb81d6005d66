"""The paper's argument on images: rows 6 to 9 of the evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch.nn.functional import avg_pool2d

from .. import bench, checkpoint
from ..config import preset
from ..fit import new_objective
from ..image_metrics import judge_set
from ..images import SETS, batches, decode_pixels, encode_pixels, find_images, from_uint8, load_images, sheet, to_uint8
from ..machine import device, precision
from ..request import Edit, Request, seeds
from ..sampler import draw
from ..schedule import Schedule
from ..session import Session
from ..trainer import train
from .figures import chart
from .frame import Cell, Column, Experiment, Result, means, weights

__all__ = ["EXPERIMENTS"]

_session = cache(Session)


class _Clock:
    """Hands parts of a sampling on, and adds up what they took: of the processor's time, or on a GPU of the clock's."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._now = time.process_time if device().type == "cpu" else time.perf_counter

    def __call__(self, parts: Iterator[Any], of: int = 0) -> Iterator[Any]:
        parts, start = iter(parts), self._now()
        for part in parts:
            self.seconds += self._now() - start
            yield part
            start = self._now()


# ---------------------------------------------------------------- 6. StackedMNIST

STACKED = {"DDGAN, T = 4": ("stackedmnist", 4), "DDGAN, T = 1": ("stackedmnist", 1), "GAN, T = 1": ("stackedmnist-gan", 1)}


def _stacked(seed: int, model: str, T: int, n: int, weights: list[str]) -> dict[str, Any]:
    if weights == ["none"]:
        raise ValueError(f"there is no {model} here: {model}/card.json and model.safetensors belong into weights/")
    denoiser = checkpoint.load(model).to(device(), precision(device()))
    judged = judge_set(draw(Schedule.vp(T), denoiser, seeds(seed, n), SETS["stackedmnist"]), "stackedmnist")
    return {"modes": judged["modes"], "kl": judged["kl"], "seen": _seen(denoiser.card)}


def _seen(card: dict[str, Any]) -> float:
    """Images that a model was shown in training, thousands."""
    return sum(run["seen"] for run in (*card["history"], card)) / 1000


def _stacked_cells(quick: bool) -> list[Cell]:
    n = 256 if quick else 25_600
    return [Cell(row, 0, {"model": model, "T": T, "n": n, "weights": weights(model)}) for row, (model, T) in STACKED.items()]


STACKEDMNIST = Experiment(
    "stackedmnist",
    "A thousand modes",
    "Three digits in the channels of an image make 1000 classes: does a DDGAN reach them all, and a one-step GAN of its size?",
    _stacked_cells,
    _stacked,
    (
        Column("modes", "modes", "{:.0f}", {"DDGAN, T = 4": 1000}, comparable=True),
        Column("kl", "KL", "{:.3f}", {"DDGAN, T = 4": 0.071}, comparable=True),
        Column("seen", "images seen, thousands", "{:.0f}"),
    ),
    lambda results: chart({row: {"": [v["modes"]]} for row, v in means(results).items()}, "modes of 1000, in 25,600 samples"),
    lambda rows: "; ".join(f"{row}: {v['modes']:.0f} of 1000 modes, KL {v['kl']:.3f} after {v['seen']:.0f}k images" for row, v in rows.items()),
    "1000 modes, KL .071 (StyleGAN2: 940, .424)",
    "?data=stackedmnist&denoisers=ddgan&T=4&n=16",
    note="Classes by our classifier of MNIST, over 25,600 samples: in one step as good as in four. One network for any number of steps, and one that has the "
    "same generator and discriminator and was trained for one step alone, with two thirds as many images: on one core each, 151 "
    "and 111 minutes. After 45 minutes of each the GAN was ahead.",
    closes=(
        "python -m ddgan train stackedmnist --init stackedmnist --seed 2 --lr-g 3e-4 --lr-d 6e-4 --out runs/stacked --minutes 120",
        "goes on with the DDGAN, towards the paper's KL: hours of one core",
    ),
)


# ---------------------------------------------------------------- 7. CIFAR-10

CIFAR = {
    **{f"DDGAN, T = {T}": ("ddgan", T) for T in (1, 2, 4, 8)},
    **{f"learned Gaussian, T = {T}": ("regression", T) for T in (4, 50)},
}
SHORT = 1000, 2000  # updates of a network without z, which is not shipped, and of the same recipe beside it
BRIEF = {"DDGAN": {}, "no z": {"latent_dim": 0}}
NO_Z = f"no z, T = 4, {SHORT[-1]:,} updates"


def _cifar(seed: int, **setting: Any) -> dict[str, Any]:
    if not find_images("cifar10") or not find_images("cifar10", "test"):
        raise ValueError("training, floor, precision and recall need CIFAR-10: python -m ddgan data cifar10 gets it")
    return (_learned if "steps" in setting else _shipped)(seed, **setting)


def _shipped(seed: int, denoiser: str, T: int, n: int, weights: list[str]) -> dict[str, Any]:
    request, clock = Request(data="cifar10", denoisers=(denoiser,), T=T, seed=seed, n=n), _Clock()
    judged, card = _session().judge(request, denoiser, watch=clock), _session().model(request, denoiser).card
    return {**judged, "seconds": clock.seconds / n * 100, "seen": _seen(card)}


def _learned(seed: int, T: int, n: int, steps: int, **changes: Any) -> dict[str, Any]:
    """A network that is trained here, by the preset's recipe but for `changes`."""
    config, data, clock = replace(preset("cifar10"), seed=seed, steps=steps, **changes), load_images("cifar10"), _Clock()
    objective = new_objective(config, data)
    for _ in train(objective, batches(data, config.batch, seed=seed, flip=config.flip), seed=seed, steps=steps):
        pass
    denoiser = objective.denoiser.to(precision(device()))
    judged = judge_set(clock(draw(Schedule.vp(T), denoiser, seeds(seed, n), data.shape)), "cifar10")
    return {**judged, "seconds": clock.seconds / n * 100, "seen": steps * config.batch / 1000}


def _cifar_cells(quick: bool) -> list[Cell]:
    n, models = 200 if quick else 2000, {"ddgan": "cifar10", "regression": "cifar10-regression"}
    shipped = [
        Cell(row, 0, {"denoiser": name, "T": T, "n": n, "weights": weights(models[name])})
        for row, (name, T) in CIFAR.items()
        if not quick or T == 4
    ]
    brief = [
        Cell(f"{name}, T = 4, {steps:,} updates", 0, {"T": 4, "n": n, "steps": steps, **change})
        for steps in ((5,) if quick else SHORT)
        for name, change in BRIEF.items()
    ]
    return shipped + brief


def _of_steps(*values: float) -> dict[str, float]:
    return {f"DDGAN, T = {T}": v for T, v in zip((1, 2, 4, 8), values, strict=True)}


def _cifar_figure(results: list[Result]) -> str:
    rows = {row: {"samples": [v["cfd"]], "floor: test images": [v["floor_cfd"]]} for row, v in means(results).items() if "cfd" in v}
    return chart(rows, "CFD, logarithmic", log=True)


CIFAR10 = Experiment(
    "cifar10",
    "CIFAR-10 in few steps",
    "In few steps the adversarial denoiser is nearer to the data, and covers more of it, than the Gaussian of the same network.",
    _cifar_cells,
    _cifar,
    (
        Column("cfd", "CFD", "{:.3f}"),
        Column("floor_cfd", "floor", "{:.4f}"),
        Column("precision", "precision", "{:.2f}"),
        Column("recall", "recall", "{:.2f}", _of_steps(0.19, 0.54, 0.57, 0.56) | {NO_Z: 0.42}),
        Column("class_kl", "class KL", "{:.2f}"),
        Column("seconds", "s / 100", "{:.2f}", {"DDGAN, T = 4": 0.21}),
        Column("seen", "images seen, thousands", "{:.0f}", {"DDGAN, T = 4": 102_400}),
        Column("fid", "FID", "{:.2f}", _of_steps(14.6, 4.08, 3.75, 4.36) | {NO_Z: 20.6}),
    ),
    _cifar_figure,
    lambda rows: "CFD (recall): "
    + "; ".join(
        f"{row} {v['cfd']:.3f} ({v['recall']:.3f})"
        for row, v in rows.items() if "cfd" in v and not row.endswith(("= 2", "= 8", "= 50"))
    )
    + f"; floor {rows['DDGAN, T = 4']['floor_cfd']:.4f}",
    "FID (recall): T = 1 14.6 (.19), T = 4 3.75 (.57), no z 20.6 (.42)",
    "?data=cifar10&T=4&n=16",
    note="Our DDGAN is one network that serves every T, the paper has another for each. 2,000 samples in the features of our own "
    "classifier, where FID and the paper's recall do not compare: the floor says how far there is to go. An H200 for three minutes (one for the Gaussian, which saw a third as many images) against four V100 for 48 hours. With few updates, of 64 images on one core: a "
    "network without z beside one that has it. After 1,000 the one without is nearer to the data, and covers less of it; after "
    "2,000 the order is the paper's in both. Seconds are of our small network on one core, the paper's of a V100.",
    closes=(
        "python -m ddgan train cifar10-paper --out runs/paper --accumulate 4",
        "took the authors 48 h on four V100; --fid then gives a number that compares",
    ),
)


# ---------------------------------------------------------------- 8. speed

SPEED = {
    "DDGAN, T = 4": ("paper", 4),
    "GAN, one step": ("paper", 1),
    "DDIM, 50 steps": ("ddpm", 50),
    "DDPM, 1000 steps": ("ddpm", 1000),
    "our small DDGAN, T = 4": ("ours", 4),
}
V100 = {"DDGAN, T = 4": 0.21, "GAN, one step": 0.04, "DDIM, 50 steps": 4.01, "DDPM, 1000 steps": 80.5}  # the paper's
MOST = 4  # steps that are run; longer chains are that many times longer, since every step costs the same


@cache
def _network(name: str) -> Any:
    made = {"paper": bench.paper_size, "ddpm": bench.ddpm_size, "ours": partial(checkpoint.load, "cifar10")}[name]()
    return made.to(device(), precision(device()))


def _speed(seed: int, network: str, steps: int, rounds: int) -> dict[str, Any]:
    model, run, n = _network(network), min(steps, MOST), bench.IMAGES
    seconds = bench.sampling_seconds(model, bench.SHAPE, run, rounds) / run * steps / n * 100
    return {"seconds": seconds, "nfe": steps, "parameters": sum(p.numel() for p in model.parameters()) / 1e6}


def _speed_cells(quick: bool) -> list[Cell]:
    return [Cell(row, 0, {"network": name, "steps": T, "rounds": 1 if quick else 4}) for row, (name, T) in SPEED.items()]


def _speed_line(rows: dict[str, dict[str, float]]) -> str:
    base = rows["DDGAN, T = 4"]["seconds"]
    ratios = (f"{row} {v['seconds'] / base:.3g} times" for row, v in rows.items() if row.startswith(("DDI", "DDPM", "GAN")))
    return f"{base:.1f} s for 100 images; " + ", ".join(ratios)


TIMES = Experiment(
    "speed",
    "Fast: the third corner of the trilemma",
    "Quality, coverage and speed are the trilemma. Four steps are four calls of a network: four times a one-step GAN, over a "
    "hundred times less than DDPM.",
    _speed_cells,
    _speed,
    (
        Column("nfe", "NFE", "{:.0f}"),
        Column("parameters", "M parameters", "{:.1f}"),
        Column("seconds", "s / 100 images", "{:.2f}", V100),
    ),
    lambda results: chart(
        {row: {"": [v["seconds"]]} for row, v in means(results).items()}, "seconds for 100 images, logarithmic", log=True
    ),
    _speed_line,
    ".21 s; DDIM 19.1, DDPM 383, StyleGAN2-ADA .19 times that (V100)",
    "?data=cifar10&T=4",
    note="The paper's network and a U-Net of DDPM's size, weights fresh, 16 images at a time, the least of four rounds; of "
    "chains over 4 steps, 4 are run and scaled. The paper's numbers are of one V100; its one-step GAN is StyleGAN2-ADA.",
)


# ---------------------------------------------------------------- 9. edits

VARIANTS, FREE, SEEN = 5, 64, 2  # pictures of an edit, samples from noise, and how much larger than their pixels they are shown
SKY, SEA, SAND, GRASS, WOOD, RED, WHITE, BLACK = (
    "#9fc4e8", "#2d5d8c", "#cbb089", "#5d8a3c", "#6b4a2e", "#b8322a", "#e8e8e4", "#202024",
)  # fmt: skip
# strokes on 32 x 32: the ground, then (kind, coordinates, colour)
STROKES = {
    "ship": (SKY, [
        ("rectangle", (0, 19, 31, 31), SEA), ("polygon", (5, 17, 27, 17, 24, 23, 8, 23), RED),
        ("rectangle", (12, 11, 20, 17), WHITE),
    ]),
    "horse": (GRASS, [
        ("ellipse", (8, 11, 24, 20), WOOD), ("polygon", (21, 13, 27, 5, 29, 9, 24, 16), WOOD),
        ("line", (11, 18, 11, 28), WOOD), ("line", (21, 18, 21, 28), WOOD),
    ]),
    "car": (SAND, [
        ("rectangle", (4, 14, 28, 22), RED), ("polygon", (9, 14, 12, 9, 21, 9, 24, 14), BLACK),
        ("ellipse", (6, 19, 12, 25), BLACK), ("ellipse", (20, 19, 26, 25), BLACK),
    ]),
}  # fmt: skip
DIGIT = ((8, 8, 20, 7), (20, 7, 12, 22))  # two lines, which could become a seven


def _strokes(name: str) -> np.ndarray:
    """uint8 (C, H, W) of a painting made of a few strokes."""
    if name == "seven":
        image = Image.new("L", (28, 28))
        for line in DIGIT:
            ImageDraw.Draw(image).line(line, fill=255, width=3)
        return np.asarray(image)[None]
    ground, shapes = STROKES[name]
    image = Image.new("RGB", (32, 32), ground)
    for kind, where, colour in shapes:
        getattr(ImageDraw.Draw(image), kind)(where, fill=colour, **({"width": 3} if kind == "line" else {}))
    return np.asarray(image).transpose(2, 0, 1)


def _edit(seed: int, data: str, start: str, t: int, weights: list[str]) -> dict[str, Any]:
    """An image noised to x_t and brought back VARIANTS times; `start` is a painting's name or a sample of the model itself."""
    session, request = _session(), Request(data=data, denoisers=("ddgan",), T=4, seed=seed, n=VARIANTS)
    if start == "sample":
        *_, last = session.run(request, "ddgan", slice(0, 1))
        image = to_uint8(last.x_s)[0]
    else:
        image = _strokes(start)
    edited = Request(data=data, denoisers=("ddgan",), T=4, seed=seed + 1, n=VARIANTS, edit=Edit(t, encode_pixels(image)))
    *_, last = (clock := _Clock())(session.run(edited, "ddgan"))
    *_, free = session.run(replace(edited, edit=None, n=FREE), "ddgan")
    x, small = last.x_s.float(), avg_pool2d(from_uint8(image[None]), 4)
    off, apart = ((avg_pool2d(y.float(), 4) - small).square().mean().sqrt() for y in (x, free.x_s))
    pixels = np.concatenate([image[None], to_uint8(x)])
    return {
        "seconds": clock.seconds / VARIANTS,
        "off": float(off) / 2,
        "apart": float(apart) / 2,
        "spread": float(x.std(0).mean()) / 2,
        "pixels": encode_pixels(pixels),
    }


def _edit_cells(quick: bool) -> list[Cell]:
    starts = {"cifar10": (*STROKES, "sample"), "mnist": ("seven", "sample")}
    return [
        Cell(f"{data}: {start}, from t = {t}", 0, {"data": data, "start": start, "t": t, "weights": weights(data)})
        for data, names in starts.items()
        for start in names
        for t in ((1,) if quick else (1, 2))
    ]


def _edit_figure(results: list[Result]) -> Image.Image:
    """A row for every cell, the image that was begun with first; grey and smaller ones are set in the middle of their place."""
    rows = []
    for result in results:
        data = result.setting["data"]
        images = decode_pixels(result.numbers["pixels"], (1 + VARIANTS, *SETS[data]))
        edge = (32 - images.shape[-1]) // 2
        rows.append(np.broadcast_to(np.pad(images, ((0, 0), (0, 0), (edge, edge), (edge, edge))), (1 + VARIANTS, 3, 32, 32)))
    whole = sheet(np.concatenate(rows), columns=1 + VARIANTS)
    return whole.resize((SEEN * whole.width, SEEN * whole.height), Image.Resampling.NEAREST)


EDITS = Experiment(
    "edits",
    "Strokes become images",
    "Noise a painting to an intermediate level and run the remaining steps: the less noise, the more of its layout stays.",
    _edit_cells,
    _edit,
    (
        Column("seconds", "s / edit", "{:.3f}"),
        Column("off", "off, at 1/4 size", "{:.3f}"),
        Column("apart", "samples from noise: off", "{:.3f}"),
        Column("spread", "spread of variants", "{:.3f}"),
    ),
    _edit_figure,
    lambda rows: f"{fmean(v['seconds'] for row, v in rows.items() if row.startswith('cifar10')):.3f} s an edit of 32 x 32 pixels",
    ".16 s an edit, SDEdit 181 s (256 x 256, V100)",
    f"?data=cifar10&T=4&n=9&edit=1.{encode_pixels(_strokes('ship'))}",
    note="Rows as in the table: what was begun with, then 5 variants. A sample is one of the model itself, noised anew for each "
    "variant: from t = 1 its details change, from t = 2 its subject. Off and spread are shares of the whole range of a "
    "pixel; samples from noise, which know nothing of the painting, say what its layout is worth: from t = 1 a fifth to a "
    "quarter of it is lost, from t = 2 half (CIFAR-10) or two thirds (digits). Our images are 32 x 32 where the paper's are 256 x 256.",
)

EXPERIMENTS = (STACKEDMNIST, CIFAR10, TIMES, EDITS)
