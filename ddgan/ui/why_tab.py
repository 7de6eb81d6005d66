"""The tab *Why*: one law on a line, every step that could be taken in it,
what schedules take, and the race of all methods.

assets/why.js draws the pictures in the browser, from a few parameters of the law and the map of mean gaps; it fetches
both itself when the tab is first shown, and the paths over the map as they are chosen. The race is in race.py.
"""

from __future__ import annotations

import json

import gradio as gr

from ..explorer.session import Session
from ..views.pictures import WALKS
from . import race
from .canvas import drawn
from .words import SCHEDULES

__all__ = ["build"]


def build(demo: gr.Blocks, session: Session) -> None:
    """The tab's components and events, inside `demo`; nothing is computed before the tab is shown."""
    drawn("why", "why why-look", choices=json.dumps({"schedules": SCHEDULES, "steps": WALKS}))
    race.build(demo, session)
