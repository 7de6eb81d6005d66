"""Every solver keeps one contract, is exact where it can be, and gives the values that others measured."""

import inspect
import textwrap

import pytest
import torch

from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import Denoiser, ExactDenoiser, MeanDenoiser
from ddgan.diffusion.flow import FlowDenoiser
from ddgan.diffusion.gaussian import Gaussian
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import Schedule
from ddgan.diffusion.solver import DDIM, DPM, Ancestral, Flow, Heun, Renoise, Solver
from ddgan.errors import Refused
from ddgan.metrics.energy import energy
from ddgan.metrics.points import coverage

GRID = toy("25-gaussians")
NORMAL = Law(torch.zeros(1), torch.zeros(1, 1), torch.ones(1) * 0.3)
SOLVERS = [Ancestral(), DDIM(), DDIM(0.4), DDIM(1.0), DPM(), Heun(), Flow(), Renoise()]


class Of(Denoiser):
    """A denoiser of images."""

    def forward(self, x_t, level, z):
        return torch.tanh(x_t) * torch.sigmoid(level)[:, None, None, None].to(x_t)


def of(solver, law):
    return FlowDenoiser(law) if isinstance(solver, Flow) else MeanDenoiser(law)


def walked(solver, T, *, law=GRID, schedule="vp", n=64, start=None):
    draws = Draws.from_seeds(range(n), law.shape, T, 0)
    return list(sample(Schedule.named(schedule, T), of(solver, law), draws, start, solver)), draws


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("T", [1, 2, 7])
def test_steps_are_records_of_one_contract(solver, T):
    steps, draws = walked(solver, T)
    assert [(step.t, step.s) for step in steps] == [(t, t - 1) for t in range(T, 0, -1)]
    assert sum(step.nfe for step in steps) == solver.nfe(T) == (2 * T - 1 if isinstance(solver, Heun) else T)
    x_t = draws.x_T
    for step in steps:
        assert torch.equal(step.x_t, x_t) and torch.equal(step.x_s, step.posterior.at(step.eps))
        assert torch.equal(step.eps, draws.eps[step.t - 1])
        for there in step.midway:
            assert there.t == step.s and there.x.shape == there.x_0.shape == step.x_t.shape
        x_t = step.x_s
    last = steps[-1]
    assert torch.equal(last.x_s, last.x_0), "the last step returns x_0 itself"


@pytest.mark.parametrize("solver", [s for s in SOLVERS if not isinstance(s, Flow)], ids=str)
def test_images_walk_the_same_path_as_points(solver):
    draws = Draws.from_seeds(range(3), (2, 4, 4), 5, 0)
    *_, last = sample(Schedule.vp(5), Of(), draws, solver=solver)
    one = Draws.from_seeds([1], (2, 4, 4), 5, 0)
    *_, alone = sample(Schedule.vp(5), Of(), one, solver=solver)
    torch.testing.assert_close(last.x_s[1:2], alone.x_s)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_walks_begin_anywhere(solver):
    steps, draws = walked(solver, 8, start=3)
    assert [step.t for step in steps] == [3, 2, 1] and torch.equal(steps[0].x_t, draws.x_T)


def test_ddim_of_eta_one_is_ancestral_and_of_eta_zero_draws_nothing():
    (ancestral, _), (ddim, _), (still, _) = (walked(solver, 6) for solver in (Ancestral(), DDIM(1.0), DDIM()))
    for a, b in zip(ancestral, ddim, strict=True):
        torch.testing.assert_close(a.x_s, b.x_s, rtol=1e-4, atol=1e-4)
    assert all(not step.posterior.var.any() for step in still)
    with pytest.raises(Refused, match=r"eta must be in 0\.\.1, got 2"):
        DDIM(2.0)


@pytest.mark.parametrize(("solver", "order"), [(DDIM(), 1), (DPM(), 2), (Heun(), 2)], ids=str)
def test_the_error_falls_with_the_order_of_the_solver(solver, order):
    """Of a Gaussian the flow is linear: x_0 = x_T / sd(x_T) sd(x_0). Levels are even in log-SNR, as the orders want."""
    ends = Draws.from_seeds(range(32), (1,), 1, 0).x_T.double()
    errors = []
    for T in (16, 32, 64):
        level = torch.linspace(9.0, -9.0, T, dtype=torch.float64)
        schedule = Schedule(torch.cat([torch.ones(1).double(), level.sigmoid()]))
        draws = Draws(ends, torch.zeros(T, 32, 0), torch.zeros(T, 32, 1).double())
        *_, last = sample(schedule, MeanDenoiser(NORMAL), draws, solver=solver)
        alpha_bar = schedule.alpha_bar[-1]
        exact = ends * (0.3 / (0.3 * alpha_bar + 1 - alpha_bar)).sqrt()
        errors.append(float((last.x_t - exact).abs().max()))
    rates = [torch.tensor(a / b).log2() for a, b in zip(errors, errors[1:], strict=False)]
    assert all(rate > order - 0.3 for rate in rates), (errors, rates)


def test_the_solver_that_help_shows_is_exact_with_the_exact_law():
    """n = 20000, T = 3: the samples are as near to the law as exact ones are, to 2e-4 of the energy distance."""
    code = inspect.cleandoc(Solver.__doc__).split("exact denoiser:\n\n")[1]
    exec(textwrap.dedent(code), names := {"Solver": Solver, "Gaussian": Gaussian})
    draws = Draws.from_seeds(range(20_000), GRID.shape, 3, 3)
    *_, last = sample(Schedule.named("vp", 3), ExactDenoiser(GRID), draws, solver=names["HalfNew"]())
    assert energy(last.x_s, GRID) < 2e-4 and last.nfe == 1 and coverage(last.x_s, GRID).on_mode > 0.999


def test_the_flow_is_only_of_laws():
    with pytest.raises(Refused, match="the exact flow is that of a law"):
        list(sample(Schedule.vp(2), MeanDenoiser(GRID), Draws.from_seeds([0], (2,), 2, 0), solver=Flow()))


@pytest.mark.parametrize("T", [1, 3, 8])
def test_the_flow_is_exact_in_any_number_of_steps(T):
    steps, _ = walked(Flow(), T, n=2000)
    found = coverage(steps[-1].x_s, GRID)
    assert (found.modes, found.on_mode) == (25, 1.0) and found.kl < 0.01
    for step in steps:
        torch.testing.assert_close(step.x_0, steps[0].x_0, rtol=0, atol=2e-3)


def test_renoised_steps_of_the_flow_are_exact_too():
    """x_0 of the flow is a sample of the law at every t, so that new noise on it is q(x_s)."""
    draws = Draws.from_seeds(range(2000), (2,), 4, 0)
    *_, last = sample(Schedule.vp(4), FlowDenoiser(GRID), draws, solver=Renoise())
    found = coverage(last.x_s, GRID)
    assert found.modes == 25 and found.on_mode > 0.999 and found.kl < 0.015


# 5,000 samples of 25-gaussians with the exact mean, computed by another implementation in float64: share on a mode
@pytest.mark.parametrize(
    ("schedule", "T", "solver", "on_mode"),
    [
        ("vp", 4, DDIM(), 0.029), ("vp", 4, Heun(), 0.015), ("vp", 16, DDIM(), 0.41), ("vp", 16, DPM(), 0.45),
        ("vp", 16, Heun(), 0.64), ("vp", 32, DPM(), 0.93), ("geometric", 4, DDIM(), 0.68),
        ("geometric", 4, Heun(), 0.13), ("geometric", 8, DPM(), 0.98), ("geometric", 8, Heun(), 0.32),
        ("geometric", 16, Heun(), 0.78),
    ],
    ids=str,
)  # fmt: skip
def test_solvers_score_what_another_implementation_scores(schedule, T, solver, on_mode):
    steps, _ = walked(solver, T, schedule=schedule, n=5000)
    assert coverage(steps[-1].x_s, GRID).on_mode == pytest.approx(on_mode, abs=0.03)


@pytest.mark.parametrize("solver", [DDIM(), DPM(), Heun(), Flow()])
def test_steps_may_be_counted_by_tensors(solver):
    schedule, denoiser, x = Schedule.vp(4), FlowDenoiser(toy("8-gaussians")), torch.randn(5, 2)
    noise = {"z": torch.zeros(5, 0), "eps": torch.randn(5, 2)}
    for s, t in ((0, 1), (1, 3)):
        by_tensors = solver.step(schedule, denoiser, x, torch.full((5,), s), torch.full((5,), t), **noise)
        assert torch.allclose(by_tensors.x_s, solver.step(schedule, denoiser, x, s, t, **noise).x_s, atol=1e-6)


def test_a_step_that_ends_for_some_items_only_is_refused():
    s, t, x = torch.tensor([0, 1]), torch.tensor([1, 2]), torch.randn(2, 2)
    with pytest.raises(Refused, match=r"^this solver takes all items to x_0 in one step, or none of them$"):
        Heun().step(Schedule.vp(4), MeanDenoiser(toy("8-gaussians")), x, s, t, z=torch.zeros(2, 0), eps=x)
