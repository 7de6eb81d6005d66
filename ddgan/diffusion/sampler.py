"""The reverse process as a pure function of its noise.

Starting from x_T, a step from t to s < t is

    x_0 = denoiser(x_t, level_t, z_t),        x_s = c_0 x_0 + c_t x_t + sqrt(var) eps_t

the second being one draw of q(x_s | x_t, x_0), or what another solver (solver.py) makes of x_0. A trajectory is
therefore a function of its draws (x_T, z, eps) and of nothing else: "another z at step 2 only" changes one row of
data. The last step has var = 0 and returns x_0 itself.

Draws are a pure function of (seed, purpose, t, coordinate), by hashing those four numbers: a sample's noise does not
depend on the batch it sits in, on how many steps follow or on how long a latent its denoiser reads. So the same seed
is the same noise for every denoiser, every number of steps and every page that asks for it. The class that a sample is
drawn from where nobody chose one comes from its seed in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import Refused, wanted
from .denoiser import Denoiser
from .schedule import Schedule
from .solver import ANCESTRAL, Solver, Step

__all__ = ["MAX_N", "Draws", "Labels", "draw", "own_classes", "sample", "seeds"]

MAX_N = 100_000  # samples of one sampling

Labels = Callable[[Sequence[int]], Tensor]  # seeds (B,) -> the classes of their samples (B,)


class Draws(NamedTuple):
    """All the noise of B trajectories: x_T (B, *D), z (T, B, L), eps (T, B, *D). Row t - 1 serves the step from t."""

    x_T: Tensor
    z: Tensor
    eps: Tensor

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], shape: Sequence[int], T: int, latent_dim: int) -> Draws:
        """Standard normal draws, one independent stream per seed, for data of `shape` and T steps.

        Refused where these are not whole numbers, or a size is below 0.
        """
        each = np.asarray(seeds)
        if each.ndim != 1 or not len(each) or each.dtype.kind not in "iu":
            raise Refused("seeds must be a non-empty sequence of whole numbers")
        sizes = [*shape, T, latent_dim] if isinstance(shape, Sequence) else [-1]
        if not all(isinstance(size, Integral) and size >= 0 for size in sizes):
            asked = f"{shape!r:.20}, {T!r:.20}, {latent_dim!r:.20}"
            raise Refused(f"a shape such as (2,), T and latent_dim must be whole numbers from 0 on, got {asked}")
        n = int(np.prod(shape))
        each = each.astype(np.int64)
        noise = _normal(each, purpose=0, rows=range(T + 1), columns=n).reshape(T + 1, len(each), *shape)
        return cls(noise[0], _normal(each, purpose=1, rows=range(T), columns=latent_dim), noise[1:])

    def reroll(self, what: str, t: int, seeds: Sequence[int], items: Sequence[int] | slice = slice(None)) -> Draws:
        """The same draws, but with `what` (z | eps) of the step from t by these B seeds, for some items or for all."""
        if what not in ("z", "eps"):
            raise Refused(f"what is drawn again must be z or eps, got {what!r}")
        if not 1 <= t <= len(self.z):
            raise Refused(f"t must be in 1..{len(self.z)}, got {t}")
        if np.shape(seeds) != self.x_T.shape[:1]:
            raise Refused(f"noise is drawn again by {len(self.x_T)} seeds, one a sample, got {np.shape(seeds)}")
        noise = getattr(self, what).clone()
        purpose, row = (1, t - 1) if what == "z" else (0, t)
        chosen = np.asarray(seeds, dtype=np.int64)[items]
        fresh = _normal(chosen, purpose=purpose, rows=range(row, row + 1), columns=noise.shape[2:].numel())
        noise[t - 1, items] = fresh.reshape(len(chosen), *noise.shape[2:])
        return self._replace(**{what: noise})


def _normal(seeds: np.ndarray, *, purpose: int, rows: range, columns: int) -> Tensor:
    """N(0, 1) numbers (rows, B, columns), from `_uniform`."""
    return torch.special.ndtri(torch.from_numpy(_uniform(seeds, purpose=purpose, rows=rows, columns=columns))).float()


def own_classes(seeds: Sequence[int], weights: Sequence[float]) -> Tensor:
    """A class for the sample of each seed, (B,): k with probability weights[k] / sum(weights), whatever the batch."""
    edges = np.cumsum(weights, dtype=np.float64)
    u = _uniform(np.asarray(seeds, dtype=np.int64), purpose=2, rows=range(1), columns=1)[0, :, 0]
    return torch.from_numpy(np.searchsorted(edges[:-1], u * edges[-1], side="right"))


def _uniform(seeds: np.ndarray, *, purpose: int, rows: range, columns: int) -> np.ndarray:
    """U(0, 1) numbers (rows, B, columns): entry (i, b, j) is a function of (seeds[b], purpose, rows[i], j) alone."""
    with np.errstate(over="ignore"):
        key = _mix(_mix(seeds.astype(np.uint64)) + np.uint64(purpose))
        key = _mix(key[None, :] + np.array(rows, dtype=np.uint64)[:, None])
        bits = _mix(key[..., None] + np.arange(columns, dtype=np.uint64))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
    """A linear congruential step, then SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of uint64."""
    x = x * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@torch.no_grad()
def sample(
    schedule: Schedule, denoiser: Denoiser, draws: Draws, start: int | None = None, solver: Solver = ANCESTRAL
) -> Iterator[Step]:
    """The T steps from x_T to x_0, or those from x_start on, for which draws.x_T then stands.

    Each step is computed when it is asked for, without gradients: a chain of `solver.step` has them. Refused, at the
    first step, where the draws or the denoiser do not fit the schedule, or start is outside 1..T.
    """
    _check(schedule, denoiser, solver)
    wanted(Draws, "Draws.from_seeds(seeds, shape, T, latent_dim)", draws)
    start = schedule.T if start is None else start
    if not 1 <= start <= schedule.T:
        raise Refused(f"start must be in 1..{schedule.T}, got {start}")
    if len(draws.eps) != schedule.T:
        raise Refused(f"the schedule has T = {schedule.T} steps, the draws have {len(draws.eps)}")
    (B, *D), L = draws.x_T.shape, draws.z.shape[-1]
    if draws.z.shape != (schedule.T, B, L) or draws.eps.shape != (schedule.T, B, *D):  # they would be broadcast
        came = ", ".join(str(tuple(v.shape)) for v in draws)
        raise Refused(f"draws are x_T (B, *D), z (T, B, L) and eps (T, B, *D), got {came}")
    if denoiser.shape not in (None, tuple(D)):
        raise Refused(f"this denoiser is for data of shape {denoiser.shape}, the draws have {tuple(D)}")
    denoiser.check(schedule)
    draws = Draws(*(v.to(denoiser.device) for v in draws))
    x_t, step = draws.x_T, None
    for t in range(start, 0, -1):
        z, eps = draws.z[t - 1], draws.eps[t - 1]
        step = solver.step(schedule, denoiser, x_t, t - 1, t, z=z, eps=eps, before=step)
        yield step
        x_t = step.x_s


def draw(
    schedule: Schedule, denoiser: Denoiser, seeds: Sequence[int], shape: Sequence[int], at_once: int = 100,
    solver: Solver = ANCESTRAL, labels: Labels | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """The x_0 of one trajectory for each seed, (at_once, *shape) at a time: they need not fit in memory together.

    `labels` gives the classes of samples by their seeds; without it the denoiser is told none. Refused as by `sample`,
    and for an `at_once` below 1.
    """
    _check(schedule, denoiser, solver)
    wanted(Sized, "range(100)", seeds)
    if at_once < 1:
        raise Refused(f"at_once counts samples, a whole number from 1 on, got {at_once}")
    for first in range(0, len(seeds), at_once):
        some = seeds[first : first + at_once]
        draws = Draws.from_seeds(some, shape, schedule.T, denoiser.latent_dim)
        *_, last = sample(schedule, denoiser.given(labels(some)) if labels else denoiser, draws, solver=solver)
        yield last.x_s


def _check(schedule: Schedule, denoiser: Denoiser, solver: Solver) -> None:
    wanted(Schedule, "Schedule.vp(4)", schedule)
    wanted(Denoiser, 'load("25-gaussians")', denoiser)
    wanted(Solver, "DDIM()", solver)


def seeds(seed: int, n: int) -> range:
    """The seeds of n samples; another `seed` gives others."""
    return range(seed * MAX_N, seed * MAX_N + n)
