"""Make plotly figures from numbers. This needs no files and no browser; pictures.py draws the figures into files.

A figure has no background. Its text, axes and grid have a tone that is legible on white and on black, and the page
gives the text its own colour. Series differ in the shape of their marks as well as in colour (Okabe, Ito 2008). A
denoiser has the same shape and colour in every figure.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from ..errors import Refused
from ..views.looks import GRID_LINES, INK, SERIES, Mark, plotlys

__all__ = ["MARKS", "RACERS", "Race", "curves", "decode", "dots", "encode", "levels", "panels", "races"]

LINE, TEXT = 23, 18  # heights of a row of marks and of a line of text, pixels
EXTENT = 1.9  # of the plane that `panels` shows, each way
DECADES = 5  # the most that a logarithmic axis shows

MARKS = {name: plotlys(mark) for name, mark in SERIES.items()}
# series that are no denoisers, in order
OTHERS = MARKS["exact law"], Mark(MARKS["learned Gaussian"].colour, "square")
# looks of the series of a race that are not in the table, in order; contrast with white and with black is at least 3
RACERS = tuple(
    Mark(*look)
    for look in (
        ("#8a6fd1", "circle"), ("#a07a00", "square"), ("#cf4a3c", "triangle-up"), ("#1f8f9f", "diamond"),
        ("#6b8a1f", "x"), ("#b0568f", "triangle-down"), ("#3f7fd0", "star"), ("#b0723f", "pentagon"),
        ("#3f9a66", "hexagon"),
    )
)  # fmt: skip


def dots(
    rows: Mapping[str, Mapping[str, Sequence[float]]], axis: str, setting: str, *, form: str = ".3~g", log: bool = False
) -> go.Figure:
    """Draw a line for every row and a mark for every value of its series: rows {row: {series: values}}.

    `axis` names the values and their unit; `setting` names the data, the schedule and T. `form` is d3's format of a
    value. A logarithmic axis has at most DECADES decades. A smaller value, or one that is not above 0, gets a hollow
    mark at its edge. Refused if there is no value to show (on a logarithmic axis: none above 0).
    """
    values = [v for row in rows.values() for found in row.values() for v in found if v > 0 or not log]
    if not values:
        raise Refused("a chart needs at least one value, on a logarithmic axis one above 0")
    low, high = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))) if log else (0, 0)
    edge = 10.0 ** max(low, high - DECADES) if log else -math.inf
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    figure = go.Figure()
    for i, name in enumerate(series):
        beside = 0.14 * (i - (len(series) - 1) / 2)  # so that equal values do not hide each other
        found = [(row, y + beside, v) for y, (row, of) in enumerate(rows.items()) for v in of.get(name, ())]
        mark = MARKS.get(name) or OTHERS[i % len(OTHERS)]
        symbols = [mark.shape + "-open" * (v < edge) for _, _, v in found]
        figure.add_scatter(
            x=[max(v, edge) for _, _, v in found],
            y=[y for _, y, _ in found],
            mode="markers",
            name=_words(name),
            marker={"color": mark.colour, "symbol": symbols, "size": 9},
            text=[_words(row) for row, _, _ in found],
            customdata=[v for _, _, v in found],
            hovertemplate=f"%{{text}}<br>%{{customdata:{form}}}",
        )
    across = {"type": "log", "dtick": 1, "tickformat": "~g"} if log else {"rangemode": "tozero", "nticks": 6}
    if form.endswith("%"):
        across["tickformat"] = ".0%"
    names = {"tickmode": "array", "tickvals": [*range(len(rows))], "ticktext": [*map(_words, rows)]}
    _look(figure, setting, height=LINE * len(rows) + TEXT * math.ceil(len(series) / 2) * (len(series) > 1))
    figure.update_xaxes(title_text=_words(axis), **across)
    figure.update_yaxes(**names, range=[len(rows) - 0.5, -0.5])
    return figure


def curves(
    x: Sequence[int], series: Mapping[str, Sequence[float]], axes: tuple[str, str], setting: str, *, form: str = ".3~g"
) -> go.Figure:
    """Draw a curve for every series over x (powers of two). `axes` name x and the values. The rest is as in `dots`."""
    figure = go.Figure()
    for i, (name, values) in enumerate(series.items()):
        mark = MARKS.get(name) or OTHERS[i % len(OTHERS)]
        figure.add_scatter(
            x=list(x),
            y=list(values),
            mode="lines+markers",
            name=_words(name),
            line={"color": mark.colour, "width": 1.5},
            marker={"color": mark.colour, "symbol": mark.shape, "size": 9},
            hovertemplate=f"{axes[0]}: %{{x}}<br>%{{y:{form}}}",
        )
    _look(figure, setting, height=240)
    steps = {"tickmode": "array", "tickvals": list(x), "ticktext": [str(v) for v in x]}
    percent = {"tickformat": ".0%"} if form.endswith("%") else {}
    figure.update_xaxes(title_text=_words(axes[0]), type="log", **steps)
    figure.update_yaxes(title_text=_words(axes[1]), rangemode="tozero", **percent)
    return figure


class Race(NamedTuple):
    """A panel of `races`: the values' name and unit, {series: [(x, value), ...]}, and the floor of exact samples."""

    axis: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    floor: float = 0.0

    def shown(self, name: str) -> list[tuple[float, float]]:
        """List (x, value) of a series, with values raised to the floor; without a floor, only values above 0."""
        return [(x, max(v, self.floor)) for x, v in self.series.get(name, ()) if max(v, self.floor) > 0]


def races(races: Mapping[str, Race], across: str, setting: str, columns: int = 2) -> go.Figure:
    """Draw quality against cost: a panel for every race, a curve for every series. Both axes are logarithmic.

    `across` names x. The floor is a dotted line; a value that is not above it gets a hollow mark on it. A series has
    one look in all panels, and panels of one axis have one range. Refused if no value is above 0.
    """
    names = list(dict.fromkeys(name for race in races.values() for name in race.series))
    points = [(race.axis, x, v) for race in races.values() for name in names for x, v in race.shown(name)]
    if not points:
        raise Refused("a race needs at least one value above 0")
    looks = dict(zip((name for name in names if name not in MARKS), RACERS * len(names), strict=False)) | MARKS
    lines = math.ceil(len(races) / columns)
    spacing = {"horizontal_spacing": 0.18, "vertical_spacing": 0.28 / lines}
    figure = make_subplots(lines, columns, subplot_titles=[*map(_words, races)], **spacing)
    in_legend: set[str] = set()
    before = ""
    for i, race in enumerate(races.values()):
        place = {"row": 1 + i // columns, "col": 1 + i % columns}
        _race(figure, race, looks, in_legend, place)
        logs = [math.log10(v) for axis, _, v in points if axis == race.axis]
        figure.update_yaxes(type="log", range=[min(logs) - 0.15, max(logs) + 0.15], dtick=1, tickformat="~g", **place)
        if not i % columns or race.axis != before:
            figure.update_yaxes(title_text=_words(race.axis), **place)
        if i + columns >= len(races):
            figure.update_xaxes(title_text=_words(across), **place)
        before = race.axis
    height = 130 * lines
    _look(figure, setting, height=height + LINE * math.ceil(len(names) / 2))  # on a phone
    ticks = [2**k for k in range(1 + math.ceil(math.log2(max(x for _, x, _ in points))))]
    figure.update_xaxes(
        type="log", tickmode="array", tickvals=ticks, ticktext=[str(v) for v in ticks], tickfont_size=11
    )
    figure.update_yaxes(tickfont_size=11)
    figure.update_layout(legend_y=1 + 30 / height, margin_t=24)
    figure.update_annotations(font_size=12)
    return figure


def _race(figure: go.Figure, race: Race, looks: Mapping[str, Mark], in_legend: set[str], place: dict[str, int]) -> None:
    """Draw one panel. `in_legend` holds the series that are already in the legend."""
    xs = [x for found in race.series.values() for x, _ in found]
    if race.floor > 0 and xs:
        line = {"color": INK, "width": 1, "dash": "dot"}
        ends, floor = [min(xs), max(xs)], [race.floor] * 2
        figure.add_scatter(x=ends, y=floor, mode="lines", line=line, name="floor", showlegend=False, **place)
    for name, found in race.series.items():
        mark, shown = looks[name], race.shown(name)
        symbols = [mark.shape + "-open" * (v <= race.floor) for _, v in shown]
        values = [v for _, v in found if max(v, race.floor) > 0]
        hover = "%{x}: %{customdata:.3~g}"
        _marks(figure, shown, name, mark, in_legend, hover, place, symbols=symbols, values=values)


def levels(
    panels: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]],
    ticks: Mapping[float, str],
    across: str,
    setting: str,
    *,
    looks: Mapping[str, Mark] = MARKS,
    line: tuple[float, str] | None = None,
    odds: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> go.Figure:
    """Draw values over noise levels, a panel below the other: {the values' name: {series: [(level, value), ...]}}.

    `across` names the levels, `ticks` are their names; noise is on the left. `looks` holds the marks of all series. A
    dotted line stands at the level `line`, with its name. `odds` is the reliability beside them, {series: [(predicted
    probability, frequency), ...]}.
    """
    lines = len(panels)
    beside: list[list[Any]] = [[{"rowspan": lines}], *[[None]] * (lines - 1)] if odds else [[]] * lines
    specs = [[{}, *right] for right in beside]
    widths: dict[str, Any] = {"column_widths": [0.58, 0.42], "horizontal_spacing": 0.17} if odds else {}
    figure = make_subplots(lines, len(specs[0]), specs=specs, vertical_spacing=0.09, **widths)
    in_legend: set[str] = set()
    for row, (axis, series) in enumerate(panels.items(), 1):
        for name, found in series.items():
            _marks(figure, found, name, looks[name], in_legend, "%{y:.3~g}", {"row": row, "col": 1})
        figure.update_yaxes(title_text=_words(axis), rangemode="tozero", nticks=5, row=row, col=1)
        if line:
            figure.add_vline(line[0], line={"color": INK, "width": 1, "dash": "dot"}, row=row, col=1)
    if line:
        words = {"text": _words(line[1]), "showarrow": False, "xanchor": "left", "xshift": 4, "yanchor": "top"}
        figure.add_annotation(x=line[0], y=1, yref="paper", font_size=12, **words)
    if odds:
        _reliability(figure, odds, looks, in_legend, {"row": 1, "col": 2})
    _look(figure, setting, height=130 * lines + LINE * math.ceil(len(in_legend) / 2))
    named = {"tickmode": "array", "tickvals": [*ticks], "ticktext": [*ticks.values()], "tickfont_size": 11}
    for row in range(1, len(panels) + 1):
        last = row == len(panels)
        figure.update_xaxes(**named, matches="x", showticklabels=last, row=row, col=1)
    figure.update_xaxes(title_text=_words(across), row=len(panels), col=1)
    return figure


def _marks(
    figure: go.Figure,
    points: Sequence[tuple[float, float]],
    name: str,
    mark: Mark,
    in_legend: set[str],
    hover: str,
    place: dict[str, int],
    *,
    symbols: Sequence[str] | None = None,
    values: Sequence[float] | None = None,
) -> None:
    """Draw the line of a series with a mark at each of its points (x, y); it is in the legend once.

    Marks may have `symbols` of their own, and `values` that `hover` tells.
    """
    figure.add_scatter(
        x=[x for x, _ in points],
        y=[y for _, y in points],
        mode="lines+markers",
        name=_words(name),
        legendgroup=name,
        showlegend=name not in in_legend,
        line={"color": mark.colour, "width": 1.5},
        marker={"color": mark.colour, "symbol": symbols or mark.shape, "size": 8},
        customdata=values,
        hovertemplate=hover,
        **place,
    )
    in_legend.add(name)


def _reliability(
    figure: go.Figure,
    odds: Mapping[str, Sequence[tuple[float, float]]],
    looks: Mapping[str, Mark],
    in_legend: set[str],
    place: dict[str, int],
) -> None:
    """Draw how often something happens over the probability that was predicted; as sure as right is the diagonal."""
    line = {"color": INK, "width": 1, "dash": "dot"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=line, showlegend=False, hoverinfo="skip", **place)
    for name, found in odds.items():
        _marks(figure, found, name, looks[name], in_legend, "%{x:.0%} predicted, %{y:.0%} right", place)
    figure.update_xaxes(title_text="predicted probability", tickformat=".0%", range=[0, 1.02], dtick=0.5, **place)
    figure.update_yaxes(title_text="how often right", tickformat=".0%", range=[0, 1.02], nticks=5, **place)


def panels(clouds: Mapping[str, np.ndarray], setting: str, columns: int) -> go.Figure:
    """Draw the points (N, 2) of every panel under its name. All panels show the plane from -EXTENT to EXTENT."""
    if not clouds:
        raise Refused("a chart needs at least one cloud of points")
    lines = math.ceil(len(clouds) / columns)
    spacing = {"horizontal_spacing": 0.02, "vertical_spacing": 0.18 / lines}
    figure = make_subplots(lines, columns, subplot_titles=[*map(_words, clouds)], **spacing)
    for i, points in enumerate(clouds.values()):
        x, y = points.round(3).T.tolist()
        marker = {"color": OTHERS[0].colour, "size": 2}
        figure.add_scatter(
            x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", row=1 + i // columns, col=1 + i % columns
        )
    _look(figure, setting, height=132 * lines, axes=False)
    figure.update_layout(showlegend=False, margin_t=22)
    bare: dict[str, Any] = {"range": [-EXTENT, EXTENT], "showticklabels": False, "ticks": "", "showgrid": False}
    figure.update_xaxes(**bare, mirror=True, constrain="domain")
    figure.update_yaxes(**bare, mirror=True, constrain="domain")
    for i, (of_x, of_y) in enumerate(zip(figure.select_xaxes(), figure.select_yaxes(), strict=True)):
        of_y.scaleanchor = f"x{i + 1 if i else ''}"
        of_x.visible = of_y.visible = i < len(clouds)
    figure.update_annotations(font_size=11)
    return figure


def encode(points: np.ndarray) -> str:
    """Encode points (N, 2) in -EXTENT..EXTENT as base64, two bytes each, for the file of results."""
    return base64.b64encode(((points / EXTENT + 1) * 127.5).round().clip(0, 255).astype(np.uint8).tobytes()).decode()


def decode(text: str) -> np.ndarray:
    """Decode the points (N, 2) that `encode` encoded."""
    return (np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 2) / 127.5 - 1) * EXTENT


def _look(figure: go.Figure, setting: str, height: float, *, axes: bool = True) -> None:
    """Set what all figures share. `height` is for marks and legend. Dragging is off, so a finger scrolls the page."""
    more = setting.count("<br>")
    said = TEXT * (1 + more) + 4  # below everything else
    top, below = 12, said + 10 + 10 * more + axes * 2 * TEXT  # ticks and the axis' title have a line each
    whole = height + top + below
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "Source Sans Pro, system-ui, sans-serif", "size": 13, "color": INK},
        title={"text": _words(setting), "font_size": 12, "xref": "container", "yref": "container"},
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"},
        showlegend=len(figure.data) > 1,
        margin={"l": 8, "r": 16, "t": top, "b": below},
        height=whole,
        dragmode=False,
        hovermode="closest",
    )
    figure.update_layout(
        title={"x": 0, "xanchor": "left", "pad_l": 4, "y": said / whole, "yanchor": "top"},
        legend={"itemclick": False, "itemdoubleclick": False},
    )
    lines = {"gridcolor": GRID_LINES, "linecolor": GRID_LINES, "showline": True, "zeroline": False}
    name = {"title_standoff": 4, "title_font_size": 13}
    figure.update_xaxes(**lines, **name, fixedrange=True, automargin=True)
    figure.update_yaxes(**lines, **name, fixedrange=True, automargin=True)


def _words(text: str) -> str:
    """Replace the subscripts s and t, which hardly any font has, with <sub>."""
    return text.translate({ord("ₛ"): "<sub>s</sub>", ord("ₜ"): "<sub>t</sub>"})
