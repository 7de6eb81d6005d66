"""A small residual classifier of images: metrics/images.py compares its features and counts its logits.

Three times: a convolution to twice the channels, half the resolution, and a residual pair of convolutions, so that
every layer costs the same. After He et al. 2016, in the nine-layer form of fast CIFAR-10 training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ..errors import Refused
from .config import Config

__all__ = ["Classifier"]


class Convolution(nn.Module):
    """ReLU(BatchNorm(3x3 convolution)); `pool`: the largest of 2x2 places, before the rest is computed for all."""

    def __init__(self, inputs: int, outputs: int, *, pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.pool(self.conv(x))), inplace=True)


class Classifier(nn.Module):
    """Images (B, *shape) in [-1, 1] -> logits (B, classes), through features (B, 8 width).

    A `noisy` one classifies x_t at any level of noise: it takes the log-SNRs (B,) or (1,) too, as one more channel. Its
    buffers say what it sees in the images that it was trained on: mean (F,) and covariance (F, F) of the features, and
    the share of each class among its answers. Refused for images below 8 x 8, and sizes beyond what a file may have.
    """

    SCALE = 10.0  # of the channel of log-SNRs
    MOST = 1024  # channels of an image, its rows and columns, and the width
    MOST_CLASSES = Config.BOUNDS["classes"][1]

    mean: Tensor
    covariance: Tensor
    share: Tensor
    card: dict[str, Any]  # of one that was loaded; else empty

    def __init__(self, shape: Sequence[int], classes: int, width: int, noisy: bool = False) -> None:
        super().__init__()
        self.card = {}
        channels, *sides = self.shape = tuple(shape)
        if min(sides) < 8:
            raise Refused(f"a classifier needs images of at least 8 x 8, got {self.shape}")
        if not 1 <= classes <= self.MOST_CLASSES:
            raise Refused(f"a classifier knows 1 to {self.MOST_CLASSES:,} classes, got {classes:,}")
        if not all(1 <= size <= self.MOST for size in (*self.shape, width)):
            raise Refused(f"sizes of a classifier are in 1..{self.MOST}, got images {self.shape} and width {width}")
        self.width, self.noisy = width, noisy
        widths = [2 * width, 4 * width, 8 * width]
        self.stem = Convolution(channels + noisy, width)
        self.widen = nn.ModuleList(Convolution(n // 2, n, pool=True) for n in widths)
        self.residual = nn.ModuleList(nn.Sequential(Convolution(n, n), Convolution(n, n)) for n in widths)
        self.head = nn.Linear(8 * width, classes)
        self.register_buffer("mean", torch.zeros(8 * width))
        self.register_buffer("covariance", torch.zeros(8 * width, 8 * width))
        self.register_buffer("share", torch.zeros(classes))

    def initialise(self, noise: torch.Generator) -> None:
        """Draw the first weights (He et al. 2015), all of them from `noise`; the head starts at zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=noise)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for value in (*self.head.parameters(), self.mean, self.covariance, self.share):
            nn.init.zeros_(value)

    def features(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        """Images (B, *shape) -> (B, 8 width): the last activations, averaged over places."""
        if self.noisy != (level is not None):
            raise Refused("a classifier of noisy images needs their log-SNR, and no other takes one")
        if level is not None:
            channel = (level / self.SCALE).to(x).view(-1, 1, 1, 1).expand(len(x), 1, *x.shape[2:])
            x = torch.cat([x, channel], 1)
        x = self.stem(x)
        for widen, residual in zip(self.widen, self.residual, strict=True):
            x = widen(x)
            x = x + residual(x)
        return x.mean((2, 3))

    def forward(self, x: Tensor, level: Tensor | None = None) -> Tensor:
        return self.head(self.features(x, level))
