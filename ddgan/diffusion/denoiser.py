"""One interface for the GAN, the Gaussian denoiser and the truth: how x_0 is drawn given x_t.

A denoiser maps (x_t, level, z) to x_0. The step to any x_s is then one draw from the same closed-form
q(x_s | x_t, x_0), so denoisers differ in the law of x_0 given x_t, and in nothing else:

    denoiser            z               p(x_s | x_t)
    MeanDenoiser        nothing         Gaussian with the DDPM variance
    GaussianDenoiser    n numbers       the best Gaussian: that of the same mean and covariance
    ExactDenoiser       1 + n numbers   the true q(x_s | x_t)
    a generator         latent_dim      implicit, as multimodal as it learns to be

n = prod(D) is the number of coordinates of x_0. z is standard normal. A network trained by regression is a
MeanDenoiser that was learned: a generator with latent_dim = 0.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Refused, wanted
from .gaussian import floats
from .levels import Levels
from .mixture import Law
from .schedule import Schedule

__all__ = ["Denoiser", "ExactDenoiser", "GaussianDenoiser", "LawDenoiser", "MeanDenoiser", "OfClass"]


class Denoiser(nn.Module):
    """(x_t (B, *D), level (B,), z (B, latent_dim)) -> x_0 (B, *D). `level` is the log-SNR of x_t.

    `shape` is D and `levels` are the levels it was made for, None where any will do; `card` says how it was trained,
    None where it was not. `classes` counts the classes that it can be told of, as a fourth argument label (B,): 0, ...,
    classes - 1, or `classes` for any of them, which no label means too. `given` fixes the label.
    """

    latent_dim: int = 0
    classes: int = 0
    shape: tuple[int, ...] | None = None
    levels: Levels | None = None
    card: dict[str, Any] | None = None

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        """The x_0 that x_t at this level and the latent z stand for; with classes a fourth argument is the label."""
        raise NotImplementedError

    def given(self, label: Tensor | int) -> Denoiser:
        """The same denoiser, told the class of each sample (B,), or one for all. Refused for an unknown class."""
        return OfClass(self, label)

    def output_scale(self, level: Tensor) -> Tensor:
        """How much x_0 changes per unit of the network's own output, at levels (B,): the unit of regression. Here 1."""
        return torch.ones_like(level)

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU where it has none."""
        return next(self.parameters(), torch.empty(0)).device

    def fit(self, x: Tensor) -> None:
        """Take from samples x (N, *D) what the network has to know before training. By default that is nothing."""

    def check(self, schedule: Schedule) -> None:
        """Refused, in one sentence, where the schedule has a level that this denoiser was not made for."""
        if self.levels is not None:
            self.levels.check(schedule)


class OfClass(Denoiser):
    """p(x_0 | x_t, class): a denoiser that is told the class of each sample, (B,), or one for all."""

    def __init__(self, denoiser: Denoiser, label: Tensor | int) -> None:
        super().__init__()
        if not denoiser.classes:
            raise Refused("this model knows no classes: it was trained without labels")
        self.denoiser, self.label = denoiser, _known(label, denoiser.classes)
        self.latent_dim, self.shape = denoiser.latent_dim, denoiser.shape
        self.levels, self.card = denoiser.levels, denoiser.card

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.denoiser(x_t, level, z, self.label.to(x_t.device).expand(len(x_t)))

    def output_scale(self, level: Tensor) -> Tensor:
        return self.denoiser.output_scale(level)


def _known(label: Tensor | int, classes: int) -> Tensor:
    """The classes as a tensor; Refused where one is none. On a device nobody looks: that would wait for it."""
    try:
        known = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError):
        known = torch.tensor(math.nan)
    if known.is_floating_point() or known.is_cpu and ((known < 0) | (known > classes)).any():
        raise Refused(f"a class must be a whole number in 0..{classes - 1}, or {classes} for any, got {label!r}")
    return known


class LawDenoiser(Denoiser):
    """A denoiser with a closed form, made from the exact law of the data. Many samples are drawn in parts."""

    def __init__(self, law: Law) -> None:
        super().__init__()
        wanted(Law, 'toy("25-gaussians")', law)
        self.law, self.shape = law, tuple(law.shape)

    @property
    def device(self) -> torch.device:
        """Where the law is."""
        return self.law.mu.device

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        parts = zip(*(v.split(self.law.at_once) for v in (x_t, floats(level).expand(len(x_t)), z)), strict=True)
        return torch.cat([self._drawn(*part) for part in parts])

    def _drawn(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        raise NotImplementedError


class MeanDenoiser(LawDenoiser):
    """x_0 = E[x_0 | x_t]: what regression converges to. Its steps are DDPM's with the posterior variance."""

    def _drawn(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.law.denoised(x_t, level).mean()


class GaussianDenoiser(LawDenoiser):
    """x_0 = m + L z with m and L L^T the exact mean and covariance of q(x_0 | x_t).

    Its p(x_s | x_t) has the mean and covariance of q(x_s | x_t), so no other Gaussian is closer in KL(q || p).
    """

    def __init__(self, law: Law) -> None:
        super().__init__(law)
        self.latent_dim = law.shape.numel()

    def _drawn(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        q = self.law.denoised(x_t, level)
        cov = q.cov().double()
        # a finite data set has a singular covariance: the tiny ridge keeps its Cholesky factor real
        ridge = 1e-9 + 1e-6 * cov.diagonal(dim1=1, dim2=2).mean(1)
        factor, failed = torch.linalg.cholesky_ex(cov + ridge[:, None, None] * torch.eye(self.latent_dim).to(cov))
        if (rounded := failed > 0).any():  # by more than the ridge, where few of many coordinates vary
            values, vectors = torch.linalg.eigh(cov[rounded])
            factor[rounded] = vectors * values.clamp(min=0).sqrt()[:, None]
        return q.mean() + (factor.to(x_t) @ z[..., None]).reshape(x_t.shape)


class ExactDenoiser(LawDenoiser):
    """x_0 ~ q(x_0 | x_t): z[:, 0] picks the component, z[:, 1:] the point in it."""

    def __init__(self, law: Law) -> None:
        super().__init__(law)
        self.latent_dim = 1 + law.shape.numel()

    def _drawn(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        u = torch.special.ndtr(z[:, 0].double())  # in float32 -8 would be no u at all
        return self.law.denoised(x_t, level).at(u, z[:, 1:].reshape(x_t.shape))
