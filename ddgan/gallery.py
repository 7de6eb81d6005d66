"""Steps of images -> what the tab Images draws: contact sheets, as PNG, in strict JSON.

The layout of a payload is at the top of assets/gallery.js. A sheet has a row a state, from the noisiest to x_0, and a
column a sample, tiles touching, so that the browser cuts single images out of it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from .images import decode_pixels, from_uint8, sheet, to_uint8
from .request import Request
from .session import Session
from .views import forked, sentence, title

__all__ = ["gallery", "png"]


def gallery(session: Session, request: Request) -> Iterator[str]:
    """How far the sampling is, after every step, and in the end the payload of a request.

    What one denoiser refuses becomes a sentence in its panel. ValueError where the data is not made of images.
    """
    shape = session.source(request.data).shape
    if len(shape) != 3:
        raise ValueError(f"{request.data[:40]} is a set of points, not of images: the tab Denoise shows it")
    panels, done = [], 0
    for name in request.denoisers:
        label, note = title(session, name)
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
            "edit": request.edit and png(from_uint8(decode_pixels(request.edit.image, shape)[None]), 1),
            "message": forked(request),
        },
        allow_nan=False,
    )


def png(images: Tensor, columns: int) -> str:
    """Images (N, C, H, W) in [-1, 1] as one sheet without gaps: PNG, base64."""
    picture, file = sheet(to_uint8(images), columns, gap=0), io.BytesIO()
    picture = picture.convert("L") if images.shape[1] == 1 else picture
    picture.save(file, "png", compress_level=1)  # noise does not compress
    return base64.b64encode(file.getvalue()).decode()
