"""The class of an image given x_t: of a finite set exactly, and of denoisers by redraws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ddgan.data.images import from_uint8
from ddgan.diffusion.denoiser import MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, seeds
from ddgan.diffusion.schedule import Schedule
from ddgan.explorer.class_posterior import (
    by_label,
    class_posterior,
    classified,
    decided,
    decisions,
    entropy,
    entropy_curve,
    kl,
    largest_variance,
    reliability,
    speciation,
    u_turns,
)
from ddgan.explorer.image_posterior import log_weights
from ddgan.metrics.images import too_sure

RANDOM = np.random.default_rng(0)
SHAPE = (1, 8, 8)


def some(N, classes=4):
    """Images close enough together to be confused, and their labels."""
    first, *others = RANDOM.integers(0, 256, (N, *SHAPE), dtype=np.uint8)
    images = np.stack([first, *(first // 8 * 7 + other // 8 for other in others)])
    return images, RANDOM.integers(0, classes, N)


def noised(x_0, t, schedule):
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(1))
    return schedule.marginal(x_0, t).at(eps)


@pytest.mark.parametrize("N", [5, 600, 1300])
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_the_exact_class_posterior_is_the_sum_over_the_images_of_each_label(N, t):
    (images, labels), schedule = some(N), Schedule.vp(4)
    x_t, level = noised(from_uint8(images[:3]), t, schedule).double(), schedule.level(t)
    p = class_posterior(images, labels, 4, x_t, level)
    a, sigma = schedule.alpha_bar[t].sqrt(), (1 - schedule.alpha_bar[t]).sqrt()
    x = torch.from_numpy(images).double() / 127.5 - 1
    for j in range(3):
        squared = (x_t[j] - a * x).square().flatten(1).sum(1)
        w = (-(squared - squared.min()) / (2 * sigma**2)).exp()
        brute = torch.stack([w[labels == k].sum() for k in range(4)]) / w.sum()
        assert torch.allclose(p[j], brute, atol=1e-12)
    assert torch.allclose(p.sum(1), torch.ones(3).double(), atol=1e-12)
    law = Law.uniform(from_uint8(images), 0).denoised(x_t, level)
    assert torch.allclose(log_weights(images, x_t, level), law.log_w, atol=1e-4, rtol=1e-6)


def test_states_of_one_way_have_a_level_each_and_x_0_has_one_class():
    (images, labels), schedule = some(300), Schedule.vp(4)
    x_0 = from_uint8(images[7:8])
    x, t = torch.cat([*(noised(x_0, t, schedule) for t in (4, 2)), x_0]), torch.tensor([4, 2, 0])
    p = class_posterior(images, labels, 4, x, schedule.level(t))
    for k in range(3):
        alone = class_posterior(images, labels, 4, x[k : k + 1], schedule.level(int(t[k])))
        assert torch.allclose(p[k], alone[0], atol=1e-12)
    assert p[2, labels[7]] == 1 and p[2].sum() == 1, "one class at x_0"
    assert torch.allclose(p[0], torch.bincount(torch.from_numpy(labels)) / torch.tensor(300.0).double(), atol=0.02), (
        "their shares in noise"
    )


def test_the_order_of_the_images_is_nothing_and_a_class_without_images_has_no_weight():
    (images, labels), schedule = some(200), Schedule.vp(4)
    x_t, level, order = noised(from_uint8(images[:1]), 3, schedule), schedule.level(3), RANDOM.permutation(200)
    p, shuffled = (class_posterior(*of, 6, x_t, level) for of in ((images, labels), (images[order], labels[order])))
    assert torch.allclose(p, shuffled, atol=1e-12) and not p[0, 4:].any()
    assert by_label(torch.zeros(3, 2), torch.tensor([0, 0]), 2)[:, 1].tolist() == [-math.inf] * 3


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda v: sum(v) > 0.1))
def test_entropy_lies_between_one_class_and_equal_shares_and_kl_is_not_negative(values):
    p = torch.tensor(values, dtype=torch.float64)
    p = p / p.sum()
    assert 0 <= entropy(p) <= math.log(len(values)) + 1e-12
    assert kl(p, p, mixed=0).abs() < 1e-12
    equal = torch.full_like(p, 1 / len(values))
    assert kl(p, equal) == pytest.approx(math.log(len(values)) - float(entropy(p)), abs=1e-9) and kl(equal, p) > -1e-12


def test_labels_drawn_from_the_probabilities_come_as_often_as_they_say_and_a_sharper_p_is_too_sure():
    noise = torch.Generator().manual_seed(0)
    p = torch.randn(20_000, 4, generator=noise).double().mul(1.5).softmax(1)
    label = torch.multinomial(p, 1, generator=noise)[:, 0]
    n, said, right = reliability(p, label).T
    assert n.sum() == 80_000 and said.sum() == pytest.approx(20_000) and right.sum() == 20_000
    assert ((said - right).abs() < 4 * (said * (1 - said / n)).sqrt() + 1).all(), "four standard errors"
    assert abs(too_sure(p, label)) < 4 * 0.5 / 20_000**0.5
    sharp = p.square() / p.square().sum(1, keepdim=True)
    assert too_sure(sharp, label) > 0.05
    n, said, right = reliability(sharp, label).T
    assert said[-1] > right[-1] + 4 * n[-1].sqrt(), "sure of more than comes"


def test_every_probability_is_counted_in_its_part_of_the_scale():
    p, label = torch.tensor([[0.0, 1.0], [0.25, 0.75]]), torch.tensor([1, 0])
    found = reliability(p, label, bins=4)
    assert found.tolist() == [[1, 0, 0], [1, 0.25, 1], [0, 0, 0], [2, 1.75, 1]]


def test_a_class_that_draws_miss_costs_what_the_mixed_share_says():
    one, other = torch.eye(2, dtype=torch.float64)
    assert float(kl(one, other)) == pytest.approx(math.log(200)) and kl(one, other, mixed=0) == math.inf


@pytest.mark.parametrize(
    ("p", "found"),
    [
        ([[0.5, 0.5], [0.95, 0.05], [1, 0]], (1, 0)),
        ([[0.95, 0.05], [0.5, 0.5], [1, 0]], (2, 0)),
        ([[0.05, 0.95], [0.95, 0.05], [1, 0]], (1, 0)),
        ([[0.5, 0.5], [0.6, 0.4]], None),
        ([[1, 0], [1, 0]], (0, 0)),
    ],
)
def test_a_class_is_decided_from_where_it_stays(p, found):
    assert decided(torch.tensor(p)) == found


def test_the_level_of_speciation_is_where_the_largest_direction_equals_the_noise():
    direction = RANDOM.normal(size=SHAPE)
    direction /= np.linalg.norm(direction)
    x = 1.5 * RANDOM.choice([-1, 1], 4000)[:, None, None, None] * direction
    images = ((x + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    variance = largest_variance(images)
    assert variance == pytest.approx(1.5**2, rel=0.02)
    level = torch.tensor([speciation(variance)])
    assert float(level.sigmoid() * variance / (-level).sigmoid()) == pytest.approx(1)


def test_the_entropy_curve_is_that_of_the_weights_of_the_set_and_falls_from_the_labels_to_nothing():
    (images, labels), levels = some(300), torch.tensor([-12.0, -4.0, 0.0, 9.0], dtype=torch.float64)
    found = entropy_curve(images, labels, 4, levels, 40, seed=3)
    chosen = np.random.default_rng(3).choice(300, 40, replace=False)
    x = torch.from_numpy(images).double().flatten(1) / 127.5 - 1
    eps = Draws.from_seeds(seeds(3, 40), SHAPE, 1, 0).x_T.flatten(1).double()
    for level, h in zip(levels, found, strict=True):
        a, sigma = level.sigmoid().sqrt(), (-level).sigmoid().sqrt()
        w = (-torch.cdist(a * x[chosen] + sigma * eps, a * x).square() / (2 * sigma**2)).softmax(1)
        p = torch.stack([w[:, labels == k].sum(1) for k in range(4)], 1)
        assert h == pytest.approx(float(-torch.xlogy(p, p).sum(1).mean()), abs=1e-6)
    shares = torch.bincount(torch.from_numpy(labels)) / 300
    assert found[0] == pytest.approx(float(entropy(shares)), abs=0.01) and found[-1] < 1e-6
    assert (found.diff() < 1e-3).all(), "less noise leaves no more open"


@given(st.lists(st.floats(-11, 8), min_size=1, max_size=8, unique=True))
def test_the_steps_of_a_schedule_decide_together_all_that_is_open_at_its_noise(levels):
    curve = torch.tensor([[-10, 2.3], [-4, 2.0], [0, 0.2], [5, 0.0]], dtype=torch.float64)
    states = torch.tensor([*sorted(levels), math.inf], dtype=torch.float64)
    nats = decisions(curve, states)
    assert len(nats) == len(levels) and (nats > -1e-12).all()
    assert float(nats.sum()) == pytest.approx(np.interp(min(levels), *curve.T.numpy()))
    assert decisions(curve, torch.tensor([-10.0, -4, math.inf])).tolist() == pytest.approx([0.3, 2.0])


# ---------------------------------------------------------------- denoisers


class ByBrightness(nn.Module):
    """A classifier of two classes: logits of how bright an image is."""

    def __init__(self, sharp=8.0):
        super().__init__()
        self.sharp, self.card = sharp, {"classes": ["0", "1"]}

    def features(self, x):
        return x.mean((1, 2, 3))[:, None]

    def head(self, features):
        return torch.cat([-self.sharp * features, self.sharp * features], 1)


def test_what_is_seen_in_redraws_is_the_mean_of_their_probabilities():
    x = torch.stack([torch.full(SHAPE, v) for v in (-1.0, 1.0, 1.0, 1.0)])
    p = classified(ByBrightness(), x)
    assert p.dtype == torch.float64 and torch.allclose(p, torch.tensor([0.25, 0.75]).double(), atol=1e-6)
    assert torch.allclose(classified(ByBrightness(), x.mean(0, keepdim=True)).sum(), torch.tensor(1.0).double())


def test_a_u_turn_through_little_noise_keeps_an_image_and_through_much_does_not():
    images, schedule = np.stack([np.zeros(SHAPE, np.uint8), np.full(SHAPE, 255, np.uint8)]), Schedule.vp(8)
    x_0, denoiser = from_uint8(images), MeanDenoiser(Law.uniform(from_uint8(images), 0))
    back = u_turns(schedule, denoiser, x_0, 1, 5)
    assert back.shape == (2, 5, *SHAPE) and torch.allclose(back, x_0[:, None].expand_as(back), atol=1e-4)
    far = u_turns(schedule, denoiser, x_0, 8, 50).mean((2, 3, 4)) > 0
    assert 0.2 < far.double().mean() < 0.8, "of either kind, wherever they come from"
    assert torch.equal(u_turns(schedule, denoiser, x_0, 3, 2), u_turns(schedule, denoiser, x_0, 3, 2))
