"""The exact law of every step, for data that is a Gaussian mixture.

Let x_0 ~ sum_k pi_k N(mu_k, S_k I). At a level with signal a and noise sigma the data law becomes another mixture,

    q(x_t) = sum_k pi_k N(a_t mu_k, C_k(t) I),    C_k(t) = a_t^2 S_k + sigma_t^2

and both conditionals that a denoiser has to learn are mixtures with the *same* weights w_k,

    w_k(x_t) ∝ pi_k N(x_t; a_t mu_k, C_k(t) I)
    q(x_0 | x_t) = sum_k w_k N(mu_k + a_t S_k / C_k(t) (x_t - a_t mu_k),  S_k sigma_t^2 / C_k(t) I)
    q(x_s | x_t) = sum_k w_k N(a_s mu_k + r C_k(s) / C_k(t) (x_t - a_t mu_k),  v C_k(s) / C_k(t) I)

with r = a_t / a_s and v = sigma_t^2 - r^2 sigma_s^2. Several modes need several w_k that count, and component means
further apart than their widths: so it is in q(x_0 | x_t), and in q(x_s | x_t) of a long step to little noise. There a
Gaussian denoiser fails. With S_k = 0 the same class is a finite data set: w_k is then the probability that x_t is the
k-th training image with noise on it.

Levels are log-SNRs, (B,) or one number: a^2 = sigmoid(level), and +inf is clean data. Arithmetic is in float64, because
at low noise the exponents |x_t - a_t mu_k|^2 / 2 C_k reach thousands; results come back in the dtype of x_t.
Source: the Gaussian conditioning formulas, e.g. Bishop, "Pattern Recognition and Machine Learning", 2.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, reduce

import numpy as np
import torch
from torch import Tensor

from ..errors import Refused
from .gaussian import floats, like
from .schedule import alpha_sigma

__all__ = ["NODES", "Law", "Mixture", "hermite", "lattice", "quasi_random"]

NODES = 10  # of a Gauss-Hermite sum on a line: with 40 of them the mean gaps of the page differ by less than .005 nats
TABLE = 2**21  # samples x components in one table, at most, where there may be many of both
CACHED = 2**17  # numbers of a table that is worked on at a time
ROWS = 64  # of it at least, while it is no larger than TABLE
FEW = 4  # columns: a product with so few of them is three times as fast where each lies in one piece
LEAST = -700.0  # nats below the most probable component: near the end of float64, past which exp is 40 times slower


@dataclass(frozen=True, eq=False)
class Mixture:
    """One Gaussian mixture per item: sum_k w[b, k] N(scale[b, k] mu[k] + shift[b, k] x[b], var[b, k] I).

    `logits` (B, K) are log w up to a number per item. scale, shift, var: (B, K); mu (K, *D), or (B, K, *D) where each
    item has its own; x (B, *D). The component means are kept as that combination, since (B, K, *D) would not fit in
    memory for a set of images. Results are in the dtype of x.
    """

    logits: Tensor
    mu: Tensor
    scale: Tensor
    shift: Tensor
    x: Tensor
    var: Tensor

    @cached_property
    def w(self) -> Tensor:
        """The weights, (B, K)."""
        return self.logits.softmax(1)

    @property
    def log_w(self) -> Tensor:
        """Their logarithms in nats, (B, K)."""
        return self.logits.log_softmax(1).to(self.x)

    def component_means(self) -> Tensor:
        """The means of all components, (B, K, *D)."""
        ones = [1] * (self.x.ndim - 1)
        scale, shift = (v.reshape(*v.shape, *ones) for v in (self.scale, self.shift))
        return (scale * self.mu + shift * self.x[:, None]).to(self.x)

    def mean(self) -> Tensor:
        """E[x], (B, *D)."""
        x = self.x.flatten(1)
        return (self._sum(self.scale, of=self._atoms) + self._sum(self.shift) * x).to(x).reshape(self.x.shape)

    def cov(self) -> Tensor:
        """Cov[x] between the n = prod(D) flattened coordinates, (B, n, n): E[x x^T] - E[x] E[x]^T in float64."""
        x, mu = self.x.flatten(1).double(), self._atoms.double()
        n = x.shape[1]
        mean = self._sum(self.scale, of=mu) + self._sum(self.shift) * x
        squares = self._sum(self.scale, self.scale, of=_outer(mu, mu).flatten(-2)).reshape(-1, n, n)
        crossed = _outer(self._sum(self.scale, self.shift, of=mu), x)
        known = self._sum(self.shift, self.shift)[..., None] * _outer(x, x)
        within = self._sum(self.var)[..., None] * torch.eye(n).to(x)
        return (squares + crossed + crossed.mT + known + within - _outer(mean, mean)).to(self.x)

    def log_prob(self, x: Tensor | np.ndarray) -> Tensor:
        """log density at x (B, *D) in nats, (B,). Refused where a component has none: var = 0."""
        _refuse_points(self.var)
        x = floats(x)
        squared = (x[:, None] - self.component_means()).flatten(2).square().sum(2)
        return _log_sum_exp(_log_normal(squared, self.var, x[0].numel()).add(self.log_w))

    def gap(self, draws: int = 64) -> Tensor:
        """KL(self || the Gaussian of the same mean and covariance) in nats, (B,): what no Gaussian denoiser can learn.

        No Gaussian comes closer. See `_gap` for the sum behind it. Refused where a component has no density: var = 0.
        """
        return _gap(self.log_w, self.component_means().flatten(2), self.var, draws).to(self.x)

    def at(self, u: Tensor, eps: Tensor) -> Tensor:
        """The draw that u (B,) in [0, 1) and standard normal eps (B, *D) stand for: u picks k, eps the point."""
        cdf = self.w.cumsum(1)
        total = cdf[:, -1:].contiguous()
        k = torch.searchsorted(cdf, u.to(cdf)[:, None] * total, right=True)
        k = torch.minimum(k, torch.searchsorted(cdf, total))  # u = 1 in float32 is the last component of any weight
        scale, shift, var = (like(v.gather(1, k)[:, 0], self.x) for v in (self.scale, self.shift, self.var))
        k = k[:, 0]
        mu = self.mu[k] if self.mu.ndim == self.x.ndim else self.mu[torch.arange(len(k), device=k.device), k]
        return (scale * mu + shift * self.x + var.sqrt() * eps).to(self.x)

    @property
    def _atoms(self) -> Tensor:
        """mu with flattened coordinates, (K, n) or (B, K, n)."""
        return self.mu.flatten(1 if self.mu.ndim == self.x.ndim else 2)

    def _sum(self, *factors: Tensor, of: Tensor | None = None) -> Tensor:
        """sum_k w_k v_k of_k, (B, m), for v the product of factors (B, K) and of (K, m) or (B, K, m); (B, 1) without.

        Where all components share one v, as those of one variance do, it is taken out of the sum.
        """
        shared = all(v.stride(1) == 0 for v in factors)
        if shared:
            v = reduce(torch.mul, (f[:, :1].to(self.w) for f in factors))
        share = self.w if shared else reduce(torch.mul, factors, self.w)  # in its precision: sums of `cov` cancel
        if of is None:
            return v if shared else share.sum(1, keepdim=True)
        if of.shape[-1] <= FEW:
            of = of.mT.contiguous().mT
        share = share.to(of)
        found = share @ of if of.ndim == 2 else (share[:, None] @ of)[:, 0]
        return found * v if shared else found


@dataclass(frozen=True, eq=False)
class Law:
    """A data law sum_k exp(log_w[k]) N(mu[k], var[k] I): log_w (K,), mu (K, *D), var (K,) >= 0, in float64.

    `mode` (K,) says which visible mode of the data each component belongs to, 0, 1, ...: a component of its own unless
    given. Refused where the shapes disagree, a number is not finite or a mode has no component.

    Its methods take points (B, *D), also NumPy's, and answer in their dtype, whole numbers in float64; Refused for
    another shape.
    """

    log_w: Tensor
    mu: Tensor
    var: Tensor
    mode: Tensor | None = None

    def __post_init__(self) -> None:
        log_w, mu, var = (floats(v).double() for v in (self.log_w, self.mu, self.var))
        mode = torch.arange(len(log_w)) if self.mode is None else torch.as_tensor(self.mode)
        if not (log_w.shape == var.shape == mode.shape == mu.shape[:1]) or mu.ndim < 2 or not len(mu):
            raise Refused(
                f"a law needs log_w (K,), mu (K, *D), var (K,) and mode (K,), got shapes "
                f"{tuple(log_w.shape)}, {tuple(mu.shape)}, {tuple(var.shape)}, {tuple(mode.shape)}"
            )
        if not all(v.isfinite().all() for v in (log_w, mu, var)) or (var < 0).any():
            raise Refused("a law needs finite log_w and mu and a finite var >= 0")
        if mode.is_cpu and (mode.is_floating_point() or mode.min() < 0 or not mode.long().bincount().all()):
            raise Refused(
                f"a law's modes must be whole numbers 0, 1, ... without a gap, got {mode.unique().tolist()[:8]}"
            )
        for name, value in zip(("log_w", "mu", "var", "mode"), (log_w.log_softmax(0), mu, var, mode), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def uniform(cls, mu: Tensor, std: float, mode: Tensor | None = None) -> Law:
        """Equal weights on N(mu_k, std^2 I), mu (K, *D); std = 0 is a finite data set."""
        return cls(torch.zeros(len(mu)), mu, torch.full((len(mu),), std**2), mode)

    @property
    def shape(self) -> torch.Size:
        """The data shape *D."""
        return self.mu.shape[1:]

    @property
    def at_once(self) -> int:
        """How many samples are worked on together: their table with all K components fits a cache, or TABLE."""
        K = len(self.mu)
        return max(1, min(TABLE // K, max(ROWS, CACHED // K)))

    @property
    def modes(self) -> int:
        """The number of visible modes."""
        return int(self._mode.max()) + 1

    @property
    def _mode(self) -> Tensor:
        assert self.mode is not None  # __post_init__ numbers the components
        return self.mode

    def mode_of(self, component: Tensor) -> Tensor:
        """The visible mode that each of these components belongs to."""
        return self._mode.long()[component]

    def mode_weights(self) -> Tensor:
        """The probability of every visible mode, (modes,)."""
        return self._by_mode(self.log_w.exp())

    def _by_mode(self, w: Tensor) -> Tensor:
        return torch.zeros(self.modes).to(w).index_add_(0, self._mode.long(), w)

    @cached_property
    def lines(self) -> list[Law] | None:
        """The law of each flattened coordinate, (1,), where they are independent; None where they are not.

        They are where the components are a lattice of one variance whose weights are products. On a line there is one.
        """
        mu, w = self.mu.flatten(1), self.log_w.exp()
        n = mu.shape[1]
        if n == 1:
            return [replace(self, mu=mu)]
        axes = [torch.unique(column, return_inverse=True) for column in mu.T]
        if math.prod(len(values) for values, _ in axes) != len(w) or len(self._variances) > 1:
            return None
        parts = [torch.zeros(len(values)).to(w).index_add_(0, of, w) for values, of in axes]
        product = torch.stack([part[of] for part, (_, of) in zip(parts, axes, strict=True)]).prod(0)
        if not torch.allclose(product, w) or len(mu.unique(dim=0)) < len(mu):  # where one counts twice, one is missing
            return None
        var = [self.var[:1].expand(len(values)) for values, _ in axes]
        return [Law(p.log(), v[:, None], s) for p, (v, _), s in zip(parts, axes, var, strict=True)]

    def mean(self) -> Tensor:
        """E[x], (*D)."""
        return (self.log_w.exp() @ self.mu.flatten(1)).reshape(self.shape)

    @cached_property
    def centred(self) -> Law:
        """The law of x - E[x]."""
        return replace(self, mu=self.mu - self.mean())

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (*D) and covariance (n, n) of the flattened coordinates."""
        w, mu = self.log_w.exp(), (self.mu - self.mean()).flatten(1)
        return self.mean(), (mu * w[:, None]).T @ mu + (w @ self.var) * torch.eye(mu.shape[1]).to(w)

    def gap(self, draws: int = 1024) -> float:
        """KL(self || the Gaussian of the same mean and covariance) in nats, as `Mixture.gap`."""
        return float(_gap(self.log_w[None], self.mu.flatten(1)[None], self.var[None], draws))

    def on_grid(self, axis: Tensor | np.ndarray) -> Tensor:
        """The density at every point of the lattice axis^n, axis (G,) and n = 1 or 2: (G,) or (G, G), first axis first.

        Isotropic components are products over the axes, so the lattice is a product of matrices. Refused for other n.
        """
        if self.mu.ndim != 2 or self.mu.shape[1] > 2:
            raise Refused(f"a grid is for a law on a line or a plane, this one is of shape {tuple(self.shape)}")
        axis, var = floats(axis), self.var[:, None]
        scale = self.log_w.exp()[:, None] / (2 * math.pi * var) ** (self.mu.shape[1] / 2)
        exponents = (-0.5 * (axis - mu[:, None]) ** 2 / var for mu in self.mu.T)
        x, *y = (exponent.clamp_(min=LEAST / 2).exp_() for exponent in exponents)  # (K, G) each
        return (scale * x).T @ y[0] if y else (scale * x).sum(0)

    def widened(self, std: float) -> Law:
        """The law of x + std eps."""
        return replace(self, var=self.var + std**2)

    def shares(self, x: Tensor | np.ndarray) -> Tensor:
        """The probability of every visible mode given a sample, the mean over samples x (N, *D): (modes,)."""
        logits = self._logits(self.points(x).double().flatten(1), self.var.new_ones(1, 1), self._variances[None])
        return self._by_mode(logits.softmax(1).mean(0))

    def standardised(self) -> Law:
        """The same law moved and scaled (one factor for all axes) to zero mean and unit variance on average."""
        w, mu = self.log_w.exp(), self.mu - self.mean()
        scale = (w @ (mu.flatten(1).square().mean(1) + self.var)).rsqrt()
        return replace(self, mu=mu * scale, var=self.var * scale**2)

    def log_prob(self, x: Tensor | np.ndarray) -> Tensor:
        """log density at x (B, *D) in nats, (B,). Refused where a component has none: var = 0."""
        _refuse_points(self.var)
        x = self.points(x)
        log = _log_normal(_squared(x.double(), self.mu), self.var, self.mu[0].numel())
        return _log_sum_exp(log.add(self.log_w)).to(x.dtype)

    def to(self, device: torch.device | str) -> Law:
        """The same law there."""
        if self.mu.device == torch.device(device):
            return self
        return Law(*(v.to(device) for v in (self.log_w, self.mu, self.var, self._mode)))

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """n independent draws, (n, *D) in float32, by a generator of the law's device."""
        k = torch.multinomial(self.log_w.exp(), n, replacement=True, generator=generator)
        eps = torch.randn(n, *self.shape, generator=generator, dtype=torch.float64, device=generator.device)
        return (self.mu[k] + like(self.var[k].sqrt(), eps) * eps).float()

    def marginal(self, level: Tensor | float) -> Law:
        """q(x_t), the law of noisy data at one level: itself a Law with the same components."""
        a, sigma = alpha_sigma(_levels(level))
        return replace(self, mu=a * self.mu, var=a**2 * self.var + sigma**2)

    def denoised(self, x_t: Tensor | np.ndarray, level: Tensor | float) -> Mixture:
        """q(x_0 | x_t) for x_t (B, *D) at levels (B,), (1,) or a number."""
        return self.reverse(x_t, torch.full_like(_levels(level), torch.inf), level)

    def given(self, x_t: Tensor, level_s: Tensor | float, level_t: Tensor | float) -> Law:
        """q(x_s | x_t) of one x_t (*D), at one level each, as a law: the same components and modes, other weights."""
        q = self.reverse(x_t[None].double(), level_s, level_t)
        return replace(self, log_w=q.log_w[0], mu=q.component_means()[0], var=q.var[0])

    def reverse(self, x_t: Tensor | np.ndarray, level_s: Tensor | float, level_t: Tensor | float) -> Mixture:
        """q(x_s | x_t) for x_t (B, *D), levels (B,), (1,) or a number each; Refused where level_s < level_t."""
        x_t, level_s, level_t = self.points(x_t), _levels(level_s), _levels(level_t)
        if level_s.is_cpu and (level_s < level_t).any():
            raise Refused("a step goes to a level with less noise: level_s must not be below level_t")
        (a_s, sigma_s), (a_t, sigma_t) = (
            [v[:, None] for v in alpha_sigma(_shared(level))] for level in (level_s, level_t)
        )  # (B, 1) or (1, 1)
        r = a_t / a_s
        v = sigma_t**2 - r**2 * sigma_s**2
        c_s, c_t = (a**2 * self._variances + sigma**2 for a, sigma in ((a_s, sigma_s), (a_t, sigma_t)))
        gain = r * c_s / c_t
        B = len(x_t)
        logits = self._logits(_shared(x_t.double()).flatten(1), a_t, c_t).expand(B, -1)
        scale, shift, var = (v.to(x_t.dtype).expand(logits.shape) for v in (a_s - gain * a_t, gain, v * c_s / c_t))
        return Mixture(logits, self.mu, scale, shift, x_t, var)

    def points(self, x: Tensor | np.ndarray) -> Tensor:
        """x (B, *D), as `floats`; Refused for another shape."""
        x = floats(x)
        if x.shape[1:] != self.shape:
            raise Refused(f"points of this law have shape (B, {', '.join(map(str, self.shape))}), got {tuple(x.shape)}")
        return x

    def _logits(self, x_t: Tensor, a: Tensor, c: Tensor) -> Tensor:
        """log(pi_k N(x_t; a mu_k, c_k I)) up to a number per item, (B, K): x_t (B, n), a (B, 1), c (B, K) or (B, 1).

        -|x_t - a mu_k|^2 / 2 is multiplied out: a product of matrices.
        """
        mu, known = self.mu.flatten(1), self.log_w - a**2 / (2 * c) * self._squares
        if c.shape[1] == 1:  # what all components share is left out
            return torch.addmm(known, a / c * x_t, mu.T)
        table = (a * x_t) @ mu.T - x_t.square().sum(1, keepdim=True) / 2
        return table.div_(c).add_(known - mu.shape[1] / 2 * c.log())

    @cached_property
    def _squares(self) -> Tensor:
        """|mu_k|^2, (K,)."""
        return self.mu.flatten(1).square().sum(1)

    @cached_property
    def _variances(self) -> Tensor:
        """var, (K,), or (1,) where all components have one: what depends on it then has one column."""
        return self.var[:1] if (self.var == self.var[0]).all() else self.var


def _refuse_points(var: Tensor) -> None:
    """Refused where a component has no width. On a device nobody looks: that would wait for it."""
    if var.is_cpu and not var.all():
        raise Refused("a density needs components with width: some of these are points, var = 0")


def _gap(log_w: Tensor, means: Tensor, var: Tensor, draws: int) -> Tensor:
    """E_q[log q - log N(mean, cov)] of mixtures q: log_w (B, K), means (B, K, n), var (B, K) -> (B,), in float64.

    Where components and axes are few the sum is over the Gauss-Hermite nodes of every component, to a hundredth of a
    nat, else over quasi-random points, the same for every item: fewer, and with 64 of them a tenth of a nat off.
    """
    _refuse_points(var)
    w, means, var = log_w.double().exp(), means.double(), var.double()  # (B, K), (B, K, n), (B, K)
    B, K, n = means.shape
    means = means - w[:, None] @ means
    if K * (NODES if n == 1 else 5**n) <= 10 * draws:
        eps, share = _nodes(n)
        x = (means[:, :, None] + var.sqrt()[..., None, None] * eps).flatten(1, 2)  # (B, K N, n)
        share = (w[..., None] * share).flatten(1)
    else:
        u, eps = quasi_random(draws, n)
        k = torch.searchsorted(w.cumsum(1), u.expand(B, -1).contiguous()).clamp(max=K - 1)
        x = means.take_along_dim(k[..., None], 1) + var.gather(1, k).sqrt()[..., None] * eps  # (B, draws, n)
        share = torch.full((1, draws), 1 / draws, dtype=torch.float64)
    cov = (w * var).sum(1)[:, None, None] * torch.eye(n, dtype=torch.float64) + (w[..., None] * means).mT @ means
    factor = torch.linalg.cholesky(cov)
    white = torch.linalg.solve_triangular(factor, x.mT, upper=False).square().sum(1)
    log_best = factor.diagonal(dim1=1, dim2=2).log().sum(1)[:, None] + white / 2  # and n log(2 pi) / 2, as in log q
    # log w_k N(x; mu_k, v_k) is linear in x and |x|^2: one product of matrices for all x and k, in parts for a cache
    constant = log_w.double() - (means.square().sum(2) / var + n * var.log()) / 2
    slope = torch.cat([means, -0.5 * torch.ones(B, K, 1, dtype=torch.float64)], 2) / var[..., None]
    x = torch.cat([x, x.square().sum(2, keepdim=True)], 2)
    size = max(1, CACHED // (K * x.shape[1]))
    parts = zip(constant[:, None].split(size), x.split(size), slope.mT.split(size), strict=True)
    log_q = torch.cat([_log_sum_exp(torch.baddbmm(*part)) for part in parts])
    return ((log_q + log_best) * share).sum(1)


@lru_cache(maxsize=4)
def hermite(m: int) -> tuple[Tensor, Tensor]:
    """(z, weight), (m,) each: sum_j weight_j f(z_j) = E f(z), z ~ N(0, 1), exact for polynomials to degree 2 m - 1."""
    z, weight = np.polynomial.hermite_e.hermegauss(m)
    return torch.from_numpy(z), torch.from_numpy(weight / weight.sum())


def lattice(axis: Tensor, n: int) -> Tensor:
    """All points whose n coordinates are of the axis (G,), the last fastest: (G^n, n)."""
    return torch.cartesian_prod(*[axis] * n).reshape(-1, n)


def _nodes(n: int) -> tuple[Tensor, Tensor]:
    """Gauss-Hermite nodes (N, n) of a standard normal and their weights (N,): many on a line, else 5^n."""
    nodes, weights = (lattice(v, n) for v in hermite(NODES if n == 1 else 5))
    return nodes, weights.prod(1)


def quasi_random(points: int, n: int) -> tuple[Tensor, Tensor]:
    """u (points,) uniform and eps (points, n) standard normal, from Sobol's sequence."""
    found = torch.quasirandom.SobolEngine(1 + n).draw(points + 1, dtype=torch.float64)[1:]
    return found[:, 0], torch.special.ndtri(found[:, 1:])


def _outer(x: Tensor, y: Tensor) -> Tensor:
    """x y^T, (B, n, n), for x and y (B, n)."""
    return x[..., None] * y[..., None, :]


def _levels(level: Tensor | float) -> Tensor:
    """Log-SNRs as (B,) or (1,)."""
    return floats(level).reshape(-1)


def _shared(v: Tensor) -> Tensor:
    """The one item of v (B, ...), as (1, ...), if all are the same: what depends on it is then computed once."""
    return v[:1] if (v == v[:1]).all() else v


def _squared(x: Tensor, mu: Tensor) -> Tensor:
    """|x_b - mu_k|^2 for x (B, *D) and mu (K, *D), (B, K)."""
    return torch.cdist(x.flatten(1), mu.flatten(1), compute_mode="donot_use_mm_for_euclid_dist").square()


def _log_normal(squared: Tensor, var: Tensor, n: int) -> Tensor:
    """log N(x; mu, var I) from |x - mu|^2, the whole n-dimensional log density, in nats."""
    return (squared / var + n * torch.log(2 * math.pi * var)).mul_(-0.5)


def _log_sum_exp(log: Tensor) -> Tensor:
    """log sum exp over the last axis, but for what is below LEAST."""
    peak = log.amax(-1, keepdim=True)
    return (log - peak).clamp_(min=LEAST).exp_().sum(-1).log() + peak[..., 0]
