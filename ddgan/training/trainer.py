"""Training as an iterator of records.

One update draws a batch x_0, a pair of levels s < t per item, and a true forward pair

    x_s ~ q(x_s | x_0),    x_t ~ q(x_t | x_s)        real: (x_s, x_t)
    x_0' = G(x_t, level_t, z),    x_s' ~ q(x_s | x_t, x_0')        fake: (x_s', x_t)

The fake is the sampler's own step (`reverse_step`). D learns to tell real from fake given x_t, G to fool it: an
adversarial match of p(x_s | x_t) to q(x_s | x_t) at every step, eq. 4-8 of Xiao et al. 2022. Three more objectives
train G alone: DDPM's, without a latent, by least squares, and those of rivals.py: a likelihood, and consistency.

Which pairs are drawn decides what a model can do afterwards. `Consecutive` pairs of a schedule with T steps train for
those T levels; `Anywhere` on a fine schedule trains one model for any number of steps and any schedule.

An update is D's step, then G's, on the same batch. It may also be of one player alone: the other stands still.

Randomness is a function of (seed, step), so a run that is stopped and resumed equals an unbroken one bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Denoiser
from ..diffusion.gaussian import like
from ..diffusion.solver import reverse_step
from ..errors import Refused, wanted
from . import distributed
from .cuda_graph import Recorded
from .losses import LOSSES, Critic, squared_error
from .pairs import Pairs
from .player import Average, Overflows, Player

__all__ = ["BOTH", "DECAYS", "Adversarial", "Descent", "Objective", "Regression", "TrainStep", "train"]

BOTH = ("d", "g")  # D's step comes first
OVERFLOWS = 100  # updates in a row without a whole step: it does not come right by itself

# the share of its learning rate that a network trains with at a progress in [0, 1]
DECAYS: dict[str, Callable[[float], float]] = {
    "late": lambda progress: min(1.0, 0.05 + 1.9 * (1 - progress)),  # constant for half the run, then linear to 5 %
    "cosine": lambda progress: (17 + 15 * math.cos(math.pi * progress)) / 32,  # to 1/16, about the paper's 1e-5
}


@dataclass(frozen=True)
class Descent:
    """How the networks of an objective follow their gradients. Refused for an unknown decay, and without a part."""

    ema: float = 0.005  # the slowest rate of the generator's moving average
    ema_long: float = 0.0  # that of a second, longer one; 0: none
    accumulate: int = 1  # parts that a batch is cut into, whose gradients are added up
    decay: str = "late"  # one of DECAYS
    precision: torch.dtype = torch.float32  # of the networks' arithmetic
    unlabelled: float = 0.0  # the share of items whose class is not told

    def __post_init__(self) -> None:
        if self.decay not in DECAYS or self.accumulate < 1:
            asked = f"{self.decay!r} and {self.accumulate}"
            raise Refused(f"decay is one of {', '.join(DECAYS)} and accumulate a number from 1 on, got {asked}")


class Objective:
    """What `train` drives: players, and the moving averages of G, `denoiser` and, where there is one, `longer`.

    The generator G, whose name is "g", learns at the rate `lr`; `others` are further networks and their rates by name.
    A network of which no weight learns, as `load` gives it, is made to learn whole. Refused for one without weights.
    """

    betas: tuple[float, float] = (0.9, 0.99)  # Adam's
    every: int = 1  # updates from one penalty to the next

    def __init__(
        self,
        generator: Denoiser,
        pairs: Pairs,
        *,
        lr: float = 4e-3,
        descent: Descent = Descent(),
        others: Mapping[str, tuple[nn.Module, float]] = {},
    ) -> None:
        wanted(Denoiser, 'load("25-gaussians")', generator)
        wanted(Pairs, "Consecutive(Schedule.vp(4))", pairs)
        self.generator, self.pairs, self.descent, self.updates = generator, pairs, descent, 0
        networks = {"g": (generator, lr), **others}
        self.networks = {name: _learning(network) for name, (network, _) in networks.items()}
        weight = next(generator.parameters())
        self.device, self.dtype = weight.device, weight.dtype
        self.source = self.device if self.device.type == "cuda" else torch.device("cpu")  # of noise: MPS has no float64
        pairs.schedule = pairs.schedule.to(self.source)
        self.overflows = Overflows(self.device)
        self.players = {
            name: Player(network, lr, self.betas, descent.precision, self.overflows)
            for name, (network, lr) in networks.items()
        }
        slowest = {"ema": descent.ema, **({"ema_long": descent.ema_long} if descent.ema_long else {})}
        self.averages = {name: Average(generator, rate) for name, rate in slowest.items()}
        for average in self.averages.values():
            average.network.levels = pairs.levels()
        # on a CUDA device: updates with a penalty or without, by the players that learn in them
        self.recorded: dict[tuple[bool, tuple[str, ...]], Recorded] = {}

    @property
    def denoiser(self) -> Denoiser:
        """The moving average of G."""
        return self.averages["ema"].network

    @property
    def longer(self) -> Denoiser | None:
        """The longer moving average of G, where there is one."""
        return self.averages["ema_long"].network if "ema_long" in self.averages else None

    def update(
        self,
        x_0: Tensor,
        noise: torch.Generator,
        progress: float,
        label: Tensor | None = None,
        players: tuple[str, ...] = BOTH,
    ) -> dict[str, float]:
        """One step on a batch x_0 (B, *D) of classes (B,); `progress` in [0, 1] sets the rates. Returns losses by name.

        Only the `players` learn: with D alone, G and its averages stay as they are. Refused if the objective has none
        of these players, and for data of another shape than G's.

        FloatingPointError where a loss is not finite: its network then keeps its weights. Also raised when each of the
        last `OVERFLOWS` updates skipped a step.
        """
        learners = tuple(name for name in self.players if name in players)
        if not learners:
            raise Refused(f"the players are {', '.join(self.players)}, got {', '.join(players) or 'none'}")
        self._fitting(x_0, label)
        self._set(progress)
        if label is None:
            label = torch.full((len(x_0),), self.generator.classes, device=x_0.device)  # any
        learn: Callable[[Tensor, Tensor, torch.Generator], dict[str, Tensor]] = partial(self._learn, players=learners)
        if self.device.type == "cuda" and not torch.distributed.is_initialized():
            learn = self.recorded.setdefault((self._penalised, learners), Recorded(learn))
        losses = learn(x_0, label, noise)
        self.updates += 1
        for average in self.averages.values() if "g" in learners else ():
            average.follow(self.updates)
        *values, overflows = torch.stack([*losses.values(), self.overflows.count]).tolist()
        return self._checked(dict(zip(losses, values, strict=True)), int(overflows))

    def _fitting(self, x_0: Tensor, label: Tensor | None) -> None:
        """Refused where x_0 is no batch of the shape that G is for, or its classes are not one an item."""
        shape, came = self.generator.shape, tuple(x_0.shape)
        if not came or not came[0] or shape not in (None, came[1:]):
            of = ", ".join(map(str, ("B", *(("*D",) if shape is None else shape))))
            raise Refused(f"this network learns from x_0 of shape ({of}), B at least 1, got {came}")
        if label is not None and label.shape != x_0.shape[:1]:
            raise Refused(f"classes are of shape {came[:1]}, one for each x_0, got {tuple(label.shape)}")

    def _set(self, progress: float) -> None:
        """Set what changes over a run."""
        for player in self.players.values():
            player.set_rate(DECAYS[self.descent.decay](progress))

    def tune(self, lr_g: float, lr_d: float, gamma: float) -> None:
        """Change the learning rates and the weight of the penalty, as far as there are any, from the next update on."""
        self.players["g"].lr = lr_g

    def _checked(self, losses: dict[str, float], overflows: int) -> dict[str, float]:
        """The losses of an update; FloatingPointError as `update` says."""
        for name, loss in losses.items():
            if not math.isfinite(loss):
                first = ": are the data finite, and does D take +inf, the level_s of x_0?"
                first *= name == "d" and self.updates == 1
                raise FloatingPointError(f"the loss of {name.upper()} is {loss} at update {self.updates}{first}")
        self.overflows.tally(overflows)
        if self.overflows.in_a_row >= OVERFLOWS:
            raise FloatingPointError(f"a gradient overflowed in each of the {OVERFLOWS} updates up to {self.updates}")
        return losses

    def _learn(self, x_0: Tensor, label: Tensor, noise: torch.Generator, players: tuple[str, ...]) -> dict[str, Tensor]:
        """One Adam step of each of the players; the losses. On a CUDA device only the device works: see `Recorded`."""
        raise NotImplementedError

    @property
    def _penalised(self) -> bool:
        return self.updates % self.every == 0

    def _forward_pair(self, x_0: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, t = self.pairs.draw(len(x_0), noise)
        schedule = self.pairs.schedule
        x_s = schedule.marginal(x_0, s).at(_randn_like(x_0, noise))
        return s, t, x_s, schedule.transition(x_s, s, t).at(_randn_like(x_0, noise))

    def _some_unlabelled(self, label: Tensor, noise: torch.Generator) -> Tensor:
        """The classes (B,) as both players hear them, some as `any`; without classes no noise is drawn."""
        if not (classes := self.generator.classes):
            return label
        silent = torch.rand(len(label), generator=noise, device=noise.device) < self.descent.unlabelled
        return label.masked_fill(silent.to(label.device), classes)

    def parts(self, *batch: Tensor) -> list[list[Tensor]]:
        """This rank's share of tensors of a whole batch, in the parts whose gradients are added up.

        Refused where it cannot be cut.
        """
        shares, of = [distributed.mine(v) for v in batch], self.descent.accumulate
        if len(shares[0]) % of:
            raise Refused(f"a batch of {len(shares[0])} cannot be cut into {of} equal parts")
        return [list(part) for part in zip(*(v.chunk(of) for v in shares), strict=True)]

    def _kept(self) -> dict[str, nn.Module]:
        """All networks and averages, by name."""
        return {**self.networks, **{name: average.network for name, average in self.averages.items()}}

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as named tensors: a copy, which further training does not change."""
        state = {"updates": torch.tensor(self.updates)}
        for name, network in self._kept().items():
            state |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, player in self.players.items():
            state |= {f"adam_{name}.{key}": value for key, value in player.state().items()}
        return {key: value.clone() for key, value in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up such a state."""
        self.updates = int(state["updates"])
        for name, network in self._kept().items():
            network.load_state_dict(_under(state, name))
        for name, player in self.players.items():
            player.load(_under(state, f"adam_{name}"))
        self.recorded.clear()  # they know the optimisers' former tensors


class _Part(NamedTuple):
    """What a part of a batch is trained on: a true forward pair, its class, and noise for the fake and the penalty."""

    s: Tensor
    t: Tensor
    x_s: Tensor
    x_t: Tensor
    z: Tensor
    eps: Tensor
    v: Tensor
    label: Tensor


class Adversarial(Objective):
    """The DDGAN objective. `loss` is one of losses.LOSSES; the fake that D saw is the one that G is judged by.

    D maps x_s and x_t (N, *D), level_s and level_t (N,) to logits (N,). It is called by these names; where G knows
    classes, label (N,) is one more. level_s is +inf where x_s is x_0. N is 1, 2 or 4 batches, one after the other, of
    different x_s: a D with `shares_condition = True` is given all else once, for one batch. For images `loss` is
    rpgan-exact, paper or wgan-gp: the others take D's slope from a finite difference, too rough for them.

    `lr` is the rate of G and D, or a pair; the penalty, times `gamma`, is in every `every`-th update. gamma falls to
    `anneal` times what it is, by the same factor in equal parts of the run. Refused for an unknown loss, and an `every`
    below 1.
    """

    betas = (0.5, 0.9)

    def __init__(
        self,
        generator: Denoiser,
        discriminator: nn.Module,
        pairs: Pairs,
        *,
        loss: str = "r1r2",
        gamma: float = 0.02,
        anneal: float = 1.0,
        every: int = 1,
        lr: float | Sequence[float] = 4e-3,
        descent: Descent = Descent(),
        critic: Callable[..., Tensor] | None = None,
    ) -> None:
        if loss not in LOSSES:
            raise Refused(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        if every < 1:
            raise Refused(f"every counts updates, a whole number from 1 on, got {every}")
        lr_g, lr_d = lr if isinstance(lr, Sequence) else (lr, lr)
        super().__init__(generator, pairs, lr=lr_g, descent=descent, others={"d": (discriminator, lr_d)})
        self.critic = critic or discriminator  # D where no second derivative is taken: there it may be a compiled one
        self.d_loss, self.g_loss = LOSSES[loss]
        self.gamma, self.anneal, self.every = gamma, anneal, every
        # gamma by now; a recorded update reads it from the device
        self.penalty: float | Tensor = torch.zeros((), device=self.device) if self.device.type == "cuda" else 0.0

    def _set(self, progress: float) -> None:
        super()._set(progress)
        now = self.gamma * self.anneal**progress
        if isinstance(self.penalty, Tensor):
            self.penalty.fill_(now)
        else:
            self.penalty = now

    def tune(self, lr_g: float, lr_d: float, gamma: float) -> None:
        super().tune(lr_g, lr_d, gamma)
        self.players["d"].lr, self.gamma = lr_d, gamma

    @property
    def _penalised(self) -> bool:
        return self.gamma > 0 and super()._penalised

    def _learn(self, x_0: Tensor, label: Tensor, noise: torch.Generator, players: tuple[str, ...]) -> dict[str, Tensor]:
        generator, discriminator, schedule = self.generator, self.networks["d"], self.pairs.schedule
        s, t, x_s, x_t = self._forward_pair(x_0, noise)
        z = torch.randn(len(x_0), generator.latent_dim, generator=noise, device=noise.device).to(x_0)
        eps, v = _randn_like(x_0, noise), _randn_like(x_0, noise)
        parts = [_Part(*part) for part in self.parts(s, t, x_s, x_t, z, eps, v, self._some_unlabelled(label, noise))]
        gamma = self.penalty if self._penalised else 0.0  # lazily; unlike in Karras et al. 2020 not raised by `every`
        penalised, classes = self._penalised, generator.classes

        def faked(p: _Part) -> Tensor:
            told = generator.given(p.label) if classes else generator
            return reverse_step(schedule, told, p.x_t, p.s, p.t, z=p.z, eps=p.eps).x_s

        def given(p: _Part, d: Callable[..., Tensor]) -> Critic:
            level_s, level_t = (schedule.level(v, p.x_t) for v in (p.s, p.t))
            told = {"x_t": p.x_t, "level_s": level_s, "level_t": level_t} | ({"label": p.label} if classes else {})
            return partial(d if getattr(discriminator, "shares_condition", False) else _for_each(d), **told)

        def d_loss(p: _Part, fake: Tensor) -> Tensor:
            return self.d_loss(given(p, discriminator if penalised else self.critic), p.x_s, fake.detach(), p.v, gamma)

        def g_loss(p: _Part, fake: Tensor) -> Tensor:
            return self.g_loss(given(p, self.critic), p.x_s, fake if fake.requires_grad else faked(p))

        # the graphs of several parts would not fit: G draws them again
        with torch.set_grad_enabled(len(parts) == 1), self.players["g"].autocast():
            pairs = [(p, faked(p)) for p in parts]
        losses = {"d": self.players["d"].descend(d_loss, pairs)} if "d" in players else {}
        if "g" not in players:
            return losses
        learning = [w for w in discriminator.parameters() if w.requires_grad]
        try:
            for w in learning:  # G's step needs no gradient of D's weights
                w.requires_grad_(False)
            losses["g"] = self.players["g"].descend(g_loss, pairs)
        finally:
            for w in learning:
                w.requires_grad_()
        return losses


class Regression(Objective):
    """Least squares in units of the network's output: it becomes E[x_0 | x_t], the mean of DDPM's Gaussian denoiser.

    For a network that predicts the noise that is DDPM's simple loss (Ho et al. 2020, eq. 14).
    """

    def _learn(self, x_0: Tensor, label: Tensor, noise: torch.Generator, players: tuple[str, ...]) -> dict[str, Tensor]:
        generator = self.generator
        _, t, _, x_t = self._forward_pair(x_0, noise)

        def error(t: Tensor, x_t: Tensor, x_0: Tensor, label: Tensor) -> Tensor:
            told = generator.given(label) if generator.classes else generator
            level = self.pairs.schedule.level(t, x_t)
            scale = like(generator.output_scale(level), x_0)
            return squared_error(told(x_t, level, x_t.new_zeros(len(x_t), generator.latent_dim)) / scale, x_0 / scale)

        return {"g": self.players["g"].descend(error, self.parts(t, x_t, x_0, self._some_unlabelled(label, noise)))}


class TrainStep(NamedTuple):
    """The state of a run after `step` updates: training seconds so far, progress in [0, 1], losses of this update."""

    step: int
    seconds: float
    progress: float
    losses: dict[str, float]


def train(
    objective: Objective,
    batches: Callable[[int, torch.Generator], Tensor | tuple[Tensor, Tensor | None]],
    *,
    seed: int,
    steps: float = math.inf,
    seconds: float = math.inf,
    start: TrainStep | None = None,
    players: Callable[[int], tuple[str, ...]] = lambda step: BOTH,
) -> Generator[TrainStep, None, None]:
    """Updates until `steps` or `seconds` of training, whichever is first; one record after each.

    `batches(step, noise)` returns x_0 (B, *D), of about unit variance, or x_0 and its classes (B,) or None;
    `players(step)` says who learns; step = 0, 1, ... The caller logs, saves, pauses and stops; only time spent training
    counts. After `objective.load_state_dict`, `start` is the last record of the earlier run.

    Refused for x_0 of another shape than the network's. FloatingPointError on a loss that is not finite. The other
    network may have been updated: train on from an earlier state.
    """
    wanted(Objective, "Adversarial(G, D, pairs)", objective)
    wanted(Callable, "`lambda step, noise: law.sample(256, noise)`", batches)  # type: ignore[arg-type]
    step, spent = (start.step, start.seconds) if start else (0, 0.0)
    noise = torch.Generator(objective.source)

    def progress() -> float:
        return min(1.0, max(step / steps, spent / seconds))

    while step < steps and spent < seconds:
        clock = time.perf_counter()
        noise.manual_seed((seed * 1_000_003 + step) % 2**32)  # torch's CPU generator takes 32 bits
        batch = batches(step, noise)
        x_0, label = (*batch, None)[:2] if isinstance(batch, (tuple, list)) and batch else (batch, None)
        x_0, label = _numbers("x_0", x_0), None if label is None else _numbers("classes", label).to(objective.device)
        x_0 = x_0.to(objective.device, objective.dtype if x_0.is_floating_point() else x_0.dtype)
        losses = objective.update(x_0, noise, progress(), label, players(step))
        step, spent = step + 1, distributed.agree(spent + time.perf_counter() - clock)
        yield TrainStep(step, spent, progress(), losses)


def _numbers(of: str, value: Any) -> Tensor:
    """What `batches` returned as a tensor; Refused, by the name `of` it, where it is none."""
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refused(f"batches returns {of} as numbers, got {repr(value)[:60]}") from error


def _randn_like(x: Tensor, noise: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=noise, device=noise.device).to(x)


def _for_each(d: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same D, given its condition for each item of x_s; Refused where it returns no logit for each."""

    def judge(x_s: Tensor, **told: Tensor) -> Tensor:
        logits = d(x_s, **{name: torch.cat([v] * (len(x_s) // len(v))) for name, v in told.items()})
        if logits.shape[:1] != x_s.shape[:1]:
            raise Refused(f"D returns a logit for each of {len(x_s)} x_s, got {tuple(logits.shape)}")
        return logits

    return judge


def _learning(network: nn.Module) -> nn.Module:
    """The network, its weights learning unless some do already."""
    wanted(nn.Module, "a network", network)
    weights = list(network.parameters())
    if not weights:
        raise Refused(f"a network that is trained needs weights, {type(network).__name__} has none")
    return network if any(w.requires_grad for w in weights) else network.requires_grad_().train()


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}
