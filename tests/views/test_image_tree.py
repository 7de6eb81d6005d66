"""What the page is sent of a tree: sheets, and the class of every leaf."""

import json

import numpy as np
import pytest
import torch
from test_class_rows import Coin

from ddgan.errors import Refused
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.views.encoding import encoded
from ddgan.views.image_tree import CHILDREN, STATES, _words, branches


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
        ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], "The leaves of x₃ show 1 class; from x₃ on all show one."),
        ([[0, 0, 0], [1, 1, 1], [1, 1, 1]], "The leaves of x₃ show 1 class; from x₂ on all show one."),
        ([[0, 1, 2], [1, 1, 2], [1, 0, 1]], "The leaves of x₃ show 3 classes, and those of x₁ show 2."),
    ],
)
def test_it_says_from_which_state_on_all_children_agree(likeliest, said):
    assert _words([3, 2, 1], torch.tensor(likeliest), ("none", "one", "two")) == said


def test_images_whose_classes_nobody_names_have_no_tree():
    question = ImageQuestion(Request("stackedmnist", ("ddgan",), T=1, n=1), 1, 0, "ddgan")
    with pytest.raises(Refused, match="no classifier of StackedMNIST"):
        branches(Session(), question)
