"""A scene is what the sampler made; what shows it adds nothing, and is text only at the edge."""

import base64
import json
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.data.toys import law_of
from ddgan.errors import Refused
from ddgan.explorer.plane import scale, width
from ddgan.explorer.request import Edit, Fork, Request
from ddgan.explorer.scene import Progress, Scene, scene, stepwise
from ddgan.ui.words import answered
from ddgan.views.answers import counted, sentence
from ddgan.views.encoding import encoded
from ddgan.views.stage import MAX_FRAMES, stage, staged, stars

GONE = "own-0123456789abcdef"
SMALL = Request("rings", ("exact", GONE, "mean"), T=3, seed=5, n=40, forks=(Fork("eps", 2, 7),))
LINE = Request("4-gaussians-1d", ("exact",), T=2, n=60)


def test_a_scene_holds_the_states_of_the_sampler_and_a_refusal_as_a_value(session):
    found = scene(session, SMALL, scored=(0, 2))
    assert found.t == [3, 2, 1, 0]
    assert np.square(found.signal) + np.square(found.noise) == pytest.approx(1)
    for name in ("exact", "mean"):
        steps, panel = list(session.run(SMALL, name)), found.panel(name)
        assert all(map(torch.equal, panel.states, [*(step.x_t for step in steps), steps[-1].x_s]))
        assert all(map(torch.equal, panel.predicted, [*(step.x_0 for step in steps), steps[-1].x_s]))
        assert [*panel.scores] == [2, 0]
        for t, x in {2: steps[1].x_0, 0: steps[-1].x_s}.items():
            assert panel.scores[t] == pytest.approx(session.score(SMALL, x), nan_ok=True)
    assert isinstance(found.panels[1].refusal, Refused) and found.panels[1].model is None
    with pytest.raises(Refused, match="no longer here"):
        found.panel(GONE)
    found.check()
    with pytest.raises(Refused, match="no longer here"):
        scene(session, replace(SMALL, denoisers=(GONE,))).check()


def test_a_scene_of_some_states_is_that_of_all_without_the_others(session):
    request = replace(SMALL, denoisers=("exact",))
    whole, some = scene(session, request).panels[0], scene(session, request, t=(2,)).panels[0]
    assert all(map(torch.equal, some.states, [whole.states[1], whole.states[3]])) and len(some.states) == 2
    last = scene(session, request, t=())
    assert last.t == [0] and torch.equal(last.panels[0].sample, whole.sample) and not last.panels[0].steps
    assert len(staged(session, Request("rings", ("exact",), T=300, n=2)).panels[0].states) == MAX_FRAMES


def test_a_scene_says_on_its_way_how_far_it_is(session):
    *way, last = stepwise(session, SMALL)
    done = [(1, "exact"), (2, "exact"), (3, "exact"), (6, GONE), (7, "mean"), (8, "mean"), (9, "mean")]
    assert isinstance(last, Scene) and way == [Progress(i, 9, name) for i, name in done]


@pytest.mark.parametrize(
    "request_",
    [Request("rings", ("exact", "heun"), T=8, n=10, budget="nfe"), replace(SMALL, denoisers=("exact", GONE))],
    ids=["a budget", "a refusal"],
)
def test_the_last_step_of_a_scene_is_the_last_of_all(session, request_):
    *way, _ = stepwise(session, request_)
    assert way[-1].done == way[-1].of and all(one.done < two.done for one, two in pairwise(way))


@pytest.mark.parametrize("request_", [SMALL, LINE], ids=["plane", "line"])
def test_the_stage_is_sent_the_scenes_points_as_int16(session, request_):
    found = staged(session, request_)
    sent, limit = json.loads(encoded(stage(found)), parse_constant=pytest.fail), width(law_of(request_.data))
    assert sent["t"] == found.t and sent["scale"] == scale(limit) and Request.from_query(sent["id"]) == request_
    for panel, shown in zip(found.panels, sent["panels"], strict=True):
        assert shown["key"] == panel.name and bool(shown["error"]) == bool(panel.refusal)
        for key, of in {} if panel.refusal else {"x": panel.states, "x0": panel.predicted}.items():
            points = np.frombuffer(base64.b64decode(shown[key]), "<i2").reshape(len(found.t), request_.n, -1)
            assert np.abs(points * sent["scale"] - torch.stack(of).numpy()).max() <= 0.51 * sent["scale"]


@pytest.mark.parametrize(
    ("distances", "starred"),
    [
        ((-0.3, 0.9, 1.1), "yes yes no"),  # below the floor of 1 two may both be zero
        ((3.0, 4.1, 3.9), "yes no yes"),  # within a floor of the least
        ((-0.3, 0.2), "no no"),  # nothing to tell apart
        ((None, 2.0, 9.0), "no yes no"),
        ((None, 2.0), "no no"),
        ((), ""),
    ],
)
def test_a_star_marks_the_least_energy_distance_as_far_as_chance_lets_that_be_told(distances, starred):
    assert stars([(distance, 1.0) for distance in distances]) == [word == "yes" for word in starred.split()]


def test_every_scored_state_of_the_stage_has_its_star_and_the_floor(session):
    request = Request("25-gaussians", ("mean", GONE, "exact"), T=4, n=500)
    mean, gone, exact = stage(staged(session, request))["panels"]
    assert gone["metrics"] is None and [row["star"] for row in exact["metrics"]] == [True] * 5
    assert [row["star"] for row in mean["metrics"]] == [False] * 5
    score = session.score(request, staged(session, request).panels[0].sample)
    assert (mean["metrics"][-1]["energy"], mean["metrics"][-1]["floor"]) == (score["energy"], score["floor_energy"])


def test_a_model_that_has_no_z_is_told_from_one_that_has(session):
    def said(*denoisers):
        return stage(staged(session, replace(LINE, denoisers=denoisers, forks=(Fork("z", 1, 3),))))["message"]

    assert said("mean") == said("mean", GONE) == "No denoiser shown reads a z, so nothing is drawn anew."
    assert said("mean", "exact").startswith("New z at the step 1")


def test_the_one_encoder_knows_arrays_and_pictures_and_nothing_that_is_not_finite():
    array, picture = np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::-1], Image.new("L", (2, 2), 7)
    found = json.loads(encoded({"array": array, "picture": picture, "words": "x₀"}))
    assert base64.b64decode(found["array"]) == array.tobytes() and found["words"] == "x₀"
    assert base64.b64decode(found["picture"]).startswith(b"\x89PNG")
    for value, error in {float("nan"): ValueError, Request: TypeError}.items():
        with pytest.raises(error):
            encoded({"value": value})


def test_an_answer_is_stamped_and_excused_before_it_is_text():
    picture, problem = {"query": "T=2", "message": "New z", "panels": []}, "The link was not understood."
    assert json.loads(answered(picture, 5, ("rings", 4))) == {**picture, "asked": 5, "controls": ["rings", 4]}
    assert json.loads(answered(picture, problem=problem)) == {**picture, "query": "", "message": problem}
    assert json.loads(answered(Refused("x is missing"), 5)) == {"error": "x is missing.", "asked": 5, "controls": []}


@pytest.mark.parametrize(
    "name, t, budget, words",
    [
        ("ddgan", 1, None, "1 evaluation"),
        ("ddgan", 3, None, "3 evaluations"),
        ("heun", 2, None, "3 evaluations in 2 steps"),
    ],
)
def test_a_walk_that_begins_with_an_edit_takes_the_evaluations_of_its_own_steps(name, t, budget, words):
    request = Request(denoisers=(name,), T=8, n=4, edit=Edit(t, ""), budget=budget)
    assert counted(request, name) == words


def test_with_a_budget_of_evaluations_a_solver_of_two_a_step_stands_where_its_own_step_is(session):
    request = Request(denoisers=("ddim", "heun"), T=4, n=20, budget="nfe")
    found, own = scene(session, request, scored=(0,)), list(session.run(request, "heun"))
    assert [(step.t, step.nfe) for step in own] == [(2, 2), (1, 1)], "three evaluations; a third step would make five"
    panel = found.panel("heun")
    for state, expected in zip(panel.states, [own[0].x_t, own[0].x_t, own[1].x_t, own[1].x_t, own[1].x_s], strict=True):
        assert torch.equal(state, expected)
    assert torch.equal(found.panel("ddim").states[0], panel.states[0]), "the same noise"
    notes = [shown["note"] for shown in stage(found)["panels"]]
    assert notes[0].endswith("; 4 evaluations") and notes[1].endswith("; 3 evaluations in 2 steps")
    alike = scene(session, replace(request, budget=None)).panel("heun")
    assert torch.equal(alike.sample, list(session.run(replace(request, budget=None), "heun"))[-1].x_s)


def test_the_panel_of_the_best_gaussian_says_how_far_from_the_law_it_can_be(session):
    for schedule, words in {
        "vp": "KL from the law at most 4.72 nats",
        "optimal": "KL from the law at most 0.49 nats",
    }.items():
        found = stage(scene(session, Request(denoisers=("exact", "gaussian"), schedule=schedule, n=20), scored=(0,)))
        assert [words in shown["note"] for shown in found["panels"]] == [False, True]


def test_the_panel_of_a_learned_mixture_says_how_far_from_the_law_it_can_be(session):
    found = stage(scene(session, Request(denoisers=("exact", "mixture"), n=20), scored=(0,)))
    first, note = (shown["note"] for shown in found["panels"])
    assert "KL" not in first
    assert 0 < float(re.search(r"; KL from the law at most (\.?\d*\.\d\d) nats", note)[1]) < 0.1


def test_a_sentence_begins_with_a_capital_but_for_the_name_of_a_number():
    assert [sentence(words) for words in ("n must be 1", "a law needs a mean", "t is 0", "two modes")] == [
        "n must be 1.",
        "A law needs a mean.",
        "t is 0.",
        "Two modes.",
    ]
