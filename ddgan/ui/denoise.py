"""The tab *Denoise*: the controls of a request, and the stage that shows its steps."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from .. import views
from ..data import TOYS
from ..schedule import FAMILIES
from ..session import DENOISERS, Request, Session
from . import exports, posterior
from .stage import Stage

__all__ = ["build"]

STEPS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128]
POINTS = [500, 1000, 2000, 5000]
DATA = {"4-gaussians-1d": "4 Gaussians on a line"}
FIELDS = ("data", "denoisers", "T", "schedule", "lo", "hi", "seed", "n")


def build(demo: gr.Blocks, session: Session) -> None:
    """The tab's components and events, inside `demo`."""
    first = Request()
    with gr.Row(elem_classes="controls"):
        data = gr.Dropdown(
            [(DATA.get(name, name.replace("-", " ")), name) for name in TOYS],
            value=first.data, label="Data", filterable=False, scale=3, min_width=150, elem_id="data",
        )  # fmt: skip
        T = gr.Dropdown(STEPS, value=first.T, label="Steps T", filterable=False, scale=2, min_width=90, elem_id="T")
        schedule = gr.Dropdown(
            list(FAMILIES), value=first.schedule, label="Schedule", filterable=False, scale=2, min_width=120,
            elem_id="schedule",
        )  # fmt: skip
        n = gr.Dropdown(POINTS, value=first.n, label="Points", filterable=False, scale=2, min_width=90, elem_id="n")
        seed = gr.Number(
            first.seed, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, scale=2, min_width=90, elem_id="seed"
        )
        dice = gr.Button("New noise", scale=1, min_width=110, elem_id="dice")
    denoisers = gr.CheckboxGroup(
        [(label, name) for name, (label, _) in DENOISERS.items()], value=list(first.denoisers), show_label=False,
        label="Denoisers, all on the same noise", container=False, elem_id="denoisers",
    )  # fmt: skip
    stage = Stage()
    posterior.build(session)
    exports.build(session)
    with gr.Accordion("Range of the schedule", open=False, elem_id="range"):
        formula = gr.Markdown(_formula(first.schedule))
        with gr.Row():
            lo, hi = _sliders(first.schedule)
        reset = gr.Button("Back to the default", size="sm", scale=0)

    controls = [data, denoisers, T, schedule, lo, hi, seed, n]

    def show(*values: Any) -> str:
        try:
            return views.stage(session, _request(dict(zip(FIELDS, values, strict=True))))
        except ValueError as error:
            return json.dumps({"error": f"{str(error)[0].upper()}{str(error)[1:]}."})

    def opened(request: gr.Request) -> list[Any]:
        """The controls and the picture that the address of the page stands for."""
        try:
            asked, problem = Request.from_query(str(request.query_params)), None
        except ValueError as error:
            asked, problem = Request(), f"The link was not understood: {error}. This is the first view instead."
        lo, hi = asked.span or FAMILIES[asked.schedule].default
        picture = show(asked.data, list(asked.denoisers), asked.T, asked.schedule, lo, hi, asked.seed, asked.n)
        if problem:
            picture = json.dumps({**json.loads(picture), "message": problem, "query": ""})
        return [
            asked.data,
            list(asked.denoisers),
            gr.update(choices=sorted({*STEPS, asked.T}), value=asked.T),
            asked.schedule,
            *_sliders(asked.schedule, (lo, hi)),
            asked.seed,
            gr.update(choices=sorted({*POINTS, asked.n}), value=asked.n),
            _formula(asked.schedule),
            picture,
        ]

    quiet = {"show_progress": "hidden", "concurrency_id": "sample", "concurrency_limit": 2, "api_visibility": "private"}
    demo.load(opened, None, [*controls, formula, stage], **quiet)
    # one event for all of them: a visitor's pictures come in the order of the changes
    changed = [component.input for component in (data, denoisers, T, n, seed, lo, hi)]
    gr.on(changed, show, controls, stage, trigger_mode="always_last", **quiet)
    dice.click(lambda seed: ((seed or 0) + 1) % 2**31, seed, seed, **quiet).then(show, controls, stage, **quiet)
    default_range = [schedule, [formula, lo, hi]]
    schedule.input(_range, *default_range, **quiet).then(show, controls, stage, **quiet)
    reset.click(_range, *default_range, **quiet).then(show, controls, stage, **quiet)


def _request(values: dict[str, Any]) -> Request:
    """The request that the controls stand for; a range that is the default is left out of the link."""
    span = values.pop("lo"), values.pop("hi")
    family = FAMILIES.get(values["schedule"])
    return Request.parse({**values, "span": None if family and span == family.default else span})


def _range(schedule: str) -> list[Any]:
    return [_formula(schedule), *_sliders(schedule)]


def _formula(schedule: str) -> str:
    names = FAMILIES[schedule].names
    return f"**{schedule}**: {FAMILIES[schedule].formula}, u = t / T, lo = {names[0]}, hi = {names[1]}"


def _sliders(schedule: str, span: tuple[float, float] | None = None) -> tuple[gr.Slider, gr.Slider]:
    """The two parameters of a schedule family."""
    family = FAMILIES[schedule]
    low, high = family.bounds
    lo, hi = span or family.default
    step = 0.1 if high > 1 else 0.0001
    return (
        gr.Slider(low, high, lo, step=step, label=family.names[0], elem_id="lo"),
        gr.Slider(low, high, hi, step=step, label=family.names[1], elem_id="hi"),
    )
