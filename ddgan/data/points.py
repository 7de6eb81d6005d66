"""A user's own points: as a law, one component each, and as a data name that a link can hold."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.gaussian import floats
from ..diffusion.mixture import Law
from ..errors import Refused

__all__ = [
    "MAX_NAMED",
    "MAX_POINTS",
    "POINTS_PREFIX",
    "Axis",
    "axes_from",
    "decode_points",
    "decoded",
    "encode_points",
    "fingerprint",
    "from_points",
    "of_columns",
    "spread",
    "thinned",
]

MAX_POINTS = 5000  # of the user's own: every one is a component of the law
POINTS_PREFIX = "points:"  # how a data name begins that holds its points
MAX_NAMED = 1000  # points in a name: 5.3 kB of a link
EXTENT = 4.0  # the coordinates of a name are whole numbers in 0..65535 that stand for -EXTENT..EXTENT
MAX_AXES = 600  # characters of a name that say what its axes are
# points of one mode are closer than so many standard deviations of a component and of the whole data
JOINED = (12.0, 0.6)
Measured = tuple[str, float, float]  # the name, the mean and the standard deviation of a column


class Axis(NamedTuple):
    """A column of a user's table. A coordinate x of the law stands for the value centre + unit x of the column."""

    name: str
    centre: float
    unit: float


def from_points(points: Tensor | np.ndarray, std: float | None = None, *, scale: float | None = None) -> Law:
    """Your own points (N, n) as a law: a small Gaussian on each; every axis has zero mean and unit variance.

    `scale`, where it is given, is what all axes are divided by instead, each by its own standard deviation otherwise;
    an axis on which all points are the same stays at zero. `std` is in standardised units; unless given it is half the
    median distance to the nearest other point, kept in 0.01..0.1. Points close to each other (JOINED), and those close
    to them in turn, are one mode. Refused where there are under 2 or over MAX_POINTS points, or they are not finite
    or all the same.
    """
    x = floats(points).double()
    if x.ndim != 2 or not 2 <= len(x) <= MAX_POINTS:
        got = f"shape {tuple(x.shape)}" if x.ndim != 2 and x.numel() else f"{len(x):,}"
        few = ": take some of them at random" * (x.ndim == 2 and len(x) > MAX_POINTS)
        raise Refused(f"your own data must be 2 to {MAX_POINTS:,} points (N, n), got {got}{few}")
    if not x.isfinite().all():
        raise Refused("your own data must be finite numbers, got a NaN or an infinity")
    width = spread(x)
    if not width > 0 or not math.isfinite(width):
        raise Refused("your own data must have at least two different points of moderate size")
    x = (x - x.mean(0)) / (scale or _deviation(x))
    apart = torch.cdist(x, x)
    if std is None:
        std = float(apart.topk(2, largest=False).values[:, 1].median() / 2)  # the nearest is the point itself
        std = min(max(std, 0.01), 0.1)
    elif not 0 <= std < 1:
        raise Refused(f"std must be in 0..1, below 1, in standardised units, got {std}")
    # shrunk a little, so that points and Gaussians together have unit variance
    shrink = math.sqrt(1 - std**2)
    return Law.uniform(x * shrink, std, _connected(apart * shrink <= min(JOINED[0] * std, JOINED[1])))


def of_columns(points: np.ndarray, names: Sequence[str], known: str | None = None) -> tuple[Law, tuple[Axis, ...]]:
    """The law of a table's columns (N, n), and its axes; `known` is the fingerprint of the law a model was trained on.

    Models of earlier versions were trained on a law whose axes shared one scale: if only that law has the fingerprint,
    or if `known` is "", it is returned. Refused if neither law has it.
    """
    x = torch.as_tensor(points, dtype=torch.float64)
    law, scale = from_points(x), _deviation(x)
    if known is not None and fingerprint(law) != known:
        shared = spread(x)
        law, scale = from_points(x, scale=shared), torch.full_like(scale, shared)
        if known and fingerprint(law) != known:
            raise Refused("these are not the points that the model was trained on")
    return law, axes_from(law, zip(names, x.mean(0).tolist(), scale.tolist(), strict=True))


def fingerprint(law: Law) -> str:
    """16 hexadecimal digits that tell the law of a user's points from that of other points."""
    return hashlib.sha256(law.mu.numpy().tobytes()).hexdigest()[:16]


def axes_from(law: Law, measured: Iterable[Measured]) -> tuple[Axis, ...]:
    """The axes of a law of points, from the name, mean and standard deviation of each column."""
    shrink = math.sqrt(1 - float(law.var[0]))
    return tuple(Axis(name, mean, deviation / shrink) for name, mean, deviation in measured)


def _deviation(x: Tensor) -> Tensor:
    """The standard deviation of each axis of x (N, n), 1 where all are the same: rounding is no spread."""
    away = x - x.mean(0)
    far = away.abs().amax(0).clamp(min=torch.finfo(x.dtype).tiny)  # or the squares of tiny numbers would all be zero
    return torch.where((x == x[0]).all(0), 1.0, far * (away / far).square().mean(0).sqrt())


def spread(x: Tensor) -> float:
    """The standard deviation of x (N, n), of all axes together."""
    return float((x - x.mean(0)).square().mean().sqrt())


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


def encode_points(points: Tensor | np.ndarray | Sequence[Sequence[float]], columns: Sequence[str] = ()) -> str:
    """Points (N, 2) as a data name, `points:` and base64url of little-endian uint16 pairs, that needs no file.

    They are standardised, which `law_of` does anyway, and rounded to 1.2e-4 of a standard deviation, or more where
    some lie more than EXTENT of them from the mean. Axes are equal, as on a drawing board; those of named `columns`,
    one or two, have each its own scale, and the name says after a dot what they are. Refused for what `from_points`
    refuses, or over MAX_NAMED.
    """
    try:
        x = torch.as_tensor(points, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Refused("your own points must be pairs of numbers") from None
    n = len(columns) or 2
    if x.ndim != 2 or x.shape[1] != n or not 2 <= len(x) <= MAX_NAMED:
        got = f"shape {tuple(x.shape)}" if x.numel() and x.shape[1:] != (n,) else len(x)
        raise Refused(f"your own points must be 2 to {MAX_NAMED} {'pairs of ' * (n == 2)}numbers, got {got}")
    means, deviations = x.mean(0).tolist(), _deviation(x).tolist()
    x = from_points(x, std=0, scale=None if columns else spread(x)).mu
    far = x.abs().amax(0) if columns else x.abs().max()
    x = x * (EXTENT / far).clamp(max=1)
    whole = ((x + EXTENT) / (2 * EXTENT) * 65535).round().numpy().astype("<u2")
    axes = [_short(*axis) for axis in zip(columns, means, deviations, strict=True)] if columns else []
    return POINTS_PREFIX + _base64url(whole.tobytes()) + (f".{_base64url(_json(axes))}" if axes else "")


def decode_points(name: str) -> Tensor:
    """The points (N, 2) or (N, 1) of a data name, float64 in -EXTENT..EXTENT; Refused for any other name."""
    return decoded(name)[0]


def decoded(name: str) -> tuple[Tensor, list[Measured]]:
    """The points of a data name, and the name, mean and standard deviation of each column."""
    text, dot, said = name.removeprefix(POINTS_PREFIX).partition(".")
    if not name.startswith(POINTS_PREFIX) or len(text) > 4 * MAX_NAMED * 4 / 3 + 1 or len(said) > MAX_AXES:
        raise Refused(
            f"a name of points is {POINTS_PREFIX!r} and at most {MAX_NAMED} points, "
            f"got {name[:12]!r}…, {len(name)} characters"
        )
    axes = _understood(said) if dot else []
    try:
        raw = _from_base64url(text)
    except ValueError:
        raise Refused(f"the points of the name {name[:12]!r}… are not base64url") from None
    n = len(axes) or 2
    if len(raw) % (2 * n) or not 2 <= len(raw) // (2 * n) <= MAX_NAMED:
        raise Refused(f"a name must hold 2 to {MAX_NAMED} points of {2 * n} bytes each, got {len(raw)} bytes")
    whole = np.frombuffer(raw, "<u2").reshape(-1, n)
    if (whole == whole[0]).all():
        raise Refused("your own data must have at least two different points")
    return torch.from_numpy(whole / 65535 * 2 * EXTENT - EXTENT), axes


def _understood(text: str) -> list[Measured]:
    """The axes that a data name says; Refused for what `encode_points` would not have written."""
    try:
        axes = json.loads(_from_base64url(text))
        as_written = [_short(str(name), float(mean), float(deviation)) for name, mean, deviation in axes]
    except (ValueError, TypeError, OverflowError, RecursionError):
        as_written = []
    if not as_written or len(as_written) > 2 or _base64url(_json(as_written)) != text:
        raise Refused("the axes that this name of points states are not as the page writes them")
    return as_written


def _short(name: str, mean: float, deviation: float) -> Measured:
    """Name, mean and standard deviation of an axis, the numbers in as many digits as its ticks need."""
    if not (1e-300 < deviation < 1e300 and abs(mean) < 1e300):
        raise Refused(f"an axis needs a mean and a standard deviation, got {mean} and {deviation}")
    mean = round(mean, min(300, max(-300, 5 - math.floor(math.log10(deviation)))))
    return "".join(filter(str.isprintable, name))[:40], mean, float(f"{deviation:.6g}")


def _json(axes: list[Measured]) -> bytes:
    return json.dumps(axes, ensure_ascii=False, separators=(",", ":")).encode()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    """The bytes; ValueError for a sign that base64url has not: dropped, two names would mean one thing."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def thinned(points: Tensor | np.ndarray) -> Tensor:
    """At most MAX_NAMED of the points (N, D), evenly at random, always the same ones, in their order."""
    chosen = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:MAX_NAMED]
    return torch.as_tensor(points)[chosen.sort().values]
