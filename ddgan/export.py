"""Steps -> files: arrays as .npz, an animated picture as .webp, .gif or (the last state) .png."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .sampler import Step
from .session import DENOISERS, Request, Session
from .views import LIMIT, density, frames

__all__ = ["npz", "picture"]

SIDE = 300  # pixels of one panel
COLOURS = {"paper": (255, 255, 255), "ink": (38, 38, 46), "law": (120, 148, 196), "point": (200, 70, 20)}
GLIDE = 8  # frames between two states


def npz(path: Path, request: Request, steps: Sequence[Step]) -> None:
    """Write x (n, *D) and the states of every step of one run of the request.

    states (T+1, n, *D) from x_T to x_0; predicted (T, n, *D), the x_0 of each step; t (T+1,); alpha_bar (T+1,).
    """
    _replace(
        path,
        lambda file: np.savez_compressed(
            file,
            x=steps[-1].x_s.numpy(),
            states=np.stack([steps[0].x_t.numpy(), *(step.x_s.numpy() for step in steps)]),
            predicted=np.stack([step.x_0.numpy() for step in steps]),
            t=np.arange(request.T, -1, -1),
            alpha_bar=request.steps().alpha_bar.numpy(),
            request=np.array(request.to_query()),
        ),
    )


def picture(path: Path, session: Session, request: Request) -> None:
    """Draw the denoisers side by side over the exact density: animated .webp or .gif, or the last state as .png.

    ValueError for another ending, or data that is not two-dimensional. The request's link is in the file's comment.
    """
    if path.suffix not in (".webp", ".gif", ".png"):
        raise ValueError(f"a picture ends in .webp, .gif or .png, got {path}")
    law, schedule, shown = session.source(request.data).law, request.steps(), frames(request.T)
    if tuple(law.shape) != (2,):
        raise ValueError(f"pictures are drawn of two-dimensional data, got {tuple(law.shape)}")
    grounds = density(law, schedule, shown).astype(np.float32) / 255
    runs = {name: list(session.run(request, name)) for name in request.denoisers}
    states = {name: np.stack([steps[0].x_t, *(step.x_s for step in steps)])[[request.T - t for t in shown]] for name, steps in runs.items()}

    def draw(at: float) -> Image.Image:
        i = min(int(at), len(shown) - 2)
        w = at - i
        ground = (1 - w) * grounds[i] + w * grounds[i + 1]
        sheet = Image.new("RGB", (len(states) * (SIDE + 12) + 12, SIDE + 58), COLOURS["paper"])
        pen = ImageDraw.Draw(sheet)
        for column, (name, x) in enumerate(states.items()):
            left = 12 + column * (SIDE + 12)
            sheet.paste(_panel(ground, (1 - w) * x[i] + w * x[i + 1]), (left, 34))
            pen.text((left, 8), DENOISERS[name][0], COLOURS["ink"], ImageFont.load_default(17))
        pen.text((12, SIDE + 38), f"t = {shown[round(at)]} of {request.T}", COLOURS["ink"], ImageFont.load_default(14))
        return sheet

    last = len(shown) - 1
    ease = [3 * w**2 - 2 * w**3 for w in np.linspace(0, 1, GLIDE, endpoint=False)]
    stops = [last] if path.suffix == ".png" else [i + w for i in range(last) for w in ease] + [last]
    pictures = [draw(at) for at in stops]
    pause = [900 if at == last else 420 if at == int(at) else 40 for at in stops]
    options = {"save_all": True, "append_images": pictures[1:], "duration": pause, "loop": 0} if len(pictures) > 1 else {}
    kind = path.suffix[1:]
    quality = {"webp": {"quality": 60, "method": 5}, "gif": {"comment": request.to_query().encode()}, "png": {}}[kind]
    _replace(path, lambda file: pictures[0].save(file, kind, **options, **quality))


def _panel(ground: np.ndarray, x: np.ndarray) -> Image.Image:
    """The density as a tint, the points as dots of two pixels on it."""
    tint = np.asarray(Image.fromarray(ground).resize((SIDE, SIDE), Image.Resampling.BILINEAR))[..., None]
    image = 255 - 0.55 * tint * (255 - np.array(COLOURS["law"], np.float32))
    image = np.where(image > 250, 248, image)
    hits = np.zeros((SIDE, SIDE), np.float32)
    pixel = np.floor((np.stack([x[:, 0], -x[:, 1]], 1) / LIMIT + 1) * SIDE / 2).astype(int)
    pixel = pixel[((pixel >= 0) & (pixel < SIDE - 1)).all(1)]
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        np.add.at(hits, (pixel[:, 1] + dy, pixel[:, 0] + dx), 1)
    opacity = (1 - 0.45**hits)[..., None]
    return Image.fromarray((image * (1 - opacity) + opacity * np.array(COLOURS["point"])).astype(np.uint8))


def _replace(path: Path, write) -> None:
    """Through a temporary file and a rename; ValueError where it cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written ({error.strerror})") from error
