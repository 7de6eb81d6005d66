import math

import pytest
import torch
from torch import Tensor

from ddgan.data.toys import TOYS, toy
from ddgan.diffusion.mixture import Law
from ddgan.errors import Refused
from ddgan.metrics.energy import energy, energy_distance, floor_energy
from ddgan.metrics.points import (
    coverage,
    evaluate,
    floor_sliced_w2,
    mode_distance,
    score,
    sliced_w2,
    width,
)

CORNERS = Law.uniform(torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]), 0.1)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def at_modes(*counts: int) -> Tensor:
    return CORNERS.mu.float().repeat_interleave(torch.tensor(counts), 0)


@pytest.mark.parametrize(
    ("counts", "modes", "kl"),
    [
        ((25, 25, 25, 25), 4, 0),
        ((100, 0, 0, 0), 1, math.log(4)),
        ((50, 50, 0, 0), 2, math.log(2)),
        ((50, 44, 3, 3), 4, None),
        ((50, 46, 2, 2), 2, None),
    ],
)
def test_coverage_counts_modes_with_a_tenth_of_their_share_and_the_kl_of_the_histogram(counts, modes, kl):
    result = coverage(at_modes(*counts), CORNERS)
    p = torch.tensor(counts) / 100
    assert result.modes == modes and result.on_mode == 1
    assert result.kl == pytest.approx(torch.xlogy(p, 4 * p).sum().item() if kl is None else kl, abs=1e-6)


def test_a_sample_is_on_a_mode_up_to_four_standard_deviations_from_it():
    x = torch.tensor([[1.0, 1.39], [1.0, 1.41], [0.0, 0.0], [1.27, 1.27]])
    assert coverage(x, CORNERS).on_mode == 0.5


def test_samples_off_every_mode_cover_nothing_at_infinite_kl():
    assert coverage(torch.zeros(10, 2), CORNERS) == (0, 0.0, math.inf)


def test_components_of_one_mode_count_as_one():
    law = Law(CORNERS.log_w, CORNERS.mu, CORNERS.var, torch.tensor([0, 0, 1, 1]))
    assert coverage(at_modes(50, 0, 50, 0), law) == (2, 1.0, 0.0)


@pytest.mark.parametrize("K", range(2, 60))
def test_the_kl_of_all_samples_on_the_one_mode_is_zero_and_not_below(K):
    points = torch.linspace(-1, 1, K, dtype=torch.float64)[:, None]
    law = Law(points[:, 0].clone(), points, torch.full((K,), 0.1), torch.zeros(K, dtype=torch.long))
    assert math.copysign(1, coverage(points.float(), law).kl) == 1


def test_unequal_weights_are_the_due_shares():
    law = toy("4-gaussians-1d")
    counts = (1000 * law.log_w.exp()).round().long()
    result = coverage(law.mu.repeat_interleave(counts, 0), law)
    assert result.modes == 4 and result.kl == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", TOYS)
def test_true_samples_reach_every_mode_of_every_toy(name):
    """N = 5000; at least 1 - e^-8 of a 2-D law lies within 4 standard deviations, five standard errors."""
    n, law = 5000, toy(name)
    result = coverage(law.sample(n, torch.Generator().manual_seed(0)), law)
    due, freedom = 1 - math.exp(-8), law.modes - 1
    assert result.modes == law.modes and result.on_mode >= due - 5 * math.sqrt(due * (1 - due) / n)
    overlap = 0.01  # neighbouring components of different modes trade a few samples
    assert result.kl < (freedom + 5 * math.sqrt(2 * freedom)) / (2 * n) + overlap


def test_a_plane_gaussian_has_all_but_e_to_the_minus_8_of_its_mass_on_its_mode():
    """N = 1000000, five standard errors: apart from both 3.9 and 4.1 standard deviations."""
    n, far = 1_000_000, math.exp(-8)
    result = coverage(randn(n, 2), Law.uniform(torch.zeros(1, 2), 1.0))
    assert abs(1 - result.on_mode - far) < 5 * math.sqrt(far * (1 - far) / n)


@pytest.mark.parametrize("name", ["25-gaussians", "4-gaussians-1d", "rings"])
def test_true_samples_have_width_one_and_those_of_narrower_modes_less_whatever_their_shares(name):
    """N = 10000: the rms of as many radii, twice, within five standard errors."""
    n, law = 10_000, toy(name)
    x = law.sample(n, torch.Generator().manual_seed(0))
    assert abs(width(x, law) - 1) < 5 * math.sqrt(2 / (2 * n * law.shape[0]))
    if law.modes == len(law.mu):  # modes of one component each, and far from each other
        k = torch.cdist(x.double(), law.mu).argmin(1)
        half = (law.mu[k] + (x - law.mu[k]) / 2).float()
        assert width(half, law) == pytest.approx(width(x, law) / 2, rel=0.01)  # a sample beyond 4 is within it now
        assert width(half[k > 1], law) == pytest.approx(0.5, rel=0.05) and width(law.mu.float(), law) < 1e-5
        assert coverage(half, law).kl == pytest.approx(coverage(x, law).kl, abs=1e-3), "the others do not see it"


def test_where_no_sample_is_on_a_mode_there_is_no_width():
    assert math.isnan(width(torch.zeros(10, 2), CORNERS))


def test_sliced_w2_is_zero_for_the_same_points_in_any_order_and_symmetric():
    x, y = randn(500, 2), randn(500, 2, seed=1)
    assert sliced_w2(x, x.flip(0)) == 0 and sliced_w2(x, y) == pytest.approx(sliced_w2(y, x)) and sliced_w2(x, y) > 0


@pytest.mark.parametrize("shift", [0.5, -3.0])
def test_sliced_w2_of_a_1d_shift_is_its_length(shift):
    x = randn(500, 1)
    assert sliced_w2(x, x + shift) == pytest.approx(abs(shift), rel=1e-5)


def test_sliced_w2_of_a_1d_scaling_is_the_change_of_spread():
    x = randn(500, 1)
    assert sliced_w2(x, 3 * x) == pytest.approx(2 * x.square().mean().sqrt().item(), rel=1e-5)


@pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
def test_sliced_w2_of_a_shift_is_its_length_over_root_n(shape):
    """E (theta . c)^2 = |c|^2 / n; 4096 directions, five standard errors of a variable of variance < 2 E^2."""
    x, c = randn(50, *shape), randn(*shape, seed=1)
    squared = sliced_w2(x, x + c, directions=4096) ** 2
    expected = c.square().mean().item()
    assert abs(squared - expected) < 5 * math.sqrt(2 / 4096) * expected


def test_sliced_w2_is_a_pure_function_and_refuses_unequal_sizes():
    x, y = randn(500, 2), randn(500, 2, seed=1)
    assert sliced_w2(x, y) == sliced_w2(x, y)
    with pytest.raises(Refused, match=r"one shape, got \(500, 2\) and \(499, 2\)"):
        sliced_w2(x, y[1:])


def test_evaluate_says_what_its_parts_say():
    x, y = CORNERS.sample(500, torch.Generator().manual_seed(0)), CORNERS.sample(500, torch.Generator().manual_seed(1))
    cover = coverage(x, CORNERS)
    assert score(x, CORNERS, y) == {
        **cover._asdict(),
        "of_modes": 4,
        "width": width(x, CORNERS),
        "sliced_w2": sliced_w2(x, y),
        "energy": energy(x, CORNERS),
        "floor_energy": floor_energy(CORNERS, 500),
    }


def test_the_mode_distance_is_the_share_that_sits_on_the_wrong_mode():
    law = Law.uniform(torch.tensor([[-1.0], [1.0]]), 0.01)
    x = torch.tensor([[-1.0]] * 8 + [[1.0]] * 2)
    assert mode_distance(x, law) == pytest.approx(0.3)


def test_the_floor_is_what_the_law_itself_scores_on_average():
    law, noise = Law.uniform(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), 0.1), torch.Generator().manual_seed(9)
    pairs = torch.tensor([sliced_w2(law.sample(1000, noise), law.sample(1000, noise)) for _ in range(40)])
    spread = float(pairs.std()) * math.sqrt(1 / 8 + 1 / 40)
    assert abs(floor_sliced_w2(law, 1000) - float(pairs.mean())) < 4 * spread


def test_several_samplings_are_judged_by_their_worst_and_by_the_mean_of_their_distances():
    law, n = Law.uniform(torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]), 0.1), 400
    asked = []

    def sampled(i: int) -> Tensor:
        asked.append(i)
        x = law.sample(n, torch.Generator().manual_seed(10 + i))
        x[: (0, 100, 380)[i]] = law.mu[0].float() + (
            i == 2
        )  # the second has too many on one mode, the third most on none
        return x

    numbers = evaluate(law, n, sampled, samplings=3)
    alone = [score(sampled(i), law, law.sample(n, torch.Generator().manual_seed(1 + i))) for i in range(3)]
    assert (
        asked[:3] == [0, 1, 2]
        and len({found["on_mode"] for found in alone}) > 1
        and len({found["kl"] for found in alone}) == 3
    )
    assert numbers == {
        "modes": min(found["modes"] for found in alone),
        "of_modes": 4,
        "on_mode": min(found["on_mode"] for found in alone),
        "kl": max(found["kl"] for found in alone),
        **{key: pytest.approx(sum(found[key] for found in alone) / 3) for key in ("width", "sliced_w2", "energy")},
        "floor_sliced_w2": floor_sliced_w2(law, n),
        "floor_energy": floor_energy(law, n),
        "samplings": 3,
    }


def test_no_samples_cover_no_mode():
    found = coverage(torch.empty(0, 2), toy("25-gaussians"))
    assert found.modes == 0 and math.isnan(found.on_mode) and found.kl == math.inf


@pytest.mark.parametrize("metric", [coverage, width, energy, mode_distance])
def test_samples_of_another_shape_are_refused(metric):
    for shape in ((4, 3), (4,)):
        with pytest.raises(Refused, match=r"^points of this law have shape \(B, 2\), got"):
            metric(torch.zeros(shape), toy("25-gaussians"))


@pytest.mark.parametrize("metric", [coverage, width])
def test_points_have_no_width_to_be_near_by(metric):
    with pytest.raises(Refused, match="this law has points without width"):
        metric(torch.eye(2), Law.uniform(torch.eye(2), 0))


@pytest.mark.parametrize("metric", [coverage, width, energy])
def test_samples_may_have_a_gradient(metric):
    law = toy("25-gaussians")
    x = law.sample(100, torch.Generator().manual_seed(0))
    assert metric(x.clone().requires_grad_(), law) == metric(x, law)


def test_samples_of_numpy_and_whole_numbers_are_samples_and_anything_else_is_refused():
    law, x = toy("25-gaussians"), toy("25-gaussians").sample(64, torch.Generator().manual_seed(0)).double()
    for metric, other, theirs in [
        *((metric, law, law) for metric in (coverage, width, energy, mode_distance)),
        *((metric, x.flip(1), x.flip(1).numpy()) for metric in (energy_distance, sliced_w2)),
    ]:
        assert metric(x.numpy()[::-1], theirs) == pytest.approx(metric(x.flip(0), other))
        assert metric(x.round().int(), other) == metric(x.round(), other)
        with pytest.raises(Refused, match="^wanted an array of numbers, got Law$"):
            metric(law, other)
    for metric in (energy_distance, sliced_w2):
        with pytest.raises(Refused, match=r"got \(64,\) and \(64, 2\)$"):
            metric(x[:, 0], x)
