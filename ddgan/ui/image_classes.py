"""When is the class decided? Bars below the gallery of *Images*, for the sample that is chosen there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import gradio as gr

from ..errors import Refused
from ..explorer.parse import json_of
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..views.image_classes import bars
from . import words
from .canvas import calling, drawn
from .server.jobs import job, size

__all__ = ["RUN", "build"]

RUN = "asked => [JSON.stringify(document.querySelector('#gallery .gallery').gallery.run())]"


def build(session: Session) -> None:
    """The component, and the event with which its script asks."""
    shown = drawn("image_classes", "stage classes", elem_id="classes")
    asked = gr.Textbox("", visible=False)
    ask = gr.Button("Classes", elem_id="images-classes", elem_classes="offstage")
    event = ask.click(
        partial(_answered, session), asked, shown, js=RUN, trigger_mode="always_last", show_progress="hidden",
        concurrency_id="sample", concurrency_limit=2, api_visibility="private",
    )  # fmt: skip
    event.failure(None, None, None, js=calling("classes", "idle"))


def _answered(session: Session, asked: str) -> Iterator[str]:
    try:
        with job("classes") as line:
            question = ImageQuestion.parse(json_of(asked))
            line.size = size(question.request)
            yield from map(words.answered, bars(session, question))
    except Refused as error:
        yield words.answered(error)
