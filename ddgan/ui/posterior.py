"""What could this x_t have been? The conditional laws at one clicked point, beside what each denoiser draws there.

All drawing is in assets/posterior.js. It hears from the stage which run is shown and which point was clicked, and
fetches the pictures itself.
"""

from __future__ import annotations

from ..errors import Refused
from ..explorer.posterior import Question
from ..explorer.session import Session
from ..views import landscape as landscapes
from ..views.answers import refusal
from ..views.encoding import encoded
from .canvas import drawn
from .exports import ADDRESS
from .server.jobs import job

__all__ = ["build"]


def build(session: Session) -> None:
    """The component; it needs no events of Gradio's."""

    def landscape_page(values):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """The landscape of a question as a file, without plotly.js."""
        address = str(values.get("address", "")) if isinstance(values, dict) else ""
        try:
            with job("export landscape"):
                question = Question.parse(values)
                return encoded(landscapes.saved(session, question, address if ADDRESS.fullmatch(address) else ""))
        except Refused as error:
            return encoded(refusal(error))

    drawn("posterior", server_functions=[landscape_page])
