"""The race in the tab *Why*: every method by the evaluations that it takes, on a law and a schedule to choose.

A run streams its progress; assets/race.js asks for the figure of the results so far, in the chosen measure. Results are
kept for everybody: another measure, or the same race again, computes nothing. Before that, the race of FIRST shows the
shipped results (views/recorded.py).
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import gradio as gr

from ..data.toys import TOYS
from ..diffusion.schedule import FAMILIES
from ..explorer.race import Race
from ..explorer.session import Session
from ..views.encoding import encoded
from ..views.race import MEASURES, PLOTLY, now, shown
from ..views.recorded import RACED, raced
from .canvas import QUIET, calling, drawn
from .server.jobs import job
from .words import SCHEDULES, data_choices, glossed

__all__ = ["build", "streamed"]

FIRST = (*RACED, "energy")  # whose results are shipped
KNOWN = (TOYS, FAMILIES, MEASURES)  # what each of the three may be
PAUSE = 0.15  # seconds between two signs of life, so that a stop is heard
_QUESTION = glossed("""<div class="race-question"><h2>How many steps until a Gaussian is enough?</h2>
<p>That depends on the [[schedule]], and on what takes the steps. In the race all methods start at the same noise and go
through the same levels. Each pays for every evaluation of its network, mean or map ([[NFE]]). What is true, with 25
[[Gaussian|Gaussians]] and 2,000 samples:</p><ul>
<li>On <b>vp</b>, the paper's schedule, no Gaussian step and no solver works with few evaluations: with 8 (Heun: 15)
none of them puts more than 8 % of its samples on a [[mode]], the DDGAN 98 %, on all 25 modes. The schedule spends its
steps where nothing is decided.</li>
<li>Under <b>optimal</b>, the levels of the least [[bound]] from [[log-SNR]] −10 to at most 5 before x<sub>0</sub>, a
chain of best Gaussians with T = 10 steps is at most 0.11 [[nat|nats]] from the [[law]]. With T = 4 that bound is 0.49
nats, on vp 4.72. The samples are nearer: with T = 4 their own KL is 0.10 nats, on vp 4.67.</li>
<li>Only a step that draws needs many modes. A deterministic map carries the choice of a mode in x<sub>T</sub> and needs
no [[z]]: the exact flow map takes 1 evaluation, on every schedule of the race, and covers all 25 modes, below the noise
[[floor]]. A model has to learn it.</li>
<li>Many modes need not mean a GAN. On vp with 1 evaluation a mixture density network, trained by likelihood, covers all
25 modes too, below the noise floor. It is a sum of 32 round Gaussians; images need a richer density.</li>
</ul></div>""")
# kept on the document: the tab is built when it is first opened
_CHOSEN = """(...values) => {
  document.race = values;
  document.querySelector('#race .race')?.race.choose(values);
  return []; }"""
_BEGUN = "(...asked) => { document.querySelector('#race .race').race.begin(); return asked; }"
_LINKED = f"""() => {{
  const asked = (new URLSearchParams(location.search).get('race') ?? '').split(','), first = {json.dumps(FIRST)};
  const known = {json.dumps([[*names] for names in KNOWN])};
  return document.race = known.map((names, i) => names.includes(asked[i]) ? asked[i] : first[i]); }}"""


def build(demo: gr.Blocks, session: Session) -> None:
    """The race's components and events, inside `demo`; what is shown before a visitor asks is shipped."""
    races = lru_cache(maxsize=128)(partial(Race, session))
    gr.HTML(_QUESTION)
    pick = partial(gr.Dropdown, filterable=False, scale=2, min_width=140)
    with gr.Row(elem_classes="race-controls"):
        data = pick(data_choices(), value=FIRST[0], label="Data", elem_id="race-data")
        schedule = pick(SCHEDULES, value=FIRST[1], label="Schedule", elem_id="race-schedule")
        measures = [(measure.label, name) for name, measure in MEASURES.items()]
        measure = pick(measures, value=FIRST[2], label="Measure", elem_id="race-measure")
        run = gr.Button("Race", variant="primary", scale=1, min_width=100, elem_id="race-run")
        stop = gr.Button("Stop", scale=0, min_width=80, elem_id="race-stop")
    race = drawn(
        "race",
        "race why-look",
        first=json.dumps({"choice": FIRST, "plotly": PLOTLY}),
        server_functions=[_figure(races)],
    )
    chosen = [data, schedule, measure]

    def streaming(*asked: str) -> Iterator[str]:
        with job("race", f"{asked[0]}, {asked[1]}"):
            yield from streamed(races(*asked))

    at_once = {"concurrency_id": "race", "concurrency_limit": 2}
    again = {"trigger_mode": "multiple", "js": _BEGUN}  # soon after a stop, too; the script allows one run at a time
    running = run.click(streaming, [data, schedule], race, **again, **at_once, **QUIET)
    running.failure(None, None, None, js=calling("race", "stop"))
    stop.click(None, None, None, cancels=[running])
    stop.click(None, None, None, js=calling("race", "stop"))
    gr.on([component.change for component in chosen], None, chosen, None, js=_CHOSEN, api_visibility="private")
    demo.load(None, None, chosen, js=_LINKED, api_visibility="private")


def streamed(race: Race, pause: float = PAUSE) -> Iterator[str]:
    """How far a run is, as JSON: whenever an entry has come, and else every `pause` seconds, at a step's end."""
    run = {"run": secrets.token_hex(4), "data": race.data, "schedule": race.schedule}
    said, before = -pause, -1
    for at in race.run():
        if len(race.entries) > before or time.monotonic() - said > pause:
            yield encoded({**run, **now(race, at), "over": False})
            said, before = time.monotonic(), len(race.entries)
    yield encoded({**run, "entries": len(race.entries), "share": 1, "words": "", "over": True})


def _figure(races: Callable[..., Race]) -> Callable[[Any], Any]:
    def figure(asked):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """What is there of a race [data, schedule, measure], as views/race.py shows it.

        Nothing where there is none such.
        """
        if not isinstance(asked, list) or len(asked) != 3:
            return None
        if not all(isinstance(name, str) and name in known for name, known in zip(asked, KNOWN, strict=True)):
            return None
        return encoded(shown(races(*asked[:2]), asked[2], raced(*asked[:2])))

    return figure
