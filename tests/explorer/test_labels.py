"""Classes: what a request asks for is what a model is told, sample by sample; a model without classes is left alone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_image_grid import Small
from test_run import TINY, sides  # noqa: F401 - a fixture

from ddgan import cli
from ddgan.data.images import encode_pixels
from ddgan.errors import Refused
from ddgan.explorer.posterior import ImageQuestion
from ddgan.explorer.request import Edit, Request
from ddgan.explorer.scene import scene
from ddgan.explorer.session import Session
from ddgan.models import checkpoint
from ddgan.training.run import fit
from ddgan.ui import images
from ddgan.views.code import snippets
from ddgan.views.image_grid import gallery
from ddgan.views.image_posterior import explore

NAMES = ("cat", "dog", "7", "owl")


class Told(Small):
    """x_0 is as bright as the class that it is told; "any", or nothing, is dark."""

    classes = 4
    card = Small.card | {"classes": list(NAMES), "class_counts": [1, 0, 3, 2]}

    def forward(self, x_t, level, z, label=None):
        bright = 1 - (self.classes if label is None else label) / self.classes
        return torch.zeros_like(x_t) + torch.as_tensor(bright).view(-1, 1, 1, 1)


@pytest.fixture(scope="module")
def name(session):
    return session.adopt(Told())


@pytest.fixture(scope="module")
def plain(session):
    return session.adopt(Small())


def request(*names, **values):
    return Request("mnist", names, **{"T": 2, "n": 40, **values})


def drawn(session, asked, name, items=slice(None)):
    *_, last = session.run(asked, name, items)
    return [NAMES[k] if k < 4 else "any" for k in (4 * (1 - last.x_s[:, 0, 0, 0])).round().long().tolist()]


def test_each_sample_has_the_class_of_its_seed_unless_one_is_asked_for(session, name):
    own = drawn(session, request(name), name)
    assert own == list(session.classes(request(name), name)) == drawn(session, request(name, T=1, n=50), name)[:40]
    assert own[5:9] == drawn(session, request(name), name, slice(5, 9)) and set(own) == {"cat", "7", "owl"}
    assert drawn(session, request(name, seed=1), name) != own
    for label, due in {"owl": "owl", "1": "dog", "7": "7", "any": "any"}.items():
        assert set(drawn(session, request(name, label=label), name)) == {due}
    assert session.classes(request(name, label="any"), name) is None


def test_samples_that_begin_with_an_image_are_told_no_class_unless_one_is_asked_for(session, name):
    edit = Edit(1, encode_pixels(np.zeros((1, 28, 28), np.uint8)))
    assert set(drawn(session, request(name, edit=edit), name)) == {"any"}
    assert session.classes(request(name, edit=edit), name) is None
    assert set(drawn(session, request(name, edit=edit, label="owl"), name)) == {"owl"}


def test_images_that_are_judged_are_told_the_same_classes(session, name, monkeypatch):
    def score_set(batches, _, asked, judge):
        bright = torch.cat(list(batches))[:, 0, 0, 0]
        assert [NAMES[k] for k in (4 * (1 - bright)).round().long().tolist()] == list(asked)
        return {"n": len(bright)}

    monkeypatch.setattr("ddgan.explorer.session.score_set", score_set)
    assert session.evaluate(request(name, n=230), name) == {"n": 230}


def test_a_class_that_the_model_does_not_know_is_one_sentence(session, name):
    for label in ("bird", "4", "-1", "²"):
        asked = request(name, label=label)
        for way in (
            lambda a: session.run(a, name),
            lambda a: session.evaluate(a, name),
            lambda a: session.classes(a, name),
        ):
            with pytest.raises(Refused, match="label must be any or one of cat, dog, 7, owl, got"):
                way(asked)
    with pytest.raises(Refused, match="label must be a name"):
        Request.parse({"data": "mnist", "label": [7]})
    with pytest.raises(Refused, match="label must have at most 255 characters, got 300"):
        Request.parse({"data": "mnist", "label": "x" * 300})


def test_a_model_without_classes_draws_the_same_bits_and_says_that_it_knows_none(session, name, plain):
    both = scene(session, request(plain, name, label="owl"))
    alone, deaf = scene(session, request(plain)).panels[0], both.panels[0]
    assert all(
        torch.equal(a, b) for a, b in zip(alone.states + alone.predicted, deaf.states + deaf.predicted, strict=True)
    )
    without, told = gallery(both)["panels"]
    assert without["note"].endswith("; knows no classes") and without["classes"] is None
    assert "knows no classes" not in told["note"] and set(told["classes"]) == {"owl"}
    assert "strongly" not in told["note"]
    for label in (None, "any"):
        assert "knows no" not in gallery(scene(session, request(plain, label=label)))["panels"][0]["note"]


def test_a_panel_says_that_its_model_is_guided_where_it_is_told_a_class():
    for asked, said in (({}, True), ({"label": "cat"}, True), ({"label": "any"}, False)):
        request = Request.parse({"data": "cifar10", "denoisers": "ddgan", "T": 1, "n": 1, **asked})
        (panel,) = gallery(scene(Session(), request))["panels"]
        assert panel["note"].endswith("1 evaluation; told classes 2 times as strongly as in training") is said


def test_classes_leave_the_noise_as_it_is(session, name):
    one, other = (list(session.run(request(name, label=label), name)) for label in ("cat", "owl"))
    assert torch.equal(one[0].x_t, other[0].x_t)
    assert all(torch.equal(a.z, b.z) and torch.equal(a.eps, b.eps) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(("label", "due", "said"), [(None, 0.0, "any"), ("any", 0.0, "any"), ("dog", 0.75, "dog")])
def test_redraws_are_of_any_class_unless_one_is_asked_for(session, name, plain, label, due, said, monkeypatch):
    monkeypatch.setattr(session, "images", lambda data: None)
    asked = request(name, plain, label=label)
    assert session.redraws(asked, name, torch.zeros(1, 28, 28), 1, 3).mean() == pytest.approx(due)
    told, without = next(explore(session, ImageQuestion(asked, 1, 0, name)))["panels"]
    assert told["class"] == said and without["class"] is None


def test_a_label_survives_its_link_its_json_and_its_command():
    for label in ("any", "7", "tabby cat, grey & old"):
        asked = Request.parse({"data": "mnist", "label": label})
        assert Request.from_query(asked.to_query()) == asked == Request.parse(json.loads(json.dumps(asked.to_dict())))
    asked = Request.parse({"data": "mnist", "label": 7})
    assert asked.label == "7" and "label" not in Request.parse({"data": "mnist", "label": ""}).to_dict()
    code = snippets(asked, "http://h/")
    assert " --label 7 " in code["cli"] and 'label="7"' in code["python"] and code["link"].endswith("&label=7")


def test_the_menu_offers_the_classes_of_the_data_and_keeps_one_by_name_that_other_data_have(session, monkeypatch):
    known = {"mnist": ("cat", "dog"), "cifar10": (), "stackedmnist": ("cat", "owl")}
    monkeypatch.setattr(session, "class_names", known.get)
    assert images._classes(session, "mnist") == {
        "choices": [("each its own", ""), ("any", "any"), ("cat", "cat"), ("dog", "dog")], "value": "", "visible": True,
    }  # fmt: skip
    assert not images._classes(session, "cifar10")["visible"] and images._classes(session, "cifar10", "owl")["visible"]
    for data, label, kept in (
        ("mnist", "dog", "dog"),
        ("stackedmnist", "owl", "owl"),
        ("mnist", "owl", "any"),  # as the tab opens
        ("mnist", "", "any"),
        ("mnist", "any", "any"),
        ("stackedmnist", "any", ""),
        ("cifar10", "any", ""),
        ("cifar10", "dog", ""),
    ):
        fitting, _, menu = images._offered(session, {"data": data, "denoisers": ["ddgan"], "label": label})
        assert fitting["label"] == kept == menu["value"]


@pytest.mark.slow
def test_folders_are_classes_that_can_be_asked_for_by_name(sides, tmp_path, capsys):  # noqa: F811
    """The mean of a class after 60 updates of 16: bright on its own side."""
    run, out = tmp_path / "run", tmp_path / "x.npz"
    mean = replace(TINY, objective="regression", latent_dim=0, T=1, classes=None, unlabelled=0.3)
    config = replace(mean, batch=16, lr_g=5e-3, ema=0.05, steps=60)
    list(fit(config, run, images=str(sides)))
    card = checkpoint.read_card(run)
    assert card["classes"] == ["left", "right"] and card["class_counts"] == [20, 20]
    assert Session().class_names(str(run)) == ("left", "right")
    for label in ("left", "right", None):
        words = ["sample", str(run), "--denoiser", "regression", "--T", "1", "-n", "12", "--out", str(out)]
        assert cli.main(words + (["--label", label] if label else [])) == 0
        with np.load(out) as file:
            halves = file["x"][..., :14].mean((1, 2, 3)) - file["x"][..., 14:].mean((1, 2, 3))
            assert [("right", "left")[int(half > 0)] for half in halves] == file["classes"].tolist()
            assert set(file["classes"].tolist()) == ({label} if label else {"left", "right"})
    assert cli.main([*words, "--label", "up"]) == 2 and "one of left, right, got 'up'" in capsys.readouterr().err


def test_a_card_whose_classes_are_none_is_refused(tmp_path):
    card = checkpoint.read_card("mnist")
    card["config"] |= {"classes": 2}
    for broken in (
        {"classes": ["a"]},
        {"classes": [1, 2]},
        {"class_counts": [1]},
        {"class_counts": [0, 0]},
        {"class_counts": [-1, 2]},
    ):
        (tmp_path / "card.json").write_text(json.dumps({**card, "classes": ["a", "b"], **broken}))
        with pytest.raises(Refused, match="not a card of this project: class"):
            checkpoint.read_card(tmp_path)
