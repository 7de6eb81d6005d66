"""Experiments 6 to 9: the paper's argument on images."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from statistics import fmean
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from plotly import graph_objects as go
from torch.nn.functional import avg_pool2d

from ..data.images import (
    SETS,
    batches,
    decode_pixels,
    encode_pixels,
    find_images,
    from_uint8,
    load_images,
    sheet,
    to_uint8,
)
from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import draw, seeds
from ..diffusion.schedule import Schedule
from ..errors import Refused
from ..explorer.request import Edit, Request
from ..explorer.session import Session
from ..machine import device, precision
from ..metrics.images import score_set
from ..models import checkpoint
from ..models.config import preset
from ..training.run import new_objective
from ..training.trainer import train
from .bench import speed
from .experiment import Beside, Cell, Column, Experiment, Result, means, no_class, weights
from .figures import dots

__all__ = ["EXPERIMENTS"]

_session = cache(Session)


# ---------------------------------------------------------------- 6. StackedMNIST

STACKED = {
    "DDGAN, T = 4": ("stackedmnist", 4),
    "DDGAN, T = 1": ("stackedmnist", 1),
    "GAN, T = 1": ("stackedmnist-gan", 1),
}


def _stacked(seed: int, model: str, T: int, n: int, weights: list[str]) -> dict[str, Any]:
    if weights == ["none"]:
        raise Refused(f"there is no {model} here: put {model}/card.json and {model}/model.safetensors into weights/")
    denoiser = checkpoint.load(model).to(device(), precision(device()))
    judged = score_set(draw(Schedule.vp(T), denoiser, seeds(seed, n), SETS["stackedmnist"]), "stackedmnist")
    return {"modes": judged["modes"], "kl": judged["kl"], "seen": _seen(checkpoint.card_of(denoiser))}


def _seen(card: dict[str, Any]) -> float:
    """Count the images that a model was shown in training, in thousands."""
    return sum(run["seen"] for run in (*card["history"], card)) / 1000


def _stacked_cells(quick: bool) -> list[Cell]:
    n = 256 if quick else 25_600
    return [
        Cell(row, 0, {"model": model, "T": T, "n": n, "weights": weights(model)}) for row, (model, T) in STACKED.items()
    ]


def _stacked_figure(results: list[Result]) -> go.Figure:
    rows = {row: {"": [v["modes"]]} for row, v in means(results).items()}
    return dots(rows, "modes of 1000", f"StackedMNIST; VP schedule; {results[0].setting['n']:,} samples", form=".0f")


STACKEDMNIST = Experiment(
    "stackedmnist",
    "A thousand modes",
    "Three digits in the colour channels of an image make 1000 classes: a DDGAN reaches them all on vp, in four steps "
    "and in one; a GAN of its size for one step alone, which saw two thirds as many images, reaches nearly all, in "
    "less equal shares.",
    _stacked_cells,
    _stacked,
    (
        Column("modes", "modes", "{:.0f}", {"DDGAN, T = 4": 1000}, comparable=True),
        Column("kl", "KL", "{:.3f}", {"DDGAN, T = 4": 0.071}, comparable=True),
        Column("seen", "images seen, thousands", "{:.0f}"),
    ),
    _stacked_figure,
    lambda rows: "; ".join(
        f"{row}: {v['modes']:.0f} of 1000 modes, KL {v['kl']:.3f} after {v['seen']:.0f}k images"
        for row, v in rows.items()
    ),
    "1000 modes, KL .071 (StyleGAN2: 940 modes, KL .424)",
    "?data=stackedmnist&denoisers=ddgan&T=4&n=16",
    note="Our classifier of MNIST names the classes of 25,600 samples. The DDGAN is one network for any number of "
    "steps, and it is as good in one step as in four. The GAN has the same generator and discriminator, and it was "
    "trained for one step alone, with two thirds as many images. Training took 151 minutes (DDGAN) and 111 minutes "
    "(GAN) of one core. After 45 minutes of each the GAN was ahead.",
    closes=(
        "python -m ddgan train stackedmnist --init stackedmnist --seed 2 --lr-g 3e-4 --lr-d 6e-4 --out runs/stacked "
        "--minutes 120",
        "trains the DDGAN further, towards the paper's KL; it takes hours of one core",
    ),
    beside=lambda rows: (
        Beside("DDGAN, T = 4: modes of 1000", f"{rows['DDGAN, T = 4']['modes']:.0f}", "1000"),
        Beside("its KL", f"{rows['DDGAN, T = 4']['kl']:.3f}", "0.071"),
        Beside(
            "one-step GAN: modes, KL",
            f"{rows['GAN, T = 1']['modes']:.0f}, {rows['GAN, T = 1']['kl']:.3f}",
            "940, 0.424 (StyleGAN2)",
        ),
    ),
)


# ---------------------------------------------------------------- 7. CIFAR-10

CIFAR = {
    **{f"DDGAN, T = {T}": ("ddgan", T) for T in (1, 2, 4, 8)},
    **{f"learned Gaussian, T = {T}": ("regression", T) for T in (4, 50)},
}
TOLD = "DDGAN told classes, T = 4"
SHORT = 1000, 2000  # updates of a DDGAN and of a network without z; neither is shipped
BRIEF = {"DDGAN": {}, "no z": {"latent_dim": 0}}
NO_Z = f"no z, T = 4, {SHORT[-1]:,} updates"


def _cifar(seed: int, **setting: Any) -> dict[str, Any]:
    if not find_images("cifar10") or not find_images("cifar10", "test"):
        raise Refused("training, floor, precision and recall need CIFAR-10: python -m ddgan data cifar10 downloads it")
    return (_learned if "steps" in setting else _shipped)(seed, **setting)


def _shipped(seed: int, denoiser: str, T: int, n: int, weights: list[str], label: str | None = None) -> dict[str, Any]:
    request = Request(data="cifar10", denoisers=(denoiser,), T=T, seed=seed, n=n, label=label)
    judged, model = _session().evaluate(request, denoiser), _session().model(request, denoiser)
    return {**judged, "seen": _seen(checkpoint.card_of(model))}


def _learned(seed: int, T: int, n: int, steps: int, **changes: Any) -> dict[str, Any]:
    """Train a network with the preset's recipe and `changes`, then score it."""
    config = replace(preset("cifar10"), seed=seed, steps=steps, **changes)
    data = load_images("cifar10")
    objective = new_objective(config, data)
    for _ in train(objective, batches(data, config.batch, seed=seed, flip=config.flip), seed=seed, steps=steps):
        pass
    denoiser = objective.denoiser.to(precision(device()))
    judged = score_set(draw(Schedule.vp(T), denoiser, seeds(seed, n), data.shape), "cifar10")
    return {**judged, "seen": steps * config.batch / 1000}


def _cifar_cells(quick: bool) -> list[Cell]:
    n, models = 200 if quick else 2000, {"ddgan": "cifar10", "regression": "cifar10-regression"}
    shipped = [
        Cell(row, 0, {"denoiser": name, "T": T, "n": n, "weights": weights(models[name]), **no_class("cifar10", name)})
        for row, (name, T) in CIFAR.items()
        if not quick or T == 4
    ]
    shipped.append(Cell(TOLD, 0, {"denoiser": "ddgan", "T": 4, "n": n, "weights": weights("cifar10")}))
    brief = [
        Cell(f"{name}, T = 4, {steps:,} updates", 0, {"T": 4, "n": n, "steps": steps, **change})
        for steps in ((5,) if quick else SHORT)
        for name, change in BRIEF.items()
    ]
    return shipped + brief


def _of_steps(*values: float) -> dict[str, float]:
    return {f"DDGAN, T = {T}": v for T, v in zip((1, 2, 4, 8), values, strict=True)}


def _cifar_figure(results: list[Result]) -> go.Figure:
    rows = {
        row: {"samples": [v["cfd"]], "floor: test images": [v["floor_cfd"]]}
        for row, v in means(results).items()
        if "cfd" in v
    }
    setting = f"CIFAR-10; VP schedule; {results[0].setting['n']:,} samples;<br>CFD: a share of the features' variance"
    return dots(rows, "CFD (logarithmic)", setting, log=True)


CIFAR10 = Experiment(
    "cifar10",
    "CIFAR-10 in few steps",
    "In four steps of vp the DDGAN is nearer to the data, and covers more of it, than the learned Gaussian of the "
    "same network, which saw less than a third as many images.",
    _cifar_cells,
    _cifar,
    (
        Column("cfd", "CFD", "{:.3f}"),
        Column("floor_cfd", "floor", "{:.4f}"),
        Column("precision", "precision", "{:.2f}"),
        Column("recall", "recall", "{:.2f}", _of_steps(0.19, 0.54, 0.57, 0.56) | {NO_Z: 0.42}),
        Column("class_kl", "class KL", "{:.2f}"),
        Column("seen", "images seen, thousands", "{:.0f}", {"DDGAN, T = 4": 102_400}),
        Column("fid", "FID", "{:.2f}", _of_steps(14.6, 4.08, 3.75, 4.36) | {NO_Z: 20.6}),
    ),
    _cifar_figure,
    lambda rows: (
        "CFD (recall): "
        + "; ".join(
            f"{row} {v['cfd']:.3f} ({v['recall']:.3f})"
            for row, v in rows.items()
            if "cfd" in v and not row.endswith(("= 2", "= 8", "= 50"))
        )
        + f"; floor {rows['DDGAN, T = 4']['floor_cfd']:.4f}"
    ),
    "FID (recall): T = 1 14.6 (.19), T = 4 3.75 (.57), no z 20.6 (.42)",
    "?data=cifar10&T=4&n=16",
    note="Our DDGAN is one network for every T; the paper trains one for each T. CFD, precision and recall come from "
    "2,000 samples, in the features of our own classifier. They do not compare with FID and the paper's recall. The "
    "floor is the CFD of real test images. The DDGAN trained for three minutes on an H200 and then for 83 "
    "minutes of one CPU core, the learned Gaussian for one minute of the H200; the paper used four V100 for 48 hours. "
    "Our DDGAN knows classes. It is told none here, as the learned Gaussian knows none, but in the row that says so. "
    "Told classes, with a guidance of 2, it is nearer and covers more, though features that tell classes apart flatter "
    "it. The last four rows train a DDGAN and a network without z for few updates of 64 images, on one core, with one "
    "seed. After 1,000 updates the network without z is nearer to the data and covers less of it. After 2,000 updates "
    "the DDGAN is ahead in both, as in the paper.",
    closes=(
        "python -m ddgan train cifar10-paper --out runs/paper --accumulate 4",
        "trains the paper's network, which took the authors 48 h on four V100; evaluate --fid then gives a number "
        "that compares",
    ),
    beside=lambda rows: tuple(
        Beside(row, f"CFD {rows[row]['cfd']:.3f}, recall {rows[row]['recall']:.2f}", theirs)
        for row, theirs in {
            "DDGAN, T = 1": "FID 14.6, recall 0.19",
            "DDGAN, T = 4": "FID 3.75, recall 0.57",
            "learned Gaussian, T = 4": "–",
        }.items()
    ),
    chosen=lambda result: result.row in (*CIFAR, TOLD),
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
MOST = 4  # steps that are timed; longer chains are extrapolated, because every step costs the same


@cache
def _network(name: str) -> Any:
    made: dict[str, Callable[[], Denoiser]] = {
        "paper": speed.paper_size,
        "ddpm": speed.ddpm_size,
        "ours": partial(checkpoint.load, "cifar10"),
    }
    return made[name]().to(device(), precision(device()))


def _speed(seed: int, network: str, steps: int, rounds: int) -> dict[str, Any]:
    model, run, n = _network(network), min(steps, MOST), speed.TIMED_IMAGES
    seconds = speed.sampling_seconds(model, speed.SHAPE, run, rounds) / run * steps / n * 100
    return {"seconds": seconds, "nfe": steps, "parameters": sum(p.numel() for p in model.parameters()) / 1e6}


def _speed_cells(quick: bool) -> list[Cell]:
    return [
        Cell(row, 0, {"network": name, "steps": T, "rounds": 1 if quick else 4}) for row, (name, T) in SPEED.items()
    ]


def _speed_line(rows: dict[str, dict[str, float]]) -> str:
    base = rows["DDGAN, T = 4"]["seconds"]
    ratios = (
        f"{row} {v['seconds'] / base:.3g} times" for row, v in rows.items() if row.startswith(("DDI", "DDPM", "GAN"))
    )
    return f"DDGAN, T = 4: {base:.1f} s for 100 images; relative to it: " + ", ".join(ratios)


def _speed_figure(results: list[Result]) -> go.Figure:
    rows = {row: {"": [v["seconds"]]} for row, v in means(results).items()}
    setting = f"images of {' x '.join(map(str, speed.SHAPE))}; on {results[0].record['hardware']}"
    return dots(rows, "seconds for 100 images (log)", setting, log=True)


TIMES = Experiment(
    "speed",
    "Speed: the third corner of the trilemma",
    "Four steps take four times as long as a one-step GAN, and more than a hundred times less than DDPM with 1000 "
    "steps.",
    _speed_cells,
    _speed,
    (
        Column("nfe", "NFE", "{:.0f}"),
        Column("parameters", "M parameters", "{:.1f}"),
        Column("seconds", "s / 100 images", "{:.2f}", V100),
    ),
    _speed_figure,
    _speed_line,
    ".21 s for 100 images on a V100; relative to it: DDIM 19.1 times, DDPM 383 times, StyleGAN2-ADA .19 times",
    "?data=cifar10&T=4",
    note="The paper's trilemma is quality, coverage and speed. Four steps call the network four times. The times are "
    "of one core. DDGAN and GAN use the paper's network, DDIM and DDPM a U-Net of DDPM's size, all with fresh "
    "weights. Each number is the fastest of four rounds with 16 images. For chains of more than 4 steps, 4 steps are "
    "timed and the time is scaled. The paper's numbers are for one V100; its one-step GAN is StyleGAN2-ADA.",
    beside=lambda rows: (
        Beside("DDGAN, T = 4: 100 images", f"{rows['DDGAN, T = 4']['seconds']:.1f} s on a core", "0.21 s on a V100"),
        *(
            Beside(f"{row}: times as long", f"{rows[row]['seconds'] / rows['DDGAN, T = 4']['seconds']:.3g}", theirs)
            for row, theirs in {"GAN, one step": "0.19", "DDIM, 50 steps": "19.1", "DDPM, 1000 steps": "383"}.items()
        ),
    ),
)


# ---------------------------------------------------------------- 9. edits

VARIANTS, FREE = 5, 64  # edits of an image, and samples from noise to compare with
SEEN = 2  # screen pixels for each pixel of an image, along an edge
SKY, SEA, SAND, GRASS, WOOD, RED, WHITE, BLACK = (
    "#9fc4e8", "#2d5d8c", "#cbb089", "#5d8a3c", "#6b4a2e", "#b8322a", "#e8e8e4", "#202024",
)  # fmt: skip
# strokes on 32 x 32 pixels: the background, then (kind, coordinates, colour)
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
DIGIT = ((8, 8, 20, 7), (20, 7, 12, 22))  # two lines that can become a seven
SEVEN = "mnist: seven, from t = 1"


def _strokes(name: str) -> np.ndarray:
    """Paint a few strokes: uint8 (C, H, W)."""
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
    """Add noise to an image up to x_t and denoise it VARIANTS times. `start`: a painting's name, or "sample"."""
    session, request = _session(), Request(data=data, denoisers=("ddgan",), T=4, seed=seed, n=VARIANTS)
    if start == "sample":
        *_, last = session.run(request, "ddgan", slice(0, 1))
        image = to_uint8(last.x_s)[0]
    else:
        image = _strokes(start)
    edited = Request(
        data=data, denoisers=("ddgan",), T=4, seed=seed + 1, n=VARIANTS, edit=Edit(t, encode_pixels(image))
    )
    clock = time.process_time if device().type == "cpu" else time.perf_counter
    begun = clock()
    *_, last = session.run(edited, "ddgan")
    seconds = clock() - begun
    *_, free = session.run(replace(edited, edit=None, n=FREE), "ddgan")
    x, small = last.x_s.float(), avg_pool2d(from_uint8(image[None]), 4)
    off, apart = ((avg_pool2d(y.float(), 4) - small).square().mean().sqrt() for y in (x, free.x_s))
    pixels = np.concatenate([image[None], to_uint8(x)])
    return {
        "seconds": seconds / VARIANTS,
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
    """Draw a row for every cell, its start image first. Grey and smaller images stand in the middle of their place."""
    rows = []
    for result in results:
        data = result.setting["data"]
        images = decode_pixels(result.numbers["pixels"], (1 + VARIANTS, *SETS[data]))
        edge = (32 - images.shape[-1]) // 2
        rows.append(
            np.broadcast_to(np.pad(images, ((0, 0), (0, 0), (edge, edge), (edge, edge))), (1 + VARIANTS, 3, 32, 32))
        )
    whole = sheet(np.concatenate(rows), columns=1 + VARIANTS)
    return whole.resize((SEEN * whole.width, SEEN * whole.height), Image.Resampling.NEAREST)


def _edit_seconds(rows: dict[str, dict[str, float]]) -> float:
    return fmean(v["seconds"] for row, v in rows.items() if row.startswith("cifar10"))


EDITS = Experiment(
    "edits",
    "Strokes become images",
    "A painting to which noise is added, up to an intermediate level of vp at T = 4, becomes an image in the remaining "
    "steps: the less noise, the more of its layout stays.",
    _edit_cells,
    _edit,
    (
        Column("seconds", "s / edit", "{:.3f}"),
        Column("off", "off, at 1/4 size", "{:.3f}"),
        Column("apart", "samples from noise: off", "{:.3f}"),
        Column("spread", "spread of variants", "{:.3f}"),
    ),
    _edit_figure,
    lambda rows: f"{_edit_seconds(rows):.3f} s for an edit of 32 x 32 pixels",
    ".16 s for an edit of 256 x 256 pixels on a V100; SDEdit 181 s",
    f"?data=cifar10&T=4&n=9&edit=1.{encode_pixels(_strokes('ship'))}",
    note="The rows of the picture are those of the table: the start image, then 5 variants. A sample is one of the "
    "model's own, with new noise for each variant. Its details change from t = 1, its subject from t = 2. Off is the "
    "root mean square distance to the start image at a quarter of its size. Off and spread are shares of the whole "
    "range of a pixel. Samples from noise know nothing of the painting, so their distance says what a lost layout "
    "costs. From t = 1 a painting's distance is a fifth to a quarter of theirs. From t = 2 it is about half of theirs "
    "(CIFAR-10) or two thirds (the painted digit). Our images have 32 x 32 pixels (digits 28 x 28), the paper's 256 x "
    "256.",
    beside=lambda rows: (
        Beside("seconds for an edit", f"{_edit_seconds(rows):.3f} (32 x 32, a core)", "0.16 (256 x 256, a V100)"),
        *(
            Beside(f"ship, from t = {t}: off by", f"{v['off']:.2f}; samples from noise {v['apart']:.2f}")
            for t, v in ((t, rows[f"cifar10: ship, from t = {t}"]) for t in (1, 2))
        ),
    ),
    chosen=lambda result: result.row in ("cifar10: ship, from t = 1", "cifar10: ship, from t = 2", SEVEN),
)

EXPERIMENTS = (STACKEDMNIST, CIFAR10, TIMES, EDITS)
