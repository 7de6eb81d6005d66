"""The probability flow: a deterministic map from x_t to x_s under which q(x_t) becomes q(x_s).

With y = x / a and the noise-to-signal ratio q = sigma / a, every trajectory follows

    dy / dlog q = y - E[x_0 | x_t],    that is    dx / dlog q = a (a x - E[x_0 | x_t])

from x_T, which alone decides where it ends. On a line order is kept, so the map is that of quantiles,

    Phi_{t -> s}(x) = F_s^-1(F_t(x)),    F the distribution function of q(x_t)

and for a law whose coordinates are independent it is that in each coordinate. Any other law is integrated. The ideal
consistency model (Song et al. 2023) is Phi_{t -> 0}: one step, no z, and no posterior with many modes to learn.

Source: the flow of Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations", ICLR
2021, sec. 4.3, in the variables of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models",
NeurIPS 2022, eq. 4.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .denoiser import LawDenoiser, MeanDenoiser
from .gaussian import like
from .mixture import Law
from .schedule import alpha_sigma

__all__ = ["FlowDenoiser", "carried"]

STEPS = 8  # of an integration, four evaluations each
CENTRE, SPREAD = math.log(0.3), 2.5  # of the steps in log q: most are where the mean turns towards one mode
CELLS = 4096  # of the table that a quantile is looked up in
WAY = 2.35  # the whole way in theta, from q = 150 to .001
ROUNDS = 50  # of Newton's steps, or of halving where they leave the cell, until the quantile is found
NEAR = 20.0  # an integration ends where the noise is so many times smaller than the narrowest component
POINT = 0.05  # the width that counts for points: nearer to them the equation is stiff, and E[x_0 | x] is one of them


class FlowDenoiser(LawDenoiser):
    """x_0 = Phi_{t -> 0}(x_t), the exact flow of a law. The last maps are kept: an integration takes a while.

    What is kept are copies, so that x_t and the answer may be changed in place. A map whose gradient is asked for is
    computed anew.
    """

    KEPT = 8

    def __init__(self, law: Law) -> None:
        super().__init__(law)
        self._known: list[tuple[Tensor, ...]] = []

    def carried(self, x_t: Tensor, level_t: Tensor, level_s: Tensor) -> Tensor:
        """Phi_{t -> s}(x_t) for x_t (B, *D), levels (B,) or (1,)."""
        asked = (x_t, level_t, level_s)
        if torch.is_grad_enabled() and any(v.requires_grad for v in asked):
            return carried(self.law, *asked)
        for *before, found in self._known:
            if all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(asked, before, strict=True)):
                return found.clone()
        found = carried(self.law, *asked)
        self._known = [*self._known[1 - self.KEPT :], (*(v.detach().clone() for v in asked), found)]
        return found.clone()

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.carried(x_t, level, torch.full_like(level, torch.inf))


def carried(law: Law, x_t: Tensor, level_t: Tensor, level_s: Tensor, steps: int | None = None) -> Tensor:
    """Phi_{t -> s}(x_t) of a law for x_t (B, *D), level_s >= level_t, levels (B,) or (1,); level_s may be +inf.

    To rounding where the coordinates are independent. Any other law is integrated, about its mean, by `steps`: unless
    given, STEPS for the whole way and fewer for a part, which suit a law of unit variance on average without far
    outliers. Of the toys at most one point in 200 then ends .1 or more elsewhere.
    """
    B = len(x_t)
    levels = level_t.double().expand(B), level_s.double().expand(B)
    if (lines := law.lines) is None:
        at_t, at_s = (like(alpha_sigma(level)[0], x_t) * law.mean() for level in levels)
        return (at_s + _integrated(law.centred, x_t - at_t, *levels, steps)).to(x_t)
    columns = zip(lines, x_t.double().flatten(1).T, strict=True)
    return torch.stack([_quantile(line, x, *levels) for line, x in columns], 1).reshape(x_t.shape).to(x_t)


def _quantile(line: Law, x_t: Tensor, level_t: Tensor, level_s: Tensor) -> Tensor:
    """F_s^-1(F_t(x_t)) of a law on a line, x_t (B,)."""
    found = torch.empty_like(x_t)
    for pair in torch.stack([level_t, level_s]).unique(dim=1).T:
        here = (level_t == pair[0]) & (level_s == pair[1])
        found[here] = _of_quantile(line.marginal(pair[1:]), *_cdf(line.marginal(pair[:1]), x_t[here]))
    return found


def _cdf(line: Law, x: Tensor) -> tuple[Tensor, Tensor]:
    """(F(x), 1 - F(x)), (B,) each: both, since one of them is too near 1 to be told from it."""
    w, std, found = line.log_w.exp(), line.var.sqrt().clamp(min=1e-12), []
    for part in x.split(line.at_once):
        z = (part[:, None] - line.mu[:, 0]) / std
        found.append(torch.stack([torch.special.ndtr(z) @ w, torch.special.ndtr(-z) @ w]))
    below, above = torch.cat(found, 1)
    return below, above


def _of_quantile(line: Law, below: Tensor, above: Tensor) -> Tensor:
    """The x (B,) of a law on a line with F(x) = below, 1 - F(x) = above: Newton's steps inside a cell of a table."""
    reach = 10 * line.var.max().sqrt() + 1e-9
    table = torch.linspace(float(line.mu.min() - reach), float(line.mu.max() + reach), CELLS, dtype=below.dtype)
    under, over = _cdf(line, table)
    low_half = below < above
    i = torch.where(low_half, torch.searchsorted(under, below), CELLS - torch.searchsorted(over.flip(0), above))
    i = i.clamp(1, CELLS - 1)
    low, high = table[i - 1], table[i]
    found, left = (low + high) / 2, torch.arange(len(below))
    for _ in range(ROUNDS):  # with those that are not found yet
        x = found[left]
        at_x, rest = _cdf(line, x)
        off = torch.where(low_half[left], at_x - below[left], above[left] - rest)
        low[left], high[left] = torch.where(off < 0, x, low[left]), torch.where(off < 0, high[left], x)
        newton = x - off / line.log_prob(x[:, None]).exp()
        inside = (newton > low[left]) & (newton < high[left])
        found[left] = torch.where(inside, newton, (low[left] + high[left]) / 2)
        left = left[(found[left] - x).abs() > 1e-12]
        if not len(left):
            break
    return found


def _integrated(law: Law, x_t: Tensor, level_t: Tensor, level_s: Tensor, steps: int | None = None) -> Tensor:
    """The flow by Runge and Kutta's four evaluations a step, (B, *D) in float64, and straight on where it ends.

    x is integrated over u = log q, and u = CENTRE + SPREAD tan(theta) with theta in equal steps.
    """
    denoiser, narrow = MeanDenoiser(law), max(float(law.var.min().sqrt()), 1e-3) if law.var.min() else POINT
    u = -level_t / 2
    u_s = (-level_s / 2).clamp(min=math.log(narrow / NEAR)).minimum(u)
    begin, end = (((v - CENTRE) / SPREAD).atan() for v in (u, u_s))
    steps = steps or math.ceil(STEPS * min(1.0, float((begin - end).max()) / WAY) + 1e-6)

    def mean(x: Tensor, u: Tensor) -> Tensor:
        return denoiser(x, -2 * u, x)

    def slope(x: Tensor, u: Tensor) -> Tensor:
        a = like(alpha_sigma(-2 * u)[0], x)
        return a * (a * x - mean(x, u))

    x = x_t
    for i in range(1, steps + 1):
        next_u = CENTRE + SPREAD * torch.lerp(begin, end, i / steps).tan()
        middle, h = (u + next_u) / 2, like(next_u - u, x)
        k_1 = slope(x, u)
        k_2 = slope(x + h / 2 * k_1, middle)
        k_3 = slope(x + h / 2 * k_2, middle)
        k_4 = slope(x + h * k_3, next_u)
        x, u = x + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4), next_u
    x_0, (a, sigma), (a_s, sigma_s) = mean(x, u), alpha_sigma(-2 * u), alpha_sigma(level_s)
    return like(a_s, x) * x_0 + like(sigma_s / sigma, x) * (x - like(a, x) * x_0)
