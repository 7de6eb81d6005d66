"""The discriminator of images: (x_s, x_t; levels, class) -> logit.

Residual blocks that halve the image, minibatch standard deviation, a sum, and a projection on the class.
Source: Xiao et al. 2022, appendix C; minibatch std: Karras et al. 2018; projection: Miyato, Koyama 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..machine import zero_divisor
from .layers import SQRT2, conv, dense, fits, label_or_any, position, shrink, sinusoid

__all__ = ["Discriminator"]

GROUP = 4  # minibatch std compares the items of a batch in fours


class Discriminator(nn.Module):
    """(x_s (M B, C, H, W), x_t (B, C, H, W), level_s (B,), level_t (B,), label (B,)) -> logits (M B,).

    The label, of one of `classes` or `classes` for any, is added to the embedded levels, and multiplies what D sees in
    the end (projection: Miyato, Koyama 2018). M batches of x_s share one condition. An item's logit depends on the
    others of its four, through their standard deviation, and never on those of another batch: real and fake stay
    apart.
    """

    shares_condition = True
    STAGES = (1, 2, 4, 4)

    def __init__(self, shape: Sequence[int], width: int, patch: int, classes: int = 0) -> None:
        super().__init__()
        fits(shape, width, patch, 0)
        self.width, self.patch, self.classes = width, patch, classes
        self.level = nn.Sequential(dense(2 * width, 2 * width), nn.LeakyReLU(0.2), dense(2 * width, 2 * width))
        self.first = conv(2 * shape[0] * patch**2, width, size=1)
        self.blocks = nn.ModuleList()
        now, side = width, min(shape[1:]) // patch
        for i, m in enumerate(self.STAGES):
            halve = i > 0 and side > 4  # the paper's ends at 4 x 4: a single pixel would not see strokes
            self.blocks.append(_DownBlock(now, m * width, level=2 * width, halve=halve))
            now, side = m * width, side // 2 if halve else side
        self.final, self.logit = conv(now + 1, now), dense(now, 1)
        with torch.no_grad():
            self.logit.weight.mul_(0.01)
        if classes:
            self.label, self.projection = nn.Embedding(classes + 1, 2 * width), nn.Embedding(classes + 1, now)
            nn.init.zeros_(self.projection.weight)

    def forward(
        self, x_s: Tensor, x_t: Tensor, level_s: Tensor, level_t: Tensor, label: Tensor | None = None
    ) -> Tensor:
        M = len(x_s) // len(x_t)
        embedded = torch.cat([sinusoid(position(level), self.width) for level in (level_s, level_t)], 1)
        embedded = self.level(embedded)
        if self.classes:
            label = label_or_any(label, self.classes, x_t)
            embedded = embedded + self.label(label)
        embedded = F.leaky_relu(embedded, 0.2).repeat(M, 1)
        x = _pointwise(self.first, F.pixel_unshuffle(torch.cat([x_s, x_t.repeat(M, 1, 1, 1)], 1), self.patch))
        for block in self.blocks:
            x = block(x, embedded)
        x = F.leaky_relu(self.final(torch.cat([x, _spread(x, math.gcd(len(x_t), GROUP))], 1)), 0.2)
        seen = x.sum((2, 3))
        logit = self.logit(seen)[:, 0].float()
        if self.classes:
            logit = logit + (seen * self.projection(label).repeat(M, 1)).float().sum(1)
        return logit


class _DownBlock(nn.Module):
    """(skip(x) + f(x)) / sqrt 2 without norms; `halve` acts on both branches."""

    def __init__(self, inputs: int, outputs: int, *, level: int, halve: bool) -> None:
        super().__init__()
        self.halve = halve
        self.conv_0, self.conv_1 = conv(inputs, outputs), conv(outputs, outputs)
        self.level = dense(level, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        h = self.conv_0(F.leaky_relu(x, 0.2)) + self.level(level)[:, :, None, None]
        h = F.leaky_relu(h, 0.2)
        if self.halve:
            h, x = shrink(h), shrink(x)
        return (_pointwise(self.skip, x) + self.conv_1(h)) / SQRT2


def _pointwise(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of x (B, C, H, W), of its upper and lower half apart where its double backward would crash.

    That is a product of x as a matrix (C, B H W), which oneDNN cannot make at one size: see `zero_divisor`.
    """
    low = x.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")
    if x.device.type == "cpu" and low and x.shape[1] <= 32 and x.numel() == zero_divisor():
        return torch.cat([layer(half) for half in x.chunk(2, 2)], 2)
    return layer(x)


def _spread(x: Tensor, size: int) -> Tensor:
    """The standard deviation within each group of `size` items, averaged over all coordinates: (B, 1, H, W)."""
    groups = x.float().unflatten(0, (-1, size))
    # by hand: torch's own var has a slow double backward
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    std = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(size)
    return std[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)
