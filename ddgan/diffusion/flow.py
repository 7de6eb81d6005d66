"""The probability flow: a deterministic map from x_t to x_s under which q(x_t) becomes q(x_s).

With y = x / a and the noise-to-signal ratio q = sigma / a, every trajectory follows

    dy / dlog q = y - E[x_0 | x_t]

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

from .denoiser import LawDenoiser
from .gaussian import like
from .mixture import Law
from .schedule import alpha_sigma

__all__ = ["FlowDenoiser", "carried"]

STEPS = 16  # of an integration, four evaluations each: of 25 Gaussians' samples one in 500 ends on another mode
RHO = 7.0  # how the steps are spread: q^(1/rho) evenly, as Karras et al. do
CELLS = 4096  # of the table that a quantile is looked up in
WAY = 150 ** (1 / RHO) - 0.001 ** (1 / RHO)  # the whole way, in q^(1/rho)
ROUNDS = 50  # of Newton's steps, or of halving where they leave the cell, until the quantile is found
NEAR = 20.0  # an integration ends where the noise is so many times smaller than the narrowest component


class FlowDenoiser(LawDenoiser):
    """x_0 = Phi_{t -> 0}(x_t), the exact flow of a law. The last maps are kept: an integration takes a while."""

    KEPT = 8

    def __init__(self, law: Law) -> None:
        super().__init__(law)
        self._known: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def carried(self, x_t: Tensor, level_t: Tensor, level_s: Tensor) -> Tensor:
        """Phi_{t -> s}(x_t) for x_t (B, *D), levels (B,) or (1,)."""
        asked = (x_t, level_t, level_s)
        for *before, found in self._known:
            if all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(asked, before, strict=True)):
                return found
        found = carried(self.law, x_t, level_t, level_s)
        self._known = [*self._known[1 - self.KEPT :], (*asked, found)]
        return found

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.carried(x_t, level, torch.full_like(level, torch.inf))


def carried(law: Law, x_t: Tensor, level_t: Tensor, level_s: Tensor, steps: int | None = None) -> Tensor:
    """Phi_{t -> s}(x_t) of a law for x_t (B, *D), level_s >= level_t, levels (B,) or (1,); level_s may be +inf.

    `steps` are those of an integration, where there is one: unless given, STEPS for the whole way and fewer for a part.
    """
    B = len(x_t)
    levels = level_t.double().expand(B), level_s.double().expand(B)
    if (lines := law.lines()) is None:
        return _integrated(law, x_t.double(), *levels, steps).to(x_t)
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
    table = torch.linspace(float(line.mu.min() - reach), float(line.mu.max() + reach), CELLS, dtype=torch.float64)
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
    """The flow by Runge and Kutta's four evaluations a step, (B, *D) in float64; E[x_0 | x] is x_0 in the end."""
    q_t, q_s = ((-level / 2).exp() for level in (level_t, level_s))
    end = q_s.clamp(min=float(law.var.min().sqrt().clamp(min=1e-3)) / NEAR).minimum(q_t)
    y = (x_t / like(alpha_sigma(level_t)[0], x_t)).flatten(1)
    steps = steps or math.ceil(STEPS * min(1.0, float((q_t ** (1 / RHO) - end ** (1 / RHO)).max()) / WAY) + 1e-6)

    def slope(y: Tensor, u: Tensor) -> Tensor:
        return y - _mean(law, y, u.exp())

    u = q_t.log()
    for i in range(1, steps + 1):
        next_u = RHO * torch.lerp(q_t ** (1 / RHO), end ** (1 / RHO), i / steps).log()
        middle, h = (u + next_u) / 2, (next_u - u)[:, None]
        k_1 = slope(y, u)
        k_2 = slope(y + h / 2 * k_1, middle)
        k_3 = slope(y + h / 2 * k_2, middle)
        k_4 = slope(y + h * k_3, next_u)
        y, u = y + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4), next_u
    x_s = alpha_sigma(-2 * u)[0][:, None] * y
    return torch.where(level_s.isinf()[:, None], _mean(law, y, end), x_s).reshape(x_t.shape)


def _mean(law: Law, y: Tensor, q: Tensor) -> Tensor:
    """E[x_0 | x_t] at y = x_t / a (B, n) and q = sigma / a (B,), in float32: sum_k w_k (mu_k + g_k (y - mu_k)).

    w_k ~ pi_k N(y; mu_k, S_k + q^2) and g_k = S_k / (S_k + q^2). Faster than Law.denoised, which has variances too.
    """
    log_w, mu, var = (v.float() for v in (law.log_w, law.mu.flatten(1), law.var))
    one = bool((var == var[0]).all())  # variance for all
    var, found = var[:1] if one else var, []
    for part, noise in zip(y.float().split(law.at_once), q.float().split(law.at_once), strict=True):
        spread = var + noise[:, None] ** 2  # (B, 1) or (B, K)
        log = torch.cdist(part, mu, compute_mode="donot_use_mm_for_euclid_dist").square_().div_(-2 * spread)
        w = log.add_(log_w if one else log_w - mu.shape[1] / 2 * spread.log()).softmax(1)
        gain = var / spread
        if one:
            found.append(torch.lerp(w @ mu, part, gain))
        else:
            found.append((w * (1 - gain)) @ mu + (w * gain).sum(1, keepdim=True) * part)
    return torch.cat(found).to(y)
