"""Every name of a method walks points of every toy, and images where it can, by one code path."""

import pytest
import torch

from ddgan.diffusion.gaussianity import bound, optimal
from ddgan.diffusion.solver import ANCESTRAL, DDIM, Renoise
from ddgan.errors import Refused
from ddgan.explorer.methods import GROUPS, METHODS, method_of
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session

SESSION = Session()
HERE = [
    (data, name)
    for data in ("25-gaussians", "4-gaussians-1d", "rings")
    for name, method in METHODS.items()
    if method.closed or method.model in SESSION.source(data).models
]


@pytest.mark.parametrize(("data", "name"), HERE)
def test_every_method_walks_on_points(data, name):
    request = Request(data=data, denoisers=(name,), T=3, n=20)
    steps = list(SESSION.run(request, name))
    assert len(steps) == 3 and steps[-1].x_s.isfinite().all()
    assert sum(step.nfe for step in steps) == method_of(name).solver.nfe(3)
    again = list(SESSION.run(request, name, slice(4, 5)))
    torch.testing.assert_close(again[-1].x_s, steps[-1].x_s[4:5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["learned-ddim", "learned-dpm"])
def test_solvers_walk_on_images_from_the_same_noise(name):
    request = Request(data="mnist", denoisers=("regression", name), T=2, n=2)
    first, other = (list(SESSION.run(request, method)) for method in request.denoisers)
    assert torch.equal(first[0].x_t, other[0].x_t)
    torch.testing.assert_close(first[0].x_0, other[0].x_0), "the same mean at the first step"
    assert not torch.equal(first[-1].x_s, other[-1].x_s)


@pytest.mark.parametrize("name", ["mean", "ddim", "flow"])
def test_what_needs_a_law_is_refused_for_images(name):
    with pytest.raises(Refused, match="the law of MNIST has no closed form"):
        list(SESSION.run(Request(data="mnist", denoisers=(name,), T=2, n=2), name))


def test_every_method_has_a_group_and_words():
    for method in METHODS.values():
        assert method.group in GROUPS and method.label and method.words


def test_eta_is_ddims_and_eta_1_is_the_exact_mean():
    request = Request.parse({"denoisers": "ddim,mean", "eta": "1", "n": 50, "budget": "nfe"})
    ddim, mean = (list(SESSION.run(request, name))[-1].x_s for name in ("ddim", "mean"))
    torch.testing.assert_close(ddim, mean, rtol=1e-3, atol=1e-4)
    assert Request.from_query(request.to_query()) == request and "eta" not in Request().to_query()
    assert request.method("ddim").solver == DDIM(1.0) and request.method("mean").solver == ANCESTRAL
    assert request.method("ddim").words == "the true mean, a walk with noise, η = 1"
    assert Request.parse({"denoisers": "ddim"}).method("ddim").words == "the true mean, a deterministic walk"
    with pytest.raises(Refused, match=r"eta must be in 0\.\.1, got 2"):
        Request.parse({"eta": 2})


def test_a_visitors_consistency_model_draws_new_noise_each_step():
    assert method_of("own-0123456789abcdef", objective="consistency").solver == Renoise()
    assert method_of("own-0123456789abcdef").solver == ANCESTRAL


@pytest.mark.slow
@pytest.mark.parametrize("data", ["25-gaussians", "rings"])
def test_the_optimal_schedule_is_that_of_the_data(data):
    request = Request.parse({"data": data, "schedule": "optimal", "T": 3, "denoisers": "exact,gaussian", "n": 10})
    schedule, law = SESSION.schedule(request), SESSION.law(data)
    assert torch.equal(schedule.alpha_bar, optimal(law, 3).alpha_bar)
    assert bound(law, schedule) < bound(law, Request(data=data, T=3).named_schedule())
    assert Request.from_query(request.to_query()) == request
    narrow = Request.parse({"data": data, "schedule": "optimal", "T": 3, "span": "-9,4"})
    levels = SESSION.schedule(narrow).level(torch.arange(1, 4))
    assert float(levels[-1]) == pytest.approx(-9) and float(levels[0]) < 4.001


def test_the_optimal_schedule_of_images_is_that_of_the_learned_gaussians_errors():
    schedule = SESSION.schedule(Request(data="mnist", denoisers=("learned-ddim",), schedule="optimal", T=5))
    level = schedule.level(torch.arange(1, 6))
    assert float(level[-1]) == pytest.approx(-10) and float(level[0]) == pytest.approx(5)
    assert (level.diff() < 0).all()


def test_the_optimal_schedule_is_refused_where_there_is_none():
    with pytest.raises(Refused, match="no Learned Gaussian .* of StackedMNIST is here"):
        SESSION.schedule(Request(data="stackedmnist", denoisers=("ddgan",), schedule="optimal"))
    with pytest.raises(Refused, match="the span of the optimal schedule"):
        Request.parse({"schedule": "optimal", "span": "-30,4"})
    with pytest.raises(Refused, match="1 to 64 steps, got T = 65"):
        SESSION.schedule(Request(schedule="optimal", T=65))


def test_t_counts_steps_or_evaluations():
    assert [METHODS["heun"].steps(T, "nfe") for T in (1, 2, 3, 4, 5, 8)] == [1, 1, 2, 2, 3, 4]
    assert METHODS["heun"].steps(8, None) == METHODS["dpm"].steps(8, "nfe") == 8
    with pytest.raises(Refused, match="budget must be T or nfe, got 'x'"):
        Request.parse({"budget": "x"})
