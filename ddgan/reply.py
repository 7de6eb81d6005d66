"""A request -> one dict that JSON can hold: what the public endpoints answer (ui/api.py).

An array stands there as {"dtype": "float32", "shape": [...], "data": ...}, its bytes (little-endian, the last index
fastest) in base64: as exact as an .npz, a third larger, and read back in one line,

    np.frombuffer(base64.b64decode(a["data"]), a["dtype"]).reshape(a["shape"])

Where one denoiser of several refuses, {"error": sentence} stands for its answer; where all do, it is a ValueError.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from .export import each, finite, states
from .posterior import Question, ask, weights
from .request import Request
from .session import Session
from .studio import Frame

__all__ = ["MAX_NUMBERS", "afford", "array", "compare", "denoise", "evaluate", "posterior", "progress"]

MAX_NUMBERS = 2_000_000  # in one reply: 8 MB, 11 MB of JSON


def afford(request: Request, per_sample: int) -> None:
    """ValueError, in one sentence, where so many states of every sample do not fit into one reply."""
    numbers = request.n * len(request.denoisers) * per_sample * math.prod(request.shape)
    if numbers > MAX_NUMBERS:
        raise ValueError(f"a reply holds at most {MAX_NUMBERS:,} numbers, n, T and denoisers ask for {numbers:,}")


def array(x: np.ndarray) -> dict[str, Any]:
    """An array as JSON can hold it, in float32: see the top of the file."""
    x = np.ascontiguousarray(x, "<f4")
    return {"dtype": "float32", "shape": list(x.shape), "data": base64.b64encode(x.tobytes()).decode()}


def denoise(session: Session, request: Request) -> dict[str, Any]:
    """Per denoiser its states (T+1, n, *D) from x_T to x_0, and predicted (T, n, *D), the x_0 of each step."""

    def walked(name: str) -> dict[str, Any]:
        return {key: array(value) for key, value in states(list(session.run(request, name))).items()}

    t = list(range(request.start, -1, -1))  # of the states
    scale = {"t": t, "alpha_bar": request.steps().alpha_bar[t].tolist()}
    return {"request": request.to_dict(), **scale, "denoisers": each(request, walked)}


def compare(session: Session, request: Request) -> dict[str, Any]:
    """Per denoiser its samples x (n, *D), all from the same noise, and for points their metrics."""
    measured = session.source(request.data).law is not None

    def sampled(name: str) -> dict[str, Any]:
        *_, last = session.run(request, name)
        return {"x": array(last.x_s.numpy()), "metrics": finite(session.score(request, last.x_s)) if measured else None}

    return {"request": request.to_dict(), "denoisers": each(request, sampled)}


def evaluate(session: Session, request: Request, samplings: int) -> dict[str, Any]:
    """Per denoiser its metrics over several samplings: `Session.judge`."""
    judged = each(request, lambda name: finite(session.judge(request, name, samplings)))
    return {"request": request.to_dict(), "samplings": samplings, "denoisers": judged}


def posterior(session: Session, question: Question) -> dict[str, Any]:
    """The exact law that is asked for, and per denoiser its draws (DRAWS, *D) and how far they are from it."""
    answer = ask(session, question)
    mean, cov = answer.truth.moments()

    def drawn(name: str) -> dict[str, Any]:
        if isinstance(answer.draws[name], str):
            raise ValueError(answer.draws[name])
        return {"draws": array(answer.draws[name].numpy()), "distances": answer.distances[name]}

    return {
        "t": question.t,
        "x": list(question.x),
        "of": question.of,
        "modes": [{"at": at.tolist(), "weight": weight} for at, weight in weights(answer.truth)],
        "of_modes": answer.truth.modes,
        "entropy": answer.entropy,
        "gap": answer.gap,
        "mean": mean.tolist(),
        "cov": cov.tolist(),
        "denoisers": each(question.request, drawn),
        "floor": answer.floor,
    }


def progress(frame: Frame) -> dict[str, Any]:
    """How far a training is: the numbers of a frame, with the losses and the coverage of its last point."""
    now = frame.curve[-1]._asdict() if frame.curve else dict.fromkeys(("d", "g", "modes", "on_mode"))
    record = {name: getattr(frame, name) for name in ("state", "note", "T", "step", "seconds", "budget")}
    return {**record, "of_modes": frame.modes, **finite({name: now[name] for name in ("modes", "on_mode", "d", "g")})}
