"""When is the class of an image decided? p(class | x_t), of a training set exactly and of what a denoiser draws.

If q(x_0) is uniform over N labelled images, the weights of their posterior (image_posterior.py), summed by label, are

    p(class | x_t) = sum over the images i of that class of softmax_i(-|x_t - a_t x_i|^2 / (2 sigma_t^2)).

That is exact for the set and not for the world: where little noise is left, the nearest image takes all the weight,
even for an x_t that was made from no image of the set. A denoiser's class posterior is what a classifier sees in its
redraws of x_0 from the same x_t; one without z has a single redraw, its mean.

Where does it fall? Along the largest principal direction of the data, of variance v, signal and noise are equally
strong at a_t^2 v = sigma_t^2: the level of speciation (Biroli et al. 2024, "Dynamical regimes of diffusion models").

How fast does it fall? H(class | x_t), the mean entropy of the class posterior over x_t of the set, falls with the noise
from the entropy of the labels to 0, as x_t of more noise is x_s of less noise with noise added. A step from x_t to x_s
decides H(class | x_t) - H(class | x_s) nats.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..data.images import from_uint8, to_uint8
from ..diffusion.denoiser import Denoiser
from ..diffusion.sampler import Draws, sample, seeds
from ..diffusion.schedule import Schedule, alpha_sigma
from ..diffusion.solver import ANCESTRAL, Solver
from ..metrics.images import observe
from ..models.classifier import Classifier
from .image_posterior import log_weights

__all__ = [
    "DECIDED", "by_label", "class_posterior", "classified", "decided", "decisions", "entropy", "entropy_curve", "kl",
    "largest_variance", "reliability", "speciation", "u_turns",
]  # fmt: skip

DECIDED = 0.9  # the probability of its likeliest class from which on an image is decided
CHUNK = 1024  # images that are floats at a time


def by_label(log_w: Tensor, labels: Tensor, classes: int) -> Tensor:
    """log p(class) (..., classes) of log weights (..., N) of images with these labels (N,)."""
    parts = [log_w[..., labels == k] for k in range(classes)]
    none = log_w.new_full(log_w.shape[:-1], -math.inf)
    return torch.stack([part.logsumexp(-1) if part.shape[-1] else none for part in parts], -1)


def class_posterior(images: np.ndarray, labels: np.ndarray, classes: int, x_t: Tensor, level: Tensor) -> Tensor:
    """p(class | x_t) (B, classes), exact for labelled uint8 images, of x_t (B, C, H, W) at levels (B,) or (1,)."""
    return by_label(log_weights(images, x_t, level), torch.from_numpy(labels), classes).exp()


def classified(classifier: Classifier, x_0: Tensor) -> Tensor:
    """p(class) (classes,) that a classifier sees in images (K, C, H, W) in [-1, 1]: the mean of its probabilities."""
    return observe(classifier, to_uint8(x_0))[1].double().softmax(1).mean(0)


def entropy(p: Tensor) -> Tensor:
    """The entropy in nats of probabilities (..., classes)."""
    return torch.special.entr(p).sum(-1).clamp(min=0)


def entropy_curve(
    images: np.ndarray, labels: np.ndarray, classes: int, levels: Tensor, n: int, seed: int = 0
) -> Tensor:
    """H(class | x_t) in nats (L,) of labelled uint8 images at log-SNRs (L,): the mean over n x_t, each term exact.

    The x_t are made of n of the images, by the same noise at every level.
    """
    chosen = np.random.default_rng(seed).choice(len(images), n, replace=n > len(images))
    x_0 = from_uint8(images[chosen]).double()
    eps = Draws.from_seeds(seeds(seed, n), x_0.shape[1:], 1, 0).x_T
    found = []
    for level in levels.split(1):
        a, sigma = alpha_sigma(level)
        found.append(entropy(class_posterior(images, labels, classes, a * x_0 + sigma * eps, level)).mean())
    return torch.stack(found)


def decisions(curve: Tensor, levels: Tensor) -> Tensor:
    """How many nats each step decides, (F - 1,), for states at rising log-SNRs (F,) and an entropy `curve` (L, 2).

    Between the points of the curve a line is drawn, beyond them its ends hold; at +inf, x_0, nothing is open.
    """
    states = levels.numpy()
    at = np.interp(states, *curve.T.numpy())
    return -torch.from_numpy(np.where(np.isinf(states), 0, at)).diff()


def kl(p: Tensor, q: Tensor, mixed: float = 0.01) -> Tensor:
    """KL(p || q) in nats, of probabilities (..., classes), where q has a share `mixed` of equal shares in it.

    Without that, one class that a few draws miss would cost infinitely much.
    """
    q = (1 - mixed) * q + mixed / q.shape[-1]
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def reliability(p: Tensor, label: Tensor, bins: int = 10) -> Tensor:
    """(bins, 3): probabilities p (B, classes) sorted into `bins` equal parts of [0, 1].

    A row has how many there are, their sum, and how many are of the true class, label (B,). Where p is as sure as it
    should be, the last two are equal on average.
    """
    right = one_hot(label, p.shape[1]).double()
    place = (p * bins).long().clamp(max=bins - 1).flatten()
    found = torch.zeros(bins, 3, dtype=torch.float64)
    return found.index_add(0, place, torch.stack([torch.ones_like(right), p.double(), right], -1).flatten(0, 1))


def decided(p: Tensor) -> tuple[int, int] | None:
    """(the first state, the class) from which on one class has DECIDED or more in all of p (F, classes), else None."""
    last = int(p[-1].argmax())
    undecided = (p[:, last] < DECIDED).nonzero().flatten()
    first = int(undecided[-1]) + 1 if len(undecided) else 0
    return (first, last) if first < len(p) else None


def largest_variance(images: np.ndarray) -> float:
    """The variance of uint8 images (N, C, H, W), taken in [-1, 1], along their largest principal direction."""
    pixels = torch.from_numpy(images).flatten(1)
    n = pixels.shape[1]
    total, outer = torch.zeros(n, dtype=torch.float64), torch.zeros(n, n, dtype=torch.float64)
    for part in pixels.split(CHUNK):
        x = part.double() / 127.5 - 1
        total += x.sum(0)
        outer += x.T @ x
    mean = total / len(pixels)
    return float(torch.linalg.eigvalsh(outer / len(pixels) - torch.outer(mean, mean))[-1])


def speciation(variance: float) -> float:
    """The log-SNR at which noise is as strong as signal along a direction of this variance: a^2 variance = sigma^2."""
    return -math.log(variance)


@torch.no_grad()
def u_turns(
    schedule: Schedule, denoiser: Denoiser, x_0: Tensor, t: int, K: int, seed: int = 0, solver: Solver = ANCESTRAL
) -> Tensor:
    """Noise each image (B, C, H, W) to x_t K times, by noise of its own, and denoise it again: (B, K, C, H, W)."""
    draws = Draws.from_seeds(seeds(seed, len(x_0) * K), x_0.shape[1:], schedule.T, denoiser.latent_dim)
    x_t = schedule.marginal(x_0.repeat_interleave(K, 0), t).at(draws.x_T)
    *_, last = sample(schedule, denoiser, draws._replace(x_T=x_t), t, solver)
    return last.x_s.float().cpu().reshape(len(x_0), K, *x_0.shape[1:])
