"""A training -> what assets/training.js draws: its frames, and the data behind them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..data.points import Axis
from ..diffusion.mixture import Law
from ..diffusion.schedule import Schedule
from ..explorer.live import Frame
from ..explorer.plane import scale, ticked, width
from .encoding import GRID, density, quantised, upright

__all__ = ["lab", "target"]

CURVE = 240  # points of a curve at most


def lab(frame: Frame) -> dict[str, Any]:
    """A frame of a training; the curve in at most CURVE points."""
    curve = np.array(frame.curve, dtype=np.float32).reshape(-1, 5)
    curve = curve[np.unique(np.linspace(0, len(curve) - 1, min(len(curve), CURVE)).astype(int))]
    surface = None
    if frame.surface is not None:
        logits = frame.surface.nan_to_num()
        peak = _round_up(float(logits.abs().max()))
        colours = upright((127.5 + 127.5 * logits / peak).round().to(torch.uint8))
        surface = {"peak": peak, "data": colours.numpy()}
    return {
        **{name: getattr(frame, name) for name in ("run", "state", "note", "T", "step", "budget", "modes")},
        "seconds": round(frame.seconds, 2),
        "cloud": None if frame.cloud is None else quantised([frame.cloud], frame.limit),
        "surface": surface,
        "curve": curve,
    }


def target(law: Law, axes: tuple[Axis, ...] = ()) -> dict[str, Any]:
    """What stands behind the cloud of a training: the density of the law, and its axes."""
    limit, dim = width(law), law.shape[0]
    picture = {"size": GRID[dim], "data": density(law, Schedule.vp(1), [0])}
    return {"dim": dim, "limit": limit, "scale": scale(limit), "axes": ticked(axes, limit), **picture}


def _round_up(value: float) -> float:
    """The next of ..., 0.1, 0.2, 0.5, 1, 2, 5, ...: a scale that changes seldom."""
    if not value > 0:
        return 0.1
    tens = 10.0 ** math.floor(math.log10(value))
    return next((m * tens for m in (1, 2, 5, 10) if m * tens >= value * 0.999), 10 * tens)
