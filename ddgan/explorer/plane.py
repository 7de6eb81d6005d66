"""The plane on which points are shown: how much of it a view holds, its cells, and its ticks in a user's units."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..data.points import Axis
from ..diffusion.mixture import Law

__all__ = ["LIMIT", "centres", "scale", "ticked", "width"]

LIMIT = 2.6  # half the width of a view, in units of the data's standard deviation, unless data lie beyond it
SCALE = 6.0 / 32767  # int16 -> data units in a view of LIMIT
TICKS = 3  # along an axis, at least


def width(law: Law) -> float:
    """Half the width of the view of a law: LIMIT, or more where a component and three of its deviations need it."""
    return max(LIMIT, 1.02 * (float(law.mu.abs().max()) + 3 * float(law.var.max().sqrt())))


def scale(limit: float) -> float:
    """What int16 coordinates of a view so wide are multiplied by: they reach beyond it, as noise does."""
    return SCALE * limit / LIMIT


def centres(size: int, limit: float = LIMIT) -> Tensor:
    """The centres of a view's cells along one axis, (size,) in float64."""
    return ((torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1) * limit


def ticked(axes: tuple[Axis, ...], limit: float) -> list[dict[str, Any]]:
    """Per axis its name, centre and unit, the decimals that its values deserve, and its ticks: [place, text] each."""
    return [
        {
            **axis._asdict(),
            "digits": min(12, max(0, 2 - math.floor(math.log10(axis.unit)))),
            "ticks": _ticks(axis, limit),
        }
        for axis in axes
    ]


def _ticks(axis: Axis, limit: float) -> list[tuple[float, str]]:
    """Round values of an axis and where in -limit..limit they stand."""
    if not 1e-300 < axis.unit < 1e300 or abs(axis.centre) > 1e12 * axis.unit:
        return []  # a link may say so, and doubles cannot tell such values apart
    reach = 0.96 * limit * axis.unit  # a text at the edge would be cut
    tens = 10.0 ** math.floor(math.log10(2 * reach / TICKS))
    step = max((m * tens for m in (1, 2, 5) if m * tens <= 2 * reach / TICKS), default=tens)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    low, high = axis.centre - reach, axis.centre + reach
    values = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [((v - axis.centre) / axis.unit, _text(v, digits, step)) for v in values]


def _text(value: float, digits: int, step: float) -> str:
    if digits > 6 or step >= 1e6:
        return f"{value:.4g}" if abs(value) < 1e3 * step else f"{value:.8g}"
    return f"{value:,.{digits}f}".replace("-", "\u2212") if round(value, digits) else "0"
