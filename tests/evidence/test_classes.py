"""The experiment class-posterior: its numbers are what they should be where the denoiser is exact."""

import numpy as np
import pytest
import torch
from torch import nn

from ddgan.data.images import ImageSet, from_uint8
from ddgan.diffusion.denoiser import ExactDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.evidence import classes
from ddgan.explorer.class_posterior import by_label
from ddgan.explorer.image_posterior import log_weights

RANDOM = np.random.default_rng(0)
TEMPLATES = RANDOM.integers(0, 2, (10, 1, 8, 8)).astype(np.uint8) * 200 + 20


class Nearest(nn.Module):
    """A classifier that is sure of the class whose template an image is most like."""

    def features(self, x):
        return x.flatten(1)

    def head(self, features):
        return -torch.cdist(features, from_uint8(TEMPLATES).flatten(1)).square()


@pytest.fixture
def exactly(monkeypatch):
    """A set of ten patterns with little noise, and denoisers made of its own law."""

    def some(n):
        labels = np.arange(n) % 10
        return ImageSet(TEMPLATES[labels] + RANDOM.integers(0, 20, (n, 1, 8, 8), dtype=np.uint8), labels)

    sets = some(200), some(120), Nearest()
    law = Law.uniform(from_uint8(sets[0].images), 0)
    models = {"ddgan": ExactDenoiser(law), "regression": MeanDenoiser(law)}
    monkeypatch.setattr(classes, "_sets", lambda: sets)
    monkeypatch.setattr(classes, "_model", models.__getitem__)
    labels = torch.from_numpy(sets[0].labels)
    noisy = lambda x_t, level: by_label(log_weights(sets[0].images, x_t, level), labels, 10)  # noqa: E731
    monkeypatch.setattr(classes, "_noisy", lambda: noisy)
    classes._speciation.cache_clear()
    yield
    classes._speciation.cache_clear()


def measured(t, n=60):
    return classes._measure(1, t=t, T=8, n=n, draws=64, turns=4, weights=[])


def test_an_exact_denoiser_is_as_far_from_the_exact_posterior_as_exact_draws_are(exactly):
    found = measured(5)
    assert 0.5 < found["exact_entropy"] < 2, "a level where the class is open"
    assert found["ddgan_kl"] == pytest.approx(found["drawn_kl"], rel=0.5) and found["ddgan_kl"] < 0.1
    assert found["ddgan_entropy"] == pytest.approx(found["exact_entropy"], abs=0.15)
    assert found["gaussian_kl"] > 3 * found["ddgan_kl"], "one mean answers for one class"
    assert found["exact_surprise"] <= found["ddgan_surprise"] + 0.1 < found["gaussian_surprise"]
    for key in ("exact", "drawn", "ddgan"):
        assert abs(found[f"{key}_over"]) < 4 * 0.5 / 60**0.5 + 0.05, "as sure as right"
    assert found["noisy_kl"] < 0.01, "a classifier that knows the posterior is where it is, but for what is mixed in"
    assert found["gaussian_over"] > found["ddgan_over"] + 0.1, "a mean is sure of one class"
    n, said, right = np.array(found["ddgan_reliability"]).T
    assert n.sum() == 600 and right.sum() == 60 and said.sum() == pytest.approx(60, abs=0.1)
    spread = (found["exact_own"] * (1 - found["exact_own"]) / 60) ** 0.5
    assert abs(found["kept"] - found["exact_own"]) < 4 * spread, "a U-turn keeps a class as often as x_t says"


def test_with_little_noise_all_are_sure_and_right_and_with_much_nobody_is(exactly):
    clean, noise = measured(1), measured(8)
    for key in classes.POSTERIORS:
        assert clean[f"{key}_right"] == 1 and clean[f"{key}_entropy"] < 0.05
    assert clean["kept"] == 1 and noise["exact_entropy"] > 2.2 and noise["kept"] < 0.3


def test_the_level_is_that_of_the_schedule_and_cells_have_a_row_for_every_t():
    cells, quick = classes.EXPERIMENTS[0].cells(False), classes.EXPERIMENTS[0].cells(True)
    assert len({cell.row for cell in cells}) == 8 == len(quick) and len(cells) == 24
    assert cells[0].row == "x₈, √ᾱ = 0.007" and cells[-1].row.startswith("x₁")
