"""What could this x_t have been? The conditional laws at one point: the truth, and what each denoiser draws there.

For data that is a Gaussian mixture q(x_0 | x_t) and q(x_s | x_t) are mixtures in closed form (mixture.py). A denoiser's
law at the same x_t is known through draws of it: many z, and for x_s many eps. Distances between the two come with
their noise floor, the same distance between two sets of exact draws.

Given x_t, the best discriminator of a step, where no penalty holds its slope down, is the log ratio of the truth to what the
generator draws,

    D*(x_s, x_t) = log q(x_s | x_t) - log p(x_s | x_t)        (Goodfellow et al. 2014, prop. 1)

which is 0 everywhere once the generator is right; an estimate of it from draws is so only nearly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .metrics import coverage, energy_distance, mode_distance
from .mixture import Law, lattice
from .sampler import Draws, reverse_step
from .request import Request, number, whole
from .session import Session

__all__ = ["Answer", "Question", "ask", "gaps", "kernel_density", "log_ratio", "weights"]

DRAWS = 800
MANY = 8_000  # draws of a density: with fewer, what chance makes of exact draws looks like an error
REACH = 6.0  # |x| of a point that may be asked about
VISIBLE = 0.01  # a mode counts from this probability
WIDTHS = [0.015 * 1.6**k for k in range(9)]
TARGETS = ("x_0", "x_s")


@dataclass(frozen=True)
class Question:
    """The law of `of` (x_0 | x_s) given x_t = x, for the step from t of a request."""

    request: Request
    t: int
    x: tuple[float, ...]
    of: str = "x_0"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Question:
        """The question of JSON values {query, t, x, of}; ValueError, in one sentence, for anything else."""
        if not isinstance(values, Mapping):
            raise ValueError("a question must have query, t, x and of")
        request = Request.from_query(str(values.get("query", "")))
        x, of = values.get("x"), values.get("of", "x_0")
        n = math.prod(request.shape)
        if not isinstance(x, (list, tuple)) or len(x) != n:
            raise ValueError(f"x must be {n} numbers, got {str(x)[:40]!r}")
        if of not in TARGETS:
            raise ValueError(f"of must be x_0 or x_s, got {str(of)[:40]!r}")
        x = tuple(number("x", v) for v in x)
        if max(map(abs, x)) > REACH:
            raise ValueError(f"x must be within -{REACH:g}..{REACH:g}, got {', '.join(f'{v:g}' for v in x)}")
        return cls(request, whole("t", values.get("t"), 1, request.T), x, of)

    def truth(self, session: Session) -> Law:
        """The exact law that is asked for."""
        return session.law(self.request.data).given(torch.tensor(self.x), *self._levels())

    def _levels(self) -> tuple[Tensor, Tensor]:
        schedule = self.request.steps()
        return schedule.level(self.t - 1 if self.of == "x_s" else 0), schedule.level(self.t)


class Answer(NamedTuple):
    """`truth`, how many modes of the data x_t may come from, and two numbers in nats: `entropy`, of their weights, and `gap`,
    from the truth to its best Gaussian.

    `draws` (DRAWS, *D) by denoiser, or the sentence with which it refuses. `distances` and `floor`: the share on a
    component of the truth, and total variation of the mode weights and energy distance to it.
    """

    truth: Law
    modes: int
    entropy: float
    gap: float
    draws: dict[str, Tensor | str]
    distances: dict[str, dict[str, float]]
    floor: dict[str, float]


@torch.no_grad()
def ask(session: Session, question: Question, seed: int = 0) -> Answer:
    """The answer of the truth and of every denoiser of the request, on the same z and eps; another `seed`, other noise."""
    truth = question.truth(session)
    p = truth.mode_weights()
    noise = torch.Generator().manual_seed(seed)
    exact, other = truth.sample(DRAWS, noise), truth.sample(DRAWS, noise)
    answers = {name: _draws(session, question, name, seed) for name in question.request.denoisers}
    return Answer(
        truth,
        int((p >= VISIBLE).sum()),
        abs(float(torch.xlogy(p, p).sum())),  # and no -0
        max(truth.gap(), 0.0),
        answers,
        {name: _distances(x, exact, truth) for name, x in answers.items() if isinstance(x, Tensor)},
        _distances(other, exact, truth),
    )


def _draws(session: Session, question: Question, name: str, seed: int = 0, n: int = DRAWS) -> Tensor | str:
    request, schedule = question.request, question.request.steps()
    try:
        model = session.model(request, name)
        model.check(schedule)
    except ValueError as error:
        return str(error)
    draws = Draws.from_seeds(range(seed * n, (seed + 1) * n), (len(question.x),), 1, model.latent_dim)
    x_t = torch.tensor(question.x).expand(n, -1)
    step = reverse_step(schedule, model, x_t, question.t - 1, question.t, z=draws.z[0], eps=draws.eps[0])
    drawn = step.x_0 if question.of == "x_0" else step.x_s
    return drawn if drawn.isfinite().all() else "its samples are not finite"


def kernel_density(x: Tensor) -> Law:
    """A kernel density estimate of draws x (N, *D): equal Gaussians on them, of the one of WIDTHS that suits them best.

    They make most likely what was left out, by the mean over draws of the log density that all others give, without the
    least likely twentieth, or a few strays would decide. Of widths that only chance tells apart it is the widest.
    Source: Duin, "On the choice of smoothing parameters for Parzen estimators" (1976).
    """
    some = torch.arange(0, len(x), 4)
    squared = torch.cdist(x[some].flatten(1), x.flatten(1)).square()
    squared[torch.arange(len(some)), some] = torch.inf
    n = x[0].numel()
    others = [torch.exp((-0.5 * squared / h**2).clamp(min=-80)).sum(1) / h**n for h in WIDTHS]  # float32 ends at e^-87
    fits = [density.log().sort().values[len(some) // 20 :].mean() for density in others]
    return Law.uniform(x, max(h for h, fit in zip(WIDTHS, fits, strict=True) if fit >= max(fits) - 0.05))


def _distances(x: Tensor, exact: Tensor, truth: Law) -> dict[str, float]:
    return {
        "on_mode": coverage(x, truth).on_mode,
        "modes": mode_distance(x, truth),
        "energy": energy_distance(x, exact),
    }


def weights(truth: Law) -> list[tuple[Tensor, float]]:
    """(the mean of its most probable component, its probability) of every visible mode of a law, the heaviest first."""
    of = truth.mode_weights()
    modes = [m for m in of.argsort(descending=True) if of[m] >= VISIBLE]
    return [(truth.mu[torch.where(truth.mode == m, truth.log_w, -math.inf).argmax()], float(of[m])) for m in modes]


@torch.no_grad()
def gaps(session: Session, question: Question, points: Tensor) -> Tensor:
    """KL(q || its best Gaussian) in nats where x_t is each of the points (N, *D): where the assumption of DDPM fails."""
    law = session.law(question.request.data)
    return law.reverse(points, *question._levels()).gap().clamp(min=0)


@torch.no_grad()
def log_ratio(session: Session, question: Question, axis: Tensor, blur: float) -> tuple[Tensor, Tensor | None, Tensor]:
    """(D*, D, seen) over the lattice axis^n of x_s: optimal log ratio, trained discriminator, and how visible it is.

    p is estimated from MANY of the DDGAN's draws, each widened by the step's own noise; `blur` is added to both laws, since
    the last step has none. D is None where none was kept; `seen` is q + p over its maximum. ValueError where there is
    no DDGAN for this request.
    """
    request, schedule = question.request, question.request.steps()
    x_0 = _draws(session, replace(question, of="x_0"), "ddgan", n=MANY)
    if isinstance(x_0, str):
        raise ValueError(x_0)
    x_t = torch.tensor(question.x)
    step = schedule.posterior(x_0, x_t.expand(len(x_0), -1), question.t - 1, question.t)
    q = replace(question, of="x_s").truth(session).widened(blur).on_grid(axis)
    p = Law.uniform(step.mean, math.sqrt(float(step.var.max()))).widened(blur).on_grid(axis)
    network = session.discriminator(request.data)
    if network is not None:
        points = lattice(axis.float(), len(question.x))
        levels = (schedule.level(t, points[:1]) for t in (question.t - 1, question.t))
        network = network(points, x_t[None], *levels).reshape(q.shape)
    tiny = 1e-6 * (q + p).max()
    return ((q + tiny) / (p + tiny)).log(), network, (q + p) / (q + p).max()
