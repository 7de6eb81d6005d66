"""The gap to the best Gaussian on a line: its closed forms, and how it depends on the step."""

import math

import pytest
import torch

from ddgan import gaussianity, mixture
from ddgan.data import toy
from ddgan.gaussianity import GRID, landscape, mean_gap, step_gap
from ddgan.mixture import Law
from ddgan.schedule import Schedule

SCHEDULE = Schedule.vp(GRID)
LINE = toy("4-gaussians-1d")


def reverse(law, x, s, t):
    return law.reverse(torch.tensor(x, dtype=torch.float64)[:, None], SCHEDULE.level(s), SCHEDULE.level(t))


def test_a_gaussian_has_no_gap_at_any_step():
    law = Law.uniform(torch.tensor([[0.7]]), 0.3)
    for s, t in ((0, GRID), (0, 8), (128, 256), (500, 512)):
        assert reverse(law, [-2.0, 0.1, 3.0], s, t).gap().abs().max() < 1e-12


def test_two_far_components_have_the_gap_of_their_log_variances_less_a_bit():
    """N(+-m, v) in equal parts: half log((v + m^2) / v) - log 2, once the two no longer overlap."""
    law = Law.uniform(torch.tensor([[-1.0], [1.0]]), 0.05)
    for s in (0, 8, 16):
        q = reverse(law, [0.0], s, GRID)  # by symmetry both weights are 1/2
        v, m = q.var[0, 0], q.component_means()[0, 1, 0]
        assert m / v.sqrt() > 6
        assert float(q.gap()) == pytest.approx(float((1 + m**2 / v).log() / 2) - math.log(2), abs=1e-6)


def test_weights_far_from_each_other_take_their_entropy_away():
    """sum_k w_k N(m_k, v), far apart: log(1 + Var[m] / v) / 2 - H[w]."""
    law = Law(torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([[-3.0], [0.0], [4.0]]), torch.full((3,), 1e-4))
    q = reverse(law, [0.2], 0, GRID)
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
    """A second axis on which all components agree adds nothing; 2,000 x_t, four standard errors, 5 nodes an axis for 10."""
    schedule, n = Schedule.vp(T), 2000
    exact = float(mean_gap(LINE, schedule.level(t - 1), schedule.level(t)))
    assert step_gap(LINE, schedule, t) == exact
    plane = Law(LINE.log_w, torch.cat([LINE.mu, torch.zeros_like(LINE.mu)], 1), LINE.var)
    x_t = plane.marginal(schedule.level(t)).sample(n, torch.Generator().manual_seed(1))
    error = float(plane.reverse(x_t, schedule.level(t - 1), schedule.level(t)).gap().std()) / math.sqrt(n)
    assert abs(step_gap(plane, schedule, t, n) - exact) < 4 * error + 0.01


def test_the_gap_vanishes_with_the_step_and_grows_with_it():
    for t in (32, 128, 256, 512):
        steps = torch.tensor([t >> k for k in range(6) if t >> k])
        gaps = mean_gap(LINE, SCHEDULE.level(t - steps), SCHEDULE.level(t))
        assert (gaps.diff() < 1e-9).all(), "a shorter step is never less Gaussian"
        assert gaps[0] > 0.4, "a step to clean data is many modes"
        one = mean_gap(LINE, SCHEDULE.level(torch.tensor([t - 1])), SCHEDULE.level(t))
        assert one < 0.01 * gaps[0]


def test_the_landscape_is_the_mean_gap_of_its_steps():
    found = landscape(LINE)
    size = len(found.level)
    assert found.gap.shape == (size, size) and found.alpha_bar.shape == (GRID + 1,)
    assert (found.level[0], found.level[-1]) == (0, GRID)
    for i, j in ((0, size - 1), (5, 20), (19, 20), (0, 1), (30, 40)):
        s, t = int(found.level[i]), int(found.level[j])
        assert found.gap[i, j] == pytest.approx(float(mean_gap(LINE, SCHEDULE.level(s), SCHEDULE.level(t))), abs=1e-12)
    assert (found.gap[torch.ones(size, size).tril().bool().numpy()] == 0).all(), "a step goes from t to an earlier s"
    assert (found.gap[0, 1:] > 0).all()


def test_more_nodes_change_the_landscape_by_less_than_a_hundredth_of_a_nat(monkeypatch):
    few = landscape(LINE, 17).gap
    for module in (gaussianity, mixture):
        monkeypatch.setattr(module, "NODES", 40)
    more = landscape.__wrapped__(LINE, 17).gap
    assert 0 < abs(few - more).max() < 5e-3


def test_the_levels_of_the_landscape_are_evenly_spread_in_the_square_root_of_t():
    level = landscape(LINE, 17).level
    assert level.tolist() == [round(GRID * (k / 16) ** 2) for k in range(17)]
