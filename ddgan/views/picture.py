"""What the stage or the gallery shows, as a picture: drawn from the same scene, so that it is the page's.

Points: a panel for every denoiser, with its numbers below; images: the states x_t and the x_0 predicted from them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..data.images import sheet, to_uint8
from ..errors import Refused
from ..explorer.parse import whole
from ..explorer.scene import Panel, Scene
from .answers import heading, sentence
from .looks import ALPHAS, COLOURS, FOLLOWED, rgb
from .stage import MAX_SHOWN, not_shown, stage

__all__ = ["LAYERS", "Look", "paint", "seen"]

_LIGHT = {name: rgb(colour) for name, (colour, _) in COLOURS.items()}  # exports have the page's light looks
SAMPLE, PREDICTED, HELD, DENSITY = _LIGHT["sample"], _LIGHT["x0"], _LIGHT["focus"], _LIGHT["density"]
PLOT, LINE, INK, MUTED = _LIGHT["plot"], _LIGHT["line"], _LIGHT["ink"], _LIGHT["muted"]
SAMPLE_ALPHA, X0_ALPHA, DENSITY_PEAK = (ALPHAS[of][0] for of in ("sample-alpha", "x0-alpha", "density-peak"))
_BAR = tuple(round(p + SAMPLE_ALPHA * (s - p)) for p, s in zip(PLOT, SAMPLE, strict=True))
SIDE, GAP, TOP, ROW = 320, 18, 92, 21  # pixels: a panel, between panels, above them, a line of numbers below
PHASES = 4  # places between two pixels that a disc is drawn at, in each direction
FINE = 3  # times as large lines are drawn, to be smooth
GRID_PIXELS = 360  # about: a grid of images, each pixel a whole number of pixels
METRICS = {
    "Energy distance (floor)": lambda m: "" if m["energy"] is None else f"{m['energy']:.4f} ({m['floor']:.4f})",
    "Modes": lambda m: f"{m['modes']} / {m['of']}",
    "On a mode": lambda m: f"{m['on_mode']:.1%}",
    "KL": lambda m: "" if m["kl"] is None else f"{m['kl']:.3f}",
    "Width": lambda m: "" if m["width"] is None else f"{m['width']:.2f}",
    "SW_2": lambda m: f"{m['sw2']:.3f}",
}
FIRST = ("samples", "density", "x0", "paths")  # layers that the page begins with
LAYERS = (*FIRST, "field")  # of the stage, see assets/stage.js


class Look(NamedTuple):
    """How the stage shows points: some of LAYERS, and the sample that is held."""

    layers: tuple[str, ...] = ("samples", "density")
    hold: int | None = None

    @classmethod
    def parse(cls, layers: str, hold: Any = None) -> Look:
        """From words as in a link, like samples,density,x0,paths or none, and a sample's number. Refused for others."""
        names = tuple(name for name in layers.split(",") if name not in ("", "none"))
        if not set(names) <= {*LAYERS}:
            raise Refused(f"layers must be some of {', '.join(LAYERS)}, or none; got {layers[:40]!r}")
        return cls(
            tuple(name for name in LAYERS if name in names),
            None if hold is None else whole("hold", hold, 0, MAX_SHOWN - 1),
        )

    def to_query(self) -> str:
        """The part of a link that describes the look; it follows the part that describes the request."""
        layers = "" if self.layers == FIRST else f"&layers={','.join(self.layers) or 'none'}"
        return layers + (f"&hold={self.hold}" if self.hold is not None else "")


def seen(scene: Scene, look: Look = Look(), field_of: Callable[[int], dict[str, Any]] | None = None) -> dict[str, Any]:
    """What is painted of a scene: what the stage draws, with density (F, G, G) or (F, G) in 0..1, x and x0 (F, n, dim).

    Coordinates are rounded as the page is sent them. Of images x and x0 are uint8 (F, n, C, H, W). `field_of` has the
    answer of field.py for the step from t, which the layer `field` paints. Refused, with the first reason, where every
    denoiser refused.
    """
    if scene.source.law is None:
        scene.check()
        levels = {"t": scene.t, "a": scene.signal, "sigma": scene.noise}
        panels = [_images(scene, panel) for panel in scene.panels]
        return {"scene": scene, **levels, "n": scene.request.n, "shape": scene.source.shape, "panels": panels}
    refusals = [why for panel in scene.panels if (why := not_shown(panel))]
    if len(refusals) == len(scene.panels):
        raise refusals[0]
    fields = lru_cache(field_of) if field_of and "field" in look.layers else None
    view = stage(scene) | {"scene": scene, "look": look, "fields": fields}
    view["density"] = view["density"]["data"] / np.float32(255)
    for panel in view["panels"]:
        for key in () if panel["error"] else ("x", "x0"):
            panel[key] = panel[key].astype(np.float32) * view["scale"]
    return view


def _images(scene: Scene, panel: Panel) -> dict[str, Any]:
    label, _ = heading(scene, panel)
    if panel.refusal:
        return {"label": label, "error": sentence(panel.refusal)}
    x, x_0 = (np.stack([to_uint8(images) for images in of]) for of in (panel.states, panel.predicted))
    return {"label": label, "error": None, "x": x, "x0": x_0}


def _paper(view: dict[str, Any], at: float, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A sheet with what all have: the level and the place on the scrubber above, what it shows below."""
    request, now = view["scene"].request, round(at)
    paper = Image.new("RGB", (width + width % 2, height + height % 2), "white")  # videos want even sides
    pen = ImageDraw.Draw(paper)
    pen.text((GAP, 14), f"t = {view['t'][now]} of {request.T}", INK, _font(19))
    level = f"signal {view['a'][now]:.2f}, noise {view['sigma'][now]:.2f}"
    pen.text((width - GAP, 17), level, MUTED, _font(15), anchor="ra")
    pen.rounded_rectangle((GAP, 46, width - GAP, 50), 2, LINE)
    knob = GAP + (width - 2 * GAP) * at / (len(view["t"]) - 1)
    pen.rounded_rectangle((GAP, 46, max(knob, GAP + 4), 50), 2, SAMPLE)
    kind = "image" if "shape" in view else "point"
    data = "own points" if request.data.startswith("points:") else Path(request.data).name
    what = f"{data}, {request.schedule}, seed {request.seed}, {request.n} {kind}{'s' * (request.n != 1)}"
    what += f", class {request.label}" * bool(request.label)
    pen.text((GAP, height - 25), what, MUTED, _font(12))
    return paper, pen


def _contact(view: dict[str, Any], at: float) -> Image.Image:
    """Of every panel the images x_t and, beside them, the x_0 predicted from them."""
    panels, i, columns = view["panels"], round(at), math.ceil(math.sqrt(view["n"]))
    _, H, W = view["shape"]
    rows, k = math.ceil(view["n"] / columns), max(1, round(GRID_PIXELS / (columns * (W + 1))))
    side, high = k * (columns * (W + 1) - 1), k * (rows * (H + 1) - 1)
    paper, pen = _paper(view, at, len(panels) * 2 * (side + GAP) + GAP, TOP + high + ROW + 34)
    for column, panel in enumerate(panels):
        left = GAP + column * 2 * (side + GAP)
        pen.text((left, TOP - 27), panel["label"], INK, _font(17))
        if panel["error"]:
            _refused(pen, panel, (left, TOP, left + 2 * side, TOP + high))
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
            _refused(pen, panel, (left, TOP, left + SIDE, TOP + SIDE))
        else:
            ground, x, x_0 = (
                (1 - at + i) * v[i] + (at - i) * v[i + 1] for v in (view["density"], panel["x"], panel["x0"])
            )
            x_0 = x_0 if at < len(view["t"]) - 1 else None  # there it is the sample itself
            picture = (_plane if view["dim"] == 2 else _line)(ground, x, x_0, view["limit"], view["look"])
            ways = _ways(view, panel, at)
            picture.paste(ways, mask=ways)
            _scales(picture, view["axes"], view["limit"])
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


def _refused(pen: ImageDraw.ImageDraw, panel: dict[str, Any], box: tuple[float, float, float, float]) -> None:
    """Why a panel shows nothing, in the middle of its box."""
    left, top, right, foot = box
    middle, words = ((left + right) / 2, (top + foot) / 2), _wrapped(panel["error"], right - left - 60)
    pen.multiline_text(middle, words, MUTED, _font(15), anchor="mm", align="center")


def _plane(ground: np.ndarray, x: np.ndarray, x_0: np.ndarray | None, limit: float, look: Look) -> Image.Image:
    """The density as a tint, half smooth and half in bands that read as contours; the points as discs on it."""
    alpha = DENSITY_PEAK * (0.55 * ground + 0.45 * np.floor(7 * ground) / 7)
    radius = min(3.2, max(0.9, SIDE / 230 * math.sqrt(2000 / len(x))))
    image = Image.new("RGB", (SIDE, SIDE), PLOT)
    if "density" in look.layers:
        image.paste(DENSITY, mask=_mask(alpha).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    if "samples" in look.layers:
        image.paste(SAMPLE, mask=_mask(_cloud(x, limit, radius)))
    if "x0" in look.layers and x_0 is not None:
        image.paste(PREDICTED, mask=_mask(_cloud(x_0, limit, 0.85 * radius, X0_ALPHA)))
    return image


def _ways(view: dict[str, Any], panel: dict[str, Any], at: float) -> Image.Image:
    """The ways of a few samples so far, the older the fainter, and x_0 as predicted from here.

    Of the held one the future too.
    """
    (layers, hold), n = view["look"], view["n"]
    ways = _Ways(view, panel, at)
    if view["fields"] and (t := view["t"][round(at)]):
        found = view["fields"](t)
        ways.arrows(found, next(p["moves"] for p in found["panels"] if p["key"] == panel["key"]))
    followed = [(2 * i + 1) * n // (2 * min(FOLLOWED, n)) for i in range(min(FOLLOWED, n))]
    for j in followed if "x0" in layers else ():
        ways.guess(j)
    for j in followed if "paths" in layers else ():
        ways.way(j, INK, 1, 0.85)
    if hold is not None:
        ways.future(hold)
        if "x0" in layers:
            ways.guess(hold)
        ways.way(hold, HELD, *((2, 0.3) if ways.last <= 16 else (1.2, 0.8)))
        ways.tag(hold)
    return ways.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


class _Ways:
    """A sheet, FINE times as large as a panel, on which the ways of samples are drawn as they stand at `at`."""

    def __init__(self, view: dict[str, Any], panel: dict[str, Any], at: float) -> None:
        self.limit, self.panel, self.at, self.last = view["limit"], panel, at, len(view["t"]) - 1
        self.image = Image.new("RGBA", (FINE * SIDE, FINE * SIDE))
        self.pen = ImageDraw.Draw(self.image)

    def place(self, key: str, at: float, j: int, time: float | None = None) -> tuple[float, float]:
        i = min(int(at), self.last - 1)
        x = (1 - at + i) * self.panel[key][i, j] + (at - i) * self.panel[key][i + 1, j]
        down = (1 - x[1] / self.limit) / 2 if len(x) == 2 else _strip((at if time is None else time) / self.last)
        return FINE * SIDE * (1 + x[0] / self.limit) / 2, FINE * SIDE * down

    def stops(self, start: float, end: float, j: int) -> list[tuple[float, float]]:
        between = range(math.ceil(start), math.floor(end) + 1)
        return [self.place("x", i, j) for i in sorted({start, *between, end})]

    def line(
        self, ends: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float, alpha: float
    ) -> None:
        self.pen.line(ends, (*colour, round(255 * alpha)), round(FINE * width), "curve")

    def disc(
        self, centre: tuple[float, float], radius: float, fill: tuple[int, int, int] | None, edge: tuple[int, int, int]
    ) -> None:
        self.pen.circle(centre, FINE * radius, fill, edge, FINE)

    def way(self, j: int, colour: tuple[int, int, int], width: float, fade: float) -> None:
        """The way of a sample so far; where the steps are many, the last twelve of one that is not held."""
        start, few = 0 if self.last <= 16 or colour == HELD else max(0, int(self.at) - 12), self.last <= 8
        points = self.stops(start, self.at, j)
        for k, leg in enumerate(zip(points, points[1:], strict=False)):
            alpha = 1 - fade * (len(points) - 1 - k) / len(points)
            if few:
                self.line(leg, PLOT, width + 2, 0.6 * alpha)
            self.line(leg, colour, width, alpha)
            if few:
                self.disc(leg[0], 1.6 + 0.4 * width, colour, PLOT)
        self.disc(points[-1], 2.8 + 0.6 * width, colour, PLOT)

    def arrows(self, found: dict[str, Any], moves: np.ndarray | None) -> None:
        """The mean steps from the places of the lattice, as assets/field.js draws and shortens them."""
        near = 1 - 2 * abs(self.at - round(self.at))
        if moves is None or near <= 0:
            return
        size, moves = found["size"], found["scale"] * moves[0]
        lengths = [np.linalg.norm(p["moves"][0], axis=1) for p in found["panels"] if p["moves"] is not None]
        long = found["scale"] * np.quantile(np.concatenate(lengths), 0.95)
        centre = (np.arange(size) + 0.5) / size
        if moves.shape[1] == 2:
            start = np.stack([a.ravel() for a in np.meshgrid(centre, 1 - centre, indexing="ij")], 1)
        else:
            start = np.stack([centre, np.full(size, 0.64 + 8 / SIDE)], 1)
        shaft = np.zeros_like(start)
        shaft[:, : moves.shape[1]] = moves * min(1, 1.8 * self.limit / size / long if long else 1) / (2 * self.limit)
        tips, lines = start + shaft * (1, -1), []
        for a, b in zip(FINE * SIDE * start, FINE * SIDE * tips, strict=True):
            head, turn = min(4 * FINE, 0.45 * math.dist(a, b)), math.atan2(b[1] - a[1], b[0] - a[0])
            ends = [b - head * np.array([math.cos(turn + w), math.sin(turn + w)]) for w in (-0.5, 0.5)]
            lines += [[tuple(b), tuple(end)] for end in (a, *ends)]
        for colour, width, alpha in ((PLOT, 3.4, 0.75), (INK, 1.3, 0.95)):
            for line in lines:
                self.line(line, colour, width, alpha * near)

    def guess(self, j: int) -> None:
        """The x_0 that is predicted from here; none at x_0 itself."""
        if self.at == self.last:
            return
        end = self.place("x0", self.at, j, self.last)
        self.line((self.place("x", self.at, j), end), PREDICTED, 1, 0.8)
        self.disc(end, 3, PREDICTED, PLOT)

    def future(self, j: int) -> None:
        """Where the held sample goes from here, dashed."""
        points = self.stops(self.at, self.last, j)
        for start, end in zip(points, points[1:], strict=False):
            step = 6 * FINE / max(math.dist(start, end), 1e-9)
            for dash in np.arange(0, 1, step):
                ends = [tuple(np.add(start, w * np.subtract(end, start))) for w in (dash, min(1, dash + step / 3))]
                self.line(ends, HELD, 1.5, 0.8)
        self.disc(self.place("x", self.last, j), 3, PLOT, HELD)

    def tag(self, j: int) -> None:
        """A ring around the held sample, and its number."""
        here, number = self.place("x", self.at, j), f"#{j}"
        self.disc(here, 8, None, HELD)
        left, top = min(here[0] + 12 * FINE, FINE * (SIDE - 60)), max(here[1] - 34 * FINE, 4 * FINE)
        wide = _font(13 * FINE).getlength(number) + 14 * FINE
        self.pen.rounded_rectangle((left, top, left + wide, top + 22 * FINE), 6 * FINE, HELD)
        self.pen.text((left + wide / 2, top + 11 * FINE), number, PLOT, _font(13 * FINE), anchor="mm")


def _scales(picture: Image.Image, axes: Sequence[dict[str, Any]], limit: float) -> None:
    """Ticks and names of the axes inside a panel, in the units of the user's table: those of assets/common.js."""
    pen = ImageDraw.Draw(picture)
    halo: dict[str, Any] = {"stroke_width": 2, "stroke_fill": PLOT}
    for (x, y), axis in zip(((1, 0), (0, 1)), axes, strict=False):
        for place, text in axis["ticks"]:
            at = SIDE * (1 + place / limit * (x - y)) / 2
            if y and at > SIDE - 24:
                continue  # it would run into the other axis
            pen.line((at, SIDE - 5, at, SIDE) if x else (0, at, 5, at), MUTED)
            text = text.replace("\u2212", "-")  # the font has no minus
            pen.text((at, SIDE - 7) if x else (8, at), text, MUTED, _font(10), anchor="ms" if x else "lm", **halo)
        name = axis["name"] if len(axis["name"]) < 30 else axis["name"][:28] + "..."
        pen.text((SIDE - 6, SIDE - 20) if x else (6, 14), name, INK, _font(11), anchor="rs" if x else "ls", **halo)


def _strip(time: float) -> float:
    """Where on a panel's height a state of data on a line stands, time 0 for x_T and 1 for x_0: below the histogram."""
    return 1 - 10 / SIDE - (0.36 - 20 / SIDE) * time


def _mask(alpha: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * alpha).round().astype(np.uint8))


def _cloud(x: np.ndarray, limit: float, radius: float, alpha: float = SAMPLE_ALPHA) -> np.ndarray:
    """How much of every pixel the points cover, (SIDE, SIDE): 1 - prod (1 - coverage of one disc)."""
    discs = _discs(radius, alpha)
    size = discs.shape[-1]
    fine = np.stack([x[:, 1] * -1, x[:, 0]], 1) / limit * SIDE / 2 + SIDE / 2 - size / 2  # (row, column) of the corner
    fine = np.floor(fine * PHASES).astype(int)
    corner, phase = np.divmod(fine, PHASES)
    inside = ((corner >= 0) & (corner < SIDE - size)).all(1)
    corner, phase = corner[inside], phase[inside]
    offset = (np.arange(size)[:, None] * SIDE + np.arange(size)).ravel()
    pixels = (corner @ [SIDE, 1])[:, None] + offset
    free = discs[phase[:, 0], phase[:, 1]].reshape(len(corner), -1)
    return 1 - np.exp(np.bincount(pixels.ravel(), free.ravel(), SIDE * SIDE)).reshape(SIDE, SIDE)


@lru_cache(maxsize=8)
def _discs(radius: float, alpha: float) -> np.ndarray:
    """log (1 - coverage) of a disc at PHASES^2 places between pixels, (PHASES, PHASES, size, size)."""
    fine = 8  # as exact in each direction as that many parts of a pixel are
    size = 2 * math.ceil(radius) + 2
    axis = (np.arange(size * fine) + 0.5) / fine - size / 2
    shift = (np.arange(PHASES) + 0.5) / PHASES
    squared = (axis - shift[:, None]) ** 2
    inside = squared[:, None, :, None] + squared[None, :, None, :] <= radius**2
    coverage = inside.reshape(PHASES, PHASES, size, fine, size, fine).mean((3, 5))
    return np.log1p(-alpha * coverage)


def _line(ground: np.ndarray, x: np.ndarray, x_0: np.ndarray | None, limit: float, look: Look) -> Image.Image:
    """The samples as a histogram, the density as a curve over it, both of area one.

    Above the ways, where these are drawn.
    """
    bins, fine = 80, FINE
    high = SIDE - 8 if {"paths", "x0", "field"}.isdisjoint(look.layers) and look.hold is None else round(0.64 * SIDE)
    side, base, room = fine * SIDE, fine * high, fine * (high - 16)
    width = 2 * limit / bins
    guesses = x_0 if x_0 is not None and "x0" in look.layers else x[:0]
    bars, guessed = (np.histogram(v[:, 0], bins, (-limit, limit))[0] / (len(x) * width) for v in (x, guesses))
    curve = ground / (ground.sum() * 2 * limit / len(ground))
    top = max(1.35 * curve.max(), 1.05 * guessed.max())
    image = Image.new("RGB", (side, side), PLOT)
    pen = ImageDraw.Draw(image)
    for k in np.flatnonzero(bars) if "samples" in look.layers else ():
        high = base - room * min(1, bars[k] / top)
        pen.rectangle((k * side / bins + 1, high, (k + 1) * side / bins - 2, base), _BAR)
    points = [((k + 0.5) * side / len(curve), base - room * v / top) for k, v in enumerate(curve)]
    if "density" in look.layers:
        pen.line(points, "white", 4 * fine, "curve")
        pen.line(points, DENSITY, 2 * fine, "curve")
    if len(guesses):
        tops = base - room * np.minimum(1, guessed / top)
        edges = np.arange(bins + 1) * side / bins
        pen.line(
            [(0, base), *((edges[k + i], v) for k, v in enumerate(tops) for i in (0, 1)), (side, base)],
            PREDICTED,
            round(1.5 * fine),
        )
    pen.line((0, base, side, base), LINE, fine)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int], size: int
) -> None:
    """Text whose x_0 has a subscript: the font has no such digits."""
    left, top = at
    for i, part in enumerate(re.split(r"_(\d+)", text)):
        font = _font(round(0.7 * size) if i % 2 else size)
        pen.text((left, top + (0.45 * size if i % 2 else 0)), part, colour, font)
        left += font.getlength(part)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, width: float) -> str:
    """The text in lines of at most `width` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if _font(15).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
