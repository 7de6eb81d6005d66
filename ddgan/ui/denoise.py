"""The tab *Denoise*: the controls of a request, and the stage that shows its steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import gradio as gr

from .. import views
from ..images import SETS
from ..schedule import FAMILIES, U_0
from ..request import DENOISERS, Request, forked, still_forked, unforked
from ..session import Session
from . import draw, exports, posterior
from .drawn import NEXT_SEED, asking, calling, drawn
from .jobs import job, size
from .slider import Slider

__all__ = ["build"]

STEPS = [1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64, 128]
POINTS = [500, 1000, 2000, 5000]
# what the stage stands at; it goes on to the state that the new noise leads to
_RUN = "(asked, ...rest) => [JSON.stringify(document.querySelector('#stage .stage').stage.anew()), ...rest]"
_SHOWN = "(asked, ...rest) => [JSON.stringify(document.querySelector('#stage .stage').stage.run() ?? null), ...rest]"
_TO_STAGE = """(own, ...rest) => {
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  if (own) document.querySelector('#stage').scrollIntoView({behavior: calm ? 'auto' : 'smooth'});
  return [own, ...rest]; }"""
FIELDS = ("data", "denoisers", "T", "schedule", "lo", "hi", "seed", "n", "of")
SEEN = 8  # of them are controls that a visitor sees


def build(demo: gr.Blocks, session: Session) -> tuple[list[Any], Callable[[Request], list[Any]]]:
    """The tab's components and events, inside `demo`.

    Returns the components that show a request, and the function from a request to their values: how other tabs show
    theirs here.
    """
    first = Request()
    with gr.Row(elem_classes="controls"):
        data = gr.Dropdown(
            views.data_choices(first.data), value=first.data, label="Data", filterable=False, scale=3, min_width=150, elem_id="data",
        )  # fmt: skip
        T = gr.Dropdown(STEPS, value=first.T, label="Steps T", filterable=False, scale=2, min_width=90, elem_id="T")
        schedule = gr.Dropdown(
            views.SCHEDULES, value=first.schedule, label="Schedule", filterable=False, scale=2, min_width=120,
            elem_id="schedule",
        )  # fmt: skip
        n = gr.Dropdown(POINTS, value=first.n, label="Points", filterable=False, scale=2, min_width=90, elem_id="n")
        seed = gr.Number(
            first.seed, label="Seed", precision=0, scale=2, min_width=90, elem_id="seed"  # no bounds: Request has them
        )
        dice = gr.Button("New noise", scale=1, min_width=110, elem_id="dice")
    denoisers = gr.CheckboxGroup(
        _denoisers(session), value=list(first.denoisers), show_label=False,
        label="Denoisers, all on the same noise", container=False, elem_id="denoisers",
    )  # fmt: skip
    own, used = draw.build()
    stage = drawn("stage", server_functions=[_gaps(session)])
    with gr.Row(elem_id="forks", elem_classes="forks"):
        gr.HTML('<span class="forks-name">Draw anew at this step, for the held sample or else for all</span>', apply_default_css=False)
        asked = gr.Textbox(visible=False)
        again = {
            "z": gr.Button("New z", size="sm", scale=0, min_width=0),
            "eps": gr.Button("New posterior noise", size="sm", scale=0, min_width=0),
        }
        back = gr.Button("Undo", size="sm", scale=0, min_width=0, elem_classes="undo")
    posterior.build(session)
    exports.build(session, "#stage .stage")
    with gr.Accordion("Range of the schedule", open=False, elem_id="range"):
        formula = gr.Markdown(_formula(first.schedule))
        with gr.Row():
            lo, hi = _sliders(first.schedule)
        of = gr.Textbox(first.schedule, visible=False)  # whose range that is: the sliders follow the schedule a little later
        reset = gr.Button("Back to the default", size="sm", scale=0)
    anew, ranged_anew = (gr.Button(elem_id=name, elem_classes="offstage") for name in ("denoise-ask", "denoise-ask-schedule"))

    controls = [data, denoisers, T, schedule, lo, hi, seed, n, of]

    def show(*values: Any, forks: str = "") -> str:
        asked = time.time_ns() // 1000
        try:
            with job("points") as line:
                request = _request(dict(zip(FIELDS, values, strict=True)), forks)
                line.size = size(request)
                picture = views.stage(session, request)
        except ValueError as error:
            picture = views.refusal(error)
        return views.stamped(picture, asked, values[:SEEN])

    def ranged(*values: Any) -> tuple[Any, ...]:
        """The schedule with its default range."""
        given = dict(zip(FIELDS, values, strict=True))
        schedule = given["schedule"]
        lo, hi = FAMILIES[schedule].default
        return _formula(schedule), schedule, *_sliders(schedule), show(*{**given, "of": schedule, "lo": lo, "hi": hi}.values())

    def use(own: str, _: str, *values: Any) -> tuple[Any, ...]:
        """A visitor's own points become the data; nothing where there are none."""
        return (_update(own), show(own, *values)) if own else (gr.skip(),) * 2

    def chosen(asked: str, *values: Any) -> str:
        """The picture of other denoisers, forked as the one that is shown."""
        return show(*values, forks=_forks(json.loads(asked or "null"), values))

    def fork(what: str, asked: str, *values: Any) -> str:
        """New noise of one kind at the step that the stage stands at."""
        run = json.loads(asked or "null")
        if not isinstance(run, dict):
            return views.refusal(ValueError("there is no picture yet to change"))
        return show(*values, forks=forked(_forks(run, values), what, run.get("t"), run.get("item")))

    def undo(asked: str, *values: Any) -> str:
        return show(*values, forks=unforked(_forks(json.loads(asked or "null"), values)))

    def opened(request: gr.Request) -> list[Any]:
        """The controls and the picture that the address of the page stands for."""
        try:
            asked, problem = Request.from_query(str(request.query_params)), None
            asked = Request() if asked.data in SETS else asked  # the tab Images shows it
        except ValueError as error:
            asked, problem = Request(), views.misunderstood(error)
        found = view(asked, problem)
        if not views.refused(found[-1]):
            return found
        return view(Request(), f"{json.loads(found[-1])['error']} {views.INSTEAD}")

    def view(asked: Request, problem: str | None = None) -> list[Any]:
        """The controls and the picture of a request."""
        lo, hi = asked.span or FAMILIES[asked.schedule].default
        values = (asked.data, list(asked.denoisers), asked.T, asked.schedule, lo, hi, asked.seed, asked.n, asked.schedule)
        picture = show(*values, forks=",".join(map(str, asked.forks)))
        if problem:
            picture = views.instead(picture, problem)
        return [
            _update(asked.data),
            gr.update(choices=_denoisers(session, asked.denoisers), value=list(asked.denoisers)),
            gr.update(choices=sorted({*STEPS, asked.T}), value=asked.T),
            asked.schedule,
            *_sliders(asked.schedule, (lo, hi)),
            asked.seed,
            gr.update(choices=sorted({*POINTS, asked.n}), value=asked.n),
            asked.schedule,
            _formula(asked.schedule),
            picture,
        ]

    quiet = {"show_progress": "hidden", "concurrency_id": "sample", "concurrency_limit": 2, "api_visibility": "private"}
    demo.load(opened, None, [*controls, formula, stage], **quiet)
    seen = controls[:SEEN]
    gr.on([component.input for component in (data, T, n, seed, lo, hi)], inputs=seen, **asking("stage", anew))
    schedule.input(inputs=seen, **asking("stage", ranged_anew))
    dice.click(None, seed, seed, js=NEXT_SEED, api_visibility="private").then(inputs=seen, **asking("stage", anew))
    # one event for all of them: a visitor's pictures come in the order of the changes
    runs = [
        anew.click(show, controls, stage, trigger_mode="always_last", **quiet),
        denoisers.input(chosen, [asked, *controls], stage, js=_SHOWN, trigger_mode="always_last", **quiet),
        *(
            event(ranged, controls, [formula, of, lo, hi, stage], trigger_mode="always_last", **quiet)
            for event in (ranged_anew.click, reset.click)
        ),
        *(button.click(partial(fork, what), [asked, *controls], stage, js=_RUN, **quiet) for what, button in again.items()),
        back.click(undo, [asked, *controls], stage, js=_SHOWN, **quiet),
        *(event.then(use, [own, *controls], [data, stage], js=_TO_STAGE, **quiet) for event in used),
    ]
    for run in runs:  # what failed, and said so, may be asked for again
        run.failure(None, None, None, js=calling("stage", "idle"))
    return [*controls, formula, stage], view


def _gaps(session: Session) -> Callable[[str], list[tuple[int, float]]]:
    def gaps(query):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """What a Gaussian loses in each step of a run that is shown; nothing where the query is none."""
        try:
            return views.step_gaps(session, str(query))
        except ValueError:
            return []

    return gaps


def _update(name: str) -> Any:
    return gr.update(choices=views.data_choices(name), value=name)


def _denoisers(session: Session, asked: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The choices: all of DENOISERS that points have, and those asked for, a visitor's own among them."""
    ours = [name for name in DENOISERS if name != "official"]
    return [(views.title(session, name)[0], name) for name in dict.fromkeys([*ours, *asked])]


def _forks(run: Any, values: Iterable[Any]) -> str:
    """`still_forked` of a run that is shown and what the controls stand for."""
    try:
        return still_forked(Request.from_query(str(run["query"])), _request(dict(zip(FIELDS, values, strict=True))))
    except (KeyError, TypeError, ValueError):
        return ""


def _request(values: dict[str, Any], forks: str = "") -> Request:
    """The request that the controls stand for; a range that is the default, or another schedule's, is left out of the link."""
    of, span = values.pop("of"), (values.pop("lo"), values.pop("hi"))
    family = FAMILIES.get(values["schedule"])
    default = of != values["schedule"] or family and span == family.default
    return Request.parse({**values, "span": None if default else span, "forks": forks})


def _formula(schedule: str) -> str:
    family = FAMILIES[schedule]
    return (
        f"**{schedule}**: {family.formula}, u = {U_0:g} + {1 - U_0:g} t / T, lo = {family.names[0]}, hi = {family.names[1]}; "
        "alpha_bar = a^2 = 1 - sigma^2, divided by its value at t = 0"
    )


def _sliders(schedule: str, span: tuple[float, float] | None = None) -> tuple[Slider, Slider]:
    """The two parameters of a schedule family."""
    family = FAMILIES[schedule]
    low, high = family.bounds
    lo, hi = span or family.default
    step = 0.1 if high > 1 else 0.0001
    return (
        Slider(low, high, lo, step=step, label=family.names[0], elem_id="lo"),
        Slider(low, high, hi, step=step, label=family.names[1], elem_id="hi"),
    )
