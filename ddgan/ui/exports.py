"""The row *Download* under the stage and the gallery: what they show now, as a file of any kind of `files.KINDS`, in
one click, and *Copy as code*: as code that gives its arrays (views/code.py, drawn by assets/code.js).

The browser says what is shown (its query, t, layers and held sample, see assets/stage.js) and where the page lives; the
file is made of that as the command line makes it, put where Gradio serves and later deletes files, and then saved by
the browser.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import gradio as gr

from ..data.images import SETS
from ..data.toys import TOYS
from ..diffusion.schedule import MAX_T
from ..errors import Refused
from ..explorer.parse import json_of, whole
from ..explorer.request import Request, link
from ..explorer.session import Session
from ..views import files
from ..views.answers import refusal, sentence
from ..views.code import KINDS, snippets
from ..views.picture import Look
from . import words
from .canvas import QUIET, drawn
from .server.jobs import job, size
from .server.storage import EXPORTS
from .server.storage import files as stored

__all__ = ["ADDRESS", "build"]

_note = partial(words.note, "exports-note")

MAX_EXPORTS = 512 * 2**20  # bytes of all files that are kept, for an hour
ADDRESS = re.compile(r"https?://[\w.:/~%\[\]-]{1,200}")
_ASK = """() => { const {dataset: shown, stage} = document.querySelector('CANVAS'),
    {layers = '', item = null} = stage?.run() ?? {};
  return [JSON.stringify({query: shown.id ?? '', t: +(shown.t ?? 0), layers, hold: item,
    address: location.origin + location.pathname})]; }"""
_SAVE = """file => { if (!file?.url) return;
  const link = Object.assign(document.createElement('a'), {href: file.url, download: file.orig_name || ''});
  document.body.append(link); link.click(); link.remove(); }"""
_HERE = "http://127.0.0.1:7860/"


def build(session: Session, canvas: str) -> None:
    """The row's components and events; `canvas` selects what is downloaded: the stage or the gallery."""
    with gr.Row(elem_classes="exports"):
        gr.HTML('<span class="exports-name">Download</span>', apply_default_css=False)
        asked, made = gr.Textbox(visible=False), gr.DownloadButton(visible=False)
        buttons = {kind: gr.Button(words, size="sm", scale=0, min_width=0) for kind, words in files.KINDS.items()}
        drawn("code", elem_id=None, canvas=canvas, kinds=KINDS, server_functions=[_coder(session)])
    note = gr.HTML(_note(""), apply_default_css=False)
    # a limit of its own: a long film must not keep anybody from a picture on the stage
    limits = {"concurrency_id": "export", "concurrency_limit": 1, "trigger_mode": "once"}
    for kind, button in buttons.items():
        make = partial(_make, session, Path(made.GRADIO_CACHE), kind)
        run = button.click(make, asked, [made, note], js=_ASK.replace("CANVAS", canvas), **limits, **QUIET)
        run.success(None, made, None, js=_SAVE, **QUIET)
        run.failure(partial(_note, "This file could not be made.", failed=True), None, note, **QUIET)


def _make(session: Session, cache: Path, kind: str, asked: str) -> Iterator[list[Any]]:
    """The file that the browser asks for and what to say about it; without a file where it cannot be made."""
    yield [None, _note(f"Making the {files.KINDS[kind].split()[0]} file …")]
    try:
        with job(f"export {kind}") as line:
            query, t, look, address = _shown(asked)
            request = Request.from_query(query)
            line.size = size(request)
            path, length = _file(session, cache, kind, request, t, look, address)
            few = kind == "json" and files.json_samples(session, request)
            part = f" It holds the first {few:,} of {request.n:,} samples." if few and few < request.n else ""
    except Refused as error:
        yield [None, _note(sentence(error), failed=True)]
    else:
        yield [path, _note(f"Saved {path.name}, {length / 1000:,.0f} kB. Its link is inside.{part}")]


def _coder(session: Session) -> Callable[[str], dict[str, str]]:
    def code(asked):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """The code of what the browser shows, by kind; {"error": sentence} where it shows nothing."""
        try:
            query, *_, address = _shown(asked)
            request = Request.from_query(query)
            own = [
                model.card["config"]["objective"] for name in request.denoisers if (model := session.adopted.get(name))
            ]
            return snippets(request, address or _HERE, *own[:1])
        except Refused as error:
            return refusal(error)

    return code


def _shown(asked: str) -> tuple[str, int, Look, str]:
    """(query, t, look, address) that the browser says; Refused where it says anything else."""
    try:
        said = json_of(asked)
        address = str(said["address"])
        look = Look.parse(str(said.get("layers", "")), said.get("hold"))
        return str(said["query"]), whole("t", said["t"], 0, MAX_T), look, address if ADDRESS.fullmatch(address) else ""
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise Refused("the page did not say what it shows") from None


def _file(
    session: Session, cache: Path, kind: str, request: Request, t: int, look: Look, address: str
) -> tuple[Path, int]:
    """The file of a request, made once, and its bytes:
    its directory is a digest of all that it depends on, its name our own words.
    """
    step = t if kind == "png" else None
    look = Look() if kind in ("npz", "json") else look  # they hold all there is
    key = hashlib.sha256(repr((kind, step, look, link(request, address))).encode()).hexdigest()
    data = request.data if request.data in {*TOYS, *SETS} else "own-points"
    path = cache / EXPORTS / key / f"ddgan-{data}-T{request.T}{'' if step is None else f'-t{step}'}.{kind}"
    with suppress(FileNotFoundError):  # Gradio may delete it any moment
        os.utime(path)  # whoever asks again has it as long as the first
        return path, path.stat().st_size
    files.write(path, session, request, t=step, address=address, look=look)
    _make_room(cache / EXPORTS)
    return path, path.stat().st_size


def _make_room(folder: Path) -> None:
    """Delete the oldest files where all have more than MAX_EXPORTS bytes, and directories without any:
    Gradio leaves them, too.
    """
    made = sorted(stored(folder), key=lambda found: found[1].st_mtime, reverse=True)
    totals = accumulate(stat.st_size for _, stat in made)
    for (file, _), total in list(zip(made, totals, strict=True))[1:]:  # the newest is what is asked for
        if total > MAX_EXPORTS:
            file.unlink(missing_ok=True)
    for directory in folder.iterdir():
        with suppress(OSError):
            directory.rmdir()
