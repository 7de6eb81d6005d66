"""The tree of one x_t: its children have it in common and nothing else."""

import numpy as np
import pytest
import torch

from ddgan.data.images import from_uint8
from ddgan.diffusion.denoiser import ExactDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, sample, seeds
from ddgan.diffusion.schedule import Schedule
from ddgan.diffusion.solver import DDIM
from ddgan.explorer.request import Request
from ddgan.explorer.session import Session
from ddgan.explorer.tree import tree

SHAPE, VP = (1, 8, 8), Schedule.vp(4)
IMAGES = from_uint8(np.random.default_rng(0).integers(0, 256, (12, *SHAPE), dtype=np.uint8))
LAW = Law.uniform(IMAGES, 0)


def frozen(t):
    return VP.marginal(IMAGES[:1], t).at(Draws.from_seeds([5], SHAPE, 4, 0).x_T)[0]


@pytest.mark.parametrize("t", [1, 2, 4])
@pytest.mark.parametrize("denoiser", [ExactDenoiser(LAW), MeanDenoiser(LAW)], ids=["z", "no z"])
def test_a_child_is_one_step_from_x_t_by_its_own_noise_and_its_leaf_the_end_of_its_way(t, denoiser):
    found, x_t = tree(VP, denoiser, frozen(t), t, 6, seed=2), frozen(t)
    assert found.x_s.shape == found.x_0.shape == (6, *SHAPE)
    for j, seed in enumerate(seeds(2, 6)):
        alone = Draws.from_seeds([seed], SHAPE, 4, denoiser.latent_dim)._replace(x_T=x_t[None])
        steps = list(sample(VP, denoiser, alone, t))
        assert torch.allclose(found.x_s[j], steps[0].x_s[0], atol=1e-5), "the same x_t, a seed of its own"
        assert torch.allclose(found.x_0[j], steps[-1].x_s[0], atol=1e-5)


def test_at_the_noise_the_leaves_are_samples_and_near_the_data_all_are_what_x_t_was_made_of():
    denoiser = ExactDenoiser(LAW)
    found = tree(VP, denoiser, frozen(4), 4, 200)
    kinds = (found.x_0[:, None] - IMAGES).square().flatten(2).sum(2).argmin(1).bincount(minlength=12)
    assert ((kinds - 200 / 12).abs() < 4 * (200 / 12) ** 0.5).all(), "each image as often as the law has it"
    assert torch.allclose(tree(VP, denoiser, frozen(1), 1, 6).x_0, IMAGES[:1].expand(6, *SHAPE), atol=1e-4)


def test_other_noise_gives_other_children_and_a_way_without_noise_a_single_one():
    one, other = (tree(VP, ExactDenoiser(LAW), frozen(4), 4, 3, seed) for seed in (0, 1))
    assert not torch.equal(one.x_s, other.x_s)
    still = tree(VP, MeanDenoiser(LAW), frozen(4), 4, 3, solver=DDIM(0.0))
    assert torch.allclose(still.x_0, still.x_0[:1].expand_as(still.x_0), atol=1e-6)


def test_a_request_grows_its_trees_by_its_own_schedule_and_model():
    session = Session()
    request = Request.parse({"data": "mnist", "denoisers": "regression", "T": 2, "n": 2, "label": "any"})
    steps = list(session.run(request, "regression"))
    x = torch.stack([step.x_t[1] for step in steps])
    found = session.branches(request, "regression", x, [2, 1], 3)
    assert found.x_s.shape == found.x_0.shape == (2, 3, 1, 28, 28)
    assert torch.equal(found.x_s[1], found.x_0[1]), "the last step ends at x_0"
    assert torch.allclose(found.x_0[1], steps[1].x_0[1].expand(3, 1, 28, 28), atol=0.05), "its one mean"
