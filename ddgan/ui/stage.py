"""The stage: several denoisers side by side on one scrubber, drawn on canvases in the browser.

`value` is one JSON string per run (arrays as base64 int16 / uint8, never lists of numbers); its layout is written down
at the top of assets/stage.js, which does all the drawing. It travels as a component prop and never enters the DOM:
the template is constant, so an update redraws the canvases and keeps the scrubber, the layers and the followed sample
where they were. An empty string draws nothing; {"error": sentence} shows the sentence and keeps the last picture.
Use it as an output only, with show_progress="hidden" on the event.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

__all__ = ["Stage"]

_JS = (Path(__file__).parents[2] / "assets" / "stage.js").read_text(encoding="utf-8")


class Stage(gr.HTML):
    """gr.HTML whose value is a stage payload (JSON). Gradio re-runs __init__ on every update, hence setdefault."""

    def __init__(self, value: str = "", **kw: Any) -> None:
        kw.setdefault("elem_id", "stage")
        kw.setdefault("html_template", '<div class="stage"></div>')
        kw.setdefault("js_on_load", _JS)
        kw.setdefault("apply_default_css", False)
        super().__init__(value, **kw)
