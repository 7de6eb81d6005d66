"""Likelihood falls to the entropy of the law, consistency is regressed on the exact flow; both are of points alone."""

import importlib
import math
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from ddgan.data.images import ImageSet
from ddgan.data.toys import toy
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import draw, seeds
from ddgan.diffusion.schedule import Schedule, alpha_sigma
from ddgan.diffusion.solver import Renoise
from ddgan.errors import Refused
from ddgan.metrics.points import coverage
from ddgan.models.checkpoint import load
from ddgan.models.config import Config, preset, suited
from ddgan.training.finish import evaluate_model
from ddgan.training.pairs import Anywhere, Consecutive
from ddgan.training.rivals import Trajectories
from ddgan.training.run import fit, new_objective
from ddgan.training.trainer import train

LINE = toy("4-gaussians-1d")
MIXTURE, CONSISTENCY = (
    replace(suited(preset("4-gaussians-1d"), objective), width=32, depth=2, batch=256, ema=0.02, lr_g=1e-2, steps=300)
    for objective in ("mixture", "consistency")
)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learned(config: Config, law: Law):
    """The moving average after all updates of a config, and the objective."""
    objective = new_objective(config, law)
    for _ in train(objective, lambda _, g: (law.sample(config.batch, g), None), seed=0, steps=config.steps):
        pass
    return objective.denoiser, objective


def test_the_likelihood_falls_to_the_entropy_of_the_law_and_no_lower():
    """With T = 1 hardly a thing is known of x_0 from x_1: q(x_0 | x_1) is the law, whose entropy is an integral."""
    x = torch.linspace(-4, 4, 40_001, dtype=torch.float64)[:, None]
    log_q = LINE.log_prob(x)
    entropy = -torch.trapezoid(torch.xlogy(log_q.exp(), log_q.exp()), x[:, 0]).item()
    model, objective = learned(replace(MIXTURE, T=1), LINE)
    x_0, level = LINE.sample(20_000, noise(5)), Schedule.vp(1).level(1).float()
    x_1 = Schedule.vp(1).marginal(x_0, 1).at(torch.randn(x_0.shape, generator=noise(6)))
    surprise = -model.law(x_1, level.expand(20_000)).log_prob(x_0)
    error = float(surprise.std()) / math.sqrt(20_000)
    assert entropy - 4 * error < float(surprise.mean()) < entropy + 0.05 + 4 * error
    (x_0,) = draw(Schedule.vp(1), model, seeds(0, 5000), (1,), 5000)
    assert coverage(x_0, LINE).on_mode > 0.98


def below(z: np.ndarray) -> np.ndarray:
    """The distribution function of N(0, 1)."""
    return np.vectorize(math.erfc)(-z / math.sqrt(2)) / 2


def quantile(p: np.ndarray, mean: np.ndarray, std: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The quantiles of a mixture on a line, by halving."""
    low, high = np.full_like(p, -20.0), np.full_like(p, 20.0)
    for _ in range(80):
        x = (low + high) / 2
        short = below((x[:, None] - mean) / std) @ w < p
        low, high = np.where(short, x, low), np.where(short, high, x)
    return x


@pytest.mark.parametrize("pairs", [Anywhere(Schedule.vp(1000)), Consecutive(Schedule.vp(4))])
def test_the_target_of_consistency_is_the_quantile_map_on_a_line(pairs):
    paths = Trajectories(LINE, pairs)
    paths.reach(1)
    x_t, level, x_0 = paths.draw(400, noise())
    a, sigma = (v.numpy()[:, None] for v in alpha_sigma(level))
    w, mu, var = LINE.log_w.exp().numpy(), LINE.mu[:, 0].numpy(), LINE.var.numpy()
    p = (below((x_t.double().numpy() - a * mu) / np.sqrt(a**2 * var + sigma**2)) * w).sum(1)
    inside = (p > 1e-3) & (p < 1 - 1e-3)  # further out x_t in float32 says too little about p
    wanted = quantile(p, mu, np.sqrt(var), w)
    near = np.abs(wanted - x_0[:, 0].double().numpy())
    assert np.quantile(near[inside], 0.98) < 2e-3, "but for those who stand where two ways part"


def test_trajectories_stand_at_the_levels_that_are_asked_for_and_are_the_same_each_time():
    pairs = Consecutive(Schedule.vp(4), clean=0.4)
    some, again = (Trajectories(toy("8-gaussians"), pairs) for _ in range(2))
    some.reach(2), again.reach(1), again.reach(2)
    assert torch.equal(some.x_t[:2], again.x_t[:2]) and torch.equal(some.x_0[:2], again.x_0[:2])
    assert not torch.equal(some.x_0[0], some.x_0[1])
    asked = pairs.schedule.level(torch.arange(1, 5)).float()
    assert torch.isin(some.level[:2], asked).all() and len(some.level[:2].unique()) > 1
    spread = some.x_t[:2].square().mean((2, 3))
    assert ((spread - 1).abs() < 0.1).all(), "a variance-preserving process of data of unit variance"


def test_a_map_that_is_learned_from_trajectories_makes_the_law_in_one_step():
    model, _ = learned(replace(CONSISTENCY, T=1, steps=600), LINE)
    assert model.latent_dim == 0
    (x_0,) = draw(Schedule.vp(1), model, seeds(0, 5000), (1,), 5000, Renoise())
    cover = coverage(x_0, LINE)
    assert cover.modes == 4 and cover.on_mode > 0.9 and cover.kl < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("config", [MIXTURE, CONSISTENCY], ids=["mixture", "consistency"])
def test_a_run_that_was_stopped_goes_on_bit_for_bit_and_its_model_is_loaded(config, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("ddgan.training.rivals"), "PER_CHUNK", 2)  # it has to make them again
    monkeypatch.setattr(importlib.import_module("ddgan.training.run"), "evaluate_model", partial(evaluate_model, n=200))
    config = replace(config, steps=6, batch=32)
    steps = fit(config, tmp_path / "a")
    next(islice(steps, 3, None)), steps.close()
    list(fit(config, tmp_path / "a", resume=True))
    list(fit(config, tmp_path / "b"))
    broken, whole = load(tmp_path / "a"), load(tmp_path / "b")
    for name, value in whole.state_dict().items():
        assert torch.equal(broken.state_dict()[name], value), name
    assert list(whole.card["metrics"]) == ["T=1", "T=2", "T=4", "T=8"]
    assert whole.levels.continuous and (max(whole.levels.values) > 8) == (config.objective == "mixture")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (replace(preset("mnist"), objective="mixture"), "the mixture objective is for points, .* mnist is of images$"),
        (
            replace(preset("mnist"), objective="consistency", latent_dim=0),
            "the consistency objective is for points, .*",
        ),
        (replace(preset("mnist"), network="skip"), "the network of mnist must be one of unet, .*, got skip$"),
        (replace(preset("rings"), network="unet"), "the network of rings must be one of plain, .*, got unet$"),
        (replace(MIXTURE, network="skip", latent_dim=1), "need each other, got mixture and skip$"),
        (replace(MIXTURE, objective="ddgan"), "need each other, got ddgan and mixture$"),
        (replace(MIXTURE, latent_dim=1), "latent has 2 numbers, one more than the data, got 1$"),
        (replace(CONSISTENCY, latent_dim=1), "the consistency objective has no latent: latent_dim must be 0, got 1$"),
        (replace(CONSISTENCY, objective="ddgan"), "the network flow has no discriminator"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_sentence(config, sentence):
    images = config.network.startswith("unet")
    data = ImageSet(np.zeros((8, 1, 28, 28), np.uint8)) if images else LINE
    with pytest.raises(Refused, match=sentence) as caught:
        new_objective(config, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("objective", ["mixture", "consistency"])
def test_no_config_of_images_suits_an_objective_of_points(objective):
    with pytest.raises(Refused, match=f"the {objective} objective is for points"):
        suited(preset("cifar10"), objective)
