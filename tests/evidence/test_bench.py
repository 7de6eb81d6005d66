"""The benchmark compares ways of computing the same thing."""

import pytest
import torch

from ddgan.evidence.bench import speed
from ddgan.models import registry


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "latent_dim", "patch"), [("unet", 6, 1), ("unet-draw", 3 * 16 * 16, 2)])
def test_every_way_of_the_benchmark_draws_the_same_images(kind, latent_dim, patch, monkeypatch):
    monkeypatch.setattr(speed, "precision", lambda device: torch.bfloat16)
    shape = (3, 16, 16)
    network = registry.generator(
        kind, shape, latent_dim=latent_dim, width=32, depth=1, multipliers=(1, 2, 2), patch=patch
    )
    found = speed.ways(speed.awake(network), shape, rounds=1)
    assert set(found) == {"eager", "float32", "bfloat16"}
    assert found["eager"]["error"] == 0 and 0 < found["float32"]["error"] < 1e-5
    assert 1e-4 < found["bfloat16"]["error"] < 0.05
