"""How far a denoising law is from every Gaussian: why few steps need many modes.

The law that a reverse step has to draw from, q(x_s | x_t), is a mixture q = sum_k w_k N(m_k, v_k). Of all Gaussians
the one with q's own mean and variance comes closest, and what separates the two is the difference of their entropies,

    KL(q || N(E[q], Var[q])) = log(2 pi e Var[q]) / 2 - H[q],    H[q] = - sum_k w_k E_{x ~ N(m_k, v_k)} log q(x)

which is zero for a Gaussian and, for far components of one variance v, about log(Var[q] / v) / 2 - H[w]. The inner means are
Gauss-Hermite sums: no noise, and a narrow component costs no more than a wide one. Averaged over x_t ~ q(x_t), the
gap is what a Gaussian denoiser loses at that step whatever it learns; it vanishes with the step's length.

Source: Figure 2 of Xiao, Kreis, Vahdat, "Tackling the Generative Learning Trilemma with Denoising Diffusion GANs".
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .mixture import NODES, Law, hermite
from .schedule import Schedule

__all__ = ["GRID", "Landscape", "landscape", "mean_gap", "step_gap"]

GRID = 512  # levels of the vp schedule that a step of the picture may start from and end at


class Landscape(NamedTuple):
    """mean_gap of the steps between some levels of the schedule alpha_bar (GRID + 1,): gap[i, j] goes t -> s.

    t = level[j], s = level[i], counted in that schedule from 0 to GRID and denser towards the data, where the gap
    changes most; zero where s >= t. z and weight (NODES,) are the nodes that Mixture.gap sums over.
    """

    alpha_bar: np.ndarray
    level: np.ndarray
    gap: np.ndarray
    z: np.ndarray
    weight: np.ndarray


def mean_gap(law: Law, level_s: Tensor, level_t: Tensor) -> Tensor:
    """E_{x_t ~ q(x_t)} KL(q(x_s | x_t) || its best Gaussian) in nats, (B,), of a law on a line, for levels_s (B,) and one level_t (1,)."""
    z, weight = hermite(NODES)
    marginal = law.marginal(level_t)
    x_t = (marginal.mu + marginal.var.sqrt()[:, None] * z).reshape(-1, 1)  # (K * NODES, 1)
    weight = (law.log_w.exp()[:, None] * weight).flatten()
    B, n = len(level_s), len(x_t)
    q = law.reverse(x_t.repeat(B, 1), level_s.repeat_interleave(n), level_t.expand(B * n))
    return q.gap().reshape(B, n) @ weight


@lru_cache(maxsize=256)
def step_gap(law: Law, schedule: Schedule, t: int, n: int = 48) -> float:
    """`mean_gap` of the step from t of any law: as a sum where that takes at most n x_t, else over n draws of x_t."""
    level_s, level_t = schedule.level(t - 1), schedule.level(t)
    if law.shape == (1,) and len(law.mu) * NODES <= n:
        return float(mean_gap(law, level_s, level_t))
    x_t = law.marginal(level_t).sample(n, torch.Generator().manual_seed(0))
    return float(law.reverse(x_t, level_s, level_t).gap().mean().clamp(min=0))


@lru_cache(maxsize=8)
def landscape(law: Law, size: int = 49) -> Landscape:
    """The mean gap of every step between at most `size` levels, evenly spread in the square root of t."""
    schedule = Schedule.vp(GRID)
    level = (torch.linspace(0, 1, size, dtype=torch.float64) ** 2 * GRID).round().long().unique()
    gaps = torch.zeros(len(level), len(level), dtype=torch.float64)
    for j in range(1, len(level)):
        gaps[:j, j] = mean_gap(law, schedule.level(level[:j]), schedule.level(level[j]))
    return Landscape(*(part.numpy() for part in (schedule.alpha_bar, level, gaps, *hermite(NODES))))
