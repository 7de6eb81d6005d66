"""Figures as SVG, in a few shapes: legible on white and on black, in any of the usual kinds of colour vision.

Text and axes have the colour of the page's text where a figure stands in a page, and follow the system's light or dark
where it is a file of its own. A series is told by the shape of its mark as well as by its colour (Okabe, Ito 2008); a denoiser
has the same of both in every figure, and in the tab *Why*.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

__all__ = ["chart", "decode", "encode", "scatter"]

WIDTH, LINE = 460, 22  # of a figure, and the height of a row
EXTENT = 1.9  # of the plane that a scatter plot shows, each way

Mark = Callable[[float, float], str]
_CIRCLE: Mark = lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'  # noqa: E731
_SQUARE: Mark = lambda x, y: f'<rect x="{x - 3.6:.1f}" y="{y - 3.6:.1f}" width="7.2" height="7.2"/>'  # noqa: E731
_TRIANGLE: Mark = lambda x, y: f'<path d="M{x:.1f} {y - 5:.1f}l5 8.6h-10z"/>'  # noqa: E731
_DIAMOND: Mark = lambda x, y: f'<path d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>'  # noqa: E731
_CROSS: Mark = lambda x, y: f'<path d="M{x - 1.5:.1f} {y - 5:.1f}h3v3.5h3.5v3h-3.5v3.5h-3v-3.5h-3.5v-3h3.5z"/>'  # noqa: E731
_MARKS = (("#0f86c9", _CIRCLE), ("#d55e00", _SQUARE))  # of series that are no denoisers, in order
_DENOISERS = {
    "exact law": ("#0f86c9", _CIRCLE),
    "two exact samples": ("#0f86c9", _CIRCLE),
    "best Gaussian": ("#1a9e77", _SQUARE),
    "DDPM with the exact mean": ("currentColor", _TRIANGLE),
    "DDGAN": ("#c568a0", _DIAMOND),
    "learned Gaussian": ("#d55e00", _CROSS),
}


def chart(rows: Mapping[str, Mapping[str, Sequence[float]]], label: str, *, log: bool = False, joined: bool = False) -> str:
    """A line for every row, a mark for every value of its series: rows {row: {series: values}}; `label` names the values.

    A logarithmic axis has at most five decades: what is smaller, or not above 0, stands at its edge.
    `joined` draws every series' way through the rows, where these are steps of something.
    """
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    values = [v for row in rows.values() for found in row.values() for v in found if v > 0 or not log]
    if not values:
        raise ValueError("a chart needs at least one value, on a logarithmic axis one above 0")
    ticks = _decades(min(values), max(values)) if log else _ticks(min(0.0, *values), max(values))
    scale: Callable[[float], float] = (lambda v: math.log10(max(v, ticks[0]))) if log else float
    low, high = scale(ticks[0]), scale(ticks[-1])
    left, top = 18 + 7.2 * max(map(len, rows)), 26 + 18 * (len(series) > 1) * math.ceil(len(series) / 2)
    bottom = top + LINE * len(rows)

    def X(v: float) -> float:
        return left + (WIDTH - 24 - left) * (scale(v) - low) / (high - low)

    parts = []
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{X(tick):.1f} {top - 8}V{bottom}"/>')
        parts.append(f'<text x="{X(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{bottom + 34}" text-anchor="middle">{escape(label)}</text>')
    if len(series) > 1:
        for i, name in enumerate(series):
            x, y = 14 + (i % 2) * WIDTH / 2, 14 + 18 * (i // 2)
            parts.append(f'{_mark(name, i, x, y)}<text x="{x + 12}" y="{y + 4}">{escape(name)}</text>')
    heights = {row: top + LINE * (i + 0.4) for i, row in enumerate(rows)}
    for row, y in heights.items():
        parts.append(f'<text x="{left - 10:.1f}" y="{y + 4:.1f}" text-anchor="end">{escape(row)}</text>')
    for i, name in enumerate(series):
        beside = 3 * (i - (len(series) - 1) / 2)  # so that equal values do not hide each other
        if joined:
            means = {k: sum(row[name]) / len(row[name]) for k, row in rows.items() if row.get(name)}
            way = " ".join(f"{X(mean):.1f},{heights[k] + beside:.1f}" for k, mean in means.items())
            parts.append(f'<polyline points="{way}" fill="none" stroke="{_look(name, i)[0]}" stroke-width="1.5"/>')
        parts += [_mark(name, i, X(v), heights[k] + beside) for k, row in rows.items() for v in row.get(name, ())]
    return _svg(bottom + 42, "".join(parts), label)


def scatter(panels: Mapping[str, np.ndarray], label: str, columns: int = 4) -> str:
    """Points (N, 2) of every panel, under its name."""
    side = WIDTH / columns
    parts = []
    for i, (name, points) in enumerate(panels.items()):
        x, y = (i % columns) * side, (i // columns) * (side + 18)
        inner = side - 8
        places = ((points * [1, -1] + EXTENT) / (2 * EXTENT)).clip(0, 1) * inner
        dots = "".join(f"M{a} {b}h0" for a, b in places.round().astype(int))
        parts.append(
            f'<g transform="translate({x + 4:.1f} {y + 20:.1f})">'
            f'<text x="{inner / 2:.1f}" y="-6" text-anchor="middle">{escape(name)}</text>'
            f'<rect class="grid" width="{inner:.1f}" height="{inner:.1f}"/>'
            f'<path d="{dots}" stroke="{_MARKS[0][0]}" stroke-width="1.8" stroke-linecap="round"/></g>'
        )
    bottom = math.ceil(len(panels) / columns) * (side + 18)
    parts.append(f'<text x="{WIDTH / 2}" y="{bottom + 16:.0f}" text-anchor="middle">{escape(label)}</text>')
    return _svg(bottom + 24, "".join(parts), label)


def encode(points: np.ndarray) -> str:
    """Points (N, 2) in -EXTENT..EXTENT as base64 of two bytes each: what a scatter plot shows, in the file of results."""
    return base64.b64encode(((points / EXTENT + 1) * 127.5).round().clip(0, 255).astype(np.uint8).tobytes()).decode()


def decode(text: str) -> np.ndarray:
    """The points (N, 2) of `encode`."""
    return (np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 2) / 127.5 - 1) * EXTENT


def _look(name: str, i: int) -> tuple[str, Mark]:
    """Colour and shape of the i-th series."""
    return _DENOISERS.get(name) or _MARKS[i % len(_MARKS)]


def _mark(name: str, i: int, x: float, y: float) -> str:
    colour, shape = _look(name, i)
    return f'<g fill="{colour}">{shape(x, y)}</g>'


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers that hold low and high between them."""
    rough = (high - low) / 4 or 1.0
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.floor(low / step + 1e-9)
    return [round(step * i, 10) for i in range(first, math.ceil(high / step - 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """The powers of ten around low and high, the last six at most."""
    last = math.ceil(math.log10(high))
    first = min(max(math.floor(math.log10(low)), last - 5), last - 1)
    return [10.0**i for i in range(first, last + 1)]


def _svg(height: float, body: str, label: str) -> str:
    # svg:root matches in a file of its own alone; in a page the figure inherits the page's colour
    style = (
        "svg:root{color:#24292f}@media(prefers-color-scheme:dark){svg:root{color:#e6e8eb}}"
        ".chart text{fill:currentColor;font:12px system-ui,sans-serif}"
        ".chart .grid{stroke:currentColor;stroke-opacity:.25;fill:none}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}"><style>{style}</style>{body}</svg>\n'
    )
