"""Isotropic Gaussians over batches of anything: points (B, 2) or images (B, 3, 32, 32).

Every conditional law of a diffusion process, given x_0, is an isotropic Gaussian N(mean, var I) with one variance per
item of the batch. `Gaussian` is that law: q(x_t | x_0), q(x_t | x_s) and q(x_s | x_t, x_0) are all returned as one.
A variance of zero is allowed and means a point mass: `at` then returns the mean exactly.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import Refused

__all__ = ["Gaussian", "floats", "like"]


def floats(x: Any) -> Tensor:
    """x, a tensor or NumPy's, as a tensor of floating-point numbers, whole ones in float64. Refused for other kinds."""
    try:
        x = x if isinstance(x, Tensor) else torch.as_tensor(np.asarray(x, order="C"))
    except (TypeError, ValueError, RuntimeError):
        raise Refused(f"wanted an array of numbers, got {type(x).__name__}") from None
    return x if x.is_floating_point() else x.double()


def like(v: Tensor, x: Tensor) -> Tensor:
    """v (B,) as (B, 1, ..., 1) with the dtype, device and number of axes of x (B, *D)."""
    return v.to(x).reshape(-1, *[1] * (x.ndim - 1))


class Gaussian(NamedTuple):
    """N(mean, var I): mean (B, *D), var (B, 1, ..., 1), var >= 0."""

    mean: Tensor
    var: Tensor

    def at(self, eps: Tensor) -> Tensor:
        """mean + sqrt(var) eps: the draw that the standard normal noise eps (B, *D) stands for."""
        return self.mean + self.var.sqrt() * eps

    def log_prob(self, x: Tensor) -> Tensor:
        """log N(x; mean, var I) in nats, (B,). The law needs a density: var > 0."""
        n = x[0].numel()
        squared = (x - self.mean).square().flatten(1).sum(1)
        var = self.var.flatten()
        return -0.5 * (squared / var + n * (math.log(2 * math.pi) + var.log()))
