import math

import pytest
import torch
from torch import Tensor

from ddgan.training.losses import (
    LOSSES,
    finite_difference_penalty,
    g_relativistic,
    gradient_penalty,
    nonsaturating,
    relativistic,
    squared_error,
)

SHAPES = pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
PAPER, _ = LOSSES["paper"]
EACH_LOSS = pytest.mark.parametrize("name", [name for name in LOSSES if name != "wgan-gp"])
WGAN, _ = LOSSES["wgan-gp"]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def nothing(x: Tensor) -> Tensor:
    return 0 * x.flatten(1).sum(1)


def no_loss(winner: Tensor, loser: Tensor) -> Tensor:
    return 0 * winner.sum()


@SHAPES
@EACH_LOSS
def test_d_0_gives_log_2_for_each_logit_or_pair_and_no_penalty(name, shape):
    d_loss, g_loss = LOSSES[name]
    real, fake, v = (randn(4, *shape, seed=i) for i in range(3))
    halves = 1 if name.startswith("rpgan") else 2
    assert d_loss(nothing, real, fake, v, 10.0).item() == pytest.approx(halves * math.log(2))
    assert g_loss(nothing, real, fake).item() == pytest.approx(math.log(2))


def test_nonsaturating_is_the_cross_entropy_of_the_logits():
    winner, loser = randn(9), randn(9, seed=1)
    expected = -winner.sigmoid().log().mean() - (1 - loser.sigmoid()).log().mean()
    torch.testing.assert_close(nonsaturating(winner, loser), expected)


def test_relativistic_sees_only_the_difference_within_a_pair():
    winner, loser, shift = randn(9), randn(9, seed=1), 100 * randn(9, seed=2)
    torch.testing.assert_close(relativistic(winner + shift, loser + shift), relativistic(winner, loser))
    torch.testing.assert_close(relativistic(winner, loser), -(winner - loser).sigmoid().log().mean())


@pytest.mark.parametrize("loss", [nonsaturating, relativistic])
def test_losses_stay_finite_and_linear_at_huge_logits(loss):
    right, wrong = loss(torch.tensor([1e4]), torch.tensor([0.0])), loss(torch.tensor([-1e4]), torch.tensor([0.0]))
    assert right < 0.7 and wrong == pytest.approx(1e4, rel=1e-3)


@SHAPES
def test_a_linear_d_has_penalty_w_squared_everywhere(shape):
    w, x = randn(*shape), randn(5, *shape, seed=1)
    penalty = gradient_penalty(lambda x: (x * w).flatten(1).sum(1), x)
    torch.testing.assert_close(penalty, w.square().sum().expand(5))


@SHAPES
def test_the_finite_difference_of_a_linear_d_is_w_squared_over_an_orthonormal_frame(shape):
    """v = sqrt(n) e_i, i = 1..n, has E v v^T = I exactly, as N(0, I) has; gamma/2 (R1 + R2) = gamma |w|^2."""
    n, w = math.prod(shape), randn(*shape)
    v = math.sqrt(n) * torch.eye(n, dtype=torch.float64).reshape(n, *shape)
    real, fake = randn(n, *shape, seed=1), randn(n, *shape, seed=2)
    penalty = finite_difference_penalty(no_loss)(lambda x: (x * w).flatten(1).sum(1), real, fake, v, 0.3)
    torch.testing.assert_close(penalty, 0.3 * w.square().sum())


@SHAPES
def test_the_finite_difference_estimates_the_true_penalties_of_a_curved_d(shape):
    """n = 20000 directions at one point; five standard errors and one part in a thousand for the curvature."""
    n, gamma = 20_000, 2.0
    w = randn(*shape) / math.sqrt(math.prod(shape))

    def d(x: Tensor) -> Tensor:
        return (x * w).flatten(1).sum(1).sin()

    real, fake = randn(1, *shape, seed=1), randn(1, *shape, seed=2)
    exact = gamma / 2 * (gradient_penalty(d, real) + gradient_penalty(d, fake)).sum()
    v = torch.randn(n, *shape, generator=torch.Generator().manual_seed(3)).double()
    measured = finite_difference_penalty(no_loss)(d, real.expand_as(v), fake.expand_as(v), v, gamma)
    assert abs(measured - exact) < (5 * math.sqrt(2 / n) + 1e-3) * exact


@SHAPES
def test_r1_of_the_paper_looks_at_real_data_only(shape):
    """D falls off a cliff at the fakes and has slope |w|^2 at the real ones."""
    w, real = randn(*shape), randn(4, *shape, seed=1)
    fake = real + 100 * w

    def d(x: Tensor) -> Tensor:
        height = (x * w).flatten(1).sum(1)
        return height - 1e3 * torch.relu(height - 50 * w.square().sum())

    with_penalty, without = (PAPER(d, real, fake, real, gamma) for gamma in (0.5, 0.0))
    torch.testing.assert_close(with_penalty - without, 0.25 * w.square().sum(), rtol=1e-6, atol=1e-6)


@SHAPES
def test_the_paper_loss_is_nonsaturating_plus_half_gamma_r1(shape):
    real, fake, w = (randn(4, *shape, seed=i) for i in range(3))

    def d(x: Tensor) -> Tensor:
        return (x * w[0]).flatten(1).sum(1).sin()

    expected = nonsaturating(d(real), d(fake)) + 0.7 / 2 * gradient_penalty(d, real).mean()
    assert torch.equal(PAPER(d, real, fake, real, 0.7), expected)


@EACH_LOSS
def test_the_penalty_reaches_the_weights_of_d(name):
    w = randn(2).requires_grad_()
    real, fake, v = (randn(64, 2, seed=i) for i in (1, 2, 3))
    losses = [LOSSES[name][0](lambda x: x @ w, real, fake, v, gamma) for gamma in (1.0, 0.0)]
    (gradient,) = torch.autograd.grad(losses[0] - losses[1], w)
    assert gradient @ w > 0


@pytest.mark.parametrize("name", LOSSES)
def test_fooling_d_moves_the_fake_uphill(name):
    fake, w = randn(8, 2).requires_grad_(), randn(2, seed=1)
    (gradient,) = torch.autograd.grad(LOSSES[name][1](lambda x: x @ w, randn(8, 2, seed=2), fake), fake)
    assert (gradient @ w < 0).all()


def test_outdo_pairs_each_fake_with_its_own_real():
    real, fake = randn(8, 2), randn(8, 2, seed=1)
    swapped = relativistic(fake.sum(1), real.sum(1))
    torch.testing.assert_close(g_relativistic(lambda x: x.sum(1), real, fake), swapped)


def test_rpgan_is_one_game_for_both_with_the_roles_exchanged():
    d_loss, g_loss = LOSSES["rpgan"]
    one, other = randn(8, 2), randn(8, 2, seed=1)

    def d(x: Tensor) -> Tensor:
        return x.sum(1).sin()

    torch.testing.assert_close(g_loss(d, one, other), d_loss(d, other, one, one, 0.0))


@EACH_LOSS
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_dirac_gan_converges_with_r1_and_not_without(name, gamma):
    """Data at 0, fakes at theta, d(x) = psi x; simultaneous gradient descent at rate h = .1 (Mescheder et al. 2018).

    Without a penalty the steps spiral outwards by h r^2 / 4, the loss pulls back by r^4 / 8: a cycle at r = .45.
    """
    d_loss, g_loss = LOSSES[name]
    theta, psi = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    real, v = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    def d(x: Tensor) -> Tensor:
        return psi * x[:, 0]

    for _ in range(400):
        (down_psi,) = torch.autograd.grad(d_loss(d, real, theta.detach().reshape(1, 1), v, gamma), psi)
        (down_theta,) = torch.autograd.grad(g_loss(d, real, theta.reshape(1, 1)), theta)
        with torch.no_grad():
            psi -= 0.1 * down_psi
            theta -= 0.1 * down_theta
    distance = math.hypot(theta.item(), psi.item())
    assert distance < 1e-2 if gamma else distance > 0.3


@SHAPES
def test_squared_error_is_least_at_the_mean(shape):
    target = randn(50, *shape)
    mean = target.mean(0, keepdim=True).expand_as(target)
    least = squared_error(mean, target)
    torch.testing.assert_close(squared_error(mean + 0.1, target), least + 0.01)


@SHAPES
def test_wgan_gp_is_the_difference_of_means_and_spares_slope_one(shape):
    w, real, fake, v = (randn(4, *shape, seed=i) for i in range(4))
    w = w[0] / w[0].norm()

    def steep(slope: float) -> Tensor:
        return WGAN(lambda x: slope * (x * w).flatten(1).sum(1), real, fake, v, 10.0)

    difference = ((fake - real) * w).flatten(1).sum(1).mean()
    torch.testing.assert_close(steep(1), difference)
    torch.testing.assert_close(steep(3), 3 * difference + 10.0 * (3 - 1) ** 2)


@SHAPES
def test_the_exact_penalty_of_rpgan_is_half_gamma_r1_plus_r2(shape):
    real, fake, w = (randn(4, *shape, seed=i) for i in range(3))

    def d(x: Tensor) -> Tensor:
        return (x * w[0]).flatten(1).sum(1).sin()

    penalty = gradient_penalty(d, real).mean() + gradient_penalty(d, fake).mean()
    expected = relativistic(d(real), d(fake)) + 0.7 / 2 * penalty
    torch.testing.assert_close(LOSSES["rpgan-exact"][0](d, real, fake, real, 0.7), expected)


def test_wgan_gps_penalty_reaches_the_weights_of_d():
    """The slope of d is |w| = 3: the gradient of gamma (|w| - 1)^2 is 2 gamma (|w| - 1) w / |w|."""
    w = torch.tensor([3.0, 0.0], dtype=torch.float64, requires_grad=True)
    real, fake, v = (randn(64, 2, seed=i) for i in (1, 2, 3))
    losses = [WGAN(lambda x: x @ w, real, fake, v, gamma) for gamma in (0.5, 0.0)]
    (gradient,) = torch.autograd.grad(losses[0] - losses[1], w)
    torch.testing.assert_close(gradient, torch.tensor([2.0, 0.0], dtype=torch.float64))


@SHAPES
def test_wgan_gp_looks_between_the_real_and_the_fake(shape):
    """d = |x|^2 / 2 has slope |x|: 3 a quarter of the way from the fake at |x| = 4 to the real at 0."""
    real, fake = torch.zeros(4, *shape, dtype=torch.float64), randn(4, *shape)
    fake = 4 * torch.nn.functional.normalize(fake.flatten(1)).reshape(fake.shape)
    v = torch.full_like(fake, torch.special.ndtri(torch.tensor(0.25)).item())
    v[2:] = 0  # half of them half of the way, where the slope is 2
    with_penalty, without = (
        WGAN(lambda x: x.flatten(1).square().sum(1) / 2, real, fake, v, gamma) for gamma in (10.0, 0.0)
    )
    assert (with_penalty - without).item() == pytest.approx(10 * ((3 - 1) ** 2 + (2 - 1) ** 2) / 2)
