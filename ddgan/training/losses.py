"""The losses, as pure functions of logits and of a discriminator d: x_s (B, *D) -> logits (B,).

    paper        non-saturating GAN + gamma/2 E|grad d(real)|^2                         (R1: Mescheder et al. 2018)
    r1r2         the same GAN + gamma/2 (E|grad d(real)|^2 + E|grad d(fake)|^2)         (R1 + R2)
    rpgan        relativistic pairing, d judges real against fake, + both penalties     (R3GAN: Huang et al. 2024)
    rpgan-exact  the same, |grad d|^2 by double backward: for images, in every k-th update only (`every`)
    wgan-gp      the critic's difference of means + gamma E(|grad d| - 1)^2 in between         (Gulrajani et al. 2017)

In r1r2 and rpgan |grad d|^2 is estimated by one finite difference along a random direction v ~ N(0, I), since
E_v (v . grad d)^2 = |grad d|^2: one more forward pass instead of a double backward. All means are over the batch.

The real and the fake of a pair share x_t and the levels. Pairing lets what d says of those alone cancel; without it
that part grows fastest in a network of images, and D's loss stays at 2 log 2 while fakes are plainly bad.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..diffusion.gaussian import like

__all__ = [
    "Critic",
    "LOSSES",
    "gradient_penalty",
    "nonsaturating",
    "pseudo_huber",
    "finite_difference_penalty",
    "relativistic",
    "squared_error",
]

SHARP = 0.03  # where pseudo_huber turns from squares to distances, for data of unit variance
SIGMA = 0.01  # the length of the finite difference, for data of unit variance

Critic = Callable[[Tensor], Tensor]
Weight = float | Tensor  # of a penalty, 0.0 for none; a tensor on a CUDA device, which nobody looks at
DLoss = Callable[[Critic, Tensor, Tensor, Tensor, Weight], Tensor]


def nonsaturating(winner: Tensor, loser: Tensor) -> Tensor:
    """E softplus(-d(winner)) + E softplus(d(loser)); 2 log 2 where d = 0. G's half is softplus(-d(fake))."""
    return softplus(-winner).mean() + softplus(loser).mean()


def relativistic(winner: Tensor, loser: Tensor) -> Tensor:
    """E softplus(d(loser) - d(winner)): only the difference within a pair counts."""
    return softplus(loser - winner).mean()


def gradient_penalty(d: Critic, x: Tensor) -> Tensor:
    """|grad_x d(x)|^2 per item, (B,), by double backward."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def double_backward_penalty(loss: Callable[[Tensor, Tensor], Tensor], *, both: bool) -> DLoss:
    """D's loss with R1, or R1 + R2 if `both`, by double backward, around any `loss(winner, loser)`."""

    def d_loss(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: Weight) -> Tensor:
        if _absent(gamma):
            return loss(*d(torch.cat([real, fake])).chunk(2))
        x = (torch.cat([real, fake]) if both else real).detach().requires_grad_()
        at = d(x)
        (gradient,) = torch.autograd.grad(at.sum(), x, create_graph=True)
        squared = gradient.flatten(1).square().sum(1).sum()
        return loss(*(at.chunk(2) if both else (at, d(fake)))) + gamma / 2 * squared / len(real)

    return d_loss


def finite_difference_penalty(loss: Callable[[Tensor, Tensor], Tensor]) -> DLoss:
    """D's loss with R1 + R2 by finite differences along v, around any `loss(winner, loser)`."""

    def d_loss(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: Weight) -> Tensor:
        x = torch.cat([real, fake])
        if _absent(gamma):
            return loss(*d(x).chunk(2))
        at, moved = d(torch.cat([x, x + SIGMA * torch.cat([v, v])])).chunk(2)
        slope = (moved - at) / SIGMA
        return loss(*at.chunk(2)) + gamma * slope.square().mean()  # the mean of both halves: gamma/2 (R1 + R2)

    return d_loss


def _absent(gamma: Weight) -> bool:
    return not isinstance(gamma, Tensor) and not gamma


def wasserstein(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: Weight) -> Tensor:
    """The critic's loss of WGAN-GP; the place between real and fake is uniform, made of v's first coordinate."""
    if _absent(gamma):
        return d(fake).mean() - d(real).mean()
    between = like(torch.special.ndtr(v.flatten(1)[:, 0]), v)
    slope = (gradient_penalty(d, fake + between * (real - fake)) + 1e-12).sqrt()
    return d(fake).mean() - d(real).mean() + gamma * (slope - 1).square().mean()


def g_nonsaturating(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's non-saturating loss, E softplus(-d(fake)): it does not look at the real data."""
    return softplus(-d(fake)).mean()


def g_relativistic(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's relativistic loss: the fake is to win against the real, whose logit has no gradient."""
    with torch.no_grad():
        loser = d(real)
    return relativistic(d(fake), loser)


def g_wasserstein(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's loss in WGAN-GP, -E d(fake)."""
    return -d(fake).mean()


def squared_error(x_0: Tensor, target: Tensor) -> Tensor:
    """E |x_0 - target|^2 / n: its minimiser is the mean E[x_0 | x_t]."""
    return (x_0 - target).square().mean()


def pseudo_huber(x_0: Tensor, target: Tensor) -> Tensor:
    """E sqrt(|x_0 - target|^2 + c^2) - c, c = SHARP: a jump of a map stays sharper than by squares.

    Source: Song and Dhariwal, "Improved Techniques for Training Consistency Models", ICLR 2024, eq. 7.
    """
    return ((x_0 - target).flatten(1).square().sum(1) + SHARP**2).sqrt().mean() - SHARP


# name -> (D's loss (d, real, fake, v, gamma), G's loss (d, real, fake))
LOSSES = {
    "paper": (double_backward_penalty(nonsaturating, both=False), g_nonsaturating),
    "r1r2": (finite_difference_penalty(nonsaturating), g_nonsaturating),
    "rpgan": (finite_difference_penalty(relativistic), g_relativistic),
    "rpgan-exact": (double_backward_penalty(relativistic, both=True), g_relativistic),
    "wgan-gp": (wasserstein, g_wasserstein),
}
