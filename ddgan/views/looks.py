"""What the page, the exports and the figures share of their looks: colours, colour maps, marks and limits.

The only place where they are written down. `css()` hands them to the style sheet as --look-NAME, `script()` to the
scripts as LOOKS; exports and figures read the tables.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from ..explorer.plane import LIMIT

__all__ = [
    "ALPHAS", "COLOURS", "DASHES", "FOLLOWED", "GRID_LINES", "HEAT", "INK", "OTHER", "PAINTS", "RUNNERS", "SERIES",
    "Mark", "css", "mixed", "plotlys", "rgb", "script",
]  # fmt: skip

# one meaning a colour (Okabe and Ito's, legible to the colour-blind), on light and on dark paper
COLOURS = {
    "sample": ("#0072b2", "#62bdf2"),  # x_t; D: real
    "x0": ("#d55e00", "#f2a33a"),  # predicted x_0; D: fake
    "density": ("#6862a8", "#948cde"),  # the law q(x_t)
    "best": ("#00845f", "#3ecf9f"),  # its best Gaussian
    "focus": ("#a8005f", "#ff8cc6"),  # what is held or chosen
    "ink": ("#16181d", "#f4f5f8"),
    "muted": ("#5c6070", "#a7acba"),
    "line": ("#d9dce3", "#353a47"),
    "grid": ("#eceef3", "#1f222d"),  # lines that only help to aim
    "paper": ("#ffffff", "#0e1017"),
    "plot": ("#fbfbfd", "#14161e"),  # the ground of a plot; D: undecided
    "action": ("#0072b2", "#0072b2"),  # links and buttons with white letters
    # an image of the law by bands of its density, from none to most
    "shade-0": ("#f4f4f9", "#191b25"),
    "shade-1": ("#dddcee", "#2b2a45"),
    "shade-2": ("#bcb9dc", "#433f6e"),
    "shade-3": ("#958fc6", "#645da0"),
    "shade-4": ("#6a62a8", "#8f87cf"),
    "shade-5": ("#413877", "#c9c4f6"),
}
# of a point; of a predicted x_0, which is seen through; of the law where it is densest
ALPHAS = {"sample-alpha": (0.6, 0.55), "x0-alpha": (0.3, 0.3), "density-peak": (0.42, 0.46)}
HEAT = ("#00224e", "#434e6c", "#7d7c78", "#bcaf6f", "#fee838")  # cividis at 0, 1/4, ..., 1 of a scale
FOLLOWED = 4  # samples whose paths are drawn
# what a visitor paints images with, by their channels
PAINTS = {
    1: {"white": "#ffffff", "black": "#000000"},
    3: {
        "sky": "#7ec0ee",
        "white": "#ffffff",
        "sand": "#f2d16b",
        "orange": "#d55e00",
        "red": "#a33c2c",
        "brown": "#6b4a2f",
        "green": "#3f7d3a",
        "blue": "#24457a",
        "grey": "#8c8c8c",
        "black": "#101010",
    },
}


class Mark(NamedTuple):
    """How a series is told from others in a figure, also without colour."""

    colour: str
    shape: str


# figures stand on light and on dark paper alike: these colours are legible on both
SERIES = {
    "exact law": Mark("#0f86c9", "circle"),
    "two exact samples": Mark("#0f86c9", "circle"),
    "best Gaussian": Mark("#1a9e77", "square"),
    "DDPM with the exact mean": Mark("currentColor", "triangle"),
    "DDGAN": Mark("#c568a0", "diamond"),
    "learned Gaussian": Mark("#d55e00", "cross"),
}
# of a figure: a contrast of 4.3 with white and with GitHub's black; no grey has more
INK, GRID_LINES = "#757a82", "rgba(117, 122, 130, 0.3)"
# the methods of a race by name: those of SERIES as there, a rule of solvers has one colour with either mean
RUNNERS = {
    "exact": SERIES["exact law"],
    "flow": Mark("#8a6fd1", "star"),
    "ddgan": SERIES["DDGAN"],
    "mixture": Mark("#a07a00", "hexagon"),
    "consistency": Mark("#0f86c9", "pentagon"),
    "gaussian": SERIES["best Gaussian"],
    "regression": SERIES["learned Gaussian"],
    "mean": SERIES["DDPM with the exact mean"],
    "ddim": Mark("#a07a00", "triangle-down"),
    "dpm": Mark("#0f86c9", "triangle-left"),
    "heun": Mark("#8a6fd1", "triangle-right"),
    "learned-ddim": Mark("#a07a00", "bowtie"),
    "learned-dpm": Mark("#0f86c9", "hourglass"),
}
OTHER = Mark("currentColor", "x")  # a method that has no look of its own
# how a line of each group is dashed, in plotly's words
DASHES = {
    "Truth": "solid",
    "Learned": "longdash",
    "Gaussian steps": "dash",
    "Solvers of the exact mean": "dot",
    "Solvers of the learned mean": "dashdot",
}


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour #rrggbb as three numbers 0..255."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def plotlys(look: Mark) -> Mark:
    """A look in plotly's words, with the ink of figures."""
    colour = INK if look.colour == "currentColor" else look.colour
    return Mark(colour, {"triangle": "triangle-up"}.get(look.shape, look.shape))


def mixed(colour: str, other: str, share: float) -> str:
    """A colour #rrggbb with a share of another one in it."""
    parts = (round((1 - share) * a + share * b) for a, b in zip(rgb(colour), rgb(other), strict=True))
    return "#" + bytes(parts).hex()


def css() -> str:
    """The tables as custom properties of the page, light and dark."""
    shared = {"heat": ", ".join(HEAT)}
    themes = []
    for k, selector in enumerate((":root", ".dark")):
        values = shared | {name: str(value[k]) for name, value in {**COLOURS, **ALPHAS}.items()}
        themes.append(f"{selector} {{ {' '.join(f'--look-{name}: {value};' for name, value in values.items())} }}\n")
    return "".join(themes)


def script() -> str:
    """The tables that are no colours of a theme, as a constant of every script of the page."""
    looks = {
        "limit": LIMIT,
        "followed": FOLLOWED,
        "heat": [rgb(colour) for colour in HEAT],
        "paints": {channels: [*paints.items()] for channels, paints in PAINTS.items()},
    }
    return f"const LOOKS = {json.dumps(looks)};\n"
