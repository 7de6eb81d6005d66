"""From a request to its steps: what the page, the CLI, exports and tests all drain.

A `Session` resolves the names of a `Request` to laws and denoisers, keeping the last few, and runs it.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import lru_cache
from itertools import tee
from os.path import isfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from . import checkpoint, networks
from .candidates import redraws
from .config import PRESETS, Config
from .data import POINTS, TOYS, from_points, law_of, read_csv
from .denoiser import CLOSED, Denoiser
from .images import OFFICIAL, SETS, ImageSet, decode_pixels, find_images, from_uint8, load_images
from .image_metrics import fid, judge_set
from .machine import device, on_gpu, on_loan, precision
from .metrics import evaluate, judge, slices
from .mixture import Law
from .request import DENOISERS, OWN, Request, seeds
from .sampler import Draws, Step, draw, sample
from .turns import while_wanted

__all__ = ["Session"]

MAX_ADOPTED, MAX_OWNED = 64, 8  # visitors' models that are kept, of all and of one
KEPT = 5_000  # points of a reference that is kept, 1.3 MB: as many as the page draws
AT_ONCE = 100  # images that are drawn together, where many are


class Source(NamedTuple):
    """What a data name stands for: the shape of a sample, its law where that is known, and where its models are."""

    shape: torch.Size
    law: Law | None
    models: dict[str, Path]
    set: str = ""  # the name of the image set that it is, or that its model was trained on; "" for a stranger's images


class Session:
    """Names -> laws and denoisers, the last few kept; requests -> steps."""

    def __init__(self) -> None:
        self.adopted: dict[str, Denoiser] = {}  # in the order of their coming
        self._owners: dict[str, str] = {}
        self._lock = threading.Lock()
        self.source = lru_cache(maxsize=32)(_source)
        self.denoiser = lru_cache(maxsize=64)(self._denoiser)
        self.discriminator = lru_cache(maxsize=32)(self._discriminator)
        self.reference = lru_cache(maxsize=32)(self._reference)
        self._reader, self._reading = ThreadPoolExecutor(1, "reader"), dict[str, Future[ImageSet]]()
        self._arrays, self._redrawn, self._batches = map(on_gpu, (self._arrays, self._redrawn, self._batches))
        if on_loan():  # models have their place on the GPU before the first call forks
            for data in SETS:
                for name in self.source(data).models:
                    self.denoiser(data, name)

    def _denoiser(self, data: str, name: str) -> Denoiser:
        """One of DENOISERS for a data name; ValueError where no such model was trained."""
        shape, law, models, _ = self.source(data)
        if name in CLOSED:
            return CLOSED[name](self.law(data))
        if name not in DENOISERS:
            if OWN.fullmatch(name):
                raise ValueError("this model is no longer here: train it again, or load its file")
            raise ValueError(f"a denoiser is one of {', '.join(DENOISERS)}, got {name[:40]!r}")
        if name not in models:
            others = [f"{other} ({DENOISERS[other][0]})" for other in [*models, *(CLOSED if law else [])]]
            raise ValueError(_missing(data, name, others))
        denoiser = checkpoint.load(models[name])
        return denoiser.to(device(), precision(device())) if len(shape) == 3 else denoiser

    def law(self, data: str) -> Law:
        """The law of a data name; ValueError where it has no closed form."""
        if (law := self.source(data).law) is None:
            raise ValueError(f"the law of {data} has no closed form: it is a set of images")
        return law

    def images(self, data: str) -> ImageSet | None:
        """The images that a data name's networks learn from, None while they are being read; ValueError where they are not here."""
        with self._lock:  # or two who come first would have it read twice
            if data not in self._reading:
                if data not in SETS or find_images(data) is None:
                    way = f"python -m ddgan data {data.removeprefix('stacked')} gets it, or " if data in SETS else ""
                    raise ValueError(f"the training set of {data} is not on this machine: {way}DDGAN_DATA names the directory where it is")
                self._reading[data] = self._reader.submit(_training_images, data)
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
        except (KeyError, ValueError):
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
        """The denoiser that this name stands for in a request; ValueError where there is none for data of this shape."""
        model, shape = self.adopted.get(denoiser) or self.denoiser(request.data, denoiser), self.source(request.data).shape
        if model.card and model.card["shape"] != list(shape):
            raise ValueError(f"this model was trained on data of shape {tuple(model.card['shape'])}, not {tuple(shape)}")
        return model

    def run(self, request: Request, denoiser: str, items: slice = slice(None)) -> Iterator[Step]:
        """The T steps of one denoiser of the request, for all samples or some. All denoisers get the same x_T, z and eps."""
        model = self.model(request, denoiser)
        if len(self.source(request.data).shape) < 3:
            return while_wanted(self._steps(request, denoiser, items))
        model.check(request.steps())
        return while_wanted(step.map(torch.from_numpy) for step in self._arrays(request, denoiser, items))

    def redraws(self, request: Request, denoiser: str, x_t: Tensor, t: int, K: int) -> Tensor:
        """candidates.redraws of a denoiser of the request, for images."""
        self.model(request, denoiser).check(request.steps())
        return torch.from_numpy(self._redrawn(request, denoiser, x_t.numpy(), t, K))

    def _redrawn(self, request: Request, denoiser: str, x_t: np.ndarray, t: int, K: int) -> np.ndarray:
        return redraws(request.steps(), self.model(request, denoiser), torch.from_numpy(x_t), t, K).numpy()

    def _arrays(self, request: Request, denoiser: str, items: slice) -> Iterator[Step]:
        """Steps with arrays for tensors."""
        for step in self._steps(request, denoiser, items):
            yield step.map(lambda v: v.cpu().numpy())

    def _steps(self, request: Request, denoiser: str, items: slice) -> Iterator[Step]:
        model, shape = self.model(request, denoiser), self.source(request.data).shape

        chosen, given = range(request.n)[items], seeds(request.seed, request.n)[items]
        noise = Draws.from_seeds(given, shape, request.T, model.latent_dim)
        for what, t, seed, item in request.forks:
            of = slice(None) if item is None else [chosen.index(item)] if item in chosen else []
            noise = noise.reroll(what, t, seeds(2**31 + seed, request.n)[items], of)
        schedule = request.steps()
        if request.edit:
            x_0 = from_uint8(decode_pixels(request.edit.image, shape)[None])
            noise = noise._replace(x_T=schedule.marginal(x_0, request.start).at(noise.x_T))
        return sample(schedule, model, noise, request.start)

    def score(self, request: Request, x: Tensor) -> dict[str, float]:
        """The metrics of samples x of the request's law."""
        reference = self.reference if len(x) <= KEPT else self._reference
        return evaluate(x, self.law(request.data), reference(request.data, len(x)))

    def judge(
        self,
        request: Request,
        denoiser: str,
        samplings: int = 1,
        watch: Callable[[Iterator[Any], int], Iterator[Any]] = lambda parts, of: parts,
        with_fid: bool = False,
    ) -> dict[str, float]:
        """metrics.judge of a denoiser: the request's seed and, for more samplings, those that follow it.

        Images are judged by image_metrics.judge_set, once, and where it is asked for by image_metrics.fid against the training
        set; ValueError for more samplings, for FID of other data, or where no classifier of theirs is here. `watch` is handed
        every iterator of parts of the work, with their number, and passes them on.
        """
        source = self.source(request.data)
        if with_fid and (not source.set or source.shape[0] != 3):
            what = "points" if source.law else "grey images" if source.set else "images that have no name here"
            coloured = [name for name, shape in SETS.items() if shape[0] == 3]
            raise ValueError(f"FID is measured against {', '.join(coloured)}; {request.data[:40]} is of {what}")
        if source.law is None:
            if samplings > 1:
                raise ValueError(f"images are judged once, points by several samplings; got {samplings}")
            first, again = tee(watch(*self._drawn(request, denoiser)))
            published = {"fid": fid(first, request.n, load_images(source.set))} if with_fid else {}
            del first  # which would keep what the other one gives out
            return judge_set(again, source.set) | published

        def sampled(i: int) -> Tensor:
            *_, last = watch(self.run(replace(request, seed=request.seed + i), denoiser), request.T)
            return last.x_s

        return judge(source.law, request.n, sampled, samplings)

    def _drawn(self, request: Request, denoiser: str) -> tuple[Iterator[Tensor], int]:
        """The images of a request, AT_ONCE at a time, and how many times; ValueError where single steps are to be other ones."""
        if request.forks or request.edit:
            raise ValueError("images are judged as they are drawn from noise, without forks and without an edit")
        self.model(request, denoiser).check(request.steps())
        return while_wanted(map(torch.from_numpy, self._batches(request, denoiser))), -(-request.n // AT_ONCE)

    def _batches(self, request: Request, denoiser: str) -> Iterator[np.ndarray]:
        model, shape = self.model(request, denoiser), self.source(request.data).shape
        for x_0 in draw(request.steps(), model, seeds(request.seed, request.n), shape, AT_ONCE):
            yield x_0.cpu().numpy()


def _training_images(data: str) -> ImageSet:
    """A set's, with their mirror images where its networks are trained on both: a law that gives no labels."""
    images = load_images(data).images
    return ImageSet(np.concatenate([images, images[..., ::-1]]) if PRESETS[data].flip else images)


def _missing(data: str, name: str, others: list[str]) -> str:
    label, preset = DENOISERS[name][0], data if name == "ddgan" else f"{data}-{name}"
    if data.startswith(POINTS):
        return f"no {label} has been trained on these points" + " yet: the tab Train does it" * (name == "ddgan")
    if name == "official":
        way = f"not of {data}" if data != "cifar10" else "not here: python -m ddgan import-official makes it of their file"
        return f"the authors' model is of cifar10, and {way}"
    if data in SETS:
        return f"no {label} of {data} is here: python -m ddgan train {preset} --out weights/{preset} makes one"
    return f"no {label} was trained on {data}, there are {', '.join(others)}"


def _source(data: str) -> Source:
    if data in TOYS or data in SETS:
        endings = {"ddgan": "", "regression": "-regression", "official": "-official"}
        directories = {name: checkpoint.WEIGHTS / f"{data}{ending}" for name, ending in endings.items()}
        models = {name: path for name, path in directories.items() if (path / "card.json").is_file()}
        return _of_law(law_of(data), models) if data in TOYS else Source(torch.Size(SETS[data]), None, models, data)
    path = Path(data)
    if data.startswith(POINTS) or path.suffix == ".csv":
        return _of_law(law_of(data) if data.startswith(POINTS) else from_points(read_csv(path)), {})
    if path.suffix != ".safetensors" and not isfile(path / "card.json"):
        path = checkpoint.WEIGHTS / data
        if not isfile(path / "card.json"):  # where a name is too long for a file this is false, is_file() raises
            known = ", ".join([*TOYS, *SETS])
            raise ValueError(
                f"data must be one of {known}, a .csv file, a model's .safetensors file or a run's directory, got {data[:40]!r}"
            )
    card = checkpoint.read_card(path)
    config = Config.from_dict(card["config"])
    models = {config.objective: path}
    if config.network in networks.IMAGES:
        own = card.get("data") != OFFICIAL.get(config.data) and "data" in card  # its images are not those of the name
        return Source(torch.Size(card["shape"]), None, models, "" if own else config.data)
    if (path / "points.csv").is_file():
        return _of_law(from_points(read_csv(path / "points.csv")), models)
    if config.data not in TOYS and not config.data.startswith(POINTS):
        raise ValueError(f"{path} was trained on {config.data[:40]!r}, which it does not hold")
    return _of_law(law_of(config.data), models)


def _of_law(law: Law, models: dict[str, Path]) -> Source:
    return Source(law.shape, law, models)
