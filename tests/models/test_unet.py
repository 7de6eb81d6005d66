"""What the networks of images promise; the denoisers' common contract is in test_denoiser."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.diffusion.schedule import Schedule, alpha_sigma
from ddgan.errors import Refused
from ddgan.machine import zero_divisor
from ddgan.models import discriminator as discriminators
from ddgan.models import registry
from ddgan.models.layers import Attention, Norm, shrink, stretch
from ddgan.models.unet import DrawUNet, IndexedUNet, Pyramid
from ddgan.training.pairs import Consecutive
from ddgan.training.trainer import Adversarial, Descent, Regression

VP = Schedule.vp(4)
pytestmark = pytest.mark.usefixtures("fixed_initialisation")
SHAPE = (3, 8, 8)
N = 3 * 8 * 8
SIZE = {"width": 16, "depth": 1, "multipliers": (1, 2)}
EACH_GENERATOR = pytest.mark.parametrize(
    ("kind", "latent_dim"), [("unet", 6), ("unet", 0), ("unet-draw", N), ("unet-draw", 0)]
)
EACH_PATCH = pytest.mark.parametrize("patch", [1, 2])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def awake(network: nn.Module) -> nn.Module:
    """The same with weights of ordinary size where they start tiny: it stands for a trained one."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and layer.weight.abs().max() < 1e-3:
            nn.init.xavier_uniform_(layer.weight)
    return network


def generator(kind: str, latent_dim: int, patch: int = 1) -> nn.Module:
    return registry.generator(kind, SHAPE, latent_dim=latent_dim, patch=patch, **SIZE)


def discriminator(patch: int = 1) -> nn.Module:
    return registry.discriminator("unet", (3, 16, 16), width=16, depth=1, patch=patch)


def inputs(latent_dim: int, B: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    return randn(B, *SHAPE, seed=1), VP.level(1 + torch.arange(B) % 4).float(), randn(B, latent_dim, seed=2)


def condition(B: int) -> tuple[Tensor, Tensor, Tensor]:
    t = 1 + torch.arange(B) % 4
    return randn(B, 3, 16, 16, seed=3), VP.level(t - 1).float(), VP.level(t).float()


def relative(x: Tensor, reference: Tensor) -> float:
    return ((x - reference).norm() / reference.norm()).item()


# ---------------------------------------------------------------- the paper's networks


def test_the_papers_networks_have_the_papers_numbers_of_parameters():
    with torch.device("meta"):
        g = registry.generator("unet", (3, 32, 32), latent_dim=100, width=128, depth=2, multipliers=(1, 2, 2, 2))
        d = registry.discriminator("unet", (3, 32, 32), width=128, depth=2)
    assert sum(p.numel() for p in g.parameters()) == 48_432_515
    assert sum(p.numel() for p in d.parameters()) == 12_741_633


def resampled(x: Tensor, *, up: int = 1, down: int = 1, pad: int) -> Tensor:
    """The definition: zeros between the pixels, zeros around,
    the normalised filter [1, 3, 3, 1], every down-th pixel.
    """
    B, C, H, W = x.shape
    wide = x.new_zeros(B, C, H * up, W * up)
    wide[:, :, ::up, ::up] = x
    wide = F.pad(wide, (pad + up - 1, pad, pad + up - 1, pad))
    line = torch.tensor([1.0, 3, 3, 1]).to(x) / 8 * up
    filtered = F.conv2d(wide.flatten(0, 1)[:, None], torch.outer(line, line)[None, None])
    return filtered[:, 0, ::down, ::down].unflatten(0, (B, C))


@pytest.mark.parametrize("sides", [(8, 12), (7, 8), (4, 6), (7, 16)])
def test_the_fast_resampling_is_the_filter_of_its_definition(sides):
    x = randn(2, 5, *sides).double()
    torch.testing.assert_close(shrink(x), resampled(x, down=2, pad=1))
    torch.testing.assert_close(stretch(x), resampled(x, up=2, pad=1))
    pyramid = Pyramid(5, 7).double()
    filtered = resampled(x, pad=2)
    torch.testing.assert_close(pyramid(x), F.conv2d(filtered, pyramid.conv.weight, pyramid.conv.bias, stride=2))


@pytest.mark.parametrize("resample", [shrink, stretch])
def test_resampling_is_linear_with_derivatives_of_both_orders(resample):
    x = randn(2, 3, 4, 6).double().requires_grad_()
    assert torch.autograd.gradcheck(resample, x) and torch.autograd.gradgradcheck(resample, x)


@pytest.mark.parametrize("resample", [shrink, stretch])
def test_resampling_keeps_a_constant_away_from_the_border(resample):
    y = resample(torch.ones(1, 1, 16, 16, dtype=torch.float64))
    torch.testing.assert_close(y[:, :, 2:-2, 2:-2], torch.ones_like(y[:, :, 2:-2, 2:-2]))


@pytest.mark.parametrize("width", [16, 48, 112, 144])
def test_networks_of_every_width_have_groups_that_divide_their_channels_the_papers_32(width):
    network = registry.generator("unet", SHAPE, latent_dim=4, width=width, depth=1, multipliers=(1, 3))
    assert network(*inputs(4)).isfinite().all()
    assert [Norm(channels, 0, 4).groups for channels in (128, 256, 384, 512)] == [32] * 4


def test_an_indexed_unet_sees_the_index_of_the_cleaner_side_and_no_more():
    network = awake(registry.generator("unet-indexed", SHAPE, latent_dim=6, **SIZE))
    assert isinstance(network, IndexedUNet)
    assert network._position(VP.level(torch.tensor([1, 2, 3, 4])).float()).tolist() == [0, 1, 2, 3]
    x_t, level, z = inputs(6)
    assert torch.equal(network(x_t, level + 0.01, z), network(x_t, level, z))
    assert not torch.equal(network(x_t, level.roll(1), z), network(x_t, level, z))


@pytest.mark.parametrize("style", [0, 8])
@pytest.mark.parametrize("side", [4, 32])
@pytest.mark.parametrize("group", [4, 16])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("mean", [3, 100])
def test_a_norm_is_the_scaled_and_shifted_group_norm_however_it_is_computed(style, side, group, dtype, mean):
    norm, x, given = Norm(64, style, group), (mean + 2 * randn(5, 64, side, side)).to(dtype), randn(5, style, seed=1)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    scale, shift = norm.style(given).chunk(2, 1) if style else (norm.weight[None], norm.bias[None])
    expected = scale[:, :, None, None] * F.group_norm(x.float(), 64 // group, eps=1e-6) + shift[:, :, None, None]
    with torch.no_grad():
        y = norm.to(dtype)(x.to(memory_format=torch.channels_last), given.to(dtype))
    assert y.dtype == dtype and relative(y, expected.detach()) < {torch.float64: 1e-5, torch.bfloat16: 2e-2}[dtype]


def test_attention_is_the_softmax_of_its_definition():
    layer, x = awake(Attention(32, 4)).double(), randn(2, 32, 3, 5).double()
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, 1)  # (B, C, H W)
    w = (q.mT @ k / 32**0.5).softmax(2)  # from each pixel to all
    expected = (x + layer.out((v @ w.mT).unflatten(2, (3, 5)))) / 2**0.5
    torch.testing.assert_close(layer(x), expected)


# ---------------------------------------------------------------- generators


@EACH_GENERATOR
@EACH_PATCH
def test_a_generator_starts_at_zero(kind, latent_dim, patch):
    assert generator(kind, latent_dim, patch)(*inputs(latent_dim)).abs().max() < 1e-3


@EACH_GENERATOR
@EACH_PATCH
def test_a_mixed_batch_equals_its_items_one_by_one(kind, latent_dim, patch):
    network, given = awake(generator(kind, latent_dim, patch)), inputs(latent_dim)
    with torch.no_grad():
        together = network(*given)
        alone = torch.cat([network(*(v[i : i + 1] for v in given)) for i in range(8)])
    assert together.shape == (8, *SHAPE) and together.std() > 0.05
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@EACH_GENERATOR
@EACH_PATCH
def test_every_weight_of_a_generator_gets_a_gradient(kind, latent_dim, patch):
    network = awake(generator(kind, latent_dim, patch))
    network(*inputs(latent_dim)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


@EACH_GENERATOR
def test_a_generator_with_bfloat16_weights_gives_nearly_the_same_images(kind, latent_dim):
    network, given = awake(generator(kind, latent_dim, 2)), inputs(latent_dim)
    with torch.no_grad():
        exact = network(*given)
        rounded = network.to(torch.bfloat16)(*given)
    assert rounded.dtype == torch.float32 and 0 < relative(rounded, exact) < 3e-2


@pytest.mark.parametrize(
    ("shape", "size", "words"),
    [
        ((3, 8, 8), {"width": 20}, "width of a network of images must be a multiple of 16, got 20"),
        ((3, 9, 8), {"width": 16}, "images of 9 x 8 do not fit: sides must be multiples of 2, like 8 or 10"),
        ((3, 6, 6), {"width": 16, "patch": 2}, "images of 6 x 6 do not fit: sides must be multiples of 4, like 4 or 8"),
        ((3, 8, 8), {"width": 16, "multipliers": ()}, "for one resolution at least"),
        ((2,), {"width": 16}, r"needs data of shape \(C, H, W\), got \(2,\)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_a_sentence(shape, size, words):
    with pytest.raises(Refused, match=words):
        registry.generator("unet", shape, latent_dim=4, depth=1, **{"multipliers": (1, 2), **size})


@pytest.mark.parametrize(("side", "patch"), [(2, 1), (8, 2), (10, 2)])
def test_the_discriminator_halves_images_only_while_they_are_larger_than_4_x_4(side, patch):
    x_s = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(0)).requires_grad_()
    judge = registry.discriminator("unet", (3, side, side), width=16, depth=1, patch=patch)
    (slope,) = torch.autograd.grad(judge(x_s, x_s.detach(), torch.ones(4), torch.zeros(4)).sum(), x_s)
    assert (slope.abs().sum(1) > 0).all()  # every pixel is seen


def test_a_draw_unet_refuses_a_latent_of_another_size_in_a_sentence():
    with pytest.raises(Refused, match="the latent of this network has 0 or 192 numbers, as the data, got 100"):
        generator("unet-draw", 100)


# ---------------------------------------------------------------- the Gaussian posterior draw


def draw_unet(
    latent_dim: int, rank: int, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...] = (1, 4, 4)
) -> DrawUNet:
    monkeypatch.setattr("ddgan.models.unet.RANK", rank)
    network = registry.generator("unet-draw", shape, latent_dim=latent_dim, width=16, depth=1, multipliers=(1,))
    return network.double()


def truth(x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of x (N, n); beyond `rank` principal directions the variance spread evenly."""
    mean, cov = x.mean(0), torch.cov(x.T, correction=0)
    variance, basis = torch.linalg.eigh(cov)
    variance = (
        torch.cat([variance[:-rank].mean().expand(len(cov) - rank), variance[-rank:]]) if rank < len(cov) else variance
    )
    return mean, basis @ variance.diag() @ basis.T


def posterior(x_t: Tensor, level: Tensor, mean: Tensor, cov: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of q(x_0 | x_t), x_0 ~ N(mean, cov), by the textbook's conditioning of a joint Gaussian."""
    a, sigma = (float(v) for v in alpha_sigma(level))
    gain = a * cov @ torch.linalg.inv(a**2 * cov + sigma**2 * torch.eye(len(cov)).to(cov))
    return mean + gain @ (x_t - a * mean), cov - gain @ (a * cov)


def drawn(network: DrawUNet, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
    """y (B, n), which the network sees behind x_t."""
    return network._input(x_t.expand(len(z), *x_t.shape[1:]), level.expand(len(z)), z)[:, 1:].flatten(1)


@pytest.mark.parametrize("rank", [16, 5])
@pytest.mark.parametrize("N", [500, 12, 4])
@pytest.mark.parametrize("t", [1, 2, 4])
def test_the_draw_has_exactly_the_mean_and_covariance_of_the_posterior_of_gaussian_data(rank, N, t, monkeypatch):
    """It is affine in z, so mean and factor are read off z = 0 and the unit vectors."""
    x = (randn(N, 16) @ randn(16, 16, seed=1) * 0.2 + 0.3).double()
    network = draw_unet(16, rank, monkeypatch)
    network.fit(x.reshape(-1, 1, 4, 4))
    x_t, level = randn(1, 1, 4, 4, seed=2).double(), VP.level(t)
    y = drawn(network, x_t, level, torch.cat([torch.zeros(1, 16), torch.eye(16)]).double())
    mean, cov = posterior(x_t.flatten(), level, *truth(x, rank))
    factor = (y[1:] - y[0]).T
    torch.testing.assert_close(y[0], mean)
    torch.testing.assert_close(factor @ factor.T, cov, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("latent_dim", [0, 16])
def test_before_fit_the_draw_is_that_of_standard_normal_data(latent_dim, monkeypatch):
    network = draw_unet(latent_dim, 5, monkeypatch)
    x_t, level, z = randn(1, 1, 4, 4).double(), VP.level(2), randn(3, latent_dim).double()
    a, sigma = alpha_sigma(level)
    expected = a * x_t.flatten(1) + (sigma * z if latent_dim else torch.zeros(3, 16))
    torch.testing.assert_close(drawn(network, x_t, level, z), expected)


def test_without_a_latent_the_draw_is_the_posterior_mean(monkeypatch):
    x = (randn(500, 16) @ randn(16, 16, seed=1) * 0.2 + 0.3).double()
    network = draw_unet(0, 16, monkeypatch)
    network.fit(x.reshape(-1, 1, 4, 4))
    x_t, level = randn(1, 1, 4, 4, seed=2).double(), VP.level(3)
    mean, _ = posterior(x_t.flatten(), level, *truth(x, 16))
    torch.testing.assert_close(drawn(network, x_t, level, torch.zeros(1, 0))[0], mean)


def test_a_second_fit_forgets_the_first(monkeypatch):
    x, few = randn(500, 1, 4, 4), randn(3, 1, 4, 4, seed=3)
    once, twice = draw_unet(16, 5, monkeypatch), draw_unet(16, 5, monkeypatch)
    twice.fit(x)
    for network in (once, twice):
        network.fit(few)
    x_t, level, z = randn(1, 1, 4, 4, seed=2).double(), VP.level(4), randn(3, 16).double()
    torch.testing.assert_close(*(drawn(network, x_t, level, z) for network in (once, twice)))


def test_a_fit_of_one_image_is_finite(monkeypatch):
    network = draw_unet(16, 5, monkeypatch)
    network.fit(randn(1, 1, 4, 4))
    for t in (1, 4):
        assert network(randn(2, 1, 4, 4).double(), VP.level(t).expand(2), randn(2, 16).double()).isfinite().all()


# ---------------------------------------------------------------- discriminator


@EACH_PATCH
def test_every_weight_of_the_discriminator_gets_a_gradient(patch):
    network = awake(discriminator(patch))
    network(randn(8, 3, 16, 16), *condition(8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_a_logit_depends_on_the_items_own_four_alone():
    network, x_s, given = awake(discriminator()), randn(8, 3, 16, 16), condition(8)
    before = network(x_s, *given)
    x_s[5] = -x_s[5]
    after = network(x_s, *given)
    assert after.shape == (8,)
    torch.testing.assert_close(after[:4], before[:4])
    assert (after[4:] != before[4:]).all()


@pytest.mark.parametrize("n", [8, 6, 1])  # of six, twos are compared: the fours of all would mix real and fake
def test_m_batches_that_share_one_condition_equal_m_calls(n):
    network, given, batches = awake(discriminator()), condition(n), [randn(n, 3, 16, 16, seed=s) for s in range(3)]
    with torch.no_grad():
        together = network(torch.cat(batches), *given)
        torch.testing.assert_close(together, torch.cat([network(x, *given) for x in batches]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("argument", [0, 1, 2, 3], ids=["x_s", "x_t", "level_s", "level_t"])
def test_d_judges_by_each_of_its_arguments(argument):
    network, arguments = awake(discriminator()), [randn(8, 3, 16, 16), *condition(8)]
    before = network(*arguments)
    arguments[argument] = arguments[argument].flip(0)
    assert (network(*arguments) != before).any()


# ---------------------------------------------------------------- learning


def learning(kind: str) -> tuple[Tensor, Regression | Adversarial]:
    """One batch of the same smooth image eight times, and an objective that is to learn it."""
    shape, size = (1, 16, 16), {"width": 16, "depth": 1, "patch": 2}
    x_0 = torch.linspace(-0.8, 0.8, 16).expand(8, *shape).contiguous()
    latent_dim = 0 if kind == "regression" else 256
    g = registry.generator("unet-draw", shape, latent_dim=latent_dim, multipliers=(1, 2), **size)
    if kind == "regression":
        return x_0, Regression(g, Consecutive(VP), lr=2e-3, descent=Descent(ema=0.05))
    d = registry.discriminator("unet-draw", shape, **size)
    return x_0, Adversarial(g, d, Consecutive(VP), loss="paper", gamma=5.0, lr=(5e-4, 1e-3), descent=Descent(ema=0.05))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "left"), [("regression", 0.05), pytest.param("adversarial", 0.5, marks=pytest.mark.slow)]
)
def test_sixty_updates_on_one_batch_bring_the_generator_to_it(kind, left):
    x_0, objective = learning(kind)
    network, noise = objective.denoiser, torch.Generator().manual_seed(0)
    given = randn(8, 1, 16, 16), VP.level(4).float().expand(8), randn(8, network.latent_dim)
    before = (network(*given) - x_0).square().mean()
    for _ in range(60):
        objective.update(x_0, noise, 0.0)
    assert (network(*given) - x_0).square().mean() < left * before


# ---------------------------------------------------------------- classes


def labelled(kind: str) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator that can be told of five classes."""
    g = registry.generator(kind, SHAPE, latent_dim=math.prod(SHAPE), patch=2, classes=5, **SIZE)
    d = registry.discriminator(kind, SHAPE, width=16, depth=1, patch=2, classes=5)
    nn.init.normal_(d.projection.weight)
    return awake(g), awake(d)


@pytest.mark.parametrize("kind", ["unet", "unet-draw"])
def test_both_networks_hear_the_class_of_every_item(kind):
    """An item's output depends on its own label alone, and is another for another label."""
    g, d = labelled(kind)
    x_t, level, z = inputs(g.latent_dim, B=4)
    x_s, (_, *levels), label = randn(4, *SHAPE, seed=4), condition(4), torch.tensor([0, 1, 2, 3])
    other = torch.tensor([0, 1, 2, 4])
    for one, another in (
        (g(x_t, level, z, label), g(x_t, level, z, other)),
        # a batch of four shares its standard deviation, and labels do not enter it but through D's own layers
        (g.given(label)(x_t, level, z), g.given(other)(x_t, level, z)),
    ):
        torch.testing.assert_close(one[:3], another[:3])
        assert relative(another[3], one[3]) > 1e-3
    logits = d(x_s, x_t, *levels, label)
    assert (logits - d(x_s, x_t, *levels, other))[3].abs() > 1e-3


@pytest.mark.parametrize("kind", ["unet", "unet-draw"])
def test_no_label_means_any_class(kind):
    g, d = labelled(kind)
    x_t, level, z = inputs(g.latent_dim, B=4)
    x_s, (_, *levels), any_class = randn(4, *SHAPE, seed=4), condition(4), torch.full((4,), 5)
    torch.testing.assert_close(g(x_t, level, z), g(x_t, level, z, any_class), rtol=0, atol=0)
    torch.testing.assert_close(g(x_t, level, z), g.given(5)(x_t, level, z), rtol=0, atol=0)
    torch.testing.assert_close(d(x_s, x_t, *levels), d(x_s, x_t, *levels, any_class), rtol=0, atol=0)


def test_two_batches_of_d_share_the_labels():
    _, d = labelled("unet")
    x_s, (x_t, *levels), label = (
        randn(8, *SHAPE, seed=4),
        (randn(4, *SHAPE), *condition(4)[1:]),
        torch.tensor([3, 1, 0, 5]),
    )
    together = d(x_s, x_t, *levels, label)
    torch.testing.assert_close(together, torch.cat([d(part, x_t, *levels, label) for part in x_s.chunk(2)]))


def test_a_class_that_a_model_does_not_know_is_refused():
    g, _ = labelled("unet")
    with pytest.raises(Refused, match=r"a class must be a whole number in 0..4, or 5 for any, got 6"):
        g.given(6)
    with pytest.raises(Refused, match="knows no classes"):
        generator("unet", 4).given(0)
    with pytest.raises(Refused, match="classes are for networks of images"):
        registry.generator("skip", (2,), latent_dim=2, width=8, depth=1, classes=2)


# ---------------------------------------------------------------- where oneDNN divides by zero


def curved(layer: nn.Conv2d, x: Tensor) -> list[Tensor]:
    """A 1 x 1 convolution of x, and what its penalty gives to x and to the weights."""
    x = x.clone().requires_grad_()
    y = discriminators._pointwise(layer, x)
    (gradient,) = torch.autograd.grad(y.float().square().sum(), x, create_graph=True)
    return [y, gradient, *torch.autograd.grad(gradient.float().square().sum(), [x, layer.weight])]


@pytest.mark.parametrize("shape", [(4, 6, 8, 8), (1, 6, 5, 4), (3, 6, 2, 1)])
def test_a_convolution_in_two_halves_is_the_convolution(monkeypatch, shape):
    layer, x = (
        nn.Conv2d(shape[1], 5, 1, dtype=torch.bfloat16),
        randn(*shape).bfloat16().contiguous(memory_format=torch.channels_last),
    )
    answers = []
    for size in (0, x.numel()):
        monkeypatch.setattr(discriminators, "zero_divisor", lambda size=size: size)
        answers.append(curved(layer, x))
    for whole, halves in zip(*answers, strict=True):
        torch.testing.assert_close(halves, whole, rtol=2e-2, atol=2e-2 * float(whole.detach().abs().max()))


@pytest.mark.parametrize(
    ("channels", "dtype", "autocast", "size", "parts"),
    [
        (32, torch.bfloat16, False, 2048, 2),
        (32, torch.float32, True, 2048, 2),
        (32, torch.float32, False, 2048, 1),
        (64, torch.bfloat16, False, 4096, 1),
        (32, torch.bfloat16, False, 2047, 1),
        (32, torch.bfloat16, False, 0, 1),
    ],
)
def test_only_the_size_that_would_crash_is_cut_into_halves(monkeypatch, channels, dtype, autocast, size, parts):
    monkeypatch.setattr(discriminators, "zero_divisor", lambda: size)
    seen = []
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        discriminators._pointwise(lambda x: seen.append(x.shape) or x, torch.zeros(4, channels, 4, 4, dtype=dtype))
    assert len(seen) == parts


PENALTY = """
import torch
from ddgan.models import registry
from ddgan.training.losses import gradient_penalty
torch.set_num_threads(1)
for batch, side, channels, patch, width in CASES:
    print(batch, side, channels, patch, width, flush=True)
    d = registry.discriminator("unet", (channels, side, side), width=width, depth=1, patch=patch)
    x, levels = torch.zeros(batch, channels, side, side), torch.zeros(batch)
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(lambda x: d(x, x_t=x, level_s=levels, level_t=levels), x).sum()
    penalty.backward()
"""


@pytest.mark.slow
@pytest.mark.skipif(not zero_divisor(), reason="this CPU has no AMX, whose products are the ones that crash")
@pytest.mark.parametrize(("channels", "patch", "width"), [(3, 2, 16), (3, 1, 16), (1, 2, 32)])
@pytest.mark.parametrize("side", [32, 64])
def test_the_penalty_of_no_batch_size_and_width_crashes(side, channels, patch, width):
    """Where D's entrance or one of its skips has a matrix of the size that crashed, and one image more."""
    map_ = side // patch
    entries = {
        2 * channels * patch**2: map_,
        width: map_,
        2 * width: map_ // 2,
    }  # channels of a convolution's input: its side
    sizes = [rows * s * s for rows, s in entries.items() if rows <= 32]
    critical = {zero_divisor() // size for size in sizes if not zero_divisor() % size}
    cases = [
        (b + more, side, channels, patch, width)
        for b in sorted(critical)
        if b * map_**2 * width < 2**23
        for more in (0, 1)
    ]
    assert cases
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", f"CASES = {cases}{PENALTY}"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"exit code {done.returncode} in {done.stdout.splitlines()[-1:]}: {done.stderr}"
