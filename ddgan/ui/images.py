"""The tab *Images*: the controls of a request for images, and the gallery that shows its steps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import gradio as gr

from .. import views
from ..gallery import ImageQuestion, explore, gallery
from ..request import DENOISERS, Request, forked, still_forked, unforked
from ..session import Session
from . import exports
from .drawn import NEXT_SEED, asking, calling, drawn
from .jobs import job, size

__all__ = ["build"]

FIRST = Request.parse({"data": "mnist"})
SETS = [("MNIST", "mnist"), ("CIFAR-10", "cifar10"), ("StackedMNIST", "stackedmnist")]
STEPS = [1, 2, 3, 4, 6, 8, 16]
SAMPLES = [4, 9, 16, 36, 64]
FIELDS = ("data", "denoisers", "T", "schedule", "seed", "n")
_SEARCH = "() => [document.querySelector('#gallery .gallery')?.dataset.id ? '' : location.search || '?']"
_RUN = "(asked, ...rest) => [JSON.stringify(document.querySelector('#gallery .gallery').gallery.run()), ...rest]"
_PAINTED = """async (asked, ...rest) => {
  const edit = await document.querySelector('#paint .paint').board.edit();
  return [JSON.stringify({...document.querySelector('#gallery .gallery').gallery.run(), edit}), ...rest]; }"""


def build(session: Session, tab: gr.Tab) -> None:
    """The tab's components and events; the first picture is made when the tab is first shown."""
    pick = partial(gr.Dropdown, filterable=False)
    with gr.Row(elem_classes="controls"):
        data = pick(SETS, value=FIRST.data, label="Data", scale=2, min_width=140, elem_id="images-data")
        T = pick(STEPS, value=FIRST.T, label="Steps T", scale=2, min_width=90, elem_id="images-T")
        schedule = pick(views.SCHEDULES, value=FIRST.schedule, label="Schedule", scale=2, min_width=120, elem_id="images-schedule")
        n = pick(SAMPLES, value=FIRST.n, label="Samples", scale=2, min_width=90, elem_id="images-n")
        seed = gr.Number(FIRST.seed, label="Seed", precision=0, scale=2, min_width=90, elem_id="images-seed")
        dice = gr.Button("New noise", scale=1, min_width=110, elem_id="images-dice")
    denoisers = gr.CheckboxGroup(
        _denoisers(session, FIRST.data, FIRST.denoisers), value=list(FIRST.denoisers), show_label=False,
        label="Denoisers, all on the same noise", container=False, elem_id="images-denoisers",
    )  # fmt: skip
    shown = drawn("gallery", "stage gallery")
    with gr.Row(elem_classes="forks"):
        gr.HTML('<span class="forks-name">Draw anew at this step</span>', apply_default_css=False)
        alone = gr.Checkbox(True, label="for the chosen sample only", container=False, scale=0, min_width=230, elem_id="images-alone")
        again = {
            "z": gr.Button("New z", size="sm", scale=0, min_width=0),
            "eps": gr.Button("New posterior noise", size="sm", scale=0, min_width=0),
        }
        back = gr.Button("Undo", size="sm", scale=0, min_width=0, elem_classes="undo")
    exports.build(session, "#gallery .gallery")
    asked = gr.Textbox("", visible=False)
    with gr.Accordion("Begin with an image: draw, upload or take a sample", open=False, elem_id="paint"):
        drawn("paint", "draw paint", elem_id=None)
        with gr.Row(elem_classes="paint-buttons"):
            begin = gr.Button("Noise it, and take the remaining steps", variant="primary", size="sm", scale=0, min_width=0)
    away = gr.Button("Begin at noise again", elem_id="images-away", elem_classes="offstage")
    explorer = drawn("explorer", "stage explorer")
    explored = gr.Button("Explore", elem_id="images-explore", elem_classes="offstage")
    cancel = gr.Button("Cancel", elem_id="images-cancel", elem_classes="offstage")
    ask = {what: gr.Button(elem_id=f"images-ask-{what}", elem_classes="offstage") for what in ("data", "other", "schedule")}
    controls = [data, denoisers, T, schedule, seed, n]

    def show(values: dict[str, Any]) -> Iterator[str]:
        asked, seen = time.time_ns() // 1000, [values[name] for name in FIELDS]
        try:
            with job("images") as line:
                request = Request.parse(values)
                line.size = size(request)
                for picture in gallery(session, request):
                    yield views.stamped(picture, asked, seen)
        except ValueError as error:
            yield views.stamped(views.refusal(error), asked, seen)

    def changed(asked: str, *values: Any, forks: Callable[[str], str] = lambda kept: "", **other: Any) -> Iterator[str]:
        """The picture of the controls, some of other values; range and edit are those of the picture that is shown.

        `forks` makes its forks of those that are shown, where it is the same but for its denoisers.
        """
        before = _shown(json.loads(asked or "null"))
        unseen = {"span": before.span, "edit": before.edit and str(before.edit)} if before else {}
        of = {**unseen, **dict(zip(FIELDS, values, strict=True)), **other}
        yield from show(_fitting({**of, "forks": forks(_kept(before, of))}))

    def switched(asked: str, *values: Any) -> Iterator[list[Any]]:
        """Other data, with those of the denoisers that it has."""
        of = dict(zip(FIELDS, values, strict=True))
        here = session.source(of["data"]).models
        names = [name for name in of["denoisers"] if name in here] or list(here)[:1]
        offered = gr.update(choices=_denoisers(session, of["data"], names), value=names)
        for picture in changed(asked, *values, denoisers=names):
            yield [offered, picture]
            offered = gr.skip()

    def fork(what: str, asked: str, alone: bool, *values: Any) -> Iterator[str]:
        """New noise of one kind at the step that the gallery stands at."""
        run = json.loads(asked or "null")
        if not isinstance(run, dict):
            yield views.refusal(ValueError("there is no picture yet to change"))
            return
        item = run.get("item") if alone else None
        yield from changed(asked, *values, forks=lambda kept: forked(kept, what, run.get("step"), item))

    def edited(asked: str, *values: Any) -> Iterator[str]:
        run = json.loads(asked or "null")
        yield from changed(asked, *values, edit=run.get("edit") if isinstance(run, dict) else "")

    def answered(asked: str) -> Iterator[str]:
        try:
            with job("explore") as line:
                question = ImageQuestion.parse(json.loads(asked or "null"))
                line.size = size(question.request)
                yield from explore(session, question)
        except ValueError as error:
            yield views.refusal(error)

    def opened(address: str) -> Iterator[list[Any]]:
        """The controls and the picture that the address of the page stands for; nothing where there is one already."""
        if not address:
            yield [gr.skip()] * (len(FIELDS) + 1)
            return
        request, problem = FIRST, None
        try:
            request = _linked(address)
        except ValueError as error:
            problem = views.misunderstood(error)
        found = list(_updates(session, request).values())
        for picture in show(request.to_dict()):
            if problem:
                picture = views.instead(picture, problem)
            yield [*found, picture]
            found = [gr.skip()] * len(found)

    quiet = {"show_progress": "hidden", "concurrency_id": "sample", "concurrency_limit": 2, "api_visibility": "private"}
    for what, changing in {"data": [data], "other": [T, n, seed], "schedule": [schedule]}.items():
        gr.on([component.input for component in changing], inputs=controls, **asking("gallery", ask[what]))
    dice.click(None, seed, seed, js=NEXT_SEED, api_visibility="private").then(inputs=controls, **asking("gallery", ask["other"]))
    given = [asked, *controls]
    runs = [
        tab.select(opened, asked, [*controls, shown], js=_SEARCH, **quiet),
        ask["data"].click(switched, given, [denoisers, shown], js=_RUN, trigger_mode="always_last", **quiet),
        ask["other"].click(changed, given, shown, js=_RUN, trigger_mode="always_last", **quiet),
        denoisers.input(partial(changed, forks=str), given, shown, js=_RUN, trigger_mode="always_last", **quiet),
        ask["schedule"].click(partial(changed, span=""), given, shown, js=_RUN, trigger_mode="always_last", **quiet),
        back.click(partial(changed, forks=unforked), given, shown, js=_RUN, **quiet),
        begin.click(edited, given, shown, js=_PAINTED, **quiet),
        away.click(partial(changed, edit=""), given, shown, js=_RUN, **quiet),
        *(
            button.click(partial(fork, what), [asked, alone, *controls], shown, js=_RUN, **quiet)
            for what, button in again.items()
        ),
    ]
    exploring = explored.click(answered, asked, explorer, js=_RUN, trigger_mode="always_last", **quiet)
    for event in (*runs, exploring):  # what failed, and said so, is not under way any more
        event.failure(None, None, None, js=calling("explorer" if event is exploring else "gallery", "idle"))
    cancel.click(None, None, None, cancels=runs)


def _linked(address: str) -> Request:
    """The request of a link to images; the first one where the link is another tab's."""
    request = Request.from_query(address.lstrip("?"))
    return request if request.data in dict(SETS).values() else FIRST


def _shown(run: Any) -> Request | None:
    """The request of a run that is shown."""
    try:
        return Request.from_query(str(run["query"]))
    except (KeyError, TypeError, ValueError):
        return None


def _kept(shown: Request | None, values: dict[str, Any]) -> str:
    """`still_forked` of what is shown and of such values."""
    try:
        return still_forked(shown, Request.parse(values)) if shown else ""
    except ValueError:
        return ""


def _fitting(values: dict[str, Any]) -> dict[str, Any]:
    """The same without an edit that is of other data or of more steps."""
    try:
        Request.parse(values)  # what else it refuses is refused where it is shown, too, and changes nothing
    except ValueError:
        return {**values, "edit": ""}
    return values


def _denoisers(session: Session, data: str, asked: Iterable[str]) -> list[tuple[str, str]]:
    """The choices: the models of this data that are here, and what is asked for."""
    here = {*session.source(data).models, *asked}
    return [(label, name) for name, (label, _) in DENOISERS.items() if name in here]


def _updates(session: Session, request: Request) -> dict[str, Any]:
    """What a request is to the controls, with choices that hold what only a link asks for."""
    return {name: request.to_dict()[name] for name in FIELDS} | {
        "denoisers": gr.update(choices=_denoisers(session, request.data, request.denoisers), value=list(request.denoisers)),
        "T": gr.update(choices=sorted({*STEPS, request.T}), value=request.T),
        "n": gr.update(choices=sorted({*SAMPLES, request.n}), value=request.n),
    }
