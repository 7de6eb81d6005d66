import copy
import math
import random
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ddgan.data.images import ImageSet
from ddgan.data.images import batches as image_batches
from ddgan.data.toys import toy
from ddgan.diffusion.denoiser import Denoiser, ExactDenoiser, GaussianDenoiser, MeanDenoiser
from ddgan.diffusion.mixture import Law
from ddgan.diffusion.sampler import Draws, sample
from ddgan.diffusion.schedule import MAX_T, Schedule
from ddgan.errors import Refused
from ddgan.metrics.points import coverage
from ddgan.models import registry
from ddgan.models.checkpoint import load, load_discriminator
from ddgan.models.config import Config
from ddgan.training import trainer
from ddgan.training.cuda_graph import Recorded
from ddgan.training.losses import LOSSES
from ddgan.training.pairs import TOP, Anywhere, Consecutive
from ddgan.training.run import fit, new_objective
from ddgan.training.trainer import BOTH, DECAYS, Adversarial, Descent, Objective, Regression, TrainStep, train

pytestmark = pytest.mark.usefixtures("fixed_initialisation")
PAIRS = {"consecutive": Consecutive(Schedule.vp(4)), "anywhere": Anywhere(Schedule.vp(MAX_T))}
TWO_POINTS = Law.uniform(torch.tensor([[-1.0], [1.0]]), 0.1)
SIZE = {"width": 16, "depth": 2}


def adversarial(pairs: Consecutive | Anywhere, loss: str = "r1r2", n: int = 1, **how: Any) -> Adversarial:
    generator = registry.generator("skip", (n,), latent_dim=n, **SIZE)
    return Adversarial(
        generator, registry.discriminator("skip", (n,), **SIZE), pairs, loss=loss, descent=Descent(**how)
    )


def regression(pairs: Consecutive | Anywhere, **how: Any) -> Regression:
    return Regression(registry.generator("skip", (1,), latent_dim=0, **SIZE), pairs, descent=Descent(**how))


EACH_OBJECTIVE = pytest.mark.parametrize("make", [adversarial, regression])
EACH_PAIRS = pytest.mark.parametrize("pairs", PAIRS.values(), ids=PAIRS)


def batches(step: int, noise: torch.Generator) -> tuple[Tensor, None]:
    return TWO_POINTS.sample(64, noise), None


def run(objective: Objective, *, seed: int = 3, start: TrainStep | None = None, stop: int = 20) -> list[TrainStep]:
    """Updates up to `stop` of a run of 20."""
    records = []
    for record in train(objective, batches, seed=seed, steps=20, start=start):
        records.append(record)
        if record.step == stop:
            break
    return records


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@EACH_OBJECTIVE
@EACH_PAIRS
def test_20_steps_equal_10_and_10_resumed_bit_for_bit(make, pairs):
    whole, first, second = make(pairs), make(pairs), make(pairs)
    initial = {key: value.clone() for key, value in whole.state_dict().items()}
    first.load_state_dict(initial)
    unbroken = run(whole)
    until = run(first, stop=10)
    second.load_state_dict(first.state_dict())
    after = run(second, start=until[-1])
    assert [r.losses for r in unbroken] == [r.losses for r in until + after]
    assert [r.step for r in until + after] == list(range(1, 21))
    assert same(whole.state_dict(), second.state_dict()) and not same(whole.state_dict(), initial)


@EACH_OBJECTIVE
def test_a_saved_state_resumes_the_same_run_after_training_went_on(make):
    """A snapshot must not share memory with the networks and optimisers that go on changing."""
    objective = make(PAIRS["consecutive"])
    until = run(objective, stop=10)
    state = objective.state_dict()
    once = run(objective, start=until[-1])
    objective.load_state_dict(state)
    assert [r.losses for r in run(objective, start=until[-1])] == [r.losses for r in once]


@EACH_OBJECTIVE
def test_the_seed_decides_the_run_and_another_seed_is_another_run(make):
    objective = make(PAIRS["consecutive"])
    initial = {key: value.clone() for key, value in objective.state_dict().items()}
    runs = []
    for seed in (3, 3, 4):
        other = make(PAIRS["consecutive"])
        other.load_state_dict(initial)
        runs.append([record.losses for record in run(other, seed=seed)])
    assert runs[0] == runs[1] != runs[2]


@EACH_OBJECTIVE
@EACH_PAIRS
def test_training_and_sampling_leave_the_global_random_state_untouched(make, pairs):
    def state() -> tuple:
        numpy = np.random.get_state()
        return torch.random.get_rng_state().tolist(), numpy[1].tolist(), numpy[2:], random.getstate()

    objective = make(pairs)
    before = state()
    run(objective, stop=3)
    list(sample(Schedule.vp(4), objective.denoiser, Draws.from_seeds(range(4), (1,), 4, 1)))
    assert state() == before


@pytest.mark.parametrize("accumulate", [1, 2])
@EACH_PAIRS
def test_an_update_of_one_player_leaves_the_other_bit_identical(pairs, accumulate):
    objective = adversarial(pairs, accumulate=accumulate)
    run(objective, stop=2)
    for step, (player, other) in enumerate([("d", "g"), ("g", "d"), ("d", "g")], start=2):
        before = objective.state_dict()
        start, turns = TrainStep(step, 0.0, 0.0, {}), {step: (player,)}
        (record,) = train(objective, batches, seed=3, steps=step + 1, start=start, players=turns.__getitem__)
        after = objective.state_dict()
        changed = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
        assert record.losses.keys() == {player} and after["updates"] == before["updates"] + 1
        averaged = {"ema"} if player == "g" else set()
        assert changed == {"updates", player, f"adam_{player}", *averaged}, f"{other} stands still"


@EACH_PAIRS
def test_the_two_halves_of_an_update_are_the_update_bit_for_bit(pairs):
    """On the same batch and noise: G's fakes do not depend on D's step, which comes first."""
    whole, halves = adversarial(pairs), adversarial(pairs)
    halves.load_state_dict(whole.state_dict())
    losses = {}
    for objective, turns in ((whole, [("d", "g")]), (halves, [("d",), ("g",)])):
        for players in turns:
            noise = torch.Generator().manual_seed(1)
            losses[objective, players] = objective.update(*batches(0, noise)[:1], noise, 0.0, players=players)
    together = losses[whole, ("d", "g")]
    assert together == {**losses[halves, ("d",)], **losses[halves, ("g",)]}
    for name in ("d", "g"):
        assert same(whole.networks[name].state_dict(), halves.networks[name].state_dict())


def test_who_is_not_there_cannot_learn_alone():
    objective, noise = regression(PAIRS["anywhere"]), torch.Generator()
    with pytest.raises(Refused, match="the players are g, got d"):
        objective.update(*batches(0, noise)[:1], noise, 0.0, players=("d",))


@pytest.mark.parametrize("loss", LOSSES)
@EACH_PAIRS
def test_every_loss_moves_both_networks_and_the_average(loss, pairs):
    objective = adversarial(pairs, loss)
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    for record in run(objective, stop=2):
        assert record.losses.keys() == {"d", "g"} and np.isfinite(list(record.losses.values())).all()
    after = objective.state_dict()
    for key, value in before.items():
        of_logits = value.shape == (1,) and key.startswith(
            ("d.", "adam_d.")
        )  # a difference of means does not see their bias
        assert not torch.equal(after[key], value) or (loss == "wgan-gp" and of_logits), key


@EACH_OBJECTIVE
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_raises_and_leaves_every_weight_finite(make, bad):
    objective = make(PAIRS["consecutive"])
    until = run(objective, stop=2)
    with pytest.raises(FloatingPointError, match=r"the loss of [DG] is (nan|inf) at update 3"):
        list(train(objective, lambda _, noise: (torch.full((8, 1), bad), None), seed=0, steps=20, start=until[-1]))
    assert all(value.isfinite().all() for value in objective.state_dict().values())


def test_in_low_precision_a_step_whose_gradient_overflowed_is_skipped_and_counted():
    objective = adversarial(PAIRS["consecutive"], precision=torch.bfloat16)
    run(objective, stop=2)
    before = objective.state_dict()
    weight = objective.networks["d"].condition.weight
    overflow = weight.register_hook(lambda gradient: gradient * float("inf"))
    run(objective, stop=1)
    overflow.remove()
    after = objective.state_dict()
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"updates", "g", "adam_g", "ema"} and int(objective.overflows.count) == 1
    run(objective, stop=1)
    assert not torch.equal(weight, before["d.condition.weight"]) and int(objective.overflows.count) == 1


def test_a_run_that_skips_for_ever_is_stopped(monkeypatch):
    monkeypatch.setattr(trainer, "OVERFLOWS", 3)
    objective = adversarial(PAIRS["consecutive"], precision=torch.bfloat16)
    broken = objective.networks["d"].condition.weight.register_hook(lambda gradient: gradient * float("inf"))
    run(objective, stop=2)
    broken.remove()
    run(objective, stop=1)  # one whole step, and it is counted anew
    objective.networks["d"].condition.weight.register_hook(lambda gradient: gradient * float("inf"))
    run(objective, stop=2)
    with pytest.raises(FloatingPointError, match="a gradient overflowed in each of the 3 updates up to 6"):
        run(objective, stop=1)


class OwnG(Denoiser):
    """A network of a user's own, with a batch norm."""

    latent_dim = 1

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return self.net(torch.cat([x_t, level[:, None], z], 1))


class OwnD(nn.Module):
    """A discriminator as the docstring of Adversarial describes it, its first layer frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.last = nn.Linear(4, 8).requires_grad_(False), nn.Linear(8, 1)

    def forward(self, x_s: Tensor, x_t: Tensor, level_s: Tensor, level_t: Tensor) -> Tensor:
        given = torch.cat([x_s, x_t, level_s.clamp(max=10)[:, None], level_t[:, None]], 1)
        return self.last(self.frozen(given).relu())[:, 0]


@pytest.mark.parametrize("loss", LOSSES)
def test_networks_of_ones_own_learn_where_they_may_and_the_average_has_the_buffers(loss):
    d = OwnD()
    objective = Adversarial(OwnG(), d, PAIRS["consecutive"], loss=loss, every=2)
    before = {name: w.clone() for name, w in d.state_dict().items()}
    run(objective)
    moved = {name for name, w in d.state_dict().items() if not torch.equal(w, before[name])}
    assert {"last.weight"} <= moved <= {"last.weight", "last.bias"}
    assert [w.requires_grad for w in d.parameters()] == [False, False, True, True]
    norm, averaged = objective.generator.net[1], objective.denoiser.net[1]
    assert torch.equal(norm.running_var, averaged.running_var) and not torch.equal(norm.running_var, torch.ones(8))


def test_a_network_that_takes_no_infinite_level_reads_so():
    d = OwnD()
    d.forward = lambda x_s, x_t, level_s, level_t: d.last(torch.cat([x_s, level_s[:, None]] * 4, 1)).mean(1)
    with pytest.raises(
        FloatingPointError, match=r"^the loss of D is nan at update 1: .* does D take \+inf, the level_s"
    ):
        run(Adversarial(OwnG(), d, PAIRS["consecutive"]))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_d_without_a_logit_for_each_item_is_refused_not_averaged(loss):
    d = OwnD()
    d.forward = lambda x_s, **told: d.last(x_s.repeat(1, 8)).mean()
    with pytest.raises(Refused, match=r"^D returns a logit for each of (64|128|256) x_s, got \(\)$"):
        run(Adversarial(OwnG(), d, PAIRS["consecutive"], loss=loss))


@pytest.mark.parametrize("how", [{"decay": "linear"}, {"accumulate": 0}])
def test_a_descent_that_is_none_is_refused(how):
    with pytest.raises(Refused, match="^decay is one of late, cosine and accumulate a number from 1 on, got"):
        Descent(**how)


def test_one_rate_is_that_of_both_networks():
    for lr in (1e-3, (1e-3, 1e-3), [1e-3, 1e-3]):
        players = Adversarial(OwnG(), OwnD(), PAIRS["consecutive"], lr=lr).players
        assert [players[name].lr for name in BOTH] == [1e-3, 1e-3]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_d_that_shares_the_condition_learns_as_one_that_is_given_it_for_each_item(loss):
    one = adversarial(PAIRS["consecutive"], loss)
    other = copy.deepcopy(one)
    other.networks["d"].shares_condition = False
    losses = [[[*record.losses.values()] for record in run(objective, stop=5)] for objective in (one, other)]
    torch.testing.assert_close(*map(torch.tensor, losses))


def test_loaded_models_go_on_learning():
    networks = load("4-gaussians-1d"), load_discriminator("4-gaussians-1d")
    before = [w.clone() for network in networks for w in network.parameters()]
    run(Adversarial(*networks, PAIRS["anywhere"]), stop=2)
    after = [w for network in networks for w in network.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_what_cannot_be_trained_is_refused_in_a_sentence():
    with pytest.raises(Refused, match="a network that is trained needs weights, MeanDenoiser has none"):
        Regression(MeanDenoiser(TWO_POINTS), PAIRS["consecutive"])
    with pytest.raises(Refused, match="every counts updates, a whole number from 1 on, got 0"):
        Adversarial(OwnG(), OwnD(), PAIRS["consecutive"], every=0)


@pytest.mark.parametrize(
    ("make", "came"),
    [
        (lambda: Consecutive(4), "Schedule, got int"),
        (lambda: Anywhere("vp"), "Schedule, got str"),
        (lambda: Regression(OwnG(), Schedule.vp(4)), "Pairs, got Schedule"),
        (lambda: Regression(OwnG(), Consecutive), "Pairs, got the class Consecutive"),
        (lambda: Adversarial(OwnD(), OwnG(), PAIRS["consecutive"]), "Denoiser, got OwnD"),
        (lambda: Adversarial(OwnG(), OwnD, PAIRS["consecutive"]), "Module, got the class OwnD"),
        (lambda: next(train(OwnG(), batches, seed=0)), "Objective, got OwnG"),
        (lambda: next(train(regression(PAIRS["consecutive"]), TWO_POINTS, seed=0)), "Callable, got Law"),
        (lambda: next(fit("25-gaussians", "runs/x")), "Config, got str"),
    ],
)
def test_a_class_a_name_or_another_object_is_refused_in_a_sentence(make, came):
    with pytest.raises(Refused, match=f"^wanted .* or another {came}$"):
        make()


@pytest.mark.parametrize("shares", [{"first": 2}, {"clean": 1.5}, {"clean": -0.1}])
def test_shares_of_pairs_from_anywhere_are_shares(shares):
    with pytest.raises(Refused, match=r"^first and clean are shares in 0\.\.1, got"):
        Anywhere(Schedule.vp(4), **shares)


def test_a_batch_is_a_tensor_or_an_array_of_any_precision_with_classes_or_without():
    x, g = TWO_POINTS.sample(64, torch.Generator()), OwnG()

    def losses(batch: Any) -> dict[str, float]:
        objective = Regression(copy.deepcopy(g), PAIRS["consecutive"])
        return next(train(objective, lambda step, noise: batch, seed=0)).losses

    assert all(losses(batch) == losses((x, None)) for batch in (x, x.numpy(), [x.double()], [x, [0] * 64]))


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (torch.zeros(8, 3), r"^this network learns from x_0 of shape \(B, 2\), B at least 1, got \(8, 3\)$"),
        (torch.zeros(8, 2, 1), r"got \(8, 2, 1\)$"),
        (torch.zeros(2), r"got \(2,\)$"),
        (torch.zeros(0, 2), r"got \(0, 2\)$"),
        (torch.zeros(()), r"got \(\)$"),
        ((torch.zeros(8, 2), torch.zeros(7).long()), r"^classes are of shape \(8,\), one for each x_0, got \(7,\)$"),
        ((torch.zeros(8, 2), ["cat"] * 8), r"^batches returns classes as numbers, got \['cat', "),
        ("points", "^batches returns x_0 as numbers, got 'points'$"),
        (None, "^batches returns x_0 as numbers, got None$"),
    ],
)
def test_a_batch_that_does_not_fit_the_network_is_refused_in_a_sentence(batch, words):
    network = registry.generator("plain", (2,), latent_dim=0, width=8, depth=1)
    with pytest.raises(Refused, match=words):
        next(train(Regression(network, PAIRS["consecutive"]), lambda step, noise: batch, seed=0))


def test_images_of_another_size_are_refused_though_the_layers_would_take_them():
    network = registry.generator("unet", (1, 8, 8), latent_dim=0, width=16, depth=1, multipliers=(1, 2), patch=2)
    learner = Regression(network, PAIRS["consecutive"])
    next(train(learner, lambda step, noise: torch.zeros(2, 1, 8, 8), seed=0))
    with pytest.raises(Refused, match=r"shape \(B, 1, 8, 8\), B at least 1, got \(2, 1, 16, 16\)$"):
        next(train(learner, lambda step, noise: torch.zeros(2, 1, 16, 16), seed=0))


def test_an_unknown_loss_is_refused_in_a_sentence():
    with pytest.raises(Refused, match="loss must be one of paper, r1r2, .*, got 'hinge'"):
        adversarial(PAIRS["consecutive"], loss="hinge")


def test_d_still_learns_after_the_loss_of_g_was_not_finite():
    objective = adversarial(PAIRS["consecutive"])
    g_loss, objective.g_loss = objective.g_loss, lambda d, real, fake: fake.sum() * float("nan")
    with pytest.raises(FloatingPointError, match="the loss of G"):
        run(objective)
    objective.g_loss = g_loss
    assert len(run(objective)) == 20


def test_a_compiled_critic_changes_nothing_and_is_never_differentiated_twice():
    def objective() -> Adversarial:
        made = adversarial(Consecutive(Schedule.vp(4)), "paper")
        made.every = 2
        return made

    plain, other, asked = objective(), objective(), []
    d = other.networks["d"]

    def critic(x: Tensor, **given: Tensor) -> Tensor:
        asked.append(other.updates)
        return d(x, **given)

    other.critic = critic
    other.load_state_dict(plain.state_dict())
    for steps in zip(run(plain, stop=4), run(other, stop=4), strict=True):
        assert steps[0].losses == steps[1].losses
    assert asked == [
        0,
        1,
        1,
        2,
        3,
        3,
    ]  # in updates 0 and 2 a penalty is part of D's step, and G's step alone is the critic's


class Alone(TorchDispatchMode):
    """Where every tensor is on "meta", but for plain numbers."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for v in tree_leaves(made):
            assert not isinstance(v, Tensor) or not v.ndim or v.is_meta, f"{function} makes a tensor on {v.device}"
        return made


@EACH_PAIRS
@pytest.mark.parametrize(
    "network, shape, loss",
    [("unet-draw", (3, 16, 16), "rpgan-exact"), ("skip", (2,), "r1r2"), *(("plain", (2,), v) for v in LOSSES)],
)
def test_an_update_never_waits_for_its_device(network, shape, loss, pairs, monkeypatch):
    """A CUDA graph holds only what a device does by itself.
    On "meta" there are no numbers to look at, nor to copy there.
    """
    meta, pairs = torch.device("meta"), copy.deepcopy(pairs)
    generator = registry.generator(network, shape, latent_dim=math.prod(shape), **SIZE)
    objective = Adversarial(generator, registry.discriminator(network, shape, **SIZE), pairs, loss=loss)
    objective.device = meta
    for player in objective.players.values():
        player.device = meta
    object.__setattr__(pairs.schedule, "alpha_bar", pairs.schedule.alpha_bar.to(meta))
    if isinstance(pairs, Consecutive):
        pairs.weights = pairs.weights.to(meta)
    for name in ("d", "g"):
        objective.networks[name].to(meta)
        monkeypatch.setattr(objective.players[name].optimiser, "step", lambda: None)
    for name in ("rand", "randn", "multinomial"):  # no generator is for "meta"
        draw = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *size, draw=draw, generator, **where: draw(*size, **where))
    monkeypatch.setattr(torch, "autocast", lambda *kind, **how: nullcontext())
    with Alone():
        objective._learn(
            torch.empty(8, *shape, device=meta),
            torch.zeros(8, dtype=torch.long, device=meta),
            SimpleNamespace(device=meta),
            BOTH,
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@EACH_PAIRS
def test_a_recorded_update_is_the_update(pairs, monkeypatch):
    def losses(first: int) -> np.ndarray:
        monkeypatch.setattr(Recorded, "FIRST", first)
        config = Config(
            "cifar10", batch=16, every=2, width=16, multipliers=(1, 2), network="unet-draw", patch=2, latent_dim=3072
        )
        objective = new_objective(replace(config, T=4 if isinstance(pairs, Consecutive) else None), images)
        records = train(objective, image_batches(images, 16, seed=0, flip=True), seed=0, steps=20)
        return np.array([list(record.losses.values()) for record in records])

    images = ImageSet(np.random.default_rng(0).integers(0, 256, (100, 3, 32, 32), dtype=np.uint8))
    np.testing.assert_allclose(losses(3), losses(20), rtol=0.05)


def test_the_rate_is_constant_for_half_the_run_then_falls_linearly_to_5_percent():
    objective = regression(PAIRS["consecutive"])
    group, rates = objective.players["g"].optimiser.param_groups[0], []
    for _ in train(objective, batches, seed=0, steps=20):
        rates.append(group["lr"] / objective.players["g"].lr)
    expected = [1.0] * 11 + [0.05 + 1.9 * (1 - step / 20) for step in range(11, 20)]
    assert rates == pytest.approx(expected)


def test_the_denoiser_is_the_moving_average_of_g():
    """EMA <- EMA + max(ema, k^-.8) (G - EMA) at update k."""
    objective = regression(PAIRS["consecutive"])
    weight, average = (network.net.layers[0].weight for network in (objective.networks["g"], objective.denoiser))
    expected = torch.zeros_like(weight)
    for record in train(objective, batches, seed=0, steps=20):
        expected = expected + max(objective.descent.ema, record.step**-0.8) * (weight.detach() - expected)
        torch.testing.assert_close(average, expected)
    assert not torch.equal(average, weight) and not average.requires_grad


def test_training_stops_at_steps_or_at_seconds_whichever_is_first():
    objective = regression(PAIRS["consecutive"])
    records = list(train(objective, batches, seed=0, steps=5, seconds=1e9))
    assert [r.step for r in records] == [1, 2, 3, 4, 5] and records[-1].progress == 1
    assert all(a.seconds < b.seconds for a, b in zip(records, records[1:], strict=False))
    assert len(list(train(objective, batches, seed=0, steps=5, seconds=1e-9))) == 1
    assert list(train(objective, batches, seed=0, steps=5, start=records[-1])) == []


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        ("consecutive", "skip"),
        pytest.param("consecutive", "v", marks=pytest.mark.slow),
        pytest.param("consecutive", "eps", marks=pytest.mark.slow),
        pytest.param("consecutive", "plain-eps", marks=pytest.mark.slow),
        pytest.param("anywhere", "skip", marks=pytest.mark.slow),
        ("anywhere", "v"),
    ],
)
def test_regression_converges_to_the_exact_mean(pairs, kind):
    """Two points at -1 and 1: E[x_0 | x_t] at t = 1 of vp(4), whose own spread is .7; 700 updates of 512."""
    net = registry.generator(kind, (1,), latent_dim=0, width=32, depth=2)
    objective, noise = Regression(net, PAIRS[pairs]), torch.Generator().manual_seed(5)
    for _ in train(objective, lambda _, noise: (TWO_POINTS.sample(512, noise), None), seed=0, steps=700):
        pass
    schedule, no_z = Schedule.vp(4), torch.zeros(2000, 0)
    x_0, level = TWO_POINTS.sample(2000, noise), schedule.level(1).float().expand(2000)
    x_t = schedule.marginal(x_0, 1).at(torch.randn(2000, 1, generator=noise))
    truth = MeanDenoiser(TWO_POINTS)(x_t, level, no_z)
    error = (objective.denoiser(x_t, level, no_z) - truth).square().mean().sqrt()
    assert error < 0.05 < 0.5 < truth.std()


def test_consecutive_pairs_are_one_step_apart_and_the_last_is_drawn_most():
    """n = 20000, five standard errors."""
    n = 20_000
    s, t = PAIRS["consecutive"].draw(n, torch.Generator().manual_seed(0))
    share, due = t.bincount(minlength=5)[1:] / n, torch.tensor([0.6, 0.4 / 3, 0.4 / 3, 0.4 / 3])
    assert torch.equal(s, t - 1) and ((share - due).abs() < 5 * (due * (1 - due) / n).sqrt()).all()


@pytest.mark.parametrize("T", [1, 2, 50, MAX_T])
def test_pairs_from_anywhere_are_steps_of_the_schedule_between_its_levels(T):
    pairs = Anywhere(Schedule.vp(T))
    s, t = pairs.draw(20_000, torch.Generator().manual_seed(0))
    assert t.min() == pairs.first and t.max() == T
    assert ((s >= 0) & (s < t)).all() and ((s == 0) | (s >= pairs.first)).all()


def test_pairs_from_anywhere_are_half_uniform_half_log_uniform_and_at_the_top_by_their_share():
    """n = 20000, five standard errors, at four points of the distribution."""
    n, pairs = 20_000, PAIRS["anywhere"]
    _, t = pairs.draw(n, torch.Generator().manual_seed(0))
    T, first = MAX_T, pairs.first
    for edge in (50, 200, 510, 900):
        share = ((edge + 0.5 - first) / (T - first) + np.log((edge + 0.5) / first) / np.log(T / first)) / 2
        due = (1 - TOP) * share
        assert abs((t <= edge).double().mean() - due) < 5 * (due * (1 - due) / n) ** 0.5


def test_pairs_from_anywhere_end_at_0_by_their_share_and_uniformly_below_t():
    """Given t = T, about 30000 of n = 200000, five standard errors: P(s <= m) = clean + (1 - clean) (m + 1) / T."""
    pairs = PAIRS["anywhere"]
    s, t = pairs.draw(200_000, torch.Generator().manual_seed(0))
    s = s[t == MAX_T]
    for m in (0, 250, 500, 750):
        due = pairs.clean + (1 - pairs.clean) * max(m + 1, pairs.first) / MAX_T
        assert abs((s <= m).double().mean() - due) < 5 * (due * (1 - due) / len(s)) ** 0.5


class Witness(torch.nn.Module):
    """A discriminator that judges nothing and remembers what it was shown."""

    shares_condition = True

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.shown = torch.nn.Parameter(torch.zeros(())), []

    def forward(self, x_s: Tensor, x_t: Tensor, level_s: Tensor, level_t: Tensor) -> Tensor:
        self.shown.append([v.detach().clone() for v in (x_s, x_t, level_s, level_t)])
        return self.weight * x_s.sum(1)


class Truth(ExactDenoiser):
    """x_0 ~ q(x_0 | x_t), with a weight for the optimiser."""

    def __init__(self, law: Law) -> None:
        super().__init__(law)
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, level: Tensor, z: Tensor) -> Tensor:
        return super().forward(x_t, level, z) + 0 * self.nothing


@EACH_PAIRS
def test_a_generator_that_is_the_truth_makes_fakes_with_the_law_of_the_real(pairs):
    """n = 50000; moments of (x_s, x_t) at clean and at noisy x_s, five standard errors of the paired differences."""
    witness, law = Witness(), Law(torch.tensor([0.3, 0.7]).log(), torch.tensor([[-1.3], [0.6]]), torch.full((2,), 0.1))
    objective = Adversarial(Truth(law), witness, pairs, loss="paper", gamma=0.0)
    objective.update(law.sample(50_000, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1), 0.0)
    (both, x_t, level_s, level_t), *_ = witness.shown  # real and fake under one condition
    real, fake = both.chunk(2)
    assert (level_s > level_t).all() and not torch.equal(real, fake)
    for group in (level_s.isinf(), ~level_s.isinf()):
        r, f, x = (v[group, 0].double() for v in (real, fake, x_t))
        for moment in (
            lambda s, x: s,
            lambda s, x: s**2,
            lambda s, x: s * x,
            lambda s, x: s**4,
            lambda s, x: (s * x) ** 2,
        ):
            difference = moment(r, x) - moment(f, x)
            assert abs(difference.mean()) < 5 * difference.std() / len(r) ** 0.5


@pytest.mark.slow
def test_a_short_run_reaches_all_8_gaussians_in_4_steps_as_no_gaussian_denoiser_does():
    """400 updates of 256, T = 4; 2000 samples."""
    law, schedule, draws = toy("8-gaussians"), Schedule.vp(4), Draws.from_seeds(range(2000), (2,), 4, 2)
    size = {"width": 64, "depth": 3}
    generator, discriminator = (
        registry.generator("skip", (2,), latent_dim=2, **size),
        registry.discriminator("skip", (2,), **size),
    )
    objective = Adversarial(generator, discriminator, Consecutive(schedule))
    for _ in train(objective, lambda _, noise: (law.sample(256, noise), None), seed=0, steps=400):
        pass
    gan, gaussian = (
        coverage(list(sample(schedule, denoiser, draws))[-1].x_s, law)
        for denoiser in (objective.denoiser, GaussianDenoiser(law))
    )
    assert gan.modes == 8 and gan.kl < 0.1 and gan.on_mode > 0.6 > 0.1 > gaussian.on_mode


def test_the_trained_denoiser_knows_its_levels():
    objective = regression(PAIRS["consecutive"])
    objective.denoiser.check(Schedule.vp(4))
    with pytest.raises(Refused, match="this model knows"):
        objective.denoiser.check(Schedule.vp(8))
    regression(PAIRS["anywhere"]).denoiser.check(Schedule.vp(8))


def test_the_cosine_decay_falls_from_1_to_a_sixteenth():
    assert [DECAYS["cosine"](progress) for progress in (0, 0.5, 1)] == pytest.approx([1, 17 / 32, 1 / 16])


def test_progress_in_time_is_the_share_of_the_seconds_and_a_resumed_run_has_spent_those_before():
    objective = regression(PAIRS["consecutive"])
    records = list(train(objective, batches, seed=0, seconds=0.1))
    assert [r.progress for r in records] == pytest.approx([min(1, r.seconds / 0.1) for r in records])
    first = next(train(objective, batches, seed=0, seconds=100, start=TrainStep(7, 40.0, 0.4, {})))
    assert first.step == 8 and 40 < first.seconds == pytest.approx(100 * first.progress)
    assert list(train(objective, batches, seed=0, seconds=40.0, start=TrainStep(7, 40.0, 1.0, {}))) == []


def test_the_rates_follow_the_objectives_own_decay():
    objective, rates = regression(Consecutive(Schedule.vp(4)), decay="cosine"), []
    for _ in train(objective, lambda _, noise: (torch.randn(8, 1, generator=noise), None), seed=0, steps=4):
        rates.append(objective.players["g"].optimiser.param_groups[0]["lr"] / objective.players["g"].lr)
    assert rates == pytest.approx([DECAYS["cosine"](k / 4) for k in range(4)])


def test_two_seeds_share_no_batch():
    """Not even one update later."""
    seen = {seed: [] for seed in (0, 1)}
    for seed, batches in seen.items():

        def drawn(_, noise, batches=batches):
            batches.append(torch.randn(8, 1, generator=noise))
            return batches[-1], None

        for _ in train(regression(Consecutive(Schedule.vp(4))), drawn, seed=seed, steps=4):
            pass
    assert not any(torch.equal(a, b) for a in seen[0] for b in seen[1])


def test_the_share_of_items_whose_class_is_not_told_is_the_one_asked_for():
    """10,000 labels, one in five as any: the count is binomial, with a standard deviation of 40."""
    objective = regression(Consecutive(Schedule.vp(4)), unlabelled=0.2)
    objective.networks["g"].classes = 3
    label = torch.arange(10_000) % 3
    told = objective._some_unlabelled(label, torch.Generator().manual_seed(0))
    silent = told == 3
    assert abs(int(silent.sum()) - 2000) < 4 * 40 and torch.equal(told[~silent], label[~silent])


def test_the_penalty_falls_by_the_same_factor_in_equal_parts_of_a_run():
    objective = adversarial(PAIRS["consecutive"])
    objective.gamma, objective.anneal, seen = 0.5, 0.01, []
    for progress in (0.0, 0.5, 1.0):
        objective.update(*batches(0, torch.Generator())[:1], torch.Generator().manual_seed(0), progress)
        seen.append(objective.penalty)
    assert seen == pytest.approx([0.5, 0.05, 0.005])


def test_the_longer_average_is_the_same_average_at_its_own_rate():
    both, slow = (adversarial(PAIRS["consecutive"], **rates) for rates in ({"ema": 0.3, "ema_long": 0.1}, {"ema": 0.1}))
    slow.load_state_dict({key: value for key, value in both.state_dict().items() if not key.startswith("ema_long")})
    run(both), run(slow)
    assert same(both.longer.state_dict(), slow.denoiser.state_dict()) and not same(
        both.longer.state_dict(), both.denoiser.state_dict()
    )


def test_data_without_classes_are_of_any_class_to_a_network_that_knows_some():
    network = registry.generator("unet", (1, 8, 8), latent_dim=0, width=16, depth=1, multipliers=(1,), classes=3)
    objective, heard = Regression(network, Consecutive(Schedule.vp(2))), []
    objective._learn = lambda x_0, label, noise, players: heard.append(label) or {"g": torch.zeros(())}
    next(train(objective, lambda step, noise: (torch.zeros(4, 1, 8, 8), None), seed=0, steps=1))
    assert heard[0].tolist() == [3, 3, 3, 3]
