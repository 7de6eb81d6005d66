"""What the page is sent of a tree and of U-turns: sheets, and the class of every leaf."""

import json

import numpy as np
import pytest
import torch
from test_class_posterior import ByBrightness
from test_class_rows import Coin

from ddgan.data.images import encode_pixels, from_uint8, to_uint8
from ddgan.diffusion.denoiser import Denoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, sample, seeds
from ddgan.diffusion.solver import DDIM
from ddgan.errors import Refused
from ddgan.explorer import class_rows
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Edit, Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import encoded
from ddgan.views.image_tree import CHILDREN, STATES, TURNS, _finding, _words, branches, turns


def asked(session, T):
    name = session.adopt(Coin())
    return ImageQuestion(Request("mnist", (name,), T=T, n=2), 1, 1, name)


def test_every_state_has_its_children_and_the_class_of_each_leaf():
    session = Session()
    answer = branches(session, asked(session, 3))
    assert answer["t"] == [3, 2, 1] and answer["shape"] == [1, 28, 28]
    assert answer["x"].size == (28, 3 * 28)
    assert answer["leaves"].size == answer["children"].size == (CHILDREN * 28, 3 * 28)
    leaves = np.asarray(answer["leaves"]).reshape(3, 28, CHILDREN, 28).transpose(0, 2, 1, 3)
    sides = leaves.mean((2, 3)) > 127
    assert set(np.unique(leaves)) <= {0, 255} and 0 < sides.mean() < 1, "white or black, as the coin says"
    for row, side in zip(answer["likeliest"], sides, strict=True):
        assert len({(k, bool(white)) for k, white in zip(row, side, strict=True)}) <= 2, "one class for one image"
    assert np.shape(answer["sure"]) == (3, CHILDREN) and 0 <= np.min(answer["sure"]) <= np.max(answer["sure"]) <= 1
    json.loads(encoded(answer), parse_constant=pytest.fail)


def test_a_long_way_has_children_at_some_of_its_states():
    session = Session()
    assert len(branches(session, asked(session, 20))["t"]) == STATES


@pytest.mark.parametrize(
    ("likeliest", "said"),
    [
        ([[0, 1, 2], [1, 1, 2], [1, 1, 1]], "The leaves of x₃ show 3 classes; from x₁ on all show one."),
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], "All leaves show one."),
        ([[0, 0, 0], [1, 1, 1], [1, 1, 1]], "The leaves of x₃ show 1 class; from x₂ on all show one."),
        ([[0, 1, 2], [1, 1, 2], [1, 0, 1]], "The leaves of x₃ show 3 classes, and those of x₁ show 2."),
        ([[0, 1, 2]], "The leaves of x₁ show 3 classes."),
        ([[2, 2, 2]], "All leaves show two."),
    ],
)
def test_it_says_from_which_state_on_all_children_agree(likeliest, said):
    assert _words([3, 2, 1][-len(likeliest) :], torch.tensor(likeliest), ("none", "one", "two")) == said


def test_images_whose_classes_nobody_names_have_no_tree():
    question = ImageQuestion(Request("stackedmnist", ("ddgan",), T=1, n=1), 1, 0, "ddgan")
    with pytest.raises(Refused, match="no classifier of StackedMNIST"):
        branches(Session(), question)


# ---------------------------------------------------------------- U-turns

PAIR = np.stack([np.full((1, 28, 28), v, np.uint8) for v in (120, 136)])  # dark and bright, and not far apart
LAW = Law.uniform(from_uint8(PAIR), 0)
TOLD_APART = ByBrightness(sharp=300.0)


class Obeys(Denoiser):
    """x_0 is bright where it is told the class 1, else dark."""

    classes = 2

    def forward(self, x_t, level, z, label):
        return from_uint8(PAIR)[(label == 1).long()]


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(class_rows, "_classifier", lambda name: TOLD_APART)
    return Session()


def turning(session, model, T, **values):
    name = session.adopt(model)
    return ImageQuestion(Request("mnist", (name,), T=T, n=2, **values), 1, 1, name)


def test_little_noise_keeps_the_class_much_loses_it_and_the_shares_are_the_count_of_single_ways(session):
    question = turning(session, MeanDenoiser(LAW), 8)
    answer, schedule = turns(session, question), session.schedule(question.request)
    *_, last = session.run(question.request, question.of, slice(1, 2))
    bright = bool(last.x_s.mean() > 0)
    assert answer["t"] == [*range(1, 9)] and answer["kept"][0] == TURNS and 0 < answer["kept"][-1] < TURNS
    assert answer["own"] == {"likeliest": int(bright), "sure": 1.0}
    assert np.array_equal(np.asarray(answer["x"]), PAIR[int(bright), 0]), "the image itself"
    sheet = np.asarray(answer["leaves"]).reshape(8, 28, TURNS, 28).transpose(0, 2, 1, 3)
    for i, t in enumerate(answer["t"]):
        kept = 0
        for j, seed in enumerate(seeds(question.request.seed + 1, TURNS)):
            noise = Draws.from_seeds([seed], (1, 28, 28), 8, 0)
            x_t = schedule.marginal(last.x_s, t).at(noise.x_T)
            *_, end = sample(schedule, MeanDenoiser(LAW), noise._replace(x_T=x_t), t)
            assert np.abs(sheet[i, j].astype(int) - to_uint8(end.x_s)[0, 0]).max() <= 1
            assert answer["likeliest"][i][j] == int(end.x_s.mean() > 0)
            kept += bool(end.x_s.mean() > 0) == bright
        assert answer["kept"][i] == kept
    assert encoded(turns(session, question)) == encoded(answer), "the same question has the same answer"


@pytest.mark.parametrize("value", [110, 150])
def test_the_image_that_an_edit_begins_with_is_the_one_that_turns_through_every_t(session, value):
    image = np.full((1, 28, 28), value, np.uint8)
    answer = turns(session, turning(session, MeanDenoiser(LAW), 4, edit=Edit(2, encode_pixels(image))))
    assert np.array_equal(np.asarray(answer["x"]), image[0]) and answer["own"]["likeliest"] == (value > 128)
    assert answer["t"] == [1, 2, 3, 4] and answer["start"] == 2 and answer["kept"][0] == TURNS
    assert answer["about"] == "U-turns of the image you began with"


@pytest.mark.parametrize("label", ["1", None])
def test_the_model_is_told_no_class_whatever_its_sample_was_drawn_from(session, label):
    question = turning(session, Obeys(), 2, label=label)
    *_, last = session.run(question.request, question.of, slice(1, 2))
    answer = turns(session, question)
    assert answer["own"]["likeliest"] == int(last.x_s.mean() > 0)
    assert answer["likeliest"] == 2 * [TURNS * [0]], "dark, as of any class"
    assert label is None or (answer["own"]["likeliest"] == 1 and answer["kept"] == [0, 0])


def test_a_long_way_turns_at_some_of_its_states_and_says_so(session):
    answer = turns(session, turning(session, MeanDenoiser(LAW), 16))
    assert answer["t"] == [*range(2, 17, 2)] and "Of the 16 steps 8 are shown." in answer["words"]
    assert "are shown" not in turns(session, turning(session, MeanDenoiser(LAW), 1))["words"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ([8, 8, 3, 0], "Up to x₂ the class 3 is kept by all 8; from x₃ on it is lost more often than kept."),
        ([8, 2, 5, 3], "Through x₁ the class 3 is kept by all 8; from x₄ on it is lost more often than kept."),
        ([8, 8, 3, 4], "Up to x₂ the class 3 is kept by all 8, through x₄ by 4."),
        ([8, 8, 8, 8], "Up to x₄ the class 3 is kept by all 8."),
        ([6, 6, 6, 1], "Through x₁ the class 3 is kept by 6 of 8; from x₄ on it is lost more often than kept."),
        ([0, 4, 3, 3], "Through x₁ the class 3 is kept by none of 8, through x₄ by 3."),
        ([1, 2, 4, 3], "Through x₁ the class 3 is kept by 1 of 8, through x₄ by 3."),
        ([3, 1, 0, 0], "Already from x₁ on the class 3 is lost more often than kept."),
        ([0, 0, 0, 0], "Already from x₁ on the class 3 is lost more often than kept."),
        ([8], "Through x₁ the class 3 is kept by all 8."),
        ([0], "Through x₁ the class 3 is kept by none of 8."),
        ([2], "Through x₁ the class 3 is kept by 2 of 8."),
    ],
)
def test_it_says_up_to_which_state_all_keep_the_class_and_from_which_on_fewer_than_half(kept, said):
    assert _finding([*range(1, len(kept) + 1)], kept, "3") == said


def test_a_walk_without_noise_turns_by_its_own_solver():
    session, question = Session(), ImageQuestion(Request("mnist", ("learned-ddim",), T=2, n=1), 1, 0, "learned-ddim")
    x_0 = next(iter(session.run(question.request, "learned-ddim"))).x_0[0]
    found = session.u_turns(question.request, "learned-ddim", x_0, [2], 1)[0, 0]
    model, schedule = session.model(question.request, "learned-ddim"), session.schedule(question.request)
    noise = Draws.from_seeds(seeds(1, 1), x_0.shape, 2, 0)
    x_t = schedule.marginal(x_0[None], 2).at(noise.x_T)
    with torch.no_grad():
        *_, end = sample(schedule, model.given(model.classes), noise._replace(x_T=x_t), 2, DDIM(0.0))
    assert torch.allclose(found, end.x_s[0].float(), atol=0.05)


def test_images_whose_classes_nobody_names_have_no_u_turns():
    question = ImageQuestion(Request("stackedmnist", ("ddgan",), T=1, n=1), 1, 0, "ddgan")
    with pytest.raises(Refused, match="no classifier of StackedMNIST"):
        turns(Session(), question)
