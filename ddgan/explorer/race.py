"""The race: how near to a law every method comes, by how many evaluations it takes, on one noise and one schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..diffusion.solver import Flow
from ..errors import Refused
from .methods import METHODS
from .request import Request
from .session import Session

__all__ = ["STEPS", "Entry", "Now", "Race", "steps"]

STEPS = (1, 2, 4, 8, 16, 32, 64)
OF_POINTS = [name for name in METHODS if name != "official"]  # which is of images alone


class Entry(NamedTuple):
    """A method in T steps and `nfe` evaluations: what Session.score gives its samples, or {} and its refusal."""

    method: str
    T: int
    nfe: int
    scores: Mapping[str, float]
    refusal: Refused | None = None


class Now(NamedTuple):
    """What is being computed, and the share of a race's evaluations that is done."""

    method: str
    T: int
    done: float


class Race:
    """All methods on the law of `data` under a schedule. What is computed stays in `entries`, in the order it came."""

    def __init__(self, session: Session, data: str, schedule: str) -> None:
        self.session, self.data, self.schedule = session, data, schedule
        self.entries: dict[tuple[str, int], Entry] = {}
        self.absent: dict[str, Refused] = {}  # methods whose model is not here

    def run(self) -> Iterator[Now]:
        """Compute the entries that are missing, fewest steps first; a `Now` before each and after each of its steps."""
        here = self._present()
        runs = [(T, name) for T in STEPS for name in here if T in steps(name)]
        whole, done = sum(METHODS[name].solver.nfe(T) for T, name in runs), 0
        for T, name in runs:
            if (name, T) not in self.entries:
                for part in self._tried(name, T):
                    yield Now(name, T, (done + part) / whole)
            done += METHODS[name].solver.nfe(T)

    def _tried(self, name: str, T: int) -> Iterator[int]:
        """Compute one entry; yields how many of its evaluations are done."""
        request, scores, refusal, done = self.request(name, T), {}, None, 0
        yield done
        try:
            self.session.able(request, name)
            for step in self.session.run(request, name):
                done += step.nfe
                yield done
            scores = self.session.score(request, step.x_s)
        except Refused as error:
            refusal = error
        self.entries[name, T] = Entry(name, T, METHODS[name].solver.nfe(T), scores, refusal)

    def request(self, method: str, T: int) -> Request:
        """The request whose samples an entry judges."""
        return Request(data=self.data, denoisers=(method,), T=T, schedule=self.schedule)

    def _present(self) -> list[str]:
        """The methods of OF_POINTS whose model is here; the others come into `absent`."""
        absent = {}
        for name in OF_POINTS:
            try:
                self.session.model(self.request(name, 1), name)
            except Refused as error:
                absent[name] = error
        self.absent = absent
        return [name for name in OF_POINTS if name not in absent]


def steps(method: str) -> tuple[int, ...]:
    """The T that a method is tried with: the exact flow map has one, for more of its steps end where one does."""
    return STEPS[:1] if isinstance(METHODS[method].solver, Flow) else STEPS
