"""Data laws: each toy is an exact Gaussian mixture of zero mean and unit variance.

Curves and areas are many small components, so the truth about every toy, q(x_t), q(x_0 | x_t), q(x_s | x_t), has a
closed form at every level. `Law.mode` groups the components into what the eye counts: a moon, a ring, a square.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ..diffusion.mixture import Law
from ..errors import Refused
from .points import POINTS_PREFIX, Axis, axes_from, decoded, from_points, spread

__all__ = ["TOYS", "axes_of", "data_label", "law_of", "toy"]


def _grid_25() -> Law:
    """25 Gaussians on a 5 x 5 grid: spacing 1/sqrt(2), std 0.0177."""
    axis = torch.arange(-2.0, 3.0) / math.sqrt(2)
    return Law.uniform(torch.cartesian_prod(axis, axis), 0.0177)


def _unequal_25() -> Law:
    """The same grid with weights 1 to 8 and widths half to twice as large, five of each, rising by equal factors.

    A Graeco-Latin square: each row and column has every weight and every width once, and no two modes have both alike.
    """
    i, j = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).T.double()
    weight, std = 8 ** ((i + 2 * j) % 5 / 4), 0.0177 * 4 ** ((i + 3 * j) % 5 / 4 - 0.5)
    return Law(weight.log(), _grid_25().mu, std**2)


def _ring_8() -> Law:
    """8 Gaussians on a circle."""
    angle = torch.arange(8) * math.pi / 4
    return Law.uniform(_circle(angle), 0.02)


def _two_moons() -> Law:
    """Two interleaved half circles."""
    angle = (torch.arange(100) + 0.5) / 100 * math.pi
    upper = _circle(angle)
    return Law.uniform(torch.cat([upper, torch.tensor([1.0, 0.5]) - upper]), 0.06, _repeat(2, 100))


def _swiss_roll() -> Law:
    """A spiral of one and a half turns, equally dense along its arc; ten pieces of it count as modes."""
    fine = torch.linspace(1.5 * math.pi, 4.5 * math.pi, 20_001)
    arc = torch.cumulative_trapezoid((1 + fine**2).sqrt(), fine)
    angle = fine[1 + torch.searchsorted(arc, (torch.arange(300) + 0.5) / 300 * arc[-1])]
    return Law.uniform(angle[:, None] * _circle(angle), 0.22, _repeat(10, 30))


def _checkerboard() -> Law:
    """The dark squares of a 4 x 4 board, each an 8 x 8 lattice of Gaussians as wide as their spacing."""
    corner = torch.tensor([(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0])
    inside = (torch.arange(8) + 0.5) / 8
    mu = corner[:, None] + torch.cartesian_prod(inside, inside)
    return Law.uniform(mu.reshape(-1, 2), 0.06, _repeat(8, 64))


def _pinwheel() -> Law:
    """Five bent arms."""
    radius = torch.linspace(0.3, 2.0, 40)
    arms = [radius[:, None] * _circle(2 * math.pi * arm / 5 + 0.6 * radius) for arm in range(5)]
    return Law.uniform(torch.cat(arms), 0.07, _repeat(5, 40))


def _rings() -> Law:
    """Three concentric rings, equally dense along their lines."""
    sizes = [40, 80, 120]
    rings = [n / 40 * _circle(torch.arange(n) * 2 * math.pi / n) for n in sizes]
    return Law.uniform(torch.cat(rings), 0.05, torch.repeat_interleave(torch.arange(3), torch.tensor(sizes)))


def _line_4() -> Law:
    """Four Gaussians on a line, of unequal weight: the smallest law that shows why few steps need many modes."""
    weights = torch.tensor([0.3, 0.2, 0.15, 0.35])
    return Law(weights.log(), torch.tensor([[-1.6], [-0.5], [0.3], [1.4]]), torch.full((4,), 0.07**2))


TOYS: dict[str, Callable[[], Law]] = {
    "25-gaussians": _grid_25,
    "25-unequal": _unequal_25,
    "8-gaussians": _ring_8,
    "two-moons": _two_moons,
    "swiss-roll": _swiss_roll,
    "checkerboard": _checkerboard,
    "pinwheel": _pinwheel,
    "rings": _rings,
    "4-gaussians-1d": _line_4,
}

_LABELS = {
    "25-gaussians": "25 Gaussians",
    "25-unequal": "25 unequal Gaussians",
    "8-gaussians": "8 Gaussians",
    "4-gaussians-1d": "4 Gaussians on a line",
}


def data_label(name: str) -> str:
    """What a toy is called; any other name is a visitor's own points."""
    return _LABELS.get(name, name.replace("-", " ")) if name in TOYS else "your own points"


def toy(name: str) -> Law:
    """The law of a toy, standardised; Refused for a name that is not in TOYS."""
    if name not in TOYS:
        raise Refused(f"data must be one of {', '.join(TOYS)}, got {name!r}")
    law = TOYS[name]()
    return law if name == "25-gaussians" else law.standardised()


@lru_cache(maxsize=64)
def law_of(name: str) -> Law:
    """The law of a name that needs no file, a toy's or one that holds its points; made once, as many ask for it."""
    if not name.startswith(POINTS_PREFIX):
        return toy(name)
    points, axes = decoded(name)
    return from_points(points, scale=None if axes else spread(points))


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)


def _repeat(groups: int, size: int) -> Tensor:
    return torch.arange(groups).repeat_interleave(size)


def axes_of(name: str) -> tuple[Axis, ...]:
    """What the axes of such a law are in a user's table; () for a toy and for drawn points."""
    return axes_from(law_of(name), decoded(name)[1]) if name.startswith(POINTS_PREFIX) else ()
