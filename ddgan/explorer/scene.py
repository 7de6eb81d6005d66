"""A request -> its scene: everything that the page, an export, the API and the command line show of it.

A `Scene` holds tensors. Whatever shows it turns them into pixels, bytes or words once, at the edge (views/).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.denoiser import Denoiser
from ..diffusion.schedule import Schedule
from ..diffusion.solver import Step
from ..errors import Refused
from .catalogue import Source
from .request import Request
from .session import Session

__all__ = ["Panel", "Progress", "Scene", "scene", "spread", "standing", "stepwise"]


class Progress(NamedTuple):
    """How many of the steps of a scene are done. The last one was of `name`; where it refuses, all of its own are."""

    done: int
    of: int
    name: str


@dataclass(frozen=True)
class Panel:
    """One denoiser of a scene: its steps from the states that are kept, or its refusal.

    `schedule` is the one that it walks: of fewer steps than the scene's where a budget of evaluations allows no more.
    `own` is the visitor's model of this name, `model` what the name stands for; both are None where there is none.
    `scores` are the metrics of its x_0 predicted at a state, by the t of the state; at t = 0 those of the sample.
    `classes` are the names of the classes that its samples were asked for, where they were. A refused one has neither
    steps nor samples nor scores.
    """

    name: str
    schedule: Schedule
    own: Denoiser | None
    model: Denoiser | None
    refusal: Refused | None
    steps: tuple[Step, ...] = ()
    sample: Tensor = torch.empty(0)
    scores: dict[int, dict[str, float]] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None

    @property
    def states(self) -> list[Tensor]:
        """x_t (n, *D) of every state that is kept, from noise to data."""
        return [*(step.x_t for step in self.steps), self.sample]

    @property
    def t(self) -> list[int]:
        """The t of these states, on its own schedule."""
        return [*(int(step.t) for step in self.steps), 0]

    @property
    def predicted(self) -> list[Tensor]:
        """The x_0 (n, *D) predicted at each of these states; at the last one the sample itself."""
        return [*(step.x_0 for step in self.steps), self.sample]


@dataclass(frozen=True)
class Scene:
    """A request, what its names stand for, and what each denoiser makes of it at the states `t`, from noise to data."""

    request: Request
    source: Source
    schedule: Schedule
    t: list[int]
    panels: tuple[Panel, ...]

    @property
    def signal(self) -> list[float]:
        """a_t = sqrt(alpha_bar) of every state."""
        return self.schedule.alpha_bar[self.t].sqrt().tolist()

    @property
    def noise(self) -> list[float]:
        """sigma_t = sqrt(1 - alpha_bar) of every state."""
        return (1 - self.schedule.alpha_bar[self.t]).sqrt().tolist()

    @property
    def nbytes(self) -> int:
        """The bytes of all states that are kept, and of the x_0 predicted there."""
        return sum(x.nbytes for panel in self.panels if panel.steps for x in panel.states + panel.predicted)

    def panel(self, name: str) -> Panel:
        """The panel of a denoiser; Refused where it has no samples."""
        found = next(panel for panel in self.panels if panel.name == name)
        if found.refusal:
            raise found.refusal
        return found

    def check(self) -> None:
        """Refused, with the first reason, where every denoiser refused."""
        refusals = [panel.refusal for panel in self.panels if panel.refusal]
        if len(refusals) == len(self.panels):
            raise refusals[0]


def stepwise(
    session: Session, request: Request, t: Collection[int] | None = None, scored: Collection[int] = ()
) -> Iterator[Progress | Scene]:
    """How far the scene of a request is, after every step, and in the end the scene.

    `t` are the states that are kept, all unless given; 0 is always among them. `scored` are the states whose x_0 is
    scored against the law, where there is one.
    """
    source, schedule = session.source(request.data), session.schedule(request)
    kept = sorted({*(range(request.start, -1, -1) if t is None else t), 0}, reverse=True)
    panels, done, of = [], 0, sum(request.walked(name).start for name in request.denoisers)
    for name in request.denoisers:
        own, model, walked = session.adopted.get(name), None, dict[int | Tensor, Step]()
        asked = request.walked(name)
        walks, stands, end = session.schedule(asked), standing(kept, request.T, asked.T), done + asked.start
        try:
            model = session.model(request, name)
            for step in session.run(request, name):
                done += 1
                yield Progress(done, of, name)
                if step.t in stands.values():
                    walked[step.t] = step
        except Refused as error:
            panels.append(Panel(name, walks, own, model, error))
            yield Progress(done := end, of, name)
            continue
        steps = {t: walked[own_t] for t, own_t in stands.items() if t}
        predicted = {t: one.x_0 for t, one in steps.items()} | {0: step.x_s}
        scores = {t: session.score(request, predicted[t]) for t in predicted if source.law and t in scored}
        made, classes = tuple(steps.values()), session.classes(request, name)
        panels.append(Panel(name, walks, own, model, None, made, step.x_s, scores, classes))
    yield Scene(request, source, schedule, kept, tuple(panels))


def spread(last: int, most: int, first: int = 0) -> list[int]:
    """At most `most` whole numbers from `first` to `last`, both among them, evenly spread and rising."""
    return sorted({round(v) for v in np.linspace(first, last, min(most, last - first + 1))})


def standing(kept: Collection[int], T: int, own: int) -> dict[int, int]:
    """Where a chain of `own` steps stands while one of T steps is at each of these t: before the step that it is in."""
    return {t: -(-t * own // T) for t in kept}


def scene(session: Session, request: Request, t: Collection[int] | None = None, scored: Collection[int] = ()) -> Scene:
    """The scene of a request in one go. If one denoiser refuses, the others still have their panels."""
    *_, found = stepwise(session, request, t, scored)
    assert isinstance(found, Scene)  # the last one
    return found
