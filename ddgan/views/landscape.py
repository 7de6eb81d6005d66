"""The laws at one x_t in 3-D: density over the plane as surfaces side by side, for the page and as a file of its own.

A figure of plotly's has a scene for each surface. Heights are square roots of densities on one scale, since a peak of
the truth may be a hundred times as high as its best Gaussian; the axis says so. What differs by theme and by width is
in `layout.meta`, as {path: value}: assets/landscape.js puts it in, and shows all scenes from one place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from plotly import graph_objects as go
from plotly.offline import get_plotlyjs, get_plotlyjs_version

from .. import files
from ..data.points import Axis
from ..data.toys import TOYS, data_label
from ..explorer.plane import centres, ticked
from ..explorer.posterior import MANY, SIDE, Landscape, Question, landscape
from ..explorer.request import link
from ..explorer.session import Session
from .answers import label, subscript
from .looks import COLOURS, css, mixed

__all__ = ["MARK", "page", "saved", "shown", "write"]

MARK = "/* plotly.js */"  # stands in `page` for the script that draws it
ROW, STACKED, TITLE = 380, 290, 34  # pixels: a scene among others beside it, or below it, and what is written above it
NARROW = 900  # pixels of width, under which scenes stand below each other
PLANE = (Axis("", 0.0, 1.0), Axis("", 0.0, 1.0))  # without names and units
CAMERA = {"eye": {"x": -1.18, "y": -1.4, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.1}}  # at first
LIGHT = {"ambient": 0.72, "diffuse": 0.5, "specular": 0.06, "roughness": 0.7, "fresnel": 0.05}
_ASSETS = Path(__file__).parents[2] / "assets"


def shown(session: Session, question: Question) -> dict[str, Any]:
    """What the page draws: a figure, its words, and the version of plotly.js that it is made for.

    Refused as of posterior.landscape.
    """
    land, axes = landscape(session, question), session.source(question.request.data).axes or PLANE
    drawn = _figure(land, question, axes).to_dict()  # its arrays are base64 already
    return {"figure": drawn, **_words(session, land, question, axes), "plotly": get_plotlyjs_version()}


def page(session: Session, question: Question, address: str = "") -> str:
    """An HTML page that shows the landscape without the network, once plotly.js stands where it says MARK.

    `address` is that of the explorer, for its link.
    """
    found = shown(session, question)
    there = escape(f"{link(question.request, address)}&at={question.to_words()}&landscape=1")
    style, script = css() + _asset("landscape.css"), _asset("landscape.js")
    opened = f' <a href="{there}">Open in the explorer</a>' if address else ""
    drawn = json.dumps(found["figure"]).replace("<", "\\u003c")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="ddgan-link" content="{there}">
<title>{escape(found["title"])}</title>
<style>
{style}</style>
<script>{MARK}</script>
</head>
<body class="landscape-page">
<h1>{escape(found["title"])}</h1>
<p>{escape(found["lead"])}</p>
<div class="landscape"></div>
<p class="landscape-note">{escape(found["note"])}{opened}</p>
<script>
{script}
const dark = matchMedia('(prefers-color-scheme: dark)');
const drawn = landscape(document.querySelector('.landscape'), Plotly, () => dark.matches);
const follow = () => {{ document.documentElement.classList.toggle('dark', dark.matches); drawn.draw(); }};
dark.addEventListener('change', follow);
follow();
drawn.show({drawn});
</script>
</body>
</html>
"""


def saved(session: Session, question: Question, address: str) -> dict[str, str]:
    """The parts of the file for the page, which has plotly.js already, and the file's name."""
    request = question.request
    data = request.data if request.data in TOYS else "own-points"
    return {
        "page": page(session, question, address),
        "mark": MARK,
        "plotly": get_plotlyjs_version(),
        "name": f"ddgan-{data}-T{request.T}-t{question.t}-{question.of}.html",
    }


def write(path: Path, session: Session, question: Question, address: str = "") -> None:
    """Write `page` with its script, some 5 MB; Refused as of posterior.landscape, or where it cannot be written."""
    files.write(path, page(session, question, address).replace(MARK, get_plotlyjs()).encode())


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


# ---------------------------------------------------------------- words


def _of(question: Question) -> str:
    """What a law is of: x_0, or x_s by its number."""
    return subscript(question.t - 1 if question.of == "x_s" else 0)


def _titles(land: Landscape, question: Question) -> list[str]:
    truth = f"Truth: q({_of(question)}|{subscript(question.t)})"
    return [f"<b>{truth if name == 'truth' else label(name)}</b>" for name in land.densities]


def _words(session: Session, land: Landscape, question: Question, axes: Sequence[Axis]) -> dict[str, str]:
    """The title, what one sees, and what it is made of."""
    request, of, given = question.request, _of(question), subscript(question.t)
    digits = [axis["digits"] for axis in ticked(tuple(axes), land.half)]
    places = (axis.centre + axis.unit * x for axis, x in zip(axes, question.x, strict=True))
    at = ", ".join(f"{v:,.{d}f}".replace("-", "−") for v, d in zip(places, digits, strict=True))
    drawn = "".join(f"{label(name)}: {MANY:,} draws. " for name in land.densities if name not in ("truth", "gaussian"))
    gap = max(question.truth(session).gap(), 0.0)
    return {
        "title": f"What could this {given} have been? q({of}|{given}) of {data_label(request.data)}",
        "lead": (
            f"The height is how likely each {of} is, given {given} = ({at}). Where the truth has several peaks, "
            "a good generator has them all, and a Gaussian has one."
        ),
        "note": (
            f"Schedule {request.schedule}, T = {request.T}, step {given} → {subscript(question.t - 1)}. "
            f"KL from the truth to its best Gaussian: {gap:.2f} nats. {drawn}"
            f"All are blurred alike, by {land.blur:.2g} standard deviations of the data."
        ),
    }


# ---------------------------------------------------------------- the figure


def _figure(land: Landscape, question: Question, axes: Sequence[Axis]) -> go.Figure:
    names = [f"scene{i or ''}" for i in (0, *range(2, len(land.densities) + 1))]
    top = math.sqrt(max(float(p.max()) for p in land.densities.values()))
    across = centres(SIDE, land.half).numpy().astype(np.float32)
    drawn = go.Figure()
    for scene, (name, p) in zip(names, land.densities.items(), strict=True):
        drawn.add_surface(x=across, y=across, z=p.T.sqrt().float().numpy(), name=name, scene=scene, cmin=0, cmax=top)
    source = {"x": -800, "y": -2000, "z": 2500}
    drawn.update_traces(showscale=False, hoverinfo="skip", lighting=LIGHT, lightposition=source)
    plain = {"showarrow": False, "yanchor": "bottom"}
    titles = [{"text": text, "xanchor": "center", **plain} for text in _titles(land, question)]
    height = {"text": "↑ density, √ scale", "xanchor": "left", "xshift": 10, "font": {"size": 12}, **plain}
    drawn.update_layout(
        **dict.fromkeys(names, _scene(land, axes, top)),
        annotations=[*titles, *[height] * len(names)],
        template="none",
        margin=dict.fromkeys("lrtb", 0),
        paper_bgcolor="rgba(0,0,0,0)",
        font={"family": "Source Sans Pro, system-ui, sans-serif", "size": 15},
    )
    themes = {theme: _theme(k, land, question, names) for k, theme in enumerate(("light", "dark"))}
    shapes = {"wide": _beside(names), "narrow": _below(names)}
    for path, value in {**themes["light"], **shapes["wide"]}.items():
        drawn[path] = value
    return drawn.update_layout(meta={"themes": themes, "shapes": shapes, "narrow": NARROW})


def _scene(land: Landscape, axes: Sequence[Axis], top: float) -> dict[str, Any]:
    """A scene; the axes of the plane have ticks in a user's units."""
    placed = [axis._replace(centre=axis.centre + axis.unit * at) for axis, at in zip(axes, land.centre, strict=True)]
    x, y = (_axis(land.half, axis["name"], axis["ticks"], -land.half) for axis in ticked(tuple(placed), land.half))
    return {
        "xaxis": x,
        "yaxis": y,
        "zaxis": _axis(1.02 * top, "", _heights(top)),
        "aspectmode": "manual",
        "aspectratio": {"x": 1, "y": 1, "z": 0.74},
        "camera": CAMERA,
        "dragmode": False,
    }


def _heights(top: float) -> list[tuple[float, str]]:
    """Ticks of an axis of square roots to `top`: a round density, a quarter of it, and none."""
    tens = 10.0 ** math.floor(math.log10(top**2))
    most = max(m * tens for m in (1, 2, 4, 8) if m * tens <= top**2)
    return [(math.sqrt(v), f"{v:g}") for v in (0.0, most / 4, most)]


def _axis(high: float, title: str, ticks: Iterable[tuple[float, str]], low: float = 0.0) -> dict[str, Any]:
    places, texts = zip(*ticks, strict=True) if (ticks := list(ticks)) else ((), ())
    return {
        "range": [low, high],
        "title": {"text": title, "font": {"size": 12}},
        "tickvals": places,
        "ticktext": texts,
        "tickfont": {"size": 11},
        "tickangle": 0,
        "showbackground": False,
        "zeroline": False,
        "showspikes": False,
    }


def _theme(k: int, land: Landscape, question: Question, scenes: Sequence[str]) -> dict[str, Any]:
    """The colours of the k-th theme: surfaces have those of the flat pictures, from the ground up."""
    of = {"truth": "density", "gaussian": "best"}
    drawn = "x0" if question.of == "x_0" else "sample"
    colours = {name: look[k] for name, look in COLOURS.items()}
    paths: dict[str, Any] = {"layout.font.color": colours["ink"]}
    paths |= {f"layout.annotations.{len(scenes) + i}.font.color": colours["muted"] for i in range(len(scenes))}
    for i, (name, scene) in enumerate(zip(land.densities, scenes, strict=True)):
        colour = colours[of.get(name, drawn)]
        ground, peak = mixed(colours["plot"], colour, 0.14), mixed(colour, colours["ink"], 0.25)
        paths[f"data.{i}.colorscale"] = [[0, ground], [0.3, colour], [1, peak]]
        for side in "xyz":
            paths[f"layout.{scene}.{side}axis.color"] = colours["muted"]
            paths[f"layout.{scene}.{side}axis.gridcolor"] = colours["line"]
    return paths


def _written(i: int, n: int, middle: float, left: float, top: float, line: float) -> dict[str, float]:
    """Where the i-th scene of n has its title, and what its height is below that."""
    title, height = f"layout.annotations.{i}", f"layout.annotations.{n + i}"
    return {f"{title}.x": middle, f"{title}.y": top, f"{height}.x": left, f"{height}.y": top - line}


def _beside(scenes: Sequence[str]) -> dict[str, Any]:
    """A row of scenes, each below its title."""
    high, n = ROW + TITLE, len(scenes)
    paths: dict[str, Any] = {"layout.height": high}
    for i, scene in enumerate(scenes):
        paths[f"layout.{scene}.domain"] = {"x": [i / n, (i + 1) / n], "y": [0, ROW / high]}
        paths |= _written(i, n, (i + 0.5) / n, i / n, ROW / high, 24 / high)
    return paths


def _below(scenes: Sequence[str]) -> dict[str, Any]:
    """A column of scenes."""
    n = len(scenes)
    part = STACKED / (STACKED + TITLE) / n
    paths: dict[str, Any] = {"layout.height": n * (STACKED + TITLE)}
    for i, scene in enumerate(scenes):
        foot = 1 - (i + 1) / n
        paths[f"layout.{scene}.domain"] = {"x": [0, 1], "y": [foot, foot + part]}
        paths |= _written(i, n, 0.5, 0, foot + part, 24 / paths["layout.height"])
    return paths
