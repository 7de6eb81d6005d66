"""The losses, as pure functions of logits and of a discriminator d: x_s (B, *D) -> logits (B,).

    paper        non-saturating GAN + gamma/2 E|grad d(real)|^2                         (R1: Mescheder et al. 2018)
    r1r2         the same GAN + gamma/2 (E|grad d(real)|^2 + E|grad d(fake)|^2)         (R1 + R2)
    rpgan        relativistic pairing, d judges real against fake, + both penalties     (R3GAN: Huang et al. 2024)
    rpgan-exact  the same, |grad d|^2 by double backward: for images, in every k-th update only (`every`)
    wgan-gp      the critic's difference of means + gamma E(|grad d| - 1)^2 between real and fake  (Gulrajani et al. 2017)

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

__all__ = ["Critic", "LOSSES", "gradient_penalty", "nonsaturating", "paired", "relativistic", "squared_error"]

SIGMA = 0.01  # the length of the finite difference, for data of unit variance

Critic = Callable[[Tensor], Tensor]


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


def exact(loss: Callable[[Tensor, Tensor], Tensor], *, both: bool) -> Callable[[Critic, Tensor, Tensor, Tensor, float], Tensor]:
    """D's loss with R1, or R1 + R2 if `both`, by double backward, around any `loss(winner, loser)`."""

    def d_loss(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: float) -> Tensor:
        if not gamma:
            return loss(*d(torch.cat([real, fake])).chunk(2))
        x = (torch.cat([real, fake]) if both else real).detach().requires_grad_()
        at = d(x)
        (gradient,) = torch.autograd.grad(at.sum(), x, create_graph=True)
        squared = gradient.flatten(1).square().sum(1).sum()
        return loss(*(at.chunk(2) if both else (at, d(fake)))) + gamma / 2 * squared / len(real)

    return d_loss


def paired(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Critic, Tensor, Tensor, Tensor, float], Tensor]:
    """D's loss with R1 + R2 by finite differences along v, around any `loss(winner, loser)`."""

    def d_loss(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: float) -> Tensor:
        x = torch.cat([real, fake])
        if not gamma:
            return loss(*d(x).chunk(2))
        at, moved = d(torch.cat([x, x + SIGMA * torch.cat([v, v])])).chunk(2)
        slope = (moved - at) / SIGMA
        return loss(*at.chunk(2)) + gamma * slope.square().mean()  # the mean of both halves: gamma/2 (R1 + R2)

    return d_loss


def wasserstein(d: Critic, real: Tensor, fake: Tensor, v: Tensor, gamma: float) -> Tensor:
    """The critic's loss of WGAN-GP; the place between real and fake is uniform, made of v's first coordinate."""
    between = torch.special.ndtr(v.flatten(1)[:, 0]).reshape(-1, *[1] * (v.ndim - 1))
    slope = (gradient_penalty(d, fake + between * (real - fake)) + 1e-12).sqrt() if gamma else torch.ones(())
    return d(fake).mean() - d(real).mean() + gamma * (slope - 1).square().mean()


def fool(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's non-saturating loss, E softplus(-d(fake)): it does not look at the real data."""
    return softplus(-d(fake)).mean()


def outdo(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's relativistic loss: the fake is to win against the real."""
    return relativistic(*d(torch.cat([fake, real])).chunk(2))


def raise_critic(d: Critic, real: Tensor, fake: Tensor) -> Tensor:
    """G's loss in WGAN-GP, -E d(fake)."""
    return -d(fake).mean()


def squared_error(x_0: Tensor, target: Tensor) -> Tensor:
    """E |x_0 - target|^2 / n: its minimiser is the mean E[x_0 | x_t]."""
    return (x_0 - target).square().mean()


# name -> (D's loss (d, real, fake, v, gamma), G's loss (d, real, fake))
LOSSES = {
    "paper": (exact(nonsaturating, both=False), fool),
    "r1r2": (paired(nonsaturating), fool),
    "rpgan": (paired(relativistic), outdo),
    "rpgan-exact": (exact(relativistic, both=True), outdo),
    "wgan-gp": (wasserstein, raise_critic),
}
