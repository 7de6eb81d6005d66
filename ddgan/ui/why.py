"""The tab *Why*: one law on a line, every step that could be taken in it, and what few Gaussian steps do to 25 modes.

assets/why.js draws the pictures in the browser, from a few parameters of the law and the map of mean gaps; it fetches both
itself when the tab is first shown. assets/oracle.js draws the table that the button fills.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from .. import gaussianity
from ..request import DENOISERS, Request
from ..session import Session
from .drawn import calling, drawn
from .jobs import job

__all__ = ["build"]

DATA = "4-gaussians-1d"
DRAWN = ("exact", "ddgan", "gaussian", "mean")
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
_QUESTION = """<div class="oracle-question"><h2>How many steps until a Gaussian is enough?</h2>
<p>The same noise goes through the true q(x<sub>s</sub> | x<sub>t</sub>), through its best Gaussian, through DDPM's with the
exact mean, none of them trained, and through a DDGAN. Counted is the share of samples that end on one of the 25 Gaussians.
(In one step DDPM draws the mean, the mode in the middle, whatever the noise: 100 % on one mode, which its line leaves out.)</p></div>"""
PAUSE = 0.15  # seconds between two signs of life, so that a stop is heard


def build(session: Session) -> None:
    """The tab's components and events; nothing is computed before the tab is shown."""

    def landscape(_: Any) -> dict[str, Any]:
        """What assets/why.js draws from: the law, the schedule and the map of gaps, base64 float64."""
        law = session.law(DATA)
        found = gaussianity.landscape(law)
        arrays = {**found._asdict(), "mu": law.mu.numpy(), "var": law.var.numpy(), "log_w": law.log_w.numpy()}
        return {name: base64.b64encode(a.astype("<f8").tobytes()).decode() for name, a in arrays.items()}

    drawn("why", "why why-look", server_functions=[landscape])
    gr.HTML(_QUESTION)
    with gr.Row(elem_classes="oracle-buttons"):
        run = gr.Button("Sample with T = 1 … 128", variant="primary", scale=0, min_width=240, elem_id="oracle-run")
        stop = gr.Button("Stop", scale=0, min_width=90, elem_id="oracle-stop")

    oracle = drawn("oracle", "oracle why-look", value=_table([], None))

    def sampled() -> Iterator[str]:
        yield from _oracle(session)

    running = run.click(
        sampled, None, oracle, show_progress="hidden", concurrency_id="oracle", concurrency_limit=2, api_visibility="private"
    )
    running.failure(None, None, None, js=calling("oracle", "stop"))
    stop.click(None, None, None, cancels=[running])
    stop.click(None, None, None, js=calling("oracle", "stop"))


def _oracle(session: Session) -> Iterator[str]:
    """A table after every denoiser of every T, few steps first; and in between at least every PAUSE and one step."""
    with job("oracle", f"T = 1 to {STEPS[-1]}, n = {Request.n}"):
        yield from _rows(session)


def _rows(session: Session) -> Iterator[str]:
    rows: list[dict[str, Any]] = []
    run = secrets.token_hex(4)  # what still comes of a run that was stopped is told from the next run by it
    for T in STEPS:
        request = Request(T=T, denoisers=DRAWN)
        rows.append({"T": T})
        for name in DRAWN:
            yield _table(rows, {"run": run, "T": T, "name": name, "s": T})
            said = time.monotonic()
            try:
                session.model(request, name).check(request.steps())
            except ValueError:  # more steps than it was trained for
                rows[-1][name] = None
                continue
            for step in session.run(request, name):
                if time.monotonic() - said > PAUSE:
                    yield _table(rows, {"run": run, "T": T, "name": name, "s": step.s})
                    said = time.monotonic()
            rows[-1][name] = session.score(request, step.x_s)
    yield _table(rows, None)


def _table(rows: list[dict[str, Any]], now: dict[str, Any] | None) -> str:
    """What assets/oracle.js draws: the rows so far, and which step is being computed."""
    series = [{"name": name, "label": DENOISERS[name][0]} for name in DRAWN]
    kept = ("on_mode", "modes", "of_modes")
    scores = [{k: {m: v[m] for m in kept} if isinstance(v, dict) else v for k, v in row.items()} for row in rows]
    return json.dumps({"n": Request.n, "steps": STEPS, "series": series, "rows": scores, "now": now}, allow_nan=False)
