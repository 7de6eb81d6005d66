"""The tab *Train*: a training as it happens, in the visitor's hands, and what becomes of its model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import gradio as gr

from ..data.toys import TOYS, data_label
from ..errors import Refused
from ..explorer.live import Run
from ..explorer.live_runs import LiveRuns, parse
from ..explorer.methods import METHODS
from ..explorer.session import Session
from ..models.config import Config
from ..training.trainer import BOTH
from ..views.answers import sentence, title
from ..views.encoding import encoded
from ..views.lessons import EXPERIMENTS
from ..views.training import frame_payload, target
from . import diagram
from .canvas import QUIET, drawn
from .denoise import Tab
from .server import Page
from .server.jobs import job
from .slider import Slider
from .words import GLOSSES, answered, data_choices, misunderstood, note, with_glosses

__all__ = ["build"]

_said = partial(note, "train-said")

STEPS = [1, 2, 3, 4, 6, 8, ("any number", 0)]
NETWORKS = [
    ("head start", "skip"), ("plain, the paper's", "plain"), ("mixture, without D", "mixture"),
    ("consistency, without D", "flow"),
]  # fmt: skip
RATES = [0, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 4e-2]
GAMMAS = [0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1]
LOSSES = [("R1 and R2", "r1r2"), ("R1, the paper's", "paper"), ("relativistic", "rpgan")]
# what is said below the labels of settings
HEAD_START = "head start: G bends a first guess"
PENALISED = "R1, R2 hold down the slope of D"
Z = "random numbers for G"
PENALTY = "how firm R1, R2 are"
OWN = "Your own"
FIRST = next(iter(EXPERIMENTS))
PLAYERS = {"D": "D", "G": "G", "Gaussians": "Gaussian"}  # what a comment glosses besides
BUTTONS = 4  # Start, Pause, One step, Stop
READY = {"interactive": True, "variant": "primary"}  # Compare, once there is a model
# experiment and comment where the settings are the visitor's
_BY_HAND = [OWN, "<p>Any settings below: what do you expect?</p>"]
_LINK = "(...values) => { document.querySelector('#live .live')?.live.link(values); return []; }"
_HAND = {**QUIET, "concurrency_id": "hand", "concurrency_limit": 4}  # never behind a training


class Settings(NamedTuple):
    """The components of a training's config, by its fields."""

    data: gr.Dropdown
    T: gr.Dropdown
    network: gr.Dropdown
    loss: gr.Dropdown
    latent_dim: gr.Dropdown
    lr_g: gr.Dropdown
    lr_d: gr.Dropdown
    gamma: gr.Dropdown
    width: gr.Dropdown
    depth: gr.Dropdown
    batch: gr.Dropdown
    seed: gr.Number


FIELDS = Settings._fields


class Asked(NamedTuple):
    """The column of what is to be trained, the second one."""

    experiment: gr.Dropdown
    comment: gr.HTML
    settings: Settings
    seconds: Slider


class Shown(NamedTuple):
    """The column of the training, the first one: BUTTONS, the picture, and what becomes of the model."""

    buttons: list[gr.Button]
    canvas: gr.HTML
    compare: gr.Button
    download: gr.DownloadButton
    upload: gr.UploadButton
    said: gr.HTML


class Parts(NamedTuple):
    """The tab's components: two columns, the name of the visitor's model, the id of the run."""

    shown: Shown
    asked: Asked
    own: gr.State
    ticket: gr.State


def build(demo: Page, live: LiveRuns, tabs: gr.Tabs, denoise: Tab) -> None:
    """The tab's components and events, inside `demo`; `denoise` is that tab."""
    with gr.Row(elem_classes="train"):
        shown, asked = _shown(live), _asked()
    parts = Parts(shown, asked, gr.State(None), gr.State(None))
    _wire_training(demo, parts, live)
    _wire_settings(demo, asked, live)
    _wire_model(parts, live, tabs, denoise)


def _asked() -> Asked:
    config, words = EXPERIMENTS[FIRST]
    pick = partial(gr.Dropdown, filterable=False, min_width=0)
    with gr.Column(scale=0, min_width=300, elem_classes="train-settings controls"):
        experiment = pick([*EXPERIMENTS, OWN], value=FIRST, label="Experiment", elem_id="experiment")
        comment = gr.HTML(_comment(words), js_on_load=None, apply_default_css=False, elem_id="comment")
        with gr.Row(elem_classes="train-grid"):
            data = pick(data_choices(), value=config.data, label="Data", elem_id="train-data")
            T = pick(STEPS, value=_steps(config), label="Steps T", elem_id="train-T")
            network = pick(NETWORKS, value=config.network, label="Networks", info=HEAD_START, elem_id="network")
            loss = pick(LOSSES, value=config.loss, label="Loss", info=PENALISED, elem_id="loss")
            latent = pick([0, 1, 2, 3, 4, 8, 16], value=config.latent_dim, label="Size of z", info=Z, elem_id="latent")
            gamma = pick(GAMMAS, value=config.gamma, label="Penalty γ", info=PENALTY, elem_id="gamma")
            lr_g = pick(RATES, value=config.lr_g, label="Learning rate of G", elem_id="lr-g")
            lr_d = pick(RATES, value=config.lr_d, label="Learning rate of D", elem_id="lr-d")
        seconds = Slider(10, 120, 20, step=5, precision=0, label="Seconds of training", elem_id="seconds")
        gr.Markdown("γ and the learning rates can be changed during a run; other settings apply to the next run.")
        with gr.Accordion("More settings", open=False):
            with gr.Row(elem_classes="train-grid"):
                width = pick([16, 32, 64, 96, 128, 256, 512], value=config.width, label="Width")
                depth = pick([1, 2, 3, 4], value=config.depth, label="Hidden layers")
                batch = pick([64, 128, 256, 512], value=config.batch, label="Batch")
                seed = gr.Number(config.seed, label="Seed", min_width=0, elem_id="train-seed")
    settings = Settings(data, T, network, loss, latent, lr_g, lr_d, gamma, width, depth, batch, seed)
    return Asked(experiment, comment, settings, seconds)


def _shown(live: LiveRuns) -> Shown:
    with gr.Column(scale=1, min_width=320):
        with gr.Row(elem_id="train-buttons"):
            buttons = [
                gr.Button("Start", variant="primary", min_width=0, elem_id="start"),
                gr.Button("Pause", min_width=0, interactive=False, elem_id="pause"),
                gr.Button("One step", min_width=0, elem_id="one-step"),
                gr.Button("Stop", min_width=0, interactive=False, elem_id="stop"),
            ]
            compare = gr.Button("Compare in Denoise", min_width=0, interactive=False, elem_id="compare")
        functions, picture = [_place(live), _drive(live)], diagram.update()
        canvas = drawn("training", "stage live", elem_id="live", target="", diagram=picture, server_functions=functions)
        with gr.Row(elem_id="train-model"):
            download = gr.DownloadButton(
                "Download the model", size="sm", min_width=90, interactive=False, elem_id="download"
            )
            upload = gr.UploadButton(
                "Load a model", size="sm", min_width=90, file_types=[".safetensors"], elem_id="upload"
            )
        said = gr.HTML(_said(""), apply_default_css=False, elem_id="train-said")
    return Shown(buttons, canvas, compare, download, upload, said)


def _wire_training(demo: Page, parts: Parts, live: LiveRuns) -> None:
    """A training in the visitor's hands, from its start to its model."""
    shown, (*_, settings, seconds), own, ticket = parts
    buttons, canvas, said, runs = shown.buttons, shown.canvas, shown.said, Runs(live)
    start, pause, step, stop = buttons
    given, begun = [own, *settings, seconds], [canvas, ticket, *buttons, said]
    start.click(runs.begin, given, begun, **_HAND)
    step.click(runs.advance, given, begun, trigger_mode="multiple", **_HAND)
    pause.click(runs.toggle, None, None, **_HAND)
    stop.click(runs.halt, None, [canvas, *buttons], **_HAND)
    for name in ("lr_g", "lr_d", "gamma"):
        component = getattr(settings, name)
        component.input(runs.tuning(name), component, None, trigger_mode="always_last", **_HAND)
    outputs = [canvas, *buttons, own, shown.compare, shown.download, said]
    watched = ticket.change(
        runs.watch, None, outputs, concurrency_id="train", concurrency_limit=1, trigger_mode="multiple", **QUIET
    )
    watched.failure(partial(_buttons, "failed"), None, buttons, **_HAND)
    demo.unload(runs.leave)
    demo.left.append(live.close)  # where the browser could not say so, or there was none


def _wire_settings(demo: Page, asked: Asked, live: LiveRuns) -> None:
    """Experiment, settings and the address of the page follow one another."""
    experiment, comment, settings, seconds = asked
    linked = {"fn": None, "inputs": [*settings, seconds], "outputs": None, "js": _LINK, "api_visibility": "private"}
    experiment.input(_chosen, [experiment, *settings], [comment, *settings], **_HAND).then(**linked)
    gr.on([*(component.input for component in settings), seconds.change], **linked)
    demo.load(_opened(settings), None, [experiment, comment, *settings, seconds], **_HAND)
    edited = [component.input for component in settings if component is not settings.seed]
    gr.on(edited, _edited, [experiment, *settings], [experiment, comment], trigger_mode="always_last", **_HAND)
    data, network, latent = settings.data, settings.network, settings.latent_dim
    for component, known in {data: [data, network, latent], network: [data, network]}.items():
        component.input(live.latent_dim, known, latent, **_HAND).then(**linked)


def _wire_model(parts: Parts, live: LiveRuns, tabs: gr.Tabs, denoise: Tab) -> None:
    """The visitor's model in Denoise, and the data of Denoise here."""
    shown, (experiment, comment, settings, _), own, _ = parts
    models = Models(live, denoise.view)
    shown.upload.upload(models.load, shown.upload, [own, shown.compare, shown.said], **_HAND)
    by_id = {component.elem_id: component for component in denoise.components}
    asked = [own, by_id["denoisers"], by_id["n"], by_id["seed"]]
    shown.compare.click(models.show, asked, [tabs, *denoise.components], **_HAND).then(**denoise.shown)
    data, latent = settings.data, settings.latent_dim
    known = [by_id["data"], data, settings.network, latent]
    by_id["data"].change(_follow(live), known, [data, latent, experiment, comment], **_HAND)


@dataclass(frozen=True)
class Runs:
    """The run in a visitor's hands: what its buttons and rates answer, and its frames."""

    live: LiveRuns

    def begin(self, request: gr.Request, own: str | None, *values: Any, by_hand: bool = False) -> list[Any]:
        try:
            given = dict(zip((*FIELDS, "seconds"), values, strict=True))
            run = self.live.open(request.session_hash, {**given, "ema": EXPERIMENTS[FIRST][0].ema}, paused=by_hand)
        except Refused as error:
            return [answered(error), *[gr.skip()] * (2 + BUTTONS)]
        if by_hand:
            run.step()
        words = _said("Until this training ends, Compare and Download use the model before it." if own else "")
        return [_opening(self.live.session, run), run.id, *_buttons("waiting"), words]

    def advance(self, request: gr.Request, own: str | None, *values: Any) -> list[Any]:
        """One more update, of a new run if there is none."""
        if run := self.live.run(request.session_hash):
            run.step()
            return [gr.skip()] * (3 + BUTTONS)
        return self.begin(request, own, *values, by_hand=True)

    def toggle(self, request: gr.Request) -> None:
        if run := self.live.run(request.session_hash):
            run.resume() if run.paused else run.pause()

    def halt(self, request: gr.Request) -> list[Any]:
        """Stop the run; one that waits for its turn is over at once, any other says so in its last frame."""
        run = self.live.run(request.session_hash)
        if run is None:  # it ended behind the page
            return [gr.skip(), *_buttons("stopped")]
        run.stop()
        if not run.over:
            return [gr.skip()] * (1 + BUTTONS)
        self.live.close(request.session_hash, run)
        return [encoded(frame_payload(run.waiting())), *_buttons(run.state)]

    def tuning(self, name: str) -> Callable[..., None]:
        def tune(value: float, request: gr.Request) -> None:
            if run := self.live.run(request.session_hash):
                run.tune(**{name: value})

        return tune

    def watch(self, request: gr.Request) -> Iterator[list[Any]]:
        """The frames of the visitor's run once its turn has come; in the end its model."""
        visitor, same = request.session_hash, [gr.skip()] * (1 + BUTTONS + 4)
        run = self.live.run(visitor)
        if run is None:
            yield same
            return
        frames, shown = run.frames(), None
        try:
            with job(
                "train", f"{run.seconds:.0f} s, batch {run.config.batch}, width {run.config.width}", background=True
            ) as line:
                for frame in frames:
                    state = _buttons(frame.state) if shown is None or frame.state != shown.state else same[1:5]
                    yield same if frame is shown else [encoded(frame_payload(frame)), *state, *same[5:]]
                    shown = frame
                line.outcome = run.state
        finally:
            frames.close()
            self.live.close(visitor, run)
        name = self.live.adopt(run, visitor)
        if name is None:
            return
        with TemporaryDirectory() as directory:  # Gradio serves a copy
            path = self.live.save(name, Path(directory))
            words = f"{path.name} can be downloaded, and the model compared with the others in Denoise."
            file = gr.update(value=str(path), interactive=True)
            yield [*same[:5], name, gr.update(**READY), file, _said(words)]

    def leave(self, request: gr.Request) -> None:
        self.live.close(request.session_hash)


@dataclass(frozen=True)
class Models:
    """Where a visitor's model comes from besides a run, and where it goes; `view` is that of the tab Denoise."""

    live: LiveRuns
    view: Callable[..., list[Any]]

    def load(self, path: str, request: gr.Request) -> list[Any]:
        """Load the visitor's model from a file, which is then deleted."""
        file = Path(path)
        try:
            with job("model file", f"{file.stat().st_size} bytes"):
                name = self.live.load(file, request.session_hash)
        except Refused as error:
            return [gr.skip(), gr.skip(), _said(sentence(error), failed=True)]
        finally:
            file.unlink(missing_ok=True)
        words = f"Loaded: {title(name, self.live.session.adopted[name])[1]}."
        return [name, gr.update(**READY), _said(words)]

    def show(self, name: str | None, denoisers: list[str], n: int, seed: int) -> list[Any]:
        """Show *Denoise* with the visitor's model among its denoisers, on its data and with its T."""
        adopted = self.live.session.adopted
        others = [other for other in denoisers if other in METHODS or (other in adopted and other != name)]
        asked = self.live.request(name, others, n=n, seed=seed)
        home = asked.data == adopted[name].card["config"]["data"]
        problem = f"The file does not contain its training data; it is shown on {data_label(asked.data)} instead."
        return [gr.Tabs(selected="denoise"), *self.view(asked, problem * (not home))]


def _opened(settings: Settings) -> Callable[[gr.Request], list[Any]]:
    def opened(request: gr.Request) -> list[Any]:
        """The settings of a link; those of the first experiment if it has none, or none that are allowed."""
        names, given = (*FIELDS, "seconds"), request.query_params.get("train", "")
        if not given:
            return [gr.skip()] * (2 + len(names))
        try:
            values = given.split(",")
            if len(values) != len(names):
                raise Refused(f"train has {len(names)} settings, got {len(values)}")
            asked, length = parse(dict(zip(names, values, strict=True)))
        except Refused as error:
            return [gr.skip(), f"<p>⚠ {escape(misunderstood(error))}</p>", *[gr.skip()] * len(names)]
        found = {**asked.to_dict(), "T": _steps(asked)}
        of = gr.update(choices=data_choices(asked.data), value=asked.data)
        rest = (_held(component, found[name]) for component, name in zip(settings[1:], FIELDS[1:], strict=True))
        return [*_BY_HAND, of, *rest, length]

    return opened


def _follow(live: LiveRuns) -> Callable[..., list[Any]]:
    def follow(shown: str, chosen: str, network: str, z: int) -> list[Any]:
        """Own data that Denoise shows can be trained on."""
        if shown in TOYS or shown == chosen:
            return [gr.skip()] * 4
        return [gr.update(choices=data_choices(shown), value=shown), live.latent_dim(shown, network, z), *_BY_HAND]

    return follow


def _opening(session: Session, run: Run) -> Any:
    """The picture of a run that has not begun, before the law of its data."""
    behind = encoded(target(run.law, run.config.data, session.source(run.config.data).axes))
    return gr.update(value=encoded(frame_payload(run.waiting())), target=behind)


def _place(live: LiveRuns) -> Callable[[Any], int]:
    def place(run: Any) -> int:
        """How many trainings have their turn before the run of this id."""
        return live.ahead(run) if isinstance(run, str) else 0

    return place


def _drive(live: LiveRuns) -> Callable[[Any], None]:
    def drive(asked):  # noqa: ANN001, ANN202 - Gradio hands over JSON
        """One update of D or of G alone, or another speed, for the run of this id."""
        name, what = asked if isinstance(asked, list) and len(asked) == 2 else (None, None)
        run = live.run_of(name) if isinstance(name, str) else None
        if run is None:
            return
        if what in BOTH and run.paused:
            run.step((what,))
        elif what in ("slow", "full"):
            run.slow_motion(what == "slow")

    return drive


def _comment(words: str) -> str:
    return f"<p>{with_glosses(words, GLOSSES | PLAYERS)}</p>"


def _experiment(name: str) -> list[Any]:
    if name == OWN:
        return [_BY_HAND[1], *[gr.skip()] * len(FIELDS)]
    config, words = EXPERIMENTS[name]
    values = {**config.to_dict(), "T": _steps(config)}
    return [_comment(words), *(values[field] for field in FIELDS)]


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
    going, paused = state in ("training", "paused"), state == "paused"
    idle = not going and state != "waiting"
    return [
        gr.update(interactive=idle),
        gr.update(interactive=going, value="Resume" if paused else "Pause"),
        gr.update(interactive=going or idle),
        gr.update(interactive=not idle),
    ]
