import math

import pytest
import torch

from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, draw, own_classes, sample
from ddgan.diffusion.schedule import FAMILIES, Schedule
from ddgan.diffusion.solver import DPM, Heun, Step, reverse_step
from ddgan.errors import Refused
from ddgan.metrics.points import coverage, sliced_w2
from ddgan.models import registry

N = 4000
SHAPES = pytest.mark.parametrize("shape", [(2,), (3, 8, 8)])
AXIS = torch.arange(-2.0, 3.0) / math.sqrt(2)
GRID = Law.uniform(torch.cartesian_prod(AXIS, AXIS), 0.035)


def law_of(shape: tuple[int, ...]) -> Law:
    return Law.uniform(torch.randn(6, *shape, generator=torch.Generator().manual_seed(0)), 0.2)


def steps_of(denoiser: Denoiser, T: int, n: int = N, schedule: Schedule | None = None) -> list[Step]:
    shape = denoiser.law.shape
    draws = Draws.from_seeds(range(n), shape, T, denoiser.latent_dim)
    return list(sample(schedule or Schedule.vp(T), denoiser, draws))


def parts(draws: Draws, item: int) -> Draws:
    only = slice(item, item + 1)
    return Draws(draws.x_T[only], draws.z[:, only], draws.eps[:, only])


def same(one: Draws, other: Draws) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# the law of the result


@pytest.mark.parametrize("T", [1, 2, 4])
def test_the_exact_law_in_gives_the_exact_law_out(T):
    """Share on a mode 1 - e^-8; 2 N KL is chi-squared with 24 degrees of freedom; N = 4000, five standard errors."""
    x_0 = steps_of(ExactDenoiser(GRID), T)[-1].x_s
    modes, on_mode, kl = coverage(x_0, GRID)
    due = 1 - math.exp(-8)
    assert modes == 25 and abs(on_mode - due) < 5 * math.sqrt(due * (1 - due) / N)
    assert 2 * N * kl < 24 + 5 * math.sqrt(48)
    truth = [GRID.sample(N, torch.Generator().manual_seed(seed)) for seed in range(9)]
    floor = torch.tensor([sliced_w2(truth[0], other) for other in truth[1:]])
    assert sliced_w2(x_0, truth[0]) < floor.mean() + 4 * floor.std()


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "optimal"])
def test_every_state_of_the_exact_sampler_has_the_marginal_law(family):
    """Moments of x_s against 200k true samples, N = 4000, five standard errors; a 1-D law of unequal weights."""
    schedule, law = Schedule.named(family, 4), toy("4-gaussians-1d")
    for step in steps_of(ExactDenoiser(law), 4, schedule=schedule):
        truth = law.marginal(schedule.level(step.s)).sample(200_000, torch.Generator().manual_seed(0))
        for power in (1, 2, 3):
            error = step.x_s.pow(power).mean() - truth.pow(power).mean()
            assert abs(error) < 5 * truth.pow(power).std() * math.sqrt(1 / N + 1 / 200_000)


# share of samples on a mode: reference.md, section 3 (20k samples there, N = 4000 here)
ORACLE = {
    GaussianDenoiser: {1: 0.108, 2: 0.106, 4: 0.111, 16: 0.407, 32: 0.896, 128: 1.0},
    MeanDenoiser: {2: 0.129, 4: 0.118, 16: 0.539, 32: 0.921, 128: 1.0},
}


@pytest.mark.parametrize(("kind", "T"), [(kind, T) for kind, row in ORACLE.items() for T in row])
def test_gaussian_steps_fail_when_few_and_recover_when_many(kind, T):
    expected = ORACLE[kind][T]
    on_mode = coverage(steps_of(kind(GRID), T)[-1].x_s, GRID).on_mode
    error = math.sqrt(expected * (1 - expected) * (1 / N + 1 / 20_000))
    assert abs(on_mode - expected) < 4 * error + 0.001


def test_the_mean_of_everything_collapses_onto_the_centre_mode():
    x_0 = steps_of(MeanDenoiser(GRID), 1)[-1].x_s
    assert coverage(x_0, GRID).modes == 1 and x_0.abs().max() < 4 * 0.035


# one step


@SHAPES
@pytest.mark.parametrize("kind", [MeanDenoiser, GaussianDenoiser, ExactDenoiser])
def test_a_mixed_t_batch_equals_its_items_one_by_one(kind, shape):
    schedule, denoiser, B = Schedule.vp(4), kind(law_of(shape)), 10
    s, t = torch.combinations(torch.arange(5)).T
    x_t, z, eps = Draws.from_seeds(range(B), shape, 1, denoiser.latent_dim)
    together = reverse_step(schedule, denoiser, x_t, s, t, z=z[0], eps=eps[0])
    for i in range(B):
        one = slice(i, i + 1)
        alone = reverse_step(schedule, denoiser, x_t[one], int(s[i]), int(t[i]), z=z[0, one], eps=eps[0, one])
        torch.testing.assert_close(together.x_s[one], alone.x_s, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(together.x_0[one], alone.x_0, rtol=1e-5, atol=1e-5)


@SHAPES
def test_a_step_records_what_made_it_and_the_last_returns_x_0_itself(shape):
    denoiser, schedule = ExactDenoiser(law_of(shape)), Schedule.vp(4)
    steps = steps_of(denoiser, 4, n=3)
    assert [(step.s, step.t) for step in steps] == [(3, 4), (2, 3), (1, 2), (0, 1)]
    assert torch.equal(steps[-1].x_s, steps[-1].x_0)
    for step, following in zip(steps, steps[1:], strict=False):
        assert torch.equal(step.x_s, following.x_t)
    for step in steps:
        assert torch.equal(step.posterior.at(step.eps), step.x_s)
        posterior = schedule.posterior(step.x_0, step.x_t, step.s, step.t)
        assert all(torch.equal(a, b) for a, b in zip(posterior, step.posterior, strict=True))


def test_a_denoiser_reads_the_first_latent_numbers_only():
    schedule, denoiser = Schedule.vp(2), GaussianDenoiser(law_of((2,)))
    short, long = (Draws.from_seeds(range(4), (2,), 2, L) for L in (2, 7))
    results = [list(sample(schedule, denoiser, draws))[-1].x_s for draws in (short, long)]
    assert torch.equal(*results)
    with pytest.raises(Refused, match="this denoiser reads 2 latent numbers, z has 1"):
        reverse_step(schedule, denoiser, short.x_T, 1, 2, z=short.z[0, :, :1], eps=short.eps[0])


def test_sampling_builds_no_graph_and_refuses_draws_that_do_not_fit():
    net = registry.generator("plain", (2,), latent_dim=2, width=8, depth=1)
    draws = Draws.from_seeds([0], (2,), 3, 2)
    assert not list(sample(Schedule.vp(3), net, draws))[-1].x_s.requires_grad
    with pytest.raises(Refused, match="the schedule has T = 4 steps, the draws have 3"):
        next(sample(Schedule.vp(4), net, draws))
    for some in (draws._replace(eps=draws.eps[:, :, :1]), draws._replace(x_T=torch.zeros(4, 2))):
        with pytest.raises(
            Refused, match=r"^draws are x_T \(B, \*D\), z \(T, B, L\) and eps \(T, B, \*D\), got \([14], 2"
        ):
            next(sample(Schedule.vp(3), net, some))
    for wrong in ([4, net, draws], [Schedule.vp(3), torch.nn.Linear(2, 2), draws], [Schedule.vp(3), net, draws.x_T]):
        with pytest.raises(
            Refused, match="^wanted .* or another (Schedule, got int|Denoiser, got Linear|Draws, got Te)"
        ):
            next(sample(*wrong))
    with pytest.raises(Refused, match=r"^wanted DDIM\(\) or another Solver, got the class Heun$"):
        next(sample(Schedule.vp(3), net, draws, solver=Heun))
    with pytest.raises(Refused, match=r"^wanted range\(100\) or another Sized, got int$"):
        next(draw(Schedule.vp(3), net, 100, (2,)))
    with pytest.raises(Refused, match="at_once counts samples, a whole number from 1 on, got -1"):
        next(draw(Schedule.vp(3), net, range(3), (2,), at_once=-1))
    net.shape = (1,)
    for of_a_line in (net, MeanDenoiser(toy("4-gaussians-1d"))):
        with pytest.raises(Refused, match=r"this denoiser is for data of shape \(1,\), the draws have \(2,\)"):
            next(sample(Schedule.vp(3), of_a_line, draws))


# the draws


@SHAPES
def test_seed_5_alone_equals_seed_5_in_a_batch_of_8(shape):
    together, alone = Draws.from_seeds(range(8), shape, 4, 3), Draws.from_seeds([5], shape, 4, 3)
    assert same(parts(together, 5), alone)
    denoiser, schedule = ExactDenoiser(law_of(shape)), Schedule.vp(4)
    together, alone = (Draws.from_seeds(seeds, shape, 4, denoiser.latent_dim) for seeds in (range(8), [5]))
    for a, b in zip(sample(schedule, denoiser, together), sample(schedule, denoiser, alone), strict=True):
        torch.testing.assert_close(a.x_s[5:6], b.x_s, rtol=1e-5, atol=1e-5)


@SHAPES
def test_a_seeds_draws_do_not_depend_on_t_or_latent_dim(shape):
    small, large = Draws.from_seeds([5], shape, 2, 3), Draws.from_seeds([5], shape, 9, 11)
    assert same(small, Draws(large.x_T, large.z[:2, :, :3], large.eps[:2]))


@pytest.mark.parametrize(
    ("seeds", "shape", "T", "latent_dim"),
    [
        (range(20_000), (1,), 1, 1),
        ([0], (100, 100), 1, 10_000),
        ([0], (1,), 20_000, 1),
        (range(-500, 500), (3, 3), 1, 9),
    ],
    ids=["over seeds", "over coordinates", "over steps", "over seeds and coordinates"],
)
def test_draws_are_standard_normal(seeds, shape, T, latent_dim):
    """Mean, variance and fourth moment in five standard errors; the Kolmogorov-Smirnov distance at level 1e-4."""
    for part in Draws.from_seeds(seeds, shape, T, latent_dim):
        x = part.flatten().double()
        n = len(x)
        if n < 1000:
            continue
        assert abs(x.mean()) < 5 / math.sqrt(n)
        assert abs(x.square().mean() - 1) < 5 * math.sqrt(2 / n)
        assert abs(x.pow(4).mean() - 3) < 5 * math.sqrt(96 / n)
        cdf, steps = torch.special.ndtr(x.sort().values), torch.arange(n + 1) / n
        distance = torch.maximum(cdf - steps[:-1], steps[1:] - cdf).max()
        assert distance < math.sqrt(math.log(2 / 1e-4) / (2 * n))


def test_draws_of_different_origin_are_uncorrelated():
    """Purposes, coordinates, steps and neighbouring seeds: all pairs of 19 columns, n = 20000, five standard errors."""
    n = 20_000
    draws = Draws.from_seeds(range(n + 1), (2,), 2, 3)
    columns = [draws.x_T, *draws.z, *draws.eps]
    x = torch.cat([torch.cat([c[:-1], c[1:]], 1) for c in columns], 1)
    correlation = x.T.corrcoef() - torch.eye(x.shape[1])
    squares = x.square().T.corrcoef() - torch.eye(x.shape[1])
    assert correlation.abs().max() < 5 / math.sqrt(n) and squares.abs().max() < 5 / math.sqrt(n)


@pytest.mark.parametrize("what", ["z", "eps"])
def test_reroll_changes_one_noise_of_the_chosen_step_and_items_only(what):
    draws, other = (Draws.from_seeds(seeds, (2,), 4, 3) for seeds in (range(5), range(5, 10)))
    changed = draws.reroll(what, 2, range(5, 10), items=[1, 3])
    new, old = getattr(changed, what), getattr(draws, what)
    assert (new != old).all(2).nonzero().tolist() == [[1, 1], [1, 3]]
    assert torch.equal(new[1, [1, 3]], getattr(other, what)[1, [1, 3]])
    assert same(draws, changed._replace(**{what: old})), "nothing else changed"
    assert same(draws, Draws.from_seeds(range(5), (2,), 4, 3))


@pytest.mark.parametrize("t", [0, 5])
def test_reroll_refuses_a_step_or_a_noise_that_is_not_there_in_a_sentence(t):
    draws = Draws.from_seeds([0], (2,), 4, 3)
    with pytest.raises(Refused, match=rf"t must be in 1\.\.4, got {t}"):
        draws.reroll("z", t, [1])
    with pytest.raises(Refused, match="must be z or eps, got 'x_T'"):
        draws.reroll("x_T", 1, [1])
    for seeds, came in ((7, r"\(\)"), ([7, 8], r"\(2,\)")):
        with pytest.raises(Refused, match=f"^noise is drawn again by 1 seeds, one a sample, got {came}$"):
            draws.reroll("z", 1, seeds)


@SHAPES
@pytest.mark.parametrize("what", ["z", "eps"])
def test_reroll_changes_later_states_only_and_the_past_is_bit_identical(shape, what):
    denoiser, schedule = ExactDenoiser(law_of(shape)), Schedule.vp(4)
    draws = Draws.from_seeds(range(3), shape, 4, denoiser.latent_dim)
    before, after = (list(sample(schedule, denoiser, d)) for d in (draws, draws.reroll(what, 2, range(3, 6))))
    for a, b in zip(before, after, strict=True):
        assert torch.equal(a.x_t, b.x_t) == (a.t >= 2)
        assert torch.equal(a.x_s, b.x_s) == (a.t > 2)


def test_seeds_are_a_sequence_of_whole_numbers():
    for wrong in ([], [[1, 2]], 3, [1.5, 1.0], [True, False]):
        with pytest.raises(Refused, match="seeds must be a non-empty sequence of whole numbers"):
            Draws.from_seeds(wrong, (2,), 1, 1)


@pytest.mark.parametrize("sizes", [(2, 1, 1), ((-2,), 1, 1), ((2.0,), 1, 1), ((2,), -1, 1), ((2,), 1, 1.5)])
def test_sizes_of_draws_are_whole_numbers(sizes):
    with pytest.raises(Refused, match="must be whole numbers from 0 on, got"):
        Draws.from_seeds([0], *sizes)


class Broadcast(Denoiser):
    """One number where x_0 has two."""

    def forward(self, x_t, level, z):
        return x_t.mean(1, keepdim=True)


class LaterBroadcast(Denoiser):
    """The same, but not at x_T."""

    def forward(self, x_t, level, z):
        return x_t if level[0] < -9 else x_t.mean(1, keepdim=True)


@pytest.mark.parametrize(("denoiser", "solver"), [(Broadcast(), DPM()), (LaterBroadcast(), Heun())])
def test_an_x_0_of_another_shape_is_refused_not_broadcast(denoiser, solver):
    with pytest.raises(Refused, match=r"a denoiser of x_t \(3, 2\) returns an x_0 of this shape, got \(3, 1\)"):
        next(sample(Schedule.vp(2), denoiser, Draws.from_seeds(range(3), (2,), 2, 0), solver=solver))


def test_a_chain_of_steps_has_the_gradient_of_the_sampler():
    schedule, denoiser, draws = Schedule.vp(3), MeanDenoiser(law_of((2,))), Draws.from_seeds(range(3), (2,), 3, 0)

    def sampled(x, step=None):
        for t in (3, 2, 1):
            step = Heun().step(schedule, denoiser, x, t - 1, t, z=draws.z[t - 1], eps=draws.eps[t - 1], before=step)
            x = step.x_s
        return x

    *_, last = sample(schedule, denoiser, draws, solver=Heun())
    assert torch.equal(last.x_s, sampled(draws.x_T))
    assert torch.autograd.gradcheck(sampled, draws.x_T.double().requires_grad_())


def test_a_start_at_t_is_the_rest_of_the_way_and_T_is_all_of_it():
    law, schedule = law_of((3, 8, 8)), Schedule.vp(4)
    draws = Draws.from_seeds(range(5), law.shape, 4, 1 + law.shape.numel())
    whole = list(sample(schedule, ExactDenoiser(law), draws))
    assert torch.equal(list(sample(schedule, ExactDenoiser(law), draws, 4))[-1].x_s, whole[-1].x_s)
    rest = list(sample(schedule, ExactDenoiser(law), draws._replace(x_T=whole[2].x_t), whole[2].t))
    assert [step.t for step in rest] == [2, 1] and torch.equal(rest[-1].x_s, whole[-1].x_s)
    for start in (0, 5):
        with pytest.raises(Refused, match=r"start must be in 1\.\.4"):
            next(sample(schedule, ExactDenoiser(law), draws, start))


@SHAPES
def test_drawing_a_few_at_a_time_gives_what_all_at_once_give(shape):
    denoiser, seeds, schedule = ExactDenoiser(law_of(shape)), range(3, 14), Schedule.vp(2)
    *_, last = sample(schedule, denoiser, Draws.from_seeds(seeds, shape, 2, denoiser.latent_dim))
    batches = list(draw(schedule, denoiser, seeds, shape, at_once=4))
    assert [len(x_0) for x_0 in batches] == [4, 4, 3]
    torch.testing.assert_close(torch.cat(batches), last.x_s)


def test_the_noise_of_a_seed_is_the_same_for_ever():
    """Or every link would show another picture, and no card its model."""
    x_T, z, eps = Draws.from_seeds([0, 5], (2,), 1, 1)
    found = torch.cat([x_T.flatten(), z.flatten(), eps.flatten()]).tolist()
    assert found == pytest.approx(
        [-0.7003, -0.9808, 0.8554, -2.3956, 1.6620, 0.1803, -1.1717, 0.7534, 0.0766, -0.0222], abs=1e-4
    )


# classes


def test_the_class_of_a_sample_is_a_function_of_its_seed_alone():
    whole = own_classes(range(1000), [3, 1, 2])
    assert torch.equal(own_classes(range(400, 700), [3, 1, 2]), whole[400:700])
    assert [int(own_classes([seed], [6.0, 2.0, 4.0])) for seed in range(20)] == whole[:20].tolist()
    assert whole[:12].tolist() == [1, 1, 2, 2, 0, 1, 0, 0, 0, 2, 2, 0], "or every link would show another picture"


def test_classes_have_their_shares_and_one_without_images_is_never_drawn():
    """Counts of 20,000 seeds, to five standard errors."""
    n, weights = 20_000, torch.tensor([0.0, 3.0, 0.0, 1.0, 2.0, 0.0])
    counts = torch.bincount(own_classes(range(n), weights.tolist()), minlength=6)
    p = weights / weights.sum()
    assert ((counts - n * p).abs() <= 5 * (n * p * (1 - p)).sqrt()).all()


def test_each_batch_is_told_the_classes_of_its_own_seeds():
    class Echo(Denoiser):
        classes = 10

        def forward(self, x_t, level, z, label=None):
            return torch.zeros_like(x_t) + label[:, None]

    of = lambda seeds: own_classes(seeds, [1] * 10)  # noqa: E731
    drawn = draw(Schedule.vp(2), Echo(), range(3, 14), (2,), at_once=4, labels=of)
    assert torch.equal(torch.cat(list(drawn))[:, 0].long(), own_classes(range(3, 14), [1] * 10))
