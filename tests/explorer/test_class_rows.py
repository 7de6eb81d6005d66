"""The class of one sample at every state of its way: of a model, of the training set, and of what is shipped."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_class_posterior import ByBrightness

from ddgan.data.images import ImageSet
from ddgan.diffusion.denoiser import Denoiser
from ddgan.errors import Refused
from ddgan.explorer import class_rows
from ddgan.explorer.class_posterior import entropy
from ddgan.explorer.class_rows import EXAMPLES, curve, exact, learned, of_shipped, spoken, way
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.metrics.images import classifier_of
from ddgan.ui.images import FIRST


class Coin(Denoiser):
    """x_0 is all white or all black, as the first number of z says: what x_t is does not matter."""

    latent_dim = 1
    card = {"shape": [1, 28, 28], "config": {"data": "mnist", "T": None, "network": "unet", "loss": "paper"}}

    def forward(self, x_t, level, z):
        return z[:, :1, None, None].sign().expand(x_t.shape)


@pytest.fixture
def session(monkeypatch):
    monkeypatch.setattr(class_rows, "_classifier", lambda name: ByBrightness(sharp=30.0))
    return Session()


def asked(session, T=3, **values):
    name = session.adopt(Coin())
    return ImageQuestion(Request("mnist", (name,), T=T, n=2, **values), 1, 1, name), name


def test_the_classifier_of_the_bars_is_the_one_that_judges_samples():
    assert class_rows._classifier("mnist") is classifier_of("mnist")
    for name, words in (("", "no classifier here knows"), ("none", "no classifier of none is here")):
        with pytest.raises(Refused, match=words):
            class_rows._classifier(name)


def test_a_way_has_the_states_of_the_sample_and_x_0(session):
    question, name = asked(session)
    steps = list(session.run(question.request, name))
    found = way(session, question)
    assert found.t == [3, 2, 1, 0] and found.level[-1] == math.inf
    assert torch.equal(found.x, torch.stack([*(step.x_t[1] for step in steps), steps[-1].x_s[1]]))
    assert len(way(session, asked(session, T=40)[0]).t) == class_rows.MOST


def test_a_model_that_draws_by_coin_is_undecided_until_its_x_0(session):
    question, name = asked(session)
    p = learned(session, question, way(session, question), name)
    assert p.shape == (4, 2) and torch.allclose(p.sum(1), torch.ones(4).double())
    assert ((0.3 < p[:-1]) & (p[:-1] < 0.7)).all() and p[-1].max() > 0.99


def test_the_training_set_answers_if_it_has_the_classes_and_is_waited_for(session, monkeypatch):
    question, _ = asked(session)
    states = way(session, question)
    images = np.concatenate([np.zeros((3, 1, 28, 28), np.uint8), np.full((3, 1, 28, 28), 255, np.uint8)])
    known = ImageSet(images, np.repeat([0, 1], 3), ("0", "1"))
    monkeypatch.setattr(session, "images", lambda data: known)
    p = exact(session, "mnist", states)
    assert torch.allclose(p.sum(1), torch.ones(4).double()) and p[-1].max() == 1
    monkeypatch.setattr(session, "images", lambda data: None)
    assert exact(session, "mnist", states) is None
    for wrong in (ImageSet(images), ImageSet(images, known.labels, ("cat", "dog"))):
        monkeypatch.setattr(session, "images", lambda data, wrong=wrong: wrong)
        with pytest.raises(Refused, match="have other classes, or none"):
            exact(session, "mnist", states)
    assert of_shipped(session, question) is None, "a visitor's model has no examples"


# ---------------------------------------------------------------- what is shipped


def test_the_examples_are_those_of_the_shipped_weights_and_have_a_row_for_every_state():
    """Where this fails because of new weights: python -m ddgan evidence examples."""
    session, kept = Session(), json.loads(EXAMPLES.read_text())
    assert EXAMPLES.stat().st_size < 300_000 and len(kept["ways"]) == 2 * 2 * 4 * 2
    for key, ways in kept["ways"].items():
        request = Request.from_query(key)
        assert len(ways) == class_rows.SHIPPED_N and all(len(p) == request.T + 1 for p in ways)
        shares = torch.tensor(ways)
        assert ((shares.sum(2) - 1000).abs() <= 5).all() and (shares[:, -1].max(1).values == 1000).all()
        for item in (0, class_rows.SHIPPED_N):
            found = of_shipped(session, ImageQuestion(request, 1, item, request.denoisers[0]))
            assert (found is None) is (item > 0)


@pytest.mark.parametrize("values", [{"seed": 1}, {"T": 3}, {"schedule": "cosine"}, {"label": "3"}])
def test_another_sample_has_no_example(values):
    request = Request.parse({"data": "mnist", **values})
    assert of_shipped(Session(), ImageQuestion(request, 1, 0, "ddgan")) is None


def test_the_opening_sample_has_an_example_whatever_else_is_shown():
    session = Session()
    alone, beside = (replace(FIRST, **v) for v in ({}, {"denoisers": ("ddgan",), "n": 25}))
    p = [of_shipped(session, ImageQuestion(request, 1, 0, "ddgan")) for request in (alone, beside)]
    assert p[0].shape == (5, 10) and torch.equal(*p) and torch.allclose(p[0].sum(1), torch.ones(5).double())
    assert entropy(p[0][0]) > 2.2 and entropy(p[0][-1]) == 0, "all classes at x_T, one at x_0"


@pytest.mark.parametrize(("data", "images", "signal"), [("mnist", 60_000, 0.216), ("cifar10", 100_000, 0.067)])
def test_the_signal_at_speciation_is_that_of_the_largest_direction_of_the_set(data, images, signal):
    of, level = spoken(data)
    assert of == images and torch.tensor(level).sigmoid().sqrt() == pytest.approx(signal, abs=0.001)
    assert spoken("stackedmnist") is None


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_the_entropy_of_the_class_falls_from_that_of_ten_classes_to_nothing(data):
    level, h = curve(data).T
    assert torch.equal(level, class_rows.CURVE) and h[0] == pytest.approx(math.log(10), abs=0.01) and h[-1] < 0.01
    assert (h.diff() < 0.02).all(), "it falls but for what chance makes of 100 images"
    assert curve("stackedmnist") is None
