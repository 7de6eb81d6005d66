"""The lab: a training as it happens, drawn on canvases in the browser.

`value` is one JSON string a frame and `target` one a run (arrays as base64, never lists of numbers); their layout is
written down at the top of assets/lab.js, which does all the drawing. An empty value draws nothing; {"error": sentence}
shows the sentence and keeps the last picture. Use it as an output only, with show_progress="hidden" on the event.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from .drawn import drawn

__all__ = ["Lab"]


class Lab(gr.HTML):
    """gr.HTML whose value is a frame (JSON)."""

    def __init__(self, value: str = "", **kw: Any) -> None:
        super().__init__(value, **drawn("lab", "stage lab", {"target": "", **kw}))
