"""What is asked for: frozen, read from a URL, a JSON body or a command line by one parser, and written back to a URL.

A `Request` decides a picture: the same request gives the same arrays wherever it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from torch import Tensor

from ..data.images import SETS, decode_pixels, from_uint8
from ..data.points import POINTS_PREFIX, decode_points
from ..data.toys import TOYS, law_of
from ..diffusion.sampler import MAX_N
from ..diffusion.schedule import MAX_T, Schedule, span_of
from ..errors import Refused
from .labels import ANY
from .methods import METHODS, Method, method_of
from .parse import names_of, number, text_of, whole

__all__ = ["IMAGE_DEFAULTS", "MAX_WORK", "OWN", "Edit", "Fork", "Request", "forked", "link", "still_forked", "unforked"]

OWN = re.compile("own-[0-9a-f]{16}")  # a visitor's model: Session.adopt
# what a request for images asks for by itself
IMAGE_DEFAULTS: dict[str, Any] = {"denoisers": ("ddgan", "regression"), "n": 9}
MAX_FORKS = 64
MAX_LABEL = 255  # characters of a class's name, which may be a folder's
# of one request that does not come from this machine: images; times steps x denoisers
MAX_IMAGES, MAX_IMAGE_WORK = 64, 4000
MAX_WORK = 20_000_000  # points x steps x denoisers of one request
MAX_PRICE = 1_500_000_000  # of one that does not come from this machine: some ten seconds of one core
NETWORK = 300  # with how many components of a law a denoiser of CLOSED takes as long as a network
WHOLE, PART = 64, 5  # evaluations of the mean of an integrated flow: of its whole way, twice, and of each step besides


class Fork(NamedTuple):
    """Other noise at one step: `seed` draws `what` (z | eps) of the step from t, for one item or, if None, for all."""

    what: str
    t: int
    seed: int
    item: int | None = None

    def __str__(self) -> str:
        return ".".join(str(part) for part in self if part is not None)


class Edit(NamedTuple):
    """Begin at the x_t of an image instead of at noise. `image` holds its pixels as data.images.encode_pixels."""

    t: int
    image: str

    def __str__(self) -> str:
        return f"{self.t}.{self.image}"

    def in_steps(self, T: int, of: int) -> Edit:
        """The same image in T steps instead of `of`, with as nearly the same noise as they allow."""
        return self._replace(t=min(max(round(self.t * T / of), 1), T))

    def x_0(self, shape: tuple[int, ...]) -> Tensor:
        """The image, (1, C, H, W) in [-1, 1]."""
        return from_uint8(decode_pixels(self.image, shape)[None])


@dataclass(frozen=True)
class Request:
    """What to sample. Sample i has seed seeds(seed, n)[i].

    `data` is the name of a toy or of an image set, or it holds points (data.points.encode_points). A local caller may
    also name a file (data/tables.py). `span` is the (lo, hi) of the schedule's family; None is the default. `forks`
    change the noise of single steps, in this order; the states before a changed step stay, bit for bit. With an `edit`
    the steps begin at the x_t of an image. `eta` belongs to DDIM; None is 0. With the `budget` "nfe", T counts
    evaluations instead of steps: a solver that evaluates twice a step takes half as many. `label` (labels.py) is for
    models that know classes: the name or index of a class, "any", or None: a class of its own for each sample, or
    "any" with an edit, whose image is of some class already.
    """

    data: str = "25-gaussians"
    denoisers: tuple[str, ...] = ("exact", "ddgan", "gaussian")
    T: int = 4
    schedule: str = "vp"
    span: tuple[float, float] | None = None
    seed: int = 0
    n: int = 2000
    forks: tuple[Fork, ...] = ()
    edit: Edit | None = None
    eta: float | None = None
    budget: str | None = None
    label: str | None = None

    @property
    def start(self) -> int:
        """The t of the first state: T, or that of the edit."""
        return self.edit.t if self.edit else self.T

    @property
    def told(self) -> str | None:
        """The class that models are told: `label`; none of their own for samples that begin with an edit's image."""
        return ANY if self.edit and self.label is None else self.label

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample; Refused where the data is a file."""
        return tuple(SETS.get(self.data) or law_of(self.data).shape)

    @property
    def own(self) -> int:
        """How many points the data name holds itself."""
        return len(decode_points(self.data)) if self.data.startswith(POINTS_PREFIX) else 0

    def afford(self, samplings: int = 1, *, local: bool = False) -> None:
        """Refused, in one sentence, where so many samplings of the request are too much work."""
        times = " x samplings" if samplings > 1 else ""
        nfe = {name: method_of(name).solver.nfe(self.walked(name).T) for name in self.denoisers}
        work = self.n * sum(nfe.values()) * samplings
        if work > MAX_WORK:
            raise Refused(f"n x T x denoisers{times} is limited to {MAX_WORK:,}, got {work:,}")
        if local:
            return
        if self.data in SETS:
            if self.n > MAX_IMAGES:
                raise Refused(f"at most {MAX_IMAGES} images are drawn at a time, got n = {self.n}")
            if work > MAX_IMAGE_WORK:
                raise Refused(f"images x T x denoisers{times} is limited to {MAX_IMAGE_WORK:,}, got {work:,}")
            return
        law = law_of(self.data)
        components, whole = len(law.mu), law.lines is None
        evaluations = {**nfe, **({"flow": WHOLE + PART * nfe["flow"]} if "flow" in nfe and whole else {})}
        each = (n * (components if method_of(name).closed else NETWORK) for name, n in evaluations.items())
        price = self.n * samplings * sum(each)
        if price > MAX_PRICE:
            raise Refused(
                f"n x T{times} x {components} for each closed-form denoiser, the components of this law, "
                f"and {NETWORK} for each network is limited to {MAX_PRICE:,}, got {price:,}"
            )

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, local: bool = False) -> Request:
        """The request of a mapping of strings or JSON values.

        Absent keys keep their defaults, for image sets IMAGE_DEFAULTS.
        `denoisers`, `span` and `forks` (`z.2.7` or `eps.2.7.15`: what, t, seed, item) may be lists or comma-separated,
        `edit` is `2.PIXELS` (t, image).
        Refused, in one sentence, for anything that is unknown, of another kind, not finite, out of range or too
        much work. Only `local` callers may name files.
        """
        default = cls(**IMAGE_DEFAULTS) if values.get("data") in list(SETS) else cls()
        if values.get("data") == "stackedmnist":  # whose learned Gaussian is not shipped
            default = replace(default, denoisers=("ddgan",))
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise Refused(f"a request has no field {sorted(map(str, unknown))[0]!r}")
        request = cls(
            data=text_of("data", values.get("data", cls.data)),
            denoisers=tuple(names_of("denoisers", values.get("denoisers", default.denoisers))),
            T=whole("T", values.get("T", cls.T), 1, MAX_T),
            schedule=text_of("schedule", values.get("schedule", cls.schedule)),
            span=_span(values.get("span")),
            seed=whole("seed", values.get("seed", cls.seed), 0, 2**31 - 1),
            n=whole("n", values.get("n", default.n), 1, MAX_N),
            eta=_eta(values.get("eta")),
            budget=_budget(values.get("budget")),
            label=_label(values.get("label")),
        )
        if not request.own and not local and request.data not in TOYS and request.data not in SETS:
            raise Refused(f"data must be one of {', '.join([*TOYS, *SETS])}, got {request.data[:40]!r}")
        if not request.denoisers or len(set(request.denoisers)) < len(request.denoisers):
            raise Refused("choose one or more denoisers, each once")
        for name in request.denoisers:
            if name not in METHODS and not OWN.fullmatch(name):
                raise Refused(f"a denoiser must be one of {', '.join(METHODS)}, got {name[:40]!r}")
        span_of(request.schedule, request.T, request.span)
        request.afford(local=local)
        request = replace(request, edit=_edit(values.get("edit", ""), request))
        return request.with_forks(values.get("forks", ""))

    def with_forks(self, forks: Any) -> Request:
        """The same with these forks, a list or a text with commas."""
        return replace(self, forks=_forks(forks, self))

    @classmethod
    def from_query(cls, query: str) -> Request:
        """The request of a URL query string; parameters that are not ours are left alone."""
        known = {field.name for field in fields(cls)}
        return cls.parse({key: value for key, value in parse_qsl(query) if key in known})

    def to_dict(self) -> dict[str, Any]:
        """The request as JSON can hold it; `parse` reads it back."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["forks"] = tuple(map(str, self.forks))
        values["edit"] = self.edit and str(self.edit)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items() if v is not None and v != ()}

    def to_words(self) -> dict[str, str]:
        """The request as a link and a command line hold it; `parse` reads it back."""
        return {k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in self.to_dict().items()}

    def to_query(self) -> str:
        """The request as a URL query string; `from_query` reads it back."""
        return urlencode(self.to_words(), safe=",")

    def method(self, name: str, objective: str = "") -> Method:
        """How a denoiser of the request walks; `objective` is what a visitor's own model was trained by."""
        return method_of(name, self.eta or 0.0, objective)

    def walked(self, name: str) -> Request:
        """The request as this denoiser walks it: the same, or of fewer steps where the budget allows no more."""
        steps = method_of(name).steps(self.T, self.budget)
        return self if steps == self.T else replace(self, T=steps, budget=None, forks=())

    def named_schedule(self) -> Schedule:
        """The schedule that this request walks; Refused for the optimal one, which Session.schedule finds."""
        return _schedule(self.schedule, self.T, self.span)


def link(request: Request, address: str = "") -> str:
    """The address of the page that shows the request; without the page's own address, from its `?` on."""
    return f"{address}?{request.to_query()}"


@lru_cache(maxsize=64)
def _schedule(family: str, T: int, span: tuple[float, float] | None) -> Schedule:
    """Made once: parsing asks for it, and asks again where a request is checked before it waits."""
    return Schedule.named(family, T, span)


def forked(forks: str, what: str, t: Any, item: Any = None) -> str:
    """A request's forks, as in a link, with one more: new noise at the step from t, for one item or for all."""
    before = forks.split(",") if forks else []
    one = "" if item is None else f".{item}"
    return ",".join([*before, f"{what}.{t}.{len(before) + 1}{one}"])


def unforked(forks: str) -> str:
    """The forks without the last one."""
    return forks.rpartition(",")[0]


def still_forked(shown: Request, asked: Request) -> str:
    """The forks of `shown`, as in a link, if `asked` differs from it in its denoisers alone; else none."""
    same = replace(asked, denoisers=shown.denoisers, forks=()) == replace(shown, forks=())
    return ",".join(map(str, shown.forks)) if same else ""


def _forks(value: Any, request: Request) -> tuple[Fork, ...]:
    forks = []
    for text in names_of("forks", value) if value else []:
        what, *numbers = text.split(".")
        if what not in ("z", "eps") or len(numbers) not in (2, 3):
            raise Refused(f"a fork must be like z.2.7 or eps.2.7.15 (what, t, seed, item), got {text[:40]!r}")
        bounds = {"t": (1, request.T), "seed": (0, 2**31 - 1), "item": (0, request.n - 1)}
        found = (whole(f"a fork's {k}", v, *bounds[k]) for k, v in zip(bounds, numbers, strict=False))
        forks.append(Fork(what, *found))
    if len(forks) > MAX_FORKS:
        raise Refused(f"at most {MAX_FORKS} forks are followed, got {len(forks)}")
    return tuple(forks)


def _edit(value: Any, request: Request) -> Edit | None:
    if not value:
        return None
    if request.data not in SETS:
        raise Refused(f"an edit begins with an image of {', '.join(SETS)}, the data is {request.data[:40]!r}")
    t, _, image = text_of("edit", value).partition(".")
    decode_pixels(image, SETS[request.data])
    return Edit(whole("an edit's t", t, 1, request.T), image)


def _eta(value: Any) -> float | None:
    if value in (None, ""):
        return None
    if not 0 <= (eta := number("eta", value)) <= 1:
        raise Refused(f"eta must be in 0..1, got {eta:g}")
    return eta


def _budget(value: Any) -> str | None:
    if value in (None, "", "T"):
        return None
    if value != "nfe":
        raise Refused(f"budget must be T or nfe, got {str(value)[:40]!r}")
    return "nfe"


def _label(value: Any) -> str | None:
    """Which classes there are is known to the model alone."""
    if value in (None, ""):
        return None
    label = str(value) if type(value) is int and 0 <= value < 10_000 else text_of("label", value)
    if len(label) > MAX_LABEL:
        raise Refused(f"label must have at most {MAX_LABEL} characters, got {len(label):,}")
    return label


def _span(value: Any) -> tuple[float, float] | None:
    if value in (None, ""):
        return None
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or len(items) != 2:
        raise Refused(f"span must be two numbers, got {str(value)[:40]!r}")
    return number("span", items[0]), number("span", items[1])
