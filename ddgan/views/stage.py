"""A scene of points -> what the stage draws; image_grid.py does it for images.

The layout is at the top of assets/stage.js. Points travel as int16, at most MAX_FRAMES states of at most MAX_SHOWN
points each.
"""

from __future__ import annotations

import math
from typing import Any

from ..diffusion.gaussianity import step_gap
from ..errors import Refused
from ..explorer.plane import scale, ticked, width
from ..explorer.priority import while_wanted
from ..explorer.request import Request
from ..explorer.scene import Panel, Scene, scene, spread
from ..explorer.session import Session
from .answers import heading, message, sentence
from .encoding import DENSITY_CELLS, density, quantised

__all__ = [
    "MAX_FRAMES",
    "MAX_SHOWN",
    "frames",
    "not_shown",
    "scores",
    "stage",
    "staged",
    "stars",
    "step_gaps",
]

MAX_SHOWN = 5000
MAX_FRAMES = 129
MAX_SCORED = 33  # with more states than these only the samples are scored
MAX_GAPS = 16
METRICS = {  # as the stage names them, and as metrics.points.score does
    "energy": "energy", "floor": "floor_energy", "modes": "modes", "of": "of_modes", "on_mode": "on_mode", "kl": "kl",
    "width": "width", "sw2": "sliced_w2",
}  # fmt: skip


def frames(T: int) -> list[int]:
    """The t of the states that are shown, from T down to 0: all of them, or MAX_FRAMES evenly spread."""
    return spread(T, MAX_FRAMES)[::-1]


def staged(session: Session, request: Request, *, scored: bool = True) -> Scene:
    """The scene of a request as far as the stage shows it; Refused where the request is more than that.

    Its scores, a third of the work, are of the states that `scores` speaks of; without `scored` there are none yet.
    """
    if request.n > MAX_SHOWN:
        raise Refused(f"the page shows at most {MAX_SHOWN} points, got {request.n}")
    law = session.law(request.data)
    if len(law.shape) != 1 or law.shape[0] not in DENSITY_CELLS:
        raise Refused(f"the stage shows data of one or two coordinates, got {tuple(law.shape)}")
    shown = frames(request.T)
    return scene(session, request, shown, scored=_judged(shown) if scored else ())


def _judged(shown: list[int]) -> list[int]:
    return shown if len(shown) <= MAX_SCORED else shown[-1:]


def scores(session: Session, scene: Scene) -> list[list[dict[str, Any] | None] | None]:
    """The numbers under each panel of a scene that `staged` did not score, for each state; None for a panel without."""
    judged = _judged(scene.t)
    panels: list[dict[str, Any]] = []
    for panel in scene.panels:
        if not_shown(panel):
            panels.append({"metrics": None})
            continue
        x_0 = dict(zip(scene.t, panel.predicted, strict=True))
        found = {t: session.score(scene.request, x_0[t]) for t in while_wanted(judged)}
        panels.append({"metrics": [_metrics(found.get(t)) for t in scene.t]})
    return [panel["metrics"] for panel in _starred(panels)]


def stage(scene: Scene) -> dict[str, Any]:
    """What the stage draws of a scene of points. What one denoiser refuses becomes a sentence in its panel."""
    request, law = scene.request, scene.source.law
    assert law is not None  # images have no stage
    limit, dim = width(law), law.shape[0]
    return {
        "id": request.to_query(),
        "T": request.T,
        "n": request.n,
        "dim": dim,
        "t": scene.t,
        "a": scene.signal,
        "sigma": scene.noise,
        "limit": limit,
        "scale": scale(limit),
        "axes": ticked(scene.source.axes, limit),
        "density": {"size": DENSITY_CELLS[dim], "data": density(law, scene.schedule, scene.t)},
        "panels": _starred([_panel(scene, panel, limit) for panel in scene.panels]),
        "message": message(scene),
    }


def not_shown(panel: Panel) -> Refused | None:
    """Why a panel shows no points, if it shows none."""
    if panel.refusal is None and not all(x.isfinite().all() for x in panel.states + panel.predicted):
        return Refused("its samples are not finite")
    return panel.refusal


def _panel(scene: Scene, panel: Panel, limit: float) -> dict[str, Any]:
    called, what = heading(scene, panel)
    shown = {"key": panel.name, "label": called, "note": what, "error": None, "x": "", "x0": None, "metrics": None}
    if refusal := not_shown(panel):
        return {**shown, "error": sentence(refusal)}
    x, x_0 = quantised(panel.states, limit), quantised(panel.predicted, limit)
    metrics = [_metrics(panel.scores.get(t)) for t in scene.t] if panel.scores else None
    return {**shown, "x": x, "x0": x_0, "metrics": metrics}


def _metrics(score: dict[str, float] | None) -> dict[str, float | None] | None:
    if score is None:
        return None
    return {name: score[key] if math.isfinite(score[key]) else None for name, key in METRICS.items()}


def _starred(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The panels with a word in the numbers of every state, `star`: whether none of the others is nearer to the law."""
    for row in zip(*(panel["metrics"] for panel in panels if panel["metrics"]), strict=True):
        scores = [score for score in row if score]
        for score, star in zip(scores, stars([(score["energy"], score["floor"]) for score in scores]), strict=True):
            score["star"] = star
    return panels


def stars(scores: list[tuple[float | None, float | None]]) -> list[bool]:
    """Which of several (energy distance, its floor) are the least, as far as chance can tell them apart.

    A distance below its floor may be zero, and one that is less than a floor above the least may be as small. Where
    that is true of all, none is the least.
    """
    known = [value for value, _ in scores if value is not None]
    least = max(min(known, default=0.0), 0.0)
    found = [value is not None and value <= least + (floor or 0.0) for value, floor in scores]
    return [star and sum(found) < len(known) for star in found]


def step_gaps(session: Session, request: Request) -> list[tuple[int, float]]:
    """(t, step_gap) of the steps of a request, from T down to 1: all of them, or MAX_GAPS evenly spread."""
    law, schedule = session.law(request.data), session.schedule(request)
    steps = spread(request.T, MAX_GAPS, first=1)[::-1]
    return [(t, round(step_gap(law, schedule, t), 4)) for t in steps]
