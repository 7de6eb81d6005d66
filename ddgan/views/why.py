"""What assets/why.js draws from: a law on a line and its map of gaps, and the ways of schedules over that map."""

from __future__ import annotations

from typing import Any

import torch

from ..diffusion import gaussianity
from ..diffusion.mixture import Law
from ..diffusion.schedule import Schedule

__all__ = ["gap_map", "path"]


def gap_map(law: Law) -> dict[str, Any]:
    """The law, the vp schedule and the map of gaps, float64."""
    found = gaussianity.gap_map(law)._asdict()
    law_ = {"mu": law.mu.numpy(), "var": law.var.numpy(), "log_w": law.log_w.numpy()}
    return {name: array.astype("<f8") for name, array in {**found, **law_}.items()}


def path(law: Law, schedule: Schedule) -> dict[str, Any]:
    """The levels x_0, ..., x_T of a schedule as times of the map,
    and the bound of its chain of best Gaussians in nats.
    """
    times = gaussianity.vp_time(schedule.level(torch.arange(schedule.T + 1)))
    return {"t": times.tolist(), "nats": gaussianity.bound(law, schedule)}
