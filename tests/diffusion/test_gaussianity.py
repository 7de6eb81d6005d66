"""The gap to the best Gaussian on a line: its closed forms, and how it depends on the step."""

import math
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch

from ddgan.data.toys import toy
from ddgan.diffusion import gaussianity
from ddgan.diffusion.denoiser import GaussianDenoiser
from ddgan.diffusion.gaussianity import (
    VP_LEVELS,
    bound,
    chain_kl,
    gap_map,
    mean_gap,
    mixture_bound,
    optimal,
    optimal_for_means,
    shortest,
    start_gap,
    step_gap,
    vp_time,
)
from ddgan.diffusion.mixture import Law, Mixture
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused

SCHEDULE = Schedule.vp(VP_LEVELS)
LINE = toy("4-gaussians-1d")


def reverse(law, x, s, t):
    return law.reverse(torch.tensor(x, dtype=torch.float64)[:, None], SCHEDULE.level(s), SCHEDULE.level(t))


def test_a_gaussian_has_no_gap_at_any_step():
    law = Law.uniform(torch.tensor([[0.7]]), 0.3)
    for s, t in ((0, VP_LEVELS), (0, 8), (128, 256), (500, 512)):
        assert reverse(law, [-2.0, 0.1, 3.0], s, t).gap().abs().max() < 1e-12


def test_two_far_components_have_the_gap_of_their_log_variances_less_a_bit():
    """N(+-m, v) in equal parts: half log((v + m^2) / v) - log 2, once the two no longer overlap."""
    law = Law.uniform(torch.tensor([[-1.0], [1.0]]), 0.05)
    for s in (0, 8, 16):
        q = reverse(law, [0.0], s, VP_LEVELS)  # by symmetry both weights are 1/2
        v, m = q.var[0, 0], q.component_means()[0, 1, 0]
        assert m / v.sqrt() > 6
        assert float(q.gap()) == pytest.approx(float((1 + m**2 / v).log() / 2) - math.log(2), abs=1e-6)


def test_weights_far_from_each_other_take_their_entropy_away():
    """sum_k w_k N(m_k, v), far apart: log(1 + Var[m] / v) / 2 - H[w]."""
    law = Law(torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([[-3.0], [0.0], [4.0]]), torch.full((3,), 1e-4))
    q = reverse(law, [0.2], 0, VP_LEVELS)
    w, m, v = q.log_w.exp()[0], q.component_means()[0, :, 0], q.var[0, 0]
    spread = (w * m**2).sum() - (w * m).sum() ** 2
    assert float(q.gap()) == pytest.approx(float((1 + spread / v).log() / 2 + torch.xlogy(w, w).sum()), abs=1e-9)


@pytest.mark.parametrize(("s", "t"), [(0, 64), (64, 192), (128, 256), (0, 512)])
@pytest.mark.parametrize("x", [-1.0, -0.05, 0.8])
def test_it_is_the_mean_log_ratio_of_draws(s, t, x):
    q, law = reverse(LINE, [x], s, t), LINE.given(torch.tensor([x]), SCHEDULE.level(s), SCHEDULE.level(t))
    draws = law.sample(100_000, torch.Generator().manual_seed(0)).double()
    ratio = law.log_prob(draws) - Law(torch.zeros(1), q.mean(), q.cov()[0, 0]).log_prob(draws)
    assert abs(float(ratio.mean() - q.gap())) < 4 * float(ratio.std()) / math.sqrt(len(draws)) + 1e-6


@pytest.mark.parametrize("x", [(0.3, 0.2), (0.0, -0.5), (0.25, 0.75)])
def test_on_a_plane_few_components_leave_a_hundredth_of_a_nat(x):
    law, schedule = toy("25-gaussians"), Schedule.vp(16)
    given = law.given(torch.tensor(x), schedule.level(1), schedule.level(2))
    q = law.reverse(torch.tensor([x], dtype=torch.float64), schedule.level(1), schedule.level(2))
    draws = given.sample(100_000, torch.Generator().manual_seed(0)).double()
    best = torch.distributions.MultivariateNormal(*given.moments())
    ratio = given.log_prob(draws) - best.log_prob(draws)
    for gap in (given.gap(), float(q.gap())):
        assert abs(float(ratio.mean()) - gap) < 4 * float(ratio.std()) / math.sqrt(len(draws)) + 0.01


@pytest.mark.parametrize(("s", "t"), [(0, 16), (0, 64), (0, 128), (0, 256), (128, 256)])
def test_the_mean_gap_is_the_mean_over_draws_of_x_t(s, t):
    n = 20_000
    noise = torch.Generator().manual_seed(0)
    x_0 = LINE.sample(n, noise).double()
    x_t = SCHEDULE.marginal(x_0, t).at(torch.randn(n, 1, generator=noise, dtype=torch.float64))
    gaps = LINE.reverse(x_t, SCHEDULE.level(s), SCHEDULE.level(t)).gap()
    exact = float(mean_gap(LINE, SCHEDULE.level(s), SCHEDULE.level(t)))
    assert abs(float(gaps.mean()) - exact) < 4 * float(gaps.std()) / math.sqrt(n)


@pytest.mark.parametrize(("T", "t"), [(4, 4), (4, 1), (8, 2), (8, 1)])
def test_what_a_gaussian_loses_in_a_step_is_the_mean_gap_on_the_line_and_in_the_plane(T, t):
    """A second axis on which all components agree adds nothing, and one like the first as much again."""
    schedule = Schedule.vp(T)
    exact = float(mean_gap(LINE, schedule.level(t - 1), schedule.level(t)))
    assert step_gap(LINE, schedule, t) == exact
    plane = Law(LINE.log_w, torch.cat([LINE.mu, torch.zeros_like(LINE.mu)], 1), LINE.var)
    assert step_gap(plane, schedule, t) == pytest.approx(exact, abs=0.01)
    weights = (LINE.log_w[:, None] + LINE.log_w).flatten()
    square = Law(weights, torch.cartesian_prod(LINE.mu[:, 0], LINE.mu[:, 0]), LINE.var[:1].expand(16))
    assert square.lines and step_gap(square, schedule, t) == pytest.approx(2 * exact, abs=1e-6)
    tilted = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    assert step_gap(Law(weights, square.mu @ tilted, square.var), schedule, t) == pytest.approx(2 * exact, abs=0.02)


def test_the_gap_vanishes_with_the_step_and_grows_with_it():
    for t in (32, 128, 256, 512):
        steps = torch.tensor([t >> k for k in range(6) if t >> k])
        gaps = mean_gap(LINE, SCHEDULE.level(t - steps), SCHEDULE.level(t))
        assert (gaps.diff() < 1e-9).all(), "a shorter step is never less Gaussian"
        assert gaps[0] > 0.4, "a step to clean data is many modes"
        one = mean_gap(LINE, SCHEDULE.level(torch.tensor([t - 1])), SCHEDULE.level(t))
        assert one < 0.01 * gaps[0]


def test_the_gap_map_is_the_mean_gap_of_its_steps():
    found = gap_map(LINE)
    size = len(found.level)
    assert found.gap.shape == (size, size) and found.alpha_bar.shape == (VP_LEVELS + 1,)
    assert (found.level[0], found.level[-1]) == (0, VP_LEVELS)
    for i, j in ((0, size - 1), (5, 20), (19, 20), (0, 1), (30, 40)):
        s, t = int(found.level[i]), int(found.level[j])
        assert found.gap[i, j] == pytest.approx(float(mean_gap(LINE, SCHEDULE.level(s), SCHEDULE.level(t))), abs=1e-12)
    assert (found.gap[torch.ones(size, size).tril().bool().numpy()] == 0).all(), "a step goes from t to an earlier s"
    assert (found.gap[0, 1:] > 0).all()


def test_more_points_change_the_gap_map_by_less_than_a_thousandth_of_a_nat(monkeypatch):
    few = gap_map(LINE, 17).gap
    monkeypatch.setattr(gaussianity, "X_T", 40)
    fewer = gap_map.__wrapped__(Law(LINE.log_w, LINE.mu, LINE.var), 17).gap  # another law: nothing is known of it
    assert abs(few - fewer).max() > 0
    monkeypatch.setattr(gaussianity, "X_T", 20_000)
    more = gap_map.__wrapped__(Law(LINE.log_w, LINE.mu, LINE.var), 17).gap
    assert abs(few - more).max() < 1e-3


def test_the_levels_of_the_gap_map_are_evenly_spread_in_the_square_root_of_t():
    level = gap_map(LINE, 17).level
    assert level.tolist() == [round(VP_LEVELS * (k / 16) ** 2) for k in range(17)]


# ---------------------------------------------------------------- the best schedule

# of 25-gaussians, in nats: with 20 to 160 nodes a component and 400 levels from log-SNR -1 to 7 the same to .001
LEAST = {1: 4.850, 2: 1.238, 3: 0.691, 4: 0.490, 5: 0.339, 6: 0.252, 8: 0.160, 10: 0.110, 12: 0.081, 16: 0.049}


@pytest.mark.parametrize(
    ("T", "least"), [pytest.param(*of, marks=[] if of[0] == 4 else pytest.mark.slow) for of in LEAST.items()]
)
def test_the_best_schedule_of_25_gaussians_has_the_least_bound(T, least):
    law = toy("25-gaussians")
    schedule = optimal(law, T)
    assert schedule.T == T and float(schedule.level(T)) == pytest.approx(-10.0, abs=1e-5)
    assert bound(law, schedule) == pytest.approx(least, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["8-gaussians", "25-unequal"])
def test_the_best_of_many_steps_are_better_than_half_as_many_and_than_evenly_spread_ones(name):
    law, even = toy(name), torch.cat([torch.tensor([-10.0]), torch.linspace(-2, 5, 63)])
    least = bound(law, optimal(law, 64))
    assert least < 0.5 * bound(law, optimal(law, 32)) and least < 1.02 * bound(law, Schedule.of_levels(even))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["4-gaussians-1d", "8-gaussians", "two-moons"])
def test_no_other_schedule_has_a_lower_bound(name):
    law, T, noise = toy(name), 4, torch.Generator().manual_seed(0)
    best = optimal(law, T)
    least = bound(law, best)
    others = [Schedule.named(family, T) for family in ("vp", "linear", "cosine", "geometric", "log-snr", "karras")]
    levels = best.level(torch.arange(1, T + 1)).flip(0)
    for _ in range(5):  # and its neighbours, the first level at its place
        moved = levels + 0.4 * torch.randn(T, generator=noise, dtype=torch.float64)
        others.append(Schedule.of_levels(torch.cat([levels[:1], moved[1:].sort().values])))
    assert least < min(bound(law, other) for other in others) + 0.005


def test_the_bound_is_the_sum_of_the_steps_gaps():
    for law in (LINE, toy("25-gaussians"), toy("8-gaussians")):
        schedule = Schedule.named("geometric", 6)
        assert bound(law, schedule) == pytest.approx(sum(step_gap(law, schedule, t) for t in range(1, 7)), abs=1e-6)


def test_the_bound_has_what_a_chain_loses_where_it_starts():
    """A Gaussian law loses nothing in a step: its bound is KL(N(0, v) || N(0, 1)) of x_T alone."""
    std, schedule = 0.3, Schedule.of_levels(torch.tensor([-1.0, 2.0]))
    law = Law.uniform(torch.zeros(1, 1, dtype=torch.float64), std)
    v = float(torch.sigmoid(torch.tensor(-1.0))) * std**2 + float(torch.sigmoid(torch.tensor(1.0)))
    assert bound(law, schedule) == pytest.approx((v - 1 - math.log(v)) / 2, abs=1e-6)
    assert start_gap(law, schedule) == pytest.approx(bound(law, schedule), abs=1e-6)


def test_what_the_best_gaussian_draws_is_within_the_bound():
    """KL(q(x_0) || p(x_0)) of a chain on a line, by a histogram of its samples: one number below another."""
    law, schedule, n = LINE, optimal(LINE, 3), 40_000
    *_, last = sample(schedule, GaussianDenoiser(law), Draws.from_seeds(range(n), (1,), 3, 1))
    edges = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)
    counts = torch.histogram(last.x_s[:, 0].double(), edges).hist + 0.5
    p, q = counts / counts.sum(), law.log_prob(((edges[1:] + edges[:-1]) / 2)[:, None]).exp()
    q = q / q.sum()
    assert float((q * (q / p).log()).sum()) == pytest.approx(chain_kl(law, schedule), rel=0.1)
    assert 0.05 < chain_kl(law, schedule) < bound(law, schedule)


def test_the_samples_of_a_gaussian_law_are_off_by_what_one_step_keeps_of_the_start():
    """x_0 = g x_1 + noise with x_1 ~ N(0, 1): p(x_0) is a Gaussian in closed form, and of two lines KL adds up."""
    std, level = 0.3, torch.tensor(-1.0, dtype=torch.float64)
    a2, noise = float(torch.sigmoid(level)), float(torch.sigmoid(-level))
    spread = a2 * std**2 + noise
    width = (a2**0.5 * std**2 / spread) ** 2 + std**2 * noise / spread
    kl = (std**2 / width - 1 - math.log(std**2 / width)) / 2
    for n in (1, 2):
        law = Law.uniform(torch.zeros(1, n, dtype=torch.float64), std)
        assert chain_kl(law, Schedule.of_levels(level[None])) == pytest.approx(n * kl, abs=1e-6)


@pytest.mark.parametrize("law", [LINE, toy("25-unequal")])
def test_the_bound_of_a_mixture_is_what_the_start_loses_for_the_true_one_and_the_gaussians_for_one_gaussian(law):
    def gaussian(x_t, level):
        q = law.denoised(x_t.double(), level.double())
        mean, var = q.mean(), q.cov().diagonal(dim1=1, dim2=2).mean(1, keepdim=True)
        one = torch.ones_like(var)
        return Mixture(0 * one, mean[:, None], one, 0 * one, x_t, var)

    for schedule in (Schedule.vp(1), Schedule.named("geometric", 3)):
        exact = mixture_bound(law, schedule, law.denoised)
        assert exact == pytest.approx(start_gap(law, schedule), abs=1e-4)
        found, best = mixture_bound(law, schedule, gaussian), bound(law, schedule)
        assert found > best - 0.05, "of a mean over 2,000 draws"
        if law is LINE:  # in a plane one variance for both axes loses more
            assert found == pytest.approx(best, abs=0.05)


def test_the_samples_kl_is_refused_where_no_grid_is_affordable():
    for law in (toy("8-gaussians"), Law.uniform(torch.zeros(1, 1), 0.0)):
        with pytest.raises(Refused, match="independent"):
            chain_kl(law, Schedule.vp(2))
    narrow = Law.uniform(torch.tensor([[-1.0], [1.0]]), 1e-3)
    with pytest.raises(Refused, match="at most 8,192 nodes: modes of standard deviation 0.001 need 36,000"):
        chain_kl(narrow, Schedule.vp(2))


def test_the_samples_kl_is_the_same_in_whatever_parts_its_grid_is_summed(monkeypatch):
    whole = chain_kl(LINE, Schedule.vp(3))
    monkeypatch.setattr(gaussianity, "CELLS", 2000)  # some columns at a time, or one
    assert chain_kl(LINE, Schedule.vp(3)) == pytest.approx(whole, abs=1e-12)


def test_a_span_bounds_the_levels_of_the_best_schedule():
    levels = optimal(toy("25-gaussians"), 8, (-8.0, 4.0)).level(torch.arange(1, 9))
    assert float(levels[-1]) == pytest.approx(-8.0, abs=1e-5) and float(levels[0]) <= 4.0 + 1e-6


def test_a_law_and_a_schedule_are_no_names():
    law, schedule = toy("4-gaussians-1d"), Schedule.vp(4)
    for wrong in (
        lambda: bound("4-gaussians-1d", schedule),
        lambda: optimal("rings", 4),
        lambda: GaussianDenoiser(law.mu),
    ):
        with pytest.raises(Refused, match=r'^wanted toy\("25-gaussians"\) or another Law, got (str|Tensor)$'):
            wrong()
    with pytest.raises(Refused, match=r"^wanted Schedule.vp\(4\) or another Schedule, got int$"):
        bound(law, 4)


def test_what_has_no_best_schedule_is_refused():
    with pytest.raises(Refused, match="1 to 64 steps, got T = 65"):
        optimal(LINE, 65)
    with pytest.raises(Refused, match="needs a law with a density"):
        optimal(Law.uniform(torch.tensor([[0.0], [1.0]]), 0.0), 2)


def test_the_shortest_way_is_that_of_all_ways():
    cost = torch.rand(7, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).triu(1)
    cost[cost == 0] = torch.inf
    for steps in (1, 2, 3, 6):
        ways = [(0, *middle, 6) for middle in combinations(range(1, 6), steps - 1)]
        assert shortest(cost, steps) == list(
            min(ways, key=lambda way: sum(float(cost[a, b]) for a, b in pairwise(way)))
        )


def test_the_best_schedule_for_means_has_the_least_sum_of_ddpms_losses():
    levels, squared = [-10.0, -2.0, 0.0, 3.0, 6.0], [50.0, 40.0, 20.0, 3.0, 0.5]

    def losses(schedule):
        level = schedule.level(torch.arange(1, schedule.T + 1)).flip(0).numpy()
        error = np.exp(np.interp(level, levels, np.log(squared)))
        return float((np.diff(np.exp(level)) * error[:-1]).sum()) / 2

    best = optimal_for_means(levels, squared, 5, (-8.0, 5.0))
    ends = best.level(torch.tensor([5, 1]))
    torch.testing.assert_close(ends, torch.tensor([-8.0, 5.0], dtype=torch.float64))
    noise = torch.Generator().manual_seed(0)
    for _ in range(20):
        inner = torch.rand(3, generator=noise, dtype=torch.float64).sort().values * 13 - 8
        other = Schedule.of_levels(torch.cat([ends[:1], inner, ends[1:]]))
        assert losses(best) < losses(other) + 1e-2
    assert optimal_for_means(levels, squared, 1).T == 1


def test_every_schedule_stands_on_the_landscape_at_the_vp_time_of_its_levels():
    t = torch.arange(VP_LEVELS + 1)
    torch.testing.assert_close(vp_time(SCHEDULE.level(t)), t.double(), atol=1e-6, rtol=0)
    levels = Schedule.named("geometric", 8).level(torch.arange(9))
    times = vp_time(levels)
    below = SCHEDULE.level(times.floor().long().clamp(max=VP_LEVELS - 1))
    above = SCHEDULE.level(times.floor().long().clamp(max=VP_LEVELS - 1) + 1)
    assert times[0] == pytest.approx(0, abs=1e-9) and (above <= levels).all() and (levels <= below).all()
    assert float(vp_time(torch.tensor([-12.0]))) > VP_LEVELS


def test_a_law_without_a_density_has_no_bound_and_no_number_is_no_number():
    points = Law(torch.zeros(2), torch.tensor([[0.0], [1.0]]), torch.tensor([0.1, 0.0]))
    with pytest.raises(Refused, match=r"^a bound needs a law with a density"):
        bound(points, Schedule.vp(2))

    def lost(x_t, level):
        q = LINE.denoised(x_t, level)
        return replace(q, logits=q.logits * math.nan)

    assert math.isnan(mixture_bound(LINE, Schedule.vp(2), lost))


def test_a_range_may_be_a_list():
    assert torch.equal(optimal(LINE, 2, [-10.0, 5.0]).alpha_bar, optimal(LINE, 2).alpha_bar)
