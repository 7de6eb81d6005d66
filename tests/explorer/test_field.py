"""The mean step: that of the exact law is q(x_s | x_t)'s own, the best Gaussian has the same, and of a Gaussian law it
is linear.
"""

import pytest
import torch

from ddgan.diffusion.mixture import Law, lattice
from ddgan.diffusion.sampler import Draws
from ddgan.errors import Refused
from ddgan.explorer.field import mean_step
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.field import SIDE, field
from ddgan.views.pictures import KINDS

SESSION = Session()
PLACES = lattice(torch.linspace(-2, 2, 5), 2)


@pytest.mark.parametrize("schedule", ["vp", "cosine"])
@pytest.mark.parametrize("t", [1, 2, 4])
def test_the_exact_law_and_the_best_gaussian_go_to_the_mean_of_the_reverse_law(schedule, t):
    request = Request(schedule=schedule)
    steps, law = SESSION.schedule(request), SESSION.law(request.data)
    truth = law.reverse(PLACES, steps.level(t - 1), steps.level(t)).mean() - PLACES
    for name in ("exact", "gaussian", "mean"):
        torch.testing.assert_close(mean_step(SESSION, request, name, t, PLACES), truth, atol=1e-4, rtol=1e-4)


def test_it_is_what_many_draws_of_a_step_do_on_average():
    request, n = Request(denoisers=("exact", "ddgan", "gaussian")), 4000
    place = torch.tensor([[0.6, -0.9]])
    for name in request.denoisers:
        model, steps = SESSION.model(request, name), SESSION.schedule(request)
        draws = Draws.from_seeds(range(9000, 9000 + n), (2,), 1, model.latent_dim)
        solver = SESSION.method(request, name).solver
        moved = solver.step(steps, model, place.expand(n, -1), 2, 3, z=draws.z[0], eps=draws.eps[0]).x_s - place
        error = moved.std(0) / n**0.5
        spread = moved.std(0) / 64**0.5 if name == "ddgan" else 0  # its field is itself a mean over 64 z
        found = mean_step(SESSION, request, name, 3, place)[0]
        assert ((found - moved.mean(0)).abs() < 4 * (error + spread)).all(), name


def test_of_a_gaussian_law_it_is_linear_and_of_a_mixture_it_is_not(monkeypatch):
    def bend(session):
        moves = mean_step(session, request, "exact", 2, PLACES).reshape(5, 5, 2)
        return max(float(moves.diff(n=2, dim=axis).abs().max()) for axis in (0, 1))

    request, session = Request(), Session()
    law = Law.uniform(torch.tensor([[0.3, -0.2]], dtype=torch.float64), 0.5)
    monkeypatch.setattr(session, "law", lambda data: law)
    assert bend(session) < 1e-5 < 1e-2 < bend(SESSION)
    a_t, a_s = (session.schedule(request).alpha_bar[t].sqrt() for t in (2, 1))
    still = (law.mu[0] * a_t).float()[None]  # at the mean of q(x_t) it goes to that of q(x_s)
    expected = (law.mu * a_s).float() - still
    torch.testing.assert_close(mean_step(session, request, "gaussian", 2, still), expected, atol=1e-5, rtol=1e-5)


def test_a_chain_of_fewer_steps_is_asked_about_the_step_that_it_stands_before():
    request = Request(denoisers=("heun",), T=5, budget="nfe")  # three steps of Heun's are five evaluations
    own = request.walked("heun")
    assert own.T == 3
    for t, its in {5: 3, 4: 3, 3: 2, 2: 2, 1: 1}.items():
        assert torch.equal(mean_step(SESSION, request, "heun", t, PLACES), mean_step(SESSION, own, "heun", its, PLACES))


@pytest.mark.parametrize(("data", "dim"), [("25-gaussians", 2), ("4-gaussians-1d", 1)])
def test_the_picture_of_a_field_has_every_panel_and_does_not_depend_on_the_samples(data, dim):
    kind = KINDS["field"]
    asked = kind.parse(f"data={data}&T=4&seed=3&n=500&forks=z.2.1&step=2&denoisers=exact,ddgan")
    assert asked == kind.parse(f"data={data}&step=2&denoisers=exact,ddgan")
    shown = field(SESSION, asked)
    assert [panel["key"] for panel in shown["panels"]] == ["exact", "ddgan"] and shown["size"] == SIDE[dim]
    moves = shown["panels"][0]["moves"].reshape(-1, dim) * shown["scale"]
    axis = torch.linspace(-1, 1, 2 * SIDE[dim] + 1)[1::2] * 2.6
    found = mean_step(SESSION, asked.request, "exact", 2, lattice(axis, dim))
    assert abs(moves - found.numpy()).max() < 2e-3


@pytest.mark.parametrize("step", ["", "&step=0", "&step=5", "&step=x"])
def test_a_step_that_the_request_has_not_is_refused(step):
    with pytest.raises(Refused, match="step must be"):
        KINDS["field"].parse(f"T=4{step}")


def test_what_a_denoiser_refuses_is_a_sentence_and_the_others_have_their_fields():
    shown = field(SESSION, KINDS["field"].parse("T=128&step=3&denoisers=exact,ddgan"))
    exact, ddgan = shown["panels"]
    assert exact["error"] is None and len(exact["moves"]) and "choose 50 or fewer" in ddgan["error"]
