"""What the page is sent of the class of a sample, step by step."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_class_rows import Coin

from ddgan.data.images import ImageSet, encode_pixels
from ddgan.errors import Refused
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import encoded
from ddgan.views.image_classes import ABSENT, bars

GONE = "own-0123456789abcdef"


def answers(session, question):
    return [json.loads(encoded(answer), parse_constant=pytest.fail) for answer in bars(session, question)]


@pytest.fixture
def session():
    return Session()


def absent(data):
    raise Refused("the training set is not on this machine: DDGAN_DATA names the directory where it is")


def test_rows_come_one_after_the_other_the_training_set_first(session, monkeypatch):
    images, name = np.random.default_rng(0).integers(0, 256, (20, 1, 28, 28), dtype=np.uint8), session.adopt(Coin())
    known = ImageSet(images, np.arange(20) % 10, tuple(map(str, range(10))))
    monkeypatch.setattr(session, "images", lambda data: known)
    question = ImageQuestion(Request("mnist", (name, GONE), T=3, n=2), 1, 0, name)
    early, *others, late = answers(session, question)
    known_by_then = [
        sum(row["p"] is not None or row["error"] is not None for row in a["rows"]) for a in (early, *others)
    ]
    assert known_by_then == [0, 1, 2], "row by row"
    assert early["t"] == [3, 2, 1, 0] and early["classes"] == list("0123456789") and early["item"] == 0
    assert others[-1]["rows"][:2] == late["rows"][:2] and all(row["wait"] for row in early["rows"])
    exact, coin, gone = late["rows"]
    assert exact["key"] == "exact" and "not for the world" in exact["said"] and exact["entropy"][-1] == 0
    assert exact["decided"]["t"] in late["t"]
    assert "64 redraws" in coin["note"] and gone["error"].endswith(".") and gone["p"] is None
    for row in (exact, coin):
        assert np.allclose(np.sum(row["p"], 1), 1, atol=1e-3) and np.shape(row["p"]) == (4, 10)


@pytest.mark.slow
def test_where_no_training_set_is_a_shipped_row_serves_or_a_sentence_for_a_visitor(session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    shipped, others = ({}, {"label": "any"}), ({"seed": 1}, {"label": "8"}, {"forks": "z.1.1"})
    for asked, there in [*((asked, True) for asked in shipped), *((asked, False) for asked in others)]:
        request = Request.parse({"data": "mnist", "T": 1, **asked})
        *_, last = answers(session, ImageQuestion(request, 1, 2, "ddgan"))
        row = last["rows"][0]
        assert (row["p"] is not None) is there and row.get("error") == (None if there else ABSENT)
    assert "DDGAN_DATA" not in ABSENT and "not on this machine" in ABSENT
    for part in ("seed 0", "told any class or each its own", "as first drawn", "1, 2, 4 or 8 steps of vp"):
        assert part in ABSENT


def test_a_set_that_is_being_read_says_so_unless_the_row_is_shipped(session, monkeypatch):
    monkeypatch.setattr(session, "images", lambda data: None)
    for seed, there in ((0, True), (1, False)):
        request = Request.parse({"data": "mnist", "seed": seed, "T": 1})
        row = answers(session, ImageQuestion(request, 1, 0, "ddgan"))[-1]["rows"][0]
        assert (row["p"] is not None) is there and bool(row.get("reading")) is not there


def test_who_waits_for_the_training_set_alone_is_told_of_that_and_no_model_draws_again(session, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 28, 28), dtype=np.uint8)
    known = ImageSet(images, np.arange(20) % 10, tuple(map(str, range(10))))
    read = iter([None, None, known, known])  # the last of all rows asks twice
    monkeypatch.setattr(session, "images", lambda data: next(read))
    question = ImageQuestion(Request("mnist", (session.adopt(Coin()),), T=1, n=1, seed=1), 1, 0, "own")
    question = replace(question, of=question.request.denoisers[0])
    whole = answers(session, question)[-1]["rows"][0]
    monkeypatch.setattr(session, "redraws_along", lambda *of: pytest.fail("a model draws again"))
    (answer,) = answers(session, replace(question, exact_only=True))
    assert whole["reading"] and not answer["exact"]["reading"] and answer["exact"]["p"]
    assert answer["item"] == 0 and "rows" not in answer


def test_rows_are_those_of_the_models_that_the_picture_shows_each_once(session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    names = ("ddgan", "regression", "learned-ddim")
    question = ImageQuestion(Request("mnist", names, T=1, n=1), 1, 0, "learned-ddim")
    *_, last = answers(session, question)
    assert [row["key"] for row in last["rows"]] == ["exact", "ddgan", "regression"]
    assert "one answer" in last["rows"][2]["note"]


def test_the_level_of_speciation_lies_between_two_states(session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    question = ImageQuestion(Request("mnist", ("regression",), T=4, n=1), 1, 0, "regression")
    found = answers(session, question)[-1]["speaks"]
    assert (found["before"], found["after"]) == (3, 2) and found["signal"] == pytest.approx(0.21, abs=0.01)


def test_the_ruler_has_a_level_for_every_state_and_names_the_two_between_which_most_is_decided(session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    question = ImageQuestion(Request("mnist", ("ddgan",), T=4, n=1), 1, 0, "ddgan")
    *_, last = answers(session, question)
    found = last["ruler"]
    assert len(found["levels"]) == 5 and found["levels"][-1] is None
    level, h = np.array(found["curve"]).T
    at = [*np.interp(found["levels"][:4], level, h), 0]
    assert found["step"] == int(np.argmin(np.diff(at))) and "most is decided" in found["words"]
    assert f"x{'₀₁₂₃₄'[last['t'][found['step']]]}" in found["words"]
    assert last["rows"][0]["look"] == {"colour": "#0f86c9", "shape": "circle"}


@pytest.mark.parametrize("t, said", [(1, "decided before x₁: no step"), (3, "most is decided: ")])
def test_the_ruler_of_an_edit_names_a_step_only_where_one_decides_something(t, said, session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    grey = encode_pixels(np.full((1, 28, 28), 128, np.uint8))
    request = Request.parse({"data": "mnist", "T": 4, "denoisers": "ddgan", "n": 1, "edit": f"{t}.{grey}"})
    *_, last = answers(session, ImageQuestion(request, 1, 0, "ddgan"))
    assert said in last["ruler"]["words"] and "-0.00" not in last["ruler"]["words"]
    assert (last["ruler"]["step"] is None) is (t == 1)


def test_the_exact_row_counts_images_and_not_their_mirror_images(session, monkeypatch):
    monkeypatch.setattr(session, "images", absent)
    for data, words in (("mnist", "60,000 images, by"), ("cifar10", "50,000 images and their mirror images, by")):
        request = Request.parse({"data": data, "seed": 0, "T": 1, "denoisers": "regression"})
        assert words in answers(session, ImageQuestion(request, 1, 0, "regression"))[-1]["rows"][0]["note"]


def test_images_whose_classes_nobody_names_have_no_bars(session):
    question = ImageQuestion(Request("stackedmnist", ("ddgan",), T=1, n=1), 1, 0, "ddgan")
    with pytest.raises(Refused, match="no classifier of StackedMNIST"):
        next(bars(session, question))
