"""A race -> its figure, the same numbers as a table, and words:
quality against evaluations, a line for every method.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from plotly.offline import get_plotlyjs_version

from ..data.toys import data_label
from ..explorer.methods import METHODS
from ..explorer.race import STEPS, Entry, Now, Race
from ..explorer.request import Request
from .answers import label
from .looks import COLOURS, DASHES, GRID_LINES, INK, OTHER, RUNNERS, plotlys
from .recorded import Results

__all__ = ["MEASURES", "PLOTLY", "Measure", "drawing", "now", "shown", "table"]


class Measure(NamedTuple):
    """A number of Session.score: its name on the page and on its axis, and how its values are written."""

    label: str
    axis: str
    form: str
    log: bool = True


# the first is the one at first: a distance, from which neither a wrong place nor a wrong share is hidden
MEASURES = {
    "energy": Measure("Energy distance", "energy distance to the law", "{:.4f}"),
    "sliced_w2": Measure("Sliced W₂", "sliced Wasserstein distance to as many exact samples", "{:.4f}"),
    "kl": Measure("KL of the histogram", "KL of the histogram over the modes, in nats", "{:.3f}"),
    "modes": Measure("Modes covered", "modes covered", "{:.0f}", log=False),
    "on_mode": Measure("On a mode", "samples on a mode (hollow: modes are missing)", "{:.1%}", log=False),
    "width": Measure("Width of the modes", "width of the modes, 1 is the law's", "{:.2f}", log=False),
}
PLOTLY = get_plotlyjs_version()  # what draws a figure, and what it is made for
NFE = [1, 2, 4, 8, 16, 32, 64, 128]  # that the axis names


# ---------------------------------------------------------------- the figure


def drawing(entries: Sequence[Entry], measure: str, data: str, schedule: str) -> dict[str, Any]:
    """One of MEASURES over the number of evaluations, which has a logarithmic axis:
    {"data", "layout"} as plotly.js reads them.

    A line for every method of the entries that has scores; its colour and mark are its own, its dash is its group's. An
    energy distance below the noise floor stands on the floor, hollow; in the other measures a hollow mark has not all
    modes. Nothing has a background, and text is legible on white and on black.
    """
    scored = sorted((entry for entry in entries if entry.scores), key=lambda e: e.nfe)
    lines, setting = [], f"{data_label(data)}, {schedule}"
    for group, names in groupby(METHODS, lambda name: METHODS[name].group):
        traces = [_line(of, measure, setting) for name in names if (of := [e for e in scored if e.method == name])]
        lines += [trace | ({"legendgrouptitle": {"text": group}} if k == 0 else {}) for k, trace in enumerate(traces)]
    level = _level(measure, scored[0].scores) if scored else None
    said = f"{setting}, {Request.n:,} samples, seed 0<br>{_hollow(measure)}"
    return {"data": lines, "layout": _layout(MEASURES[measure], said, level)}


def _line(entries: Sequence[Entry], measure: str, setting: str) -> dict[str, Any]:
    """The trace of one method's entries."""
    name = entries[0].method
    group, look = METHODS[name].group, RUNNERS.get(name, OTHER)
    colour, shape = plotlys(look)
    return {
        "type": "scatter",
        "x": [e.nfe for e in entries],
        "y": [_height(measure, e) for e in entries],
        "mode": "lines+markers",
        "name": label(name),
        "legendgroup": group,
        "line": {"color": colour, "width": 1.8, "dash": DASHES[group]},
        "marker": {"color": colour, "size": 9, "symbol": [shape + "-open" * _is_hollow(measure, e) for e in entries]},
        "text": [_hover(e, measure, setting) for e in entries],
        "customdata": [e.scores[measure] if math.isfinite(e.scores[measure]) else None for e in entries],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _height(measure: str, entry: Entry) -> float | None:
    """Where an entry stands; None where that is nowhere."""
    value = entry.scores[measure]
    if measure == "energy":
        value = max(value, entry.scores["floor_energy"])
    return value if math.isfinite(value) and (value > 0 or not MEASURES[measure].log) else None


def _is_hollow(measure: str, entry: Entry) -> bool:
    scores = entry.scores
    return scores["energy"] <= scores["floor_energy"] if measure == "energy" else scores["modes"] < scores["of_modes"]


def _hollow(measure: str) -> str:
    """What a hollow mark and the dotted line mean."""
    words = {
        "energy": "dotted: the noise floor, hollow: not above it",
        "modes": "dotted: all modes",
        "width": "dotted: the law's; hollow: modes are missing",
    }
    return words.get(measure, "hollow: modes are missing")


def _level(measure: str, scores: Any) -> float | None:
    """Where the dotted line stands."""
    return {"energy": scores["floor_energy"], "modes": scores["of_modes"], "width": 1.0}.get(measure)


def _hover(entry: Entry, measure: str, setting: str) -> str:
    """What the pointer is told of a mark: the method and its setting, the value, and what it may hide."""
    scores, of = entry.scores, MEASURES[measure]
    floor = f" (noise floor {scores['floor_energy']:.4f})" if measure == "energy" else ""
    lines = [
        f"<b>{label(entry.method)}</b>",
        METHODS[entry.method].group,
        f"{setting}, {_paid(entry)}",
        f"{of.label} <b>{of.form.format(scores[measure])}</b>{floor}",
        f"{scores['modes']} of {scores['of_modes']} modes, {scores['on_mode']:.1%} on a mode",
    ]
    return "<br>".join(lines)


def _paid(entry: Entry) -> str:
    return f"T = {entry.T}, {entry.nfe} evaluation" + "s" * (entry.nfe > 1)


def _layout(of: Measure, said: str, level: float | None) -> dict[str, Any]:
    """Axes, key, what is said above, and the dotted line."""
    lines = {"gridcolor": GRID_LINES, "linecolor": GRID_LINES, "showline": True, "zeroline": False}
    ticks = {"tickmode": "array", "tickvals": NFE, "ticktext": [str(n) for n in NFE]}
    ends = [math.log10(NFE[0] / 1.15), math.log10(NFE[-1] * 1.15)]
    percent = {"tickformat": ".0%"} if of.form.endswith("%}") else {}
    scale = {"type": "log", "dtick": 1, "tickformat": "~g"} if of.log else {"rangemode": "tozero", **percent}
    title = {"standoff": 8, "font": {"size": 13}}
    whole = {"xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
    across = {"type": "line", **whole, "line": {"color": INK, "width": 1.2, "dash": "dot"}, "layer": "below"}
    place = {"xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 4}
    above = {"text": said, **place, "align": "left", "showarrow": False, "font": {"size": 13}}
    key = {"x": 1.02, "xanchor": "left", "y": 1, "yanchor": "top", "tracegroupgap": 6, "groupclick": "toggleitem"}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "Source Sans Pro, system-ui, sans-serif", "size": 13, "color": INK},
        "annotations": [above],
        "legend": {**key, "font": {"size": 13}, "grouptitlefont": {"size": 13}},
        "showlegend": True,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": INK, "activecolor": COLOURS["action"][0], "orientation": "h"},
        "margin": {"l": 64, "r": 8, "t": 52, "b": 48},
        "height": 500,
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"size": 13}},
        "xaxis": {"title": {"text": "evaluations (NFE)", **title}, "type": "log", "range": ends, **ticks, **lines},
        "yaxis": {"title": {"text": of.axis, **title}, **scale, **lines},
        "shapes": [] if level is None else [across],
    }


# ---------------------------------------------------------------- a table and words


def table(entries: Sequence[Entry], measure: str) -> list[list[str]]:
    """The same numbers: a head, then for every method its group, its name and a cell for every T."""
    known, of = {(e.method, e.T): e for e in entries}, MEASURES[measure]
    lines = [["", "", *(f"T = {T}" for T in STEPS)]]
    for name in METHODS:
        if any((name, T) in known for T in STEPS):
            cells = [_cell(known.get((name, T)), of, measure) for T in STEPS]
            lines.append([METHODS[name].group, label(name), *cells])
    return lines


def _cell(entry: Entry | None, of: Measure, measure: str) -> str:
    """A value, for a share on a mode with the modes; a dash where there is none."""
    if entry is None:
        return ""
    if not entry.scores or not math.isfinite(entry.scores[measure]):
        return "–"
    modes = f" ({entry.scores['modes']})" if measure == "on_mode" else ""
    return of.form.format(entry.scores[measure]) + modes


def shown(race: Race, measure: str, shipped: Results | None = None) -> dict[str, Any]:
    """What assets/race.js draws: a figure of plotly's, a table, and sentences.

    Where a race has no entry of its own yet, that of the shipped results stands.
    """
    known = {**shipped.entries, **race.entries} if shipped else race.entries
    entries = list(known.values())
    drawn = drawing(entries, measure, race.data, race.schedule)
    layout, raced = drawn["layout"], f"{race.data} {race.schedule}"
    layout["uirevision"] = layout["xaxis"]["uirevision"] = raced  # a zoomed figure stays zoomed
    layout["yaxis"]["uirevision"] = f"{raced} {measure}"
    return {
        "entries": len(race.entries),
        "shown": len(entries),
        "source": _source(shipped, len(race.entries), len(entries)) if shipped else "",
        "figure": drawn,
        "table": table(entries, measure),
        "words": [*_floor(entries, race), *_refused(entries), *_absent(race)],
    }


def _source(shipped: Results, computed: int, of: int) -> str:
    """Where the numbers come from, as long as some are shipped."""
    if computed == of:
        return ""
    made = f"commit {shipped.commit}, seed {shipped.seed}, {shipped.n:,} samples"
    if not computed:
        return f"Shipped results ({made}): press Race to compute them here."
    return f"{computed} of {of} results were computed here; the others are shipped ({made})."


def _floor(entries: Sequence[Entry], race: Race) -> list[str]:
    """From how many evaluations on each method is as near to the law as chance can tell, with what that hides."""
    first: dict[str, Entry] = {}
    scored = sorted((e for e in entries if e.scores), key=lambda e: e.nfe)
    for entry in scored:
        if entry.scores["energy"] <= entry.scores["floor_energy"]:
            first.setdefault(entry.method, entry)
    if not first:
        return []
    said = [
        f"{data_label(race.data)}, {race.schedule}: with how many evaluations the energy distance is first below the "
        "noise floor. In brackets what it hardly sees: samples on a mode, and the width of the modes (1 is the law's)."
    ]
    for nfe, of in groupby(first.values(), lambda e: e.nfe):
        each = [f"{label(e.method)} ({100 * e.scores['on_mode']:.0f} %, {e.scores['width']:.2f})" for e in of]
        said.append(f"With {nfe}: {'; '.join(each)}.")
    behind = [label(name) for name in dict.fromkeys(e.method for e in scored) if name not in first]
    return said + [f"Not yet: {'; '.join(behind)}."] * bool(behind)


def _refused(entries: Iterable[Entry]) -> list[str]:
    """Which methods refused which T, those of one model together."""
    refused: dict[tuple[str, str], list[Entry]] = {}
    for e in entries:
        if e.refusal:
            refused.setdefault((METHODS[e.method].model, str(e.refusal)), []).append(e)
    said = []
    for (_, reason), of in refused.items():
        names = ", ".join(dict.fromkeys(label(e.method) for e in of))
        said.append(f"{names}: not with T = {', '.join(str(T) for T in sorted({e.T for e in of}))}; {reason}.")
    return said


def _absent(race: Race) -> list[str]:
    names = [label(name) for name in race.absent]
    return [f"Not in the race, as no model of {data_label(race.data)} is here: {', '.join(names)}."] if names else []


def now(race: Race, at: Now) -> dict[str, Any]:
    """What is being computed, in words and as a share of the whole."""
    finding = race.schedule == "optimal" and not any(e.scores for e in race.entries.values())
    levels = "; the best levels are found first" if finding else ""
    said = (
        f"{data_label(race.data)}, {race.schedule}: {Request.n:,} samples of {label(at.method)}, T = {at.T}{levels} …"
    )
    return {"entries": len(race.entries), "share": round(at.done, 4), "words": said}
