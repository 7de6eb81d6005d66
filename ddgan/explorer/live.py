"""Training to be watched: one visitor's run as an iterator of frames, which can be paused, stepped, tuned and stopped.

A `Run` drives the library's own `train`; pausing is not advancing it, so a run of k updates has the weights of any
other run of k updates. `Run.frames` advances it for a moment, and yields what there is to see: the cloud that the
moving average samples, always from the same noise; D's logits over x_s for a fixed x_t, and where they pull what G
draws there; losses and coverage so far. Its methods may be called from other threads, and take effect at the next
update. By hand, D or G can be updated alone; in slow motion they are always updated alone, in turn.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.toys import data_label
from ..diffusion.denoiser import Denoiser
from ..diffusion.mixture import Law, lattice
from ..diffusion.sampler import Draws, sample
from ..diffusion.schedule import Schedule
from ..errors import Refused
from ..machine import hardware
from ..metrics.energy import energy, floor_energy
from ..metrics.points import coverage
from ..models import checkpoint
from ..models.config import Config
from ..training.run import new_objective
from ..training.trainer import BOTH, TrainStep, train
from .methods import method_of
from .plane import centres, width
from .priority import give_way

__all__ = ["ANY_T", "FRAME", "SURFACE_CELLS", "Frame", "Point", "Run"]

FRAME = 0.16  # seconds of training between two frames
HALF = 1.2  # seconds from one player's update to the other's in slow motion
PAUSE_LIMIT = 120.0  # seconds that a run may be paused, all pauses together
CLOUD_POINTS = 1000  # of the cloud
MEASURED = 10_000  # samples for the numbers at the end
SURFACE_CELLS = {1: 192, 2: 48}  # cells of D's surface along each axis
PULLED = 48  # of G's draws that D's slope is shown at
ANY_T = 4  # the number of steps with which a model for any number of steps is shown
MAX_CHANGES = 50  # of the hyper-parameters that a card keeps
LIVE = ("training", "paused")
SLOW = "Slow motion: D learns alone, then G."


class Point(NamedTuple):
    """One point of the curves: mean losses since the last one, modes covered, share of the cloud on a mode.

    The loss of a player that did not learn since then, or is not there, is nan.
    """

    seconds: float
    d: float
    g: float
    modes: int
    on_mode: float


class Frame(NamedTuple):
    """What there is to see of a run.

    state is one of waiting, training, paused, done, stopped, failed; note is one sentence about it. players are those
    that learned in the last update, () before the first. cloud (N, n) are
    EMA samples in T steps, surface (G,) * n D's logits over x_0 given x_1 = 0, along the axes, and pulls (PULLED, 2, n)
    draws of G given that x_1, each with the gradient of D's logit there. None before the start; the last two also where
    there is no D.
    limit is half the width of the view of all.
    """

    run: str
    state: str
    note: str
    T: int
    step: int
    players: tuple[str, ...]
    seconds: float
    budget: float
    modes: int
    cloud: Tensor | None
    surface: Tensor | None
    pulls: Tensor | None
    curve: tuple[Point, ...]
    limit: float


class Run:
    """A training of at most `seconds`, in the state `waiting` until its frames are drawn.

    Its frames follow the clock or, if `every` is given, come after that many updates.
    """

    def __init__(
        self, config: Config, law: Law, *, seconds: float, paused: bool = False, every: int | None = None
    ) -> None:
        self.id = secrets.token_hex(8)
        self.every = every
        self.config, self.law, self.seconds, self.limit = config, law, seconds, width(law)
        self._T = config.T or ANY_T
        self.state = "waiting"
        self.note = "Waiting for its turn: one training runs here at a time."
        self.last = TrainStep(0, 0.0, 0.0, {})
        self.changes: list[dict[str, float]] = []
        self.metrics: dict[str, dict[str, float]] = {}
        self._changed = threading.Condition()
        self._duel = config.objective == "ddgan"  # whether there is a D
        self._paused, self._halted = paused, False
        self._tuned: dict[str, float] = {}
        self._granted: tuple[tuple[str, ...], ...] = ()  # the players of each update that was asked for by hand
        self._turn: tuple[str, ...] = BOTH  # who learns
        self.alone = dict.fromkeys(BOTH, 0)  # updates of one player alone, by player
        self._slow, self._next = False, 0.0  # when the next update of slow motion is due
        self._idle = 0.0
        self._losses: list[dict[str, float]] = []
        self._curve: list[Point] = []
        self._model: Denoiser | None = None
        self._good: tuple[TrainStep, dict[str, Tensor]] | None = None  # when the cloud was last finite, and its weights

    def waiting(self) -> Frame:
        """The frame of a run that has not begun: it has words, and no picture."""
        return self._shown(None, None, None)

    @property
    def paused(self) -> bool:
        """Whether the run makes no updates but those asked for one by one."""
        return self._paused

    @property
    def over(self) -> bool:
        """Whether there will be no more updates."""
        return self.state not in ("waiting", *LIVE)

    def pause(self) -> None:
        """Make no more updates until `resume`."""
        self._command(_paused=True)

    def resume(self) -> None:
        """Go on."""
        self._command(_paused=False)

    def step(self, players: tuple[str, ...] = BOTH) -> None:
        """Pause, and make one update more, of these players; Refused where this training has no D to learn alone."""
        if not self._duel and "g" not in players:
            raise Refused("this training has no D")
        with self._changed:
            self._command(_paused=True, _granted=(*self._granted, players))

    def slow_motion(self, on: bool) -> None:
        """Update D alone, then G alone, HALF seconds apart; or go on as usual."""
        self._command(_slow=on)

    def stop(self) -> None:
        """End the run; the model so far is kept."""
        with self._changed:
            self._command(_halted=True)
            if self.state == "waiting":
                self._end("stopped", "Stopped before its turn came.")

    def tune(self, **values: Any) -> None:
        """Change lr_g, lr_d or gamma from the next update on; Refused for another name or a value out of range."""
        if unknown := values.keys() - {"lr_g", "lr_d", "gamma"}:
            raise Refused(f"{sorted(unknown)[0]} cannot be changed while a run goes on")
        replace(self.config, **values)  # checks the ranges
        with self._changed:
            self._command(_tuned={**self._tuned, **values})

    def _command(self, **values: Any) -> None:
        with self._changed:
            vars(self).update(values)
            self._changed.notify_all()

    def frames(self) -> Iterator[Frame]:
        """Train, and show: a frame every FRAME seconds of training, and a last one when the run is over.

        While the run is paused the same frame is yielded again and again, so that whoever draws may stop to. Closing
        the iterator stops the run. Only the first call trains; for any other the run is over.
        """
        with self._changed:
            if self.state != "waiting":
                return
            self.state, self.note = "training", ""
        begun = time.monotonic()
        self._objective = new_objective(self.config, self.law)
        self._model = self._objective.denoiser
        self._solver = method_of("", objective=self.config.objective).solver
        self._draws = Draws.from_seeds(range(CLOUD_POINTS), self.law.shape, self._T, self._model.latent_dim)
        self._current = dict(lr_g=self.config.lr_g, lr_d=self.config.lr_d, gamma=self.config.gamma)
        steps = train(
            self._objective,
            lambda _, noise: (self.law.sample(self.config.batch, noise), None),
            seed=self.config.seed,
            steps=self.config.steps,
            seconds=self.seconds,
            players=lambda _: self._turn,
        )
        try:
            yield (frame := self._frame(None))
            while not self.over:
                self._advance(steps)
                if not self.over and time.monotonic() - begun > 2 * self.seconds + PAUSE_LIMIT:
                    self._end("stopped", f"Stopped after {2 * self.seconds + PAUSE_LIMIT:.0f} seconds on the clock.")
                yield (frame := self._frame(frame))
        finally:
            steps.close()
            if not self.over:
                self._end("stopped", "The page was left.")
            del self._objective, self._draws

    def _advance(self, steps: Iterator[TrainStep]) -> None:
        """Train until a frame is due, or wait as long where the run is paused."""
        due, first = time.monotonic() + FRAME, self.last.step
        took = 0.0

        def in_time() -> bool:
            if self._slow:
                return self.last.step == first  # each is shown
            if self.every:
                return self.last.step < first + self.every
            return time.monotonic() + took / 2 < due  # rather a little early than late, where an update is long

        try:
            while in_time() and not self._spent and self._may_go(due):
                now = time.monotonic()
                give_way()
                self.last = next(steps)
                self._losses.append(self.last.losses)
                if len(self.last.losses) < len(self._objective.networks):
                    self.alone[self._turn[0]] += 1
                took = time.monotonic() - now
            if self._spent and not self.over:
                self._finish()
        except FloatingPointError as error:
            self._fail(str(error))

    @property
    def _spent(self) -> bool:
        return self.last.step >= self.config.steps or self.last.seconds >= self.seconds

    def _finish(self) -> None:
        if not self._cloud().isfinite().all():
            return self._fail(f"the samples are not finite after update {self.last.step}")
        draws = Draws.from_seeds(range(MEASURED), self.law.shape, self._T, self._draws.z.shape[2])
        x_0 = self._sampled(draws)
        cover, distance, floor = coverage(x_0, self.law), energy(x_0, self.law), floor_energy(self.law, MEASURED)
        self.metrics[f"T={self._T}"] = dict(
            modes=cover.modes, of_modes=self.law.modes, on_mode=cover.on_mode, energy=distance, floor_energy=floor
        )
        self._end(
            "done",
            f"Done: {data_label(self.config.data)}, vp, T = {self._T}: {cover.modes} of {self.law.modes} modes after "
            f"{_updates(self.last.step)}, {cover.on_mode:.1%} of {MEASURED:,} samples on a mode, energy distance "
            f"{distance:.4f} (floor {floor:.4f}).",
        )

    def _fail(self, reason: str) -> None:
        """End, with the last good model for the one that is lost."""
        assert self._good  # since the first frame, of fresh networks
        self.last, weights = self._good
        self._objective.denoiser.load_state_dict(weights)
        kept = f"The model after update {self.last.step:,} is kept" if self.last.step else "There was no good update"
        self._end("failed", f"{reason[0].upper()}{reason[1:]}: stopped. {kept}.")

    def _may_go(self, due: float) -> bool:
        """Whether to make an update now; carries out what was commanded, and waits while paused."""
        with self._changed:
            if self._halted:
                self._end("stopped", f"Stopped after {_updates(self.last.step)}; the model so far is kept.")
                return False
            self._apply()
            if not self._paused:
                self.state, self.note, self._granted = "training", SLOW * (self._slow and self._duel), ()
                return self._slow_turn(due) if self._slow else self._let(BOTH)
            if self._granted:
                players, *rest = self._granted
                self._granted = tuple(rest)
                return self._let(players)
            if self.state == "paused":
                before = time.monotonic()
                self._changed.wait(due - before)
                self._idle += time.monotonic() - before
            limit = f"{PAUSE_LIMIT / 60:.0f} minutes of pause"
            self.state, self.note = "paused", f"Paused. The training ends after {limit}."
            if self._idle > PAUSE_LIMIT:
                self._end("stopped", f"Stopped after {limit}; the model so far is kept.")
            return False

    def _let(self, players: tuple[str, ...]) -> bool:
        """Have these learn in the next update, which may be made."""
        self._turn = players
        return True

    def _slow_turn(self, due: float) -> bool:
        """Whether the next update of slow motion is due, D's after G's; waits a while where it is not."""
        now = time.monotonic()
        if now < self._next:
            self._changed.wait(min(due, self._next) - now)
            return False
        self._next = now + HALF
        if not self._duel:
            return self._let(BOTH)
        return self._let(("g",) if self._turn == ("d",) else ("d",))

    def _apply(self) -> None:
        changed = {name: value for name, value in self._tuned.items() if value != self._current[name]}
        self._tuned = {}
        if changed:
            self._current |= changed
            self.changes = [*self.changes, {"after": self.last.step, **changed}][-MAX_CHANGES:]
            self._objective.tune(**self._current)

    def _end(self, state: str, note: str) -> None:
        self.state, self.note = state, note

    def _frame(self, before: Frame | None) -> Frame:
        """The frame of this moment; the one before where nothing has changed."""
        now = self.state, self.note, self.last.step
        if before and (before.state, before.note, before.step) == now:
            return before
        cloud, surface, pulls = (before.cloud, before.surface, before.pulls) if before else (None, None, None)
        if before is None or self.last.step != before.step:
            fresh = self._cloud()
            if not fresh.isfinite().all() and self.over:
                self._fail(f"the samples are not finite after update {self.last.step}")
            elif fresh.isfinite().all():
                cloud, surface, pulls = fresh, self._surface(), self._pulls()
                self._good = self.last, {k: v.clone() for k, v in self._objective.denoiser.state_dict().items()}
                self._plot(cloud)
        return self._shown(cloud, surface, pulls)

    def _shown(self, cloud: Tensor | None, surface: Tensor | None, pulls: Tensor | None) -> Frame:
        return Frame(
            self.id, self.state, self.note, self._T, self.last.step, self._turn if self.last.step else (),
            self.last.seconds, self.seconds, self.law.modes, cloud, surface, pulls, tuple(self._curve),
            self.limit,
        )  # fmt: skip

    def _cloud(self) -> Tensor:
        return self._sampled(self._draws)

    def _sampled(self, draws: Draws) -> Tensor:
        """What the moving average makes of these draws."""
        *_, end = sample(Schedule.vp(self._T), self._objective.denoiser, draws, solver=self._solver)
        return end.x_s

    @torch.no_grad()
    def _surface(self) -> Tensor | None:
        """D's logits over x_0 for the last step from x_1 = 0, at the centres of the cells: (G,) * n; None without D."""
        if not self._duel:
            return None
        n, schedule = self.law.shape.numel(), Schedule.vp(self._T)
        x = lattice(centres(SURFACE_CELLS[n], self.limit).float(), n)
        x_1 = torch.zeros(1, n)
        logits = self._objective.networks["d"](x, x_1, *(schedule.level(t, x_1) for t in (0, 1)))
        return logits.reshape([SURFACE_CELLS[n]] * n)

    def _pulls(self) -> Tensor | None:
        """Draws of G itself given x_1 = 0, and the gradient of D's logit at each: (PULLED, 2, n); None without D."""
        if not self._duel:
            return None
        n, schedule = self.law.shape.numel(), Schedule.vp(self._T)
        x_1 = torch.zeros(PULLED, n)
        with torch.no_grad():
            x_0 = self._objective.networks["g"](x_1, schedule.level(1, x_1), self._draws.z[0, :PULLED])
        x_0.requires_grad_()
        logits = self._objective.networks["d"](x_0, x_1, *(schedule.level(t, x_1) for t in (0, 1)))
        (slope,) = torch.autograd.grad(logits.sum(), x_0)
        return torch.stack([x_0.detach(), slope], 1)

    def _plot(self, cloud: Tensor) -> None:
        if not self._losses:
            return
        found = [[losses[name] for losses in self._losses if name in losses] for name in BOTH]
        d, g = (sum(values) / len(values) if values else math.nan for values in found)
        self._losses = []
        cover = coverage(cloud, self.law)
        self._curve.append(Point(self.last.seconds, d, g, cover.modes, cover.on_mode))

    def denoiser(self) -> Denoiser | None:
        """The model of a run that is over, with its card; None where there was no good update."""
        if not self.over or not self.last.step or self._model is None:
            return None
        made = {
            "steps": self.last.step,
            "seconds": round(self.last.seconds, 1),
            "hardware": hardware(),
            "torch": torch.__version__,
            "metrics": self.metrics,
            "changes": self.changes,
            **({"alone": self.alone} if any(self.alone.values()) else {}),
        }
        self._model.card = checkpoint.new_card(self._model, self.config, tuple(self.law.shape), made)
        return self._model


def _updates(step: int) -> str:
    return f"{step:,} update{'s' * (step != 1)}"
