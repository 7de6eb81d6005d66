"""A scene of images -> what the tab Images draws: contact sheets.

The layout is at the top of assets/image_grid.js. A sheet has a row a state, from the noisiest to x_0, and a column a
sample, tiles touching, so that the browser cuts single images out of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from ..errors import Refused
from ..explorer.request import Request
from ..explorer.scene import Panel, Progress, Scene, stepwise
from ..explorer.session import Session
from .answers import heading, label, message, sentence
from .encoding import contact

__all__ = ["drawing", "gallery"]


def drawing(session: Session, request: Request) -> Iterator[dict[str, Any]]:
    """How far the sampling is, after every step, and in the end the picture. Refused where the data are no images."""
    if len(session.source(request.data).shape) != 3:
        raise Refused(f"{request.data[:40]} is a set of points, not of images: the tab Denoise shows it")
    for found in stepwise(session, request):
        yield _progress(found) if isinstance(found, Progress) else gallery(found)


def _progress(progress: Progress) -> dict[str, Any]:
    return {"progress": {"done": progress.done, "of": progress.of, "label": label(progress.name)}}


def gallery(scene: Scene) -> dict[str, Any]:
    """What the gallery draws of a scene of images. What one denoiser refuses becomes a sentence in its panel."""
    request, shape = scene.request, scene.source.shape
    edit = {"t": request.start, "image": contact(request.edit.x_0(shape), 1)} if request.edit else None
    return {
        "id": request.to_query(),
        "query": request.to_query(),
        "T": request.T,
        "n": request.n,
        "shape": list(shape),
        "t": scene.t,
        "a": scene.signal,
        "sigma": scene.noise,
        "panels": [_panel(scene, panel) for panel in scene.panels],
        "levels": scene.schedule.alpha_bar[1:].sqrt().flip(0).tolist(),
        "edit": edit,
        "message": message(scene),
    }


def _panel(scene: Scene, panel: Panel) -> dict[str, Any]:
    called, what = heading(scene, panel)
    head = {"key": panel.name, "label": called, "note": what, "classes": panel.classes}
    if panel.refusal:
        return {**head, "error": sentence(panel.refusal), "x": "", "x0": ""}
    x, x_0 = torch.cat(panel.states), torch.cat(panel.predicted[:-1])
    return {**head, "error": None, "x": contact(x, scene.request.n), "x0": contact(x_0, scene.request.n)}
