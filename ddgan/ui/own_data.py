"""The accordion *Your own data*: points drawn on a board,
an example, or two columns of a table become the data of the page.

The board is assets/points_board.js, in the browser alone; what leaves it is one list of points when the visitor says
so.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..data.points import encode_points, thinned
from ..data.tables import Sheet, read_sheet
from ..errors import Refused
from ..explorer.parse import json_of
from ..views.answers import sentence
from . import words
from .canvas import QUIET, drawn
from .server.jobs import job

__all__ = ["build"]

_note = partial(words.note, "own-note")

_DRAWN_POINTS = "() => [JSON.stringify(document.querySelector('#own .draw').board.points())]"
_SHOW = "name => { if (name) document.querySelector('#own .draw').board.show(name); }"
_LARGEST = 1_000_000  # bytes of a table
_OFFERED = 50  # columns that a choice is offered of
_HELP = (
    "A table is a text file (.csv, .tsv, .txt) with a column for each coordinate, in any usual dialect. "
    "The link of the page holds the points."
)


def build() -> tuple[gr.Textbox, list[Any]]:
    """The accordion.

    Returns what holds the data name that was made, "" where none was, and the events that make one.
    """
    with gr.Accordion("Your own data", open=False, elem_id="own"):
        drawn("points_board", "draw", elem_id="draw")
        with gr.Row(elem_id="own-buttons"):
            points, name = gr.Textbox(visible=False), gr.Textbox(visible=False)
            use = gr.Button(
                "Use these points", variant="primary", size="sm", scale=0, min_width=0, elem_id="use-points"
            )
            upload = gr.UploadButton(
                "Upload a CSV",
                file_types=[".csv", ".tsv", ".txt"],
                size="sm",
                scale=0,
                min_width=0,
                elem_id="upload-points",
            )
        with gr.Row(visible=False, elem_id="own-columns") as choice:
            of = {"filterable": False, "min_width": 120}
            x, y = (
                gr.Dropdown([], label="Across", elem_id="own-x", **of),
                gr.Dropdown([], label="Up", elem_id="own-y", **of),
            )
            take = gr.Button("Use these columns", size="sm", scale=0, min_width=150, elem_id="use-columns")
        sheet = gr.State(None)
        note = gr.HTML(_note(_HELP), apply_default_css=False)
    quiet = {**QUIET, "concurrency_id": "own", "concurrency_limit": 2}
    used = use.click(_drawn, points, [name, note], js=_DRAWN_POINTS, **quiet)
    read = upload.upload(_read, upload, [name, note, sheet, choice, x, y], **quiet)
    taken = take.click(_taken, [sheet, x, y], [name, note], **quiet)
    for event in (read, taken):
        event.then(None, name, None, js=_SHOW)
    return name, [used, read, taken]


def _drawn(points: str) -> tuple[str, str]:
    """The data name of points drawn on the board, and what to say about it."""
    try:
        with job("drawn points") as line:
            found = json_of(points)
            name, line.size = encode_points(found), f"{len(found)} points"
        return name, _note(f"{len(found):,} points are in the menu Data.")
    except Refused as error:
        return "", _sentence(error)


def _read(path: str) -> tuple[Any, ...]:
    """The data name of a table's points, what to say of it, and where it has more columns a choice of them.

    Its file is deleted.
    """
    file = Path(path)
    try:
        with job("table", f"{file.stat().st_size} bytes"):
            if file.stat().st_size > _LARGEST:
                raise Refused(f"a table may have at most 1 MB, {file.name[-40:]} is larger")
            sheet = read_sheet(file)
            if len(sheet.numbers) > 2:
                return _asked(sheet)
            return *_named(sheet), *_unasked()
    except Refused as error:
        return "", _sentence(error), *_unasked()
    finally:
        file.unlink(missing_ok=True)


def _asked(sheet: Sheet) -> tuple[Any, ...]:
    """The choice of two of a table's columns."""
    numbers = sheet.numbers[:_OFFERED]
    choices = [(column.name, column.place) for column in numbers]
    words = _note(f"{sheet.file[-40:]} has {len(sheet.numbers)} columns of numbers: choose two.")
    first, second = (gr.update(choices=choices, value=column.place) for column in numbers[:2])
    return "", words, sheet._replace(columns=numbers), gr.update(visible=True), first, second


def _unasked() -> tuple[Any, ...]:
    return None, gr.update(visible=False), gr.skip(), gr.skip()


def _taken(sheet: Sheet | None, x: int, y: int) -> tuple[str, str]:
    """The data name of two columns of the table that was uploaded last."""
    try:
        if sheet is None:
            raise Refused("the table is no longer here: upload it again")
        with job("columns"):
            return _named(sheet, x, y)
    except Refused as error:
        return "", _sentence(error)


def _named(sheet: Sheet, *places: int) -> tuple[str, str]:
    """The data name of some columns of a table, of a choice
    of the points where there are too many, and what to say of it.
    """
    table = sheet.at(*places) if places else sheet.choose()
    chosen, (count, _, how) = thinned(table.points), table.said.partition(", ")
    few = f", {len(chosen):,} of them, evenly at random," if len(chosen) < len(table.points) else ""
    return encode_points(chosen, table.names), _note(f"{count} of {sheet.file[-40:]}{few} are in the menu Data: {how}.")


def _sentence(error: ValueError) -> str:
    return _note(sentence(error), failed=True)
