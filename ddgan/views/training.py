"""A training -> what assets/training.js draws: its frames, and the data behind them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.points import Axis
from ..data.toys import data_label
from ..diffusion.mixture import Law
from ..diffusion.schedule import Schedule
from ..explorer.live import Frame
from ..explorer.plane import scale, ticked, width
from .encoding import DENSITY_CELLS, density, quantised, upright

__all__ = ["arrows", "frame_payload", "levels", "target"]

CURVE = 240  # points of a curve at most
ARROW = 0.2  # of half the view: the longest arrow
STEEP = 0.8  # the share of arrows that are not cut


def frame_payload(frame: Frame) -> dict[str, Any]:
    """What the page draws of a frame; the curve has at most CURVE points."""
    curve = np.array(frame.curve, dtype=np.float32).reshape(-1, 5)
    curve = curve[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), CURVE)).astype(int))]
    return {
        **{name: getattr(frame, name) for name in ("run", "state", "note", "T", "step", "budget", "modes")},
        "seconds": round(frame.seconds, 2),
        "players": "".join(frame.players),
        "cloud": None if frame.cloud is None else quantised([frame.cloud], frame.limit),
        "surface": None if frame.surface is None else dict(zip(("peak", "data"), levels(frame.surface), strict=True)),
        "arrows": None if frame.pulls is None else quantised([arrows(frame.pulls, frame.limit)], frame.limit),
        "curve": curve,
    }


def levels(surface: Tensor) -> tuple[float, np.ndarray]:
    """D's logits as a picture, uint8, 0 for -peak and 255 for peak; the peak is a round number."""
    logits = surface.nan_to_num()
    peak = _round_up(float(logits.abs().max()))
    return peak, upright((127.5 + 127.5 * logits / peak).round().to(torch.uint8)).numpy()


def arrows(pulls: Tensor, limit: float) -> Tensor:
    """Arrows (K, 2 n), each its tail and its head, from `Frame.pulls`.

    Their lengths are proportional to the slopes, by a scale that changes seldom; the steepest are cut.
    """
    tail, slope = pulls.nan_to_num().unbind(1)
    length = slope.norm(dim=1, keepdim=True)
    full = _round_up(float(length.quantile(STEEP)))
    head = tail + ARROW * limit * slope / length.clamp(min=full)
    return torch.cat([tail, head], 1)


def target(law: Law, name: str, axes: tuple[Axis, ...] = ()) -> dict[str, Any]:
    """What stands behind the cloud of a training: what its data are called, the density of their law, its axes."""
    limit, dim = width(law), law.shape[0]
    picture = {"size": DENSITY_CELLS[dim], "data": density(law, Schedule.vp(1), [0])}
    view = {"dim": dim, "limit": limit, "scale": scale(limit), "axes": ticked(axes, limit)}
    return {"label": data_label(name), **view, **picture}


def _round_up(value: float) -> float:
    """The next of ..., 0.1, 0.2, 0.5, 1, 2, 5, ...: a scale that changes seldom."""
    if not value > 0:
        return 0.1
    tens = 10.0 ** math.floor(math.log10(value))
    return next((m * tens for m in (1, 2, 5, 10) if m * tens >= value * 0.999), 10 * tens)
