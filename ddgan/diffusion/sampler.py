"""The reverse process as a pure function of its noise.

Starting from x_T, a step from t to s < t is

    x_0 = denoiser(x_t, level_t, z_t),        x_s = c_0 x_0 + c_t x_t + sqrt(var) eps_t

the second being one draw of q(x_s | x_t, x_0). A trajectory is therefore a function of its draws (x_T, z, eps) and of
nothing else: "another z at step 2 only" changes one row of data. The last step has var = 0 and returns x_0 itself.

Draws are a pure function of (seed, purpose, t, coordinate), by hashing those four numbers: a sample's noise does not
depend on the batch it sits in, on how many steps follow or on how long a latent its denoiser reads. So the same seed
is the same noise for every denoiser, every number of steps and every page that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .denoiser import Denoiser
from .gaussian import Gaussian
from .schedule import Schedule

__all__ = ["Draws", "Step", "draw", "reverse_step", "sample"]


class Draws(NamedTuple):
    """All the noise of B trajectories: x_T (B, *D), z (T, B, L), eps (T, B, *D). Row t - 1 serves the step from t."""

    x_T: Tensor
    z: Tensor
    eps: Tensor

    @classmethod
    def from_seeds(cls, seeds: Sequence[int], shape: Sequence[int], T: int, latent_dim: int) -> Draws:
        """Standard normal draws, one independent stream per seed, for data of `shape` and T steps."""
        seeds = np.asarray(seeds, dtype=np.int64)
        if seeds.ndim != 1 or not len(seeds):
            raise ValueError("seeds must be a non-empty sequence of whole numbers")
        n = int(np.prod(shape))
        noise = _normal(seeds, purpose=0, rows=range(T + 1), columns=n).reshape(T + 1, len(seeds), *shape)
        return cls(noise[0], _normal(seeds, purpose=1, rows=range(T), columns=latent_dim), noise[1:])

    def reroll(self, what: str, t: int, seeds: Sequence[int], items: Sequence[int] | slice = slice(None)) -> Draws:
        """The same draws but for `what` (z | eps) of the step from t: for some items or all what these B seeds give there."""
        if what not in ("z", "eps"):
            raise ValueError(f"what is drawn again must be z or eps, got {what!r}")
        if not 1 <= t <= len(self.z):
            raise ValueError(f"t must be in 1..{len(self.z)}, got {t}")
        noise = getattr(self, what).clone()
        purpose, row = (1, t - 1) if what == "z" else (0, t)
        chosen = np.asarray(seeds, dtype=np.int64)[items]
        fresh = _normal(chosen, purpose=purpose, rows=range(row, row + 1), columns=noise.shape[2:].numel())
        noise[t - 1, items] = fresh.reshape(len(chosen), *noise.shape[2:])
        return self._replace(**{what: noise})


def _normal(seeds: np.ndarray, *, purpose: int, rows: range, columns: int) -> Tensor:
    """N(0, 1) numbers (rows, B, columns): entry (i, b, j) is a function of (seeds[b], purpose, rows[i], j) alone."""
    with np.errstate(over="ignore"):
        key = _mix(_mix(seeds.astype(np.uint64)) + np.uint64(purpose))
        key = _mix(key[None, :] + np.array(rows, dtype=np.uint64)[:, None])
        bits = _mix(key[..., None] + np.arange(columns, dtype=np.uint64))
    u = ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return torch.special.ndtri(torch.from_numpy(u)).float()


def _mix(x: np.ndarray) -> np.ndarray:
    """A linear congruential step, then SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64-bit words."""
    x = x * np.uint64(0xD1342543DE82EF95) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Step(NamedTuple):
    """Everything that made one reverse step from t to s: x_s = posterior.at(eps), posterior = q(x_s | x_t, x_0)."""

    s: int | Tensor
    t: int | Tensor
    x_t: Tensor
    z: Tensor
    x_0: Tensor
    posterior: Gaussian
    eps: Tensor
    x_s: Tensor

    def map(self, of: Callable[[Any], Any]) -> Step:
        """The same record with `of` each tensor."""
        mapped = (v if v is None or isinstance(v, int) else of(v) for v in self._replace(posterior=None))
        return Step(*mapped)._replace(posterior=Gaussian(*map(of, self.posterior)))


def reverse_step(
    schedule: Schedule, denoiser: Denoiser, x_t: Tensor, s: int | Tensor, t: int | Tensor, *, z: Tensor, eps: Tensor
) -> Step:
    """x_0 from the denoiser, then x_s ~ q(x_s | x_t, x_0), s < t; ints or (B,). The trainer's fakes are made here too.

    The denoiser reads the first latent_dim coordinates of z, so that denoisers of any latent dimension share one z.
    """
    if z.shape[1] < denoiser.latent_dim:
        raise ValueError(f"this denoiser reads {denoiser.latent_dim} latent numbers, z has {z.shape[1]}")
    z = z[:, : denoiser.latent_dim]
    x_0 = denoiser(x_t, schedule.level(t, x_t), z)
    posterior = schedule.posterior(x_0, x_t, s, t)
    return Step(s, t, x_t, z, x_0, posterior, eps, posterior.at(eps))


@torch.no_grad()
def sample(schedule: Schedule, denoiser: Denoiser, draws: Draws, start: int | None = None) -> Iterator[Step]:
    """The T steps from x_T to x_0, or those from x_start on, for which draws.x_T then stands.

    ValueError where the draws or the denoiser do not fit the schedule, or start is outside 1..T.
    """
    start = schedule.T if start is None else start
    if not 1 <= start <= schedule.T:
        raise ValueError(f"start must be in 1..{schedule.T}, got {start}")
    if len(draws.eps) != schedule.T:
        raise ValueError(f"the schedule has T = {schedule.T} steps, the draws have {len(draws.eps)}")
    denoiser.check(schedule)
    draws = Draws(*(v.to(denoiser.device) for v in draws))
    x_t = draws.x_T
    for t in range(start, 0, -1):
        step = reverse_step(schedule, denoiser, x_t, t - 1, t, z=draws.z[t - 1], eps=draws.eps[t - 1])
        yield step
        x_t = step.x_s


def draw(
    schedule: Schedule, denoiser: Denoiser, seeds: Sequence[int], shape: Sequence[int], at_once: int = 100
) -> Iterator[Tensor]:
    """The x_0 of one trajectory a seed, (at_once, *shape) at a time: as many as would not fit in memory together."""
    for first in range(0, len(seeds), at_once):
        draws = Draws.from_seeds(seeds[first : first + at_once], shape, schedule.T, denoiser.latent_dim)
        *_, last = sample(schedule, denoiser, draws)
        yield last.x_s
