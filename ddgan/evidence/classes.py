"""Experiment 12: is a few-step sampler as undecided about the class of an image as it should be?"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from plotly import graph_objects as go
from torch import Tensor
from torch.nn.functional import one_hot

from ..data.images import ImageSet, find_images, from_uint8, load_images, to_uint8
from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import Draws, seeds
from ..diffusion.schedule import Schedule
from ..errors import Refused
from ..explorer.class_posterior import (
    by_label,
    classified,
    entropy,
    kl,
    largest_variance,
    reliability,
    speciation,
    u_turns,
)
from ..explorer.image_posterior import log_weights, redraws
from ..explorer.session import Session
from ..metrics.images import observe, too_sure
from ..models.checkpoint import load_classifier
from ..models.classifier import Classifier
from ..views.answers import subscript
from ..views.looks import INK, Mark
from .experiment import Beside, Cell, Column, Experiment, Result, means, weights
from .figures import MARKS, RACERS, levels

__all__ = ["EXPERIMENTS"]

T = 8  # every second of its levels is one of T = 4
FEW = 8  # probabilities that a mark of the reliability has at least
N, SEEDS, DRAWS, TURNS = 20, 3, 64, 4  # held-out images of each seed, redraws of each x_t, U-turns of each image
# the key of a class posterior: its name in the figure and its look
POSTERIORS = {
    "exact": ("training set, exact", MARKS["exact law"]),
    "drawn": ("64 exact draws", Mark(INK, "circle-open")),
    "noisy": ("classifier of xₜ", RACERS[4]),
    "ddgan": ("DDGAN", MARKS["DDGAN"]),
    "gaussian": ("learned Gaussian", MARKS["learned Gaussian"]),
}
SHOWN = ("exact", "noisy", "ddgan", "gaussian")
MODELS = {"ddgan": "ddgan", "gaussian": "regression"}  # their names in a request


@cache
def _sets() -> tuple[ImageSet, ImageSet, Classifier]:
    """The training images, the held-out images, mixed, and the classifier that names the class of a prediction."""
    if not find_images("mnist") or not find_images("mnist", "test"):
        raise Refused("the exact class posterior needs MNIST: python -m ddgan data mnist downloads it")
    train, test = load_images("mnist"), load_images("mnist", split="test")
    if train.labels is None or test.labels is None:
        raise Refused("the exact class posterior needs images with labels, these have none")
    test = test.part(np.random.default_rng(0).permutation(len(test)))
    return train, test, load_classifier("mnist-classifier")


@cache
def _noisy() -> Classifier:
    return load_classifier("mnist-noisy-classifier")


@cache
def _model(name: str) -> Denoiser:
    """A shipped model, told no class."""
    return Session().denoiser("mnist", name)


@cache
def _speciation() -> float:
    return speciation(largest_variance(_sets()[0].images))


def _measure(seed: int, t: int, T: int, n: int, draws: int, turns: int, weights: list[str]) -> dict[str, Any]:
    """Return the numbers of n held-out images at x_t, on average over them."""
    (_, test, _), schedule = _sets(), Schedule.vp(T)
    chosen = slice(seed * n, (seed + 1) * n)
    assert test.labels is not None
    x_0, label = from_uint8(test.images[chosen]), torch.from_numpy(test.labels[chosen])
    x_t = schedule.marginal(x_0, t).at(Draws.from_seeds(seeds(seed, n), x_0.shape[1:], T, 0).x_T)
    found = _exact(x_t, schedule.level(t), seed, draws)
    with torch.no_grad():
        found["noisy"] = _noisy()(x_t, schedule.level(t)).double().softmax(1)
    found |= {key: _learned(name, x_t, schedule, t, seed, draws) for key, name in MODELS.items()}
    numbers: dict[str, Any] = {"log_snr": float(schedule.level(t)), "speciation": _speciation()}
    for key, p in found.items():
        of_own = p.gather(1, label[:, None])[:, 0]
        numbers[f"{key}_entropy"] = float(entropy(p).mean())
        numbers[f"{key}_right"] = float((p.argmax(1) == label).double().mean())
        numbers[f"{key}_surprise"] = float(kl(one_hot(label, 10).double(), p).mean())
        numbers[f"{key}_own"] = float(of_own.mean())
        numbers[f"{key}_over"] = too_sure(p, label)
        numbers[f"{key}_reliability"] = [[round(v, 4) for v in part] for part in reliability(p, label).tolist()]
        numbers |= {} if key == "exact" else {f"{key}_kl": float(kl(found["exact"], p).mean())}
    return numbers | {"kept": _kept(schedule, x_0, label, t, turns, seed)}


def _exact(x_t: Tensor, level: Tensor, seed: int, draws: int) -> dict[str, Tensor]:
    """Return the class posterior of the training set, and what as many exact draws as the DDGAN's give of it."""
    train, _, classifier = _sets()
    log_w = log_weights(train.images, x_t, level)
    noise = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(log_w.exp(), draws, replacement=True, generator=noise)
    seen = [classified(classifier, from_uint8(train.images[k])) for k in drawn.numpy()]
    assert train.labels is not None
    return {"exact": by_label(log_w, torch.from_numpy(train.labels), 10).exp(), "drawn": torch.stack(seen)}


def _learned(name: str, x_t: Tensor, schedule: Schedule, t: int, seed: int, draws: int) -> Tensor:
    """Return the class posterior of a model at every x_t, each from redraws with z of its own."""
    own = enumerate(x_t, len(x_t) * seed)
    x_0 = (redraws(schedule, _model(name), x, t, draws, seed=k) for k, x in own)
    return torch.stack([classified(_sets()[2], x) for x in x_0])


def _kept(schedule: Schedule, x_0: Tensor, label: Tensor, t: int, turns: int, seed: int) -> float:
    """Return the share of U-turns by the DDGAN, through x_t and back, after which an image has its class."""
    x = u_turns(schedule, _model("ddgan"), x_0, t, turns, seed=100 + seed)
    seen = observe(_sets()[2], to_uint8(x.flatten(0, 1)))[1].argmax(1)
    return float((seen.view(-1, turns) == label[:, None]).double().mean())


def _name(t: int) -> str:
    return f"{subscript(t)}, √ᾱ = {float(Schedule.vp(T).alpha_bar[t].sqrt()):.3f}"


def _cells(quick: bool) -> list[Cell]:
    setting: dict[str, Any] = {"T": T, "n": 4 if quick else N, "draws": DRAWS, "turns": TURNS}
    setting["weights"] = weights("mnist", "mnist-regression", "mnist-noisy-classifier")
    return [Cell(_name(t), seed, {"t": t, **setting}) for t in range(T, 0, -1) for seed in range(1 if quick else SEEDS)]


def _figure(results: list[Result]) -> go.Figure:
    rows = means(results).values()

    def series(what: str, keys: tuple[str, ...]) -> dict[str, list[tuple[float, float]]]:
        return {POSTERIORS[key][0]: [(row["log_snr"], row[f"{key}_{what}"]) for row in rows] for key in keys}

    panels = {
        "entropy, nats": series("entropy", SHOWN),
        "KL from exact, nats": series("kl", ("drawn", *SHOWN[1:])),
    }
    ticks = {r.numbers["log_snr"]: str(r.setting["t"]) for r in results}
    n = sum(r.setting["n"] for r in results) // len(rows)
    setting = (
        f"{n} held-out images of MNIST at each level; VP schedule;<br>"
        "speciation: the largest principal direction is as strong as noise"
    )
    line = (next(iter(rows))["speciation"], "speciation")
    odds = {POSTERIORS[key][0]: _odds(results, key) for key in SHOWN}
    return levels(
        panels, ticks, f"t of T = {T}, placed by log-SNR", setting,
        looks=dict(POSTERIORS.values()), line=line, odds=odds,
    )  # fmt: skip


def _odds(results: list[Result], key: str) -> list[tuple[float, float]]:
    """Return (predicted probability, how often that class was right), pooled over all levels, for each part of [0, 1].

    A part with fewer than FEW probabilities is left out.
    """
    n, said, right = np.sum([r.numbers[f"{key}_reliability"] for r in results], 0).T
    kept = n >= FEW
    return list(zip(said[kept] / n[kept], right[kept] / n[kept], strict=True))


def _line(rows: dict[str, dict[str, float]]) -> str:
    said = "; ".join(
        f"{_name(t).partition(',')[0]} {v['ddgan_kl']:.2f} and {v['gaussian_kl']:.2f} ({v['drawn_kl']:.2f})"
        for t, v in ((t, rows[_name(t)]) for t in (8, 7, 6, 5, 4, 2))
    )
    return f"KL from the exact class posterior in nats, DDGAN and learned Gaussian (64 exact draws): {said}"


def _of(what: str, heading: str, form: str, keys: tuple[str, ...] = SHOWN) -> list[Column]:
    names = {
        "exact": "exact", "drawn": "64 exact draws", "noisy": "noisy digits", "ddgan": "DDGAN", "gaussian": "Gaussian",
    }  # fmt: skip
    return [Column(f"{key}_{what}", f"{heading}{names[key]}", form) for key in keys]


def _beside(rows: dict[str, dict[str, float]]) -> tuple[Beside, ...]:
    """Three of the levels: nearly pure noise, one where the DDGAN is too sure, and one in the middle."""
    by = {name.split(",")[0]: row for name, row in rows.items()}
    return tuple(
        Beside(
            f"{level}: KL from exact, DDGAN and Gaussian",
            f"{by[level]['ddgan_kl']:.2f} and {by[level]['gaussian_kl']:.2f} nats",
            "–",
        )
        for level in ("x₈", "x₇", "x₅")
    )


CLASSES = Experiment(
    "class-posterior",
    "When is the class decided?",
    "Where steps are long, xₜ may come from digits of several classes: on MNIST and vp at T = 8 the DDGAN, told no "
    "class, is nearer to the exact class posterior from x₈ to x₂ than the one mean of the learned Gaussian is.",
    _cells,
    _measure,
    (
        *_of("entropy", "entropy: ", "{:.2f}"),
        *_of("kl", "KL: ", "{:.2f}", ("drawn", *SHOWN[1:])),
        *_of("right", "right: ", "{:.0%}"),
        *_of("over", "too sure by: ", "{:.0%}", ("exact", "drawn", *SHOWN[1:])),
        *_of("surprise", "surprise: ", "{:.2f}"),
        Column("exact_own", "own class: exact", "{:.0%}"),
        Column("kept", "U-turn keeps: DDGAN", "{:.0%}"),
    ),
    _figure,
    _line,
    "no number; a figure in one dimension shows that q(xₛ | xₜ) of a long step has several modes",
    "?data=mnist&T=8&n=9",
    beside=_beside,
    note="60 held-out digits at each level, in three sets of 20. Exact: the weights of the 60,000 training images, "
    "summed by class. It is exact for the set and not for the world: close to x₀ the nearest images have all the "
    "weight, and held-out digits surprise it no less than the models. The DDGAN redraws z 64 times for each xₜ, the "
    "learned Gaussian has one mean, and our classifier of MNIST names the classes. The classifier of noisy digits was "
    "trained on xₜ at all levels, made of the training images; it speaks for the world and not for the set. It is "
    "right about as often as the exact posterior. Its KL from exact is .02 nats or less from x₈ to x₆, and at most .30 "
    "from x₅ on. It is nowhere too sure by more than 1 %; at x₄ it is less sure than it should be, by 13 %. So what "
    "the DDGAN lacks is no whim of the finite set. Both models are asked without a label. The learned Gaussian was "
    "trained with the labels of four images of five, the DDGAN with those of three of five in the last two of its four "
    "runs. Before a KL, 1 % of equal shares is mixed in, so a class that was missed costs at most 6.9 nats. From x₈ to "
    "x₂ the DDGAN is nearer to exact than the learned Gaussian is. It is 1 to 9 times as far from exact as 64 exact "
    "draws from x₈ to x₄, and 13 to 18 times from x₃ on. At x₇ it is a little too sure, 2.04 nats where 2.29 are "
    "right. At x₄ and x₃ it is less sure than it should be. Too sure by: the probability of the likeliest class minus "
    "how often the digit is of it. Where p is as sure as it should be, that is 0 but for chance, a standard error of 6 "
    "% at most. The exact posterior and 64 draws of it are within 6 % of 0 at every level. The DDGAN is too sure by 12 "
    "% at x₇ and 14 % at x₅, the learned Gaussian by 32 to 52 % from x₈ to x₄. The panel at the right shows how often "
    "a class is right that has a predicted probability, over all levels and classes. Each of its marks stands for a "
    "tenth of the scale, and for 8 probabilities or more. Surprise: −log p of the digit's own class. U-turn: a digit "
    "is noised to xₜ and denoised by the DDGAN in t steps, four times; an exact sampler would keep its class as often "
    "as the column before says.",
)

EXPERIMENTS = (CLASSES,)
