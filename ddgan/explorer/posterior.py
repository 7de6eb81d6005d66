"""What could this x_t have been? The conditional laws at one point: the truth, and what each denoiser draws there.

For data that is a Gaussian mixture q(x_0 | x_t) and q(x_s | x_t) are mixtures in closed form (mixture.py). A denoiser's
law at the same x_t is known through draws of it: many z, and for x_s many eps. Distances between the two come with
their noise floor, the same distance between two sets of exact draws.

Given x_t, the best discriminator of a step, where no penalty holds its slope down, is the log ratio of the truth to
what the generator draws,

    D*(x_s, x_t) = log q(x_s | x_t) - log p(x_s | x_t)        (Goodfellow et al. 2014, prop. 1)

which is 0 everywhere once the generator is right; an estimate of it from draws is so only nearly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ..data.toys import law_of
from ..diffusion.mixture import Law, lattice
from ..diffusion.sampler import Draws
from ..errors import Refused
from ..metrics.energy import energy_distance
from ..metrics.points import coverage, mode_distance
from .methods import METHODS
from .parse import number, whole
from .plane import centres, width
from .request import Request
from .session import Session

__all__ = [
    "LATTICE",
    "MANY",
    "SIDE",
    "Answer",
    "Fold",
    "ImageQuestion",
    "Landscape",
    "Question",
    "ask",
    "fold",
    "gaps",
    "kernel_density",
    "landscape",
    "log_ratio",
    "weights",
]

DRAWS = 800
MANY = 8_000  # draws of a density: with fewer, what chance makes of exact draws looks like an error
REACH = 6.0  # |x| of a point that may be asked about, unless the data's view is wider
VISIBLE = 0.01  # a mode counts from this probability
WIDTHS = [0.015 * 1.6**k for k in range(9)]
TARGETS = ("x_0", "x_s")
SIDE, ZOOM = 128, 6  # of a landscape: points of the lattice along an axis; how often the plane may be halved at most
LATTICE = 97  # points of the plane of z, each way
BLUR = 1 / 96  # of half the width of a landscape: the std that hides no mode between points, as in the flat pictures


@dataclass(frozen=True)
class Question:
    """The law of `of` (x_0 | x_s) given x_t = x, for the step from t of a request."""

    request: Request
    t: int
    x: tuple[float, ...]
    of: str = "x_0"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Question:
        """The question of JSON values {query, t, x, of}; Refused, in one sentence, for anything else."""
        if not isinstance(values, Mapping):
            raise Refused("a question must have query, t, x and of")
        return cls.of_request(Request.from_query(str(values.get("query", ""))), values)

    @classmethod
    def of_request(cls, request: Request, values: Mapping[str, Any], law: Law | None = None) -> Question:
        """The same about a request that is parsed already; `law` is that of its data, needed where these are a file."""
        x, of = values.get("x"), values.get("of", "x_0")
        n = math.prod(law.shape if law else request.shape)
        if not isinstance(x, (list, tuple)) or len(x) != n:
            raise Refused(f"x must be {n} numbers, got {str(x)[:40]!r}")
        if of not in TARGETS:
            raise Refused(f"of must be x_0 or x_s, got {str(of)[:40]!r}")
        x = tuple(number("x", v) for v in x)
        if (far := max(map(abs, x))) > REACH and far > (reach := max(REACH, width(law or law_of(request.data)))):
            raise Refused(f"x must be within -{reach:g}..{reach:g}, got {', '.join(f'{v:g}' for v in x)}")
        return cls(request, whole("t", values.get("t"), 1, request.T), x, of)

    @classmethod
    def of_words(cls, request: Request, words: str, law: Law | None = None) -> Question:
        """The same of `at` in a link: t, the coordinates of x, and of, with commas."""
        t, *x = words.split(",")
        if len(x) < 2:
            raise Refused(f"at is t, the coordinates of x_t, and x_0 or x_s, such as 1,0.3,0.2,x_0, got {words[:40]!r}")
        return cls.of_request(request, {"t": t, "x": x[:-1], "of": x[-1]}, law)

    def to_words(self) -> str:
        """`at` of a link; `of_words` reads it back."""
        return ",".join([str(self.t), *(f"{v:g}" for v in self.x), self.of])

    def truth(self, session: Session) -> Law:
        """The exact law that is asked for."""
        return session.law(self.request.data).given(torch.tensor(self.x), *self._levels(session))

    def _levels(self, session: Session) -> tuple[Tensor, Tensor]:
        schedule = session.schedule(self.request)
        return schedule.level(self.t - 1 if self.of == "x_s" else 0), schedule.level(self.t)


@dataclass(frozen=True)
class ImageQuestion:
    """What could x_t of a sample have been, on its way by the denoiser `of` of a request?

    `exact_only` asks for the answer of the training set alone: the models' are known.
    """

    request: Request
    t: int
    item: int
    of: str
    exact_only: bool = False

    @classmethod
    def parse(cls, values: Any) -> ImageQuestion:
        """The question of JSON values {query, step, item, of} and perhaps exact_only; Refused for anything else."""
        if not isinstance(values, Mapping):
            raise Refused("a question must have query, step, item and of")
        request = Request.from_query(str(values.get("query", "")))
        if len(request.shape) != 3:
            raise Refused(
                f"{request.data[:40]} is a set of points, not of images: ask about one x_t of it in Posterior"
            )
        if (of := values.get("of")) not in request.denoisers:
            raise Refused(f"of must be one of {', '.join(request.denoisers)}, got {str(of)[:40]!r}")
        t = whole("step", values.get("step"), 1, request.start)
        item = whole("item", values.get("item"), 0, request.n - 1)
        return cls(request, t, item, of, bool(values.get("exact_only")))

    def x_t(self, session: Session) -> Tensor:
        """The x_t that is asked about, (C, H, W)."""
        steps = session.run(self.request, self.of, slice(self.item, self.item + 1))
        return next(step.x_t[0] for step in steps if step.t == self.t)


class Answer(NamedTuple):
    """`truth`, and the number of `modes` of the data that x_t may come from.

    Two numbers are in nats: `entropy`, that of the modes' weights, and `gap`, from the truth to its best Gaussian.
    `draws` are (DRAWS, *D) by denoiser, or its refusal. `distances` of these draws, and their `floor`, are the share on
    a component of the truth, the total variation of the mode weights and the energy distance.
    """

    truth: Law
    modes: int
    entropy: float
    gap: float
    draws: dict[str, Tensor | Refused]
    distances: dict[str, dict[str, float]]
    floor: dict[str, float]


@torch.no_grad()
def ask(session: Session, question: Question, seed: int = 0) -> Answer:
    """The answer of the truth and of every denoiser of the request, all by the noise of one `seed`."""
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


def _draws(session: Session, question: Question, name: str, seed: int = 0, n: int = DRAWS) -> Tensor | Refused:
    try:
        model = session.able(question.request, name)
    except Refused as error:
        return error
    draws = Draws.from_seeds(range(seed * n, (seed + 1) * n), (len(question.x),), 1, model.latent_dim)
    drawn = _stepped(session, question, name, draws.z[0], draws.eps[0])
    return drawn if drawn.isfinite().all() else Refused("its samples are not finite")


def _stepped(session: Session, question: Question, name: str, z: Tensor, eps: Tensor) -> Tensor:
    """What a denoiser makes of the noise z (N, L) and eps (N, *D) at the x_t of a question, (N, *D)."""
    request, t, x_t = question.request, question.t, torch.tensor(question.x).expand(len(z), -1)
    model, solver = session.model(request, name), session.method(request, name).solver
    step = solver.step(session.schedule(request), model, x_t, t - 1, t, z=z, eps=eps)
    return step.x_0 if question.of == "x_0" else step.x_s


def kernel_density(x: Tensor) -> Law:
    """A kernel density estimate of draws x (N, *D): equal Gaussians on them, of the one of WIDTHS that suits them best.

    The best width has the largest log density of a draw by all other draws, on average over draws. The least likely
    twentieth of them does not count, or a few strays would decide. Of widths that only chance tells apart the widest is
    taken.
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
    """KL(q || its best Gaussian) in nats at each of these x_t (N, *D): large where the assumption of DDPM fails."""
    law = session.law(question.request.data)
    return law.reverse(points, *question._levels(session)).gap().clamp(min=0)


@torch.no_grad()
def log_ratio(session: Session, question: Question, axis: Tensor, blur: float) -> tuple[Tensor, Tensor | None, Tensor]:
    """(D*, D, seen) over the lattice axis^n of x_s: optimal log ratio, trained discriminator, and how visible it is.

    p is estimated from MANY of the DDGAN's draws, each widened by the step's own noise; `blur` is added to both laws,
    since the last step has none. D is None where none was kept; `seen` is q + p over its maximum. Refused where there
    is no DDGAN for this request.
    """
    request, schedule = question.request, session.schedule(question.request)
    question = replace(question, of="x_s")
    p = _drawn(session, question, "ddgan").widened(blur).on_grid(axis)
    q = question.truth(session).widened(blur).on_grid(axis)
    network = session.discriminator(request.data)
    if network is not None:
        points = lattice(axis.float(), len(question.x))
        levels = (schedule.level(t, points[:1]) for t in (question.t - 1, question.t))
        network = network(points, torch.tensor(question.x)[None], *levels).reshape(q.shape)
    tiny = 1e-6 * (q + p).max()
    return ((q + tiny) / (p + tiny)).log(), network, (q + p) / (q + p).max()


def _drawn(session: Session, question: Question, name: str) -> Law:
    """The law of MANY draws of a denoiser: of x_0 they themselves, of x_s the mean of their q(x_s | x_t, x_0).

    The former, and the latter in the last step, have no width. Refused where the denoiser refuses.
    """
    x_0 = _draws(session, replace(question, of="x_0"), name, n=MANY)
    if isinstance(x_0, Refused):
        raise x_0
    if question.of == "x_0":
        return Law.uniform(x_0, 0.0)
    x_t = torch.tensor(question.x).expand(len(x_0), -1)
    step = session.schedule(question.request).posterior(x_0, x_t, question.t - 1, question.t)
    return Law.uniform(step.mean, math.sqrt(float(step.var.max())))


class Fold(NamedTuple):
    """Where a generator takes a square lattice of z: `x` (LATTICE, LATTICE, *D), the lattice's first axis first."""

    name: str
    x: Tensor


@torch.no_grad()
def fold(session: Session, question: Question) -> Fold:
    """Where the DDGAN of a request, or a visitor's own model, takes the plane of z.

    The first two numbers of z are of a lattice whose cells are equally likely, the others are 0, and so is eps.
    Refused where no model of the request reads two numbers.
    """
    if not (ddgans := _ddgans(question.request)):
        raise Refused("the grid of z shows a DDGAN: choose one")
    for name in ddgans:
        if (latent_dim := session.able(question.request, name).latent_dim) > 1:
            break
    else:
        raise Refused(f"the grid of z needs two numbers or more, this model reads {latent_dim}")
    axis = torch.special.ndtri((torch.arange(LATTICE) + 0.5) / LATTICE)
    z = torch.zeros(LATTICE**2, latent_dim)
    z[:, :2] = lattice(axis, 2)
    found = _stepped(session, question, name, z, torch.zeros(len(z), len(question.x)))
    return Fold(name, found.reshape(LATTICE, LATTICE, -1))


def _ddgans(request: Request) -> list[str]:
    """The denoisers of a request that may be DDGANs: ours, and visitors' own models."""
    return [name for name in request.denoisers if name == "ddgan" or name not in METHODS]


class Landscape(NamedTuple):
    """Densities over a square lattice of the plane, (SIDE, SIDE) each, x first, by name.

    `truth`; where the request has a DDGAN, what it draws, under its name; `gaussian`, the best Gaussian of the truth.
    All are densities of x + blur eps. The lattice has the points centre + centres(SIDE, half) along both axes.
    """

    densities: dict[str, Tensor]
    centre: tuple[float, float]
    half: float
    blur: float


@torch.no_grad()
def landscape(session: Session, question: Question) -> Landscape:
    """The landscape of a question about a plane, over all of the view or, where that is enough, a part of it.

    What has no width, such as draws of x_0, gets that of its kernel density estimate; the others are blurred as much,
    so that a generator that is right looks like the truth. Refused where the data lie on a line.
    """
    if len(question.x) != 2:
        raise Refused("a landscape needs two coordinates: on a line, the curves show the same")
    truth, drawn = question.truth(session), {}
    for name in _ddgans(question.request):
        with suppress(Refused):
            drawn[name] = _drawn(session, question, name)
            break
    mean, cov = truth.moments()
    half, centre = _frame(width(session.law(question.request.data)), mean, cov, [truth, *drawn.values()])
    kernels = [kernel_density(law.mu[:DRAWS]).var[0].sqrt() for law in drawn.values() if not law.var.any()]
    blur = math.hypot(half * BLUR, *map(float, kernels))
    moved = {name: replace(law.widened(blur), mu=law.mu - centre) for name, law in {"truth": truth, **drawn}.items()}
    axis = centres(SIDE, half)
    densities = {name: law.on_grid(axis) for name, law in moved.items()}
    best = MultivariateNormal(mean - centre, cov + blur**2 * torch.eye(2))
    densities["gaussian"] = best.log_prob(lattice(axis, 2)).exp().reshape(SIDE, SIDE)
    return Landscape(densities, (float(centre[0]), float(centre[1])), half, blur)


def _frame(limit: float, mean: Tensor, cov: Tensor, laws: list[Law]) -> tuple[float, Tensor]:
    """(half the width, the centre) of a square that holds laws and the best Gaussian: the view, or it halved often."""
    reach = 3 * float(cov.diagonal().max().sqrt())
    for law in laws:
        distance, order = ((law.mu - mean).abs().amax(1) + 3 * law.var.sqrt()).sort()
        last = torch.searchsorted(law.log_w.exp()[order].cumsum(0), 0.99)
        reach = max(reach, float(distance[min(int(last), len(distance) - 1)]))
    halved = min(ZOOM, math.floor(math.log2(limit / reach)))
    return (limit, torch.zeros(2, dtype=torch.float64)) if halved < 1 else (limit / 2**halved, mean)
