"""A slider that takes what is typed beyond its ends as the end itself, as the browser shows it a moment later."""

from __future__ import annotations

import gradio as gr

__all__ = ["Slider"]


class Slider(gr.Slider):
    """gr.Slider answers such a number with a toast and a traceback."""

    is_template = True  # for the browser it is Gradio's own

    def preprocess(self, payload: float | None) -> float:
        return super().preprocess(self.minimum if payload is None else min(max(payload, self.minimum), self.maximum))
