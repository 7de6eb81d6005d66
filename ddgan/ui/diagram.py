"""Diagrams as inline SVG in the colours of the page: one step of a Denoising Diffusion GAN, and one update of it."""

from __future__ import annotations

from functools import partial

__all__ = ["machine", "update"]

_ALT = (
    "One step of a Denoising Diffusion GAN. G takes x t and random numbers z, and guesses clean data x 0. The "
    "posterior q of x s, given x t and x 0, is a Gaussian: x s is drawn from it, and becomes the next x t. In "
    "training, D looks at the pair x s and x t and says whether the step is real or made."
)
_ALT_UPDATE = (
    "One update of a Denoising Diffusion GAN. D's half: a real pair x s and x t, and a made one, go to D. G's half: "
    "the slope of D goes back to G, which made x 0 from x t and z, and x s from both."
)
_SAMPLE, _X_0, _INK = "var(--look-sample)", "var(--look-x0)", "currentColor"


def machine() -> str:
    """The diagram of a step. Its data-part: x_t, z, G, x_0, posterior, x_s, next and D."""
    way = partial(_way, "machine")
    parts = (
        _part("next", way("M492 70V10H38V68", "training"), _text(340, 29, "x_s is the next x_t", "small")),
        _part("x_t", _box(10, 56, _SAMPLE), _text(38, 101, "x_t"), way("M66 96H98")),
        _part("z", _box(124, 28, _INK, 22, 28), _text(138, 41, "z"), way("M138 50V68")),
        _part("G", _box(100, 76, _INK, net=True), _text(138, 101, "G"), way("M176 96H208")),
        _part("x_0", _box(210, 56, _X_0), _text(238, 101, "x_0"), way("M266 96H298")),
        _part(
            "posterior",
            _box(300, 130, _INK, net=True),
            _text(365, 93, "q(x_s | x_t, x_0)"),
            _text(365, 111, "a Gaussian", "small"),
            way("M430 96H462"),
            way("M38 122V150H365V124"),
        ),
        _part("x_s", _box(464, 56, _SAMPLE), _text(492, 101, "x_s")),
        _part(
            "D",
            _box(185, 160, _INK, 176, 46, net=True, way="training"),
            _text(265, 196, "D"),
            _text(265, 213, "real or made? (training)", "small"),
            way("M38 150V199H183", "training"),
            way("M492 122V199H347", "training"),
        ),
    )
    return _drawing("machine", "0 0 530 232", _ALT, parts)


def update() -> str:
    """The diagram of an update. Its data-part: real, made, G, D, shown (to D) and slope."""
    way = partial(_way, "update")
    high, low = (8, 34), (74, 34)
    parts = (
        _part(
            "real",
            _box(2, 70, _INK, *high), _text(37, 30, "data x_0", "small"), way("M72 25H166"),
            _box(168, 48, _SAMPLE, *high), _text(192, 30, "x_s"), way("M216 25H240"),
            _box(242, 48, _SAMPLE, *high), _text(266, 30, "x_t"),
            _text(344, 18, "a real pair", "small"), way("M290 25H404V42"),
        ),
        _part(
            "made",
            _box(2, 70, _SAMPLE, *low), _text(37, 96, "x_t, z"), way("M72 91H94"),
            way("M144 91H166"), _box(168, 48, _X_0, *low), _text(192, 96, "x_0"), way("M216 91H240"),
            _box(242, 48, _SAMPLE, *low), _text(266, 96, "x_s"),
        ),
        _part("shown", _text(340, 110, "a made pair", "small"), way("M290 91H392V80")),
        _part("G", _box(96, 48, _INK, *low, net=True), _text(120, 97, "G")),
        _part("D", _box(376, 56, _INK, 44, 34, net=True), _text(404, 67, "D")),
        _part("slope", way("M416 78V124H120V110", "training"), _text(268, 142, "D's slope, back to G", "small")),
    )  # fmt: skip
    return _drawing("update", "0 0 436 148", _ALT_UPDATE, parts)


def _drawing(name: str, box: str, alt: str, parts: tuple[str, ...]) -> str:
    """A figure of these parts, and what the tips of its lines are."""
    tip = (
        f'<marker id="{name}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" style="fill: {_INK}; stroke: none"/>'
        "</marker>"
    )
    return (
        f'<figure class="machine" id="{name}"><svg viewBox="{box}" role="img" aria-label="{alt}">'
        f"<defs>{tip}</defs>{''.join(parts)}</svg></figure>"
    )


def _part(name: str, *inside: str) -> str:
    return f'<g data-part="{name}">{"".join(inside)}</g>'


def _box(x: int, width: int, colour: str, y: int = 70, height: int = 52, *, net: bool = False, way: str = "") -> str:
    """A rounded box; that of what computes is filled."""
    kinds = " ".join(["net"] * net + [way] * bool(way))
    radius = 8 if net else height // 2
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}"'
    return f'<rect class="{kinds}" {place} style="stroke: {colour}"/>'


def _way(name: str, path: str, kind: str = "") -> str:
    """A line with a tip at its end, in the drawing of this name."""
    return f'<path class="{kind}" d="{path}" marker-end="url(#{name}-tip)" style="stroke: {_INK}"/>'


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    """Words around x, with x_t and the like as subscripts."""
    first, *rest = words.split("_")
    lowered = "".join(f'<tspan class="sub" dy="4">{part[0]}</tspan><tspan dy="-4">{part[1:]}</tspan>' for part in rest)
    return f'<text class="{kind}" x="{x}" y="{y}" aria-hidden="true">{first}{lowered}</text>'
