import math

import pytest
import torch
from torch.distributions import Independent, Normal

from ddgan.diffusion.gaussian import Gaussian, like

SHAPES = pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])


def random(shape: tuple[int, ...], seed: int, B: int = 4) -> Gaussian:
    noise = torch.Generator().manual_seed(seed)
    mean = torch.randn(B, *shape, generator=noise, dtype=torch.float64)
    return Gaussian(mean, like(0.1 + torch.rand(B, generator=noise), mean))


def reference(law: Gaussian) -> Independent:
    return Independent(Normal(law.mean, law.var.sqrt().expand_as(law.mean)), law.mean.ndim - 1)


@SHAPES
def test_like_gives_one_number_per_item_in_the_dtype_of_the_data(shape):
    x = torch.zeros(4, *shape, dtype=torch.float64)
    v = like(torch.arange(4), x)
    assert v.shape == (4, *[1] * len(shape)) and v.dtype == x.dtype
    assert torch.equal(v.flatten(), torch.arange(4.0, dtype=torch.float64))


@SHAPES
def test_log_prob_is_the_density_of_independent_normals(shape):
    law, x = random(shape, 0), random(shape, 1).mean
    torch.testing.assert_close(law.log_prob(x), reference(law).log_prob(x))


def test_draws_have_the_mean_and_the_variance_of_the_law():
    n = 100_000
    mean, var = torch.full((n, 2), 3.0), torch.full((n, 1), 0.25)
    x = Gaussian(mean, var).at(torch.randn(n, 2, generator=torch.Generator().manual_seed(0)))
    assert (x.mean(0) - 3).abs().max() < 4 * 0.5 / math.sqrt(n)
    assert (x.var(0) - 0.25).abs().max() < 4 * 0.25 * math.sqrt(2 / n)


@SHAPES
def test_zero_variance_is_a_point_mass_at_the_mean(shape):
    mean = random(shape, 0).mean
    assert torch.equal(Gaussian(mean, like(torch.zeros(4), mean)).at(torch.full_like(mean, 1e3)), mean)
