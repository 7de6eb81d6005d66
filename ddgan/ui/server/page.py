"""The page as Gradio runs it, except that every failure is answered in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ...errors import Cancelled, Refused
from ...explorer.priority import watch_for
from ...explorer.session import Session
from ...views.answers import sentence
from .gradio_internals import SessionState, forget_deep_link
from .jobs import log, wanted
from .pictures import Pictures

__all__ = ["FAILED", "Page"]

FAILED = "This failed here, not through anything you did: please try something else, or again."


class Page(gr.Blocks):
    """gr.Blocks in which a failure is one sentence for the visitor; a bug has a traceback for the host, too.

    Every function in `left` is called with a session whose results nobody has read for some time. `pictures` has what
    the canvases of points show.
    """

    def __init__(self, *args: Any, pictures: Pictures | None = None, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self.pictures = pictures or Pictures(Session())
        watch_for(wanted)
        self.left: list[Callable[[str], Any]] = []

    async def preprocess_data(self, *args: Any, **kw: Any) -> list[Any]:
        """The inputs of an event; if they cannot be read, the page did not send them."""
        try:
            return await super().preprocess_data(*args, **kw)
        except Exception as error:
            raise gr.Error("These are not values that the page sends.", print_exception=False) from error

    async def call_function(self, *args: Any, **kw: Any) -> dict[str, Any]:
        """Run the function of an event, or its next step."""
        try:
            return await super().call_function(*args, **kw)
        except gr.Error:
            raise
        except Cancelled as error:
            raise gr.Error("Nobody waits for this any more.", print_exception=False) from error
        except (Refused, RecursionError) as error:
            raise gr.Error(sentence(str(error)[:200]), print_exception=False) from error
        except Exception as error:
            log.exception("a job failed")
            raise gr.Error(FAILED, print_exception=False) from error

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: SessionState | None) -> list[Any]:
        """The outputs of an event. Gradio's copy for deep links, megabytes a session, is not kept."""
        found = await super().postprocess_data(block_fn, predictions, state)
        if state is not None:
            forget_deep_link(state)
        return found
