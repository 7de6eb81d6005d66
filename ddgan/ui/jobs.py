"""What the host of the page reads: one line a job - what, its size, seconds, outcome - and no word of a visitor's.

    2026-01-01 12:00:00 INFO points: 25-gaussians, T = 4, n = 2000, 3 denoisers: 0.02 s, ok

A visitor's mistake is `refused`, a page that was left `left`; only what should not happen is `failed`, with a traceback.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from ..data import TOYS
from ..images import SETS
from ..machine import urgent
from ..request import Request

__all__ = ["Job", "job", "log", "size"]

log = logging.getLogger("ddgan")


class Job:
    """A job that goes on: its size and its outcome can still be set."""

    def __init__(self) -> None:
        self.size, self.outcome = "", "ok"


@contextmanager
def job(what: str, of: Request | str = "", *, background: bool = False) -> Iterator[Job]:
    """Log one line when what is done inside is over. Trainings give way to it, unless it is itself one in the background."""
    line, begun = Job(), time.monotonic()
    line.size = size(of) if isinstance(of, Request) else of
    try:
        with urgent(not background):
            yield line
    except (ValueError, gr.Error):
        line.outcome = "refused"
        raise
    except GeneratorExit:
        line.outcome = "left"
        raise
    except BaseException:
        line.outcome = "failed"
        raise
    finally:
        log.info("%s: %s: %.2f s, %s", what, line.size or "-", time.monotonic() - begun, line.outcome)


def size(request: Request) -> str:
    """How much a request asks for; its own points and models stay unnamed."""
    data = request.data if request.data in (*TOYS, *SETS) else "own points"
    return f"{data}, T = {request.T}, n = {request.n}, {len(request.denoisers)} denoisers"
