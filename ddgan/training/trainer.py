"""Training as an iterator of records.

One update draws a batch x_0, a pair of levels s < t per item, and a true forward pair

    x_s ~ q(x_s | x_0),    x_t ~ q(x_t | x_s)        real: (x_s, x_t)
    x_0' = G(x_t, level_t, z),    x_s' ~ q(x_s | x_t, x_0')        fake: (x_s', x_t)

The fake is the sampler's own step (`reverse_step`). D learns to tell real from fake given x_t, G to fool it: an
adversarial match of p(x_s | x_t) to q(x_s | x_t) at every step, eq. 4-8 of Xiao et al. 2022. The other objective is
DDPM's: a generator without a latent, by least squares.

Which pairs are drawn decides what a model can do afterwards. `consecutive` pairs of a schedule with T steps train for
those T levels; `anywhere` on a fine schedule trains one model for any number of steps and any schedule.

Randomness is a function of (seed, step), so a run that is stopped and resumed equals an unbroken one bit for bit.
"""

from __future__ import annotations

import copy
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, distributed, nn

from . import ranks
from .denoiser import Denoiser, Levels
from .gaussian import like
from .losses import LOSSES, Critic, squared_error
from .recorded import Recorded
from .sampler import reverse_step
from .schedule import Schedule

__all__ = ["Adversarial", "Anywhere", "Consecutive", "DECAYS", "Objective", "Pairs", "Regression", "TrainStep", "train"]

OVERFLOWS = 100  # updates in a row without a whole step: it does not come right by itself

# the share of its learning rate that a network trains with at a progress in [0, 1]
DECAYS: dict[str, Callable[[float], float]] = {
    "late": lambda progress: min(1.0, 0.05 + 1.9 * (1 - progress)),  # constant for half the run, then linear to 5 %
    "cosine": lambda progress: (17 + 15 * math.cos(math.pi * progress)) / 32,  # to 1/16, about the paper's 1e-5
}


class Pairs(Protocol):
    """Which steps of a schedule are trained."""

    schedule: Schedule

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """n pairs (s, t), s < t, each (n,)."""

    def levels(self) -> Levels:
        """The levels that are drawn as t: what the denoiser is made for."""


class Consecutive:
    """Pairs (t - 1, t) of a schedule; the step to clean data, the only one that must be sharp, is drawn most.

    ValueError for a share `clean` of that step which leaves none to it, or to the others.
    """

    def __init__(self, schedule: Schedule, clean: float = 0.6) -> None:
        if schedule.T > 1 and not 0 < clean < 1:
            raise ValueError(f"clean must be above 0 and below 1, so that every one of {schedule.T} steps is trained, got {clean:g}")
        self.schedule, clean = schedule, clean if schedule.T > 1 else 1.0
        rest = (1 - clean) / max(schedule.T - 1, 1)
        self.weights = torch.tensor([clean, *[rest] * (schedule.T - 1)])

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `Pairs`."""
        self.weights = self.weights.to(noise.device)
        t = 1 + torch.multinomial(self.weights, n, replacement=True, generator=noise)
        return t - 1, t

    def levels(self) -> Levels:
        """Those of the schedule alone."""
        return Levels(tuple(self.schedule.level(torch.arange(1, self.schedule.T + 1)).tolist()), between=False)


class Anywhere:
    """Pairs from a fine schedule: t anywhere above `first`, sometimes the last; s = 0 or uniform below t.

    Half of the t are uniform, half log-uniform, since the last steps of long chains start at small t.
    """

    def __init__(self, schedule: Schedule, first: float = 0.02, top: float = 0.15, clean: float = 0.5) -> None:
        self.schedule, self.top, self.clean = schedule, top, clean
        self.first = max(1, round(first * schedule.T))

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `Pairs`."""
        u, v, at_top, at_zero = torch.rand(4, n, generator=noise, device=noise.device, dtype=torch.float64)
        T, first = self.schedule.T, self.first
        t = torch.where(u < 0.5, first + 2 * u * (T - first), first * (T / first) ** (2 * u - 1)).round().long()
        t = t.masked_fill(at_top < self.top, T)
        s = (v * t).long()
        # the cleanest s that is ever asked for is x_0 or a level that some schedule can start from
        return s.masked_fill((at_zero < self.clean) | (s < first), 0), t

    def levels(self) -> Levels:
        """Everything from `first` to T."""
        ends = self.schedule.level(torch.tensor([self.first, self.schedule.T]))
        return Levels(tuple(ends.tolist()), between=True)


class Objective:
    """What `train` drives: networks with their optimisers, and the moving average of G, which is the denoiser.

    `networks` are (network, learning rate) by name, the generator's is "g".
    """

    accumulate: int = 1  # parts that a batch is cut into, whose gradients are added up
    every: int = 1  # updates from one penalty to the next
    precision: torch.dtype = torch.float32  # of the networks' arithmetic
    decay: str = "late"  # one of DECAYS

    def __init__(
        self, networks: dict[str, tuple[nn.Module, float]], pairs: Pairs, betas: tuple[float, float], ema: float
    ) -> None:
        self.pairs, self.ema = pairs, ema
        self.networks = {name: network for name, (network, _) in networks.items()}
        self.rates = {name: lr for name, (_, lr) in networks.items()}
        self.device = next(self.networks["g"].parameters()).device
        cuda = self.device.type == "cuda"
        self.source = self.device if cuda else torch.device("cpu")  # of schedules and noise: MPS has no float64
        pairs.schedule = pairs.schedule.to(self.source)
        self.optimisers = {
            name: torch.optim.Adam(
                network.parameters(), lr=torch.tensor(lr, device=self.device) if cuda else lr, betas=betas, fused=True, capturable=cuda
            )
            for name, (network, lr) in networks.items()
        }
        self.updates = 0
        self.skipped = torch.zeros((), dtype=torch.long, device=self.device)  # steps of a network: see _descend
        self.skips = 0, 0  # their number by now, and the updates in a row that it has grown in
        # on a CUDA device: updates with a penalty, and those without
        self.recorded: defaultdict[bool, Recorded] = defaultdict(lambda: Recorded(self._learn))
        self.denoiser = copy.deepcopy(self.networks["g"]).requires_grad_(False).eval()
        self.denoiser.levels = pairs.levels()

    def update(self, x_0: Tensor, noise: torch.Generator, progress: float) -> dict[str, float]:
        """One step on a batch x_0 (B, *D); `progress` in [0, 1] sets the learning rate. Returns losses by name.

        FloatingPointError where one is not finite: its network then keeps its weights. So it is where in the last
        `OVERFLOWS` updates there was always a step skipped.
        """
        for name, optimiser in self.optimisers.items():
            _set_rate(optimiser, self.rates[name] * DECAYS[self.decay](progress))
        learn = self._learn
        if self.device.type == "cuda" and not distributed.is_initialized():
            learn = self.recorded[self._penalised]
        losses = learn(x_0, noise)
        self._average()
        *values, skipped = torch.stack([*losses.values(), self.skipped]).tolist()
        losses = dict(zip(losses, values, strict=True))
        for name, loss in losses.items():
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss of {name.upper()} is {loss} at update {self.updates}")
        before, in_a_row = self.skips
        self.skips = int(skipped), in_a_row + 1 if skipped > before else 0
        if self.skips[1] >= OVERFLOWS:
            raise FloatingPointError(f"a gradient overflowed in each of the {OVERFLOWS} updates up to {self.updates}")
        return losses

    def _learn(self, x_0: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
        """One Adam step of every network; the losses. On a CUDA device all of it is the device's work: see `Recorded`."""
        raise NotImplementedError

    @property
    def _penalised(self) -> bool:
        return self.updates % self.every == 0

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    def _forward_pair(self, x_0: Tensor, noise: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s, t = self.pairs.draw(len(x_0), noise)
        schedule = self.pairs.schedule
        x_s = schedule.marginal(x_0, s).at(_randn_like(x_0, noise))
        return s, t, x_s, schedule.transition(x_s, s, t).at(_randn_like(x_0, noise))

    def parts(self, *batch: Tensor) -> list[list[Tensor]]:
        """This rank's share of tensors of a whole batch, in the parts whose gradients are added up; ValueError where it cannot be cut."""
        shares = [ranks.mine(v) for v in batch]
        if len(shares[0]) % self.accumulate:
            raise ValueError(f"a batch of {len(shares[0])} cannot be cut into {self.accumulate} equal parts")
        return [list(part) for part in zip(*(v.chunk(self.accumulate) for v in shares), strict=True)]

    def _descend(self, name: str, loss: Callable[..., Tensor], parts: Iterable[tuple]) -> Tensor:
        """One Adam step of one network on the mean of the parts' losses, which is returned; none where that is not finite.

        In low precision a gradient can overflow though the loss does not: such a step is skipped too, and counted.
        """
        optimiser, total = self.optimisers[name], torch.zeros((), device=self.device)
        optimiser.zero_grad(set_to_none=True)
        for part in parts:
            with self._autocast():
                value = loss(*part) / self.accumulate
            value.backward()
            total += value.detach()
        gradients = [p.grad for p in self.networks[name].parameters() if p.grad is not None]
        ranks.average([total, *gradients])
        finite = total.isfinite()
        if self.precision != torch.float32:
            small = torch.stack(torch._foreach_norm(gradients)).isfinite().all()
            self.skipped += finite & ~small
            finite = finite & small
        optimiser.found_inf = (~finite).float()  # what a torch.amp.GradScaler tells it
        optimiser.step()
        return total

    @torch.no_grad()
    def _average(self) -> None:
        """EMA <- EMA + rate (G - EMA); the rate falls as updates^-.8 from 1 to `ema`."""
        self.updates += 1
        rate = max(self.ema, self.updates**-0.8)
        torch._foreach_lerp_(list(self.denoiser.parameters()), list(self.networks["g"].parameters()), rate)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as named tensors: a copy, which training on does not change."""
        state = {"updates": torch.tensor(self.updates)}
        for name, network in {**self.networks, "ema": self.denoiser}.items():
            state |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, optimiser in self.optimisers.items():
            for index, slots in optimiser.state_dict()["state"].items():
                state |= {f"adam_{name}.{index}.{slot}": value for slot, value in slots.items()}
        return {key: value.clone() for key, value in state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take up such a state."""
        self.updates = int(state["updates"])
        for name, network in {**self.networks, "ema": self.denoiser}.items():
            network.load_state_dict(_under(state, name))
        for name, optimiser in self.optimisers.items():
            slots: dict[int, dict[str, Tensor]] = {}
            weights = list(self.networks[name].parameters())
            for key, value in _under(state, f"adam_{name}").items():
                index, slot = key.split(".")
                slots.setdefault(int(index), {})[slot] = _formatted(value, weights[int(index)])
            optimiser.load_state_dict({**optimiser.state_dict(), "state": slots})
        self.recorded.clear()  # they know the optimisers' former tensors


class _Part(NamedTuple):
    """What one part of a batch is trained on: a true forward pair, and the noise of the fake and of the penalty."""

    s: Tensor
    t: Tensor
    x_s: Tensor
    x_t: Tensor
    z: Tensor
    eps: Tensor
    v: Tensor


class Adversarial(Objective):
    """The DDGAN objective. `loss` is one of losses.LOSSES; the fake that D saw is the one that G is judged by.

    `lr` are the rates of G and D; the penalty, times `gamma`, is in every `every`-th update.
    """

    def __init__(
        self,
        generator: Denoiser,
        discriminator: nn.Module,
        pairs: Pairs,
        *,
        loss: str = "r1r2",
        gamma: float = 0.02,
        every: int = 1,
        lr: tuple[float, float] = (4e-3, 4e-3),
        betas: tuple[float, float] = (0.5, 0.9),
        ema: float = 0.005,
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
        super().__init__({"g": (generator, lr[0]), "d": (discriminator, lr[1])}, pairs, betas, ema)
        self.critic = discriminator  # D where no second derivative is taken: there it may be a compiled one
        self.d_loss, self.g_loss = LOSSES[loss]
        self.gamma, self.every = gamma, every

    def _learn(self, x_0: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
        generator, discriminator, schedule = self.networks["g"], self.networks["d"], self.pairs.schedule
        s, t, x_s, x_t = self._forward_pair(x_0, noise)
        z = torch.randn(len(x_0), generator.latent_dim, generator=noise, device=noise.device).to(x_0)
        eps, v = _randn_like(x_0, noise), _randn_like(x_0, noise)
        parts = [_Part(*part) for part in self.parts(s, t, x_s, x_t, z, eps, v)]
        gamma = self.gamma if self._penalised else 0.0  # lazily; unlike in Karras et al. 2020 not raised by `every`

        def faked(p: _Part) -> Tensor:
            return reverse_step(schedule, generator, p.x_t, p.s, p.t, z=p.z, eps=p.eps).x_s

        def given(p: _Part, d: nn.Module) -> Critic:
            level_s, level_t = (schedule.level(v, p.x_t) for v in (p.s, p.t))
            return partial(d, x_t=p.x_t, level_s=level_s, level_t=level_t)

        def d_loss(p: _Part, fake: Tensor) -> Tensor:
            return self.d_loss(given(p, discriminator if gamma else self.critic), p.x_s, fake.detach(), p.v, gamma)

        def g_loss(p: _Part, fake: Tensor) -> Tensor:
            return self.g_loss(given(p, self.critic), p.x_s, fake if fake.requires_grad else faked(p))

        # the graphs of several parts would not fit: G draws them again
        with torch.set_grad_enabled(self.accumulate == 1), self._autocast():
            pairs = [(p, faked(p)) for p in parts]
        losses = {"d": self._descend("d", d_loss, pairs)}
        discriminator.requires_grad_(False)  # G's step needs no gradient of D's weights
        try:
            losses["g"] = self._descend("g", g_loss, pairs)
        finally:
            discriminator.requires_grad_(True)
        return losses


class Regression(Objective):
    """Least squares in units of the network's output: it becomes E[x_0 | x_t], the mean of DDPM's Gaussian denoiser.

    For a network that predicts the noise that is DDPM's simple loss (Ho et al. 2020, eq. 14).
    """

    def __init__(
        self,
        generator: Denoiser,
        pairs: Pairs,
        *,
        lr: float = 4e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        ema: float = 0.005,
    ) -> None:
        super().__init__({"g": (generator, lr)}, pairs, betas, ema)

    def _learn(self, x_0: Tensor, noise: torch.Generator) -> dict[str, Tensor]:
        generator = self.networks["g"]
        _, t, _, x_t = self._forward_pair(x_0, noise)

        def error(t: Tensor, x_t: Tensor, x_0: Tensor) -> Tensor:
            level = self.pairs.schedule.level(t, x_t)
            unit = like(generator.unit(level), x_0)
            return squared_error(generator(x_t, level, x_t.new_zeros(len(x_t), generator.latent_dim)) / unit, x_0 / unit)

        return {"g": self._descend("g", error, self.parts(t, x_t, x_0))}


class TrainStep(NamedTuple):
    """The state of a run after `step` updates: training seconds so far, progress in [0, 1], losses of this update."""

    step: int
    seconds: float
    progress: float
    losses: dict[str, float]


def train(
    objective: Objective,
    batches: Callable[[int, torch.Generator], Tensor],
    *,
    seed: int,
    steps: float = math.inf,
    seconds: float = math.inf,
    start: TrainStep | None = None,
) -> Iterator[TrainStep]:
    """Updates until `steps` or `seconds` of training, whichever is first; one record after each.

    `batches(step, noise)` returns x_0 (B, *D), step = 0, 1, ... The caller logs, saves, pauses and stops; only time spent
    training counts. After `objective.load_state_dict`, `start` is the last record of the earlier run.

    FloatingPointError on a loss that is not finite. The other network may have been updated: train on from an earlier state.
    """
    step, spent = (start.step, start.seconds) if start else (0, 0.0)
    noise = torch.Generator(objective.source)

    def progress() -> float:
        return min(1.0, max(step / steps, spent / seconds))

    while step < steps and spent < seconds:
        clock = time.perf_counter()
        noise.manual_seed((seed * 1_000_003 + step) % 2**32)  # torch's CPU generator takes 32 bits
        losses = objective.update(batches(step, noise).to(objective.device), noise, progress())
        step, spent = step + 1, ranks.agree(spent + time.perf_counter() - clock)
        yield TrainStep(step, spent, progress(), losses)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    (group,) = optimiser.param_groups
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _randn_like(x: Tensor, noise: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=noise, device=noise.device).to(x)


def _formatted(value: Tensor, weight: Tensor) -> Tensor:
    """A copy of Adam's value in the weight's own memory format, which the fused Adam takes for granted."""
    return torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value.clone()


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{prefix}."): value for key, value in state.items() if key.startswith(f"{prefix}.")}
