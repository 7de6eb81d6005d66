"""Steps of images -> what the tab Images draws: contact sheets, as PNG, in strict JSON.

`gallery` shows a request and `explore` what one of its x_t could have been; the layout of the payloads is at the top of
assets/gallery.js and assets/explorer.js. A sheet has a row a state, from the noisiest to x_0, and a
column a sample, tiles touching, so that the browser cuts single images out of it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .candidates import effective_number, log_weights, moments
from .config import PRESETS
from .images import ImageSet, decode_pixels, from_uint8, sheet, to_uint8
from .request import Request, whole
from .session import Session
from .views import message, sentence, title, told

__all__ = ["ImageQuestion", "explore", "gallery", "png"]

REDRAWS = 16
LIKELIEST = 6
# what a standard deviation of 0, 1/4, ..., 1 looks like: cividis, as the map of assets/posterior.js
HEAT = np.array([(0, 34, 78), (67, 78, 108), (125, 124, 120), (188, 175, 111), (254, 232, 56)])


def gallery(session: Session, request: Request) -> Iterator[str]:
    """How far the sampling is, after every step, and in the end the payload of a request.

    What one denoiser refuses becomes a sentence in its panel. ValueError where the data is not made of images.
    """
    shape = session.source(request.data).shape
    if len(shape) != 3:
        raise ValueError(f"{request.data[:40]} is a set of points, not of images: the tab Denoise shows it")
    panels, done = [], 0
    for name in request.denoisers:
        label, note = told(session, name, request)
        panel, steps = {"key": name, "label": label, "note": note, "error": None, "x": "", "x0": ""}, []
        try:
            for step in session.run(request, name):
                steps.append(step)
                done += 1
                yield json.dumps({"progress": {"done": done, "of": request.start * len(request.denoisers), "label": label}})
            panel["x"] = png(torch.cat([*(step.x_t for step in steps), step.x_s]), request.n)
            panel["x0"] = png(torch.cat([step.x_0 for step in steps]), request.n)
        except ValueError as error:
            panel["error"] = sentence(str(error))
        panels.append(panel)
    schedule, shown = request.steps(), list(range(request.start, -1, -1))
    yield json.dumps(
        {
            "id": request.to_query(),
            "query": request.to_query(),
            "T": request.T,
            "n": request.n,
            "shape": list(shape),
            "t": shown,
            "a": schedule.alpha_bar[shown].sqrt().tolist(),
            "sigma": (1 - schedule.alpha_bar[shown]).sqrt().tolist(),
            "panels": panels,
            "levels": schedule.alpha_bar[1:].sqrt().flip(0).tolist(),
            "edit": request.edit and {"t": request.start, "image": png(from_uint8(decode_pixels(request.edit.image, shape)[None]), 1)},
            "message": message(session, request),
        },
        allow_nan=False,
    )


def png(images: Tensor, columns: int) -> str:
    """Images (N, C, H, W) in [-1, 1] as one sheet without gaps: PNG, base64."""
    picture, file = sheet(to_uint8(images), columns, gap=0), io.BytesIO()
    picture = picture.convert("L") if images.shape[1] == 1 else picture
    picture.save(file, "png", compress_level=1)  # noise does not compress
    return base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class ImageQuestion:
    """What could x_t of a sample have been, on its way by the denoiser `of` of a request?"""

    request: Request
    t: int
    item: int
    of: str

    @classmethod
    def parse(cls, values: Any) -> ImageQuestion:
        """The question of JSON values {query, step, item, of}; ValueError, in one sentence, for anything else."""
        if not isinstance(values, Mapping):
            raise ValueError("a question must have query, step, item and of")
        request = Request.from_query(str(values.get("query", "")))
        if len(request.shape) != 3:
            raise ValueError(f"{request.data[:40]} is a set of points, not of images: ask about one x_t of it in Posterior")
        if (of := values.get("of")) not in request.denoisers:
            raise ValueError(f"of must be one of {', '.join(request.denoisers)}, got {str(of)[:40]!r}")
        t, item = whole("step", values.get("step"), 1, request.start), whole("item", values.get("item"), 0, request.n - 1)
        return cls(request, t, item, of)

    def x_t(self, session: Session) -> Tensor:
        """The x_t that is asked about, (C, H, W)."""
        steps = session.run(self.request, self.of, slice(self.item, self.item + 1))
        return next(step.x_t[0] for step in steps if step.t == self.t)


def explore(session: Session, question: ImageQuestion) -> Iterator[str]:
    """What the denoisers of the request draw at the x_t of a question; then, too, what the training set says."""
    x_t = question.x_t(session)
    answer = {
        "query": question.request.to_query(),
        "step": question.t,
        "item": question.item,
        "of": question.of,
        "shape": list(x_t.shape),
        "x": png(x_t[None], 1),
        "panels": [_redrawn(session, question, x_t, name) for name in question.request.denoisers],
    }
    try:
        known = session.images(question.request.data)
    except ValueError as error:
        yield json.dumps({**answer, "truth": {"error": sentence(str(error))}}, allow_nan=False)
        return
    yield json.dumps({**answer, "truth": None}, allow_nan=False)
    yield json.dumps({**answer, "truth": _truth(known, question, x_t)}, allow_nan=False)


def _redrawn(session: Session, question: ImageQuestion, x_t: Tensor, name: str) -> dict[str, Any]:
    panel = {"key": name, "label": title(session, name)[0], "error": None}
    try:
        x_0 = session.redraws(question.request, name, x_t, question.t, REDRAWS)
    except ValueError as error:
        return {**panel, "error": sentence(str(error))}
    return {**panel, "n": len(x_0), "images": png(x_0, len(x_0)), **_moments(x_0.mean(0), x_0.std(0, correction=0))}


def _truth(known: ImageSet | None, question: ImageQuestion, x_t: Tensor) -> dict[str, Any]:
    """The exact posterior over the training set; `reading` while that is not in memory yet."""
    if known is None:
        return {"reading": True}
    log_w = log_weights(known.images, x_t, question.request.steps().level(question.t))
    likeliest = log_w.topk(min(LIKELIEST, len(log_w)))
    return {
        "of": len(known),
        "mirrored": PRESETS[question.request.data].flip,
        "effective": effective_number(log_w),
        "weights": likeliest.values.exp().tolist(),
        "n": len(likeliest.indices),
        "images": png(from_uint8(known.images[likeliest.indices.numpy()]), len(likeliest.indices)),
        **_moments(*moments(known.images, log_w)),
    }


def _moments(mean: Tensor, std: Tensor) -> dict[str, Any]:
    """Both as pictures, the deviation over channels as HEAT in 0..1; and its root mean square over the image."""
    std = std.square().mean(0).sqrt()
    heat = np.stack([np.interp(std.numpy(), np.linspace(0, 1, len(HEAT)), channel) for channel in HEAT.T])
    return {"mean": png(mean[None], 1), "std": png(from_uint8(heat[None].astype(np.uint8)), 1), "spread": float(std.square().mean().sqrt())}
