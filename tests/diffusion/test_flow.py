"""The probability flow carries q(x_t) to q(x_s), keeps order on a line, and is undone by going back."""

import pytest
import torch

from ddgan.data.toys import TOYS, toy
from ddgan.diffusion import flow
from ddgan.diffusion.flow import FlowDenoiser, carried
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.schedule import Schedule
from ddgan.metrics.energy import energy_distance

TOP, CLEAN = Schedule.vp(1).level(1), torch.full((1,), torch.inf)
LINE, GRID = toy("4-gaussians-1d"), toy("25-gaussians")


def normal(n, *shape, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", TOYS)
def test_noise_becomes_the_law(name):
    law = toy(name)
    x_0 = carried(law, normal(1500, *law.shape), TOP, CLEAN)
    assert abs(energy_distance(x_0.float(), law.sample(1500, torch.Generator().manual_seed(1)))) < 0.01


@pytest.mark.parametrize("level", [-4.0, 0.0, 3.0])
def test_a_quantile_is_carried_to_the_same_quantile(level):
    there, x = torch.tensor([level]), normal(200, 1)
    x_s = carried(LINE, x, TOP, there)
    before, after = (flow._cdf(LINE.marginal(v), u[:, 0])[0] for v, u in ((TOP, x), (there, x_s)))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-9)
    assert torch.equal(x[:, 0].argsort(), x_s[:, 0].argsort()), "order is kept on a line"


@pytest.mark.parametrize("name", ["25-gaussians", "rings"])
def test_two_parts_of_a_way_are_the_way(name):
    law, middle = toy(name), torch.tensor([0.5])
    x = normal(500, 2)
    apart = carried(law, carried(law, x, TOP, middle), middle, CLEAN) - carried(law, x, TOP, CLEAN)
    assert float((apart.norm(dim=1) > 0.01).double().mean()) < 0.01, "but for those who stand where two ways part"


def test_an_integrated_flow_is_that_of_quantiles():
    x = normal(1000, 2)
    levels = TOP.expand(1000), CLEAN.expand(1000)
    apart = (flow._integrated(GRID, x, *levels) - carried(GRID, x, TOP, CLEAN)).norm(dim=1)
    assert float(apart.median()) < 0.002 and float((apart > 0.1).double().mean()) < 0.006


def test_every_item_has_its_own_levels():
    x, t, s = normal(4, 2), torch.tensor([-10.0, -3.0, -3.0, 0.0]), torch.tensor([0.0, torch.inf, 2.0, 0.0])
    for law, error in ((GRID, 1e-5), (toy("rings"), 2e-3)):  # an integration has as many steps as its longest way
        together = carried(law, x, t, s)
        each = torch.cat([carried(law, x[i : i + 1], t[i : i + 1], s[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(together, each, rtol=error, atol=error)
        torch.testing.assert_close(together[3], x[3], rtol=1e-5, atol=1e-5)  # of no length


def test_coordinates_are_found_independent_where_they_are():
    assert len(GRID.lines) == 2 and len(LINE.lines) == 1 and toy("rings").lines is None
    weights = torch.tensor([0.2, 0.8])
    half, corners = torch.tensor([0.5, 0.5]), torch.cartesian_prod(*[torch.arange(2.0)] * 2)
    uneven = Law((weights[:, None] * half).flatten().log(), corners, torch.full((4,), 0.1))
    first, second = uneven.lines
    torch.testing.assert_close(first.log_w.exp(), weights.double())
    torch.testing.assert_close(second.log_w.exp(), torch.full((2,), 0.5).double())
    assert Law(torch.tensor([0.1, 0.2, 0.3, 0.9]), uneven.mu, uneven.var).lines is None, "weights are no product"
    twice = torch.arange(2.0).repeat(2)[:, None].expand(4, 2)
    assert Law.uniform(twice, 0.1).lines is None, "a diagonal whose points count twice fills no lattice"


def test_a_map_is_kept_and_another_is_not_taken_for_it(monkeypatch):
    denoiser, x, made = FlowDenoiser(toy("rings")), normal(8, 2), []
    monkeypatch.setattr(flow, "carried", lambda *asked: made.append(asked) or carried(*asked))
    first = denoiser.carried(x, TOP, CLEAN)
    assert torch.equal(denoiser.carried(x.clone(), TOP, CLEAN), first) and len(made) == 1
    assert not torch.equal(denoiser.carried(x + 0.1, TOP, CLEAN), first)
    assert not torch.equal(denoiser.carried(x, TOP, torch.zeros(1)), first)


def test_a_map_that_is_kept_does_not_change_with_what_was_asked_or_answered():
    denoiser, x = FlowDenoiser(GRID), normal(8, 2)
    before = denoiser.carried(x, TOP, CLEAN)
    before.zero_()
    torch.testing.assert_close(denoiser.carried(x, TOP, CLEAN), carried(GRID, x, TOP, CLEAN), rtol=0, atol=0)
    x += 1
    torch.testing.assert_close(denoiser.carried(x, TOP, CLEAN), carried(GRID, x, TOP, CLEAN), rtol=0, atol=0)


@pytest.mark.parametrize("law", [toy("rings"), GRID], ids=["integrated", "quantiles"])
def test_a_kept_map_has_its_gradient_each_time_it_is_asked_for(law):
    denoiser, x, h = FlowDenoiser(law), normal(8, 2), 1e-5
    step = torch.tensor([h, 0.0], dtype=torch.float64)
    slope = (carried(law, x + step, TOP, CLEAN) - carried(law, x - step, TOP, CLEAN)).sum(1) / (2 * h)
    with torch.no_grad():
        denoiser.carried(x, TOP, CLEAN)
    for _ in range(2):
        asked = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(denoiser.carried(asked, TOP, CLEAN).sum(), asked)
        torch.testing.assert_close(gradient[:, 0], slope, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["25-unequal", "swiss-roll", "two-moons"])
def test_eight_steps_integrate_a_toy(name):
    """More steps move the median sample by a thousandth, and one in 200 to another place."""
    law, x = toy(name), normal(1000, 2)
    apart = (carried(law, x, TOP, CLEAN) - carried(law, x, TOP, CLEAN, steps=64)).norm(dim=1)
    assert float(apart.median()) < 0.002 and float((apart > 0.1).double().mean()) < 0.005


def test_points_are_reached_and_nearly_reached():
    """A finite set: x_0 is the point that many steps lead to, and shortly before it x_s is near."""
    points = normal(40, 2, seed=1)
    law, x, before = Law.uniform(points, 0.0), normal(1000, 2), torch.tensor([15.0])
    x_0 = carried(law, x, TOP, CLEAN)
    assert float(torch.cdist(x_0, points).min(1).values.max()) < 1e-6
    apart = (x_0 - carried(law, x, TOP, CLEAN, steps=200)).norm(dim=1)
    assert float((apart > 1e-6).double().mean()) < 0.01
    x_s = carried(law, x, TOP, before)
    assert float((x_s - x_0).norm(dim=1).median()) < 0.005
    assert float((carried(law, x_s, before, CLEAN) - x_0).norm(dim=1).max()) < 1e-6


def test_the_flow_of_a_moved_law_is_the_moved_flow():
    law, noise = toy("8-gaussians"), torch.Generator().manual_seed(1)
    schedule, x, by = Schedule.vp(4), torch.randn(500, 2, generator=noise), torch.tensor([20.0, -5.0])
    t, s = schedule.level(4), schedule.level(1)
    a_t, a_s = (schedule.at(k).sqrt().float() for k in (4, 1))
    moved = carried(Law(law.log_w, law.mu + by, law.var), x + a_t * by, t, s)
    assert torch.allclose(moved, carried(law, x, t, s) + a_s * by, atol=1e-4)
