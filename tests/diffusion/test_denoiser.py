"""The contract of every Denoiser, and what makes each closed form the one it claims to be."""

import math

import pytest
import torch
from torch import Tensor

from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from ddgan.diffusion.levels import Levels
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.schedule import Schedule
from ddgan.errors import Refused
from ddgan.models import registry
from ddgan.training.pairs import Anywhere, Consecutive

VP = Schedule.vp(4)
CLOSED = [MeanDenoiser, GaussianDenoiser, ExactDenoiser]


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def law_of(shape: tuple[int, ...], K: int = 5) -> Law:
    return Law(randn(K), 0.3 * randn(K, *shape, seed=1), 0.02 + 0.2 * randn(K, seed=2).square())


def network(kind: str, latent_dim: int) -> Denoiser:
    return registry.generator(kind, (2,), latent_dim=latent_dim, width=16, depth=2)


def image_network(kind: str, latent_dim: int) -> Denoiser:
    """With weights as large as after training: it starts so near to zero that its latent would not show."""
    network = registry.generator(kind, (3, 8, 8), latent_dim=latent_dim, width=16, depth=1, multipliers=(1, 2), patch=2)
    noise = torch.Generator().manual_seed(0)
    for parameter in network.requires_grad_(False).parameters():
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=noise))
    return network


EVERY = [
    pytest.param(lambda c=c, s=s: c(law_of(s)), s, id=f"{c.__name__}-{s}") for c in CLOSED for s in [(2,), (3, 8, 8)]
]
EVERY += [pytest.param(lambda k=k, n=n: network(k, n), (2,), id=f"{k}-{n}") for k in ("plain", "skip") for n in (0, 2)]
EVERY += [
    pytest.param(lambda k=k, n=n: image_network(k, n), (3, 8, 8), id=f"{k}-{n}")
    for k, n in [("unet", 0), ("unet", 5), ("unet-draw", 0), ("unet-draw", 3 * 8 * 8), ("unet-indexed", 5)]
]


def inputs(denoiser: Denoiser, shape: tuple[int, ...], B: int) -> tuple[Tensor, Tensor, Tensor]:
    level = VP.level(1 + torch.arange(B) % 4).float()
    return randn(B, *shape, seed=3), level, randn(B, denoiser.latent_dim, seed=4)


@pytest.mark.parametrize(("make", "shape"), EVERY)
def test_a_denoiser_maps_a_mixed_batch_to_data_item_by_item(make, shape):
    denoiser = make()
    x_t, level, z = inputs(denoiser, shape, 8)
    given = x_t.clone(), level.clone(), z.clone()
    together = denoiser(x_t, level, z)
    alone = torch.cat([denoiser(x_t[i : i + 1], level[i : i + 1], z[i : i + 1]) for i in range(8)])
    assert together.shape == x_t.shape and together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(now, before) for now, before in zip((x_t, level, z), given, strict=True))


@pytest.mark.parametrize(("make", "shape"), EVERY)
def test_a_denoiser_is_a_pure_function_of_finite_value_at_every_level(make, shape):
    denoiser, fine = make(), Schedule.vp(1000)
    level = fine.level(torch.tensor([1, 2, 30, 500, 1000])).float()
    x_t, z = randn(5, *shape), randn(5, denoiser.latent_dim)
    x_0 = denoiser(x_t, level, z)
    assert x_0.isfinite().all() and torch.equal(x_0, denoiser(x_t, level, z))


@pytest.mark.parametrize(("make", "shape"), EVERY)
def test_a_denoiser_listens_to_its_latent_exactly_if_it_has_one(make, shape):
    denoiser = make()
    x_t, level, z = inputs(denoiser, shape, 8)
    other = denoiser(x_t, level, randn(*z.shape, seed=9))
    assert torch.equal(denoiser(x_t, level, z), other) == (denoiser.latent_dim == 0)


@pytest.mark.parametrize(
    "law", [law_of((2,)), law_of((1, 3, 3)), Law.uniform(randn(5, 2), 0)], ids=["2", "1x3x3", "finite"]
)
@pytest.mark.parametrize("t", [1, 2, 3, 4])
def test_the_gaussian_denoisers_moments_are_those_of_q(law, t):
    """It is affine in z, so m and L are read off z = 0 and the unit vectors."""
    denoiser, n = GaussianDenoiser(law), law.shape.numel()
    x_t, level = randn(1, *law.shape, seed=3).double(), VP.level(t)
    z = torch.cat([torch.zeros(1, n), torch.eye(n)]).double()
    x_0 = denoiser(x_t.expand(n + 1, *law.shape), level.expand(n + 1), z).flatten(1)
    L = (x_0[1:] - x_0[0]).T
    q = law.denoised(x_t, level)
    torch.testing.assert_close(x_0[0], q.mean().flatten())
    torch.testing.assert_close(L @ L.T, q.cov()[0], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("level", [12.0, 15.0, 18.0, 25.0])
@pytest.mark.parametrize("law", [toy("rings"), toy("25-unequal"), law_of((1, 3, 3))], ids=["rings", "unequal", "1x3x3"])
def test_the_gaussian_denoiser_draws_as_widely_as_q_where_there_is_hardly_any_noise(law, level):
    """In float32, and far outside of the data too: x_0 is then all but known, and its covariance is a tiny one."""
    n, level = law.shape.numel(), torch.tensor([level])
    noise = torch.Generator().manual_seed(0)
    for x_t in (law.marginal(level).sample(500, noise), 30 * torch.randn(500, *law.shape, generator=noise)):
        cov, exact = (law.denoised(x, level).cov().double() for x in (x_t, x_t.double()))
        assert float((cov - exact).abs().max()) < 1e-3 * float(exact.diagonal(dim1=1, dim2=2).max()) + 1e-11
        x_0 = GaussianDenoiser(law)(x_t, level.expand(500), torch.randn(500, n, generator=noise))
        assert x_0.isfinite().all()


def test_the_mean_denoiser_is_the_mean_of_the_exact_one():
    n, law = 100_000, law_of((2,))
    x_t, level = randn(1, 2, seed=3).expand(n, 2), VP.level(2).float().expand(n)
    x_0 = ExactDenoiser(law)(x_t, level, randn(n, 3))
    mean = MeanDenoiser(law)(x_t[:1], level[:1], torch.zeros(1, 0))
    assert ((x_0.mean(0) - mean).abs() < 4 * x_0.std(0) / math.sqrt(n)).all()


def test_the_exact_denoiser_picks_each_component_with_its_posterior_weight():
    n, atoms = 100_000, Law.uniform(torch.tensor([[-1.0, 0], [0, 0.5], [1, 0]]), 0)
    x_t, level = torch.full((n, 2), 0.2), VP.level(2).float().expand(n)
    x_0 = ExactDenoiser(atoms)(x_t, level, randn(n, 3))
    share = torch.cdist(x_0.double(), atoms.mu).argmin(1).bincount(minlength=3) / n
    w = atoms.denoised(x_t[:1], level[:1]).log_w.exp()[0]
    assert ((share - w).abs() < 4 * (w * (1 - w) / n).sqrt()).all()


def test_no_latent_reaches_a_component_of_no_weight():
    law = Law(torch.tensor([-200.0, 0, -200]), torch.tensor([[5.0], [0.0], [5.0]]), torch.zeros(3))
    z = torch.tensor([[-8.0, 0], [0, 0], [8, 0]])
    x_0 = ExactDenoiser(law)(torch.zeros(3, 1), torch.full((3,), -10.0), z)
    assert x_0.flatten().tolist() == [0, 0, 0]


@pytest.mark.parametrize("of_law", CLOSED)
def test_many_samples_of_a_large_law_are_drawn_in_parts(of_law, monkeypatch):
    denoiser = of_law(law_of((2,)))
    x_t, z, level = randn(50, 2), randn(50, 3, seed=1)[:, : denoiser.latent_dim], randn(50, seed=2)
    whole, tables = denoiser(x_t, level, z), []
    monkeypatch.setattr("ddgan.diffusion.mixture.TABLE", 7 * len(denoiser.law.mu))
    monkeypatch.setattr(
        Law, "denoised", lambda law, x, *rest, at=Law.denoised: tables.append(len(x)) or at(law, x, *rest)
    )
    torch.testing.assert_close(denoiser(x_t, level, z), whole)
    assert tables == [7] * 7 + [1]


def test_consecutive_levels_accept_their_own_and_coarser_nested_grids():
    levels = Consecutive(VP).levels()
    for T in (1, 2, 4):
        levels.check(Schedule.vp(T))


def test_consecutive_levels_refuse_others_in_a_sentence():
    with pytest.raises(Refused) as error:
        Consecutive(VP).levels().check(Schedule.vp(8))
    assert str(error.value) == "this model knows vp with T = 1, 2 or 4 alone: choose one of these"
    with pytest.raises(Refused, match="this model knows vp with T = 1, 2 or 4 alone"):
        Consecutive(VP).levels().check(Schedule.named("cosine", 4))
    with pytest.raises(Refused, match=r"of its own schedule, which has T = 2 \(log-SNR 1.00, -3.00\): choose"):
        Levels((1.0, -3.0), continuous=False).check(VP)


def test_levels_between_accept_every_schedule_inside_and_refuse_those_outside_in_a_sentence():
    levels = Anywhere(Schedule.vp(1000)).levels()
    for T in (1, 3, 8, 50):
        levels.check(Schedule.vp(T))
    for T in (51, 64, 1000):
        with pytest.raises(Refused, match="^this model knows up to 50 steps of vp: choose 50 or fewer$"):
            levels.check(Schedule.vp(T))


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule.vp(16, 0.0, 1.0), r"knows up to (\d+) steps of vp with this range: choose \1 or fewer$"),
        (
            Schedule.named("karras", 4, (0.05, 2.0)),
            r"as little noise as x_1 of this schedule has \(log-SNR 6.0; it knows -10.0 to 5.1\): "
            "choose a range that ends with more noise, or another schedule$",
        ),
        (Schedule.named("log-snr", 4, (-15.0, 5.0)), "as much noise as x_T .* a range that begins with less noise"),
        (Schedule.of_levels(torch.tensor([-10.0, 7.0])), "as little noise as x_1 .*, or another schedule$"),
    ],
)
def test_a_refusal_says_what_to_choose(schedule, words):
    levels = Anywhere(Schedule.vp(1000)).levels()
    with pytest.raises(Refused, match=words):
        levels.check(schedule)


def test_a_hundredth_of_a_nat_is_rounding_and_a_tenth_is_another_level():
    known = VP.level(torch.arange(1, 5))
    Levels(tuple((known + 0.009).tolist()), continuous=False).check(VP)
    with pytest.raises(Refused):
        Levels(tuple((known + 0.1).tolist()), continuous=False).check(VP)


def test_closed_forms_accept_every_schedule_and_a_trained_network_only_its_own():
    for denoiser in (*(kind(law_of((2,))) for kind in CLOSED), network("skip", 2)):
        denoiser.check(Schedule.named("cosine", 1000))
    trained = network("skip", 2)
    trained.levels = Consecutive(VP).levels()
    trained.check(VP)
    with pytest.raises(Refused, match="this model knows"):
        trained.check(Schedule.named("cosine", 4))


def test_the_gaussian_denoiser_of_fewer_points_than_coordinates_is_finite():
    law, t = Law.uniform(randn(3, 1, 3, 3), 0), torch.arange(1, 5)
    x_0 = GaussianDenoiser(law)(randn(4, 1, 3, 3).float(), VP.level(t).float(), randn(4, 9).float())
    assert x_0.isfinite().all()


def test_the_gaussian_denoiser_of_few_images_has_their_mean_and_covariance():
    """Rounded to float32 this covariance has eigenvalues below zero: Cholesky finds no factor."""
    noise = torch.Generator().manual_seed(0)
    law, level = Law.uniform(torch.randint(2, (8, 768), generator=noise) * 2 - 1.0, 0), torch.full((1,), -7.0)
    x_t, z = torch.randn(1, 768, generator=noise), torch.zeros(1, 768, requires_grad=True)
    q, v = law.denoised(x_t, level), torch.randn(768, generator=noise)
    assert torch.linalg.cholesky_ex(q.cov()[0].double() + 1e-6 * torch.eye(768)).info
    x_0 = GaussianDenoiser(law)(x_t, level, z)
    (along,) = torch.autograd.grad(x_0[0] @ v, z)  # L^T v
    torch.testing.assert_close(x_0, q.mean())
    torch.testing.assert_close(along.square().sum(), v @ q.cov()[0] @ v, rtol=1e-3, atol=0)


def test_more_noise_than_was_trained_on_is_refused_and_fewer_steps_are_no_way_out():
    levels = Anywhere(Schedule.vp(1000)).levels()
    with pytest.raises(Refused, match="as much noise as x_T .*log-SNR -25.0; .* choose a range that begins with less"):
        levels.check(Schedule.vp(4, 0.1, 50.0))


@pytest.mark.parametrize("label", ["cat", 1.5, 4, -1, torch.tensor([0, 99]), torch.tensor([0.5])])
def test_what_is_no_class_is_refused(label):
    denoiser = registry.generator("unet", (1, 8, 8), latent_dim=2, width=16, depth=1, multipliers=(1,), classes=3)
    with pytest.raises(Refused, match=r"^a class must be a whole number in 0\.\.2, or 3 for any, got "):
        denoiser.given(label)


@pytest.mark.parametrize("closed", CLOSED)
def test_an_exact_denoiser_takes_a_level_as_a_law_does(closed):
    denoiser, x_t = closed(law_of((2,))), randn(4, 2)
    z = randn(4, denoiser.latent_dim, seed=1)
    of_one = denoiser(x_t, torch.ones(4, dtype=torch.float64), z)
    assert all(torch.equal(denoiser(x_t, level, z), of_one) for level in (1.0, 1, torch.ones(1, dtype=torch.int64)))
