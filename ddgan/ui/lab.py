"""The lab: a training as it happens, drawn on canvases in the browser.

`value` is one JSON string a frame and `target` one a run (arrays as base64, never lists of numbers); their layout is
written down at the top of assets/lab.js, which does all the drawing. An empty value draws nothing; {"error": sentence}
shows the sentence and keeps the last picture. Use it as an output only, with show_progress="hidden" on the event.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

__all__ = ["Lab"]

_JS = (Path(__file__).parents[2] / "assets" / "lab.js").read_text(encoding="utf-8")


class Lab(gr.HTML):
    """gr.HTML whose value is a frame (JSON). Gradio re-runs __init__ on every update, hence setdefault."""

    def __init__(self, value: str = "", **kw: Any) -> None:
        kw.setdefault("target", "")
        kw.setdefault("elem_id", "lab")
        kw.setdefault("html_template", '<div class="stage lab"></div>')
        kw.setdefault("js_on_load", _JS)
        kw.setdefault("apply_default_css", False)
        super().__init__(value, **kw)
