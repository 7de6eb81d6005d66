"""At one x_t: the exact denoiser is at the noise floor, the Gaussian is not, and D* is zero for a perfect generator."""

import base64
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws
from ddgan.errors import Refused
from ddgan.explorer import posterior as posterior_module
from ddgan.explorer.plane import LIMIT, centres
from ddgan.explorer.posterior import (
    DRAWS,
    LATTICE,
    SIDE,
    VISIBLE,
    Question,
    ask,
    fold,
    gaps,
    kernel_density,
    landscape,
    log_ratio,
    weights,
)
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views import stage
from ddgan.views.encoding import encoded
from ddgan.views.posterior import NATS, SEEN, posterior

SESSION = Session()


def question(t=1, x=(0.2, 0.1), of="x_0", query="T=4"):
    return Question.parse({"query": query, "t": t, "x": list(x), "of": of})


@pytest.mark.parametrize("of", ["x_0", "x_s"])
@pytest.mark.parametrize("t", [1, 2, 4])
def test_the_exact_denoiser_is_at_the_floor(t, of):
    answer = ask(SESSION, question(t, of=of))
    noise = 1 / math.sqrt(DRAWS)
    assert abs(answer.distances["exact"]["energy"]) < 0.3 * noise and abs(answer.floor["energy"]) < 0.3 * noise
    assert abs(answer.distances["exact"]["modes"] - answer.floor["modes"]) < noise
    assert answer.distances["exact"]["on_mode"] > 0.99


def test_a_gaussian_draws_between_the_modes_and_the_ddgan_on_them():
    answer = ask(SESSION, question())
    assert answer.modes >= 20 and answer.gap > 4
    assert answer.distances["gaussian"]["on_mode"] < 0.1 < 0.9 < answer.distances["ddgan"]["on_mode"]
    assert answer.distances["gaussian"]["energy"] > 2 * abs(answer.floor["energy"])


def test_the_question_about_x_s_at_the_last_step_is_the_one_about_x_0():
    a, b = (ask(SESSION, question(1, of=of)) for of in ("x_0", "x_s"))
    assert torch.equal(a.draws["ddgan"], b.draws["ddgan"]) and torch.equal(a.truth.mu, b.truth.mu)


def test_a_denoiser_that_refuses_says_so_and_the_others_answer():
    answer = ask(SESSION, question(128, query="T=128"))
    assert "steps of vp: choose 50 or fewer" in str(answer.draws["ddgan"]) and "ddgan" not in answer.distances
    assert answer.draws["exact"].shape == (DRAWS, 2)


def test_gaps_of_small_steps_vanish_and_agree_with_the_answers():
    points = torch.tensor([[0.0, 0.0], [0.5, 0.3]])
    small, large = (gaps(SESSION, question(128, of="x_s", query="T=128"), points), gaps(SESSION, question(1), points))
    assert small.max() < 1e-3 < 1 < large.min()
    assert gaps(SESSION, question(), torch.tensor([[0.2, 0.1]]))[0] == pytest.approx(
        ask(SESSION, question()).gap, abs=0.3
    )


def test_a_trained_generator_leaves_the_optimal_discriminator_little_to_tell_apart():
    axis = torch.linspace(-2, 2, 41, dtype=torch.float64)
    ratio, learned, seen = log_ratio(SESSION, question(2), axis, blur=0.03)
    assert ratio.shape == seen.shape == (41, 41) and float(seen.max()) == 1
    assert float((ratio * seen).abs().sum() / seen.sum()) < 0.5
    assert learned.shape == ratio.shape and learned.isfinite().all()


def test_a_generator_that_is_right_leaves_nothing_to_tell_apart_but_chance(monkeypatch):
    """The exact denoiser in the DDGAN's place: the log ratio is what MANY draws make of 0."""
    drawn = posterior_module._draws
    monkeypatch.setattr(
        posterior_module, "_draws", lambda session, question, _, n: drawn(session, question, "exact", n=n)
    )
    ratio, _, seen = log_ratio(SESSION, question(1, x=(0.3, 0.2)), centres(64), blur=LIMIT / 64)
    assert ratio[seen > SEEN].square().mean().sqrt() < 0.1


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"t": 0}, "t must be"), ({"t": 5}, "t must be"), ({"x": [0.1]}, "x must be 2 numbers"),
        ({"x": None}, "x must be"), ({"x": [0.1, "nan"]}, "finite"),
        ({"x": [0.1, -6.01]}, "within -6..6, got 0.1, -6.01"), ({"of": "x_t"}, "of must be"),
        ({"query": "T=0"}, "T must be"),
    ],
)  # fmt: skip
def test_a_question_that_is_none_gets_a_sentence(wrong, words):
    with pytest.raises(Refused, match=words):
        Question.parse({"query": "T=4", "t": 1, "x": [0.2, 0.1], **wrong})


@pytest.mark.parametrize("n", [1, 2])
def test_a_kernel_density_is_as_narrow_as_the_modes_whatever_a_few_strays_do_and_wide_where_there_is_but_one(n):
    noise = torch.Generator().manual_seed(0)
    modes = Law.uniform(torch.cartesian_prod(*[torch.tensor([-1.0, 0, 1])] * n).reshape(-1, n), 0.03)
    x = modes.sample(DRAWS, noise)
    x[:8] += 0.4
    estimate = kernel_density(x)
    assert 0.01 < float(estimate.var[0].sqrt()) < 0.03
    exact = modes.sample(4000, noise)
    assert float((modes.log_prob(exact) - estimate.log_prob(exact)).median().abs()) < 0.3
    assert 0.1 < float(kernel_density(torch.randn(DRAWS, n, generator=noise)).var[0].sqrt()) < 0.5


def test_a_kernel_density_of_one_point_is_finite():
    assert kernel_density(torch.zeros(DRAWS, 2)).log_prob(torch.zeros(1, 2)).isfinite().all()


def test_the_weights_of_the_modes_stand_where_the_law_has_them():
    law = Law(
        torch.tensor([0.1, 0.5, 0.395, 0.005]).log(),
        torch.tensor([[0.0], [1.0], [5.0], [9.0]]),
        torch.full((4,), 0.1),
        torch.tensor([0, 0, 1, 2]),
    )
    found = [(at.item(), round(weight, 3)) for at, weight in weights(law)]
    assert found == [(1, 0.6), (5, 0.395)]


@pytest.mark.parametrize("T, t", [(4, 1), (4, 4), (1, 1)])
def test_the_colours_of_the_discriminators_end_where_what_is_seen_ends(T, t):
    values = {"query": f"T={T}", "t": t, "x": [0.3, 0.2], "of": "x_s"}
    shown = json.loads(encoded(posterior(SESSION, Question.parse(values))))["surfaces"]
    optimal, learned, seen = log_ratio(
        SESSION, Question.parse(values), centres(shown["size"]), blur=LIMIT / shown["size"]
    )
    both = torch.cat([v[seen > SEEN].abs() for v in (optimal, learned)])
    within = [(both <= nats).double().mean() > 0.98 for nats in NATS]
    assert shown["nats"] == (NATS[within.index(True)] if any(within) else NATS[-1])
    colours = np.frombuffer(base64.b64decode(shown["optimal"]), np.int8).reshape(shown["size"], -1)
    expected = (optimal.T.flip(0) / shown["nats"]).clamp(-1, 1) * 127
    assert np.abs(colours - expected.numpy()).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("t", [1, 2])
def test_the_optimal_discriminator_is_the_log_ratio_of_the_truth_to_what_the_generator_draws(t, monkeypatch):
    """A generator that draws 0 whatever z is: p is one Gaussian, of the step's own variance and the blur's."""
    monkeypatch.setattr("ddgan.explorer.posterior._draws", lambda session, question, name, n: torch.zeros(n, 2))
    asked, blur = question(t, x=(0.5, 0.4), of="x_s"), 0.1
    axis, schedule = torch.linspace(-1, 1, 9, dtype=torch.float64), asked.request.named_schedule()
    ratio, learned, _ = log_ratio(SESSION, asked, axis, blur)
    x_s, x_t = torch.cartesian_prod(axis, axis), torch.tensor([[0.5, 0.4]])
    step = schedule.posterior(torch.zeros(1, 2), x_t, t - 1, t)
    p = Law(torch.zeros(1), step.mean, step.var.flatten() + blur**2).log_prob(x_s)
    truth = asked.truth(SESSION)
    q = replace(truth, var=truth.var + blur**2).log_prob(x_s)
    tiny = 1e-6 * (q.exp() + p.exp()).max()
    torch.testing.assert_close(ratio.flatten(), ((q.exp() + tiny) / (p.exp() + tiny)).log(), rtol=1e-4, atol=1e-4)
    d = SESSION.discriminator(asked.request.data)
    expected = d(x_s.float(), x_t, schedule.level(t - 1).float(), schedule.level(t).float())
    torch.testing.assert_close(learned.flatten(), expected)


def test_the_entropy_of_the_mode_weights_is_in_nats():
    """Far from the data, at T = 1, nothing is known of x_0: 25 modes of equal weight."""
    assert ask(SESSION, question(1, x=(0, 0), query="T=1&denoisers=exact")).entropy == pytest.approx(
        math.log(25), abs=1e-3
    )


def test_all_denoisers_read_one_noise_and_another_seed_is_another():
    asked = question(query="T=4&denoisers=exact,ddgan,gaussian")
    first, other = (ask(SESSION, asked, seed).draws for seed in (0, 1))
    assert not any(torch.equal(first[name], other[name]) for name in first)
    z = Draws.from_seeds(range(DRAWS), (2,), 1, 3).z[0]
    mean, cov = (v.float() for v in asked.truth(SESSION).moments())
    torch.testing.assert_close(first["gaussian"], mean + z[:, :2] @ torch.linalg.cholesky(cov).T, rtol=1e-3, atol=1e-3)
    exact = SESSION.model(asked.request, "exact")
    x_t, level = torch.tensor(asked.x).expand(DRAWS, -1), asked.request.named_schedule().level(1).expand(DRAWS)
    torch.testing.assert_close(first["exact"], exact(x_t, level, z))


def test_a_mode_counts_from_one_percent():
    answer = ask(SESSION, question(x=(1.5, 1.5)))
    assert answer.modes == int((answer.truth.mode_weights() >= VISIBLE).sum()) < 25


def test_a_gaussian_loses_in_the_last_of_few_steps_and_hardly_anything_in_many():
    few = dict(stage.step_gaps(Session(), Request(T=4)))
    assert [*few] == [4, 3, 2, 1] and few[1] > 4 and max(few[t] for t in (2, 3, 4)) < 0.1
    many = dict(stage.step_gaps(Session(), Request(T=128)))
    assert len(many) == stage.MAX_GAPS and (max(many), min(many)) == (128, 1) and max(many.values()) < 0.5


# ---------------------------------------------------------------- landscapes

ASKED = [
    question(1),
    question(2, of="x_s"),
    question(4),
    question(1, query="data=rings"),
    question(3, (1.5, -1.5), "x_s", "data=checkerboard"),
    question(1, of="x_s", query="T=8&schedule=geometric"),
    question(1, of="x_s", query="T=128&denoisers=exact"),
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: f"{asked.request.data}-{asked.t}-{asked.of}")
def test_the_volume_under_every_surface_is_one(asked):
    land = landscape(SESSION, asked)
    cell = (2 * land.half / SIDE) ** 2
    assert list(land.densities) == ["truth", *(["ddgan"] if "ddgan" in asked.request.denoisers else []), "gaussian"]
    for name, p in land.densities.items():
        assert p.shape == (SIDE, SIDE) and float(p.min()) >= 0
        assert float(p.sum()) * cell == pytest.approx(1, abs=0.03), name


def test_the_surfaces_of_the_truth_and_its_best_gaussian_have_the_same_mean_and_covariance():
    for asked in (question(1), question(1, of="x_s", query="T=8&schedule=geometric")):
        land, truth = landscape(SESSION, asked), asked.truth(SESSION)
        mean, cov = truth.moments()
        axis = centres(SIDE, land.half)
        x = torch.cartesian_prod(land.centre[0] + axis, land.centre[1] + axis)
        for name in ("truth", "gaussian"):
            w = land.densities[name].flatten() / land.densities[name].sum()
            found = w @ x
            spread = ((x - found) * w[:, None]).T @ (x - found)
            assert torch.allclose(found, mean, atol=0.01)
            assert torch.allclose(spread, cov + land.blur**2 * torch.eye(2), rtol=0.03, atol=1e-4)


@pytest.mark.parametrize("asked", ASKED[:4], ids=lambda asked: f"{asked.request.data}-{asked.t}-{asked.of}")
def test_the_surface_of_a_generator_that_is_right_is_the_truths_but_for_chance(monkeypatch, asked):
    drawn = posterior_module._draws
    monkeypatch.setattr(
        posterior_module, "_draws", lambda session, question, _, n: drawn(session, question, "exact", n=n)
    )
    land = landscape(SESSION, asked)
    truth, learned = land.densities["truth"], land.densities["ddgan"]
    assert float((truth - learned).abs().sum() / truth.sum()) / 2 < 0.07
    assert float(learned.max()) == pytest.approx(float(truth.max()), rel=0.1), "not flattened by its kernel alone"


def test_a_landscape_shows_the_whole_view_or_the_part_in_which_something_is():
    whole, part = (
        landscape(SESSION, question(4)),
        landscape(SESSION, question(1, (0.7, 0.7), "x_s", "T=64&denoisers=exact")),
    )
    assert (whole.half, whole.centre) == (LIMIT, (0.0, 0.0))
    assert part.half < LIMIT / 4 and math.log2(LIMIT / part.half).is_integer()
    assert part.centre == pytest.approx((0.7, 0.7), abs=0.1)


def test_a_line_has_no_landscape():
    with pytest.raises(Refused, match="a landscape needs two coordinates"):
        landscape(SESSION, question(1, (0.2,), query="data=4-gaussians-1d"))


def test_a_ddgan_that_refuses_is_left_out():
    assert list(landscape(SESSION, question(64, query="T=128")).densities) == ["truth", "gaussian"]


@pytest.mark.parametrize("words", ["2,0.3,-0.25,x_s", "1,1e-05,2,x_0"])
def test_a_question_reads_back_what_a_link_holds(words):
    assert Question.of_words(Request(), words).to_words() == words


@pytest.mark.parametrize(
    "words", ["", "2", "2,x_s", "x,0,0,x_0", "5,0,0,x_0", "1,0,0,x_1", "1,0,0,0,x_0", "1,nan,0,x_0"]
)
def test_words_that_are_no_question_are_one_sentence(words):
    with pytest.raises(Refused, match=r"^\S.*, got .*$"):
        Question.of_words(Request(), words)


def test_the_grid_of_z_is_what_g_makes_of_equally_likely_cells_and_takes_their_share_to_each_mode():
    asked = question(t=1, x=(0.2, 0.1), query="T=4")
    name, x = fold(SESSION, asked)
    assert name == "ddgan" and x.shape == (LATTICE, LATTICE, 2)
    model, schedule = SESSION.model(asked.request, name), SESSION.schedule(asked.request)
    middle = LATTICE // 2  # the median of both coordinates: z = 0
    at_zero = model(torch.tensor([[0.2, 0.1]]), schedule.level(1, torch.zeros(1, 2)), torch.zeros(1, 2))
    torch.testing.assert_close(x[middle, middle], at_zero[0], atol=1e-5, rtol=1e-5)
    law, drawn = SESSION.law(asked.request.data), ask(SESSION, asked).draws["ddgan"]
    shares, others = law.shares(x.reshape(-1, 2)), law.shares(drawn)  # of each mode: of the lattice, and of draws
    assert (shares - others).abs().sum() < 0.2  # 800 draws are off by .14
    to_x_s = fold(SESSION, question(t=3, x=(0.2, 0.1), of="x_s", query="T=4")).x
    expected = SESSION.schedule(asked.request).posterior(
        fold(SESSION, question(t=3, x=(0.2, 0.1), query="T=4")).x.reshape(-1, 2), torch.tensor([[0.2, 0.1]]), 2, 3
    )
    torch.testing.assert_close(to_x_s.reshape(-1, 2), expected.mean, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("query", "x", "words"),
    [
        ("denoisers=exact,gaussian", (0.2, 0.1), "choose one"),
        ("data=4-gaussians-1d", (0.2,), "two numbers or more"),
    ],
)
def test_without_a_plane_of_z_there_is_no_grid(query, x, words):
    with pytest.raises(Refused, match=words):
        fold(SESSION, question(x=x, query=query))


def test_the_grid_is_of_the_first_denoiser_that_reads_two_numbers():
    session = Session()
    mapped = session.adopt(session.denoiser("25-gaussians", "consistency"))
    for names in (f"{mapped},ddgan", f"ddgan,{mapped}"):
        assert fold(session, question(x=(0.3, 0.2), query=f"T=1&denoisers={names}")).name == "ddgan"
