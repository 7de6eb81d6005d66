"""The registry of networks: a name in a config stands for a generator and the discriminator that goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from ..diffusion.denoiser import Denoiser
from ..errors import Refused
from . import mlp, unet
from .config import Config
from .discriminator import Discriminator
from .layers import channels_last

__all__ = [
    "ALONE", "IMAGE_NETWORKS", "POINT_NETWORKS", "VECTORS", "discriminator", "generator", "new_discriminator",
    "new_generator",
]  # fmt: skip

VECTORS = {
    "plain": (mlp.PlainGenerator, mlp.PlainDiscriminator),
    "skip": (mlp.SkipGenerator, mlp.SkipDiscriminator),
    "plain-g": (mlp.PlainGenerator, mlp.SkipDiscriminator),
    "plain-d": (mlp.SkipGenerator, mlp.PlainDiscriminator),
    "v": (mlp.VGenerator, mlp.SkipDiscriminator),
    "eps": (mlp.EpsGenerator, mlp.SkipDiscriminator),
    "plain-eps": (mlp.PlainEpsGenerator, mlp.PlainDiscriminator),
}
ALONE = {"mixture": mlp.MixtureDenoiser, "flow": mlp.FlowGenerator}  # networks of points that have no discriminator
POINT_NETWORKS = (*VECTORS, *ALONE)
IMAGE_NETWORKS = {"unet": unet.UNet, "unet-draw": unet.DrawUNet, "unet-indexed": unet.IndexedUNet}


def generator(
    kind: str, shape: Sequence[int], *, latent_dim: int, width: int, depth: int,
    multipliers: Sequence[int] = (1, 2, 2, 2), patch: int = 1, classes: int = 0,
) -> Denoiser:  # fmt: skip
    """A freshly initialised generator for data of `shape`; latent_dim = 0 makes it a regression denoiser.

    `multipliers`, `patch` and `classes` are for networks of images. Refused for an unknown kind, and where the network
    does not fit the shape.
    """
    _check(kind, classes)
    if kind in POINT_NETWORKS:
        of_points: type[Denoiser] = ALONE[kind] if kind in ALONE else VECTORS[kind][0]
        shape = (prod(shape),)
        network = of_points(*shape, latent_dim, width, depth)
    else:
        network = channels_last(IMAGE_NETWORKS[kind](shape, latent_dim, width, depth, multipliers, patch, classes))
    network.shape = tuple(shape)
    return network


def discriminator(
    kind: str, shape: Sequence[int], *, width: int, depth: int, patch: int = 1, classes: int = 0
) -> nn.Module:
    """A freshly initialised discriminator for data of `shape`; Refused for a network of ALONE, and an unknown kind."""
    _check(kind, classes)
    if kind in ALONE:
        raise Refused(f"the network {kind} has no discriminator, the ddgan objective needs one")
    if kind in VECTORS:
        return VECTORS[kind][1](prod(shape), width, depth)
    return channels_last(Discriminator(shape, width, patch, classes))


def _check(kind: str, classes: int) -> None:
    if kind not in (*POINT_NETWORKS, *IMAGE_NETWORKS):
        raise Refused(f"a network is one of {', '.join((*POINT_NETWORKS, *IMAGE_NETWORKS))}, got {kind!r}")
    if classes and kind in POINT_NETWORKS:
        raise Refused(f"classes are for networks of images, {kind!r} is a network of points")


def new_generator(config: Config, shape: tuple[int, ...]) -> Denoiser:
    """The freshly initialised generator, or regression denoiser, of a config for data of `shape`."""
    return generator(
        config.network, shape, latent_dim=config.latent_dim, width=config.width, depth=config.depth,
        multipliers=config.multipliers, patch=config.patch, classes=config.classes or 0,
    )  # fmt: skip


def new_discriminator(config: Config, shape: tuple[int, ...]) -> nn.Module:
    """The freshly initialised discriminator of a config for data of `shape`."""
    return discriminator(
        config.network, shape, width=config.d_width or config.width, depth=config.depth, patch=config.patch,
        classes=config.classes or 0,
    )  # fmt: skip
