"""Words about a scene, and scenes as JSON for the public endpoints (ui/api.py).

By default an array is summed up by mean, standard deviation and quantiles, of at most STATES states: a person or a
language model can read the answer, MAX_TEXT characters at most. With arrays=True an array stands there as
{"dtype": "float32", "shape": [...], "data": ...}, its bytes (little-endian, the last index fastest) in base64: as exact
as an .npz, a third larger, and read back in one line,

    np.frombuffer(base64.b64decode(a["data"]), a["dtype"]).reshape(a["shape"])

Where one denoiser of several refuses, {"error": sentence} stands for its answer; where all do, they refuse together.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from ..data.toys import TOYS, data_label
from ..diffusion.denoiser import Denoiser
from ..diffusion.gaussianity import bound, mixture_bound, start_gap
from ..diffusion.mixture import Law
from ..diffusion.schedule import Schedule
from ..errors import Refused
from ..explorer.labels import ignored
from ..explorer.live import Frame
from ..explorer.methods import method_of
from ..explorer.posterior import Question, ask, weights
from ..explorer.request import Request
from ..explorer.scene import Panel, Scene, spread
from ..explorer.session import Session
from ..models.checkpoint import card_of
from ..models.config import Config
from ..models.mlp import MixtureDenoiser

__all__ = [
    "MAX_NUMBERS",
    "MAX_TEXT",
    "afford",
    "array",
    "bounded",
    "classes",
    "compare",
    "counted",
    "denoise",
    "each",
    "evaluate",
    "finite",
    "heading",
    "label",
    "levels",
    "message",
    "own_levels",
    "posterior",
    "progress",
    "refusal",
    "sentence",
    "states",
    "subscript",
    "summary",
    "summed_up",
    "title",
]

MAX_NUMBERS = 2_000_000  # in one reply: 8 MB, 11 MB of JSON
MAX_TEXT = 20_000  # characters of an answer without arrays
STATES, SUMMARIES = 9, 45  # states of a chain that are summed up at most, and of all chains
MODES = 12  # the likeliest, that an answer without arrays names
LONG = 200  # characters of a request's value, such as own points, that are repeated in an answer without arrays
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
MAX_BOUND = 16  # steps of a law that is no product, whose bound takes some hundredths of a second each
KEPT, OFF = 0.05, 0.01  # of the signal in x_T; nats of the start: more than noise hides
_SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


# ---------------------------------------------------------------- words


def sentence(words: str | ValueError) -> str:
    """The words of an error as a sentence."""
    words = str(words)
    named = words[1:2] == " " and words[0] != "a"  # n is no N
    return f"{words[0] if named else words[0].upper()}{words[1:]}."


def refusal(error: Refused) -> dict[str, str]:
    """The refusal, in place of an answer."""
    return {"error": sentence(error)}


def label(name: str) -> str:
    """What a denoiser is called on the page."""
    return title(name)[0]


def subscript(t: int) -> str:
    """x_t with a small t."""
    return f"x{t}".translate(_SUBSCRIPT)


def title(name: str, own: Denoiser | None = None) -> tuple[str, str]:
    """(label, what it is, in a few words) of a denoiser; a visitor's own model says what it was trained on."""
    called, what = (method := method_of(name)).label, method.words
    if own is None:
        return called, what
    config = Config.from_dict(card_of(own)["config"])
    data = data_label(config.data) if config.data in TOYS else "own points"
    steps = "any T" if config.T is None else f"T = {config.T}"
    by = f", {config.objective}" * (config.objective != "ddgan")
    return called, f"trained on {data}, {steps}{by}"


def heading(scene: Scene, panel: Panel) -> tuple[str, str]:
    """`title`, and a warning if a DDGAN is asked for longer steps than it was trained for,
    or if a model that knows no classes is asked for one; how strongly it is told classes, where it is guided.
    """
    called, what = title(panel.name, panel.own)
    if panel.own is None:
        what = scene.request.method(panel.name).words
    if (model := panel.model) is None:
        return called, what
    what += f"; {counted(scene.request, panel.name)}" + bounded(scene, panel)
    levels, regression = model.levels, (model.card or {}).get("config", {}).get("objective") == "regression"
    T = scene.request.T
    longer = levels and not (levels.continuous or regression) and T < len(levels.values)
    what += f"; was not trained on steps as long as those of T = {T}" * bool(longer)
    if panel.classes and (guidance := getattr(model, "guidance", 1.0)) != 1:
        what += f"; told classes {guidance:g} times as strongly as in training"
    return called, what + "; knows no classes" * ignored(model, scene.request.label)


def counted(request: Request, name: str) -> str:
    """How many evaluations a denoiser of a request takes, and how many steps if that is another number."""
    method, T = request.method(name), min(request.walked(name).T, request.start)
    n = method.solver.nfe(T)
    evaluations = f"{n} evaluation" + "s" * (n > 1)
    return evaluations if n == T == request.start else f"{evaluations} in {T} step" + "s" * (T > 1)


def bounded(scene: Scene, panel: Panel) -> str:
    """How far from the law the samples of best Gaussians or of a learned mixture can be, in words; else nothing."""
    law, schedule, model = scene.source.law, scene.schedule, panel.model
    if law is None or not law.var.min() > 0:
        return ""
    if panel.name == "gaussian" and (schedule.T <= MAX_BOUND or law.lines):
        return f"; KL from the law at most {bound(law, schedule):.2f} nats"
    if isinstance(model, MixtureDenoiser) and schedule.T <= MAX_BOUND:
        levels = tuple(schedule.level(torch.arange(schedule.T, 0, -1)).tolist())
        return f"; KL from the law at most {_mixture_bound(law, model, levels):.2f} nats"
    return ""


@lru_cache(maxsize=64)
def _mixture_bound(law: Law, model: MixtureDenoiser, levels: tuple[float, ...]) -> float:
    with torch.no_grad():
        return mixture_bound(law, Schedule.of_levels(torch.tensor(levels, dtype=torch.float64)), model.law)


def message(scene: Scene) -> str | None:
    """What a visitor should know, in a sentence: what the last fork changed, or that x_T should not be noise alone."""
    request = scene.request
    if not request.forks:
        kept, law = float(scene.schedule.alpha_bar[-1].sqrt()), scene.source.law
        if kept < KEPT or request.edit:
            return None
        x_T, off = subscript(request.T), start_gap(law, scene.schedule) if law else None
        if off is not None and off < OFF:
            return None
        return (
            f"With this range {x_T} keeps {kept:.2f} of the signal. Sampling still starts from pure noise, so every "
            + ("denoiser starts from the wrong distribution." if off is None
               else f"denoiser, even the exact law, starts {off:.2f} nats from the law of {x_T}.")
        )  # fmt: skip
    what, t, _, item = request.forks[-1]
    if what == "eps" and t == 1:
        return "The last step adds no noise, so nothing is drawn anew there: go a step back."
    if what == "z" and not any(panel.model and panel.model.latent_dim > 0 for panel in scene.panels):
        return "No denoiser shown reads a z, so nothing is drawn anew."
    noise = "z" if what == "z" else "posterior noise"
    of = "all samples" if item is None else f"sample #{item}"
    return f"New {noise} at the step {t} → {t - 1} for {of}: {subscript(t)} and before stay as they were."


# ---------------------------------------------------------------- replies


def finite(value: Any) -> Any:
    """The same value with None for every number that is not finite, since JSON has no word for these."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def each(request: Request, answer: Callable[[str], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """answer(denoiser) for every denoiser, {"error": sentence} where it refuses; Refused where all refuse."""
    found, refused = {}, []
    for name in request.denoisers:
        try:
            found[name] = answer(name)
        except Refused as error:
            refused.append(error)
            found[name] = refusal(error)
    if len(refused) == len(request.denoisers):
        raise refused[0]
    return found


def states(panel: Panel) -> dict[str, np.ndarray]:
    """states (T+1, n, *D) from x_T to x_0 and predicted (T, n, *D), the x_0 of each step."""
    return {
        "states": np.stack([x.numpy() for x in panel.states]),
        "predicted": np.stack([step.x_0.numpy() for step in panel.steps]),
    }


def classes(panel: Panel) -> dict[str, list[str]]:
    """The name of the class that each sample was asked for; nothing where no class was."""
    return {"classes": [*panel.classes]} if panel.classes else {}


def afford(request: Request, per_sample: int) -> None:
    """Refused, in one sentence, where so many states of every sample do not fit into one reply."""
    numbers = request.n * len(request.denoisers) * per_sample * math.prod(request.shape)
    if numbers > MAX_NUMBERS:
        raise Refused(f"a reply holds at most {MAX_NUMBERS:,} numbers, n, T and denoisers ask for {numbers:,}")


def array(x: np.ndarray) -> dict[str, Any]:
    """An array as JSON can hold it, in float32: see the top of the file."""
    x = np.ascontiguousarray(x, "<f4")
    return {"dtype": "float32", "shape": list(x.shape), "data": base64.b64encode(x.tobytes()).decode()}


def summary(x: np.ndarray) -> dict[str, Any]:
    """Samples x (n, *D) in a few numbers: mean, std and quantiles of every coordinate, of images of every channel."""
    x = np.asarray(x, np.float64)
    values = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
    quantiles = {f"{q:.0%}": _digits(v) for q, v in zip(QUANTILES, np.quantile(values, QUANTILES, 0), strict=True)}
    moments = {"mean": _digits(values.mean(0)), "std": _digits(values.std(0))}
    return finite({"shape": list(x.shape), **moments, "quantiles": quantiles})


def summed_up(request: Request) -> list[int]:
    """The t of the states that an answer without arrays sums up, from noise to data: fewer of many denoisers."""
    return spread(request.start, max(2, min(STATES, SUMMARIES // len(request.denoisers))))[::-1]


def denoise(scene: Scene, *, arrays: bool = False) -> dict[str, Any]:
    """Per denoiser its states (T+1, n, *D) from x_T to x_0, and predicted (T, n, *D), the x_0 of each step.

    One that a budget of evaluations leaves fewer steps stands at some states twice: it says its own t and alpha_bar.
    Without arrays a summary of each state that the scene keeps, and of the x_0 predicted from it. A model that was told
    classes adds their names.
    """

    def walked(name: str) -> dict[str, Any]:
        walk = states(panel := scene.panel(name))
        told = {key: array(x) if arrays else [summary(state) for state in x] for key, x in walk.items()}
        return {**own_levels(scene, panel), **told, **classes(panel)}

    return {"request": _asked(scene.request, arrays), **levels(scene), "denoisers": each(scene.request, walked)}


def levels(of: Scene | Panel) -> dict[str, list[Any]]:
    """t and alpha_bar of the states of a scene, or of a panel on its own schedule."""
    return {"t": of.t, "alpha_bar": of.schedule.alpha_bar[of.t].tolist()}


def own_levels(scene: Scene, panel: Panel) -> dict[str, list[Any]]:
    """Those of a panel that walks fewer steps than its scene has; else nothing."""
    return levels(panel) if panel.schedule.T < scene.schedule.T else {}


def compare(scene: Scene, *, arrays: bool = False) -> dict[str, Any]:
    """Per denoiser its samples x (n, *D), all from the same noise, and for points their metrics."""
    answered = array if arrays else summary

    def sampled(name: str) -> dict[str, Any]:
        panel = scene.panel(name)
        return {"x": answered(panel.sample.numpy()), "metrics": finite(panel.scores.get(0)), **classes(panel)}

    return {"request": _asked(scene.request, arrays), "denoisers": each(scene.request, sampled)}


def _asked(request: Request, whole: bool) -> dict[str, Any]:
    """The request as an answer repeats it: as a whole, or without what is long (own points, an edit, many forks)."""
    values = request.to_dict()
    if whole:
        return values
    return {name: value if len(str(value)) <= LONG else f"{str(value)[:LONG]}..." for name, value in values.items()}


def _digits(values: Iterable[float]) -> list[float]:
    """In four digits."""
    return [float(f"{value:.4g}") for value in values]


def evaluate(session: Session, request: Request, samplings: int) -> dict[str, Any]:
    """Per denoiser its metrics over several samplings: `Session.evaluate`."""
    judged = each(request, lambda name: finite(session.evaluate(request, name, samplings)))
    return {"request": _asked(request, False), "samplings": samplings, "denoisers": judged}


def posterior(session: Session, question: Question, *, arrays: bool = False) -> dict[str, Any]:
    """The exact law that is asked for, and per denoiser its draws (DRAWS, *D) and how far they are from it.

    Without arrays only the MODES likeliest modes are listed.
    """
    answer = ask(session, question)
    modes = weights(answer.truth)
    answered = array if arrays else summary
    mean, cov = answer.truth.moments()

    def drawn(name: str) -> dict[str, Any]:
        draws = answer.draws[name]
        if isinstance(draws, Refused):
            raise draws
        return {"draws": answered(draws.numpy()), "distances": answer.distances[name]}

    return {
        "t": question.t,
        "x": list(question.x),
        "of": question.of,
        "modes": [{"at": at.tolist(), "weight": weight} for at, weight in (modes if arrays else modes[:MODES])],
        "of_modes": answer.truth.modes,
        "entropy": answer.entropy,
        "gap": answer.gap,
        "mean": mean.tolist(),
        "cov": cov.tolist(),
        "denoisers": each(question.request, drawn),
        "floor": answer.floor,
    }


def progress(frame: Frame) -> dict[str, Any]:
    """How far a training is: the numbers of a frame, with the losses and the coverage of its last point."""
    now = frame.curve[-1]._asdict() if frame.curve else dict.fromkeys(("d", "g", "modes", "on_mode"))
    record = {name: getattr(frame, name) for name in ("state", "note", "T", "step", "seconds", "budget")}
    return {**record, "of_modes": frame.modes, **finite({name: now[name] for name in ("modes", "on_mode", "d", "g")})}
