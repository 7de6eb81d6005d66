"""The noise levels that a network was trained on, and what to choose instead of a schedule that has others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import Refused
from .schedule import CURVES, FAMILIES, Schedule

__all__ = ["Levels"]

ROUNDING = 0.01  # of a log-SNR, in nats: a level that is further off is another one


@dataclass(frozen=True)
class Levels:
    """The log-SNRs a network was trained on: every value from the lowest to the highest, or `values` alone.

    A schedule with some of these is accepted. A DDGAN trained for T steps alone then takes longer steps than it
    learned, and may draw worse; regression does not mind.
    """

    values: tuple[float, ...]
    continuous: bool

    def check(self, schedule: Schedule) -> None:
        """Refused where x_1, ..., x_T of the schedule has a level outside these: the sentence says what to choose."""
        if not self._know(schedule):
            raise Refused(self._between(schedule) if self.continuous else self._alone(schedule))

    def _know(self, schedule: Schedule) -> bool:
        asked, known = self._levels(schedule)
        if self.continuous:
            off = torch.relu(known.min() - asked) + torch.relu(asked - known.max())
        else:
            off = (asked[:, None] - known).abs().min(1).values
        return bool(off.max() <= ROUNDING)

    def _levels(self, schedule: Schedule) -> tuple[Tensor, Tensor]:
        """The levels that the schedule asks for, from x_1 to x_T, and those that are known."""
        asked = schedule.level(torch.arange(1, schedule.T + 1))
        return asked, torch.tensor(self.values, dtype=asked.dtype)

    def _between(self, schedule: Schedule) -> str:
        """What to choose of a schedule that leaves the range of levels."""
        family, span = schedule.family, schedule.span
        if family in CURVES:  # the level of x_1 rises with T
            most, too_many = 0, schedule.T
            while too_many - most > 1:
                T = (most + too_many) // 2
                most, too_many = (T, too_many) if self._know(Schedule.named(family, T, span)) else (most, T)
            if most:
                of = family + " with this range" * (span != FAMILIES[family].default)
                steps = "1 step" if most == 1 else f"up to {most} steps"
                return f"this model knows {steps} of {of}: choose {most}" + " or fewer" * (most > 1)
        asked, known = self._levels(schedule)
        little = bool(asked.max() > known.max() + ROUNDING)
        noise, where, end = ("little", "x_1", "ends with more") if little else ("much", "x_T", "begins with less")
        return (
            f"this model knows no data with as {noise} noise as {where} of this schedule has "
            f"(log-SNR {asked.max() if little else asked.min():.1f}; it knows {known.min():.1f} to {known.max():.1f}): "
            f"choose a range that {end} noise, or another schedule"
        )

    def _alone(self, schedule: Schedule) -> str:
        """What to choose where the schedule is not the one that was learned."""
        n = len(self.values)
        for family in dict.fromkeys(name for name in (schedule.family, "vp") if name in CURVES):
            known = [str(T) for T in range(1, n + 1) if n % T == 0 and self._know(Schedule.named(family, T))]
            if known:
                steps = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
                return f"this model knows {family} with T = {steps} alone: choose " + (
                    "one of these" if len(known) > 1 else "that"
                )
        return (
            f"this model knows only the levels of its own schedule, which has T = {n} (log-SNR "
            f"{', '.join(f'{level:.2f}' for level in self.values)}): choose that"
        )
