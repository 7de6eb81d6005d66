import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddgan.diffusion.gaussian import like
from ddgan.diffusion.schedule import BOTH_ENDS, CURVES, FAMILIES, MAX_T, Schedule, alpha_sigma, span_through
from ddgan.errors import Refused

SHAPES = pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
EACH_FAMILY = pytest.mark.parametrize("family", [name for name in FAMILIES if name != "optimal"])  # that is of a law
EACH_CURVE = pytest.mark.parametrize("family", CURVES)

# what the official implementation computes for T = 1, 2, 4, 8
BETA = {
    1: [0.999957],
    2: [0.921324, 0.999451],
    4: [0.478255, 0.849206, 0.956418, 0.987404],
    8: [0.156445, 0.381493, 0.546501, 0.667488, 0.756197, 0.821240, 0.868930, 0.903898],
}
SIGNAL = {
    1: [0.006572],
    2: [0.280492, 0.006572],
    4: [0.722319, 0.280492, 0.058557, 0.006572],
    8: [0.918452, 0.722319, 0.486426, 0.280492, 0.138497, 0.058557, 0.021200, 0.006572],
}
ROUNDED = {"rtol": 0, "atol": 6e-7}


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def table(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@SHAPES
@EACH_FAMILY
def test_posterior_satisfies_bayes_identity(family, shape):
    """q(x_s|x_0) q(x_t|x_s) = q(x_t|x_0) q(x_s|x_t,x_0), every pair 1 <= s < t <= 6 in one batch."""
    schedule = Schedule.named(family, 6)
    s, t = torch.combinations(torch.arange(1, 7)).T
    x_0, x_s, x_t = (randn(len(s), *shape, seed=i) for i in range(3))
    left = schedule.marginal(x_0, s).log_prob(x_s) + schedule.transition(x_s, s, t).log_prob(x_t)
    right = schedule.marginal(x_0, t).log_prob(x_t) + schedule.posterior(x_0, x_t, s, t).log_prob(x_s)
    torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


@SHAPES
def test_transitions_satisfy_chapman_kolmogorov(shape):
    """q(x_t|x_s) is q(x_t|x_r) averaged over q(x_r|x_s), s < r < t; with s = 0 it is the marginal."""
    schedule, (s, r, t) = Schedule.vp(6), torch.combinations(torch.arange(7), 3).T
    x_s = randn(len(s), *shape)
    first = schedule.transition(x_s, s, r)
    second = schedule.transition(first.mean, r, t)
    gain = like(schedule.alpha_bar[t] / schedule.alpha_bar[r], x_s)
    whole = schedule.transition(x_s, s, t)
    torch.testing.assert_close(second.mean, whole.mean)
    torch.testing.assert_close(gain * first.var + second.var, whole.var)
    torch.testing.assert_close(schedule.transition(x_s, torch.zeros_like(t), t), schedule.marginal(x_s, t))


@SHAPES
def test_posterior_at_s_0_is_a_point_mass_at_x_0(shape):
    schedule, t = Schedule.vp(4), torch.arange(1, 5)
    x_0, x_t = randn(4, *shape).float(), randn(4, *shape, seed=1).float()
    q = schedule.posterior(x_0, x_t, 0, t)
    assert torch.equal(q.at(torch.full_like(x_0, 1e6)), x_0)


def test_a_posterior_of_mixed_steps_keeps_each_items_own_noise():
    schedule, x = Schedule.vp(4), torch.zeros(4, 2)
    var = schedule.posterior(x, x, torch.arange(4), torch.arange(1, 5)).var.flatten()
    assert var[0] == 0 and (var[1:] > 0.4).all()


@pytest.mark.parametrize("T", BETA)
def test_vp_reproduces_the_official_tables(T):
    alpha_bar = Schedule.vp(T).alpha_bar
    torch.testing.assert_close(1 - alpha_bar[1:] / alpha_bar[:-1], table(BETA[T]), **ROUNDED)
    torch.testing.assert_close(alpha_bar[1:].sqrt(), table(SIGNAL[T]), **ROUNDED)


def test_the_posterior_coefficients_of_t_4_are_the_official_ones():
    schedule, t = Schedule.vp(4), torch.arange(1, 5)
    zero, one = torch.zeros(4, 1, dtype=torch.float64), torch.ones(4, 1, dtype=torch.float64)
    c_0 = schedule.posterior(one, zero, t - 1, t).mean.flatten()
    c_t, var = schedule.posterior(zero, one, t - 1, t)
    torch.testing.assert_close(c_0, table([1, 0.665778, 0.269191, 0.057822]), **ROUNDED)
    torch.testing.assert_close(c_t.flatten(), table([0, 0.201576, 0.193001, 0.111852]), **ROUNDED)
    torch.testing.assert_close(var.sqrt().flatten(), table([0, 0.663942, 0.940320, 0.991998]), **ROUNDED)


@EACH_CURVE
@pytest.mark.parametrize("T", [1, 2, 4])
def test_grids_of_doubled_t_are_nested(family, T):
    coarse, fine = Schedule.named(family, T).alpha_bar, Schedule.named(family, 2 * T).alpha_bar
    torch.testing.assert_close(coarse, fine[::2], rtol=1e-12, atol=0)


@EACH_FAMILY
@given(T=st.integers(1, MAX_T))
def test_every_family_starts_at_1_and_falls_strictly_for_every_t(family, T):
    alpha_bar = Schedule.named(family, T).alpha_bar
    assert alpha_bar.dtype == torch.float64 and alpha_bar.shape == (T + 1,)
    assert alpha_bar[0] == 1 and (alpha_bar.diff() < 0).all() and alpha_bar[-1] > 0


@EACH_FAMILY
@given(T=st.sampled_from([1, 7, MAX_T]), low=st.floats(0, 0.8), width=st.floats(0.1, 1))
def test_every_span_within_the_bounds_makes_a_schedule(family, T, low, width):
    lo, hi = FAMILIES[family].bounds
    first = lo + low * (hi - lo)
    schedule = Schedule.named(family, T, (first, min(hi, first + width * (hi - first))))
    assert schedule.T == T


def test_a_numpy_integer_is_a_number_of_steps():
    (T,) = np.arange(3, 4)
    assert torch.equal(Schedule.vp(T).alpha_bar, Schedule.vp(3).alpha_bar)


def test_vp_has_the_defaults_of_its_family():
    assert torch.equal(Schedule.vp(5).alpha_bar, Schedule.named("vp", 5).alpha_bar)


@EACH_FAMILY
def test_level_is_the_log_snr_and_alpha_sigma_its_inverse(family):
    schedule, t = Schedule.named(family, 8), torch.arange(9)
    level = schedule.level(t)
    a, sigma = alpha_sigma(level)
    assert level[0] == torch.inf and a[0] == 1 and sigma[0] == 0
    torch.testing.assert_close(level[1:], torch.log(a[1:] ** 2 / sigma[1:] ** 2))
    torch.testing.assert_close(a**2, schedule.alpha_bar)
    torch.testing.assert_close(a**2 + sigma**2, torch.ones_like(a))
    x_t = torch.zeros(3, 2)
    assert torch.equal(schedule.level(4, x_t), level[4].float().expand(3)) and torch.equal(
        schedule.level(t[1:4], x_t), level[1:4].float()
    )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: Schedule.vp(0), "T must be a whole number in 1..1000, got 0"),
        (lambda: Schedule.vp(1001), "T must be a whole number in 1..1000, got 1001"),
        (lambda: Schedule.vp(2.5), "T must be a whole number in 1..1000, got 2.5"),
        (lambda: Schedule.vp(True), "T must be a whole number in 1..1000, got True"),
        (
            lambda: Schedule.named("sigmoid", 4),
            "schedule must be one of vp, linear, cosine, geometric, log-snr, karras, optimal, got 'sigmoid'",
        ),
        (
            lambda: Schedule.vp(4, 20, 0.1),
            "the span of the vp schedule, beta_min and beta_max, must be two rising numbers in 0..50, got 20, 0.1",
        ),
        (
            lambda: Schedule.named("cosine", 4, (0, 1)),
            "the span of the cosine schedule, first angle and last angle, must be two rising numbers in 0..0.999",
        ),
        (lambda: Schedule.named("linear", 4, (0, float("nan"))), "two rising numbers in 0..0.99999, got 0, nan"),
        (lambda: Schedule.vp(4).level(7), "t must be in 0..4, got [7]"),
        (lambda: Schedule.vp(4).marginal(torch.zeros(1, 2), -1), "t must be in 0..4, got [-1]"),
        (lambda: Schedule.vp(4).transition(torch.zeros(1, 2), 3, 3), "a step goes from t to an earlier s < t"),
        (lambda: Schedule(torch.tensor([1.0, 0.5, 0.5])), "must fall strictly, staying positive, got 0.5 at t = 2"),
        (lambda: Schedule(torch.tensor([0.5, 0.25])), "alpha_bar must start at 1, where the data are clean, got 0.5"),
        (lambda: Schedule(torch.tensor([1.0, 0.5, 0.0])), "staying positive, got 0.0 at t = 2 after 0.5"),
        (lambda: Schedule(torch.tensor([1.0, float("nan")])), "staying positive, got nan at t = 1 after 1.0"),
        (lambda: Schedule(torch.ones(2, 2)), "alpha_bar must have shape (T + 1,), T from 1 on, got (2, 2)"),
        (lambda: Schedule.of_levels([5, 0.5]), "the log-SNRs of x_T, ..., x_1 must be numbers that rise, got 5, 0.5"),
        (lambda: Schedule.of_levels([[0.0]]), "the log-SNRs of x_T, ..., x_1 must be numbers that rise, got 0"),
        (lambda: Schedule.vp(4).marginal(torch.ones(1, 2, dtype=torch.uint8), 1), "floating-point numbers"),
        (lambda: Schedule.vp(4).transition(torch.ones(1, 2).long(), 1, 2), "got torch.int64"),
        (lambda: Schedule.vp(4).posterior(torch.ones(1, 2), torch.ones(1, 2).long(), 1, 2), "got torch.int64"),
    ],
)
def test_errors_say_what_was_wanted_and_what_came(wrong, sentence):
    with pytest.raises(Refused) as error:
        wrong()
    assert sentence in str(error.value)


def test_one_bad_pair_in_a_batch_is_refused():
    x = torch.zeros(2, 2)
    with pytest.raises(Refused, match="earlier s < t"):
        Schedule.vp(4).posterior(x, x, torch.tensor([0, 2]), torch.tensor([1, 2]))


FORMULAS = {
    "vp": lambda u: math.exp(-0.1 * u - 19.9 * u**2 / 2),
    "linear": lambda u: 1 - (1e-4 + 0.9998 * u),
    "cosine": lambda u: math.cos(math.pi / 2 * (0.008 + 0.987 * u)) ** 2,
    "geometric": lambda u: 1 - 0.01 * 99.99**u,
}


@EACH_CURVE
def test_every_curve_is_its_formula_over_that_at_step_0(family):
    alpha_bar = [FORMULAS[family](1e-3 + 0.999 * t / 4) for t in range(5)]
    torch.testing.assert_close(Schedule.named(family, 4).alpha_bar, table(alpha_bar) / alpha_bar[0])


@pytest.mark.parametrize("T", [1, 2, 5])
def test_levels_are_spread_as_their_family_says_from_the_noisiest_on(T):
    even = Schedule.named("log-snr", T, (-9.0, 6.0)).level(torch.arange(1, T + 1)).flip(0)
    torch.testing.assert_close(even, torch.linspace(-9, 6, T, dtype=torch.float64))
    karras = Schedule.named("karras", T, (0.1, 80.0)).level(torch.arange(1, T + 1)).flip(0)
    noise_to_signal = [(80 ** (1 / 7) + i / max(T - 1, 1) * (0.1 ** (1 / 7) - 80 ** (1 / 7))) ** 7 for i in range(T)]
    torch.testing.assert_close((-karras / 2).exp(), table(noise_to_signal))


@pytest.mark.slow
@given(st.sampled_from([*FAMILIES]), st.integers(1, 20), st.floats(0.02, 0.9), st.booleans())
def test_a_bent_curve_goes_through_the_point_and_keeps_its_other_end(family, T, a, at_data):
    lo, hi = FAMILIES[family].default
    t = 1 if at_data and family in BOTH_ENDS else T
    bent = span_through(family, T, None, t, a)
    assert (bent[0] == lo) != (bent[1] == hi)
    signal = Schedule.named(family if family != "optimal" else "log-snr", T, bent).alpha_bar[t].sqrt()
    low, high = sorted(
        float(Schedule.named(family if family != "optimal" else "log-snr", T, end).alpha_bar[t].sqrt())
        for end in (span_through(family, T, None, t, 0.0), span_through(family, T, None, t, 1.0))
    )
    assert float(signal) == pytest.approx(min(max(a, low), high), abs=2e-3)


@pytest.mark.parametrize(("family", "t", "a"), [("vp", 2, 0.5), ("linear", 1, 0.5), ("vp", 4, 1.5), ("wavy", 4, 0.5)])
def test_a_curve_is_bent_at_its_ends_alone(family, t, a):
    with pytest.raises(Refused):
        span_through(family, 4, None, t, a)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Schedule.named(None, 4), "schedule must be one of vp, .*, got 'None'"),
        (lambda: Schedule.named("vp", 4, (1.0, 2.0, 3.0)), "the span of the vp schedule.*, got 1, 2, 3"),
        (lambda: Schedule("vp", 4), "wanted an array of numbers, got str"),
        (lambda: Schedule.vp(4).at(1.5), r"t counts steps, a whole number in 0\.\.4, got \[1\.5\]"),
    ],
)
def test_what_is_no_schedule_or_step_is_one_sentence(make, sentence):
    with pytest.raises(Refused, match=f"^{sentence}$"):
        make()


def test_betas_and_ratios_of_noise_make_the_schedule_that_they_mean():
    betas, sigmas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), torch.tensor([80.0, 1.0, 0.002])
    schedule = Schedule(torch.cat([torch.ones(1), (1 - betas).cumprod(0)]))
    r2 = schedule.transition(torch.ones(1000, 1, dtype=torch.float64), torch.arange(1000), torch.arange(1, 1001))
    torch.testing.assert_close(r2.var[:, 0], betas)
    alpha_bar = Schedule.of_levels(-2 * sigmas.log()).alpha_bar[1:].flip(0)
    torch.testing.assert_close(((1 - alpha_bar) / alpha_bar).sqrt(), sigmas.double(), rtol=1e-5, atol=0)


def test_data_may_be_numpys():
    x, y, schedule = np.ones((3, 2)), torch.ones(3, 2, dtype=torch.float64), Schedule.vp(4)
    assert torch.equal(schedule.marginal(x, 2).mean, schedule.marginal(y, 2).mean)
    assert torch.equal(schedule.posterior(x, 2 * x, 1, 2).mean, schedule.posterior(y, 2 * y, 1, 2).mean)


def test_levels_may_be_a_list():
    assert torch.equal(Schedule.of_levels([-5.0, 0.0]).alpha_bar, Schedule.of_levels(torch.tensor([-5.0, 0])).alpha_bar)
