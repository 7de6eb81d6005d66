"""A request -> a file: pictures of what the stage shows, and the numbers behind it.

    .webp .gif .mp4   every state that the stage shows, a frame each (all T + 1 of them up to T = 128)
    .png              one state
    .npz              all arrays of all steps, as the sampler made them (float32)
    .json             the same for the first samples, in six digits

The picture is drawn from the payload of the stage or the gallery, so that it is the page's. Every file names the link that made it:
in the EXIF description (.webp), the comment (.gif, .mp4), the text chunk "Comment" (.png), or the field `link`.
The same request makes the same bytes (an .npz: the same arrays; a zip archive knows the time).
"""

from __future__ import annotations

import base64
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from . import checkpoint
from .gallery import gallery
from .image_metrics import nearest
from .images import load_images, sheet, to_uint8
from .machine import while_wanted
from .sampler import Step
from .request import DENOISERS, Request, whole
from .session import Session
from .views import MAX_SHOWN, stage

__all__ = ["KINDS", "LAYERS", "MAX_NUMBERS", "Look", "finite", "json_samples", "link", "neighbours", "npz", "states", "write"]

KINDS = {  # ending -> what it is
    "webp": "Animated WebP",
    "gif": "Animated GIF",
    "mp4": "MP4 video",
    "png": "PNG of one step",
    "npz": "NumPy arrays",
    "json": "JSON",
}
MAX_NUMBERS = 25_000_000  # in one .npz: 100 MB
JSON_SAMPLES, JSON_NUMBERS = 1000, 1_000_000  # at most, in one .json

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



def write(
    path: Path, session: Session, request: Request, *, t: int | None = None, address: str = "", glide: int = 0,
    look: Look = Look(),
) -> None:  # fmt: skip
    """Write what the ending of `path` names: see KINDS.

    t: the state of a .png, 0 (the last) unless given. address: the page's, for the link. glide: frames between two
    states of an animation of points. look: what a picture of points shows. ValueError, in one sentence, for another ending,
    a t or a held sample that there is not, too many numbers, data that has no picture, or a path that cannot be written.
    """
    kind = path.suffix[1:].lower()
    if kind not in KINDS:
        raise ValueError(f"an export ends in .{', .'.join(KINDS)}, got {path.name[-40:]!r}")
    if t is not None and kind != "png":
        raise ValueError(f"t chooses the step of a .png; a .{kind} holds all of them")
    if t is not None and not 0 <= t <= request.start:
        raise ValueError(f"t must be in 0..{request.start}, got {t}")
    if not 0 <= glide <= 60:
        raise ValueError(f"glide must be in 0..60 frames, got {glide}")
    images = session.source(request.data).law is None
    if glide and images:
        raise ValueError("images go from state to state, without frames between them")
    if look.hold is not None and look.hold >= request.n:
        raise ValueError(f"the held sample must be in 0..{request.n - 1}, got {look.hold}")
    from_link = link(request, address)
    if kind == "npz":
        arrays = _arrays(session, request) | {"link": np.array(from_link)}
        return _replace(path, lambda file: np.savez_compressed(file, **arrays))
    if kind == "json":
        text = json.dumps(_numbers(session, request) | {"link": from_link}, allow_nan=False)
        return _replace(path, lambda file: file.write(text.encode()))
    from_link += (f"&t={t}" if t else "") + ("" if images else look.to_query())
    view = _view(session, request) | {"look": look}
    if kind == "png":
        i = min(range(len(view["t"])), key=lambda i: abs(view["t"][i] - (t or 0)))
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", from_link)
        return _replace(path, lambda file: _sheet(view, i).save(file, "png", pnginfo=text))
    last = len(view["t"]) - 1
    ease = [3 * w**2 - 2 * w**3 for w in np.arange(1, glide + 1) / (glide + 1)]
    stops = [i + w for i in range(last) for w in (0, *ease)] + [last]
    # few steps deserve a look at each, many are one film of about ten seconds
    stay = 440 if glide else min(900, max(40, 10_000 // len(stops)))
    times = [stay if at == int(at) else 40 for at in stops]
    pictures = [_sheet(view, at) for at in while_wanted(stops)]
    save = {"webp": partial(_webp, lossless=images), "gif": _gif, "mp4": _mp4}[kind]
    _replace(path, lambda file: save(file, pictures, times, from_link))


def link(request: Request, address: str = "") -> str:
    """The address of the page that shows the request; without the page's own address, from its `?` on."""
    return f"{address}?{request.to_query()}"


def finite(value: Any) -> Any:
    """The same with None for what is infinite: JSON has no word for it."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def npz(path: Path, request: Request, steps: Sequence[Step]) -> None:
    """Write x (n, *D) and the states of every step of one run of the request.

    states (T+1, n, *D) from x_T to x_0; predicted (T, n, *D), the x_0 of each step; t (T+1,) and
    alpha_bar (T+1,), those of each state.
    """
    arrays = {"x": steps[-1].x_s.numpy(), **states(steps), **_scale(request)}
    _replace(path, lambda file: np.savez_compressed(file, **arrays, link=np.array(link(request))))


def neighbours(path: Path, session: Session, request: Request, k: int = 5) -> dict[str, float]:
    """Write a .png of up to eight images a denoiser, each before the k training images nearest to it.

    Returns by denoiser how far the nearest one is on average, in grey levels (image_metrics.nearest): what was learned by
    heart would be at 0.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"neighbours are written to a .png, got {path.name}")
    source, rows, distance = session.source(request.data), [], {}
    if source.law is not None or not source.set:
        raise ValueError(f"neighbours are looked for in a known set of images, {request.data[:40]} is none")
    known = load_images(source.set)
    for name in request.denoisers:
        *_, last = session.run(replace(request, n=min(8, request.n)), name)
        places, distances = nearest(last.x_s, known, k)
        distance[name] = float(distances[:, 0].mean())
        rows.append(np.concatenate([to_uint8(last.x_s)[:, None], known.images[places.numpy()]], 1))
    pictures = sheet(np.concatenate(rows).reshape(-1, *known.shape), columns=1 + k)
    _replace(path, lambda file: pictures.save(file, "png"))
    return distance


def _runs(session: Session, request: Request) -> Iterator[tuple[str, list[Step], str]]:
    """(denoiser, its steps, "") or (denoiser, [], why it refused), one after the other; ValueError where all refused."""
    refused = []
    for name in request.denoisers:
        try:
            yield name, list(session.run(request, name)), ""
        except ValueError as error:
            refused.append(str(error))
            yield name, [], str(error)
    _some(refused, request)


def _some(refused: Sequence[str], request: Request) -> None:
    """A file holds something: ValueError, with the first reason, where every denoiser refused."""
    if len(refused) == len(request.denoisers):
        raise ValueError(refused[0])


def _scale(request: Request) -> dict[str, np.ndarray]:
    """What all runs of a request share: t and alpha_bar of every state, from T down to 0."""
    t = np.arange(request.start, -1, -1)
    return {"t": t, "alpha_bar": request.steps().alpha_bar.numpy()[t], "request": np.array(request.to_query())}


def states(steps: Sequence[Step]) -> dict[str, np.ndarray]:
    """states (T+1, n, *D) from x_T to x_0 and predicted (T, n, *D), the x_0 of each step."""
    return {
        "states": np.stack([steps[0].x_t.numpy(), *(step.x_s.numpy() for step in steps)]),
        "predicted": np.stack([step.x_0.numpy() for step in steps]),
    }


def _arrays(session: Session, request: Request) -> dict[str, np.ndarray]:
    """Per denoiser NAME: NAME.states, NAME.predicted, NAME.z (T, n, L), or NAME.error; eps (T, n, *D) is everybody's."""
    size = math.prod(session.source(request.data).shape)
    numbers = request.n * request.start * len(request.denoisers) * 3 * size
    if numbers > MAX_NUMBERS:
        raise ValueError(f"an .npz holds at most {MAX_NUMBERS:,} numbers, this is {numbers:,}: ask for fewer points or steps")
    arrays = {"denoisers": np.array(request.denoisers), **_scale(request)}
    for name, steps, error in _runs(session, request):
        if error:
            arrays[f"{name}.error"] = np.array(error)
            continue
        arrays |= {f"{name}.{key}": value for key, value in states(steps).items()}
        arrays[f"{name}.z"] = np.stack([step.z.numpy() for step in steps])
        arrays["eps"] = np.stack([step.eps.numpy() for step in steps])
    return arrays


def _numbers(session: Session, request: Request) -> dict[str, Any]:
    """The same as lists, of the first `samples` samples; metrics (of all samples, of points) are null where infinite."""
    law, samples = session.source(request.data).law, json_samples(session, request)
    scale = {key: value.tolist() for key, value in _scale(request).items()}
    found: dict[str, Any] = {**scale, "request": request.to_dict(), "samples": samples, "denoisers": {}}
    for name, steps, error in _runs(session, request):
        if error:
            found["denoisers"][name] = {"error": error}
            continue
        metrics = session.score(request, steps[-1].x_s) if law else {}
        found["denoisers"][name] = {
            "label": DENOISERS.get(name, (name,))[0],
            "metrics": finite(metrics),
            **{key: _six_digits(value[:, :samples]) for key, value in states(steps).items()},
        }
    return found


def json_samples(session: Session, request: Request) -> int:
    """How many samples of a request its .json holds, the first ones."""
    per_sample = (2 * request.start + 1) * len(request.denoisers) * math.prod(session.source(request.data).shape)
    return max(1, min(request.n, JSON_SAMPLES, JSON_NUMBERS // per_sample))


def _six_digits(array: np.ndarray) -> list[Any]:
    return np.array([float(f"{v:.6g}") for v in array.ravel().tolist()]).reshape(array.shape).tolist()


# ---------------------------------------------------------------- pictures


def _view(session: Session, request: Request) -> dict[str, Any]:
    """The payload of the stage with its arrays decoded: density (F, G, G) or (F, G) in 0..1, x and x0 (F, n, dim).

    For images that of the gallery: x and x0 uint8 (F, n, 3, H, W).
    """
    if session.source(request.data).law is None:
        *_, payload = gallery(session, request)
        view = json.loads(payload) | {"request": request}
        _some([panel["error"] for panel in view["panels"] if panel["error"]], request)
        for panel in view["panels"]:
            if not panel["error"]:
                panel["x"] = _cut(panel["x"], view)
                panel["x0"] = np.concatenate([_cut(panel["x0"], view), panel["x"][-1:]])
        return view
    view = json.loads(stage(session, request)) | {"request": request}
    _some([panel["error"] for panel in view["panels"] if panel["error"]], request)
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


def _sheet(view: dict[str, Any], at: float) -> Image.Image:
    """All panels at `at`, a state's index or, in a glide, between two."""
    if "shape" in view:
        return _contact(view, at)
    panels, now = view["panels"], round(at)
    i = min(int(at), len(view["t"]) - 2)
    rows = [name for name in METRICS if any(panel["metrics"] and panel["metrics"][-1] for panel in panels)]
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
            _text(pen, (left, below), "Predicted x_0 against the law", MUTED, 12)
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
    high = round(0.64 * SIDE) if "paths" in look.layers or look.hold is not None else SIDE - 8
    side, base, room = fine * SIDE, fine * high, fine * (high - 16)
    width = 2 * limit / bins
    bars, guessed = (np.histogram(v[:, 0], bins, (-limit, limit))[0] / (len(x) * width) for v in (x, x_0))
    curve = ground / (ground.sum() * 2 * limit / len(ground))
    top = 1.35 * curve.max()
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


# ---------------------------------------------------------------- files


def _webp(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str, *, lossless: bool) -> None:
    exif = Image.Exif()
    exif[0x010E] = comment  # ImageDescription
    _animation(file, "webp", pictures, times, quality=70, method=1, lossless=lossless, exif=exif)


def _gif(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str) -> None:
    # one palette, of the first and the last picture: frames of their own palettes are slow and flicker
    both = Image.new("RGB", (pictures[0].width, 2 * pictures[0].height))
    both.paste(pictures[0])
    both.paste(pictures[-1], (0, pictures[0].height))
    palette = both.quantize(256, Image.Quantize.MEDIANCUT)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    _animation(file, "gif", flat, times, comment=comment.encode())


def _animation(file: IO[bytes], kind: str, pictures: Sequence[Image.Image], times: Sequence[int], **options: Any) -> None:
    """An endless loop that rests on its last picture."""
    times = [*times[:-1], max(times[-1], 900) * 2]
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=times, loop=0, **options)


def _mp4(file: IO[bytes], pictures: Sequence[Image.Image], times: Sequence[int], comment: str) -> None:
    """H.264 at one constant rate, that of the greatest common divisor of the times (ms)."""
    try:
        import av
    except ImportError as error:
        raise ValueError("an .mp4 needs the package av: pip install av, or choose .webp or .gif") from error
    from fractions import Fraction

    unit = math.gcd(*times)
    with av.open(file, "w", format="mp4") as video:
        video.metadata["comment"] = comment
        stream = video.add_stream("libx264", rate=Fraction(1000, unit))
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        stream.options = {"crf": "18", "preset": "medium"}
        for picture, time in while_wanted(zip(pictures, times, strict=True)):
            for _ in range(time // unit):
                video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())


def _replace(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """What `write` writes becomes the file at once; ValueError where it cannot be written."""
    write(file := io.BytesIO())
    checkpoint.write(path, file.getvalue())
