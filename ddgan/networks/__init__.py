"""The registry of networks: a name in a config stands for a generator and the discriminator that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from ..denoiser import Denoiser
from . import mlp

__all__ = ["NETWORKS", "discriminator", "generator"]

NETWORKS = {
    "plain": (mlp.PlainGenerator, mlp.PlainDiscriminator),
    "skip": (mlp.SkipGenerator, mlp.SkipDiscriminator),
}


def generator(kind: str, shape: Sequence[int], *, latent_dim: int, width: int, depth: int) -> Denoiser:
    """A freshly initialised generator for data of `shape`; latent_dim = 0 makes it a regression denoiser."""
    return NETWORKS[kind][0](prod(shape), latent_dim, width, depth)


def discriminator(kind: str, shape: Sequence[int], *, width: int, depth: int) -> nn.Module:
    """A freshly initialised discriminator for data of `shape`."""
    return NETWORKS[kind][1](prod(shape), width, depth)
