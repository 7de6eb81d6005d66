"""Which steps of a schedule are trained: pairs of levels s < t, one an item."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..diffusion.levels import Levels
from ..diffusion.schedule import Schedule
from ..errors import Refused, wanted

__all__ = ["TOP", "Anywhere", "Consecutive", "Pairs"]


TOP = 0.15  # the share of the t of Anywhere that are the last


@runtime_checkable
class Pairs(Protocol):
    """Which steps of a schedule are trained."""

    schedule: Schedule

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """n pairs (s, t), s < t, each (n,)."""

    def levels(self) -> Levels:
        """The levels that are drawn as t: what the denoiser is made for."""


class Consecutive:
    """Pairs (t - 1, t) of a schedule; the step to clean data, the only one that must be sharp, is drawn most.

    Refused for a share `clean` of that step which leaves none to it, or to the others.
    """

    def __init__(self, schedule: Schedule, clean: float = 0.6) -> None:
        wanted(Schedule, "Schedule.vp(4)", schedule)
        if schedule.T > 1 and not 0 < clean < 1:
            raise Refused(
                f"clean must be above 0 and below 1, so that every one of {schedule.T} steps is trained, got {clean:g}"
            )
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
        return Levels(tuple(self.schedule.level(torch.arange(1, self.schedule.T + 1)).tolist()), continuous=False)


class Anywhere:
    """Pairs from a fine schedule: t anywhere above `first`, sometimes the last; s = 0 or uniform below t.

    Half of the t are uniform, half log-uniform, since the last steps of long chains start at small t. Refused where
    `first`, a share of T, or `clean`, that of s = 0, is outside 0..1.
    """

    def __init__(self, schedule: Schedule, first: float = 0.02, clean: float = 0.5) -> None:
        wanted(Schedule, "Schedule.vp(1000)", schedule)
        if not (0 <= first <= 1 and 0 <= clean <= 1):
            raise Refused(f"first and clean are shares in 0..1, got {first:g} and {clean:g}")
        self.schedule, self.clean = schedule, clean
        self.first = max(1, round(first * schedule.T))

    def draw(self, n: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `Pairs`."""
        u, v, at_top, at_zero = torch.rand(4, n, generator=noise, device=noise.device, dtype=torch.float64)
        T, first = self.schedule.T, self.first
        t = torch.where(u < 0.5, first + 2 * u * (T - first), first * (T / first) ** (2 * u - 1)).round().long()
        t = t.masked_fill(at_top < TOP, T)
        s = (v * t).long()
        # the cleanest s that is ever asked for is x_0 or a level that some schedule can start from
        return s.masked_fill((at_zero < self.clean) | (s < first), 0), t

    def levels(self) -> Levels:
        """Everything from `first` to T."""
        ends = self.schedule.level(torch.tensor([self.first, self.schedule.T]))
        return Levels(tuple(ends.tolist()), continuous=True)
