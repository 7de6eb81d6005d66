"""What may each x_t still become? The tree in a fold of *Images*, for the sample that is chosen there."""

from __future__ import annotations

from functools import partial

import gradio as gr

from ..errors import Refused
from ..explorer.parse import json_of
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from ..views.image_tree import branches
from . import words
from .canvas import drawn
from .image_classes import asking_sample
from .server.jobs import job, size

__all__ = ["build"]


def build(session: Session) -> None:
    """The fold, and the event with which its script asks once it is open."""
    with gr.Accordion("A tree: six children of every state, and what they become", open=False, elem_id="tree-fold"):
        shown = drawn("image_tree", "stage tree", elem_id="tree")
    asking_sample(partial(_answered, session), shown, "Tree")


def _answered(session: Session, asked: str) -> str:
    try:
        with job("tree") as line:
            question = ImageQuestion.parse(json_of(asked))
            line.size = size(question.request)
            return words.answered(branches(session, question))
    except Refused as error:
        return words.answered(error)
