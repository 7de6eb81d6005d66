"""Steps of points -> what the page draws; gallery.py does it for images.

`stage` makes the payload of the stage (its layout is at the top of assets/stage.js) from a request; arrays travel as
base64 int16, at most MAX_FRAMES states of at most MAX_SHOWN points each. `posterior` and `gap_map` answer a question
about one x_t for assets/posterior.js.
"""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import Config
from .data import TOYS
from .gaussianity import step_gap
from .mixture import Law, lattice
from .posterior import Answer, Question, ask, gaps, kernel_density, log_ratio, weights
from .schedule import FAMILIES, Schedule
from .request import DENOISERS, Request
from .session import Session
from .studio import LIMIT, Frame, centres

__all__ = [
    "MAX_FRAMES", "MAX_SHOWN", "SCHEDULES", "data_choices", "data_label", "density", "frames", "gap_map", "instead", "lab", "message", "misunderstood", "note", "posterior", "refusal", "refused", "sentence", "stage", "stamped", "step_gaps", "target", "title", "told",
]  # fmt: skip

MAX_SHOWN = 5000
MAX_FRAMES = 129
SCALE = 6.0 / 32767  # int16 -> data units
NATS = (0.5, 1.0, 2.0, 4.0)  # where the colours of a log ratio may end
GRID = {1: 256, 2: 96}
SEEN = 0.1  # what of a log ratio is seen: where the law is at least so dense, as a share of its peak
GAPS = 24
MAX_GAPS = 16
CURVE = 240
INSTEAD = "This is the first view instead."
KEPT = 0.05  # of the signal in x_T: more than noise hides
LABELS = {"25-gaussians": "25 Gaussians", "8-gaussians": "8 Gaussians", "4-gaussians-1d": "4 Gaussians on a line"}
SUBSCRIPT = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
SCHEDULES = [({"vp": "vp (paper)", "linear": "linear σ²"}.get(name, name), name) for name in FAMILIES]


def frames(T: int) -> list[int]:
    """The t of the states that are shown, from T down to 0: all of them, or MAX_FRAMES evenly spread."""
    return sorted({round(t) for t in np.linspace(0, T, min(T + 1, MAX_FRAMES))}, reverse=True)


def stage(session: Session, request: Request) -> str:
    """The stage's payload for a request, as strict JSON. What one denoiser refuses becomes a sentence in its panel.

    ValueError where the request is more than the stage shows.
    """
    if request.n > MAX_SHOWN:
        raise ValueError(f"the page shows at most {MAX_SHOWN} points, got {request.n}")
    schedule, law = request.steps(), session.law(request.data)
    shown = frames(request.T)
    if len(law.shape) != 1 or law.shape[0] not in GRID:
        raise ValueError(f"the stage shows data of one or two coordinates, got {tuple(law.shape)}")
    return json.dumps(
        {
            "id": request.to_query(),
            "query": request.to_query(),
            "T": request.T,
            "n": request.n,
            "dim": law.shape[0],
            "t": shown,
            "a": schedule.alpha_bar[shown].sqrt().tolist(),
            "sigma": (1 - schedule.alpha_bar[shown]).sqrt().tolist(),
            "limit": LIMIT,
            "scale": SCALE,
            "density": {"size": GRID[law.shape[0]], "data": _base64(density(law, schedule, shown))},
            "panels": [_panel(session, request, name, shown) for name in request.denoisers],
            "message": message(session, request),
        },
        allow_nan=False,
    )


def message(session: Session, request: Request) -> str | None:
    """What a visitor should know of a request, in a sentence: what its last fork changed, or that its x_T should not be noise alone."""
    if not request.forks:
        kept = float(request.steps().alpha_bar[-1].sqrt())
        if kept < KEPT or request.edit:
            return None
        return (
            f"With this range x{str(request.T).translate(SUBSCRIPT)} keeps {kept:.2f} of the signal, and sampling begins at noise "
            "all the same: every denoiser, the exact law too, starts off the mark."
        )
    what, t, _, item = request.forks[-1]
    if what == "eps" and t == 1:
        return "The last step adds no noise, so nothing is drawn anew there: go a step back."
    if what == "z" and not any(_reads_z(session, request, name) for name in request.denoisers):
        return "No denoiser shown reads a z, so nothing is drawn anew."
    noise = "z" if what == "z" else "posterior noise"
    return f"New {noise} at the step {t} → {t - 1} for {'all samples' if item is None else f'sample #{item}'}: x{str(t).translate(SUBSCRIPT)} and before are as they were."


def _reads_z(session: Session, request: Request, name: str) -> bool:
    try:
        return session.model(request, name).latent_dim > 0
    except ValueError:  # its panel says why
        return False


def _panel(session: Session, request: Request, name: str, shown: list[int]) -> dict[str, Any]:
    label, note = told(session, name, request)
    panel = {"key": name, "label": label, "note": note, "error": None, "x": "", "x0": None, "metrics": None}
    try:
        steps = [step for step in session.run(request, name) if step.t in shown or step.s == 0]
    except ValueError as error:
        return {**panel, "error": sentence(str(error))}
    x = [step.x_t for step in steps if step.t in shown] + [steps[-1].x_s]
    x_0 = [step.x_0 for step in steps if step.t in shown] + [steps[-1].x_s]
    if not all(v.isfinite().all() for v in x + x_0):
        return {**panel, "error": "Its samples are not finite."}
    # measured is what the denoiser answers: its x_0 at every state, in the end the sample itself
    measured = x_0 if len(x) <= 33 else x_0[-1:]
    scores = [None] * (len(x) - len(measured)) + [session.score(request, v) for v in measured]
    return {**panel, "x": _quantise(x), "x0": _quantise(x_0), "metrics": [_metrics(score) for score in scores]}


def _title(name: str) -> tuple[str, str]:
    return DENOISERS.get(name, ("Your model", "trained here; who has its link has it too"))


def sentence(words: str) -> str:
    """The words of an error as a sentence."""
    return f"{words[0].upper()}{words[1:]}."


def _metrics(score: dict[str, float] | None) -> dict[str, float | None] | None:
    if score is None:
        return None
    shown = {"modes": "modes", "of": "of_modes", "on_mode": "on_mode", "kl": "kl", "width": "width", "sw2": "sliced_w2"}
    return {name: score[key] if math.isfinite(score[key]) else None for name, key in shown.items()}


def posterior(session: Session, values: Any) -> str:
    """The answer to a question {query, t, x, of}, as strict JSON; ValueError, in a sentence, where it is none."""
    question = Question.parse(values)
    answer = ask(session, question)
    truth = answer.truth
    mean, cov = truth.moments()
    return json.dumps(
        {
            **_asked(question),
            "dim": len(mean),
            "scale": SCALE,
            "size": GRID[len(mean)],
            "truth": _base64(_picture(truth)),
            "modes": answer.modes,
            "weights": [{"at": at.tolist(), "weight": weight} for at, weight in weights(truth)],
            "of_modes": truth.modes,
            "entropy": answer.entropy,
            "gap": answer.gap,
            "mean": mean.tolist(),
            "cov": cov.tolist(),
            "panels": [_drawn(name, answer) for name in question.request.denoisers],
            "floor": answer.floor,
            "surfaces": _surfaces(session, question),
        },
        allow_nan=False,
    )


def _asked(question: Question) -> dict[str, Any]:
    return {"t": question.t, "T": question.request.T, "x": list(question.x), "of": question.of}


def _drawn(name: str, answer: Answer) -> dict[str, Any]:
    label, _ = _title(name)
    x = answer.draws[name]
    if isinstance(x, str):
        return {"key": name, "label": label, "error": sentence(x), "points": "", "density": ""}
    pictures = {"points": _quantise([x]), "density": _base64(_picture(kernel_density(x).widened(LIMIT / GRID[1])))}
    return {"key": name, "label": label, "error": None, **pictures, "gaussian": _gaussian(name, answer), **answer.distances[name]}


def _gaussian(name: str, answer: Answer) -> dict[str, Any] | None:
    """Mean and covariance of what a denoiser draws, where that is a Gaussian."""
    if name not in ("gaussian", "mean", "regression"):
        return None
    mean, cov = (answer.truth if name == "gaussian" else Law.uniform(answer.draws[name], 0)).moments()
    return {"mean": mean.tolist(), "cov": cov.tolist()}


def _surfaces(session: Session, question: Question) -> dict[str, Any] | None:
    """D* and D over x_s, where there is a DDGAN, both clipped at the least of NATS that holds nearly all that one sees."""
    if "ddgan" not in question.request.denoisers:
        return None
    size = {1: 256, 2: 64}[len(question.x)]
    try:
        optimal, learned, seen = log_ratio(session, question, centres(size), blur=2 * LIMIT / size / 2)
    except ValueError:
        return None

    visible = torch.cat([ratio[seen > SEEN].abs() for ratio in (optimal, learned) if ratio is not None])
    nats = next((v for v in NATS if (visible <= v).double().mean() > 0.98), NATS[-1])

    def picture(ratio: Tensor) -> str:
        return _base64((_upright(ratio).clamp(-nats, nats) * (127 / nats)).round().to(torch.int8).numpy())

    faint = _base64((255 * _upright(seen).sqrt()).round().to(torch.uint8).numpy())
    both = {"optimal": picture(optimal), "learned": None if learned is None else picture(learned)}
    return {"size": size, "nats": nats, "seen": faint, **both}


def gap_map(session: Session, values: Any) -> str:
    """KL from the truth to its best Gaussian for every x_t of the plane, and where x_t lies, as strict JSON."""
    question = Question.parse(values)
    law = session.law(question.request.data)
    points = lattice(centres(GAPS).float(), len(question.x))
    found = _upright(gaps(session, question, points).reshape([GAPS] * len(question.x)))
    top = max(float(found.max()), 0.05)  # colours show what counts, not rounding
    marginal = law.marginal(question.request.steps().level(question.t))
    return json.dumps(
        {
            **_asked(question),
            "size": GAPS,
            "top": top,
            "data": _base64((255 * found / top).round().to(torch.uint8).numpy()),
            "seen_size": GRID[len(question.x)],
            "seen": _base64(_picture(marginal)),
        },
        allow_nan=False,
    )


def step_gaps(session: Session, query: str) -> list[tuple[int, float]]:
    """(t, step_gap) of the steps of a request, from T down to 1: all of them, or MAX_GAPS evenly spread."""
    request = Request.from_query(query)
    law, schedule = session.law(request.data), request.steps()
    steps = sorted({round(t) for t in np.linspace(1, request.T, min(request.T, MAX_GAPS))}, reverse=True)
    return [(t, round(step_gap(law, schedule, t), 4)) for t in steps]


def density(law: Law, schedule: Schedule, shown: list[int]) -> np.ndarray:
    """The density of q(x_t) over the view, one picture a state, uint8: (F, G, G) top row first, or (F, G) in 1-D.

    In 2-D the square root of the density over its own maximum, so that a picture shows thin and wide modes alike.
    """
    return np.stack([_picture(law.marginal(schedule.level(t))) for t in shown])


def _picture(law: Law) -> np.ndarray:
    dim = law.shape[0]
    if dim == 1:
        p = law.on_grid(centres(GRID[1]))
        return (255 * p / p.max()).round().to(torch.uint8).numpy()
    p = _upright(law.widened(LIMIT / GRID[2]).on_grid(centres(GRID[2])))  # a mode thinner than a pixel has to be seen
    return (255 * (p / p.max()).sqrt()).round().to(torch.uint8).numpy()


def _upright(lattice: Tensor) -> Tensor:
    """[x, y] with rising axes -> rows of a picture, the top one first; a line stays a line."""
    return lattice.T.flip(0) if lattice.ndim == 2 else lattice


def data_label(name: str) -> str:
    """What a toy is called on the page; any other name is a visitor's own points."""
    return LABELS.get(name, name.replace("-", " ")) if name in TOYS else "your own points"


def data_choices(*own: str) -> list[tuple[str, str]]:
    """(label, name) of all toys, and of a visitor's own points."""
    return [(data_label(name), name) for name in dict.fromkeys([*TOYS, *own])]


def refusal(error: ValueError) -> str:
    """A sentence in place of a picture, as strict JSON."""
    return json.dumps({"error": sentence(str(error))})


def refused(picture: str) -> bool:
    """Whether this is a refusal, perhaps stamped."""
    return picture.startswith('{"error"')


def misunderstood(error: ValueError) -> str:
    """What is said of a link that is none."""
    return f"The link was not understood: {error}. {INSTEAD}"


def instead(picture: str, problem: str) -> str:
    """A picture that stands for one that could not be: it says so, and leaves the address alone."""
    return json.dumps({**json.loads(picture), "message": problem, "query": ""})


def stamped(picture: str, asked: int, controls: Iterable[Any]) -> str:
    """A picture, or what stands in its place, with the time at which it was asked for and what the controls held then.

    The page shows no older picture after it, and asks for nothing anew that is there.
    """
    return f'{picture[:-1]}, "asked": {asked}, "controls": {json.dumps([*controls])}}}'


def note(kind: str, words: str, *, failed: bool = False) -> str:
    """What a visitor is told beside a control, as HTML: `kind` is the class that styles it."""
    return f'<p class="note {kind}{" failed" if failed else ""}" role="status">{html.escape(words)}</p>'


def told(session: Session, name: str, request: Request) -> tuple[str, str]:
    """`title`, and a word where a DDGAN is asked for longer steps than those that it was trained for."""
    label, note = title(session, name)
    try:
        model = session.model(request, name)
    except ValueError:
        return label, note
    levels, regression = model.levels, (model.card or {}).get("config", {}).get("objective") == "regression"
    longer = levels and not (levels.between or regression) and request.T < len(levels.values)
    return label, note + f"; never learned steps as long as those of T = {request.T}" * bool(longer)


def title(session: Session, name: str) -> tuple[str, str]:
    """(label, what it is, in a few words) of a denoiser; an own model says what it was trained on."""
    if name not in session.adopted:
        return _title(name)
    config = Config.from_dict(session.adopted[name].card["config"])
    data = data_label(config.data) if config.data in TOYS else "own points"
    steps = "any T" if config.T is None else f"T = {config.T}"
    return _title(name)[0], f"trained on {data}, {steps}, {config.network}, {config.criterion}"


def lab(frame: Frame) -> str:
    """A frame of a training as strict JSON for assets/lab.js; arrays as base64, the curve in at most CURVE points."""
    curve = np.array(frame.curve, dtype=np.float32).reshape(-1, 5)
    curve = curve[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), CURVE)).astype(int))]
    peak, surface = 0.0, None
    if frame.surface is not None:
        logits = frame.surface.nan_to_num()
        peak = _round_up(float(logits.abs().max()))
        surface = _upright((127.5 + 127.5 * logits / peak).round().to(torch.uint8))
    return json.dumps(
        {
            **{name: getattr(frame, name) for name in ("run", "state", "note", "T", "step", "budget", "modes")},
            "seconds": round(frame.seconds, 2),
            "cloud": None if frame.cloud is None else _quantise([frame.cloud]),
            "surface": None if surface is None else {"peak": peak, "data": _base64(surface.numpy())},
            "curve": _base64(np.nan_to_num(curve)),
        },
        allow_nan=False,
    )


def target(law: Law) -> str:
    """What stands behind the cloud of a training: the density of the law, as strict JSON."""
    picture = density(law, Schedule.vp(1), [0])
    kind = {"dim": law.shape[0], "limit": LIMIT, "scale": SCALE, "size": GRID[law.shape[0]], "data": _base64(picture)}
    return json.dumps(kind, allow_nan=False)


def _round_up(value: float) -> float:
    """The next of ..., 0.1, 0.2, 0.5, 1, 2, 5, ...: a scale that changes seldom."""
    if not value > 0:
        return 0.1
    tens = 10.0 ** math.floor(math.log10(value))
    return next((m * tens for m in (1, 2, 5, 10) if m * tens >= value * 0.999), 10 * tens)


def _quantise(states: list[Tensor]) -> str:
    return _base64((torch.stack(states) / SCALE).round().clamp(-32767, 32767).to(torch.int16).numpy())


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
