"""When is the class of a sample decided? What assets/image_classes.js draws: p(class | x_t) along its way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from ..errors import Refused
from ..explorer.class_posterior import decided, decisions, entropy
from ..explorer.class_rows import (
    DRAWS,
    SHIPPED_N,
    SHIPPED_OF,
    SHIPPED_T,
    Way,
    curve,
    exact,
    judged_classes,
    learned,
    of_shipped,
    spoken,
    way,
)
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..models.config import PRESETS
from .answers import label, sentence, subscript
from .looks import OTHER, RUNNERS

__all__ = ["bars"]

EXACT = "exact"
NAMED = 0.05  # nats that a step decides at least, to be named
MEANS = "the classes of its one answer, a mean"
FOR_THE_SET = (
    "The exact row holds for the training set, not for the world: close to x₀ the nearest training image takes all the "
    "weight, even if the sample is not in the set."
)
ABSENT = (
    "The exact row needs the training set, which is not on this machine. It comes with the page for the first "
    f"{SHIPPED_N} samples of {' and '.join(map(label, SHIPPED_OF))}, of seed 0, told any class or each its own, "
    f"as first drawn, in {', '.join(map(str, SHIPPED_T[:-1]))} or {SHIPPED_T[-1]} steps of vp."
)


def bars(session: Session, question: ImageQuestion) -> Iterator[dict[str, Any]]:
    """The row of the training set and the rows of the models in the request, one after the other as they are known.

    Only what is new in the first of them where the question is for that alone.
    Refused where no classifier names the classes of these images.
    """
    request = question.request
    classes, states = judged_classes(session, request.data), way(session, question)
    asked = {"query": request.to_query(), "item": question.item, "of": question.of}
    if question.exact_only:
        yield {**asked, "exact": _exact(session, question, states, classes, EXACT)}
        return
    models = {request.method(name).model: name for name in reversed(request.denoisers)}
    rows = {name: _row(name, label(name), f"drawing x₀ from every state, {DRAWS} times …") for name in models.values()}
    rows = {EXACT: _row(EXACT, "Training set, exact", "comparing with every image …"), **dict(reversed(rows.items()))}
    answer = {
        **asked,
        "by": label(question.of),
        "t": states.t,
        "classes": classes,
        "speaks": _speaks(request.data, states.level.tolist(), states.t),
        "ruler": _ruler(request.data, states),
    }
    if (shipped := of_shipped(session, question)) is not None:
        rows[EXACT] |= _of_set(shipped, states, classes, request.data)
    for name in rows:
        yield {**answer, "rows": [*rows.values()]}
        found = _exact if name == EXACT else _model
        rows[name] = rows[name] | found(session, question, states, classes, name)
    if rows[EXACT].get("reading"):
        rows[EXACT] |= _exact(session, question, states, classes, EXACT)
    yield {**answer, "rows": [*rows.values()]}


def _row(key: str, called: str, wait: str) -> dict[str, Any]:
    look = RUNNERS.get(key, OTHER)._asdict()
    return {"key": key, "label": called, "look": look, "note": "", "wait": wait, "error": None, "p": None}


def _model(session: Session, question: ImageQuestion, states: Way, classes: Sequence[str], name: str) -> dict[str, Any]:
    try:
        few = not session.model(question.request, name).latent_dim
        p = learned(session, question, states, name)
    except Refused as error:
        return {"error": sentence(error)}
    return {"note": MEANS if few else f"the classes of {DRAWS} redraws of z", **_bars(p, states.t, classes)}


def _exact(session: Session, question: ImageQuestion, states: Way, classes: Sequence[str], name: str) -> dict[str, Any]:
    """What is new in the row of the training set: its bars, or that it is being read, or why there are none."""
    data, shipped = question.request.data, of_shipped(session, question) is not None
    try:
        p = exact(session, data, states)
    except Refused:
        return {} if shipped else {"error": ABSENT, "reading": False}
    if p is None:
        return {} if shipped else {"wait": "The training set is being read …", "reading": True}
    return {"reading": False, **_of_set(p, states, classes, data)}


def _of_set(p: Tensor, states: Way, classes: Sequence[str], data: str) -> dict[str, Any]:
    images = "images"
    if known := spoken(data):
        mirrored = data in PRESETS and PRESETS[data].flip
        images = f"{known[0] // (1 + mirrored):,} images" + " and their mirror images" * mirrored
    return {"note": f"weights of its {images}, by class", "said": FOR_THE_SET, **_bars(p, states.t, classes)}


def _bars(p: Tensor, t: list[int], classes: Sequence[str]) -> dict[str, Any]:
    found = decided(p)
    return {
        "p": [[round(float(v), 4) for v in state] for state in p],
        "entropy": [round(float(v), 2) for v in entropy(p)],
        "decided": found and {"t": t[found[0]], "class": classes[found[1]]},
    }


def _speaks(data: str, levels: list[float], t: list[int]) -> dict[str, Any] | None:
    """Between which two states the largest principal direction of a set rises above the noise, and its signal there."""
    if (known := spoken(data)) is None:
        return None
    level = known[1]
    before = [k for k, v in zip(t, levels, strict=True) if v <= level]
    after = [k for k, v in zip(t, levels, strict=True) if v > level]
    if not before or not after:
        return None
    return {"before": before[-1], "after": after[0], "signal": round((1 + math.exp(-level)) ** -0.5, 3)}


def _ruler(data: str, states: Way) -> dict[str, Any] | None:
    """The entropy of the class of a set over log-SNR, and between which two of the states most of it is decided."""
    if (found := curve(data)) is None:
        return None
    nats = decisions(found, states.level)
    most, step, whole = float(nats.max()), int(nats.argmax()), float(found[0, 1])
    first, t, s = (subscript(k) for k in (states.t[0], *states.t[step : step + 2]))
    part = "most" if most > whole / 2 else "the largest part"
    some = most >= NAMED
    return {
        "curve": found.tolist(),
        "levels": [v if math.isfinite(v) else None for v in states.level.tolist()],
        "step": step if some else None,
        "words": f"Between {t} and {s} {part} is decided: {most:.2f} of {whole:.2f} nats."
        if some
        else f"The class of an image is decided before {first}: no step here decides more than {NAMED} of "
        f"{whole:.2f} nats.",
    }
