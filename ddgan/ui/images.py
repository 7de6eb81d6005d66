"""The tab *Images*: the controls of a request for images, and the gallery that shows its steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import gradio as gr

from ..data.images import LABELS
from ..errors import Refused
from ..explorer.labels import ANY
from ..explorer.methods import METHODS
from ..explorer.parse import json_of
from ..explorer.request import Edit, Request, forked, still_forked, unforked
from ..explorer.session import Session
from ..views.image_grid import drawing
from ..views.image_posterior import explore
from . import exports, image_classes, words
from .canvas import NEXT_SEED, QUIET, SAMPLING, asking, calling, drawn
from .server.jobs import job, size

__all__ = ["build"]

FIRST = Request.parse({"data": "mnist", "label": ANY})  # told a class, a Gaussian has fewer modes to miss
SETS = [(called, name) for name, called in LABELS.items()]
STEPS = [1, 2, 3, 4, 6, 8, 16]
SAMPLES = [4, 9, 16, 36, 64]
_SEARCH = """() => {
  const stage = document.querySelector('#gallery .gallery');
  if (stage?.dataset.id) return [''];
  stage?.gallery?.await();
  return [location.search || '?']; }"""
_RUN = "(asked, ...rest) => [JSON.stringify(document.querySelector('#gallery .gallery').gallery.run()), ...rest]"
_NEXT = _RUN.replace("run()", "await()")  # which says that another picture is asked for
_PAINTED = """async (asked, ...rest) => {
  const edit = await document.querySelector('#paint .paint').board.edit();
  return [JSON.stringify({...document.querySelector('#gallery .gallery').gallery.await(), edit}), ...rest]; }"""


class Controls(NamedTuple):
    """The components that a request is made of."""

    data: gr.Dropdown
    denoisers: gr.CheckboxGroup
    T: gr.Dropdown
    schedule: gr.Dropdown
    seed: gr.Number
    n: gr.Dropdown
    label: gr.Dropdown


FIELDS = Controls._fields


class Forks(NamedTuple):
    """The row below the gallery: whether for one sample, a button for each kind of new noise, and Undo."""

    alone: gr.Checkbox
    again: dict[str, gr.Button]
    back: gr.Button


class Parts(NamedTuple):
    """What the tab's events are about.

    `away`, `explored`, `cancel` and `ask` are buttons that the page's scripts click.
    """

    controls: Controls
    dice: gr.Button
    shown: gr.HTML
    forks: Forks
    asked: gr.Textbox
    begin: gr.Button
    away: gr.Button
    explorer: gr.HTML
    explored: gr.Button
    cancel: gr.Button
    ask: dict[str, gr.Button]


def build(session: Session, tab: gr.Tab) -> None:
    """The tab's components and events; the first picture is made when the tab is first shown."""
    _wire(tab, _laid_out(session), Answers(session))


def _laid_out(session: Session) -> Parts:
    """The tab's components, from above to below."""
    controls, dice = _controls(session)
    shown = drawn("image_grid", "stage gallery", elem_id="gallery")
    image_classes.build(session)
    forks = _fork_row()
    drawn("image_step", "stage image-step", elem_id="image-step")
    image_classes.build_folds(session)
    exports.build(session, "#gallery .gallery")
    asked = gr.Textbox("", visible=False)
    with gr.Accordion("Begin with an image: draw, upload or take a sample", open=False, elem_id="paint"):
        drawn("paint", "draw paint", elem_id=None)
        with gr.Row(elem_classes="paint-buttons"):
            begin = gr.Button(
                "Noise it, and take the remaining steps", variant="primary", size="sm", scale=0, min_width=0
            )
    away = gr.Button("Begin at noise again", elem_id="images-away", elem_classes="offstage")
    explorer = drawn("image_posterior", "stage explorer", elem_id="explorer")
    explored = gr.Button("Explore", elem_id="images-explore", elem_classes="offstage")
    cancel = gr.Button("Cancel", elem_id="images-cancel", elem_classes="offstage")
    ask = {
        what: gr.Button(elem_id=f"images-ask-{what}", elem_classes="offstage") for what in ("data", "other", "schedule")
    }
    return Parts(controls, dice, shown, forks, asked, begin, away, explorer, explored, cancel, ask)


def _controls(session: Session) -> tuple[Controls, gr.Button]:
    """The controls of a request, and the button for new noise."""
    pick = partial(gr.Dropdown, filterable=False)
    with gr.Row(elem_classes="controls images-controls"):
        data = pick(SETS, value=FIRST.data, label="Data", scale=2, min_width=140, elem_id="images-data")
        classes = _classes(session, FIRST.data, _opening(FIRST.data))
        label = pick(**classes, label="Class", scale=3, min_width=130, elem_id="images-label")
        T = pick(STEPS, value=FIRST.T, label="Steps T", scale=2, min_width=90, elem_id="images-T")
        schedule = pick(
            words.SCHEDULES, value=FIRST.schedule, label="Schedule", scale=3, min_width=120, elem_id="images-schedule"
        )
        n = pick(SAMPLES, value=FIRST.n, label="Samples", scale=2, min_width=90, elem_id="images-n")
        # no precision: Gradio would round, and Request refuses
        seed = gr.Number(FIRST.seed, label="Seed", scale=2, min_width=90, elem_id="images-seed")
        dice = gr.Button("New noise", scale=1, min_width=110, elem_id="images-dice")
    denoisers = gr.CheckboxGroup(
        _denoisers(session, FIRST.data, FIRST.denoisers), value=list(FIRST.denoisers), show_label=False,
        label="Denoisers, all on the same noise", container=False, elem_id="images-denoisers",
    )  # fmt: skip
    return Controls(data, denoisers, T, schedule, seed, n, label), dice


def _fork_row() -> Forks:
    with gr.Row(elem_classes="forks"):
        gr.HTML('<span class="forks-name">Draw anew at this step</span>', apply_default_css=False)
        alone = gr.Checkbox(
            True, label="for the chosen sample only", container=False, scale=0, min_width=230, elem_id="images-alone"
        )
        again = {
            "z": gr.Button("New z", size="sm", scale=0, min_width=0),
            "eps": gr.Button("New posterior noise", size="sm", scale=0, min_width=0),
        }
        # assets/image_grid.js enables it where there is something to undo
        back = gr.Button("Undo", size="sm", scale=0, min_width=0, elem_id="images-undo", interactive=False)
    return Forks(alone, again, back)


def _wire(tab: gr.Tab, parts: Parts, answers: Answers) -> None:
    """The tab's events: a picture for the address of the page, for every change of a control, fork and edit."""
    of, shown, (alone, again, back), ask = parts.controls, parts.shown, parts.forks, parts.ask
    controls, changed = [*of], answers.changed
    quiet = QUIET | SAMPLING
    kinds = {"data": [of.data], "other": [of.T, of.n, of.seed, of.label], "schedule": [of.schedule]}
    for what, changing in kinds.items():
        gr.on([component.input for component in changing], inputs=controls, **asking(ask[what]))
    next_seed = parts.dice.click(None, of.seed, of.seed, js=NEXT_SEED, api_visibility="private")
    next_seed.then(inputs=controls, **asking(ask["other"]))
    given, offered = [parts.asked, *controls], [of.denoisers, of.label, shown]
    run = {"js": _NEXT, **quiet}
    last = {"trigger_mode": "always_last", **run}
    runs = [
        tab.select(answers.opened, parts.asked, [*controls, shown], js=_SEARCH, **quiet),
        ask["data"].click(answers.switched, given, offered, **last),
        ask["other"].click(changed, given, shown, **last),
        of.denoisers.input(partial(changed, forks=str), given, shown, **last),
        ask["schedule"].click(answers.rescheduled, given, [of.schedule, shown], **last),
        back.click(partial(changed, forks=unforked), given, shown, **run),
        parts.begin.click(answers.edited, given, shown, js=_PAINTED, **quiet),
        parts.away.click(partial(changed, edit=""), given, shown, **run),
        *(
            button.click(partial(answers.fork, what), [parts.asked, alone, *controls], shown, **run)
            for what, button in again.items()
        ),
    ]
    explored = partial(image_classes.answered, answers.session, "explore", explore)
    asks = {**last, "js": image_classes.of_script("explorer"), **image_classes.QUESTIONS}
    image_classes.noted(parts.explored, parts.asked, "explore", "explorer")
    exploring = parts.explored.click(explored, parts.asked, parts.explorer, **asks)
    for event in (*runs, exploring):  # what failed, and said so, is not under way any more
        event.failure(None, None, None, js=calling("explorer" if event is exploring else "gallery", "idle"))
    parts.cancel.click(None, None, None, cancels=runs)


@dataclass(frozen=True)
class Answers:
    """The answers to the events of the tab."""

    session: Session

    def show(self, asked: Callable[[], Request], controls: dict[str, Any], problem: str | None = None) -> Iterator[str]:
        """How far the picture of a request is, and the picture; `controls` are what the visitor's held."""
        now, seen = time.time_ns() // 1000, [controls[name] for name in FIELDS]
        try:
            with job("images") as line:
                request = asked()
                line.size = size(request)
                for picture in drawing(self.session, request):
                    yield words.answered(picture, now, seen, problem)
        except Refused as error:
            yield words.answered(error, now, seen, problem)

    def changed(
        self, asked: str, *values: Any, forks: Callable[[str], str] = lambda kept: "", **other: Any
    ) -> Iterator[str]:
        """The picture for the controls and `other` values; the picture that is shown keeps its range and its edit.

        `forks` changes the forks that are shown. They are kept only if nothing but the denoisers changes.
        """
        before = _shown(json_of(asked))
        unseen = {"span": before.span, "edit": before.edit} if before else {}
        of = {**unseen, **dict(zip(FIELDS, values, strict=True)), **other}
        yield from self.show(lambda: _changed(before, of, forks), of)

    def switched(self, asked: str, *values: Any) -> Iterator[list[Any]]:
        """Other data, with those of the denoisers that it has, and the class if it has it."""
        fitting, *offered = _offered(self.session, dict(zip(FIELDS, values, strict=True)))
        for picture in self.changed(asked, *values, **fitting):
            yield [*offered, picture]
            offered = [gr.skip()] * len(offered)

    def rescheduled(self, asked: str, *values: Any) -> Iterator[list[Any]]:
        """Another schedule, in its own range, and the menu that says so."""
        menu = gr.update(choices=words.schedules())
        for picture in self.changed(asked, *values, span=""):
            yield [menu, picture]
            menu = gr.skip()

    def fork(self, what: str, asked: str, alone: bool, *values: Any) -> Iterator[str]:
        """New noise of one kind at the step that the gallery stands at."""
        run = json_of(asked)
        if not isinstance(run, dict):
            yield words.answered(Refused("there is no picture yet to change"))
            return
        item = run.get("item") if alone else None
        yield from self.changed(asked, *values, forks=lambda kept: forked(kept, what, run.get("step"), item))

    def edited(self, asked: str, *values: Any) -> Iterator[str]:
        run = json_of(asked)
        yield from self.changed(asked, *values, edit=run.get("edit") if isinstance(run, dict) else "")

    def opened(self, address: str) -> Iterator[list[Any]]:
        """The controls and the picture for the address of the page; nothing if there is a picture already."""
        if not address:
            yield [gr.skip()] * (len(FIELDS) + 1)
            return
        request, problem = FIRST, None
        try:
            request = _linked(address)
        except Refused as error:
            problem = words.misunderstood(error)
        found = list(_updates(self.session, request).values())
        for picture in self.show(lambda: request, _values(request), problem):
            yield [*found, picture]
            found = [gr.skip()] * len(found)


def _linked(address: str) -> Request:
    """The request of a link to images; the first one where the link is another tab's."""
    request = Request.from_query(address.lstrip("?"))
    return request if request.data in LABELS else FIRST


def _shown(run: Any) -> Request | None:
    """The request of a run that is shown."""
    try:
        return Request.from_query(str(run["query"]))
    except (KeyError, TypeError, Refused):
        return None


def _changed(shown: Request | None, values: dict[str, Any], forks: Callable[[str], str]) -> Request:
    """The request of such values, forked as `changed` says. The edit that is shown keeps its noise in other steps."""
    edit = values.get("edit")
    kept = shown is not None and isinstance(edit, Edit)
    asked = Request.parse({**values, "edit": "" if kept else edit})
    if kept:
        with suppress(Refused):  # an image of other data
            asked = Request.parse({**values, "edit": str(edit.in_steps(asked.T, shown.T))})
    return asked.with_forks(forks(still_forked(shown, asked) if shown else ""))


def _denoisers(session: Session, data: str, asked: Iterable[str]) -> list[tuple[str, str]]:
    """The choices: the models of this data that are here, and what is asked for."""
    here = {*session.source(data).models, *asked}
    return [(method.label, name) for name, method in METHODS.items() if method.model in here]


def _classes(session: Session, data: str, label: str = "") -> dict[str, Any]:
    """The menu of classes, with this one chosen.

    It is shown where a model of the data knows classes, or a link asks for one.
    """
    names = session.class_names(data)
    choices = {"each its own": "", "any": ANY, **{name: name for name in (*names, label) if name not in ("", ANY)}}
    return {"choices": list(choices.items()), "value": label, "visible": bool(names or label)}


def _opening(data: str) -> str:
    """What the menu of classes holds when these data are chosen."""
    return (FIRST.label or "") if data == FIRST.data else ""


def _offered(session: Session, of: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Of what the controls hold (denoisers, label) as much as other data have, and the updates of the two menus.

    A class by name is kept where they have it; else they open as they do first.
    """
    here, known = session.source(of["data"]).models, session.class_names(of["data"])
    names = [name for name in of["denoisers"] if name in here] or list(here)[:1]
    label = of["label"] if of["label"] in known else _opening(of["data"]) if known else ""
    menu = gr.update(choices=_denoisers(session, of["data"], names), value=names)
    return {"denoisers": names, "label": label}, menu, gr.update(**_classes(session, of["data"], label))


def _values(request: Request) -> dict[str, Any]:
    """What the controls hold of a request."""
    return {"label": "", **request.to_dict()}


def _updates(session: Session, request: Request) -> dict[str, Any]:
    """What a request is to the controls, with choices that hold what only a link asks for."""
    return {name: _values(request)[name] for name in FIELDS} | {
        "label": gr.update(**_classes(session, request.data, request.label or "")),
        "denoisers": gr.update(
            choices=_denoisers(session, request.data, request.denoisers), value=list(request.denoisers)
        ),
        "schedule": gr.update(choices=words.schedules(request.schedule, request.span), value=request.schedule),
        "T": gr.update(choices=sorted({*STEPS, request.T}), value=request.T),
        "n": gr.update(choices=sorted({*SAMPLES, request.n}), value=request.n),
    }
