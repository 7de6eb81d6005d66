"""What the stage or the gallery shows, as a picture: drawn from the payload that the page is sent, so that it is the page's.

Points: a panel for every denoiser, with its numbers below; images: the states x_t and the x_0 predicted from them.
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .gallery import gallery
from .images import sheet
from .request import Request, whole
from .session import Session
from .views import MAX_SHOWN, stage

__all__ = ["LAYERS", "Look", "decoded", "paint"]

# the page's, in light: assets/app.css
SAMPLE, SAMPLE_ALPHA = (0, 114, 178), 0.6
PREDICTED, HELD = (213, 94, 0), (168, 0, 95)
DENSITY, DENSITY_PEAK = (104, 98, 168), 0.42
PLOT, LINE, INK, MUTED = (251, 251, 253), (217, 220, 227), (22, 24, 29), (96, 100, 110)
_BAR = tuple(round(p + SAMPLE_ALPHA * (s - p)) for p, s in zip(PLOT, SAMPLE, strict=True))
SIDE, GAP, TOP, ROW = 320, 18, 92, 21  # pixels: a panel, between panels, above them, a line of numbers below
FINE = 3  # times as large lines are drawn, to be smooth
GRID = 360  # about: a grid of images, each pixel a whole number of pixels
METRICS = {
    "Modes": lambda m: f"{m['modes']} / {m['of']}",
    "On a mode": lambda m: f"{m['on_mode']:.1%}",
    "KL": lambda m: "" if m["kl"] is None else f"{m['kl']:.3f}",
    "Width": lambda m: "" if m["width"] is None else f"{m['width']:.2f}",
    "SW_2": lambda m: f"{m['sw2']:.3f}",
}
LAYERS = ("samples", "density", "x0", "paths")  # of the stage, see assets/stage.js; the page begins without x0
FOLLOWED = 4  # samples whose ways are drawn, as on the page


class Look(NamedTuple):
    """How the stage shows points: some of LAYERS, and the sample that is held."""

    layers: tuple[str, ...] = ("samples", "density")
    hold: int | None = None

    @classmethod
    def parse(cls, layers: str, hold: Any = None) -> Look:
        """From words as in a link: samples,density,x0,paths or none; a sample's number. ValueError for others."""
        names = tuple(name for name in layers.split(",") if name not in ("", "none"))
        if not set(names) <= {*LAYERS}:
            raise ValueError(f"layers must be some of {', '.join(LAYERS)}, or none; got {layers[:40]!r}")
        return cls(tuple(name for name in LAYERS if name in names), None if hold is None else whole("hold", hold, 0, MAX_SHOWN - 1))

    def to_query(self) -> str:
        """What a link says of it, after what it says of the request."""
        layers = "" if self.layers == ("samples", "density", "paths") else f"&layers={','.join(self.layers) or 'none'}"
        return layers + (f"&hold={self.hold}" if self.hold is not None else "")


def decoded(session: Session, request: Request, look: Look = Look()) -> dict[str, Any]:
    """The payload of the stage with its arrays decoded: density (F, G, G) or (F, G) in 0..1, x and x0 (F, n, dim).

    For images that of the gallery: x and x0 uint8 (F, n, 3, H, W). ValueError, the first reason, where every denoiser
    refused.
    """
    images = session.source(request.data).law is None
    *_, payload = gallery(session, request) if images else [stage(session, request)]
    view = json.loads(payload) | {"request": request, "look": look}
    if all(panel["error"] for panel in view["panels"]):
        raise ValueError(view["panels"][0]["error"])
    if images:
        for panel in view["panels"]:
            if not panel["error"]:
                panel["x"] = _cut(panel["x"], view)
                panel["x0"] = np.concatenate([_cut(panel["x0"], view), panel["x"][-1:]])
        return view
    F, dim, size = len(view["t"]), view["dim"], view["density"]["size"]
    density = np.frombuffer(base64.b64decode(view["density"]["data"]), np.uint8)
    view["density"] = density.reshape(F, *[size] * dim) / np.float32(255)
    for panel in view["panels"]:
        for key in () if panel["error"] else ("x", "x0"):
            x = np.frombuffer(base64.b64decode(panel[key]), "<i2").astype(np.float32)
            panel[key] = x.reshape(F, view["n"], dim) * view["scale"]
    return view


def _cut(text: str, view: dict[str, Any]) -> np.ndarray:
    """A contact sheet of the gallery as uint8 (F, n, 3, H, W)."""
    _, H, W = view["shape"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"))
    return pixels.reshape(-1, H, view["n"], W, 3).transpose(0, 2, 4, 1, 3)


def _paper(view: dict[str, Any], at: float, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A sheet with what all have: the level and the place on the scrubber above, what it shows below."""
    request, now = view["request"], round(at)
    paper = Image.new("RGB", (width + width % 2, height + height % 2), "white")  # videos want even sides
    pen = ImageDraw.Draw(paper)
    pen.text((GAP, 14), f"t = {view['t'][now]} of {request.T}", INK, _font(19))
    level = f"signal {view['a'][now]:.2f}, noise {view['sigma'][now]:.2f}"
    pen.text((width - GAP, 17), level, MUTED, _font(15), anchor="ra")
    pen.rounded_rectangle((GAP, 46, width - GAP, 50), 2, LINE)
    knob = GAP + (width - 2 * GAP) * at / (len(view["t"]) - 1)
    pen.rounded_rectangle((GAP, 46, max(knob, GAP + 4), 50), 2, SAMPLE)
    kind = "image" if "shape" in view else "point"
    data = "own points" if request.data.startswith("points:") else request.data
    what = f"{data}, {request.schedule}, seed {request.seed}, {request.n} {kind}{'s' * (request.n != 1)}"
    pen.text((GAP, height - 25), what, MUTED, _font(12))
    return paper, pen


def _contact(view: dict[str, Any], at: float) -> Image.Image:
    """Of every panel the images x_t and, beside them, the x_0 predicted from them."""
    panels, i, columns = view["panels"], round(at), math.ceil(math.sqrt(view["n"]))
    _, H, W = view["shape"]
    rows, k = math.ceil(view["n"] / columns), max(1, round(GRID / (columns * (W + 1))))
    side, high = k * (columns * (W + 1) - 1), k * (rows * (H + 1) - 1)
    paper, pen = _paper(view, at, len(panels) * 2 * (side + GAP) + GAP, TOP + high + ROW + 34)
    for column, panel in enumerate(panels):
        left = GAP + column * 2 * (side + GAP)
        pen.text((left, TOP - 27), panel["label"], INK, _font(17))
        if panel["error"]:
            sentence = _wrapped(panel["error"], 2 * side - 60)
            pen.multiline_text((left + side, TOP + high / 2), sentence, MUTED, _font(15), anchor="mm", align="center")
            continue
        for kind, name in {"x": f"x_{view['t'][i]}", "x0": "predicted x_0"}.items():
            grid = sheet(panel[kind][i], columns)
            paper.paste(grid.resize((k * grid.width, k * grid.height), Image.Resampling.NEAREST), (left, TOP))
            _text(pen, (left, TOP + high + 5), name, MUTED, 13)
            left += side + GAP
    return paper


def paint(view: dict[str, Any], at: float) -> Image.Image:
    """All panels at `at`, a state's index or, in a glide, between two."""
    if "shape" in view:
        return _contact(view, at)
    panels, now = view["panels"], round(at)
    i = min(int(at), len(view["t"]) - 2)
    rows = [*METRICS] if any(panel["metrics"] and panel["metrics"][-1] for panel in panels) else []
    width, below = len(panels) * (SIDE + GAP) + GAP, TOP + SIDE + 8
    height = below + (len(rows) + bool(rows)) * ROW + 34
    paper, pen = _paper(view, at, width, height)
    for column, panel in enumerate(panels):
        left = GAP + column * (SIDE + GAP)
        pen.text((left, TOP - 27), panel["label"], INK, _font(17))
        box = (left, TOP, left + SIDE - 1, TOP + SIDE - 1)
        if panel["error"]:
            pen.rectangle(box, PLOT)
            sentence = _wrapped(panel["error"], SIDE - 60)
            pen.multiline_text((left + SIDE / 2, TOP + SIDE / 2), sentence, MUTED, _font(15), anchor="mm", align="center")
        else:
            ground, x, x_0 = ((1 - at + i) * v[i] + (at - i) * v[i + 1] for v in (view["density"], panel["x"], panel["x0"]))
            picture = (_plane if view["dim"] == 2 else _line)(ground, x, x_0, view["limit"], view["look"])
            ways = _ways(view, panel, at)
            picture.paste(ways, mask=ways)
            paper.paste(picture, (left, TOP))
        pen.rectangle(box, None, LINE)
        metrics = panel["metrics"] and panel["metrics"][now]
        if rows:
            of = f"x_0 predicted from x_{t}, against the law" if (t := view["t"][now]) else "Samples against the law"
            _text(pen, (left, below), of, PREDICTED if t else MUTED, 12)
        for row, name in enumerate(rows, 1):
            _text(pen, (left, below + row * ROW), name, MUTED, 15)
            text = METRICS[name](metrics) if metrics else ""
            pen.text((left + SIDE - 1, below + row * ROW), text or "-", INK, _font(15), anchor="ra")
    return paper


def _plane(ground: np.ndarray, x: np.ndarray, x_0: np.ndarray, limit: float, look: Look) -> Image.Image:
    """The density as a tint, half smooth and half in bands that read as contours; the points as discs on it."""
    alpha = DENSITY_PEAK * (0.55 * ground + 0.45 * np.floor(7 * ground) / 7)
    radius = min(3.2, max(0.9, SIDE / 230 * math.sqrt(2000 / len(x))))
    image = Image.new("RGB", (SIDE, SIDE), PLOT)
    if "density" in look.layers:
        image.paste(DENSITY, mask=_mask(alpha).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    if "samples" in look.layers:
        image.paste(SAMPLE, mask=_mask(_cloud(x, limit, radius)))
    if "x0" in look.layers:
        image.paste(PREDICTED, mask=_mask(_cloud(x_0, limit, 0.85 * radius)))
    return image


def _ways(view: dict[str, Any], panel: dict[str, Any], at: float) -> Image.Image:
    """The ways of a few samples so far, the older the fainter, and x_0 as predicted from here; of the held one the future too."""
    (layers, hold), n, last = view["look"], view["n"], len(view["t"]) - 1
    image = Image.new("RGBA", (FINE * SIDE, FINE * SIDE))
    pen, few = ImageDraw.Draw(image), last <= 8

    def place(key: str, at: float, j: int, time: float | None = None) -> tuple[float, float]:
        i = min(int(at), last - 1)
        x = (1 - at + i) * panel[key][i, j] + (at - i) * panel[key][i + 1, j]
        down = (1 - x[1] / view["limit"]) / 2 if len(x) == 2 else _strip((at if time is None else time) / last)
        return FINE * SIDE * (1 + x[0] / view["limit"]) / 2, FINE * SIDE * down

    def line(ends: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float, alpha: float) -> None:
        pen.line(ends, (*colour, round(255 * alpha)), round(FINE * width), "curve")

    def disc(centre: tuple[float, float], radius: float, fill: tuple[int, int, int] | None, edge: tuple[int, int, int]) -> None:
        pen.circle(centre, FINE * radius, fill, edge, FINE)

    def stops(start: float, end: float, j: int) -> list[tuple[float, float]]:
        return [place("x", i, j) for i in sorted({start, *range(math.ceil(start), math.floor(end) + 1), end})]

    def way(j: int, colour: tuple[int, int, int], width: float, fade: float) -> None:
        points = stops(0 if last <= 16 or colour == HELD else max(0, int(at) - 12), at, j)
        for k, leg in enumerate(zip(points, points[1:], strict=False)):
            alpha = 1 - fade * (len(points) - 1 - k) / len(points)
            if few:
                line(leg, PLOT, width + 2, 0.6 * alpha)
            line(leg, colour, width, alpha)
            if few:
                disc(leg[0], 1.6 + 0.4 * width, colour, PLOT)
        disc(points[-1], 2.8 + 0.6 * width, colour, PLOT)

    def guess(j: int) -> None:
        end = place("x0", at, j, last)
        line((place("x", at, j), end), PREDICTED, 1, 0.8)
        disc(end, 3, PREDICTED, PLOT)

    followed = [(2 * i + 1) * n // (2 * min(FOLLOWED, n)) for i in range(min(FOLLOWED, n))]
    for j in followed if "x0" in layers else ():
        guess(j)
    for j in followed if "paths" in layers else ():
        way(j, INK, 1, 0.85)
    if hold is not None:
        for leg in zip(points := stops(at, last, hold), points[1:], strict=False):
            for dash in np.arange(0, 1, step := 6 * FINE / max(math.dist(*leg), 1e-9)):
                line([tuple(np.add(leg[0], w * np.subtract(leg[1], leg[0]))) for w in (dash, min(1, dash + step / 3))], HELD, 1.5, 0.8)
        disc(place("x", last, hold), 3, PLOT, HELD)
        if "x0" in layers:
            guess(hold)
        way(hold, HELD, *((2, 0.3) if last <= 16 else (1.2, 0.8)))
        here = place("x", at, hold)
        disc(here, 8, None, HELD)
        tag, left, top = f"#{hold}", min(here[0] + 12 * FINE, FINE * (SIDE - 60)), max(here[1] - 34 * FINE, 4 * FINE)
        wide = _font(13 * FINE).getlength(tag) + 14 * FINE
        pen.rounded_rectangle((left, top, left + wide, top + 22 * FINE), 6 * FINE, HELD)
        pen.text((left + wide / 2, top + 11 * FINE), tag, PLOT, _font(13 * FINE), anchor="mm")
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _strip(time: float) -> float:
    """Where on a panel's height a state of data on a line stands, time 0 for x_T and 1 for x_0: below the histogram."""
    return 1 - 10 / SIDE - (0.36 - 20 / SIDE) * time


def _mask(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * alpha).round().astype(np.uint8))


def _cloud(x: np.ndarray, limit: float, radius: float) -> np.ndarray:
    """How much of every pixel the points cover, (SIDE, SIDE): 1 - prod (1 - coverage of one disc)."""
    discs = _discs(radius)
    phases, size = discs.shape[0], discs.shape[-1]
    fine = np.stack([x[:, 1] * -1, x[:, 0]], 1) / limit * SIDE / 2 + SIDE / 2 - size / 2  # (row, column) of the corner
    fine = np.floor(fine * phases).astype(int)
    corner, phase = np.divmod(fine, phases)
    inside = ((corner >= 0) & (corner < SIDE - size)).all(1)
    corner, phase = corner[inside], phase[inside]
    offset = (np.arange(size)[:, None] * SIDE + np.arange(size)).ravel()
    pixels = (corner @ [SIDE, 1])[:, None] + offset
    free = discs[phase[:, 0], phase[:, 1]].reshape(len(corner), -1)
    return 1 - np.exp(np.bincount(pixels.ravel(), free.ravel(), SIDE * SIDE)).reshape(SIDE, SIDE)


@lru_cache(maxsize=8)
def _discs(radius: float, phases: int = 4, fine: int = 8) -> np.ndarray:
    """log (1 - coverage) of a disc at `phases`^2 places between pixels, (phases, phases, size, size)."""
    size = 2 * math.ceil(radius) + 2
    axis = (np.arange(size * fine) + 0.5) / fine - size / 2
    shift = (np.arange(phases) + 0.5) / phases
    squared = (axis - shift[:, None]) ** 2
    inside = squared[:, None, :, None] + squared[None, :, None, :] <= radius**2
    coverage = inside.reshape(phases, phases, size, fine, size, fine).mean((3, 5))
    return np.log1p(-SAMPLE_ALPHA * coverage)


def _line(ground: np.ndarray, x: np.ndarray, x_0: np.ndarray, limit: float, look: Look) -> Image.Image:
    """The samples as a histogram, the density as a curve over it, both of area one; above the ways, where these are drawn."""
    bins, fine = 80, FINE
    high = SIDE - 8 if {"paths", "x0"}.isdisjoint(look.layers) and look.hold is None else round(0.64 * SIDE)
    side, base, room = fine * SIDE, fine * high, fine * (high - 16)
    width = 2 * limit / bins
    bars, guessed = (np.histogram(v[:, 0], bins, (-limit, limit))[0] / (len(x) * width) for v in (x, x_0))
    curve = ground / (ground.sum() * 2 * limit / len(ground))
    top = max(1.35 * curve.max(), 1.05 * guessed.max() * ("x0" in look.layers))
    image = Image.new("RGB", (side, side), PLOT)
    pen = ImageDraw.Draw(image)
    for k in np.flatnonzero(bars) if "samples" in look.layers else ():
        high = base - room * min(1, bars[k] / top)
        pen.rectangle((k * side / bins + 1, high, (k + 1) * side / bins - 2, base), _BAR)
    points = [((k + 0.5) * side / len(curve), base - room * v / top) for k, v in enumerate(curve)]
    if "density" in look.layers:
        pen.line(points, "white", 4 * fine, "curve")
        pen.line(points, DENSITY, 2 * fine, "curve")
    if "x0" in look.layers:
        tops = base - room * np.minimum(1, guessed / top)
        edges = np.arange(bins + 1) * side / bins
        pen.line([(0, base), *((edges[k + i], v) for k, v in enumerate(tops) for i in (0, 1)), (side, base)], PREDICTED, round(1.5 * fine))
    pen.line((0, base, side, base), LINE, fine)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _text(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], size: int) -> None:
    """Text whose x_0 has a subscript: the font has no such digits."""
    left, top = at
    for i, part in enumerate(re.split(r"_(\d+)", text)):
        font = _font(round(0.7 * size) if i % 2 else size)
        pen.text((left, top + (0.45 * size if i % 2 else 0)), part, colour, font)
        left += font.getlength(part)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, width: int) -> str:
    """The text in lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font(15).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
