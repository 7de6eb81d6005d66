"""What could this x_t have been? The conditional laws at one clicked point, beside what each denoiser draws there.

All drawing is in assets/posterior.js. It hears from the stage which run is shown and which point was clicked, and
asks the server functions below, which answer in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from .. import views
from ..session import Session
from ..turns import urgent
from .drawn import drawn

__all__ = ["build"]


def build(session: Session) -> gr.HTML:
    """The component; it needs no events of Gradio's."""

    def answered(view: Callable[[Session, Any], str], values: Any) -> str:
        try:
            with urgent():
                return view(session, values)
        except ValueError as error:
            return views.refusal(error)

    def posterior(values):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        return answered(views.posterior, values)

    def gap_map(values):  # noqa: ANN001, ANN202
        return answered(views.gap_map, values)

    return drawn("posterior", server_functions=[posterior, gap_map])
