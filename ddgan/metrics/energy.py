"""The energy distance: how far samples are from a law, by their places and shares at once.

    D(p, q) = 2 E|x - y| - E|x - x'| - E|y - y'|,    x, x' ~ p and y, y' ~ q independent

is above zero unless p = q, in the units of the data (Szekely, Rizzo 2013). An average over pairs of different samples
estimates it without bias, so of equal laws it is zero on average, below zero about as often as above.

On a line a sample of n is held against a Gaussian mixture in n log n operations: E|x - x'| by sorting, E|v - y| by a
table of v. A length is the mean of its projections, |v| = c E|theta . v| over directions theta, so that in more
dimensions the same is done along fixed directions. In the plane they are evenly spread: there 32 of them give each
length to .05 %.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.gaussian import floats
from ..diffusion.mixture import Law
from ..errors import Refused, wanted

__all__ = ["energy", "energy_distance", "floor_energy"]

DIRECTIONS = 32
NODES = 1024  # of a table, at least; as many more as keep them a quarter of the least standard deviation apart
MOST_NODES = 2**15  # of a table, whatever the law: in the plane they take 8 MB
FLOOR = 0.95  # the share of exact samplings that score less than the floor
KNOWN, TERMS, SAMPLINGS = 500, 100, 10_000  # draws, eigenvalues and samplings that the floor is found with


def energy_distance(x: Tensor | np.ndarray, y: Tensor | np.ndarray) -> float:
    """D between the laws of two samples (N, *D) and (M, *D), from all pairs: N M numbers; nan where one is single."""
    x, y = floats(x), floats(y)
    if x.ndim < 2 or x.shape[1:] != y.shape[1:]:
        raise Refused(f"samples (N, *D) and (M, *D) must be of one shape D, got {tuple(x.shape)} and {tuple(y.shape)}")
    x, y = x.flatten(1).double(), y.flatten(1).double()  # in float32 equal points have a distance
    between, in_x, in_y = torch.cdist(x, y).mean(), *(torch.cdist(v, v).sum() / (len(v) * (len(v) - 1)) for v in (x, y))
    return float(2 * between - in_x - in_y)


def energy(x: Tensor | np.ndarray, law: Law) -> float:
    """D between the law of samples x (N, *D) and a law; nan for a single sample, or where not all are finite. Refused
    for samples of another shape. Between two samples it is `energy_distance`.

    The directions of a plane make it up to 3 % too small far above its floor, and up to 5e-6 near it. In more than two
    dimensions it is the mean over DIRECTIONS fixed directions: as zero for equal laws, but off D itself by a third and
    more. `floor_energy` is then of the same mean.
    """
    wanted(Law, 'toy("25-gaussians")', law)
    x = law.points(x).detach()
    if len(x) < 2 or not x.isfinite().all():
        return math.nan
    along, n = _along(law), len(x)
    v = np.sort((along.directions.T @ (x.flatten(1).double().cpu() - along.centre).T).numpy())  # (directions, N)
    inside = v.clip(along.nodes[0], along.nodes[-1])
    between = np.abs(v - inside).mean(1)  # beyond the nodes E|v - y| goes on with slope 1
    between += [np.interp(places, along.nodes, table).mean() for places, table in zip(inside, along.table, strict=True)]
    in_x = v @ (2 * np.arange(n) - n + 1) * 2 / (n * (n - 1))
    return float(along.factor * (2 * between - in_x - along.within).mean())


def floor_energy(law: Law, n: int) -> float:
    """What 95 % of exact samplings of n score less than: a distance below the floor may be chance."""
    return _chance(law) / n


@lru_cache(maxsize=32)
def _chance(law: Law) -> float:
    """The FLOOR quantile of n D over exact samplings of n, the same for every n but the smallest.

    n D is distributed as the sum of lambda_i (z_i^2 - 1), z_i standard normal, with lambda_i the eigenvalues of
    -|x - x'| centred under the law. Those of a matrix of KNOWN draws give the quantile to 4 %, one standard error
    (Gretton et al. 2009).
    """
    noise = torch.Generator().manual_seed(4)
    x = law.sample(KNOWN, noise).flatten(1).double()
    lengths = torch.cdist(x, x)
    if x.shape[1] > 2:
        along = _along(law)
        projected = (x @ along.directions).T[..., None]  # (directions, KNOWN, 1)
        lengths = along.factor * torch.cdist(projected, projected).mean(0)
    lengths -= lengths.mean(0)
    lengths -= lengths.mean(1, keepdim=True)
    largest = torch.linalg.eigvalsh(-lengths)[-TERMS:] / KNOWN
    squares = torch.randn(SAMPLINGS, TERMS, generator=noise, dtype=torch.float64).square()
    return float(((squares - 1) @ largest).quantile(FLOOR))


class _Along(NamedTuple):
    """A law along `directions` (D, k): E|v - y| at v = `nodes`, the `table` (k, nodes), and E|y - y'|, `within` (k,).

    The factor is c. Places are counted from the law's mean, the centre (D,): far from 0 the nodes would be too few.
    """

    centre: Tensor
    directions: Tensor
    factor: float
    nodes: np.ndarray
    table: np.ndarray
    within: np.ndarray


@lru_cache(maxsize=16)
def _along(law: Law) -> _Along:
    """The table is linear between nodes: that of a law on the nodes, whose masses are half the changes of slope."""
    D = law.mu[0].numel()
    directions = _directions(D)
    factor = math.sqrt(math.pi) * math.exp(math.lgamma((D + 1) / 2) - math.lgamma(D / 2))
    mu = (law.centred.mu.flatten(1) @ directions).T.numpy()
    reach = np.abs(mu).max() + 6 * math.sqrt(law.var.max()) + 1e-6
    n = _count(reach, float(law.var.min().sqrt()))
    nodes, step = np.linspace(-reach, reach, n, retstep=True)
    table = _table((mu + reach) / step, law.log_w.exp().numpy(), law.var.sqrt().numpy() / step, n) * step
    ends = np.ones((len(mu), 1))
    masses = np.diff(np.hstack([-ends, np.diff(table) / step, ends])) / 2
    return _Along(law.mean().flatten(), directions, factor, nodes, table, (masses * table).sum(1))


def _count(reach: float, std: float) -> int:
    """How many nodes from -reach to reach suit modes as narrow as std: a power of two.

    Further apart they would give exact samples of a law with heavy tails a distance above zero.
    """
    wanted = 1 + 8 * reach / std if std else MOST_NODES
    return min(MOST_NODES, max(NODES, 2 ** math.ceil(math.log2(wanted))))


def _table(mu: np.ndarray, w: np.ndarray, std: np.ndarray, n: int) -> np.ndarray:
    """E|v - y| at nodes v = 0, ..., n - 1, of k laws with means mu (k, K) and shared weights and std (K,): (k, n).

    For each std it is the weights, moved to the nodes on either side, convolved with E|gap + std z|.
    """
    gap = np.minimum(np.arange(2 * n), 2 * n - np.arange(2 * n))  # of nodes on a circle: none comes round
    table = np.zeros((len(mu), n))
    for one in np.unique(std):
        of = std == one
        at_nodes = np.stack([_moved(places[of], w[of], n) for places in mu])
        spectrum = np.fft.rfft(at_nodes, 2 * n) * np.fft.rfft(_length(gap, one))
        table += np.fft.irfft(spectrum)[:, :n]
    return table


def _directions(D: int) -> Tensor:
    """Unit vectors (D, k): the one of a line, evenly spread ones of a plane, else fixed random ones."""
    if D == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if D == 2:
        angle = (torch.arange(DIRECTIONS, dtype=torch.float64) + 0.5) / DIRECTIONS * math.pi
        return torch.stack([angle.cos(), angle.sin()])
    theta = torch.randn(D, DIRECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return theta / theta.norm(dim=0)


def _moved(places: np.ndarray, w: np.ndarray, n: int) -> np.ndarray:
    """Weights w at places among n nodes, split between the two nodes around each: (n,)."""
    left = places.astype(int)
    right = places - left
    return np.bincount(np.concatenate([left, left + 1]), np.concatenate([w * (1 - right), w * right]), n)


def _length(gap: np.ndarray, std: float) -> np.ndarray:
    """E|gap + std z|, z standard normal."""
    if not std:
        return np.abs(gap)
    z = torch.from_numpy(gap / std)
    return std * (z * torch.erf(z / math.sqrt(2)) + math.sqrt(2 / math.pi) * torch.exp(-z.square() / 2)).numpy()
