import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from ddgan.data.toys import toy
from ddgan.diffusion.mixture import Law, Mixture
from ddgan.diffusion.schedule import Schedule, alpha_sigma
from ddgan.errors import Refused

SHAPES = pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
STEPS = pytest.mark.parametrize(("s", "t"), [(1, 2), (1, 4), (2, 3), (3, 4)])
VP = Schedule.vp(4)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def law_of(shape: tuple[int, ...], K: int = 5) -> Law:
    return Law(randn(K), 0.3 * randn(K, *shape, seed=1), 0.02 + 0.2 * randn(K, seed=2).square())


def finite(shape: tuple[int, ...], N: int = 6) -> Law:
    return Law(randn(N), 0.3 * randn(N, *shape, seed=1), torch.zeros(N))


@SHAPES
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_denoised_is_prior_times_likelihood_over_evidence(shape, t):
    law, level = law_of(shape), VP.level(t)
    x_0, x_t = 0.3 * randn(8, *shape, seed=3), randn(8, *shape, seed=4)
    bayes = law.log_prob(x_0) + VP.marginal(x_0, t).log_prob(x_t) - law.marginal(level).log_prob(x_t)
    torch.testing.assert_close(law.denoised(x_t, level).log_prob(x_0), bayes, rtol=1e-9, atol=1e-7)


@SHAPES
@STEPS
def test_reverse_is_prior_times_likelihood_over_evidence(shape, s, t):
    law = law_of(shape)
    x_s, x_t = randn(8, *shape, seed=3), randn(8, *shape, seed=4)
    at_s, at_t = (law.marginal(VP.level(step)) for step in (s, t))
    bayes = at_s.log_prob(x_s) + VP.transition(x_s, s, t).log_prob(x_t) - at_t.log_prob(x_t)
    q = law.reverse(x_t, VP.level(s), VP.level(t))
    torch.testing.assert_close(q.log_prob(x_s), bayes, rtol=1e-9, atol=1e-7)


@SHAPES
@STEPS
def test_finite_data_reverses_to_a_softmax_of_distances_over_posteriors(shape, s, t):
    """w_i = softmax(log pi_i - |x_t - a_t x^i|^2 / 2 sigma_t^2); each component is q(x_s | x_t, x^i)."""
    law, x_t = finite(shape), randn(3, *shape, seed=3)
    a, sigma = alpha_sigma(VP.level(t))
    distances = (x_t[:, None] - a * law.mu).flatten(2).square().sum(2)
    q = law.reverse(x_t, VP.level(s), VP.level(t))
    torch.testing.assert_close(q.log_w.exp(), (law.log_w - distances / (2 * sigma**2)).softmax(1))
    for i in range(len(law.mu)):
        posterior = VP.posterior(law.mu[i].expand_as(x_t), x_t, s, t)
        torch.testing.assert_close(q.component_means()[:, i], posterior.mean)
        torch.testing.assert_close(q.var[:, i], posterior.var.flatten().expand(3))


@SHAPES
def test_finite_data_denoises_to_the_data_themselves(shape):
    law, x_t = finite(shape), randn(7, *shape, seed=3)
    u = torch.linspace(0, 0.999, 7, dtype=torch.float64)
    x_0 = law.denoised(x_t, VP.level(2)).at(u, torch.full_like(x_t, 1e3))
    gaps = (x_0[:, None] - law.mu).flatten(2).abs().amax(2).min(1).values
    assert gaps.max() < 1e-12


@SHAPES
def test_the_exact_mean_satisfies_tweedie(shape):
    """grad log q(x_t) = (a_t E[x_0|x_t] - x_t) / sigma_t^2."""
    law, level = law_of(shape), VP.level(2)
    a, sigma = alpha_sigma(level)
    x_t = randn(8, *shape, seed=3).requires_grad_()
    (score,) = torch.autograd.grad(law.marginal(level).log_prob(x_t).sum(), x_t)
    torch.testing.assert_close(score, (a * law.denoised(x_t, level).mean() - x_t) / sigma**2)


def test_the_marginal_law_is_the_law_of_noised_samples():
    n, law = 100_000, toy("4-gaussians-1d")
    noise = torch.Generator().manual_seed(0)
    x_t = VP.marginal(law.sample(n, noise), 1).at(torch.randn(n, 1, generator=noise)).double()
    marginal = law.marginal(VP.level(1))
    edges = torch.linspace(-2, 2, 9, dtype=torch.float64)
    z = (edges[:, None] - marginal.mu.flatten()) / marginal.var.sqrt()
    cdf = torch.special.ndtr(z) @ marginal.log_w.exp()
    measured = (x_t <= edges).double().mean(0)
    assert ((measured - cdf).abs() < 4 * (cdf * (1 - cdf) / n).sqrt()).all()


@pytest.mark.parametrize("s", [0, 1])
def test_draws_have_the_mixtures_mean_and_covariance(s):
    n, law, t = 200_000, law_of((2,)), 2
    q = law.reverse(torch.tensor([[0.4, -0.3]], dtype=torch.float64), VP.level(s), VP.level(t))
    many = law.reverse(q.x.expand(n, 2), VP.level(s), VP.level(t))
    u = torch.rand(n, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    x = many.at(u, randn(n, 2, seed=6))
    centred = x - q.mean()
    products = centred[:, :, None] * centred[:, None]
    assert ((centred.mean(0)).abs() < 4 * x.std(0) / math.sqrt(n)).all()
    assert ((products.mean(0) - q.cov()[0]).abs() < 4 * products.std(0) / math.sqrt(n)).all()


def test_u_picks_components_by_their_weights():
    law = Law(torch.tensor([0.2, 0.5, 0.3]).log(), torch.tensor([[0.0], [1.0], [2.0]]), torch.zeros(3))
    u = torch.tensor([0.0, 0.1999, 0.2001, 0.6999, 0.7001, 0.9999], dtype=torch.float64)
    x_t = torch.zeros(6, 1, dtype=torch.float64)
    at_no_signal = law.denoised(x_t, torch.tensor([-60.0]))
    assert at_no_signal.at(u, torch.zeros_like(x_t)).flatten().tolist() == [0, 0, 1, 1, 2, 2]


def test_samples_follow_the_laws_weights_means_and_variances():
    n, law = 100_000, toy("4-gaussians-1d")
    x = law.sample(n, torch.Generator().manual_seed(0)).double()
    component = torch.cdist(x, law.mu).argmin(1)
    for k, w in enumerate(law.log_w.exp()):
        mine = x[component == k]
        assert abs(len(mine) / n - w) < 4 * math.sqrt(w * (1 - w) / n)
        assert abs(mine.mean() - law.mu[k, 0]) < 4 * (law.var[k] / len(mine)).sqrt()
        assert abs(mine.var() / law.var[k] - 1) < 4 * math.sqrt(2 / len(mine))


@SHAPES
def test_standardised_has_zero_mean_and_unit_variance_and_the_same_shape(shape):
    law = Law(randn(5), 3 + 7 * randn(5, *shape, seed=1), 1 + randn(5, seed=2).square())
    out, w = law.standardised(), law.log_w.exp()
    mean = w @ out.mu.flatten(1)
    variance = w @ (out.mu.flatten(1).square().mean(1) + out.var)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-12, rtol=0)
    torch.testing.assert_close(variance, torch.ones_like(variance))
    ratio = (out.mu[1] - out.mu[0]) / (law.mu[1] - law.mu[0])
    torch.testing.assert_close(ratio, (out.var[0] / law.var[0]).sqrt().expand_as(ratio))


@pytest.mark.parametrize("level", [-40.0, 30.0])
def test_extreme_levels_stay_finite_in_float32(level):
    law, x_t = toy("25-gaussians"), torch.tensor([[0.3, -0.2], [4.0, 4.0]])
    q = law.denoised(x_t, torch.tensor([level]))
    assert q.mean().dtype == torch.float32 and q.mean().isfinite().all() and q.cov().isfinite().all()
    if level > 0:
        torch.testing.assert_close(q.component_means()[:, 0], x_t, atol=1e-5, rtol=0)


def test_multimodality_lives_in_the_last_step():
    """E KL(q(x_s|x_t) || best Gaussian) for 25 Gaussians, T = 4:
    3.36 nats for 1 -> 0, .007 for 2 -> 1 (reference.md).
    """
    n, axis = 4000, torch.arange(-2.0, 3.0) / math.sqrt(2)
    law = Law.uniform(torch.cartesian_prod(axis, axis), 0.035)
    noise = torch.Generator().manual_seed(0)
    for s, expected in ((0, 3.36), (1, 0.007)):
        x_s = VP.marginal(law.sample(n, noise), s).at(torch.randn(n, 2, generator=noise)).double()
        x_t = VP.transition(x_s, s, s + 1).at(randn(n, 2, seed=9))
        q = law.reverse(x_t, VP.level(s), VP.level(s + 1))
        gap = q.log_prob(x_s) - MultivariateNormal(q.mean(), q.cov()).log_prob(x_s)
        assert abs(gap.mean() - expected) < 4 * gap.std() / math.sqrt(n) + 0.005


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: Law(torch.zeros(2), torch.zeros(3, 2), torch.ones(3)), r"a law needs log_w \(K,\).*\(2,\), \(3, 2\)"),
        (lambda: Law(torch.zeros(3), torch.zeros(3), torch.ones(3)), "a law needs log_w"),
        (lambda: Law(torch.zeros(0), torch.zeros(0, 2), torch.ones(0)), "a law needs log_w"),
        (lambda: Law(torch.zeros(1), torch.full((1, 2), math.nan), torch.ones(1)), "finite log_w and mu"),
        (lambda: Law(torch.zeros(1), torch.zeros(1, 2), -torch.ones(1)), "finite var >= 0"),
    ],
)
def test_a_law_refuses_what_is_none(wrong, sentence):
    with pytest.raises(Refused, match=sentence):
        wrong()


def test_weights_are_normalised_and_a_noisy_law_keeps_its_modes():
    law = Law(torch.tensor([3.0, 3.0]), torch.zeros(2, 2), torch.ones(2), torch.tensor([0, 0]))
    assert law.log_w.exp().tolist() == pytest.approx([0.5, 0.5]) and law.modes == 1
    noisy = law.marginal(VP.level(2))
    assert torch.equal(noisy.mode, law.mode) and torch.equal(noisy.log_w, law.log_w)


def test_levels_may_differ_within_a_batch():
    law, x_t, t = law_of((2,)), randn(4, 2), torch.arange(1, 5)
    together = law.denoised(x_t, VP.level(t)).mean()
    alone = torch.cat([law.denoised(x[None], VP.level(int(k))).mean() for x, k in zip(x_t, t, strict=True)])
    torch.testing.assert_close(together, alone)


def test_modes_without_a_component_are_refused():
    for mode in ([0, 2], [-1, 0]):
        with pytest.raises(Refused, match="whole numbers 0, 1, ... without a gap"):
            Law.uniform(torch.zeros(2, 1), 1.0, torch.tensor(mode))


def test_nothing_denoised_is_nothing():
    law = toy("8-gaussians")
    assert law.denoised(torch.zeros(0, 2), torch.zeros(0)).mean().shape == (0, 2)


def test_the_gap_is_zero_for_one_gaussian_and_log_2_for_two_that_are_far_apart():
    one = Law(torch.zeros(1), torch.tensor([[0.3, -1.0]]), torch.tensor([0.2]))
    assert one.gap() == pytest.approx(0, abs=1e-9)
    far, std = 50.0, 0.5
    two = Law.uniform(torch.tensor([[-far], [far]]), std)
    # the Gaussian's entropy is log sqrt(2 pi e (far^2 + std^2)), the mixture's log 2 + log sqrt(2 pi e std^2)
    assert two.gap() == pytest.approx(0.5 * math.log((far**2 + std**2) / std**2) - math.log(2), abs=0.01)


def test_the_gap_of_a_batch_is_that_of_its_items():
    law, level = Law.uniform(torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.0, -1.0]]), 0.2), torch.tensor([0.5])
    x = torch.tensor([[0.1, 0.2], [1.0, -0.4]], dtype=torch.float64)
    inf = torch.tensor([math.inf])
    each = [law.given(v, inf, level).gap() for v in x]
    assert law.denoised(x, level).gap().tolist() == pytest.approx(each, abs=1e-6)


def test_many_components_cost_fewer_points_and_give_nearly_the_same_gap():
    given = toy("swiss-roll").given(torch.tensor([0.3, 0.2]), VP.level(0), VP.level(1))
    nodes = given.gap(draws=given.mu.shape[0] * 9)
    assert nodes > 2 and given.gap(draws=512) == pytest.approx(nodes, abs=0.03)


def test_a_conditional_law_is_the_mixture_of_one_point():
    law, levels = (
        Law.uniform(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.2, torch.tensor([0, 0])),
        (torch.tensor([2.0]), torch.tensor([-1.0])),
    )
    x_t, x = (
        torch.tensor([0.3, -0.2]),
        torch.randn(7, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
    )
    given = law.given(x_t, *levels)
    batch = law.reverse(x_t.double().expand(7, 2), *levels)
    assert torch.allclose(given.log_prob(x), batch.log_prob(x)) and given.modes == 1


def test_the_lattice_holds_the_density_and_integrates_to_one():
    axis = torch.linspace(-4, 4, 161, dtype=torch.float64)
    for law in (
        Law.uniform(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]), 0.3),
        Law.uniform(torch.tensor([[-1.0], [0.7]]), 0.3),
    ):
        points = torch.cartesian_prod(*[axis] * law.shape[0]).reshape(-1, law.shape[0])
        lattice = law.on_grid(axis)
        assert torch.allclose(lattice.flatten(), law.log_prob(points).exp())
        assert float(lattice.sum() * 0.05 ** law.shape[0]) == pytest.approx(1, abs=1e-6)


def test_shares_of_samples_are_the_mode_weights_even_where_modes_overlap():
    law = Law(
        torch.tensor([0.6, 0.3, 0.1]).log(),
        torch.tensor([[0.0], [0.5], [3.0]]),
        torch.full((3,), 0.5),
        torch.tensor([0, 0, 1]),
    )
    shares = law.shares(law.sample(20_000, torch.Generator().manual_seed(0)))
    assert shares.tolist() == pytest.approx([0.9, 0.1], abs=0.01)
    assert law.mode_weights().tolist() == pytest.approx([0.9, 0.1], abs=1e-6)


@SHAPES
def test_moments_are_those_of_the_law_given_pure_noise_and_widening_adds_a_variance(shape):
    law = law_of(shape)
    mean, cov = law.moments()
    q = law.denoised(torch.zeros(1, *shape, dtype=torch.float64), torch.tensor([-80.0]))
    torch.testing.assert_close(mean, q.mean()[0])
    torch.testing.assert_close(cov, q.cov()[0])
    wide, n = law.widened(0.4).moments(), len(cov)
    torch.testing.assert_close(wide, (mean, cov + 0.16 * torch.eye(n, dtype=torch.float64)))


@SHAPES
def test_mixtures_may_have_centres_of_their_own_each(shape):
    """Items that share x_t's law but not its centres: the batch is what each is alone."""
    B, K = 6, 4
    log_w = randn(B, K).log_softmax(1)
    scale, shift, var = randn(B, K, seed=1), randn(B, K, seed=2), randn(B, K, seed=3).square() + 0.1
    mu, x = randn(B, K, *shape, seed=4), randn(B, *shape, seed=5)
    u, eps = torch.rand(B, generator=torch.Generator().manual_seed(6)), randn(B, *shape, seed=7)
    own = Mixture(log_w, mu, scale, shift, x, var)
    for i in range(B):
        one = slice(i, i + 1)
        shared = Mixture(log_w[one], mu[i], scale[one], shift[one], x[one], var[one])
        torch.testing.assert_close(own.mean()[one], shared.mean())
        torch.testing.assert_close(own.cov()[one], shared.cov())
        torch.testing.assert_close(own.log_prob(eps)[one], shared.log_prob(eps[one]))
        torch.testing.assert_close(own.at(u, eps)[one], shared.at(u[one], eps[one]))


def test_a_step_to_more_noise_and_points_of_another_shape_are_refused():
    law, schedule = toy("two-moons"), Schedule.vp(4)
    with pytest.raises(Refused, match=r"^a step goes to a level with less noise"):
        law.reverse(torch.randn(5, 2), schedule.level(3), schedule.level(2))
    for answer in (law.log_prob, law.shares, lambda x: law.denoised(x, schedule.level(2))):
        with pytest.raises(Refused, match=r"^points of this law have shape \(B, 2\), got \(5, 3\)$"):
            answer(torch.randn(5, 3))


def test_a_level_may_be_a_number_and_a_tensor_without_axes():
    law, x, one = toy("two-moons"), torch.randn(5, 2), torch.full((1,), 0.3, dtype=torch.float64)
    for level in (0.3, one[0]):
        assert torch.equal(law.marginal(level).mu, law.marginal(one).mu)
        assert torch.equal(law.denoised(x, level).mean(), law.denoised(x, one).mean())
        assert torch.equal(law.reverse(x, 4, level).cov(), law.reverse(x, torch.full((1,), 4.0), one).cov())
        assert torch.equal(law.given(x[0], math.inf, level).mu, law.given(x[0], one + math.inf, one).mu)


def test_points_without_width_have_no_density():
    points = Law.uniform(torch.eye(2), 0)
    q = points.denoised(torch.randn(3, 2), 0.0)
    for density in (lambda: points.log_prob(torch.eye(2)), points.gap, lambda: q.log_prob(torch.randn(3, 2)), q.gap):
        with pytest.raises(Refused, match="a density needs components with width"):
            density()


def test_a_grid_is_of_a_line_or_a_plane():
    for shape in ((3,), (1, 2, 2)):
        with pytest.raises(Refused, match="a grid is for a law on a line or a plane"):
            Law.uniform(torch.zeros(1, *shape), 0.1).on_grid(torch.linspace(-1, 1, 3))


def test_whole_numbers_are_answered_as_the_same_numbers_with_a_point():
    law, level, x = toy("25-gaussians"), Schedule.vp(4).level(2), torch.tensor([[1, 0], [0, 2]])
    assert torch.equal(law.denoised(x, level).mean(), law.denoised(x.double(), level).mean())
    assert torch.equal(law.log_prob(x), law.log_prob(x.double()))


def test_numpys_arrays_are_points_and_a_grid_and_names_are_neither():
    law, x = toy("two-moons"), np.zeros((3, 2))
    assert torch.equal(law.log_prob(x), law.log_prob(torch.zeros(3, 2).double()))
    assert torch.equal(law.on_grid(x[:, 0]), law.on_grid(torch.zeros(3).double()))
    q = law.denoised(x, 0.5)
    assert torch.equal(
        q.log_prob(x), law.denoised(torch.zeros(3, 2).double(), 0.5).log_prob(torch.zeros(3, 2).double())
    )
    with pytest.raises(Refused, match="^wanted an array of numbers, got str$"):
        Law("two-moons", [[0.0]], [1.0])
