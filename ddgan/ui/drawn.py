"""What the components have in common that a script of assets/ draws in the browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["drawn", "script"]

_ASSETS = Path(__file__).parents[2] / "assets"


def drawn(name: str, classes: str, kw: dict[str, Any]) -> dict[str, Any]:
    """The props of a gr.HTML in which assets/NAME.js draws; those of kw win, as Gradio re-runs __init__ on every update.

    The template is constant: a value travels as a prop and never enters the DOM.
    """
    return {
        "elem_id": name,
        "html_template": f'<div class="{classes}"></div>',
        "js_on_load": script(name),
        "apply_default_css": False,
        **kw,
    }


@cache
def script(name: str) -> str:
    """assets/NAME.js after what it shares with others: the body of one function."""
    shared = ("common", "deck") if name in ("stage", "gallery") else ("common",)
    return "".join((_ASSETS / f"{part}.js").read_text(encoding="utf-8") for part in (*shared, name))
