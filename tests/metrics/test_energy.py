import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan.data.points import from_points
from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import ExactDenoiser, GaussianDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import draw, seeds
from ddgan.diffusion.schedule import Schedule
from ddgan.metrics.energy import MOST_NODES, NODES, _along, energy, energy_distance, floor_energy
from ddgan.metrics.points import coverage, width

UNEQUAL = Law(
    torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([[-1.0], [0.4], [1.5]]), torch.tensor([0.04, 0.01, 0.0])
)


def noise(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(x: Tensor) -> float:
    """The mean distance of two different points."""
    return float(torch.cdist(x, x).sum() / (len(x) * (len(x) - 1)))


def test_of_two_samples_it_is_zero_on_average_for_equal_laws_and_twice_the_shift_of_points():
    draws = torch.randn(40, 300, 2, generator=noise(0))
    same = torch.tensor([energy_distance(a, b) for a, b in draws.unflatten(0, (20, 2))])
    assert abs(float(same.mean())) < 4 * float(same.std()) / math.sqrt(20)
    assert energy_distance(torch.zeros(5, 1), torch.ones(5, 1)) == pytest.approx(2)


def test_on_a_line_it_is_twice_the_area_between_the_squared_distribution_functions():
    """2 int (F_n - F)^2 (Szekely, Rizzo 2013) counts each sample as its own neighbour too, hence spread / n."""
    x = UNEQUAL.sample(60, noise(1)) * 1.2 + 0.1
    v = torch.linspace(-4, 4, 400_001, dtype=torch.float64)
    std = UNEQUAL.var.sqrt().clamp(min=1e-9)
    below = torch.special.ndtr((v[:, None] - UNEQUAL.mu[:, 0]) / std) @ UNEQUAL.log_w.exp()
    counted = torch.searchsorted(x[:, 0].double().sort().values, v, right=True) / len(x)
    area = float(torch.trapezoid((counted - below).square(), v))
    assert energy(x, UNEQUAL) == pytest.approx(2 * area - spread(x) / len(x), abs=1e-4)


@pytest.mark.parametrize("D", [1, 2, 3, 10])
def test_of_points_at_the_mean_of_a_gaussian_it_is_known(D):
    """2 E|y| - E|y - y'|, and E|y| = s sqrt(2) Gamma((D + 1) / 2) / Gamma(D / 2)."""
    length = 0.3 * math.sqrt(2) * math.gamma((D + 1) / 2) / math.gamma(D / 2)
    law = Law.uniform(torch.ones(1, D), 0.3)
    assert energy(torch.ones(20, D), law) == pytest.approx((2 - math.sqrt(2)) * length, rel=5e-4)


@pytest.mark.parametrize("far", [0.1, 40.0])
def test_in_the_plane_a_shift_counts_alike_in_every_direction(far):
    angle = torch.linspace(0, math.pi, 50)
    shifts = far * torch.stack([angle.cos(), angle.sin()], 1)
    law = Law.uniform(torch.zeros(1, 2), 1e-4)
    for shift in shifts:
        assert energy(shift.repeat(4, 1), law) == pytest.approx(2 * far, rel=1e-3, abs=5e-4)


def test_it_is_that_of_all_pairs_with_another_sample_of_the_law():
    law = toy("rings")
    x = law.sample(1500, noise(2)) * torch.tensor([1.1, 0.9])
    other = torch.tensor([energy_distance(x, law.sample(1500, noise(3 + i))) for i in range(12)])
    assert abs(energy(x, law) - float(other.mean())) < 4 * float(other.std()) / math.sqrt(12)


@pytest.mark.parametrize(("name", "n"), [("25-gaussians", 100), ("25-gaussians", 2000), ("4-gaussians-1d", 500)])
def test_exact_samplings_score_zero_on_average_and_less_than_the_floor_19_times_of_20(name, n):
    """200 samplings: four standard errors, and two of the floor, 4 % each,
    where a tenth of the floor is 2 % of them.
    """
    law, samplings = toy(name), 200
    found = torch.tensor([energy(law.sample(n, noise(100 + i)), law) for i in range(samplings)])
    assert abs(float(found.mean())) < 4 * float(found.std()) / math.sqrt(samplings)
    below = float((found < floor_energy(law, n)).double().mean())
    assert abs(below - 0.95) < 4 * math.sqrt(0.95 * 0.05 / samplings) + 0.016


HEAVY = {
    "log-normal": lambda noise: noise.lognormal(0, 1.5, (800, 2)),
    "student": lambda noise: noise.standard_t(1.5, (800, 2)),
    "one far away": lambda noise: np.vstack([noise.normal(size=(599, 2)), [[100, 100]]]),
}


@pytest.mark.parametrize("name", HEAVY)
def test_exact_samplings_of_heavy_tails_score_zero_on_average_too(name):
    law, n, samplings = from_points(HEAVY[name](np.random.default_rng(1))), 2000, 40
    found = torch.tensor([energy(law.sample(n, noise(i)), law) for i in range(samplings)])
    off = 4 * float(found.std()) / math.sqrt(samplings)
    assert abs(float(found.mean())) < off + 0.1 * floor_energy(law, n)


@pytest.mark.parametrize("std", [0.0, 1e-9, 1e-3, 0.02, 1.0])
def test_nodes_are_at_most_a_quarter_of_a_mode_apart_or_as_many_as_there_may_be(std):
    nodes = _along(Law.uniform(torch.tensor([[-1.0], [1.0]]), std)).nodes
    assert np.diff(nodes).max() <= std / 4 * (1 + 1e-9) or len(nodes) == MOST_NODES
    assert NODES <= len(nodes) <= MOST_NODES


def test_what_the_share_on_a_mode_hides_is_far_above_the_floor():
    law, n = toy("25-gaussians"), 2000
    x = law.sample(n, noise(4))
    mode = torch.cdist(x.double(), law.mu).argmin(1)
    one = (x - law.mu[mode]).float()  # of 25
    row = torch.where((mode < 5)[:, None], x + law.mu[5] - law.mu[0], x).float()  # lost to its neighbour
    assert coverage(one, law).on_mode > 0.99 and coverage(row, law).on_mode > 0.99
    assert energy(one, law) > 100 * floor_energy(law, n) and energy(row, law) > 20 * floor_energy(law, n)


def test_on_vp_with_four_steps_it_ranks_the_chains_and_their_floor():
    law, n = toy("25-gaussians"), 2000
    closed = {"exact": ExactDenoiser, "gaussian": GaussianDenoiser, "mean": MeanDenoiser}
    drawn = {name: next(draw(Schedule.vp(4), of(law), seeds(0, n), (2,), at_once=n)) for name, of in closed.items()}
    found = {name: energy(x, law) for name, x in drawn.items()}
    assert found["exact"] < floor_energy(law, n) < found["gaussian"] / 3 < found["mean"] / 15


def test_modes_without_any_width_are_seen_by_many_samples_only():
    law = toy("25-gaussians")
    x = law.sample(20_000, noise(5))
    points = law.mu[torch.cdist(x.double(), law.mu).argmin(1)].float()
    assert energy(points, law) > 2 * floor_energy(law, 20_000)
    assert energy(points[:1000], law) < floor_energy(law, 1000) and width(points, law) < 0.01


@pytest.mark.parametrize("x", [torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [0.0, math.inf]])])
def test_a_single_sample_or_an_infinite_one_has_none(x):
    assert math.isnan(energy(x, toy("25-gaussians")))


def test_a_law_far_from_the_origin_is_judged_as_the_law_at_it():
    law, far = toy("8-gaussians"), torch.tensor([1000.0, -300.0])
    x = law.sample(2000, torch.Generator().manual_seed(1)).double()
    moved = energy(x + far, Law(law.log_w, law.mu + far, law.var))
    assert moved == pytest.approx(energy(x, law), abs=1e-9)


def test_the_floor_in_ten_dimensions_is_of_the_same_mean_of_directions():
    noise = torch.Generator().manual_seed(2)
    law = Law.uniform(2 * torch.randn(6, 10, generator=noise).double(), 0.3)
    scores = [energy(law.sample(300, noise), law) for _ in range(200)]
    share = sum(found < floor_energy(law, 300) for found in scores) / len(scores)
    assert 0.9 < share < 0.99 and abs(sum(scores) / len(scores)) < 0.2 * floor_energy(law, 300)
