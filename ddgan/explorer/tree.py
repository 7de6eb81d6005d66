"""What may one x_t still become? A tree: x_t is frozen, its children are draws of x_s, and each is walked on to x_0.

The children of one x_t have nothing in common but it: each step of each child has z and eps of its own. So what all of
its leaves share is decided in x_t, and what differs among them is still open. At t = T the leaves are samples of the
denoiser; a denoiser without noise has equal children.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import Draws, sample, seeds
from ..diffusion.schedule import Schedule
from ..diffusion.solver import ANCESTRAL, Solver

__all__ = ["Branches", "tree"]


class Branches(NamedTuple):
    """The children x_s (K, *D) of one x_t, and the leaf x_0 (K, *D) of each."""

    x_s: Tensor
    x_0: Tensor


@torch.no_grad()
def tree(
    schedule: Schedule, denoiser: Denoiser, x_t: Tensor, t: int, K: int, seed: int = 0, solver: Solver = ANCESTRAL
) -> Branches:
    """K children of one x_t (*D), by the noise of the K samples of this seed."""
    noise = Draws.from_seeds(seeds(seed, K), x_t.shape, schedule.T, denoiser.latent_dim)
    first, *others = sample(schedule, denoiser, noise._replace(x_T=x_t.expand(K, *x_t.shape)), t, solver)
    return Branches(first.x_s, (others or [first])[-1].x_s)
