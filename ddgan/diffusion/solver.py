"""Solvers: how x_s follows x_t, where a denoiser has said what x_0 is.

A denoiser says how x_0 is drawn, a solver what is made of it. With x = denoiser(x_t), e = (x_t - a_t x) / sigma_t the
noise that this means, and lambda = log(a / sigma):

    solver       x_s                                                                  evaluations of T steps
    Ancestral    ~ q(x_s | x_t, x)                                                                T
    DDIM(eta)    a_s x + sqrt(sigma_s^2 - k^2) e + k eps,  k = eta times Ancestral's deviation    T
    DPM          (sigma_s / sigma_t) x_t - a_s (exp(-h) - 1) D,  h = lambda_s - lambda_t          T
    Heun         the mean slope of both ends of the step, of the flow's equation                  2 T - 1
    Flow         Phi_{t -> s}(x_t), of a denoiser that knows the flow                             T
    Renoise      a_s x + sigma_s eps: what a consistency model does with its x_0                  T

DDIM(1) is Ancestral. D = (1 + 1/2r) x - x_before / 2r, r = (lambda_t - lambda_before) / h, is the line through the last
two x at the middle of the step; at the first and at the last step it is x. DDIM, DPM and Heun are made for a denoiser
of means, though they take any. Each step is a draw from a Gaussian, of variance zero where nothing is drawn.

Sources: Song, Meng, Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, eq. 12 and 16; Lu et al.,
"DPM-Solver++", 2022, algorithm 2; Karras et al., NeurIPS 2022, algorithm 1; Song et al., "Consistency Models", ICML
2023, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import Refused
from .denoiser import Denoiser
from .flow import FlowDenoiser
from .gaussian import Gaussian, like
from .schedule import Schedule

__all__ = [
    "ANCESTRAL", "DDIM", "DPM", "Ancestral", "Asked", "Evaluation", "Flow", "Heun", "Renoise", "Solver", "Step",
    "reverse_step",
]  # fmt: skip


class Evaluation(NamedTuple):
    """The denoiser's x_0 at x, a state of level t."""

    t: int | Tensor
    x: Tensor
    x_0: Tensor


class Step(NamedTuple):
    """Everything that made one reverse step from t to s: x_s = posterior.at(eps).

    `posterior` is the law that x_s was drawn from, q(x_s | x_t, x_0) where the solver is Ancestral. `midway` are the
    evaluations of the denoiser after that at x_t, which gave x_0.
    """

    s: int | Tensor
    t: int | Tensor
    x_t: Tensor
    z: Tensor
    x_0: Tensor
    posterior: Gaussian
    eps: Tensor
    x_s: Tensor
    midway: tuple[Evaluation, ...] = ()

    @property
    def nfe(self) -> int:
        """How often the denoiser was evaluated."""
        return 1 + len(self.midway)

    def map(self, of: Callable[[Any], Any]) -> Step:
        """The same record with `of` each tensor."""
        s, t = (v if isinstance(v, int) else of(v) for v in (self.s, self.t))
        posterior = Gaussian(of(self.posterior.mean), of(self.posterior.var))
        midway = tuple(Evaluation(e.t if isinstance(e.t, int) else of(e.t), of(e.x), of(e.x_0)) for e in self.midway)
        return Step(s, t, of(self.x_t), of(self.z), of(self.x_0), posterior, of(self.eps), of(self.x_s), midway)


@dataclass(frozen=True)
class Solver:
    """A rule for x_s. `step` takes x_t (B, *D), s < t, z (B, L), eps (B, *D) and the step before, None at the first.

    One of your own says the `law` of x_s, and `nfe` if it evaluates the denoiser more than once a step: it then returns
    a pair, the law and the further evaluations. This one keeps half of the noise that it sees, and is exact with an
    exact denoiser:

        class HalfNew(Solver):
            def law(self, asked, x_0):
                (a_t, sigma_t), (a_s, sigma_s) = asked.signal(asked.t), asked.signal(asked.s)
                seen = (asked.x_t - a_t * x_0) / sigma_t
                return Gaussian(a_s * x_0 + sigma_s * 0.5**0.5 * seen, 0.5 * sigma_s**2)
    """

    def step(
        self, schedule: Schedule, denoiser: Denoiser, x_t: Tensor, s: int | Tensor, t: int | Tensor, *,
        z: Tensor, eps: Tensor, before: Step | None = None,
    ) -> Step:  # fmt: skip
        """The record of one step; Refused where z is too short or the denoiser's x_0 is not of the shape of x_t."""
        if z.shape[1] < denoiser.latent_dim:
            raise Refused(f"this denoiser reads {denoiser.latent_dim} latent numbers, z has {z.shape[1]}")
        asked = Asked(schedule, denoiser, x_t, s, t, z[:, : denoiser.latent_dim], before)
        x_0 = self._x_0(asked)
        found = self.law(asked, x_0)
        posterior, midway = (found, ()) if isinstance(found, Gaussian) else found
        return Step(s, t, x_t, asked.z, x_0, posterior, eps, posterior.at(eps), midway)

    def nfe(self, T: int) -> int:
        """How often T steps evaluate the denoiser."""
        return T

    def _x_0(self, asked: Asked) -> Tensor:
        return asked.denoised(asked.x_t, asked.t)

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian | tuple[Gaussian, tuple[Evaluation, ...]]:
        """The law of x_s given x_t and the denoiser's x_0 there, and the further evaluations where it took any."""
        raise NotImplementedError


class Asked(NamedTuple):
    """What a step is made of, beside x_0."""

    schedule: Schedule
    denoiser: Denoiser
    x_t: Tensor
    s: int | Tensor
    t: int | Tensor
    z: Tensor
    before: Step | None

    @property
    def ends(self) -> bool:
        """Whether the step leads to x_0; Refused where it does for some items only."""
        last = torch.as_tensor(self.s) == 0
        if last.any() != last.all():
            raise Refused("this solver takes all items to x_0 in one step, or none of them")
        return bool(last.all())

    def denoised(self, x: Tensor, t: int | Tensor) -> Tensor:
        """The denoiser's x_0 at x, a state of level t."""
        x_0: Tensor = self.denoiser(x, self.schedule.level(t, x), self.z)
        if x_0.shape != x.shape:  # it would be broadcast
            raise Refused(f"a denoiser of x_t {tuple(x.shape)} returns an x_0 of this shape, got {tuple(x_0.shape)}")
        return x_0

    def signal(self, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """(a_t, sigma_t), as x_t is."""
        alpha_bar = self.schedule.at(t)
        return like(alpha_bar.sqrt(), self.x_t), like((1 - alpha_bar).sqrt(), self.x_t)

    def log_snr(self, t: int | Tensor) -> Tensor:
        """lambda_t = log(a_t / sigma_t), as x_t is."""
        return like(self.schedule.level(t) / 2, self.x_t)


@dataclass(frozen=True)
class Ancestral(Solver):
    """x_s ~ q(x_s | x_t, x_0): DDPM's sampler, and the DDGAN's."""

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian:
        return asked.schedule.posterior(x_0, asked.x_t, asked.s, asked.t)


@dataclass(frozen=True)
class DDIM(Solver):
    """x_s = a_s x_0 + sqrt(sigma_s^2 - k^2) e + k eps with e = (x_t - a_t x_0) / sigma_t.

    k is eta times Ancestral's deviation: with eta = 0 nothing is drawn, with eta = 1 it is Ancestral. Refused for an
    eta outside 0..1. Source: Song, Meng, Ermon 2021, eq. 12 and 16.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise Refused(f"eta must be in 0..1, got {self.eta:g}")

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian:
        (a_t, sigma_t), (a_s, sigma_s) = asked.signal(asked.t), asked.signal(asked.s)
        var = self.eta**2 * asked.schedule.posterior(x_0, asked.x_t, asked.s, asked.t).var
        noise = (asked.x_t - a_t * x_0) / sigma_t
        return Gaussian(a_s * x_0 + (sigma_s**2 - var).clamp(min=0).sqrt() * noise, var)


@dataclass(frozen=True)
class DPM(Solver):
    """DPM-Solver++ of the second order, multistep: x_s = (sigma_s / sigma_t) x_t - a_s (exp(-h) - 1) D.

    h = log(a_s / sigma_s) - log(a_t / sigma_t). D is the line through the last two x_0 at the middle of the step; at
    the first and at the last step it is x_0. Source: Lu et al. 2022, algorithm 2.
    """

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian:
        (_, sigma_t), (a_s, sigma_s) = asked.signal(asked.t), asked.signal(asked.s)
        h, D = asked.log_snr(asked.s) - asked.log_snr(asked.t), x_0
        if asked.before and not asked.ends:
            part = h / (2 * (asked.log_snr(asked.t) - asked.log_snr(asked.before.t)))  # 1/2r
            D = (1 + part) * x_0 - part * asked.before.x_0
        return _point(sigma_s / sigma_t * asked.x_t - a_s * torch.expm1(-h) * D)


@dataclass(frozen=True)
class Heun(Solver):
    """In y = x / a and q = sigma / a, whose slope is d = (y - x_0) / q: the mean slope of both ends of the step.

    The last step is Euler's; the others evaluate the denoiser twice. Source: Karras et al. 2022, algorithm 1.
    """

    def nfe(self, T: int) -> int:
        return 2 * T - 1

    def law(self, asked: Asked, x_0: Tensor) -> tuple[Gaussian, tuple[Evaluation, ...]]:
        if asked.ends:
            return _point(x_0), ()
        (a_t, sigma_t), (a_s, sigma_s) = asked.signal(asked.t), asked.signal(asked.s)
        y, q_t, q_s = asked.x_t / a_t, sigma_t / a_t, sigma_s / a_s
        d = (y - x_0) / q_t
        ahead = y + (q_s - q_t) * d
        x = a_s * ahead
        there = Evaluation(asked.s, x, asked.denoised(x, asked.s))
        slope = (d + (ahead - there.x_0) / q_s) / 2
        return _point(a_s * (y + (q_s - q_t) * slope)), (there,)


@dataclass(frozen=True)
class Flow(Solver):
    """x_s = Phi_{t -> s}(x_t), the exact flow of a law. All x_t of a walk have one x_0, that of the first.

    Refused for any other denoiser than a FlowDenoiser.
    """

    def _x_0(self, asked: Asked) -> Tensor:
        return asked.before.x_0 if asked.before else super()._x_0(asked)

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian:
        if not isinstance(asked.denoiser, FlowDenoiser):
            raise Refused("the exact flow is that of a law with a closed form: this denoiser is not of one")
        if asked.ends:
            return _point(x_0)
        level_t, level_s = (asked.schedule.level(t) for t in (asked.t, asked.s))
        return _point(asked.denoiser.carried(asked.x_t, level_t, level_s))


@dataclass(frozen=True)
class Renoise(Solver):
    """x_s ~ q(x_s | x_0), new noise and nothing of x_t: what a consistency model does with its x_0."""

    def law(self, asked: Asked, x_0: Tensor) -> Gaussian:
        return asked.schedule.marginal(x_0, asked.s)


ANCESTRAL = Ancestral()


def reverse_step(
    schedule: Schedule, denoiser: Denoiser, x_t: Tensor, s: int | Tensor, t: int | Tensor, *, z: Tensor, eps: Tensor
) -> Step:
    """x_0 from the denoiser, then x_s ~ q(x_s | x_t, x_0), s < t; ints or (B,). The trainer's fakes are made here too.

    The denoiser reads the first latent_dim coordinates of z, so that denoisers of any latent dimension share one z.
    """
    return ANCESTRAL.step(schedule, denoiser, x_t, s, t, z=z, eps=eps)


def _point(x: Tensor) -> Gaussian:
    """A point mass."""
    return Gaussian(x, x.new_zeros(len(x), *[1] * (x.ndim - 1)))
