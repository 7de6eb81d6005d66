"""Networks for images (C, H, W): the paper's U-Net generator and its discriminator, which mirror each other.

UNet          x_0 = tanh(U(x_t; level, z)). NCSN++ (Song et al. 2021) with BigGAN residual blocks, a residual pyramid of
              the input, FIR resampling, and attention at the second resolution and in the bottleneck. The latent vector
              z passes a mapping network and sets scale and shift of every group norm; the level adds a bias to every
              channel. Without a latent it is the regression denoiser.
DrawUNet      The latent is as large as the data and is turned into a draw y of x_0 given x_t *if the data were Gaussian*
              with the mean and covariance of the training set; the U-Net gets y beside x_t. It so begins from something
              of the right colours and layout, and z says which.
Discriminator (x_s, x_t; levels) -> logit: residual blocks that halve the image, minibatch standard deviation, a sum.

`patch` = 2 folds 2 x 2 pixels into channels at the entrance and unfolds them at the exit: four times cheaper. At
width 128, depth 2, multipliers (1, 2, 2, 2) and patch 1 these are the networks of the paper, 48,432,515 and 12,741,633
parameters: levels, which stand here where the paper has an index, are embedded by as many numbers.
Source: Xiao et al. 2022, appendix C; AdaGN: Dhariwal, Nichol 2021; minibatch std: Karras et al. 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..denoiser import Denoiser
from ..schedule import Schedule, alpha_sigma

__all__ = ["Attention", "Block", "Discriminator", "DrawUNet", "IndexedUNet", "Pyramid", "UNet", "blur", "shrink", "stretch"]

SQRT2 = math.sqrt(2)
TINY = 1e-5  # the gain of layers that end a branch of a generator: every block begins as the identity, the network at zero
CLEAN = 12.0  # log-SNRs are embedded within +-CLEAN; clean data stands at the end
RANK = 512  # principal directions that a DrawUNet keeps; the rest of the variance is spread evenly
GROUP = 4  # minibatch std compares the items of a batch in fours


# ---------------------------------------------------------------- layers


def conv(inputs: int, outputs: int, size: int = 3, gain: float = 1.0) -> nn.Conv2d:
    """A convolution that keeps the size of its input."""
    layer = nn.Conv2d(inputs, outputs, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def blur(x: Tensor) -> Tensor:
    """Each channel convolved with [1, 2, 1] / 4 along both axes, zeros outside.

    A convolution is what CPUs are fast at; its double backward goes through the channels one by one, which a GPU waits for.
    """
    return means_of_pairs(x) if x.is_cuda else convolved(x)


def convolved(x: Tensor) -> Tensor:
    """`blur` as it is defined."""
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    return F.conv2d(x, torch.outer(line, line).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def means_of_pairs(x: Tensor) -> Tensor:
    """`blur` as [1, 1] / 2 twice."""
    return F.avg_pool2d(F.avg_pool2d(x, 2, stride=1, padding=1), 2, stride=1)


def shrink(x: Tensor) -> Tensor:
    """Half the size after the FIR filter [1, 3, 3, 1] / 8, which is [1, 2, 1] / 4 followed by the mean of pairs."""
    return F.avg_pool2d(blur(x), 2)


def stretch(x: Tensor) -> Tensor:
    """Twice the size by the same filter: every pixel twice, then [1, 2, 1] / 4."""
    return blur(F.interpolate(x, scale_factor=2, mode="nearest"))


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
        """Whether torch's kernel takes one number at a time: bfloat16, maps below 32 x 32, groups narrower than a vector."""
        small = x[0, 0].numel() < 1024 and x.shape[1] < 16 * self.groups
        return small and x.dtype == torch.bfloat16 and x.device.type == "cpu"

    def _folded(self, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x without its mean as bfloat16 has it, and the scale and shift (B, C) that take care of the rest and the deviation."""
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
        q, k, v = self.qkv(self.norm(x)).flatten(2).mT[:, None].chunk(3, 3)  # (B, 1, H W, C): four axes have a fast kernel
        h = F.scaled_dot_product_attention(q, k, v)[:, 0].mT.unflatten(2, x.shape[2:])
        return (x + self.out(h)) / SQRT2


# ---------------------------------------------------------------- generators


class UNet(Denoiser):
    """x_0 = tanh(U(x_t; level, z)), images in [-1, 1]; see the top of the module. ValueError for sizes that do not fit."""

    CHANNELS_PER_GROUP = 4

    def __init__(
        self, shape: Sequence[int], latent_dim: int, width: int, depth: int, multipliers: Sequence[int], patch: int
    ) -> None:
        super().__init__()
        C, *sides = shape
        _fits(shape, width, patch, len(multipliers) - 1)
        self.latent_dim, self.patch = latent_dim, patch
        style = self._vector(latent_dim, 2 * width)
        sort = {"level": 4 * width, "style": style, "group": self.CHANNELS_PER_GROUP}
        self.level = nn.Sequential(dense(width, 4 * width), nn.SiLU(), dense(4 * width, 4 * width))
        inputs = self._inputs(C) * patch**2
        self.first = conv(inputs, width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, now, pyramid = [width], width, inputs
        for i, m in enumerate(multipliers):
            stage = nn.ModuleDict({"blocks": nn.ModuleList(), "attention": nn.ModuleList()})
            for _ in range(depth):
                stage["blocks"].append(Block(now, m * width, **sort))
                stage["attention"].append(Attention(m * width, self.CHANNELS_PER_GROUP) if i == 1 else nn.Identity())
                skips.append(now := m * width)
            if i + 1 < len(multipliers):
                stage["shrink"], stage["pyramid"] = Block(now, now, resample=shrink, **sort), Pyramid(pyramid, now)
                skips.append(pyramid := now)
            self.down.append(stage)
        self.middle = nn.ModuleList([Block(now, now, **sort), Attention(now, self.CHANNELS_PER_GROUP), Block(now, now, **sort)])
        for i, m in reversed(list(enumerate(multipliers))):
            stage = nn.ModuleDict({"blocks": nn.ModuleList()})
            for _ in range(depth + 1):
                stage["blocks"].append(Block(now + skips.pop(), m * width, **sort))
                now = m * width
            stage["attention"] = Attention(now, self.CHANNELS_PER_GROUP) if i == 1 else nn.Identity()
            if i:
                stage["stretch"] = Block(now, now, resample=stretch, **sort)
            self.up.append(stage)
        self.norm = Norm(now, 0, self.CHANNELS_PER_GROUP)
        self.last = conv(now, C, gain=TINY) if patch == 1 else _Unfold(now, self._inputs(C), C, patch)

    def _vector(self, latent_dim: int, width: int) -> int:
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

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        dtype = self.first.weight.dtype  # as its weights are: bfloat16 where that is fast
        embedded = F.silu(self.level(sinusoid(self._position(level), self.level[0].in_features).to(dtype)))
        style = self._style(z.to(dtype))
        full = self._input(x_t, level, z).to(dtype, memory_format=torch.channels_last)
        pyramid = F.pixel_unshuffle(full, self.patch)
        x = self.first(pyramid)
        skips = [x]
        for stage in self.down:
            for block, attention in zip(stage["blocks"], stage["attention"], strict=True):
                skips.append(x := attention(block(x, embedded, style)))
            if "shrink" in stage:
                pyramid = (stage["pyramid"](pyramid) + stage["shrink"](x, embedded, style)) / SQRT2
                skips.append(x := pyramid)
        before, attention, after = self.middle
        x = after(attention(before(x, embedded, style)), embedded, style)
        for stage in self.up:
            for block in stage["blocks"]:
                x = block(torch.cat([x, skips.pop()], 1), embedded, style)
            x = stage["attention"](x)
            if "stretch" in stage:
                x = stage["stretch"](x, embedded, style)
        x = F.silu(self.norm(x))
        return torch.tanh(self.last(x) if self.patch == 1 else self.last(x, full)).to(x_t.dtype)


class Pyramid(nn.Module):
    """The input at half the size in other channels: the FIR filter and a strided 3 x 3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        # [1, 3, 3, 1] is [1, 1] after [1, 2, 1]; the padding of 2 keeps what the filter spreads beyond the border
        x = F.avg_pool2d(blur(F.pad(x, (2, 2, 2, 2))), 2, stride=1)[:, :, 1:-1, 1:-1]
        return F.conv2d(x, self.conv.weight, self.conv.bias, stride=2)


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


class DrawUNet(UNet):
    """x_0 = tanh(U(x_t, y; level)), y ~ q(x_0 | x_t) if x_0 ~ N(mean, covariance) of the training set; z makes the draw.

    Along a principal direction of variance v, y = mean + g (x_t - a mean) + s z with g = a v / (a^2 v + sigma^2) and
    s^2 = v sigma^2 / (a^2 v + sigma^2). Until `fit` the Gaussian is N(0, I). Without a latent y is its posterior mean.
    """

    CHANNELS_PER_GROUP = 16  # on CPUs fewer are several times slower

    def __init__(self, shape: Sequence[int], latent_dim: int, width: int, depth: int, multipliers: Sequence[int], patch: int) -> None:
        n = math.prod(shape)
        if latent_dim not in (0, n):
            raise ValueError(f"the latent of this network has 0 or {n} numbers, as the data, got {latent_dim}")
        super().__init__(shape, latent_dim, width, depth, multipliers, patch)
        rank = min(n, RANK)
        for name, value in {
            "mean": torch.zeros(n), "basis": torch.zeros(rank, n), "variance": torch.ones(rank), "rest": torch.ones(1)
        }.items():  # fmt: skip
            self.register_buffer(name, value)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and covariance from images x (N, C, H, W) in [-1, 1]; of few large ones by the N x N matrix of products."""
        x = x.flatten(1)
        (N, n), rank = x.shape, min(len(x), len(self.variance))
        self.mean.copy_(x.mean(0))
        centred = x - self.mean
        products = centred.T @ centred if n <= N else centred @ centred.T
        variance, vectors = torch.linalg.eigh((products / N).double())  # rising
        variance, basis = variance.clamp(min=0), vectors[:, -rank:].T
        if n > N:
            basis = F.normalize(basis.to(centred) @ centred)
        self.variance[-rank:], self.basis[-rank:] = variance[-rank:], basis
        self.rest.fill_(variance[:-rank].sum() / max(n - rank, 1))

    def _vector(self, latent_dim: int, width: int) -> int:
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
                y = y + along(z, *((v / (a**2 * v + sigma**2)).sqrt() * sigma for v in variances))
        return torch.cat([x_t, y.reshape(x_t.shape)], 1)


class IndexedUNet(UNet):
    """A UNet that knows its level as an index, 0 for the cleanest of T = 4: what the official CIFAR-10 checkpoint is."""

    def _position(self, level: Tensor) -> Tensor:
        known = Schedule.vp(4).level(torch.arange(1, 5)).to(level)
        return (level[:, None] - known).abs().argmin(1)


def _fits(shape: Sequence[int], width: int, patch: int, halvings: int) -> None:
    """ValueError where images of this shape cannot be halved so often (-1: no resolution), or the width is no multiple of 16."""
    if len(shape) != 3:
        raise ValueError(f"a network of images needs data of shape (C, H, W), got {tuple(shape)}")
    if width % 16:
        raise ValueError(f"the width of a network of images must be a multiple of 16, got {width}")
    if halvings < 0:
        raise ValueError("a network of images needs a multiplier of its width for one resolution at least")
    if any(side % (patch * 2**halvings) for side in shape[1:]):
        raise ValueError(f"images of {shape[1]} x {shape[2]} cannot be folded by {patch} and halved {halvings} times")


# ---------------------------------------------------------------- discriminator


class Discriminator(nn.Module):
    """(x_s (M B, C, H, W), x_t (B, C, H, W), level_s (B,), level_t (B,)) -> logits (M B,).

    M batches of x_s share one condition. An item's logit depends on the others of its four, through their standard
    deviation, and never on those of another batch: real and fake stay apart.
    """

    STAGES = (1, 2, 4, 4)

    def __init__(self, shape: Sequence[int], width: int, patch: int) -> None:
        super().__init__()
        _fits(shape, width, patch, 0)
        self.patch = patch
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

    def forward(self, x_s: Tensor, x_t: Tensor, level_s: Tensor, level_t: Tensor) -> Tensor:
        M, half = len(x_s) // len(x_t), self.level[0].in_features // 2
        embedded = torch.cat([sinusoid(position(level), half) for level in (level_s, level_t)], 1)
        embedded = F.leaky_relu(self.level(embedded), 0.2).repeat(M, 1)
        x = self.first(F.pixel_unshuffle(torch.cat([x_s, x_t.repeat(M, 1, 1, 1)], 1), self.patch))
        for block in self.blocks:
            x = block(x, embedded)
        x = F.leaky_relu(self.final(torch.cat([x, _spread(x, math.gcd(len(x_t), GROUP))], 1)), 0.2)
        return self.logit(x.sum((2, 3)))[:, 0].float()


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
        return (self.skip(x) + self.conv_1(h)) / SQRT2


def _spread(x: Tensor, size: int) -> Tensor:
    """The standard deviation within each group of `size` items, averaged over all coordinates: (B, 1, H, W)."""
    groups = x.float().unflatten(0, (-1, size))
    # by hand: torch's own var has a slow double backward
    variance = (groups - groups.mean(1, keepdim=True)).square().mean(1)
    std = (variance + 1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(size)
    return std[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)
