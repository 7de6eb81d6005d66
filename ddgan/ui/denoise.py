"""The tab *Denoise*: the controls of a request, and the stage that shows its steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from ..diffusion.schedule import BOTH_ENDS, CURVES, FAMILIES, U_0
from ..errors import Refused
from ..explorer.request import Request
from ..explorer.session import Session
from ..views.pictures import request_of
from . import exports, menu, own_data, posterior, words
from .canvas import NEXT_SEED, QUIET, SAMPLING, drawn
from .slider import Slider

__all__ = ["Tab", "build"]

STEPS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128]
POINT_COUNTS = [500, 1000, 2000, 5000]
# `wanted` of assets/stage.js: on the document, since the stage is built when its tab is first opened
_SHOW = """(...values) => {
  const problem = values.length > CONTROLS ? values.pop() : '';
  document.querySelector('#stage .stage')?.stage.show(values, problem) ?? (document.wanted = { values, problem });
  return []; }"""
_OPENED = """(...values) => {
  (document.wanted ??= {}).opened = values;
  document.querySelector('#stage .stage')?.stage.opened(values);
  return []; }"""
_WANTED = "() => [document.querySelector('#stage .stage').stage.wanted()]"
_HELD = "(...values) => { document.querySelector('#stage .stage').stage.held(values); return []; }"
# the menu while a slider of the range moves: `words.schedules`, without asking the server at every pixel
_NAMED = f"""(schedule, ...span) => {{
  const own = {json.dumps(FAMILIES["vp"].default)}, other = schedule === 'vp' && span.some((v, i) => v !== own[i]);
  return {{ __type__: 'update', choices: other
    ? {json.dumps(words.schedules("vp", (0.0, 0.0)))} : {json.dumps(words.schedules())} }}; }}"""
_TO_STAGE = """own => {
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (own) document.querySelector('#stage').scrollIntoView({behavior: calm ? 'auto' : 'smooth'});
  return own; }"""


class Controls(NamedTuple):
    """The components that a request is made of; `of` says whose range lo and hi are."""

    data: gr.Dropdown
    denoisers: gr.CheckboxGroup
    T: gr.Dropdown
    schedule: gr.Dropdown
    lo: Slider
    hi: Slider
    seed: gr.Number
    n: gr.Dropdown
    budget: gr.Radio
    eta: gr.Slider
    of: gr.Textbox


FIELDS = Controls._fields
_SHOW = _SHOW.replace("CONTROLS", str(len(FIELDS)))


class Parts(NamedTuple):
    """The components of the tab's events. `problem` says why the stage shows another picture."""

    controls: Controls
    dice: gr.Button
    own: gr.Textbox
    used: list[Any]  # the events of own_data that make a data name
    stage: gr.HTML
    formula: gr.Markdown
    reset: gr.Button
    problem: gr.Textbox


class Tab(NamedTuple):
    """How other tabs show a request: `view` gives the values of the components, the event `shown` then draws it."""

    components: list[Any]
    view: Callable[..., list[Any]]
    shown: dict[str, Any]


def build(demo: gr.Blocks, session: Session) -> Tab:
    """The tab's components and events, inside `demo`. The stage fetches its pictures itself: assets/stage.js."""
    parts, answers = _laid_out(session), Answers(session)
    _wire(demo, parts, answers)
    components = [*parts.controls, parts.formula, parts.problem]
    return Tab(components, answers.view, _drawing([*parts.controls, parts.problem]))


def _laid_out(session: Session) -> Parts:
    """The tab's components, from above to below."""
    first = Request()
    row, dice = _row(first)
    ways = menu.build(first)
    own, used = own_data.build()
    formula, span, reset = _range(first.schedule)
    with gr.Row(elem_id="denoise-view"):  # the posterior stands below the stage, and beside it once a point was clicked
        stage = drawn(
            "stage",
            controls=json.dumps(
                {"names": FIELDS, "spans": {k: v.default for k, v in FAMILIES.items()}, "bent": BOTH_ENDS, "T": STEPS}
            ),
        )
        posterior.build(session)
    exports.build(session, "#stage .stage")
    controls = Controls(**row, **ways._asdict(), **span)
    return Parts(controls, dice, own, used, stage, formula, reset, gr.Textbox(visible=False))


def _row(first: Request) -> tuple[dict[str, Any], gr.Button]:
    """The row of controls by their names, and the button for new noise."""
    pick = partial(gr.Dropdown, filterable=False)
    with gr.Row(elem_classes="controls"):
        row = {
            "data": pick(
                words.data_choices(first.data), value=first.data, label="Data", scale=3, min_width=150, elem_id="data"
            ),
            "T": pick(STEPS, value=first.T, label="Steps T", scale=2, min_width=90, elem_id="T"),
            "schedule": pick(
                words.SCHEDULES, value=first.schedule, label="Schedule", scale=2, min_width=120, elem_id="schedule"
            ),
            "n": pick(POINT_COUNTS, value=first.n, label="Points", scale=2, min_width=90, elem_id="n"),
            "seed": gr.Number(  # no bounds: Request has them
                first.seed, label="Seed", precision=0, scale=2, min_width=90, elem_id="seed"
            ),
        }
        return row, gr.Button("New noise", scale=1, min_width=110, elem_id="dice")


def _range(schedule: str) -> tuple[gr.Markdown, dict[str, Any], gr.Button]:
    """The accordion of a schedule's range: its formula, the controls lo, hi and of, and the way back to the default."""
    with gr.Accordion("Range of the schedule", open=False, elem_id="range"):
        formula = gr.Markdown(_formula(schedule))
        with gr.Row():
            lo, hi = (Slider(**s, elem_id=name) for name, s in zip(("lo", "hi"), _sliders(schedule), strict=True))
        # whose range that is: the sliders follow the schedule a little later
        of = gr.Textbox(schedule, visible=False)
        reset = gr.Button("Back to the default", size="sm", scale=0)
    return formula, {"lo": lo, "hi": hi, "of": of}, reset


def _drawing(components: list[Any]) -> dict[str, Any]:
    """The event with which the stage draws what the controls hold, and says the problem, where that is the last."""
    return {"fn": None, "inputs": components, "outputs": None, "js": _SHOW, "api_visibility": "private"}


def _wire(demo: gr.Blocks, parts: Parts, answers: Answers) -> None:
    """The tab's events: the controls for the address of the page, and a picture for every change and every fork."""
    of, formula = parts.controls, parts.formula
    quiet = QUIET | SAMPLING
    draw = _drawing([*of])
    opened = demo.load(answers.opened, None, [*of, formula], **quiet)
    opened.then(**{**draw, "js": _OPENED})
    gr.on([component.input for component in of[:-1]], **draw)
    ranged = {"outputs": [formula, of.of, of.lo, of.hi, of.schedule], "js": _ranged(), "api_visibility": "private"}
    of.schedule.input(None, [of.schedule, of.of], **ranged)
    parts.reset.click(None, of.schedule, **ranged).then(**draw)
    gr.on([of.lo.input, of.hi.input], **{**_drawing([of.schedule, of.lo, of.hi]), "outputs": of.schedule, "js": _NAMED})
    parts.dice.click(None, of.seed, of.seed, js=NEXT_SEED, api_visibility="private").then(**draw)
    last = {**quiet, "trigger_mode": "always_last"}  # several may come while one is answered
    gone_back = parts.stage.undo(answers.undone, parts.problem, [*of, formula], js=_WANTED, **last)
    gone_back.then(**{**draw, "js": _HELD})
    for used in parts.used:
        used.then(_used, parts.own, of.data, js=_TO_STAGE, **quiet).then(**draw)


@dataclass(frozen=True)
class Answers:
    """The answers to the events of the tab: values of controls."""

    session: Session

    def opened(self, request: gr.Request) -> list[Any]:
        """The controls for the address of the page; those of the first view if the address asks for nothing."""
        try:
            asked = request_of(str(request.query_params))
            return self.view(asked)[:-1]
        except Refused:  # the stage says so
            return self.view(Request())[:-1]

    def undone(self, query: str) -> list[Any]:
        """The controls of a picture that the stage went back to."""
        return self.view(request_of(query))[:-1]

    def view(self, asked: Request, problem: str = "") -> list[Any]:
        """The values of the components for a request; Refused where it has no schedule."""
        self.session.schedule(asked)
        return [*_updates(asked), _formula(asked.schedule), problem]


def _ranged() -> str:
    """A script for [formula, of, lo, hi, schedule]: a schedule gets its default range, unless it was chosen before."""
    ranges = {
        name: [_formula(name), name, *_updates_of_range(name), gr.update(choices=words.schedules())]
        for name in FAMILIES
    }
    kept = [gr.skip()] * len(ranges["vp"])
    return f"(schedule, of) => schedule === of ? {json.dumps(kept)} : {json.dumps(ranges)}[schedule]"


def _used(own: str) -> Any:
    """A visitor's own points become the data; nothing where there are none."""
    return _update(own) if own else gr.skip()


def _updates(asked: Request) -> list[Any]:
    """The controls of a request, with choices that only a link asks for."""
    lo, hi = _updates_of_range(asked.schedule, asked.span)
    found = {
        "data": _update(asked.data),
        "denoisers": gr.update(choices=menu.choices(asked.denoisers), value=list(asked.denoisers)),
        "schedule": gr.update(choices=words.schedules(asked.schedule, asked.span), value=asked.schedule),
        "T": gr.update(choices=sorted({*STEPS, asked.T}), value=asked.T),
        "n": gr.update(choices=sorted({*POINT_COUNTS, asked.n}), value=asked.n),
        "lo": lo,
        "hi": hi,
        "seed": asked.seed,
        "budget": asked.budget or "T",
        "eta": asked.eta or 0,
        "of": asked.schedule,
    }
    return [found[name] for name in FIELDS]


def _update(name: str) -> Any:
    return gr.update(choices=words.data_choices(name), value=name)


def _formula(schedule: str) -> str:
    family, curve = FAMILIES[schedule], schedule in CURVES
    return (
        f"**{schedule}**: {family.formula}, {f'u = {U_0:g} + {1 - U_0:g} t / T, ' * curve}lo = {family.names[0]}, "
        f"hi = {family.names[1]}; alpha_bar = a^2 = 1 - sigma^2{', divided by its value at t = 0' * curve}"
    )


def _updates_of_range(schedule: str, span: tuple[float, float] | None = None) -> list[Any]:
    return [gr.update(**settings) for settings in _sliders(schedule, span)]


def _sliders(schedule: str, span: tuple[float, float] | None = None) -> list[dict[str, Any]]:
    """The settings of the sliders of the two parameters of a schedule family."""
    family = FAMILIES[schedule]
    low, high = family.bounds
    common = {"minimum": low, "maximum": high, "step": 0.1 if high > 1 else 0.0001}
    return [
        {**common, "value": value, "label": label}
        for value, label in zip(span or family.default, family.names, strict=True)
    ]
