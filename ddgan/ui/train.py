"""The tab *Train*: a training as it happens, in the visitor's hands, and what becomes of its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from .. import views
from ..config import EXPERIMENTS, Config
from ..data import TOYS
from ..request import DENOISERS
from ..studio import Studio, parse
from .drawn import drawn
from .jobs import job
from .serve import Page
from .slider import Slider

__all__ = ["build"]

_said = partial(views.note, "train-said")

STEPS = [1, 2, 3, 4, 6, 8, ("any number", 0)]
RATES = [0, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 4e-2]
GAMMAS = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1]
LOSSES = [("R1 + R2", "r1r2"), ("R1, the paper's", "paper"), ("relativistic, R1 + R2", "rpgan")]
FIELDS = ("data", "T", "network", "loss", "latent_dim", "lr_g", "lr_d", "gamma", "width", "depth", "batch", "seed")
OWN = "Your own"
_BY_HAND = [OWN, "Any settings below: what do you expect?"]  # experiment and comment where the settings are the visitor's
_LINK = "(...values) => { document.querySelector('#lab .lab')?.lab.link(values); return []; }"


def build(demo: Page, studio: Studio, tabs: gr.Tabs, denoise: tuple[list[Any], Callable[..., list[Any]]]) -> None:
    """The tab's components and events, inside `demo`; `denoise` is what denoise.build returned."""
    session = studio.session
    first = next(iter(EXPERIMENTS))
    config, words = EXPERIMENTS[first]
    pick = partial(gr.Dropdown, filterable=False, min_width=0)
    with gr.Row(elem_classes="train"):
        with gr.Column(scale=0, min_width=300, elem_classes="train-settings controls"):
            experiment = pick([*EXPERIMENTS, OWN], value=first, label="Experiment", elem_id="experiment")
            comment = gr.Markdown(words, elem_id="comment")
            with gr.Row(elem_classes="train-grid"):
                data = pick(views.data_choices(), value=config.data, label="Data", elem_id="train-data")
                T = pick(STEPS, value=_steps(config), label="Steps T", elem_id="train-T")
                network = pick(["skip", "plain"], value=config.network, label="Networks", elem_id="network")
                loss = pick(LOSSES, value=config.loss, label="Loss", elem_id="loss")
                latent = pick([0, 1, 2, 4, 8, 16], value=config.latent_dim, label="Numbers in z", elem_id="latent")
                gamma = pick(GAMMAS, value=config.gamma, label="Penalty γ", elem_id="gamma")
                lr_g = pick(RATES, value=config.lr_g, label="Rate of G", elem_id="lr-g")
                lr_d = pick(RATES, value=config.lr_d, label="Rate of D", elem_id="lr-d")
            seconds = Slider(10, 120, 20, step=5, precision=0, label="Seconds of training", elem_id="seconds")
            gr.Markdown("A training that goes on follows changes of γ and of the two rates; all else is for the next one.")
            with gr.Accordion("More settings", open=False):
                with gr.Row(elem_classes="train-grid"):
                    width = pick([16, 32, 64, 96, 128, 256, 512], value=config.width, label="Width")
                    depth = pick([1, 2, 3, 4], value=config.depth, label="Hidden layers")
                    batch = pick([64, 128, 256, 512], value=config.batch, label="Batch")
                    seed = gr.Number(config.seed, label="Seed", precision=0, min_width=0, elem_id="train-seed")
        with gr.Column(scale=1, min_width=320):
            with gr.Row(elem_id="train-buttons"):
                start = gr.Button("Start", variant="primary", min_width=0, elem_id="start")
                pause = gr.Button("Pause", min_width=0, interactive=False, elem_id="pause")
                step = gr.Button("One step", min_width=0, elem_id="one-step")
                stop = gr.Button("Stop", min_width=0, interactive=False, elem_id="stop")
            lab = drawn("lab", "stage lab", target="", server_functions=[_place(studio)])
            with gr.Row(elem_id="train-model"):
                compare = gr.Button("Compare in Denoise", size="sm", min_width=90, interactive=False, elem_id="compare")
                download = gr.DownloadButton("Download the model", size="sm", min_width=90, interactive=False, elem_id="download")
                upload = gr.UploadButton("Load a model", size="sm", min_width=90, file_types=[".safetensors"], elem_id="upload")
            said = gr.HTML(_said(""), apply_default_css=False, elem_id="train-said")
    own, ticket = gr.State(None), gr.State(None)  # the name of the visitor's model, the id of the run
    settings = [data, T, network, loss, latent, lr_g, lr_d, gamma, width, depth, batch, seed]
    buttons = [start, pause, step, stop]

    def begin(request: gr.Request, own: str | None, *values: Any, by_hand: bool = False) -> list[Any]:
        try:
            given = dict(zip((*FIELDS, "seconds"), values, strict=True))
            run = studio.open(request.session_hash, {**given, "ema": config.ema}, paused=by_hand)
        except ValueError as error:
            return [views.refusal(error), *[gr.skip()] * (2 + len(buttons))]
        if by_hand:
            run.step()
        words = _said("Until this training ends, Compare and Download are of the model before." if own else "")
        return [gr.update(value=views.lab(run.waiting()), target=views.target(run.law)), run.id, *_buttons("waiting"), words]

    def advance(request: gr.Request, own: str | None, *values: Any) -> list[Any]:
        """One update more, of a new run where there is none."""
        if run := studio.run(request.session_hash):
            run.step()
            return [gr.skip()] * (3 + len(buttons))
        return begin(request, own, *values, by_hand=True)

    def toggle(request: gr.Request) -> None:
        if run := studio.run(request.session_hash):
            run.resume() if run.paused else run.pause()

    def halt(request: gr.Request) -> list[Any]:
        """Stop the run; one that waits for its turn is over at once, any other says so in its last frame."""
        run = studio.run(request.session_hash)
        if run is None:  # it ended behind the page
            return [gr.skip(), *_buttons("stopped")]
        run.stop()
        if not run.over:
            return [gr.skip()] * (1 + len(buttons))
        studio.close(request.session_hash, run)
        return [views.lab(run.waiting()), *_buttons(run.state)]

    def tuning(name: str) -> Callable[..., None]:
        def tune(value: float, request: gr.Request) -> None:
            if run := studio.run(request.session_hash):
                run.tune(**{name: value})

        return tune

    def watch(request: gr.Request) -> Iterator[list[Any]]:
        """The frames of the visitor's run once its turn has come; in the end its model."""
        visitor, same = request.session_hash, [gr.skip()] * (1 + len(buttons) + 4)
        run = studio.run(visitor)
        if run is None:
            yield same
            return
        frames, shown = run.frames(), None
        try:
            with job("train", f"{run.seconds:.0f} s, batch {run.config.batch}, width {run.config.width}", background=True) as line:
                for frame in frames:
                    state = _buttons(frame.state) if shown is None or frame.state != shown.state else same[1:5]
                    yield same if frame is shown else [views.lab(frame), *state, *same[5:]]
                    shown = frame
                line.outcome = run.state
        finally:
            frames.close()
            studio.close(visitor, run)
        name = studio.adopt(run, visitor)
        if name is None:
            return
        with TemporaryDirectory() as directory:  # Gradio serves a copy
            path = studio.save(name, Path(directory))
            words = f"{path.name} can be downloaded, and the model compared with the others in Denoise."
            yield [*same[:5], name, gr.update(interactive=True), gr.update(value=str(path), interactive=True), _said(words)]

    def leave(request: gr.Request) -> None:
        studio.close(request.session_hash)

    def load(path: str, request: gr.Request) -> list[Any]:
        """The visitor's model, of a file, which is deleted."""
        file = Path(path)
        try:
            with job("model file", f"{file.stat().st_size} bytes"):
                name = studio.load(file, request.session_hash)
        except ValueError as error:
            return [gr.skip(), gr.skip(), _said(views.sentence(str(error)), failed=True)]
        finally:
            file.unlink(missing_ok=True)
        return [name, gr.update(interactive=True), _said(f"Loaded: {views.title(session, name)[1]}.")]

    components, view = denoise

    def show(name: str | None, denoisers: list[str], n: int, seed: int) -> list[Any]:
        """Denoise, with the visitor's model among its denoisers, on its data and with its T."""
        others = [other for other in denoisers if other in DENOISERS or (other in session.adopted and other != name)]
        asked = studio.request(name, others, n=n, seed=seed)
        home = asked.data == session.adopted[name].card["config"]["data"]
        problem = None if home else f"What this model was trained on is not in its file: here it stands on {views.data_label(asked.data)}."
        return [gr.Tabs(selected="denoise"), *view(asked, problem)]

    def opened(request: gr.Request) -> list[Any]:
        """The settings of a link; those of the first experiment where it names none, or none that can be."""
        names, given = (*FIELDS, "seconds"), request.query_params.get("train", "")
        if not given:
            return [gr.skip()] * (2 + len(names))
        try:
            values = given.split(",")
            if len(values) != len(names):
                raise ValueError(f"train has {len(names)} settings, got {len(values)}")
            asked, length = parse(dict(zip(names, values, strict=True)))
        except ValueError as error:
            return [gr.skip(), f"⚠ {views.misunderstood(error)}", *[gr.skip()] * len(names)]
        found = {**asked.to_dict(), "T": _steps(asked)}
        of = gr.update(choices=views.data_choices(asked.data), value=asked.data)
        rest = (_held(component, found[name]) for component, name in zip(settings[1:], FIELDS[1:], strict=True))
        return [*_BY_HAND, of, *rest, length]

    def fitting(data: str, z: int) -> int:
        """As many numbers in z as a point of the data has, or none as before."""
        return z and studio.coordinates(data)

    def follow(shown: str, chosen: str, z: int) -> list[Any]:
        """Own data that Denoise shows can be trained on."""
        if shown in TOYS or shown == chosen:
            return [gr.skip()] * 4
        return [gr.update(choices=views.data_choices(shown), value=shown), fitting(shown, z), *_BY_HAND]

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    hand = {**quiet, "concurrency_id": "hand", "concurrency_limit": 4}  # never behind a training
    start.click(begin, [own, *settings, seconds], [lab, ticket, *buttons, said], **hand)
    step.click(advance, [own, *settings, seconds], [lab, ticket, *buttons, said], trigger_mode="multiple", **hand)
    pause.click(toggle, None, None, **hand)
    stop.click(halt, None, [lab, *buttons], **hand)
    for name, component in {"lr_g": lr_g, "lr_d": lr_d, "gamma": gamma}.items():
        component.input(tuning(name), component, None, trigger_mode="always_last", **hand)
    outputs = [lab, *buttons, own, compare, download, said]
    watched = ticket.change(watch, None, outputs, concurrency_id="train", concurrency_limit=1, trigger_mode="multiple", **quiet)
    watched.failure(partial(_buttons, "failed"), None, buttons, **hand)
    demo.unload(leave)
    demo.left.append(studio.close)  # where the browser could not say so, or there was none

    linked = {"fn": None, "inputs": [*settings, seconds], "outputs": None, "js": _LINK, "api_visibility": "private"}
    experiment.input(_chosen, [experiment, *settings], [comment, *settings], **hand).then(**linked)
    gr.on([*(component.input for component in settings), seconds.change], **linked)
    demo.load(opened, None, [experiment, comment, *settings, seconds], **hand)
    edited = [component.input for component in settings if component is not seed]
    gr.on(edited, _edited, [experiment, *settings], [experiment, comment], trigger_mode="always_last", **hand)
    data.input(fitting, [data, latent], latent, **hand).then(**linked)
    upload.upload(load, upload, [own, compare, said], **hand)
    by_id = {component.elem_id: component for component in components}
    compare.click(show, [own, by_id["denoisers"], by_id["n"], by_id["seed"]], [tabs, *components], **hand)
    by_id["data"].change(follow, [by_id["data"], data, latent], [data, latent, experiment, comment], **hand)


def _place(studio: Studio) -> Callable[[Any], int]:
    def place(run: Any) -> int:
        """How many trainings have their turn before the run of this id."""
        return studio.ahead(run) if isinstance(run, str) else 0

    return place


def _experiment(name: str) -> list[Any]:
    if name == OWN:
        return [_BY_HAND[1], *[gr.skip()] * len(FIELDS)]
    config, words = EXPERIMENTS[name]
    values = {**config.to_dict(), "T": _steps(config)}
    return [words, *(values[field] for field in FIELDS)]


def _same(name: str, values: Sequence[Any]) -> bool:
    """Whether the settings are those of the experiment, but for the seed: a list may have been left as it was."""
    return name != OWN and [*values[:-1]] == _experiment(name)[1:-1]


def _chosen(name: str, *values: Any) -> list[Any]:
    """The settings of the experiment, with the visitor's seed where they are no others."""
    return [*_experiment(name)[:-1], gr.skip()] if _same(name, values) else _experiment(name)


def _edited(name: str, *values: Any) -> list[Any]:
    """The settings are the visitor's own now, unless they are those of the experiment."""
    return [gr.skip()] * 2 if _same(name, values) else _BY_HAND


def _held(component: Any, value: Any) -> Any:
    """A value for a component, among whose choices it need not be."""
    choices = getattr(component, "choices", None)
    if choices is None or value in [known for _, known in choices]:
        return value
    return gr.update(choices=[*choices, (str(value), value)], value=value)


def _steps(config: Config) -> int:
    return config.T or 0


def _buttons(state: str) -> list[Any]:
    """Start, Pause, One step, Stop in a state of the run."""
    live, paused = state in ("training", "paused"), state == "paused"
    idle = not live and state != "waiting"
    return [
        gr.update(interactive=idle),
        gr.update(interactive=live, value="Resume" if paused else "Pause"),
        gr.update(interactive=live or idle),
        gr.update(interactive=not idle),
    ]
