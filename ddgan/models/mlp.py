"""Networks for vectors: data of shape (n,), up to a few dozen coordinates, of about unit variance.

Pairs of a generator and a discriminator, and two networks that have no opponent.

plain    the paper's for 25 Gaussians: an MLP from (x_t, z, level) to x_0, and one from (x_s, x_t, levels) to a logit.
skip     the generator starts from the exact posterior draw of standard normal data,
             y = a_t x_t + sigma_t z   (a draw of x_0 given x_t if x_0 ~ N(0, I)),      G = y + MLP(y, x_t, z, level),
         so it begins spread over all modes and only has to bend that law; both networks see Fourier features.
         Without a latent y is the posterior mean a_t x_t.
v        the same pair, the MLP in units of sigma_t, the spread of that draw: G = y + sigma_t MLP. Without a latent it
         is the regression denoiser, whose MLP learns -v, v = a_t eps - sigma_t x_0 (Salimans & Ho 2022).
eps, plain-eps   skip and plain, the generator's output taken for the noise in x_t instead of for x_0: what the paper
         tried and left; without a latent, DDPM's network.
flow     x_0 as a function of x_t, for the consistency objective: v without a latent, with Fourier features of x_t.
mixture  a mixture of Gaussians for x_0 given x_t, for the mixture objective.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pad

from ..diffusion.denoiser import Denoiser
from ..diffusion.gaussian import like
from ..diffusion.mixture import Mixture, quasi_random
from ..diffusion.schedule import alpha_sigma
from ..errors import Refused

__all__ = [
    "EpsGenerator",
    "FlowGenerator",
    "MixtureDenoiser",
    "PlainDiscriminator",
    "PlainEpsGenerator",
    "PlainGenerator",
    "SkipDiscriminator",
    "SkipGenerator",
    "VGenerator",
]

LEVEL_FEATURES = 3


def level_features(level: Tensor) -> Tensor:
    """A bounded embedding of log-SNR levels (B,), (B, 3): log noise, log signal, and whether there is no noise."""
    alpha_bar, variance = torch.sigmoid(level), torch.sigmoid(-level)
    return torch.stack([(variance + 1e-4).log() / 4, (alpha_bar + 1e-3).log() / 3, (variance == 0).to(level)], 1)


def with_fourier(x: Tensor, octaves: int) -> Tensor:
    """[x, sin(1.5 2^i x), cos(1.5 2^i x)], i < octaves, along each axis: (B, n) -> (B, n (1 + 2 octaves))."""
    angles = (1.5 * 2.0 ** torch.arange(octaves, device=x.device, dtype=x.dtype)[:, None] * x[:, None]).flatten(1)
    return torch.cat([x, angles.sin(), angles.cos()], 1)


class MLP(nn.Module):
    """`depth` hidden layers of `width` LeakyReLU(.2) units; the last layer starts small, its bias at zero."""

    def __init__(self, inputs: int, outputs: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [inputs, *[width] * depth, outputs]
        layers = [nn.Linear(i, o) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
        with torch.no_grad():
            layers[-1].weight.mul_(0.1)
            layers[-1].bias.zero_()
        self.layers = nn.ModuleList(layers)

    def begin(self, at: Tensor) -> None:
        """Let the outputs begin about here, (outputs,)."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.bias.copy_(at)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = leaky_relu(layer(x), 0.2)
        return self.layers[-1](x)


class PlainGenerator(Denoiser):
    """x_0 = MLP(x_t, z, level)."""

    def __init__(self, n: int, latent_dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.net = MLP(n + latent_dim + LEVEL_FEATURES, n, width, depth)

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.net(torch.cat([x_t, z, level_features(level)], 1))


class SkipGenerator(Denoiser):
    """x_0 = y + MLP(y, Fourier(y), x_t, z, level), y = a_t x_t + sigma_t z; z is padded with zeros to n numbers."""

    OCTAVES = 5

    def __init__(self, n: int, latent_dim: int, width: int, depth: int) -> None:
        super().__init__()
        if latent_dim not in (0, n):
            raise Refused(f"the skip generator's latent has 0 or {n} numbers, as the data, got {latent_dim}")
        self.latent_dim = latent_dim
        self.net = MLP(n * (3 + 2 * self.OCTAVES) + LEVEL_FEATURES, n, width, depth)

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        y, change = self._drawn(x_t, level, z)
        return y + change

    def _drawn(self, x_t: Tensor, level: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """y, and the MLP's output."""
        a, sigma = (like(v, x_t) for v in alpha_sigma(level))
        z = pad(z, (0, x_t.shape[1] - z.shape[1]))
        y = a * x_t + sigma * z
        return y, self.net(torch.cat([with_fourier(y, self.OCTAVES), x_t, z, level_features(level)], 1))


class VGenerator(SkipGenerator):
    """x_0 = y + sigma_t MLP(y, Fourier(y), x_t, z, level): the MLP's output is of one size at every level."""

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        y, change = self._drawn(x_t, level, z)
        return y + like(self.output_scale(level), x_t) * change

    def output_scale(self, level: Tensor) -> Tensor:
        """sigma_t."""
        return alpha_sigma(level)[1]


class _OfNoise(Denoiser):
    """Mixed into a generator: x_0 = (x_t - sigma_t eps) / a_t, eps its output. At high noise 1 / a_t is large."""

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        a, sigma = (like(v, x_t) for v in alpha_sigma(level))
        return (x_t - sigma * super().forward(x_t, level, z)) / a

    def output_scale(self, level: Tensor) -> Tensor:
        """sigma_t / a_t."""
        a, sigma = alpha_sigma(level)
        return sigma / a


class EpsGenerator(_OfNoise, SkipGenerator):
    """Predicts the noise in x_t as SkipGenerator does x_0."""


class PlainEpsGenerator(_OfNoise, PlainGenerator):
    """eps = MLP(x_t, z, level)."""


class FlowGenerator(Denoiser):
    """x_0 = a_t x_t + sigma_t MLP(a_t x_t, Fourier(x_t), level), without a latent: for a map that jumps in x_t.

    Fourier features are of x_t itself, since a_t x_t is hardly more than zero where there is much noise.
    """

    OCTAVES = 5

    def __init__(self, n: int, latent_dim: int, width: int, depth: int) -> None:
        super().__init__()
        if latent_dim:
            raise Refused(f"the flow network has no latent: latent_dim must be 0, got {latent_dim}")
        self.net = MLP(n * (2 + 2 * self.OCTAVES) + LEVEL_FEATURES, n, width, depth)

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        a, sigma = (like(v, x_t) for v in alpha_sigma(level))
        return a * x_t + sigma * self.net(
            torch.cat([a * x_t, with_fourier(x_t, self.OCTAVES), level_features(level)], 1)
        )


class MixtureDenoiser(Denoiser):
    """x_0 ~ p(x_0 | x_t), a mixture of K Gaussians whose parameters an MLP gives (mixture density network).

    The MLP sees x_t, Fourier features of a_t x_t and the level. Its outputs are log-weights, times 1 / (sigma_t + .1),
    centres mu_k and bounded log-deviations of components as x_0 has them before x_t is seen; x_t makes of
    N(mu_k, S_k I), as Bayes' rule does,

        N((1 - a_t^2 g) mu_k + a_t g x_t, sigma_t^2 g I),    g = S_k / (a_t^2 S_k + sigma_t^2)

    so that what the MLP has to say is of one size at every level. z[:, 0] picks the component, z[:, 1:] the point.
    Training begins with components spread as if x_0 were N(0, I). Source: Bishop, "Mixture Density Networks", 1994.
    """

    K = 32
    OCTAVES = 5
    LOG_STD = (-6.0, 0.5)  # the bounds of log S_k^(1/2)
    FIRST_STD = 0.4
    SOFT = 0.1  # the noise below which weights sharpen no more by themselves

    def __init__(self, n: int, latent_dim: int, width: int, depth: int) -> None:
        super().__init__()
        if latent_dim != 1 + n:
            raise Refused(f"the mixture network's latent has {1 + n} numbers, one more than the data, got {latent_dim}")
        self.latent_dim = latent_dim
        self.net = MLP(n * (2 + 2 * self.OCTAVES) + LEVEL_FEATURES, self.K * (2 + n), width, depth)
        low, high = self.LOG_STD
        std = (math.log(self.FIRST_STD) - low) / (high - low)  # before the sigmoid: log(std / (1 - std))
        mu = math.sqrt(1 - self.FIRST_STD**2) * quasi_random(self.K, n)[1]
        one = mu.new_ones(self.K, 1)
        self.net.begin(torch.cat([0 * one, math.log(std / (1 - std)) * one, mu], 1).flatten())

    def law(self, x_t: Tensor, level: Tensor) -> Mixture:
        """p(x_0 | x_t) for x_t (B, n) at levels (B,)."""
        a, sigma = (like(v, x_t) for v in alpha_sigma(level))  # (B, 1)
        features = [x_t, with_fourier(a * x_t, self.OCTAVES), level_features(level)]
        given = self.net(torch.cat(features, 1)).unflatten(1, (self.K, -1))
        low, high = self.LOG_STD
        S = (2 * (low + (high - low) * given[..., 1].sigmoid())).exp()
        g = S / (a**2 * S + sigma**2)
        log_w = (given[..., 0] / (sigma + self.SOFT)).log_softmax(1)
        return Mixture(log_w, given[..., 2:], 1 - a**2 * g, a * g, x_t, sigma**2 * g)

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.law(x_t, level).at(torch.special.ndtr(z[:, 0]), z[:, 1:])


class PlainDiscriminator(nn.Module):
    """(x_s (M B, n), x_t (B, n), level_s (B,), level_t (B,)) -> logits (M B,): is x_s what x_t came from?

    M batches of x_s, one after the other, share one condition, which is computed once and added at the first layer.
    """

    shares_condition = True
    OCTAVES = (0, 0)  # Fourier features of x_s and of x_t

    def __init__(self, n: int, width: int, depth: int) -> None:
        super().__init__()
        of_x_s, of_x_t = (n * (1 + 2 * octaves) for octaves in self.OCTAVES)
        self.condition = nn.Linear(of_x_t + 2 * LEVEL_FEATURES, width, bias=False)
        self.first = nn.Linear(of_x_s, width)
        self.net = MLP(width, 1, width, depth - 1)

    def forward(self, x_s: Tensor, x_t: Tensor, level_s: Tensor, level_t: Tensor) -> Tensor:
        (of_x_s, of_x_t) = (with_fourier(x, k) for x, k in zip((x_s, x_t), self.OCTAVES, strict=True))
        condition = self.condition(torch.cat([of_x_t, level_features(level_s), level_features(level_t)], 1))
        first = self.first(of_x_s).unflatten(0, (-1, len(x_t))) + condition
        return self.net(leaky_relu(first.flatten(0, 1), 0.2))[:, 0]


class SkipDiscriminator(PlainDiscriminator):
    """The same with Fourier features: five octaves of x_s, two of x_t."""

    OCTAVES = (5, 2)
