"""What a script of assets/ draws in the browser, as a component."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

__all__ = ["NEXT_SEED", "asking", "calling", "drawn", "script"]

NEXT_SEED = "seed => [(Math.max(Math.trunc(seed ?? 0), 0) + 1) % 2 ** 31]"  # which a visitor may have left empty

_ASSETS = Path(__file__).parents[2] / "assets"


def drawn(name: str, classes: str = "", *, value: str = "", **props: Any) -> gr.HTML:
    """A component in which assets/NAME.js draws its value, of the layout written down there; an empty one draws nothing.

    The template is constant: a value travels as a prop and never enters the DOM, so that an update keeps what the visitor
    has chosen. It is an output only, of events with show_progress="hidden". The props of gr.HTML among `props` win.
    """
    fixed = {
        "elem_id": name,
        "html_template": f'<div class="{classes or name}"></div>',
        "js_on_load": script(name),
        "apply_default_css": False,
    }
    return gr.HTML(value, **{**fixed, **props})


def asking(name: str, button: gr.Button) -> dict[str, Any]:
    """The event of a control that asks for what `name` draws, stage or gallery: it clicks the button, or does nothing.

    Its inputs are all controls that a visitor sees: nothing is done where they hold what was asked for last (`ask` of
    assets/deck.js).
    """
    js = f"(...values) => {{ document.querySelector('#{name} .{name}').{name}.ask(values, '{button.elem_id}'); return []; }}"
    return {"fn": None, "outputs": None, "js": js, "api_visibility": "private"}


def calling(name: str, method: str) -> str:
    """The js of an event that calls a method of what `name` draws."""
    return f"() => {{ document.querySelector('#{name} .{name}').{name}.{method}(); }}"


@cache
def script(name: str) -> str:
    """assets/NAME.js after what it shares with others: the body of one function."""
    shared = ("common", "deck") if name in ("stage", "gallery") else ("common",)
    return "".join((_ASSETS / f"{part}.js").read_text(encoding="utf-8") for part in (*shared, name))
