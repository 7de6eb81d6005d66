"""The accordion *Your own data*: points drawn on a board, an example, or a CSV file become the data of the page.

The board is assets/draw.js, in the browser alone; what leaves it is one list of points when the visitor says so.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from .. import views
from ..data import encode_points, read_csv, thinned
from .drawn import drawn
from .jobs import job

__all__ = ["build"]

_note = partial(views.note, "own-note")

_POINTS = "() => [JSON.stringify(document.querySelector('#own .draw').board.points())]"
_SHOW = "name => { if (name) document.querySelector('#own .draw').board.show(name); }"
_LARGEST = 1_000_000  # bytes of a CSV


def build() -> tuple[gr.Textbox, list[Any]]:
    """The accordion. Returns what holds the data name that was made, "" where none was, and the events that make one."""
    with gr.Accordion("Your own data", open=False, elem_id="own"):
        drawn("draw")
        with gr.Row(elem_id="own-buttons"):
            points, name = gr.Textbox(visible=False), gr.Textbox(visible=False)
            use = gr.Button("Use these points", variant="primary", size="sm", scale=0, min_width=0, elem_id="use-points")
            upload = gr.UploadButton(
                "Upload a CSV", file_types=[".csv", ".txt"], size="sm", scale=0, min_width=0, elem_id="upload-points"
            )
        note = gr.HTML(_note("A CSV has two numbers a line. The link of the page holds the points."), apply_default_css=False)
    quiet = {"show_progress": "hidden", "concurrency_id": "own", "concurrency_limit": 2, "api_visibility": "private"}
    used = use.click(_drawn, points, [name, note], js=_POINTS, **quiet)
    read = upload.upload(_read, upload, [name, note], **quiet)
    read.then(None, name, None, js=_SHOW)
    return name, [used, read]


def _drawn(points: str) -> tuple[str, str]:
    """The data name of points drawn on the board, and what to say about it."""
    try:
        with job("drawn points") as line:
            found = json.loads(points)
            name, line.size = encode_points(found), f"{len(found)} points"
        return name, _note(f"{len(found):,} points are the data now.")
    except ValueError as error:
        return "", _sentence(error)


def _read(path: str) -> tuple[str, str]:
    """The data name of a CSV file's points, which is deleted; a choice of them where there are too many."""
    file = Path(path)
    try:
        with job("CSV", f"{file.stat().st_size} bytes"):
            return _points(file)
    except ValueError as error:
        return "", _sentence(error)
    finally:
        file.unlink(missing_ok=True)


def _points(file: Path) -> tuple[str, str]:
    """The data name of the points of a CSV, and what to say about it."""
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"a CSV may have at most 1 MB, {file.name[-40:]} is larger")
    points = read_csv(file)
    chosen = thinned(points)
    few = f", {len(chosen):,} of them, evenly at random," if len(chosen) < len(points) else ""
    return encode_points(chosen), _note(f"{len(points):,} points of {file.name[-40:]}{few} are the data now.")


def _sentence(error: ValueError) -> str:
    return _note(views.sentence(str(error)), failed=True)
