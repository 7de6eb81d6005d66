"""When is the class decided? Bars below the gallery of *Images*, for the sample that is chosen there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from ..errors import Refused
from ..explorer.parse import json_of
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..views.image_classes import bars
from . import words
from .canvas import calling, drawn
from .server.jobs import job, size

__all__ = ["answered", "asking_sample", "build"]

_RUN = "asked => [JSON.stringify(document.querySelector('#gallery .gallery').gallery.run())]"


def build(session: Session) -> None:
    """The component, and the event with which its script asks."""
    shown = drawn("image_classes", "stage classes", elem_id="classes")
    asking_sample(partial(answered, session, "classes", bars), shown, "Classes")


def asking_sample(answer: Callable[[str], Any], shown: gr.HTML, label: str) -> None:
    """The event with which a script asks about the chosen sample, by a click on #images-LABEL."""
    asked = gr.Textbox("", visible=False)
    ask = gr.Button(label, elem_id=f"images-{label.lower()}", elem_classes="offstage")
    event = ask.click(
        answer, asked, shown, js=_RUN, trigger_mode="always_last", show_progress="hidden",
        concurrency_id="sample", concurrency_limit=2, api_visibility="private",
    )  # fmt: skip
    event.failure(None, None, None, js=calling(shown.elem_id, "idle"))


def answered(
    session: Session, what: str, drawing: Callable[[Session, ImageQuestion], Iterator[dict[str, Any]]], asked: str
) -> Iterator[str]:
    """What `drawing` answers to a script's question about one sample, or a refusal; the log has the job as `what`."""
    try:
        with job(what) as line:
            question = ImageQuestion.parse(json_of(asked))
            line.size = size(question.request)
            yield from map(words.answered, drawing(session, question))
    except Refused as error:
        yield words.answered(error)
