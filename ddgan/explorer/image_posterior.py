"""What could this x_t have been, for images? What the training set says, and what a denoiser draws.

If q(x_0) is uniform over N images, the exact posterior is a list of N weights,

    q(x_0 = image_k | x_t)  is proportional to  exp(-|x_t - a_t image_k|^2 / (2 sigma_t^2)),

that of `Law.uniform(images, 0).denoised`, here for sets that do not fit in memory as floats. The exponential of its
entropy is the effective number of candidates: N for pure noise, 1 once x_t can have come from one image alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ..data.images import from_uint8
from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import Draws, seeds
from ..diffusion.schedule import Schedule, alpha_sigma
from .priority import while_wanted

__all__ = ["effective_number", "log_weights", "moments", "redraws"]

CHUNK = 512  # images that are floats at a time
CLEAN = 20.0  # the log-SNR of what counts as clean: noise of 5e-5
TINY = 1e-9  # of all weight: what is less likely does not move a mean


def log_weights(images: np.ndarray, x_t: Tensor, level: Tensor) -> Tensor:
    """log q(x_0 = image_k | x_t) for uint8 images (N, C, H, W), in float64.

    (N,) of one x_t (C, H, W) at a level (1,), or (B, N) of many (B, C, H, W) at levels (B,) or (1,). An x_t of level
    +inf is x_0: the nearest image has all weight.
    """
    if x_t.ndim < images.ndim:
        return log_weights(images, x_t[None], level)[0]
    a, sigma = (v[:, None] for v in alpha_sigma(level.clamp(max=CLEAN)))
    x, parts = x_t.flatten(1).double(), []
    for part in while_wanted(torch.from_numpy(images).flatten(1).split(CHUNK)):
        y = part.double().div_(127.5).sub_(1)
        parts.append(a * (x @ y.T) - a.square() / 2 * y.square().sum(1))  # without |x_t|^2, which all images share
    return torch.cat(parts, 1).div_(sigma.square()).log_softmax(1)


def effective_number(log_w: Tensor) -> float:
    """exp(entropy) of the weights: how many equally likely images would be as uncertain."""
    return math.exp(-torch.where(log_w.exp() > 0, log_w * log_w.exp(), 0).sum())


def moments(images: np.ndarray, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, pixel by pixel, of images under their weights: (C, H, W) each."""
    likely = (log_w.exp() > TINY).numpy()
    w, chosen = log_w.exp()[likely].float(), images[likely]
    mean, square = torch.zeros(2, *images.shape[1:])
    for k in range(0, len(chosen), CHUNK):
        x = from_uint8(chosen[k : k + CHUNK])
        mean += torch.tensordot(w[k : k + CHUNK], x, 1)
        square += torch.tensordot(w[k : k + CHUNK], x.square(), 1)
    mean, square = mean / w.sum(), square / w.sum()
    return mean, (square - mean.square()).clamp(min=0).sqrt()


@torch.no_grad()
def redraws(schedule: Schedule, denoiser: Denoiser, x_t: Tensor, t: int, K: int, seed: int = 0) -> Tensor:
    """K predictions of x_0 (K, *D) from one x_t (*D), each with a z of its own; a single one where there is no z.

    Another `seed`, other z.
    """
    denoiser.check(schedule)
    K = K if denoiser.latent_dim else 1
    z = Draws.from_seeds(seeds(seed, K), x_t.shape, 1, denoiser.latent_dim).z[0]
    x_t, z = (v.to(denoiser.device) for v in (x_t.expand(K, *x_t.shape), z))
    return denoiser(x_t, schedule.level(t, x_t), z).cpu()
