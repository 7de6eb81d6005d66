"""What the networks of vectors promise; the denoisers' common contract is in test_denoiser."""

from functools import partial

import pytest
import torch
from torch import Tensor

from ddgan.diffusion.denoiser import ExactDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.schedule import FAMILIES, Schedule, alpha_sigma
from ddgan.errors import Refused
from ddgan.models import registry
from ddgan.models.mlp import level_features, with_fourier

pytestmark = pytest.mark.usefixtures("fixed_initialisation")
VP = Schedule.vp(4)
EACH_KIND = pytest.mark.parametrize("kind", registry.VECTORS)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(kind: str, n: int = 2, latent_dim: int = 2):
    size = {"width": 16, "depth": 2}
    return registry.generator(kind, (n,), latent_dim=latent_dim, **size), registry.discriminator(kind, (n,), **size)


def condition(B: int, n: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    t = 1 + torch.arange(B) % 4
    return randn(B, n, seed=1), VP.level(t - 1).float(), VP.level(t).float()


@EACH_KIND
def test_every_weight_of_both_networks_gets_a_gradient(kind):
    generator, discriminator = pair(kind)
    x_t, level_s, level_t = condition(8)
    discriminator(generator(x_t, level_t, randn(8, 2)), x_t, level_s, level_t).square().sum().backward()
    for parameter in (*generator.parameters(), *discriminator.parameters()):
        assert parameter.grad.isfinite().all() and parameter.grad.any()


@EACH_KIND
def test_m_batches_that_share_one_condition_equal_m_calls(kind):
    _, discriminator = pair(kind)
    shared, batches = condition(8), [randn(8, 2, seed=s) for s in range(3)]
    together = discriminator(torch.cat(batches), *shared)
    torch.testing.assert_close(together, torch.cat([discriminator(x, *shared) for x in batches]))


@EACH_KIND
def test_a_logit_belongs_to_its_own_item_and_starts_near_zero(kind):
    _, discriminator = pair(kind)
    x_s, shared = randn(8, 2), condition(8)
    logits = discriminator(x_s, *shared)
    alone = torch.cat([discriminator(x_s[i : i + 1], *(c[i : i + 1] for c in shared)) for i in range(8)])
    assert logits.shape == (8,) and logits.abs().max() < 0.5
    torch.testing.assert_close(logits, alone)


@EACH_KIND
@pytest.mark.parametrize("argument", [0, 1, 2, 3], ids=["x_s", "x_t", "level_s", "level_t"])
def test_d_judges_by_each_of_its_arguments(kind, argument):
    _, discriminator = pair(kind)
    arguments = [randn(8, 2), *condition(8)]
    before = discriminator(*arguments)
    arguments[argument] = arguments[argument].flip(0)
    assert (discriminator(*arguments) != before).any()


@pytest.mark.parametrize("kind", ["plain", "skip", "v"])
@pytest.mark.parametrize(("n", "latent_dim"), [(1, 0), (1, 1), (2, 0), (2, 2)])
def test_a_generator_starts_near_0_or_near_the_posterior_draw_of_normal_data(kind, n, latent_dim):
    """In root mean square, against data of unit variance: plain near 0, the others near y = a_t x_t + sigma_t z."""
    generator, _ = pair(kind, n, latent_dim)
    x_t, _, level = condition(256, n)
    z = randn(256, latent_dim)
    a, sigma = (v.float()[:, None] for v in alpha_sigma(level))
    y = 0 * x_t if kind == "plain" else a * x_t + (sigma * z if latent_dim else 0)
    assert (generator(x_t, level, z) - y).square().mean().sqrt() < 0.06


@EACH_KIND
@pytest.mark.parametrize(("n", "latent_dim"), [(1, 0), (1, 1), (5, 0), (5, 5)])
def test_networks_take_data_of_any_number_of_coordinates(kind, n, latent_dim):
    generator, discriminator = pair(kind, n, latent_dim)
    x_t, level_s, level_t = condition(4, n)
    x_0 = generator(x_t, level_t, randn(4, latent_dim))
    assert x_0.shape == (4, n) and discriminator(x_0, x_t, level_s, level_t).shape == (4,)


@pytest.mark.parametrize("latent_dim", [0, 2])
@pytest.mark.parametrize("kind", ["skip", "v"])
def test_the_bare_skip_is_the_exact_denoiser_of_standard_normal_data(kind, latent_dim):
    generator, _ = pair(kind, latent_dim=latent_dim)
    torch.nn.init.zeros_(generator.net.layers[-1].weight)
    law = Law.uniform(torch.zeros(1, 2), 1.0)
    x_t, _, level = condition(8)
    z = randn(8, latent_dim)
    truth = (
        ExactDenoiser(law)(x_t, level, torch.cat([z[:, :1], z], 1)) if latent_dim else MeanDenoiser(law)(x_t, level, z)
    )
    torch.testing.assert_close(generator(x_t, level, z), truth)


def test_the_skip_generator_refuses_other_latents_in_a_sentence():
    with pytest.raises(Refused, match="the skip generator's latent has 0 or 2 numbers, as the data, got 3"):
        registry.generator("skip", (2,), latent_dim=3, width=8, depth=1)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "optimal"])
def test_level_features_are_bounded_tell_levels_apart_and_mark_clean_data(family):
    features = level_features(Schedule.named(family, 1000).level(torch.arange(1001)).float())
    assert features.isfinite().all() and features.abs().max() < 2.5
    assert features[:, 2].tolist() == [1] + [0] * 1000
    assert (features[1:, :2].diff(dim=0).abs().sum(1) > 0).all()


def test_fourier_features_are_sines_and_cosines_of_each_axis():
    x = randn(4, 2)
    features = with_fourier(x, 3)
    assert features.shape == (4, 2 * 7) and torch.equal(with_fourier(x, 0), x)
    octaves = features[:, 2:].reshape(4, 2, 3, 2)
    torch.testing.assert_close(octaves[:, 0].square() + octaves[:, 1].square(), torch.ones(4, 3, 2))
    torch.testing.assert_close(octaves[:, 0, 1], (3 * x).sin())


@pytest.mark.parametrize("kind", ["eps", "plain-eps"])
def test_an_eps_generator_is_its_like_read_as_noise(kind):
    other = {"eps": "skip", "plain-eps": "plain"}[kind]
    eps, x_0_of = (registry.generator(kind, (2,), latent_dim=2, width=16, depth=2) for kind in (kind, other))
    x_0_of.load_state_dict(eps.state_dict())
    x_t, level, z = randn(8, 2), VP.level(2).float().expand(8), randn(8, 2, seed=1)
    a, sigma = (v.float()[:, None] for v in alpha_sigma(level))
    torch.testing.assert_close(a * eps(x_t, level, z) + sigma * x_0_of(x_t, level, z), x_t)


def test_the_v_generator_without_a_latent_predicts_v():
    """v = a eps - sigma x_0, of which x_0 = a x_t - sigma v: its MLP's output is -v."""
    net = registry.generator("v", (2,), latent_dim=0, width=16, depth=2)
    x_t, _, level = condition(8)
    a, sigma = (v.float()[:, None] for v in alpha_sigma(level))
    x_0 = net(x_t, level, torch.zeros(8, 0))
    eps = (x_t - a * x_0) / sigma
    _, output = net._drawn(x_t, level, torch.zeros(8, 0))
    torch.testing.assert_close(a * eps - sigma * x_0, -output)


@pytest.mark.parametrize("kind", registry.VECTORS)
def test_the_unit_of_a_network_is_what_one_more_in_its_output_is_in_x_0(kind):
    net = registry.generator(kind, (2,), latent_dim=2, width=16, depth=2)
    x_t, _, level = condition(8)
    z = randn(8, 2)
    before = net(x_t, level, z)
    with torch.no_grad():
        net.net.layers[-1].bias += 1
    moved = (net(x_t, level, z) - before).abs()
    torch.testing.assert_close(moved, net.output_scale(level).float()[:, None].expand(8, 2), rtol=1e-4, atol=1e-5)


def test_the_mixtures_law_is_what_it_draws():
    """Weights, means and variances against a histogram of draws, at levels of much and of little noise."""
    model = registry.generator("mixture", (1,), latent_dim=2, width=16, depth=2)
    with torch.no_grad():  # away from where it begins: unequal weights, widths and places
        model.net.layers[-1].weight.mul_(30)
    edges, n = torch.linspace(-4, 4, 81, dtype=torch.float64), 100_000
    for level in (-9.0, 0.0, 3.0):
        x_t = torch.full((1, 1), 0.7)
        law = model.law(x_t, torch.tensor([level]))
        assert law.log_w.exp().sum().item() == pytest.approx(1, abs=1e-5)
        std, means = law.var[0].sqrt().double(), law.component_means()[0, :, 0].double()
        below = torch.special.ndtr((edges[:, None] - means) / std) @ law.log_w[0].exp().double()
        x_0 = model(x_t.expand(n, 1), torch.full((n,), level), randn(n, 2, seed=3))[:, 0].double()
        counts = torch.histc(x_0, 80, -4, 4)
        p = below.diff()
        assert ((counts / n - p).abs() < 5 * (p / n).sqrt() + 1e-4).all(), level
        assert x_0.mean().item() == pytest.approx(law.mean().item(), abs=5 * x_0.std().item() / n**0.5)
        assert x_0.var().item() == pytest.approx(law.cov().item(), rel=0.05)


def test_a_mixture_begins_spread_as_if_x_0_were_normal():
    model = registry.generator("mixture", (2,), latent_dim=3, width=96, depth=3)
    law = model.law(randn(64, 2), torch.full((64,), -9.0))
    torch.testing.assert_close(law.mean(), torch.zeros(64, 2), atol=0.25, rtol=0)
    torch.testing.assert_close(law.cov().diagonal(dim1=1, dim2=2), torch.ones(64, 2), atol=0.35, rtol=0)


def test_at_little_noise_a_mixture_says_x_0_is_near_x_t():
    model, x_t = registry.generator("mixture", (2,), latent_dim=3, width=16, depth=2), randn(500, 2)
    level = torch.full((500,), 9.0)  # sigma = .011
    near = model(x_t, level, randn(500, 3, seed=1)) - x_t
    assert near.abs().max() < 0.1


@pytest.mark.parametrize(("kind", "latent_dim"), [("mixture", 3), ("flow", 0)])
def test_a_network_without_an_opponent_learns_by_every_weight_and_by_its_own_item_alone(kind, latent_dim):
    model = registry.generator(kind, (2,), latent_dim=latent_dim, width=16, depth=2)
    x_t, _, level = condition(8)
    z = randn(8, latent_dim, seed=4)
    together = model(x_t, level, z)
    alone = torch.cat([model(x_t[i : i + 1], level[i : i + 1], z[i : i + 1]) for i in range(8)])
    torch.testing.assert_close(together, alone)
    (-model.law(x_t, level).log_prob(x_t) if kind == "mixture" else together).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    with pytest.raises(Refused, match="has no discriminator"):
        registry.discriminator(kind, (2,), width=16, depth=2)
    with pytest.raises(Refused, match="latent"):
        registry.generator(kind, (2,), latent_dim=2, width=16, depth=2)
    with pytest.raises(Refused, match="classes are for networks of images"):
        registry.generator(kind, (2,), latent_dim=latent_dim, width=16, depth=2, classes=3)


@pytest.mark.parametrize("make", [registry.discriminator, partial(registry.generator, latent_dim=2)])
def test_an_unknown_kind_of_network_is_refused_with_the_known_ones(make):
    with pytest.raises(Refused, match="^a network is one of plain, skip, .*, unet-indexed, got 'mlp'$"):
        make("mlp", (3, 32, 32), width=8, depth=1)
