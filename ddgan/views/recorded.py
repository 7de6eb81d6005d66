"""What the page shows before anybody computed anything: a recorded training, and the results of a race.

Both are shipped as files of assets/, which commands make from the library itself:

    python -m ddgan record run      recorded-run.gz: the first experiment of the tab Train, by the number of updates
    python -m ddgan record race     race.json: the race that the tab Why opens with
"""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..diffusion.mixture import Law
from ..errors import Refused
from ..explorer.live import Frame, Run
from ..explorer.race import Entry, Race
from ..explorer.session import Session
from ..files import in_lines, write
from ..machine import hardware, record
from ..models.config import Config
from .encoding import packed, unpacked
from .lessons import EXPERIMENTS
from .training import arrows, levels, target

__all__ = [
    "EXPERIMENT", "RACE", "RACED", "RUN", "Results", "film", "filmed", "played", "raced", "record_race", "record_run",
]  # fmt: skip

_ASSETS = Path(__file__).parents[2] / "assets"
RUN, RACE = _ASSETS / "recorded-run.gz", _ASSETS / "race.json"
RACED = ("25-gaussians", "vp")  # data and schedule of the race that is shipped
EXPERIMENT = next(iter(EXPERIMENTS))
UPDATES, EVERY = 2000, 20  # of the recorded run, and from one frame to the next
STEP = 2**-8  # of a recorded coordinate, in units of the data's standard deviation
MOVING = ("cloud", "arrows", "surface")  # of which the file has the changes from frame to frame: they are small
UNDISTURBED = 0.1  # the share of a run's frames that other work on the machine left alone


# ---------------------------------------------------------------- a recorded training


def film() -> tuple[Config, int]:
    """The config that is recorded, the first experiment for UPDATES updates, and the updates between two frames."""
    return replace(EXPERIMENTS[EXPERIMENT][0], steps=UPDATES), EVERY


def filmed(law: Law, config: Config, every: int) -> Iterator[Frame]:
    """The frames of a training, one after `every` updates: the same on every machine, but for the last bits."""
    return Run(config, law, seconds=math.inf, every=every).frames()


def record_run(session: Session, watch: Callable[[Iterator[Frame], int], Iterator[Frame]]) -> Path:
    """Train, and write RUN; `watch` is handed the frames and their number, and passes them on.

    The seconds are those of one core that does nothing else.
    """
    config, every = film()
    frames: list[Frame] = []
    clock: list[float] = []
    for frame in watch(filmed(session.law(config.data), config, every), 1 + UPDATES // every):
        frames.append(frame)
        clock.append(time.process_time())
    seconds = float(np.quantile(np.diff(clock), UNDISTURBED)) * (len(frames) - 1)
    made = {"seconds": round(seconds, 1), "hardware": hardware(), "commit": record()["commit"]}
    found = {**_of_run(frames), **made}
    for name in MOVING:
        found[name] = np.diff(found[name], axis=0, prepend=np.zeros_like(found[name][:1]))
    write(RUN, gzip.compress(packed(found), 9, mtime=0))
    return RUN


def _of_run(frames: list[Frame]) -> dict[str, Any]:
    """The arrays of a film; row k of the curve, without its seconds, is of frame k + 1."""
    clouds, surfaces, pulls = (_all([getattr(f, name) for f in frames]) for name in ("cloud", "surface", "pulls"))
    drawn = [levels(surface) for surface in surfaces]
    return {
        "experiment": EXPERIMENT,
        "note": frames[-1].note,
        "T": frames[-1].T,
        "modes": frames[-1].modes,
        "step": np.array([frame.step for frame in frames], np.float64),
        "cloud": _rounded(clouds),
        "arrows": _rounded(torch.stack([arrows(pull, frames[0].limit) for pull in pulls])),
        "surface": np.stack([picture for _, picture in drawn]),
        "peak": np.array([peak for peak, _ in drawn]),
        "curve": np.array([point[1:] for point in frames[-1].curve], np.float64),
    }


def _all(found: list[Tensor | None]) -> Tensor:
    assert all(part is not None for part in found), "a training with two players has all of these"
    return torch.stack([part for part in found if part is not None])


def _rounded(points: Tensor) -> np.ndarray:
    return (points / STEP).round().clamp(-(2**15), 2**15 - 1).to(torch.int16).numpy()


def played(session: Session) -> dict[str, Any]:
    """What assets/training.js plays: RUN, and what stands behind its cloud. Refused where the file is not here."""
    try:
        found = unpacked(gzip.decompress(RUN.read_bytes()))
    except (OSError, ValueError) as error:
        raise Refused(f"no recorded run is here ({type(error).__name__})") from error
    for name in MOVING:
        changes = found[name].reshape(len(found["step"]), -1)
        found[name] = np.cumsum(changes, axis=0, dtype=changes.dtype)
    data = EXPERIMENTS[EXPERIMENT][0].data
    behind = target(session.law(data), data)
    return {**found, "target": {**behind, "scale": STEP}}


# ---------------------------------------------------------------- the results of a race


class Results(NamedTuple):
    """Entries of a race as they were computed at a commit: of so many samples, with this seed."""

    data: str
    schedule: str
    n: int
    seed: int
    commit: str
    entries: dict[tuple[str, int], Entry]


def record_race(session: Session) -> Path:
    """Run the race of RACED, and write RACE."""
    race = Race(session, *RACED)
    for _ in race.run():
        pass
    request = race.request("exact", 1)
    made = {"data": race.data, "schedule": race.schedule, "n": request.n, "seed": request.seed, **record()}
    rows = [{**e._asdict(), "refusal": e.refusal and str(e.refusal)} for e in race.entries.values()]
    write(RACE, in_lines(made, "entries", rows, default=float))
    return RACE


@cache
def raced(data: str, schedule: str) -> Results | None:
    """The shipped results of a race; None where none are."""
    if (data, schedule) != RACED or not RACE.is_file():
        return None
    found = json.loads(RACE.read_text(encoding="utf-8"))
    rows = [
        Entry(**{**row, "scores": row["scores"] or {}, "refusal": row["refusal"] and Refused(row["refusal"])})
        for row in found["entries"]
    ]
    head = {name: found[name] for name in ("data", "schedule", "n", "seed", "commit")}
    return Results(**head, entries={(entry.method, entry.T): entry for entry in rows})
