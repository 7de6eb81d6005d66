"""Steps -> what the page draws: the one place that asks what kind of data it is looking at.

`stage` makes the payload of the stage (its layout is at the top of assets/stage.js) from a request; arrays travel as
base64 int16, at most MAX_FRAMES states of at most MAX_SHOWN points each.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .mixture import Law
from .sampler import Step
from .schedule import Schedule
from .session import DENOISERS, Request, Session

__all__ = ["MAX_FRAMES", "MAX_SHOWN", "density", "frames", "stage"]

MAX_SHOWN = 5000
MAX_FRAMES = 129
LIMIT = 2.6  # half the width of the view, in units of the data's standard deviation
SCALE = 6.0 / 32767  # int16 -> data units
GRID = {1: 256, 2: 96}


def frames(T: int) -> list[int]:
    """The t of the states that are shown, from T down to 0: all of them, or MAX_FRAMES evenly spread."""
    return sorted({round(t) for t in np.linspace(0, T, min(T + 1, MAX_FRAMES))}, reverse=True)


def stage(session: Session, request: Request) -> str:
    """The stage's payload for a request, as strict JSON. What one denoiser refuses becomes a sentence in its panel.

    ValueError where the request is more than the stage shows.
    """
    if request.n > MAX_SHOWN:
        raise ValueError(f"the page shows at most {MAX_SHOWN} points, got {request.n}")
    schedule, law = request.steps(), session.source(request.data).law
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
            "message": None,
        },
        allow_nan=False,
    )


def _panel(session: Session, request: Request, name: str, shown: list[int]) -> dict[str, Any]:
    label, note = DENOISERS.get(name, ("Your model", "trained here, for this visitor alone"))
    panel = {"key": name, "label": label, "note": note, "error": None, "x": "", "x0": None, "metrics": None}
    try:
        steps = [step for step in session.run(request, name) if step.t in shown or step.s == 0]
    except ValueError as error:
        return {**panel, "error": f"{str(error)[0].upper()}{str(error)[1:]}."}
    x = [step.x_t for step in steps if step.t in shown] + [steps[-1].x_s]
    x_0 = [step.x_0 for step in steps if step.t in shown] + [steps[-1].x_s]
    # measured is what the denoiser answers: its x_0 at every state, in the end the sample itself
    last = session.score(request, x_0[-1])
    scores = [None] * (len(x) - 1) + [last] if len(x) > 33 else [session.score(request, v) for v in x_0]
    return {**panel, "x": _quantise(x), "x0": _quantise(x_0), "metrics": [_metrics(score) for score in scores]}


def _metrics(score: dict[str, float] | None) -> dict[str, float | None] | None:
    if score is None:
        return None
    kl = score["kl"] if math.isfinite(score["kl"]) else None
    return {"modes": score["modes"], "of": score["of_modes"], "on_mode": score["on_mode"], "kl": kl, "sw2": score["sliced_w2"]}


def density(law: Law, schedule: Schedule, shown: list[int]) -> np.ndarray:
    """The density of q(x_t) over the view, one picture a state, uint8: (F, G, G) top row first, or (F, G) in 1-D.

    In 2-D the square root of the density over its own maximum, so that a picture shows thin and wide modes alike.
    """
    return np.stack([_picture(law.marginal(schedule.level(t))) for t in shown])


def _axis(size: int) -> Tensor:
    """The centres of the view's cells along one axis."""
    return ((torch.arange(size) + 0.5) / size * 2 - 1).double() * LIMIT


def _picture(law: Law) -> np.ndarray:
    dim = law.shape[0]
    if dim == 1:
        p = law.on_grid(_axis(GRID[1]))
        return (255 * p / p.max()).round().to(torch.uint8).numpy()
    p = _upright(law.widened(LIMIT / GRID[2]).on_grid(_axis(GRID[2])))  # a mode thinner than a pixel has to be seen
    return (255 * (p / p.max()).sqrt()).round().to(torch.uint8).numpy()


def _upright(lattice: Tensor) -> Tensor:
    """[x, y] with rising axes -> rows of a picture, the top one first."""
    return lattice.T.flip(0)


def _quantise(states: list[Tensor]) -> str:
    return _base64((torch.stack(states) / SCALE).round().clamp(-32767, 32767).to(torch.int16).numpy())


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
