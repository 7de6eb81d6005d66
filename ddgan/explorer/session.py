"""From a request to its steps: what the page, the CLI, exports and tests all drain.

A `Session` resolves the names of a `Request` to laws and denoisers, keeping the last few, and runs it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from itertools import tee
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..data.images import SETS, ImageSet, find_images, load_images, set_label
from ..diffusion import gaussianity
from ..diffusion.denoiser import Denoiser
from ..diffusion.mixture import Law
from ..diffusion.sampler import Draws, draw, sample, seeds
from ..diffusion.schedule import Schedule
from ..diffusion.solver import Step
from ..errors import Refused
from ..machine import device, on_gpu, on_loan, precision
from ..metrics.images import NEIGHBOUR, fid, score_set
from ..metrics.points import evaluate, score, slices
from ..models import checkpoint
from ..models.classifier import Classifier
from .catalogue import missing, source_of, training_images, written
from .class_posterior import u_turns
from .image_posterior import redraws
from .kept import Kept
from .labels import ANY, class_names, index, labels
from .methods import CLOSED, METHODS, Method
from .priority import while_wanted
from .request import OWN, Request
from .tree import Branches, tree

__all__ = ["Session"]

MAX_ADOPTED, MAX_OWNED = 64, 8  # visitors' models that are kept, of all and of one
KEPT = 5_000  # points of a reference that is kept, 1.3 MB: as many as the page draws
SCENES = 32 * 2**20  # bytes of scenes that are kept, for what is asked about them next
AT_ONCE = 100  # images that are drawn together, where many are
FEWEST = NEIGHBOUR + 1  # images that are judged: precision and recall look at this neighbour of each

T = TypeVar("T")


def _fresh(found: Callable[..., T], most: int = 32) -> Callable[..., T]:
    """`found` of a data name and more, the last few kept as long as the file of that name stays as it is."""
    known = lru_cache(maxsize=most)(lambda stamp, *asked: found(*asked))
    return lambda data, *more: known(written(data), data, *more)


class Session:
    """Names -> laws and denoisers, the last few kept; requests -> steps."""

    def __init__(self) -> None:
        self.adopted: dict[str, Denoiser] = {}  # in the order of their coming
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()
        self.source = _fresh(source_of)
        self.denoiser = _fresh(self._denoiser, 64)
        self.discriminator = _fresh(self._discriminator)
        self.reference = _fresh(self._reference)
        self.scenes: Kept[Any] = Kept(SCENES, lambda scene: scene.nbytes)  # by their requests
        self._reader, self._reading = ThreadPoolExecutor(1, "reader"), dict[str, Future[ImageSet]]()
        for name in ("_arrays", "_redrawn", "_batches", "_branched", "_turned"):
            setattr(self, name, on_gpu(getattr(self, name)))
        if on_loan():  # models have their place on the GPU before the first call forks
            for data in SETS:
                for name in self.source(data).models:
                    self.denoiser(data, name)

    def _denoiser(self, data: str, name: str) -> Denoiser:
        """A method's model for a data name; Refused where no such model was trained."""
        shape, law, models, *_ = self.source(data)
        if name in CLOSED:
            return CLOSED[name](self.law(data))
        if name not in METHODS:
            if OWN.fullmatch(name):
                raise Refused("this model is no longer here: train it again, or load its file")
            raise Refused(f"a denoiser is one of {', '.join(METHODS)}, got {name[:40]!r}")
        if name not in models:
            others = [f"{other} ({METHODS[other].label})" for other in [*models, *(CLOSED if law else [])]]
            raise Refused(missing(data, name, others))
        denoiser = checkpoint.load(models[name])
        return denoiser.to(device(), precision(device())) if len(shape) == 3 else denoiser

    def law(self, data: str) -> Law:
        """The law of a data name; Refused where it has no closed form."""
        if (law := self.source(data).law) is None:
            raise Refused(f"the law of {set_label(data)} has no closed form: it is a set of images")
        return law

    def images(self, data: str) -> ImageSet | None:
        """The images that a data name's networks learn from, None while they are being read.

        Refused where they are not here.
        """
        with self._lock:  # or two who come first would have it read twice
            if data not in self._reading:
                if data not in SETS or find_images(data) is None:
                    gets = f"python -m ddgan data {data.removeprefix('stacked')}"
                    way = f". Where you run the page yourself, {gets} gets it" if data in SETS else ""
                    raise Refused(
                        f"the exact answer needs the training set of {set_label(data)}, "
                        f"which is not on this machine{way}"
                    )
                self._reading[data] = self._reader.submit(training_images, data)
            reading = self._reading[data]
        if not wait([reading], timeout=0.1).done:
            return None
        if reading.exception():
            self._reading.pop(data, None)  # the next who asks may find it whole
        return reading.result()

    def _discriminator(self, data: str) -> nn.Module | None:
        """The opponent of the data's DDGAN, None where it was not kept."""
        try:
            return checkpoint.load_discriminator(self.source(data).models["ddgan"])
        except (KeyError, Refused):
            return None

    def _reference(self, data: str, n: int) -> np.ndarray:
        """The slices of n samples of the law that distances are measured to: the same for everybody."""
        return slices(self.law(data).sample(n, torch.Generator().manual_seed(1)))

    def adopt(self, denoiser: Denoiser, owner: str = "") -> str:
        """Take in a visitor's model under a name that nobody can guess, `own-...`; the last ones are kept."""
        name = f"own-{secrets.token_hex(8)}"
        with self._lock:
            self.adopted[name], self._owners[name] = denoiser, owner
            mine = [known for known in self.adopted if self._owners[known] == owner]
            for gone in {*mine[:-MAX_OWNED], *list(self.adopted)[:-MAX_ADOPTED]}:
                del self.adopted[gone], self._owners[gone]
        return name

    def model(self, request: Request, denoiser: str) -> Denoiser:
        """The denoiser that this name stands for in a request; Refused where there is none for data of this shape."""
        shape, of = self.source(request.data).shape, request.method(denoiser).model
        model = self.adopted.get(denoiser) or self.denoiser(request.data, of)
        if model.card and model.card["shape"] != list(shape):
            raise Refused(f"this model was trained on data of shape {tuple(model.card['shape'])}, not {tuple(shape)}")
        return model

    def class_names(self, data: str) -> tuple[str, ...]:
        """The names of the classes that a model of this data can be told; empty where none knows any."""
        for path in self.source(data).models.values():
            with suppress(Refused):  # of a damaged card is said where it is to draw
                card = checkpoint.read_card(path)
                if names := class_names(card, card["config"]["classes"]):
                    return names
        return ()

    def classes(self, request: Request, denoiser: str) -> tuple[str, ...] | None:
        """The class that a denoiser draws each sample from, by name.

        None where it knows none, or is to draw from any.
        """
        model = self.model(request, denoiser)
        of = None if request.told == ANY else labels(model, request.told)
        names = class_names(model.card, model.classes)
        return of and tuple(names[k] for k in of(seeds(request.seed, request.n)).tolist())

    def class_redrawn(self, request: Request, denoiser: str) -> str | None:
        """The class, by name, that a denoiser's redraws are of: "any" unless one is asked for.

        None where it knows none.
        """
        if not (model := self.model(request, denoiser)).classes:
            return None
        return (*class_names(model.card, model.classes), ANY)[index(model, request.label or ANY)]

    def able(self, request: Request, denoiser: str) -> Denoiser:
        """The denoiser of this name, where it knows the levels and the class that are asked for; else Refused."""
        model = self.model(request, denoiser)
        model.check(self.schedule(request))
        labels(model, request.told)
        return model

    def schedule(self, request: Request) -> Schedule:
        """The schedule that a request walks; Refused where the optimal one of its data is not known.

        If the data has a law, the optimal one is found for the best Gaussian, else from the learned Gaussian's errors.
        """
        if request.schedule != "optimal":
            return request.named_schedule()
        if law := self.source(request.data).law:
            return gaussianity.optimal(law, request.T, request.span)
        errors = (self.denoiser(request.data, "regression").card or {}).get("errors") or {}
        if not errors.get("levels"):
            raise Refused(
                f"the optimal schedule of {set_label(request.data)} needs the errors of "
                "its learned Gaussian, and its card has none"
            )
        return gaussianity.optimal_for_means(errors["levels"], errors["squared"], request.T, request.span)

    def method(self, request: Request, denoiser: str) -> Method:
        """How this denoiser of a request walks."""
        card = getattr(self.adopted.get(denoiser), "card", None) or {}
        return request.method(denoiser, card.get("config", {}).get("objective", ""))

    def run(self, request: Request, denoiser: str, items: slice = slice(None)) -> Iterator[Step]:
        """The T steps of one denoiser of the request, for all samples or some.

        All denoisers get the same x_T, z and eps.
        """
        if len(self.source(request.data).shape) < 3:
            return while_wanted(self._steps(request, denoiser, items))
        self.able(request, denoiser)
        return while_wanted(step.map(torch.from_numpy) for step in self._arrays(request, denoiser, items))

    def _steps(self, request: Request, denoiser: str, items: slice) -> Iterator[Step]:
        request = request.walked(denoiser)
        model, shape, schedule = self.model(request, denoiser), self.source(request.data).shape, self.schedule(request)
        chosen, given = range(request.n)[items], seeds(request.seed, request.n)[items]
        noise = Draws.from_seeds(given, shape, request.T, model.latent_dim)
        for what, t, seed, item in request.forks:
            of = slice(None) if item is None else [chosen.index(item)] if item in chosen else []
            noise = noise.reroll(what, t, seeds(2**31 + seed, request.n)[items], of)
        if request.edit:
            noise = noise._replace(x_T=schedule.marginal(request.edit.x_0(shape), request.start).at(noise.x_T))
        if of_seeds := labels(model, request.told):
            model = model.given(of_seeds(given))
        return sample(schedule, model, noise, request.start, self.method(request, denoiser).solver)

    def redraws(self, request: Request, denoiser: str, x_t: Tensor, t: int, K: int) -> Tensor:
        """image_posterior.redraws by a denoiser of the request, of the class that is asked for, or else of any."""
        return self.redraws_along(request, denoiser, x_t[None], [t], K)[0]

    def redraws_along(self, request: Request, denoiser: str, x: Tensor, t: Sequence[int], K: int) -> Tensor:
        """The same of several states x (F, C, H, W), each with its t: (F, K, C, H, W)."""
        self.able(request, denoiser)
        return torch.from_numpy(self._redrawn(request, denoiser, x.numpy(), t, K))

    def _redrawn(self, request: Request, denoiser: str, x: np.ndarray, t: Sequence[int], K: int) -> np.ndarray:
        told, schedule = self._told(request, denoiser), self.schedule(request)
        states = zip(torch.from_numpy(x), t, strict=True)
        drawn = (redraws(schedule, told, x_t, at, K) for x_t, at in while_wanted(states))
        return np.stack([x_0.float().numpy() for x_0 in drawn])

    def branches(self, request: Request, denoiser: str, x: Tensor, t: Sequence[int], K: int) -> Branches:
        """explorer.tree of states x (F, C, H, W), each with its t: (F, K, C, H, W).

        The denoiser is told the class that is asked for, or else none.
        """
        self.able(request, denoiser)
        return Branches(*map(torch.from_numpy, self._branched(request, denoiser, x.numpy(), t, K)))

    def _branched(self, request: Request, denoiser: str, x: np.ndarray, t: Sequence[int], K: int) -> list[np.ndarray]:
        told, schedule = self._told(request, denoiser), self.schedule(request)
        solver = self.method(request, denoiser).solver
        found = [
            tree(schedule, told, x_t, at, K, request.seed + 1, solver)
            for x_t, at in while_wanted(zip(torch.from_numpy(x), t, strict=True))
        ]
        return [np.stack([part.float().cpu().numpy() for part in parts]) for parts in zip(*found, strict=True)]

    def u_turns(self, request: Request, denoiser: str, x_0: Tensor, t: Sequence[int], K: int) -> Tensor:
        """class_posterior.u_turns of one image x_0 (C, H, W) at each of these t: (F, K, C, H, W).

        The K noises are the same at every t. The denoiser is told the class that is asked for, or else none.
        """
        self.able(request, denoiser)
        return torch.from_numpy(self._turned(request, denoiser, x_0.numpy(), t, K))

    def _turned(self, request: Request, denoiser: str, x_0: np.ndarray, t: Sequence[int], K: int) -> np.ndarray:
        told, schedule = self._told(request, denoiser), self.schedule(request)
        solver, image = self.method(request, denoiser).solver, torch.from_numpy(x_0)[None]
        turned = (u_turns(schedule, told, image, at, K, request.seed + 1, solver)[0] for at in while_wanted(t))
        return np.stack([x.numpy() for x in turned])

    def _told(self, request: Request, denoiser: str) -> Denoiser:
        """A denoiser that is told the class that is asked for, or else none."""
        model = self.model(request, denoiser)
        return model.given(index(model, request.label or ANY)) if model.classes else model

    def _arrays(self, request: Request, denoiser: str, items: slice) -> Iterator[Step]:
        """Steps with arrays for tensors, by the model that is where this runs."""
        for step in self._steps(request, denoiser, items):
            yield step.map(lambda v: v.cpu().numpy())

    def score(self, request: Request, x: Tensor) -> dict[str, float]:
        """The metrics of samples x of the request's law."""
        reference = self.reference if len(x) <= KEPT else self._reference
        return score(x, self.law(request.data), reference(request.data, len(x)))

    def evaluate(
        self,
        request: Request,
        denoiser: str,
        samplings: int = 1,
        watch: Callable[[Iterator[Any], int], Iterator[Any]] = lambda parts, of: parts,
        with_fid: bool = False,
        judge: Classifier | None = None,
    ) -> dict[str, Any]:
        """The metrics of a denoiser, sampled with the request's seed and, for more samplings, with the seeds after it.

        Images are scored once, by metrics.images.score_set with this judge, and with `with_fid` also by FID against the
        training set. Refused for more samplings, for FID or a judge of other data, or where no classifier is here.
        `watch` is handed every iterator of parts of the work, with their number, and passes them on.
        """
        source = self.source(request.data)
        if with_fid and (not source.set or source.shape[0] != 3):
            what = "points" if source.law else "grey images" if source.set else "images that have no name here"
            coloured = [name for name, shape in SETS.items() if shape[0] == 3]
            raise Refused(f"FID is measured against {', '.join(coloured)}; {request.data[:40]} is of {what}")
        if judge and (judge.noisy or judge.shape != tuple(source.shape)):
            raise Refused(
                f"the classifier is of {'noisy ' * judge.noisy}images {judge.shape}, the data are {tuple(source.shape)}"
            )
        if source.law is None:
            if samplings > 1:
                raise Refused(f"images are judged once, points by several samplings; got {samplings}")
            first, again = tee(watch(*self._drawn(request, denoiser)))
            published = {"fid": fid(first, request.n, load_images(source.set))} if with_fid else {}
            del first  # which would keep what the other one gives out
            return score_set(again, source.set, self.classes(request, denoiser) or (), judge) | published

        def sampled(i: int) -> Tensor:
            *_, last = watch(self.run(replace(request, seed=request.seed + i), denoiser), request.walked(denoiser).T)
            return last.x_s

        return evaluate(source.law, request.n, sampled, samplings)

    def _drawn(self, request: Request, denoiser: str) -> tuple[Iterator[Tensor], int]:
        """The images of a request, AT_ONCE at a time, and how many times.

        Refused where single steps are to be other ones, or the images are too few.
        """
        if request.forks or request.edit:
            raise Refused("images are judged as they are drawn from noise, without forks and without an edit")
        self.able(request, denoiser)
        if request.n < FEWEST:
            raise Refused(f"images are judged by at least {FEWEST} samples, got n = {request.n}")
        return while_wanted(map(torch.from_numpy, self._batches(request, denoiser))), -(-request.n // AT_ONCE)

    def _batches(self, request: Request, denoiser: str) -> Iterator[np.ndarray]:
        request = request.walked(denoiser)
        model, solver = self.model(request, denoiser), self.method(request, denoiser).solver
        shape, given = self.source(request.data).shape, seeds(request.seed, request.n)
        for x_0 in draw(self.schedule(request), model, given, shape, AT_ONCE, solver, labels(model, request.told)):
            yield x_0.cpu().numpy()
