"""Where a point goes in one step on average, E[x_s | x_t] - x_t, as a field over the plane of x_t.

For the exact law it is the mean of q(x_s | x_t) minus x_t, in closed form. The best Gaussian has the same mean at every
x_t, so the two fields are one: they differ in what they draw around it. For any other denoiser it is a mean over DRAWS
of z. The noise eps of the step has mean 0. A multistep solver is asked as at its first step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion.sampler import Draws
from .request import Request
from .scene import standing
from .session import Session

__all__ = ["DRAWS", "FieldQuestion", "mean_step"]

DRAWS = 64  # of z, the same at every place: what chance does to the arrows it does to all alike
SAME_MEAN = ("exact", "gaussian")  # models whose mean over z is the conditional mean itself


@dataclass(frozen=True)
class FieldQuestion:
    """The field of the step from t, of every denoiser of a request."""

    request: Request
    t: int


@torch.no_grad()
def mean_step(session: Session, request: Request, name: str, t: int, x: Tensor) -> Tensor:
    """E[x_s | x_t] - x_t at x_t = x (N, *D) in the step of a denoiser that leaves x_t; Refused where it refuses."""
    walked = request.walked(name)
    t = standing([t], request.T, walked.T)[t]
    schedule, method, model = session.schedule(walked), session.method(request, name), session.able(walked, name)
    if method.model in SAME_MEAN:
        model = session.denoiser(request.data, "mean")
    n = DRAWS if model.latent_dim else 1
    z = Draws.from_seeds(range(n), x.shape[1:], 1, model.latent_dim).z[0]
    x_t = x.repeat_interleave(n, 0)
    step = method.solver.step(schedule, model, x_t, t - 1, t, z=z.repeat(len(x), 1), eps=torch.zeros_like(x_t))
    return step.x_s.reshape(len(x), n, *x.shape[1:]).mean(1) - x
