"""When is the class of the sample decided that is chosen in *Images*, what may each of its x_t still become, and is the
class of its x_0 kept on a U-turn through each of them?
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from ..errors import Cancelled, Refused
from ..explorer.parse import json_of
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..views.image_classes import bars
from ..views.image_tree import branches, turns
from . import words
from .canvas import QUIET, calling, drawn
from .server.jobs import job, size
from .server.questions import note, until_another

__all__ = ["QUESTIONS", "answered", "build", "build_folds", "noted", "of_script"]

Drawing = Callable[[Session, ImageQuestion], Iterator[dict[str, Any]]]

# what is asked about a picture takes long: the next picture does not wait for it
QUESTIONS = {"concurrency_id": "question", "concurrency_limit": 2}

_FOLDS = {
    "tree": ("A tree: six children of every state, and what they become", branches),
    "turns": ("U-turns: noised and denoised again, does the image keep its class?", turns),
}


def build(session: Session) -> None:
    """The bars, and the event with which their script asks."""
    _asking(session, bars, drawn("image_classes", "stage classes", elem_id="classes"))


def build_folds(session: Session) -> None:
    """The folds with the tree and with the U-turns, and the events with which their script asks once they are open."""
    for what, (title, answer) in _FOLDS.items():
        with gr.Accordion(title, open=False, elem_id=f"{what}-fold"):
            shown = drawn("image_tree", f"stage tree {what}", elem_id=what)
        _asking(session, partial(_at_once, answer), shown)


def _at_once(
    answer: Callable[[Session, ImageQuestion], dict[str, Any]], session: Session, question: ImageQuestion
) -> Iterator[dict[str, Any]]:
    """An answer that comes whole."""
    yield answer(session, question)


def _asking(session: Session, drawing: Drawing, shown: gr.HTML) -> None:
    """The event with which a script asks about the chosen sample, by a click on #images-ID, with the id of `shown`."""
    asked, what = gr.Textbox("", visible=False), str(shown.elem_id)
    ask = gr.Button(what.capitalize(), elem_id=f"images-{what}", elem_classes="offstage")
    noted(ask, asked, what)
    answer = partial(answered, session, what, drawing)
    event = ask.click(answer, asked, shown, js=of_script(what), trigger_mode="always_last", **QUESTIONS, **QUIET)
    event.failure(None, None, None, js=calling(what, "idle"))


def of_script(name: str) -> str:
    """The js of an event that asks what the script that draws `name` wants to know (`questionOf` of common.js)."""
    return f"asked => [JSON.stringify(document.querySelector('#{name} .{name}').{name}.question())]"


def noted(ask: gr.Button, asked: gr.Textbox, what: str, name: str | None = None) -> None:
    """The event that ends the visitor's question before, while the button's own waits for its end.

    `name` is that of what is drawn, where it is another.
    """
    at_once = {"concurrency_id": "note", "concurrency_limit": 4}
    ask.click(partial(note, what), asked, None, js=of_script(name or what), trigger_mode="multiple", **at_once, **QUIET)


def answered(session: Session, what: str, drawing: Drawing, asked: str) -> Iterator[str]:
    """What `drawing` answers to a script's question about one sample, or a refusal; the log has the job as `what`.

    Nothing more comes once the visitor asks about another. An answer has the time at which it was asked for: Gradio
    does not tell the page of one that equals the one before.
    """
    asked_at = time.time_ns() // 1000
    try:
        with job(what) as line:
            question = ImageQuestion.parse(json_of(asked))
            line.size = size(question.request)
            for answer in until_another(what, asked, drawing(session, question)):
                yield words.answered(answer, asked_at)
    except Refused as error:
        yield words.answered(error, asked_at)
    except Cancelled:  # the visitor asks something else, or is gone
        return
