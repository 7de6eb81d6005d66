"""What could one x_t of images have been? What assets/image_posterior.js draws: redraws, and the training set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from ..data.images import ImageSet, from_uint8
from ..errors import Refused
from ..explorer.image_posterior import effective_number, log_weights, moments
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..models.config import PRESETS
from .answers import label, refusal, sentence
from .encoding import contact
from .looks import HEAT, rgb

__all__ = ["REDRAWS", "explore"]

REDRAWS = 16
LIKELIEST = 6
_HEAT = np.array([rgb(colour) for colour in HEAT])  # standard deviations of 0, 1/4, ..., 1


def explore(session: Session, question: ImageQuestion) -> Iterator[dict[str, Any]]:
    """First what the models of the request draw at the x_t of a question, then also what the training set says.

    Methods that walk with one model have one answer: a solver asks it about the same x_t. Only what the training set
    says, where the question is for that alone.
    """
    request, x_t = question.request, question.x_t(session)
    answer = {"query": request.to_query(), "step": question.t, "item": question.item, "of": question.of}
    if not question.exact_only:
        answer |= _of_models(session, question, x_t)
    try:
        known = session.images(request.data)
    except Refused as error:
        yield {**answer, "truth": refusal(error)}
        return
    if not question.exact_only:
        yield {**answer, "truth": None}
    yield {**answer, "truth": _truth(known, question, x_t, session.schedule(request).level(question.t))}


def _of_models(session: Session, question: ImageQuestion, x_t: Tensor) -> dict[str, Any]:
    """What is asked about, and what each model draws there."""
    users: dict[str, list[str]] = {}
    for name in question.request.denoisers:
        users.setdefault(question.request.method(name).model, []).append(name)
    return {
        "by": label(question.of),
        "shape": list(x_t.shape),
        "x": contact(x_t[None], 1),
        "panels": [_redrawn(session, question, x_t, *names) for names in users.values()],
    }


def _redrawn(session: Session, question: ImageQuestion, x_t: Tensor, name: str, *others: str) -> dict[str, Any]:
    panel = {"key": name, "label": label(name), "also": [*map(label, others)], "class": None, "error": None}
    try:
        panel["class"] = session.class_redrawn(question.request, name)
        x_0 = session.redraws(question.request, name, x_t, question.t, REDRAWS)
    except Refused as error:
        return {**panel, "error": sentence(error)}
    return {**panel, "n": len(x_0), "images": contact(x_0, len(x_0)), **_moments(x_0.mean(0), x_0.std(0, correction=0))}


def _truth(known: ImageSet | None, question: ImageQuestion, x_t: Tensor, level: Tensor) -> dict[str, Any]:
    """The exact posterior over the training set; `reading` while that is not in memory yet."""
    if known is None:
        return {"reading": True}
    log_w = log_weights(known.images, x_t, level)
    likeliest = log_w.topk(min(LIKELIEST, len(log_w)))
    return {
        "of": len(known),
        "mirrored": PRESETS[question.request.data].flip,
        "effective": effective_number(log_w),
        "weights": likeliest.values.exp().tolist(),
        "n": len(likeliest.indices),
        "images": contact(from_uint8(known.images[likeliest.indices.numpy()]), len(likeliest.indices)),
        **_moments(*moments(known.images, log_w)),
    }


def _moments(mean: Tensor, std: Tensor) -> dict[str, Any]:
    """Both as pictures, the deviation over channels as HEAT in 0..1; and its root mean square over the image."""
    std = std.square().mean(0).sqrt()
    heat = np.stack([np.interp(std.numpy(), np.linspace(0, 1, len(HEAT)), channel) for channel in _HEAT.T])
    pictures = {"mean": contact(mean[None], 1), "std": contact(from_uint8(heat[None].astype(np.uint8)), 1)}
    return {**pictures, "spread": float(std.square().mean().sqrt())}
