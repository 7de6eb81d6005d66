"""The log for the host of the page: a line for each job with its kind, size, seconds and outcome; no visitor's words.

    2026-01-01 12:00:00 INFO points: 25-gaussians, T = 4, n = 2000, 3 denoisers: 0.02 s, ok

A visitor's mistake is `refused`; a job that nobody waited for is `left`; a bug is `failed`, with a traceback.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import gradio as gr

from ...data.images import SETS
from ...data.toys import TOYS
from ...errors import Cancelled, Refused
from ...explorer.priority import urgent
from ...explorer.request import Request
from .gradio_internals import current_job

__all__ = ["Job", "drop", "job", "log", "size", "wanted", "while_wanted_by"]

log = logging.getLogger("ddgan")
_dropped: deque[str] = deque(maxlen=1000)


def drop(events: Iterable[str]) -> None:
    """Nobody waits for these events of Gradio's queue any more: what computes for them is to end."""
    _dropped.extend(events)


_awaited: ContextVar[Callable[[], bool]] = ContextVar("awaited", default=lambda: True)


@contextmanager
def while_wanted_by(awaited: Callable[[], bool]) -> Iterator[None]:
    """Inside, the work of the calling thread is wanted as long as `awaited` says so."""
    token = _awaited.set(awaited)
    try:
        yield
    finally:
        _awaited.reset(token)


def wanted() -> bool:
    """Whether somebody waits for what the calling thread computes."""
    return current_job() not in _dropped and _awaited.get()()


class Job:
    """A job that goes on: its size and its outcome can still be set."""

    def __init__(self) -> None:
        self.size, self.outcome = "", "ok"


@contextmanager
def job(what: str, of: Request | str = "", *, background: bool = False) -> Iterator[Job]:
    """Log one line when what is done inside is over. Trainings give way to it, unless it is in the background."""
    line, begun = Job(), time.monotonic()
    line.size = size(of) if isinstance(of, Request) else of
    try:
        with urgent(not background):
            yield line
    except (Refused, gr.Error):
        line.outcome = "refused"
        raise
    except (GeneratorExit, Cancelled):
        line.outcome = "left"
        raise
    except BaseException:
        line.outcome = "failed"
        raise
    finally:
        if not wanted():
            line.outcome = "left"
        log.info("%s: %s: %.2f s, %s", what, line.size or "-", time.monotonic() - begun, line.outcome)


def size(request: Request) -> str:
    """The size of a request, in words; a visitor's own points and models stay unnamed."""
    data = request.data if request.data in (*TOYS, *SETS) else "own points"
    return f"{data}, T = {request.T}, n = {request.n}, {len(request.denoisers)} denoisers"
