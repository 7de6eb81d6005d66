"""A question about a picture ends once its visitor asks another one of its kind, between two parts of its work."""

import json
from functools import partial

import pytest
import torch

from ddgan.errors import Cancelled
from ddgan.explorer import image_posterior, priority
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.ui.image_classes import answered
from ddgan.ui.server import jobs, questions
from ddgan.views.image_classes import bars

REQUEST = Request("mnist", ("ddgan", "regression"), T=4, n=2)
ask = partial(answered, Session(), "classes", lambda session, question: priority.while_wanted({"k": k} for k in "abc"))


@pytest.fixture(autouse=True)
def visitor(monkeypatch):
    """Who asks: change it to ask as another; and the page's word on what is wanted."""
    who = ["me"]
    monkeypatch.setattr(questions, "current_visitor", lambda: who[0])
    monkeypatch.setattr(priority, "_wanted", jobs.wanted)
    return who


def asked(item, **other):
    return json.dumps({"query": REQUEST.to_query(), "step": 2, "item": item, "of": "ddgan", "t": 3, **other})


def letters(answers):
    return [json.loads(answer)["k"] for answer in answers]


def test_a_question_ends_when_its_visitor_asks_another_of_its_kind(visitor):
    answers = ask(asked(0))
    assert json.loads(next(answers))["k"] == "a"
    questions.note("classes", asked(1))
    assert letters(answers) == [], "and nothing is said of it"
    assert letters(ask(asked(1))) == [*"abc"]


def test_neither_its_own_note_nor_those_of_others_end_a_question(visitor):
    questions.note("classes", asked(7))
    answers = ask(asked(0))
    assert json.loads(next(answers))["k"] == "a", "the note of the question before ends nothing"
    questions.note("classes", asked(0, t=1, step=1))  # while it plays: the bars are of all states
    questions.note("explore", asked(5))
    visitor[0] = "somebody else"
    questions.note("classes", asked(1))
    assert letters(answers) == [*"bc"]


def test_another_step_is_another_question_where_one_is_explored():
    answers = answered(Session(), "explore", lambda *of: priority.while_wanted([{"k": "a"}, {"k": "b"}]), asked(0))
    assert json.loads(next(answers))["k"] == "a"
    questions.note("explore", asked(0, step=1))
    assert letters(answers) == []


def test_the_bars_end_within_a_row(monkeypatch):
    session, made = Session(), []

    def redrawn(schedule, told, x_t, at, K):
        made.append(at)
        questions.note("classes", asked(1))
        return torch.zeros(K, 1, 28, 28)

    monkeypatch.setattr("ddgan.explorer.session.redraws", redrawn)
    monkeypatch.setattr(session, "images", lambda data: None)
    answers = list(answered(session, "classes", bars, asked(0)))
    assert made == [4], "no state after the one in which another was asked"
    assert all(row["p"] is None for row in json.loads(answers[-1])["rows"] if row["key"] != "exact")


def test_a_comparison_with_many_images_ends_between_two_parts(monkeypatch):
    left = iter([True, True, False])
    monkeypatch.setattr(priority, "_wanted", lambda: next(left))
    images, level = torch.zeros(5 * image_posterior.CHUNK, 1, 2, 2, dtype=torch.uint8).numpy(), torch.zeros(1)
    with pytest.raises(Cancelled):
        image_posterior.log_weights(images, torch.zeros(1, 2, 2), level)
    assert list(left) == [], "two of five parts were compared"
