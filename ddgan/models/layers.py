"""Layers of networks for images: convolutions, FIR resampling, group norms with a style, residual blocks, attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import Refused

__all__ = [
    "Attention",
    "Block",
    "Norm",
    "SQRT2",
    "TINY",
    "along",
    "channels_last",
    "conv",
    "dense",
    "fir",
    "fits",
    "label_or_any",
    "position",
    "shrink",
    "sinusoid",
    "stretch",
]

Network = TypeVar("Network", bound=nn.Module)

SQRT2 = math.sqrt(2)
TINY = 1e-5  # gain of the layers that end a generator's branches: blocks begin as the identity, the network at zero
CLEAN = 12.0  # log-SNRs are embedded within +-CLEAN; clean data stands at the end
SMALL = 64  # pixels of a map that is resampled by one product of matrices
FEW = 64  # pixels that attend to each other by plain products of matrices on a CPU


def conv(inputs: int, outputs: int, size: int = 3, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size of its input."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None  # as Conv2d has one unless told otherwise
    nn.init.zeros_(layer.bias)
    return layer


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def channels_last(network: Network) -> Network:
    """The same network in the memory format that convolutions are fast in, on CPUs with AMX and on GPUs."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network


def fir(n: int, x: Tensor) -> Tensor:
    """The FIR filter as a matrix (n + 1, n) of x's kind: row i is [1, 3, 3, 1] / 8 at i - 2 ... i + 1, cut off."""
    matrix = x.new_zeros(n + 1, n)
    for offset, weight in zip(range(-2, 2), (1, 3, 3, 1), strict=True):
        matrix.diagonal(offset).fill_(weight / 8)
    return matrix


def along(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows X columns^T for each channel X of x (B, C, H, W), in channels last.

    Products of matrices: one for a small map, else one along each axis. Their derivatives of any order are such
    products again; the second derivative of a convolution of each channel by itself goes through them one by one.
    """
    (B, C, H, W), to = x.shape, (len(rows), len(columns))
    x = x.permute(0, 2, 3, 1)
    if H * W <= SMALL:
        x = torch.bmm(torch.kron(rows, columns).expand(B, -1, -1), x.reshape(B, H * W, C))
    else:
        x = torch.bmm(rows.expand(B, -1, -1), x.reshape(B, H, W * C))
        x = torch.bmm(columns.expand(B * len(rows), -1, -1), x.reshape(-1, W, C))
    return x.reshape(B, *to, C).permute(0, 3, 1, 2)


def shrink(x: Tensor) -> Tensor:
    """Half the size by the FIR filter [1, 3, 3, 1] / 8; of 7 pixels 3."""
    return along(x, *(fir(n, x)[1:n:2] for n in x.shape[2:]))


def stretch(x: Tensor) -> Tensor:
    """Twice the size by the same filter, between whose pixels zeros are put."""
    return along(x, *(2 * fir(2 * n, x)[1::2].mT for n in x.shape[2:]))


def sinusoid(position: Tensor, width: int) -> Tensor:
    """[sin, cos] of position (B,) times width/2 frequencies from 1 down to 1e-4, (B, width)."""
    frequency = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=position.device) / (width // 2 - 1))
    angle = position.float()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], 1)


def position(level: Tensor) -> Tensor:
    """A log-SNR level (B,) as a number in 0..1000, for `sinusoid`: 0 for clean data."""
    return (CLEAN - level.clamp(-CLEAN, CLEAN)) * (1000 / (2 * CLEAN))


class Norm(nn.Module):
    """Group norm whose scale and shift are set by a style (B, style), or learned where style = 0."""

    def __init__(self, channels: int, style: int, group: int) -> None:
        super().__init__()
        self.groups = next(n for n in range(max(1, min(32, channels // group)), 0, -1) if channels % n == 0)
        self.style = None
        if style:
            self.style = dense(style, 2 * channels)
            with torch.no_grad():
                self.style.bias[:channels] = 1
        else:
            self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        scale, shift = (self.weight, self.bias) if self.style is None else self.style(style).chunk(2, 1)
        if self._is_slow(x):
            x, scale, shift = self._folded(x, scale, shift)
        elif self.style is None:
            return F.group_norm(x, self.groups, scale, shift, 1e-6)
        else:
            x = F.group_norm(x, self.groups, eps=1e-6).to(x.dtype)
        scale, shift = (v[:, :, None, None].to(x.dtype) for v in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def _is_slow(self, x: Tensor) -> bool:
        """Whether torch's kernel takes one number at a time: bfloat16, maps below 32 x 32, narrow groups."""
        small = x[0, 0].numel() < 1024 and x.shape[1] < 16 * self.groups
        return small and x.dtype == torch.bfloat16 and x.device.type == "cpu"

    def _folded(self, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x without its mean as bfloat16 has it; scale and shift (B, C), which see to the rest and to the deviation."""
        flat = x.permute(0, 2, 3, 1).flatten(1, 2).float()  # (B, H W, C)
        mean, square, scale, shift = (
            v.unflatten(-1, (self.groups, -1)) for v in (flat.mean(1), flat.square().mean(1), scale, shift)
        )
        mean, square = mean.mean(2, keepdim=True), square.mean(2, keepdim=True)
        scale = scale * (square - mean.square() + 1e-6).rsqrt()
        rough = mean.to(x.dtype)  # scale x would round x away where the mean is large
        x = x - rough.expand_as(scale).flatten(1)[:, :, None, None]
        return x, scale.flatten(1), (shift + scale * (rough - mean)).flatten(1)


class Block(nn.Module):
    """BigGAN's residual block, (x + f(x)) / sqrt 2; `resample` acts on both branches."""

    def __init__(
        self, inputs: int, outputs: int, *, level: int, style: int, group: int,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.resample = resample
        self.norm_0, self.conv_0 = Norm(inputs, style, group), conv(inputs, outputs)
        self.level = dense(level, outputs)
        self.norm_1, self.conv_1 = Norm(outputs, style, group), conv(outputs, outputs, gain=TINY)
        self.skip = conv(inputs, outputs, size=1) if inputs != outputs or resample else nn.Identity()

    def forward(self, x: Tensor, level: Tensor, style: Tensor | None) -> Tensor:
        h = F.silu(self.norm_0(x, style))
        if self.resample:
            h, x = self.resample(h), self.resample(x)
        h = self.conv_0(h) + self.level(level)[:, :, None, None]
        h = self.conv_1(F.silu(self.norm_1(h, style)))
        return (self.skip(x) + h) / SQRT2


class Attention(nn.Module):
    """Self-attention with one head over all pixels, (x + f(x)) / sqrt 2."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.norm = Norm(channels, 0, group)
        self.qkv, self.out = conv(channels, 3 * channels, size=1), conv(channels, channels, size=1, gain=TINY)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).mT.chunk(3, 2)  # (B, H W, C)
        h = attend(q, k, v).mT.unflatten(2, x.shape[2:])
        return (x + self.out(h)) / SQRT2


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt C) v of (B, N, C). On CPUs torch's own kernel is several times slower for few pixels."""
    if q.is_cuda or q.shape[1] > FEW:
        return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]  # four axes have a fast kernel
    return torch.softmax(q @ k.mT / math.sqrt(q.shape[2]), 2).to(v.dtype) @ v


def label_or_any(label: Tensor | None, classes: int, x_t: Tensor) -> Tensor:
    """The labels (B,) of x_t (B, ...); none of them means any class."""
    return torch.full((len(x_t),), classes, device=x_t.device) if label is None else label


def fits(shape: Sequence[int], width: int, patch: int, halvings: int) -> None:
    """Refused where such images cannot be halved so often (-1: no resolution), or the width is no multiple of 16."""
    if len(shape) != 3:
        raise Refused(f"a network of images needs data of shape (C, H, W), got {tuple(shape)}")
    if width % 16:
        raise Refused(f"the width of a network of images must be a multiple of 16, got {width}")
    if halvings < 0:
        raise Refused("a network of images needs a multiplier of its width for one resolution at least")
    if any(side % (unit := patch * 2**halvings) for side in shape[1:]):
        near = max(min(shape[1:]) // unit, 1) * unit
        fitting = f"sides must be multiples of {unit}, like {near} or {near + unit}"
        raise Refused(f"images of {shape[1]} x {shape[2]} do not fit: {fitting}")
