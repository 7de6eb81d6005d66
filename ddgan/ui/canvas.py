"""Components whose contents a script of assets/ draws in the browser."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from ..views import looks
from .server.pictures import version

__all__ = ["NEXT_SEED", "QUIET", "SAMPLING", "asking", "calling", "drawn", "pictures_at", "script"]

# of an event that the page alone has, and whose picture says itself how far it is
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
SAMPLING: dict[str, Any] = {"concurrency_id": "sample", "concurrency_limit": 2}  # of all that sample, the API's too
NEXT_SEED = "seed => [(Math.max(Math.trunc(seed ?? 0), 0) + 1) % 2 ** 31]"  # which a visitor may have left empty

_ASSETS = Path(__file__).parents[2] / "assets"
# what a script needs besides common.js
_SHARED = {
    "page": ("tabs",),
    "stage": ("pictures", "scrubber", "motion", "machine", "trail", "curve", "field", "pixels", "panel"),
    "image_grid": ("scrubber",),
    "image_classes": ("class_look", "class_ruler"),
    "image_tree": ("class_look",),
    "image_step": ("machine",),
    "why": ("pictures", "laws"),
    "paint": ("pixels",),
    "training": ("pictures", "replay", "players"),
    "posterior": ("pictures", "landscape"),
}


def drawn(name: str, classes: str = "", **props: Any) -> gr.HTML:
    """A component in which assets/NAME.js draws its value, of the layout written down there.

    An empty one draws nothing.
    The template is constant: a value travels as a prop and never enters the DOM, so that an update keeps what the
    visitor has chosen. It is an output only, of events with show_progress="hidden". The props of gr.HTML among `props`
    win.
    """
    fixed = {
        "elem_id": name,
        "html_template": f'<div class="{classes or name}"></div>',
        "js_on_load": script(name),
        "apply_default_css": False,
    }
    return gr.HTML("", **{**fixed, **props})


def pictures_at() -> str:
    """Where the page finds pictures of points, seen from its own address."""
    return f"gradio_api/pictures/{version()}"


def asking(button: gr.Button) -> dict[str, Any]:
    """The event of a control that asks for what the gallery draws: it clicks the button, or does nothing.

    Its inputs are all controls that a visitor sees: nothing is done where they hold what was asked for last (`ask` of
    assets/image_grid.js).
    """
    ask = f"document.querySelector('#gallery .gallery').gallery.ask(values, '{button.elem_id}')"
    js = f"(...values) => {{ {ask}; return []; }}"
    return {"fn": None, "outputs": None, "js": js, "api_visibility": "private"}


def calling(name: str, method: str) -> str:
    """The js of an event that calls a method of what `name` draws."""
    return f"() => {{ document.querySelector('#{name} .{name}').{name}.{method}(); }}"


@cache
def script(name: str) -> str:
    """assets/NAME.js after the looks and what it shares with others: the body of one function."""
    parts = ("common", *_SHARED.get(name, ()), name)
    where = f"const PICTURES = {json.dumps(pictures_at())};\n"
    return looks.script() + where + "".join((_ASSETS / f"{part}.js").read_text(encoding="utf-8") for part in parts)
