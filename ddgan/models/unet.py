"""Generators of images (C, H, W): the paper's U-Net, and one that begins from a draw; discriminator.py has the rest.

UNet          x_0 = tanh(U(x_t; level, z)). NCSN++ (Song et al. 2021) with BigGAN residual blocks, a residual pyramid of
              the input, FIR resampling, and attention at the second resolution and in the bottleneck. The latent vector
              z passes a mapping network and sets scale and shift of every group norm; the level adds a bias to every
              channel. Without a latent it is the regression denoiser.
DrawUNet      The latent is as large as the data and is turned into a draw y of x_0 given x_t *if the data were
              Gaussian* with the mean and covariance of the training set; the U-Net gets y beside x_t. It so begins
              from something of the right colours and layout, and z says which.

`patch` = 2 folds 2 x 2 pixels into channels at the entrance and unfolds them at the exit: four times cheaper. At
width 128, depth 2, multipliers (1, 2, 2, 2) and patch 1 UNet is the generator of the paper, 48,432,515 parameters:
levels, which stand here where the paper has an index, are embedded by as many numbers.
Source: Xiao et al. 2022, appendix C; AdaGN: Dhariwal, Nichol 2021.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..diffusion.denoiser import Denoiser
from ..diffusion.schedule import Schedule, alpha_sigma
from ..errors import Refused
from .layers import (
    SQRT2,
    TINY,
    Attention,
    Block,
    Norm,
    along,
    conv,
    dense,
    fir,
    fits,
    label_or_any,
    position,
    shrink,
    sinusoid,
    stretch,
)

__all__ = ["Down", "DrawUNet", "IndexedUNet", "Pyramid", "UNet", "Up"]

RANK = 512  # principal directions that a DrawUNet keeps; the rest of the variance is spread evenly


class Pyramid(nn.Module):
    """The input at half the size in other channels: the FIR filter and a strided 3 x 3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(along(x, *(fir(n, x) for n in x.shape[2:])), self.conv.weight, self.conv.bias, stride=2)


class Down(nn.Module):
    """One resolution on the way down: blocks, each with attention or none, and the way to half the size, if any."""

    def __init__(
        self, blocks: Iterable[nn.Module], attention: Iterable[nn.Module], shrink: Block | None, pyramid: Pyramid | None
    ) -> None:
        super().__init__()
        self.blocks, self.attention = nn.ModuleList(blocks), nn.ModuleList(attention)
        self.shrink, self.pyramid = shrink, pyramid

    def forward(self, x: Tensor, pyramid: Tensor, level: Tensor, style: Tensor | None) -> tuple[list[Tensor], Tensor]:
        """What the way up will see, the last of it for the next resolution; and the pyramid for that one."""
        skips = []
        for block, attention in zip(self.blocks, self.attention, strict=True):
            skips.append(x := attention(block(x, level, style)))
        if self.shrink and self.pyramid:
            pyramid = (self.pyramid(pyramid) + self.shrink(x, level, style)) / SQRT2
            skips.append(pyramid)
        return skips, pyramid


class Up(nn.Module):
    """One resolution on the way up: blocks, attention or none, and the way to twice the size, if there is one."""

    def __init__(self, blocks: Iterable[nn.Module], attention: nn.Module, stretch: Block | None) -> None:
        super().__init__()
        self.blocks, self.attention, self.stretch = nn.ModuleList(blocks), attention, stretch

    def forward(self, x: Tensor, skips: list[Tensor], level: Tensor, style: Tensor | None) -> Tensor:
        """Each block takes the last of `skips` off the list."""
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], 1), level, style)
        x = self.attention(x)
        return self.stretch(x, level, style) if self.stretch else x


class _Unfold(nn.Module):
    """Out of the patches: to few channels at full size, where two convolutions see the network's input again."""

    CHANNELS = 16

    def __init__(self, channels: int, inputs: int, outputs: int, patch: int) -> None:
        super().__init__()
        self.patch = patch
        self.unfold = conv(channels, self.CHANNELS * patch**2, size=1)
        self.mix, self.last = conv(self.CHANNELS + inputs, self.CHANNELS), conv(self.CHANNELS, outputs, gain=TINY)

    def forward(self, x: Tensor, full: Tensor) -> Tensor:
        x = torch.cat([F.pixel_shuffle(self.unfold(x), self.patch), full], 1)
        return self.last(F.silu(self.mix(x)))


class UNet(Denoiser):
    """x_0 = tanh(U(x_t; level, z)), images in [-1, 1]: see the top of the module. Refused where sizes do not fit.

    A class is told as e = any + guidance (its own - any), by the embeddings of the class and of any class.
    `training.run.fit` trains with a guidance of 1, `load` sets that of the card. Above 1 samples are more typical of
    their class and vary less, as under classifier-free guidance (Ho, Salimans 2022), but in one evaluation. Samples
    told no class stay as they are.
    """

    CHANNELS_PER_GROUP = 4
    guidance = 1.0

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int,
        width: int,
        depth: int,
        multipliers: Sequence[int],
        patch: int,
        classes: int = 0,
    ) -> None:
        super().__init__()
        C, *sides = shape
        fits(shape, width, patch, len(multipliers) - 1)
        self.latent_dim, self.width, self.patch, self.classes = latent_dim, width, patch, classes
        style = self._make_mapping(latent_dim, 2 * width)
        block = partial(Block, level=4 * width, style=style, group=self.CHANNELS_PER_GROUP)
        self.level = nn.Sequential(dense(width, 4 * width), nn.SiLU(), dense(4 * width, 4 * width))
        if classes:
            self.label = nn.Embedding(classes + 1, 4 * width)  # the last: any class
        inputs = self._inputs(C) * patch**2
        self.first = conv(inputs, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now, pyramid = [width], width, inputs
        for i, m in enumerate(multipliers):
            blocks, attentions = [], []
            for _ in range(depth):
                blocks.append(block(now, m * width))
                attentions.append(self._attention(m * width, here=i == 1))
                skips.append(now := m * width)
            if i + 1 < len(multipliers):
                self.down.append(Down(blocks, attentions, block(now, now, resample=shrink), Pyramid(pyramid, now)))
                skips.append(pyramid := now)
            else:
                self.down.append(Down(blocks, attentions, None, None))
        self.middle = nn.ModuleList([block(now, now), self._attention(now), block(now, now)])
        for i, m in reversed(list(enumerate(multipliers))):
            blocks = []
            for _ in range(depth + 1):
                blocks.append(block(now + skips.pop(), m * width))
                now = m * width
            attention = self._attention(now, here=i == 1)
            self.up.append(Up(blocks, attention, block(now, now, resample=stretch) if i else None))
        self.norm = Norm(now, 0, self.CHANNELS_PER_GROUP)
        self.last = conv(now, C, gain=TINY) if patch == 1 else _Unfold(now, self._inputs(C), C, patch)

    def _attention(self, channels: int, *, here: bool = True) -> nn.Module:
        return Attention(channels, self.CHANNELS_PER_GROUP) if here else nn.Identity()

    def _make_mapping(self, latent_dim: int, width: int) -> int:
        """Make the mapping network of the latent vector; the width of its style, 0 without a latent."""
        if not latent_dim:
            return 0
        layers = [dense(latent_dim, width), nn.SiLU()]
        for _ in range(4):
            layers += [dense(width, width), nn.SiLU()]
        self.mapping = nn.Sequential(*layers)
        return width

    def _inputs(self, channels: int) -> int:
        """How many channels `_input` gives."""
        return channels

    def _input(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return x_t

    def _style(self, z: Tensor) -> Tensor | None:
        return self.mapping(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()) if self.latent_dim else None

    def _position(self, level: Tensor) -> Tensor:
        return position(level)

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor, label: Tensor | None = None) -> Tensor:
        dtype = self.first.weight.dtype  # as its weights are: bfloat16 where that is fast
        embedded = self.level(sinusoid(self._position(level), self.width).to(dtype))
        if self.classes:
            told = self.label(label_or_any(label, self.classes, x_t))
            embedded = embedded + torch.lerp(self.label.weight[-1], told, self.guidance)
        embedded = F.silu(embedded)
        style = self._style(z.to(dtype))
        full = self._input(x_t, level, z).to(dtype, memory_format=torch.channels_last)
        pyramid = F.pixel_unshuffle(full, self.patch)
        skips = [self.first(pyramid)]
        for stage in self.down:
            found, pyramid = stage(skips[-1], pyramid, embedded, style)
            skips += found
        x = skips[-1]
        before, attention, after = self.middle
        x = after(attention(before(x, embedded, style)), embedded, style)
        for stage in self.up:
            x = stage(x, skips, embedded, style)
        x = F.silu(self.norm(x))
        return torch.tanh(self.last(x) if self.patch == 1 else self.last(x, full)).to(x_t.dtype)


class DrawUNet(UNet):
    """x_0 = tanh(U(x_t, y; level)), y ~ q(x_0 | x_t) if x_0 ~ N(mean, covariance) of the training set; z draws y.

    Along a principal direction of variance v, y = mean + g (x_t - a mean) + s z with g = a v / (a^2 v + sigma^2) and
    s^2 = v sigma^2 / (a^2 v + sigma^2). Until `fit` the Gaussian is N(0, I). Without a latent y is its posterior mean.

    A GAN's samples vary less than its data, most of all those that it draws from noise alone. So z of a trained model
    may be spread: it has the variance `spread` where x_t is noise (a log-SNR of WIDE or less), 1 where x_t says
    something (NARROW or more), and in between it is linear in the log-SNR. Recall rises, precision falls, and the
    distance is least in between: the truncation trick (Brock et al. 2019) turned round.
    """

    CHANNELS_PER_GROUP = 16  # on CPUs fewer are several times slower
    WIDE, NARROW = -10.0, -4.0
    spread = 1.0

    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor

    def __init__(self, shape: Sequence[int], latent_dim: int, *sizes: Any) -> None:
        super().__init__(shape, latent_dim, *sizes)
        n = math.prod(shape)
        if latent_dim not in (0, n):
            raise Refused(f"the latent of this network has 0 or {n} numbers, as the data, got {latent_dim}")
        rank = min(n, RANK)
        for name, value in {
            "mean": torch.zeros(n), "basis": torch.zeros(rank, n), "variance": torch.ones(rank), "rest": torch.ones(1)
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and covariance from images x (N, C, H, W) in [-1, 1]; of few large ones by their N x N products."""
        x = x.flatten(1)
        (N, n), rank = x.shape, min(len(x), len(self.variance))
        self.mean.copy_(x.mean(0))
        centred = x - self.mean
        products = centred.T @ centred if n <= N else centred @ centred.T
        variance, vectors = torch.linalg.eigh((products / N).double())  # rising
        variance, basis = variance.clamp(min=0), vectors[:, -rank:].T
        if n > N:
            basis = F.normalize(basis.to(centred) @ centred)
        self.basis.zero_()  # of an earlier fit more directions may be known
        self.variance[-rank:], self.basis[-rank:] = variance[-rank:], basis
        self.rest.fill_(variance[:-rank].sum() / max(n - rank, 1))

    def _make_mapping(self, latent_dim: int, width: int) -> int:
        return 0

    def _inputs(self, channels: int) -> int:
        return 2 * channels

    def _style(self, z: Tensor) -> None:
        return None

    def _input(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        a, sigma = (v.to(x_t)[:, None] for v in alpha_sigma(level))  # (B, 1)

        basis = self.basis.to(x_t)

        def along(x: Tensor, of_basis: Tensor, of_rest: Tensor) -> Tensor:
            """x (B, n) scaled by of_basis (B, rank) along the principal directions, by of_rest (B, 1) elsewhere."""
            return of_rest * x + ((of_basis - of_rest) * (x @ basis.T)) @ basis

        with torch.autocast(x_t.device.type, enabled=False):
            mean, variances = self.mean.to(x_t), [self.variance[None].to(x_t), self.rest[None].to(x_t)]
            x = x_t.flatten(1)
            y = mean + along(x - a * mean, *(a * v / (a**2 * v + sigma**2) for v in variances))
            if self.latent_dim:
                noisy = ((self.NARROW - level) / (self.NARROW - self.WIDE)).clamp(0, 1).to(z)[:, None]
                z = z * (1 + (self.spread - 1) * noisy).sqrt()
                y = y + along(z, *((v / (a**2 * v + sigma**2)).sqrt() * sigma for v in variances))
        return torch.cat([x_t, y.reshape(x_t.shape)], 1)


class IndexedUNet(UNet):
    """A UNet that knows its level as an index, 0 for the cleanest of T = 4: the official CIFAR-10 checkpoint."""

    def _position(self, level: Tensor) -> Tensor:
        known = Schedule.vp(4).level(torch.arange(1, 5)).to(level)
        return (level[:, None] - known).abs().argmin(1)
