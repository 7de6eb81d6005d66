"""How close samples are to a law: does every mode get its share, and is what lies between the modes empty?

All metrics take samples x (N, *D), tensors or NumPy's, and a law with a density or, for the distance, a second set of
samples. Refused where the samples have another shape than the law, or the law has modes without width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.gaussian import floats
from ..diffusion.mixture import Law
from ..errors import Refused, wanted
from .energy import energy, floor_energy

__all__ = [
    "Coverage", "coverage", "evaluate", "floor_sliced_w2", "mode_distance", "score", "slices", "sliced_w2", "width",
]  # fmt: skip

REACH = 4.0  # a sample is on a mode within this many standard deviations of a component
PAIRS = 8  # of samples whose distance is a floor
COVERED = 0.1  # a mode is covered from this fraction of its due share of all samples


class Coverage(NamedTuple):
    """modes: how many of the law's modes are covered · on_mode: share of samples on any · kl: histogram, in nats."""

    modes: int
    on_mode: float
    kl: float


def coverage(x: Tensor | np.ndarray, law: Law) -> Coverage:
    """Which modes of the law the samples x (N, *D) reach, of up to three coordinates: with ten a tenth of exact samples
    lie further from a mode than this looks.

    A sample is on a mode if it lies within 4 standard deviations of the nearest of its components. A mode is covered
    if it gets at least a tenth of its share. kl is KL(mode histogram of the samples on a mode || the law's), infinite
    if no sample is; of m samples that are exact it is about (modes - 1) / 2m. None of the three sees the `width` of a
    mode.
    """
    return _coverage(*_nearest(x, law), law)


def _coverage(nearest: Tensor, mode: Tensor, law: Law) -> Coverage:
    on = nearest <= REACH
    due = law.mode_weights()
    counts = torch.bincount(mode[on], minlength=law.modes).double()
    share = counts / counts.sum()
    kl = max(0.0, float(torch.xlogy(share, share / due).sum())) if on.any() else float("inf")  # rounding is no gain
    covered = (counts > 0) & (counts >= COVERED * due * len(on))
    return Coverage(int(covered.sum()), float(on.double().mean()), kl)


def width(x: Tensor | np.ndarray, law: Law) -> float:
    """How wide samples x (N, *D) make the modes: 1 as wide as the law's, .5 half as wide, nan without one on a mode.

    The root mean square of the distance from the nearest component, in its standard deviations, of the samples on a
    mode, over that of exact samples.
    """
    return _spread(_nearest(x, law)[0]) / _own_spread(law)


def _spread(nearest: Tensor) -> float:
    return float(nearest[nearest <= REACH].square().mean().sqrt())


@lru_cache(maxsize=32)
def _own_spread(law: Law) -> float:
    """Of 10,000 exact samples: one standard error is half a per cent on a plane; these make widths 1 % too small."""
    return _spread(_nearest(law.sample(10_000, torch.Generator().manual_seed(3)), law)[0])


def slices(x: Tensor, directions: int = 64) -> np.ndarray:
    """Samples (N, *D) along fixed random directions, sorted: (directions, N). NumPy sorts several times faster."""
    x = x.flatten(1)
    theta = torch.randn(x.shape[1], directions, generator=torch.Generator().manual_seed(0)).to(x)
    return np.sort(((theta / theta.norm(dim=0)).T @ x.T).numpy(force=True))


def sliced_w2(x: Tensor | np.ndarray, y: Tensor | np.ndarray, directions: int = 64) -> float:
    """The sliced 2-Wasserstein distance between two samples (N, *D) of the same size.

    sqrt of the mean over fixed random directions of the squared 1-D distance of the sorted projections (Bonneel et
    al. 2015).
    """
    x, y = floats(x), floats(y)
    if x.ndim < 2 or x.shape != y.shape:
        raise Refused(f"both samples, (N, *D), must have one shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    return _apart(slices(x, directions), slices(y, directions))


def _apart(x: np.ndarray, y: np.ndarray) -> float:
    """`sliced_w2` of samples that are given as their slices."""
    return float(np.sqrt(np.mean((x - y) ** 2)))


@lru_cache(maxsize=32)
def floor_sliced_w2(law: Law, n: int) -> float:
    """What a perfect model scores on average: the mean sliced_w2 over PAIRS independent pairs of n samples of the law.

    A mean, since a single pair may be off by half: with n = 10,000 the standard deviation of one is up to .5 of it.
    """
    noise = torch.Generator().manual_seed(2)
    return sum(sliced_w2(law.sample(n, noise), law.sample(n, noise)) for _ in range(PAIRS)) / PAIRS


def mode_distance(x: Tensor | np.ndarray, law: Law) -> float:
    """Total variation between the mode weights of a law and those of samples x (N, *D), 0..1.

    A sample counts for every mode as probable as the law makes it, so overlapping modes bring no bias.
    """
    return float((law.shares(x) - law.mode_weights()).abs().sum() / 2)


def _nearest(x: Tensor | np.ndarray, law: Law) -> tuple[Tensor, Tensor]:
    """(distance to the nearest component in its standard deviations, the mode it belongs to), each (N,)."""
    wanted(Law, 'toy("25-gaussians")', law)
    if not law.var.all():
        raise Refused("what is near a mode is counted by its width: this law has points without width")
    mu, std, x = law.mu.flatten(1), law.var.sqrt(), law.points(x).detach().double().flatten(1)
    parts = [(torch.cdist(part, mu) / std).min(1) for part in x.split(law.at_once)]
    distance, component = (torch.cat(found) for found in zip(*parts, strict=True))
    return distance, law.mode_of(component)


def score(x: Tensor, law: Law, reference: Tensor | np.ndarray) -> dict[str, float]:
    """All numbers that a panel shows of samples x (N, *D), against a law and a sample of it of the same size.

    The latter may be given as its slices.
    """
    nearest, mode = _nearest(x, law)
    sliced = slices(reference) if isinstance(reference, Tensor) else reference
    cover = _coverage(nearest, mode, law)
    return {
        "modes": cover.modes,
        "of_modes": law.modes,
        "on_mode": cover.on_mode,
        "kl": cover.kl,
        "width": _spread(nearest) / _own_spread(law),
        "sliced_w2": _apart(slices(x), sliced),
        "energy": energy(x, law),
        "floor_energy": floor_energy(law, len(x)),
    }


def evaluate(law: Law, n: int, sampled: Callable[[int], Tensor], samplings: int = 1) -> dict[str, float]:
    """`score` over several samplings, sampled(i) (n, *D), i = 0, 1, ..., each against another sample of the law.

    It has the worst modes, on_mode and kl, and the mean width, sliced_w2 and energy. Compare sliced_w2 with
    floor_sliced_w2, a mean as well. floor_energy is for one sampling: the mean of several exact ones is below it more
    often.
    """
    scored = [score(sampled(i), law, law.sample(n, torch.Generator().manual_seed(1 + i))) for i in range(samplings)]
    return {
        "modes": min(found["modes"] for found in scored),
        "of_modes": law.modes,
        "on_mode": min(found["on_mode"] for found in scored),
        "kl": max(found["kl"] for found in scored),
        **{name: sum(found[name] for found in scored) / samplings for name in ("width", "sliced_w2", "energy")},
        "floor_sliced_w2": floor_sliced_w2(law, n),
        "floor_energy": floor_energy(law, n),
        "samplings": samplings,
    }
