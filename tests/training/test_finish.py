"""What becomes of a model when its run has ended."""

import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan import cli
from ddgan.data.images import ImageSet
from ddgan.errors import Refused
from ddgan.models import checkpoint
from ddgan.models.config import preset
from ddgan.training.finish import adjust
from ddgan.training.run import fit, new_objective

TINY = replace(preset("mnist"), width=16, d_width=16, batch=8, steps=1, classes=2)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Images of 28 x 28 in two classes, a run on them, and its model made twice as wide and guided thrice as much."""
    folder, noise = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for i in range(16):
        (folder / "images" / f"class {i % 2}").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(noise.integers(0, 255, (28, 28), dtype=np.uint8))
        image.save(folder / "images" / f"class {i % 2}" / f"{i}.png")
    list(fit(TINY, folder / "run", images=str(folder / "images"), command="first"))
    both = {"spread": 2, "guidance": 3, "images": str(folder / "images")}
    adjust(folder / "run", folder / "other", **both, command="second")
    return folder


def test_a_draw_varies_as_much_more_as_its_spread_where_x_t_is_noise_and_no_more_where_it_says_something(squares):
    narrow, wide = (checkpoint.load(squares / name) for name in ("run", "other"))
    x_t = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    z = torch.randn(500, 784, generator=torch.Generator().manual_seed(1))
    for log_snr, ratio in ((-12.0, 2.0), (-10.0, 2.0), (-7.0, 1.5), (-4.0, 1.0), (3.0, 1.0)):
        level = torch.full((500,), log_snr)
        drawn = [of._input(x_t, level, z) - of._input(x_t, level, 0 * z) for of in (narrow, wide)]
        variances = [float(y.var(0).sum()) for y in drawn]
        assert variances[1] / variances[0] == pytest.approx(ratio, rel=1e-4)


def test_guidance_tells_a_class_from_any_class_that_much_more_and_any_class_as_before(squares):
    plain, guided = (checkpoint.load(squares / name) for name in ("run", "other"))
    labels = torch.nn.functional.normalize(torch.randn(3, 64, generator=torch.Generator().manual_seed(2)))
    for of in (plain, guided):  # a network of one update hardly knows its classes yet
        of.label.weight.copy_(labels)
    x_t = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    level, z = torch.full((4,), 1.0), torch.zeros(4, 784)  # a level without a spread
    told = torch.tensor([0, 1, 1, 0])
    drawn = guided(x_t, level, z, told)
    assert not torch.allclose(drawn, plain(x_t, level, z, told), atol=1e-6)
    plain.label.weight[:2] = labels[2] + 3 * (labels[:2] - labels[2])
    assert torch.allclose(drawn, plain(x_t, level, z, told), atol=1e-6)
    assert torch.equal(guided(x_t, level, z), plain(x_t, level, z))


def test_an_adjusted_model_has_the_same_weights_and_its_card_says_how_it_came_about(squares, tmp_path):
    narrow, wide = (checkpoint.load(squares / name) for name in ("run", "other"))
    assert all(torch.equal(a, b) for a, b in zip(*(of.state_dict().values() for of in (narrow, wide)), strict=True))
    opponents = (checkpoint.load_discriminator(squares / name).state_dict() for name in ("run", "other"))
    assert all(torch.equal(a, b) for a, b in zip(*(of.values() for of in opponents), strict=True))
    assert (narrow.spread, wide.spread) == (1, 2) and "spread" not in narrow.card
    assert (narrow.guidance, wide.guidance) == (1, 3) and "guidance" not in narrow.card
    assert (wide.card["command"], wide.card["seen"]) == ("second", 0)
    assert [(run["command"], run["seen"]) for run in wide.card["history"]] == [("first", 8)]
    assert (squares / "other" / "samples.png").read_bytes() != (squares / "run" / "samples.png").read_bytes()
    checkpoint.save_file(tmp_path / "one.safetensors", wide)
    one = checkpoint.load(tmp_path / "one.safetensors")
    assert (one.spread, one.guidance) == (2, 3)


def test_training_goes_on_as_if_nothing_was_adjusted_and_what_is_not_given_stays_as_it_is(squares, tmp_path):
    adjust(squares / "other", tmp_path / "less", spread=1.5, images=str(squares / "images"))
    less = checkpoint.load(tmp_path / "less")
    assert (less.spread, less.guidance) == (1.5, 3)
    data = ImageSet(np.zeros((8, 1, 28, 28), np.uint8), np.arange(8) % 2, ("class 0", "class 1"))
    again = new_objective(replace(TINY, init=str(squares / "other")), data)
    for of in (again.generator, again.denoiser):
        assert of.spread == of.guidance == 1


def test_the_command_adjusts_and_its_card_names_it(squares, tmp_path, monkeypatch, capsys):
    words = ["adjust", str(squares / "run"), "--guidance", "1.5", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["ddgan", *words])
    assert cli.main([*words, "--data", str(squares / "images")]) == 0
    made = checkpoint.load(tmp_path / "out")
    assert (made.spread, made.guidance) == (1, 1.5)
    assert made.card["command"] == "python -m ddgan " + " ".join(words)
    assert cli.main(["adjust", "mnist", "--out", str(tmp_path / "other")]) == 2
    assert "nothing to adjust: give a spread, a guidance or both" in capsys.readouterr().err


@pytest.mark.parametrize(
    "model, asked, words",
    [
        ("run", {"spread": 0.0}, "a spread must be above 0 and at most 10, got 0"),
        ("run", {"spread": float("nan")}, "at most 10, got nan"),
        ("run", {"spread": 1.5, "guidance": -1.0}, "a guidance must be above 0 and at most 10, got -1"),
        ("run", {}, "nothing to adjust"),
        ("mnist-regression", {"spread": 1.3}, "has a spread, mnist-regression is none"),
        ("cifar10-regression", {"guidance": 2.0}, "has a guidance, cifar10-regression is none"),
        ("25-gaussians", {"spread": 1.3}, "25-gaussians is none"),
        ("25-gaussians", {"guidance": 2.0}, "25-gaussians is none"),
        ("cifar11", {"spread": 1.3}, "no model"),
    ],
)
def test_what_cannot_be_adjusted_is_said(squares, tmp_path, model, asked, words):
    with pytest.raises(Refused, match=words):
        adjust(squares / model if model == "run" else model, tmp_path / "out", **asked)
    with pytest.raises(Refused, match="already holds a model"):
        adjust("mnist", squares / "other", spread=1.3)


def test_a_file_of_a_model_alone_is_adjusted_and_has_no_opponent(squares, tmp_path):
    checkpoint.save_file(path := tmp_path / "one.safetensors", checkpoint.load(squares / "run"))
    adjust(path, tmp_path / "out", guidance=2, images=str(squares / "images"))
    assert checkpoint.load(tmp_path / "out").guidance == 2
    for alone in (path, tmp_path / "out"):
        with pytest.raises(Refused, match="was saved without its discriminator"):
            checkpoint.load_discriminator(alone)


def test_a_card_of_a_model_adjusted_twice_says_which_command_trains_on(squares, tmp_path):
    adjust(squares / "other", out := tmp_path / "a name", guidance=2, images=str(squares / "images"))
    card = checkpoint.load(out).card
    assert [run["steps"] for run in card["history"]] == [1, 0], "the last command of the history trains nothing"
    assert card["go_on"].startswith(f"the last training of the history with --init {shlex.quote(str(out))}, ")


def test_a_place_that_is_taken_is_refused_before_anything_is_judged(squares, tmp_path, monkeypatch):
    monkeypatch.setattr("ddgan.training.finish.is_judged", lambda *_: pytest.fail("judged"))
    begun = fit(replace(TINY, steps=9), tmp_path / "begun", images=str(squares / "images"))
    next(begun)
    (tmp_path / "file").touch()
    for place, words in (("begun", "already holds a run"), ("file", "cannot be written")):
        with pytest.raises(Refused, match=words):
            adjust(squares / "run", tmp_path / place, guidance=2, images=str(squares / "images"))
    assert not (tmp_path / "begun" / "card.json").exists()
    monkeypatch.undo()
    begun.close()


def test_digits_that_a_model_learned_stacked_are_stacked_again(tmp_path):
    for i in range(12):
        (tmp_path / "digits" / f"{i % 3}").mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 20 * i).save(tmp_path / "digits" / f"{i % 3}" / f"{i}.png")
    digits = str(tmp_path / "digits")
    stacked = replace(TINY, data="stackedmnist", latent_dim=3 * 28 * 28, classes=0)
    list(fit(stacked, tmp_path / "run", images=digits))
    adjust(tmp_path / "run", tmp_path / "out", spread=2, images=digits)
    assert checkpoint.load(tmp_path / "out").spread == 2


def test_a_model_of_other_images_than_those_of_its_name_is_not_judged_by_these(squares, tmp_path, monkeypatch):
    other = ImageSet(np.ones((8, 1, 28, 28), np.uint8))
    monkeypatch.setattr("ddgan.training.finish.load_images", lambda name, size: other)
    with pytest.raises(Refused, match="was trained on other images than mnist"):
        adjust(squares / "run", tmp_path / "out", spread=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["spread", "guidance"])
@pytest.mark.parametrize("value", [0, -1, 11, "2", None, True])
def test_a_card_with_another_spread_or_guidance_than_a_number_in_its_range_is_refused(squares, tmp_path, name, value):
    checkpoint.save(tmp_path, checkpoint.load(squares / "run"), TINY, shape=(1, 28, 28), made={name: value})
    with pytest.raises(Refused, match=name):
        checkpoint.load(tmp_path)
