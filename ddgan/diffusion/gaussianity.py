"""How far a denoising law is from every Gaussian: why few steps need many modes, and where the steps should stand.

The law that a reverse step has to draw from, q(x_s | x_t), is a mixture q = sum_k w_k N(m_k, v_k). Of all Gaussians
the one with q's own mean and covariance comes closest, and what separates the two is the difference of their entropies,

    KL(q || N(E[q], Cov[q])) = log det(2 pi e Cov[q]) / 2 - H[q],    H[q] = - sum_k w_k E_{x ~ N(m_k, v_k)} log q(x)

which is zero for a Gaussian and, for far components of one variance v, about log(Var[q] / v) / 2 - H[w]. Averaged over
x_t ~ q(x_t), the gap is what a Gaussian denoiser loses at that step whatever it learns; it vanishes with the step's
length. The mean needs nothing of a pair of levels but the covariance of q(x_0 | x_t), since

    Cov[x_s | x_t] = c_0^2 Cov[x_0 | x_t] + var I,    H(x_s | x_t) = H(x_s) + H(x_t | x_s) - H(x_t)

with c_0 and var of q(x_s | x_t, x_0), so that a table of all pairs costs no more than its levels do. Over a chain of
steps the mean gaps add up to a bound, KL(q(x_0) || p(x_0)) <= KL(q(x_T) || p(x_T)) + sum_t E KL(q(x_s | x_t) ||
p(x_s | x_t)), in which the entropies of all levels but the last cancel. `optimal` finds the levels of the least bound.

Source: Figure 2 of Xiao, Kreis, Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs"; the
search is that of Watson et al., "Learning to Efficiently Sample from Diffusion Probabilistic Models", 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import Refused, wanted
from .gaussian import Gaussian
from .mixture import NODES, Law, Mixture, hermite, lattice, quasi_random
from .schedule import FAMILIES, U_0, Schedule, posterior_weights, span_of

__all__ = [
    "MOST_STEPS", "VP_LEVELS", "GapMap", "bound", "chain_kl", "gap_map", "mean_gap",
    "mixture_bound", "optimal", "optimal_for_means", "shortest", "start_gap", "step_gap", "vp_time",
]  # fmt: skip

VP_LEVELS = 512  # levels of the vp schedule that a step of the picture may start from and end at
DRAWS = 2000  # of the steps whose mean mixture_bound takes
MOST_STEPS = 64  # of an optimal schedule
X_T = 2500  # points that stand for x_t at one level, at most
CELLS = 2**23  # points x components of an entropy, which asks for more of them; of a product of grids, at once
GRID = 2**13  # nodes of `chain_kl` on a line, at most: its operations are their square
FINE = 280  # levels that an optimal schedule chooses from, where the law is a product of lines or is not known
LEVELS, FEWER = 160, 700  # of any other law, and points at each: more levels lower the bound more than more points do


class GapMap(NamedTuple):
    """mean_gap of the steps between some levels of the schedule alpha_bar (VP_LEVELS + 1,): gap[i, j] goes t -> s.

    t = level[j], s = level[i], counted in that schedule from 0 to VP_LEVELS and denser towards the data, where the gap
    changes most; zero where s >= t. z and weight (NODES,) are the nodes that Mixture.gap sums over.
    """

    alpha_bar: np.ndarray
    level: np.ndarray
    gap: np.ndarray
    z: np.ndarray
    weight: np.ndarray


def mean_gap(law: Law, level_s: Tensor, level_t: Tensor) -> Tensor:
    """E_{x_t ~ q(x_t)} KL(q(x_s | x_t) || its best Gaussian) in nats, (B,); level_s (B,), level_t (1,)."""
    found = torch.zeros(len(level_s), dtype=torch.float64)
    for line in law.lines or [law]:
        entropy = torch.tensor([_entropy(line, float(v)) for v in level_s], dtype=torch.float64)
        found += _off(line, level_s.double(), float(level_t), X_T) - entropy + _entropy(line, float(level_t))
    return found.clamp(min=0)


def step_gap(law: Law, schedule: Schedule, t: int) -> float:
    """`mean_gap` of the step from t to t - 1."""
    return float(mean_gap(law, schedule.level(t - 1), schedule.level(t)))


def start_gap(law: Law, schedule: Schedule) -> float:
    """KL(q(x_T) || N(0, I)) in nats: what even the exact chain loses, since it starts at N(0, I)."""
    level = float(schedule.level(schedule.T))
    return _above_zero(sum(_start(line, level) - _entropy(line, level) for line in law.lines or [law]))


def bound(law: Law, schedule: Schedule) -> float:
    """`start_gap` + sum_t E KL(q(x_s | x_t) || its best Gaussian), in nats.

    KL(q(x_0) || p(x_0)) of the chain of best Gaussians that starts at N(0, I) is at most this. Refused for components
    without a density, of which no chain of Gaussians comes near.
    """
    wanted(Law, 'toy("25-gaussians")', law)
    wanted(Schedule, "Schedule.vp(4)", schedule)
    if not law.var.min() > 0:
        raise Refused("a bound needs a law with a density: this one has points without width")
    level, found = schedule.level(torch.arange(schedule.T + 1)), 0.0
    for line in law.lines or [law]:
        off = sum(float(_off(line, level[t - 1 : t], float(level[t]), X_T)) for t in range(1, schedule.T + 1))
        found += off - _entropy(line, math.inf) + _start(line, float(level[-1]))
    return _above_zero(found)


def mixture_bound(law: Law, schedule: Schedule, denoised: Callable[[Tensor, Tensor], Mixture]) -> float:
    """The same for a chain whose p(x_0 | x_t) is a mixture, `denoised` of x_t (B, *D) in float32 and levels (B,).

    Its p(x_s | x_t) = integral of q(x_s | x_t, x_0) p(x_0 | x_t) is a mixture too. E log q(x_s | x_t) / p(x_s | x_t)
    is a mean over DRAWS draws, the same ones each time, so small bounds have an error of some hundredths of a nat.
    """
    noise, found = torch.Generator().manual_seed(0), start_gap(law, schedule)
    for t in range(schedule.T, 0, -1):
        x_0 = law.sample(DRAWS, noise).double()
        x_s = schedule.marginal(x_0, t - 1).at(torch.randn(x_0.shape, generator=noise, dtype=x_0.dtype))
        x_t = schedule.transition(x_s, t - 1, t).at(torch.randn(x_0.shape, generator=noise, dtype=x_0.dtype))
        p = denoised(x_t.float(), schedule.level(t, x_t.float()))
        c_0, c_t, var = map(float, posterior_weights(schedule.at(t - 1), schedule.at(t)))
        to = replace(p, scale=c_0 * p.scale, shift=c_0 * p.shift + c_t, var=c_0**2 * p.var + var)
        q = law.reverse(x_t, schedule.level(t - 1), schedule.level(t))
        found += float((q.log_prob(x_s) - to.log_prob(x_s.float())).mean())
    return _above_zero(found)


def chain_kl(law: Law, schedule: Schedule) -> float:
    """KL(q(x_0) || p(x_0)) in nats of the chain of best Gaussians that starts at N(0, I), by integrals over grids.

    It is at most `bound`. Refused for a law that is no product of lines with a density, or needs too fine a grid.
    """
    lines = law.lines
    if lines is None or not law.var.min() > 0:
        raise Refused("the samples' KL is computed for laws with a density whose coordinates are independent")
    return sum(_chain_kl(line, schedule) for line in lines)


def _chain_kl(line: Law, schedule: Schedule) -> float:
    """chain_kl on one line: p(x_s) = integral of N(x_s; mean(x_t), var(x_t)) p(x_t) dx_t, step by step."""
    step, reach = float(line.var.min().sqrt()) / 3, max(6.0, float(line.mu.abs().max() + 6 * line.var.max().sqrt()))
    if 2 * reach / step > GRID - 2:
        raise Refused(
            f"the samples' KL is computed on at most {GRID:,} nodes: modes of standard deviation {3 * step:.1g} need "
            f"{2 * reach / step:,.0f}"
        )
    x = torch.arange(-reach, reach + step, step, dtype=torch.float64)[:, None]
    p = step * Gaussian(torch.zeros_like(x), torch.ones(1, dtype=x.dtype)).log_prob(x).exp()
    for t in range(schedule.T, 0, -1):
        q = line.denoised(x, schedule.level(t))
        c_0, c_t, var = posterior_weights(schedule.at(t - 1), schedule.at(t))
        mean, width = c_0 * q.mean() + c_t * x, c_0**2 * q.cov()[:, 0] + var
        p = step * (p / (2 * torch.pi * width[:, 0]).sqrt())
        parts = x.T.split(max(1, CELLS // len(x)), 1)
        p = torch.cat([p @ (-((part - mean) ** 2) / width / 2).exp() for part in parts])
    q_0 = line.log_prob(x).exp()
    return float(step * torch.special.xlogy(q_0, q_0 / (p / step)).sum())


def optimal(law: Law, T: int, span: tuple[float, float] | None = None) -> Schedule:
    """The T levels with the least `bound`: x_T is at log-SNR span[0], and none but x_0 is cleaner than span[1].

    The shortest path of T steps through a table of mean gaps, by dynamic programming. Refused for T above MOST_STEPS or
    components without a density.
    """
    wanted(Law, 'toy("25-gaussians")', law)
    return _optimal(law, T, span_of("optimal", T, span))


@lru_cache(maxsize=64)
def _optimal(law: Law, T: int, span: tuple[float, float]) -> Schedule:
    if T > MOST_STEPS:
        raise Refused(f"an optimal schedule has 1 to {MOST_STEPS} steps, got T = {T}")
    if not law.var.min() > 0:
        raise Refused("an optimal schedule needs a law with a density: this one is a finite set of points")
    levels, cost = _costs(law, *span)
    return Schedule.of_levels(levels[shortest(cost, T)[:-1]])


@lru_cache(maxsize=16)
def _costs(law: Law, lo: float, hi: float) -> tuple[Tensor, Tensor]:
    """The levels (L,) that an optimal schedule chooses from, rising to +inf, and what steps cost [from, to] (L, L)."""
    size, points = (LEVELS, FEWER) if law.lines is None else (FINE, X_T)
    knee = lo + (hi - lo) / 3  # few steps stand where it is noisier: one level in six
    parts = torch.linspace(lo, knee, size // 5), torch.linspace(knee, hi, size)[1:], torch.tensor([torch.inf])
    levels = torch.cat(parts).double()
    cost = torch.full((len(levels), len(levels)), torch.inf, dtype=torch.float64)
    for t in range(len(levels) - 1):  # entropies of single levels cancel along any way
        steps = [_off(line, levels[t + 1 :], float(levels[t]), points) for line in law.lines or [law]]
        cost[t, t + 1 :] = torch.stack(steps).sum(0)
    return levels, cost


def optimal_for_means(
    levels: Sequence[float], squared: Sequence[float], T: int, span: tuple[float, float] | None = None
) -> Schedule:
    """The same for DDPM's chain, whose E|x_0 - E[x_0 | x_t]|^2 is `squared` at the log-SNRs `levels`, both (L,).

    A step costs (SNR_s - SNR_t) E|x_0 - E[x_0 | x_t]|^2 / 2 nats, SNR = a^2 / sigma^2 (Kingma et al., "Variational
    Diffusion Models", 2021, eq. 13). The step to x_0, in which DDPM draws nothing, has no such cost: x_1 is at span[1]
    itself. The logarithms of the errors are interpolated linearly between the rising `levels`.
    """
    lo, hi = span_of("optimal", T, span)
    if T == 1:
        return Schedule.of_levels(torch.tensor([lo]))
    level = np.linspace(lo, hi, FINE)
    error, snr = np.exp(np.interp(level, levels, np.log(squared))), np.exp(level)
    cost = torch.from_numpy((snr - snr[:, None]) * error[:, None] / 2)
    cost[torch.ones_like(cost).tril().bool()] = torch.inf
    return Schedule.of_levels(torch.from_numpy(level)[shortest(cost, T - 1)])


def vp_time(level: Tensor) -> Tensor:
    """The t in 0..VP_LEVELS, not whole, at which vp has these log-SNRs (B,); beyond VP_LEVELS where they are noisier.

    A step between any two levels then stands on the `gap_map`. With alpha_bar(u) = exp(-lo u - (hi - lo) u^2 / 2) it
    is the root of a square.
    """
    lo, hi = FAMILIES["vp"].default
    lost = torch.nn.functional.softplus(-level.double()) + lo * U_0 + (hi - lo) * U_0**2 / 2  # -log alpha_bar(u)
    u = ((lo**2 + 2 * (hi - lo) * lost).sqrt() - lo) / (hi - lo)
    return VP_LEVELS * (u - U_0) / (1 - U_0)


def shortest(cost: Tensor, steps: int) -> list[int]:
    """The places on the cheapest way of so many steps from the first to the last, costs [from, to] (L, L)."""
    least, came = torch.full((len(cost),), torch.inf, dtype=torch.float64), []
    least[0] = 0
    for _ in range(steps):
        least, before = (least[:, None] + cost).min(0)
        came.append(before)
    way = [len(cost) - 1]
    for before in reversed(came):
        way.append(int(before[way[-1]]))
    return way[::-1]


@lru_cache(maxsize=8)
def gap_map(law: Law, size: int = 49) -> GapMap:
    """The mean gap of every step between at most `size` levels, evenly spread in the square root of t."""
    schedule = Schedule.vp(VP_LEVELS)
    level = (torch.linspace(0, 1, size, dtype=torch.float64) ** 2 * VP_LEVELS).round().long().unique()
    gaps = torch.zeros(len(level), len(level), dtype=torch.float64)
    for j in range(1, len(level)):
        gaps[:j, j] = mean_gap(law, schedule.level(level[:j]), schedule.level(level[j]))
    return GapMap(*(part.numpy() for part in (schedule.alpha_bar, level, gaps, *hermite(NODES))))


def _above_zero(nats: float) -> float:
    """A KL without the rounding that took it below zero; nan stays nan."""
    return 0.0 if nats < 0 else nats


def _off(law: Law, level_s: Tensor, level_t: float, points: int) -> Tensor:
    """mean_gap + H(x_s) - H(x_t) of the steps from t to levels (S,) in float64.

    That is E log det(2 pi e Cov[x_s | x_t]) / 2 - H(x_t | x_s). Its mean is over so many places x_t.
    """
    eigenvalues, weight = _uncertain(law, level_t, points)
    n, a_t, a_s = eigenvalues.shape[1], 1 / (1 + math.exp(-level_t)), level_s.sigmoid()
    r_2 = a_t / a_s
    c_0, _, var = posterior_weights(a_s, torch.tensor(a_t, dtype=torch.float64))
    cov = (c_0**2)[:, None, None] * eigenvalues + var[:, None, None]  # (S, M, n)
    return (cov.log().sum(2) @ weight - n * (1 - r_2).log()) / 2


@lru_cache(maxsize=1024)
def _entropy(law: Law, level: float) -> float:
    """H(x_t) in nats; `level` may be +inf."""
    marginal = law.marginal(torch.tensor([level], dtype=torch.float64))
    x, weight = _points(marginal, max(X_T, min(8 * X_T, CELLS // len(law.mu))))
    return -float(weight @ torch.cat([marginal.log_prob(part) for part in x.split(law.at_once)]))


def _start(law: Law, level: float) -> float:
    """KL(q(x_t) || N(0, I)) + H(x_t) = -E log N(x_t; 0, I) in nats."""
    marginal = law.marginal(torch.tensor([level], dtype=torch.float64))
    mu, n = marginal.mu.flatten(1).double(), law.mu[0].numel()
    square = marginal.log_w.double().exp() @ (mu.square().sum(1) + n * marginal.var.double())
    return float(square + n * math.log(2 * math.pi)) / 2


@lru_cache(maxsize=512)
def _uncertain(law: Law, level: float, points: int) -> tuple[Tensor, Tensor]:
    """The eigenvalues of Cov[x_0 | x_t], (M, n), at M <= `points` places x_t of these weights, (M,)."""
    at = torch.tensor([level], dtype=torch.float64)
    x_t, weight = _points(law.marginal(at), points)
    found = [torch.linalg.eigvalsh(law.denoised(part, at).cov()) for part in x_t.split(law.at_once)]
    return torch.cat(found).clamp(min=1e-14), weight


def _points(law: Law, most: int) -> tuple[Tensor, Tensor]:
    """Points (M, *D) and weights (M,) for means over a law, M <= most: of every component, or Sobol's."""
    K, n = law.mu.flatten(1).shape
    if (m := min(40, int((most / K) ** (1 / n)))) >= 8:
        nodes, weights = lattice(hermite(m)[0], n), lattice(hermite(m)[1], n).prod(1)
        x = law.mu.flatten(1)[:, None] + law.var.sqrt()[:, None, None] * nodes
        return x.reshape(-1, *law.shape), (law.log_w.exp()[:, None] * weights).flatten()
    u, eps = quasi_random(most, n)
    k = torch.searchsorted(law.log_w.exp().cumsum(0), u.contiguous()).clamp(max=K - 1)
    x = law.mu.flatten(1)[k] + law.var.sqrt()[k, None] * eps
    return x.reshape(-1, *law.shape), torch.full((most,), 1 / most, dtype=torch.float64)
