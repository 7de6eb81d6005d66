"""The stage: several denoisers side by side on one scrubber, drawn on canvases in the browser.

`value` is one JSON string per run (arrays as base64 int16 / uint8, never lists of numbers); its layout is written down
at the top of assets/stage.js, which does all the drawing. It travels as a component prop and never enters the DOM:
the template is constant, so an update redraws the canvases and keeps the scrubber, the layers and the followed sample
where they were. An empty string draws nothing; {"error": sentence} shows the sentence and keeps the last picture.
Use it as an output only, with show_progress="hidden" on the event.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from .drawn import drawn

__all__ = ["Stage"]


class Stage(gr.HTML):
    """gr.HTML whose value is a stage payload (JSON)."""

    def __init__(self, value: str = "", **kw: Any) -> None:
        super().__init__(value, **drawn("stage", "stage", kw))
