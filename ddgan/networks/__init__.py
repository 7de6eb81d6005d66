"""The registry of networks: a name in a config stands for a generator and the discriminator that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from ..denoiser import Denoiser
from . import conv, mlp

__all__ = ["IMAGES", "VECTORS", "discriminator", "generator"]

VECTORS = {
    "plain": (mlp.PlainGenerator, mlp.PlainDiscriminator),
    "skip": (mlp.SkipGenerator, mlp.SkipDiscriminator),
    "plain-g": (mlp.PlainGenerator, mlp.SkipDiscriminator),
    "plain-d": (mlp.SkipGenerator, mlp.PlainDiscriminator),
    "v": (mlp.VGenerator, mlp.SkipDiscriminator),
    "eps": (mlp.EpsGenerator, mlp.SkipDiscriminator),
    "plain-eps": (mlp.PlainEpsGenerator, mlp.PlainDiscriminator),
}
IMAGES = {"unet": conv.UNet, "unet-draw": conv.DrawUNet, "unet-indexed": conv.IndexedUNet}


def generator(
    kind: str, shape: Sequence[int], *, latent_dim: int, width: int, depth: int, multipliers: Sequence[int] = (1, 2, 2, 2),
    patch: int = 1,
) -> Denoiser:  # fmt: skip
    """A freshly initialised generator for data of `shape`; latent_dim = 0 makes it a regression denoiser.

    `multipliers` and `patch` are of networks of images. ValueError where the network does not fit the shape.
    """
    if kind in VECTORS:
        return VECTORS[kind][0](prod(shape), latent_dim, width, depth)
    network = IMAGES[kind](shape, latent_dim, width, depth, multipliers, patch)
    return network.to(memory_format=torch.channels_last)  # what convolutions are fast in, on CPUs with AMX and on GPUs


def discriminator(kind: str, shape: Sequence[int], *, width: int, depth: int, patch: int = 1) -> nn.Module:
    """A freshly initialised discriminator for data of `shape`."""
    if kind in VECTORS:
        return VECTORS[kind][1](prod(shape), width, depth)
    return conv.Discriminator(shape, width, patch).to(memory_format=torch.channels_last)
