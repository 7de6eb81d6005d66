"""What becomes of a model when its run has ended."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.data.images import ImageSet
from ddgan.errors import Refused
from ddgan.models import checkpoint
from ddgan.models.config import preset
from ddgan.training.finish import widen
from ddgan.training.run import fit, new_objective

TINY = replace(preset("mnist"), width=16, d_width=16, batch=8, steps=1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Images of 28 x 28, a run on them, and its model made twice as wide."""
    folder, noise = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    (folder / "images").mkdir()
    for i in range(16):
        Image.fromarray(noise.integers(0, 255, (28, 28), dtype=np.uint8)).save(folder / "images" / f"{i}.png")
    list(fit(TINY, folder / "run", images=str(folder / "images"), command="first"))
    widen(folder / "run", 2, folder / "wide", images=str(folder / "images"), command="second")
    return folder


def test_a_draw_varies_as_much_more_as_its_spread_where_x_t_is_noise_and_no_more_where_it_says_something(squares):
    narrow, wide = (checkpoint.load(squares / name) for name in ("run", "wide"))
    x_t = torch.randn(500, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    z = torch.randn(500, 784, generator=torch.Generator().manual_seed(1))
    for log_snr, ratio in ((-12.0, 2.0), (-10.0, 2.0), (-7.0, 1.5), (-4.0, 1.0), (3.0, 1.0)):
        level = torch.full((500,), log_snr)
        drawn = [of._input(x_t, level, z) - of._input(x_t, level, 0 * z) for of in (narrow, wide)]
        variances = [float(y.var(0).sum()) for y in drawn]
        assert variances[1] / variances[0] == pytest.approx(ratio, rel=1e-4)


def test_a_model_with_a_spread_has_the_same_weights_and_its_card_says_how_it_came_about(squares, tmp_path):
    narrow, wide = (checkpoint.load(squares / name) for name in ("run", "wide"))
    assert all(torch.equal(a, b) for a, b in zip(*(of.state_dict().values() for of in (narrow, wide)), strict=True))
    opponents = (checkpoint.load_discriminator(squares / name).state_dict() for name in ("run", "wide"))
    assert all(torch.equal(a, b) for a, b in zip(*(of.values() for of in opponents), strict=True))
    assert (narrow.spread, wide.spread) == (1, 2) and "spread" not in narrow.card
    assert (wide.card["command"], wide.card["seen"]) == ("second", 0)
    assert [(run["command"], run["seen"]) for run in wide.card["history"]] == [("first", 8)]
    assert (squares / "wide" / "samples.png").read_bytes() != (squares / "run" / "samples.png").read_bytes()
    checkpoint.save_file(tmp_path / "one.safetensors", wide)
    assert checkpoint.load(tmp_path / "one.safetensors").spread == 2


def test_training_goes_on_without_the_spread_and_another_one_takes_its_place(squares, tmp_path):
    widen(squares / "wide", 1.5, tmp_path / "less", images=str(squares / "images"))
    assert checkpoint.load(tmp_path / "less").spread == 1.5
    again = new_objective(replace(TINY, init=str(squares / "wide")), ImageSet(np.zeros((8, 1, 28, 28), np.uint8)))
    assert again.generator.spread == again.denoiser.spread == 1


@pytest.mark.parametrize(
    "model, spread, words",
    [
        ("run", 0.0, "at most 10, got 0"),
        ("run", float("nan"), "at most 10, got nan"),
        ("mnist-regression", 1.3, "mnist-regression is none"),
        ("25-gaussians", 1.3, "25-gaussians is none"),
        ("cifar11", 1.3, "no model"),
    ],
)
def test_what_cannot_be_widened_is_said(squares, tmp_path, model, spread, words):
    with pytest.raises(Refused, match=words):
        widen(squares / model if model == "run" else model, spread, tmp_path / "out")
    with pytest.raises(Refused, match="already holds a model"):
        widen("mnist", 1.3, squares / "wide")


def test_a_model_of_other_images_than_those_of_its_name_is_not_judged_by_these(squares, tmp_path, monkeypatch):
    other = ImageSet(np.ones((8, 1, 28, 28), np.uint8))
    monkeypatch.setattr("ddgan.training.finish.load_images", lambda name, size: other)
    with pytest.raises(Refused, match="was trained on other images than mnist"):
        widen(squares / "run", 2, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spread", [0, -1, 11, "2", None, True])
def test_a_card_with_another_spread_than_a_number_in_its_range_is_refused(squares, tmp_path, spread):
    checkpoint.save(tmp_path, checkpoint.load(squares / "run"), TINY, shape=(1, 28, 28), made={"spread": spread})
    with pytest.raises(Refused, match="spread"):
        checkpoint.load(tmp_path)
