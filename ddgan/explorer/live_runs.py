"""The trainings of all visitors that are watched: one run each, its turn, and what becomes of its model.

A `LiveRuns` opens a run for a visitor's values, says how many stand before one that waits, and gives a finished run's
model to the session, where requests find it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..data.toys import TOYS, law_of
from ..errors import Refused
from ..models import checkpoint, registry
from ..models.config import Config
from .live import ANY_T, SURFACE_CELLS, Run
from .methods import CLOSED, method_of
from .parse import number, whole
from .request import Request
from .session import Session

__all__ = ["LIMITS", "MAX_RUNS", "LiveRuns", "parse"]

MAX_RUNS = 16  # in training or waiting for it
# what a visitor may ask for, within what a Config may hold: a run must stay small enough to be watched
LIMITS = {
    "width": (8, 512), "depth": (1, 4), "latent_dim": (0, 16), "batch": (16, 512), "T": (0, 16), "seconds": (1, 120),
    "seed": (0, 2**31 - 1),
}  # fmt: skip
OBJECTIVES = {"mixture": "mixture", "flow": "consistency"}  # of networks that no adversary trains


class LiveRuns:
    """The runs of all visitors, at most one each and MAX_RUNS in all, and what becomes of their models."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.runs: OrderedDict[str, Run] = OrderedDict()  # by visitor, in the order of their turns
        self._lock = threading.Lock()

    def open(self, visitor: str, values: Mapping[str, Any], *, paused: bool = False, waits: bool = True) -> Run:
        """A visitor's new run, which ends the one before; Refused, in a sentence, for bad values or a full house.

        `values` are fields of a Config, T = 0 standing for any number of steps, and `seconds`, the length. A run that
        `waits` has its turn after those before it; any other has its turn at once.
        """
        config, seconds = parse(values)
        law = self.session.law(config.data)
        if law.shape.numel() not in SURFACE_CELLS or len(law.shape) != 1:
            raise Refused(f"data of one or two coordinates can be watched, got shape {tuple(law.shape)}")
        with torch.device("meta"):
            registry.new_generator(config, tuple(law.shape))  # refuses what does not fit together
        with self._lock:
            self._close(visitor)
            if waits and len(self.runs) >= MAX_RUNS:
                raise Refused(f"{MAX_RUNS} trainings run or wait here already: try again in some minutes")
            run = self.runs[visitor] = Run(config, law, seconds=seconds, paused=paused)
            self.runs.move_to_end(visitor, last=waits)
        return run

    def run(self, visitor: str) -> Run | None:
        """The visitor's run that was not closed yet, if there is one."""
        return self.runs.get(visitor)

    def run_of(self, name: str) -> Run | None:
        """The run of this id, which only its visitor knows."""
        with self._lock:
            return next((run for run in self.runs.values() if run.id == name), None)

    def close(self, visitor: str, run: Run | None = None) -> None:
        """Stop and forget the visitor's run; if `run` is given, only if it is this one."""
        with self._lock:
            if run is None or self.runs.get(visitor) is run:
                self._close(visitor)

    def _close(self, visitor: str) -> None:
        if run := self.runs.pop(visitor, None):
            run.stop()

    def ahead(self, run: str) -> int:
        """How many runs have their turn before the run of this id; 0 where there is no such run."""
        with self._lock:
            ids = [other.id for other in self.runs.values() if not other.over]
        return ids.index(run) if run in ids else 0

    def adopt(self, run: Run, visitor: str) -> str | None:
        """The name under which the session's denoisers now have the run's model; None where there is no good one."""
        denoiser = run.denoiser()
        return self.session.adopt(denoiser, visitor) if denoiser else None

    def load(self, path: Path, visitor: str) -> str:
        """The name under which the session's denoisers now have the model of a file; Refused where it is not one."""
        try:
            denoiser = checkpoint.load(path)
            card = checkpoint.card_of(denoiser)
            if card["shape"] not in ([1], [2]):
                raise Refused(f"{path} is for data of shape {card['shape']}, wanted one or two coordinates")
            config = Config.from_dict(card["config"])
            for name in ("width", "depth", "latent_dim"):
                if (got := getattr(config, name)) > LIMITS[name][1]:
                    raise Refused(f"{path} has {name} {got}, at most {LIMITS[name][1]} is shown here")
        except Refused as error:
            words = str(error).replace(str(path), f"the file {path.name}")  # a visitor knows no paths of ours
            raise Refused(words) from None
        return self.session.adopt(denoiser, visitor)

    def latent_dim(self, data: str, network: str, z: int = 1) -> int:
        """The numbers in z that the network needs on these data; still none where z is 0."""
        n = self.session.source(Request.parse({"data": data}).data).shape.numel()
        return {"mixture": 1 + n, "flow": 0}.get(network, z and n)

    def request(self, name: str | None, denoisers: list[str], *, n: int, seed: int) -> Request:
        """The request that shows an adopted model beside others, on its data, with its T; Refused if it is not here."""
        if name not in self.session.adopted:
            raise Refused("this model is no longer here: train it again, or load its file")
        config = checkpoint.card_of(self.session.adopted[name])["config"]
        values = {"T": config["T"] or ANY_T, "denoisers": [*denoisers, name], "n": n, "seed": seed}
        try:
            data = Request.parse({"data": config["data"]}).data  # a stranger's card must name no file of ours
            known = {*CLOSED, *self.session.source(data).models, *self.session.adopted}
            there = [other for other in denoisers if method_of(other).model in known]
            return Request.parse({**values, "denoisers": [*there, name], "data": data})
        except Refused:  # its data is not here: the first view's, then
            return Request.parse(values)

    def save(self, name: str, directory: Path) -> Path:
        """Write an adopted model as one file into a directory; its path."""
        denoiser = self.session.adopted[name]
        data = checkpoint.card_of(denoiser)["config"]["data"]
        path = directory / f"ddgan-{data if data in TOYS else 'own-points'}.safetensors"
        checkpoint.save_file(path, denoiser)
        return path


def parse(values: Mapping[str, Any]) -> tuple[Config, float]:
    """The config and the seconds that a visitor's values stand for; Refused for what is unknown or beyond LIMITS."""
    values = dict(values)
    if missing := [name for name in ("data", "T", "seconds") if name not in values]:
        raise Refused(f"a training needs {missing[0]}")
    if unknown := values.keys() - {"data", "network", "loss", "lr_g", "lr_d", "gamma", "ema", *LIMITS}:
        raise Refused(f"a training here has no setting {sorted(unknown)[0]!r}")
    sizes = {name: whole(name, values.pop(name), *bounds) for name, bounds in LIMITS.items() if name in values}
    rates: dict[str, float] = {
        name: number(name, values.pop(name)) for name in ("lr_g", "lr_d", "gamma", "ema") if name in values
    }
    seconds = sizes.pop("seconds")
    law_of(data := Request.parse({"data": values.pop("data")}).data)  # refuses images
    if values.get("network", Config.network) not in registry.POINT_NETWORKS:
        raise Refused(
            f"network must be one of {', '.join(registry.POINT_NETWORKS)}, got {str(values['network'])[:40]!r}"
        )
    own = {
        "data": data,
        "T": sizes["T"] or None,
        "steps": 10**9,
        "objective": OBJECTIVES.get(str(values.get("network")), "ddgan"),
    }
    return Config.from_dict({**values, **sizes, **rates, **own}), seconds
