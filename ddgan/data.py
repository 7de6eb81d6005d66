"""Data laws: each toy is an exact Gaussian mixture of zero mean and unit variance.

Curves and areas are many small components, so the truth about every toy, q(x_t), q(x_0 | x_t), q(x_s | x_t), has a
closed form at every level. `Law.mode` groups the components into what the eye counts: a moon, a ring, a square.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .mixture import Law

__all__ = [
    "MAX_NAMED", "MAX_POINTS", "POINTS", "TOYS", "decode_points", "encode_points", "from_points", "law_of", "read_csv",
    "thinned", "toy",
]  # fmt: skip

MAX_POINTS = 5000  # of the user's own: every one is a component of the law
POINTS = "points:"  # how a data name begins that holds its points
MAX_NAMED = 1000  # points in a name: 5.3 kB of a link
EXTENT = 4.0  # the coordinates of a name are whole numbers in 0..65535 that stand for -EXTENT..EXTENT
JOINED = 12.0, 0.6  # points of one mode are closer than so many standard deviations of a component and of the whole data


def _grid_25() -> Law:
    """25 Gaussians on a 5 x 5 grid: spacing 1/sqrt(2), std 0.0177."""
    axis = torch.arange(-2.0, 3.0) / math.sqrt(2)
    return Law.uniform(torch.cartesian_prod(axis, axis), 0.0177)


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
    "8-gaussians": _ring_8,
    "two-moons": _two_moons,
    "swiss-roll": _swiss_roll,
    "checkerboard": _checkerboard,
    "pinwheel": _pinwheel,
    "rings": _rings,
    "4-gaussians-1d": _line_4,
}


def toy(name: str) -> Law:
    """The law of a toy, standardised; ValueError for a name that is not in TOYS."""
    if name not in TOYS:
        raise ValueError(f"data must be one of {', '.join(TOYS)}, got {name!r}")
    law = TOYS[name]()
    return law if name == "25-gaussians" else law.standardised()


def from_points(points: Tensor | np.ndarray, std: float | None = None) -> Law:
    """Your own points (N, n) as a law: a small Gaussian on each, standardised to zero mean and unit variance.

    `std` is in standardised units; unless given it is half the median distance to the nearest other point, kept in
    0.01..0.1. Points close to each other (JOINED), and those close to them in turn, are one mode. ValueError where there
    are under 2 or over MAX_POINTS points, or they are not finite or all the same.
    """
    x = torch.as_tensor(points, dtype=torch.float64)
    if x.ndim != 2 or not 2 <= len(x) <= MAX_POINTS:
        got = f"shape {tuple(x.shape)}" if x.ndim != 2 and x.numel() else f"{len(x):,}"
        raise ValueError(f"your own data must be 2 to {MAX_POINTS:,} points (N, n), got {got}")
    if not x.isfinite().all():
        raise ValueError("your own data must be finite numbers, got a NaN or an infinity")
    x = x - x.mean(0)
    spread = x.square().mean().sqrt()
    if not spread > 0 or not spread.isfinite():
        raise ValueError("your own data must have at least two different points of moderate size")
    x = x / spread
    apart = torch.cdist(x, x)
    if std is None:
        std = float(apart.topk(2, largest=False).values[:, 1].median() / 2)  # the nearest is the point itself
        std = min(max(std, 0.01), 0.1)
    elif not 0 <= std < 1:
        raise ValueError(f"std must be in 0..1, below 1, in standardised units, got {std}")
    # shrunk a little, so that points and Gaussians together have unit variance
    shrink = math.sqrt(1 - std**2)
    return Law.uniform(x * shrink, std, _connected(apart * shrink <= min(JOINED[0] * std, JOINED[1])))


def _connected(near: Tensor) -> Tensor:
    """The number (N,), from 0, of the connected component that each of N points is in, from near (N, N)."""
    touches = near.numpy()  # several times faster than torch's at what follows
    number = np.full(len(touches), -1)
    for start in range(len(touches)):
        front = np.array([start] if number[start] < 0 else [], dtype=int)
        found = number.max() + 1
        while len(front):
            number[front] = found
            front = np.flatnonzero(touches[front].any(0) & (number < 0))
    return torch.from_numpy(number)


def encode_points(points: Tensor | np.ndarray | Sequence[Sequence[float]]) -> str:
    """Points (N, 2) as a data name, `points:` and base64url of little-endian uint16 pairs, that needs no file.

    They are standardised, which `from_points` does anyway, and rounded to 1.2e-4 of a standard deviation, or more
    where some lie more than EXTENT of them from the mean. ValueError for what `from_points` refuses, or over MAX_NAMED.
    """
    try:
        x = torch.as_tensor(points, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ValueError("your own points must be pairs of numbers") from None
    if x.ndim != 2 or x.shape[1] != 2 or not 2 <= len(x) <= MAX_NAMED:
        got = f"shape {tuple(x.shape)}" if x.numel() and x.shape[1:] != (2,) else len(x)
        raise ValueError(f"your own points must be 2 to {MAX_NAMED} pairs of numbers, got {got}")
    x = from_points(x, std=0).mu
    x = x * min(1, EXTENT / float(x.abs().max()))
    whole = ((x + EXTENT) / (2 * EXTENT) * 65535).round().numpy().astype("<u2")
    return POINTS + base64.urlsafe_b64encode(whole.tobytes()).decode().rstrip("=")


def decode_points(name: str) -> Tensor:
    """The points (N, 2) of a data name in float64, each in -EXTENT..EXTENT; ValueError, short, where it is none."""
    text = name.removeprefix(POINTS)
    if text == name or len(text) > 4 * MAX_NAMED * 4 / 3 + 1:
        raise ValueError(f"a name of points is {POINTS!r} and at most {MAX_NAMED} points, got {name[:12]!r}…, {len(name)} characters")
    try:
        # b64decode drops what it does not know, which would let two names mean one thing
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"the points of the name {name[:12]!r}… are not base64url") from None
    if len(raw) % 4 or not 2 <= len(raw) // 4 <= MAX_NAMED:
        raise ValueError(f"a name must hold 2 to {MAX_NAMED} points of 4 bytes each, got {len(raw)} bytes")
    whole = np.frombuffer(raw, "<u2").reshape(-1, 2)
    if (whole == whole[0]).all():
        raise ValueError("your own data must have at least two different points")
    return torch.from_numpy(whole / 65535 * 2 * EXTENT - EXTENT)


@lru_cache(maxsize=64)
def law_of(name: str) -> Law:
    """The law of a name that needs no file: a toy's, or one that holds its points. Made once: it is asked for all the time."""
    return from_points(decode_points(name)) if name.startswith(POINTS) else toy(name)


def thinned(points: Tensor, n: int = MAX_NAMED) -> Tensor:
    """At most n of the points (N, D), evenly at random, always the same ones, in their order."""
    chosen = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:n]
    return points[chosen.sort().values]


def read_csv(path: str | Path) -> Tensor:
    """The points of a CSV file, one a line, two columns, (N, 2) in float64; a header line is skipped.

    ValueError names the first line that is not two numbers, or says that the file cannot be read.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{Path(path).name} cannot be read as a CSV text file ({type(error).__name__})") from error
    points = []
    for number, line in enumerate(lines, 1):
        cells = [cell.strip() for cell in line.replace(";", ",").split(",")]
        try:
            numbers = [float(cell) for cell in cells]
        except ValueError:
            numbers = []
        if not line.strip() or number == 1 and not numbers:  # a header
            continue
        if len(numbers) != 2:
            raise ValueError(f"line {number} of {Path(path).name} must be two numbers with a comma between them, got {line[:40]!r}")
        points.append(numbers)
    if not points:
        raise ValueError(f"{Path(path).name} has no line of two numbers")
    return torch.tensor(points, dtype=torch.float64)


def _circle(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], 1)


def _repeat(groups: int, size: int) -> Tensor:
    return torch.arange(groups).repeat_interleave(size)
