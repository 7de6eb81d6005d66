"""The posterior of images, from the training set and from a denoiser."""

import math

import numpy as np
import pytest
import torch

from ddgan.data.images import from_uint8
from ddgan.diffusion.denoiser import Denoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.schedule import Schedule
from ddgan.explorer.image_posterior import effective_number, log_weights, moments, redraws

SHAPES = [(1, 6, 6), (3, 8, 8)]


def some(N, shape):
    return np.random.default_rng(0).integers(0, 256, (N, *shape), dtype=np.uint8)


def noised(images, k, t, schedule):
    eps = torch.randn(1, *images.shape[1:], generator=torch.Generator().manual_seed(1))
    return schedule.marginal(from_uint8(images[k : k + 1]), t).at(eps)[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_the_weights_are_those_of_the_finite_law(shape, t):
    images, schedule = some(700, shape), Schedule.named("cosine", 4)
    images[1:] = images[1:] // 8 + images[0] // 8 * 7  # close enough together to be confused
    x_t = noised(images, 5, t, schedule)
    found = log_weights(images, x_t, schedule.level(t))
    exact = Law.uniform(from_uint8(images), 0).denoised(x_t[None].double(), schedule.level(t))
    assert torch.allclose(found, exact.log_w[0], atol=2e-3, rtol=1e-4)
    mean, std = moments(images, found)
    w = exact.log_w[0].exp()
    x = from_uint8(images).double()
    assert torch.allclose(mean.double(), torch.tensordot(w, x, 1), atol=1e-3)
    variance = torch.tensordot(w, x.square(), 1) - torch.tensordot(w, x, 1).square()
    assert torch.allclose(std.double() ** 2, variance, atol=1e-3)


def test_pure_noise_may_be_any_image_and_nearly_clean_data_only_one():
    images = some(300, (1, 6, 6))
    early, late = Schedule.vp(4, 0.1, 50.0), Schedule.vp(128)
    assert effective_number(log_weights(images, noised(images, 7, 4, early), early.level(4))) == pytest.approx(
        300, rel=0.01
    )
    log_w = log_weights(images, noised(images, 7, 1, late), late.level(1))
    assert effective_number(log_w) == pytest.approx(1) and int(log_w.argmax()) == 7


def test_the_effective_number_of_equal_weights_is_how_many_they_are():
    assert effective_number(torch.tensor([0.25, 0.25, 0.25, 0.25, 0]).log()) == pytest.approx(4)
    assert effective_number(torch.tensor([0.9, 0.1]).log()) == pytest.approx(
        math.exp(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    )


class Shifted(Denoiser):
    """x_0 = x_t + z, so that a redraw can be told from another."""

    latent_dim = 36

    def forward(self, x_t, level, z):
        return x_t + z.reshape(x_t.shape)


def test_redraws_differ_in_z_alone_and_a_denoiser_without_z_has_one():
    schedule, x_t = Schedule.vp(4), torch.zeros(1, 6, 6)
    few, many = (redraws(schedule, Shifted(), x_t, 2, K) for K in (3, 5))
    assert torch.equal(few, many[:3]) and not torch.equal(many[0], many[1])
    law = Law.uniform(from_uint8(some(10, (1, 6, 6))), 0)
    assert redraws(schedule, MeanDenoiser(law), x_t, 2, 5).shape == (1, 1, 6, 6)


class Level(Denoiser):
    """x_0 is the level that it is asked at."""

    def forward(self, x_t, level, z):
        return level[:, None, None, None].expand(x_t.shape)


def test_redraws_are_made_at_the_level_of_t():
    schedule = Schedule.vp(4)
    assert redraws(schedule, Level(), torch.zeros(1, 2, 2), 2, 5).flatten().tolist() == pytest.approx(
        [float(schedule.level(2))] * 4
    )
