"""The public endpoints: denoise, compare, posterior, evaluate, train and presets; the events of the page are private.

An endpoint is a typed function from its values to the work that they ask for. Calling it parses them, by `Request.parse`
and its like, and is quick: that is done before a request is queued, and once more when its turn has come. Whatever is
wrong with them comes back as one sentence. Replies are dicts: see reply.py.
"""

# no annotations from __future__: Gradio makes the schema of the types themselves

import inspect
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import gradio as gr
from gradio.context import get_blocks_context

from .. import reply
from ..config import PRESETS
from ..images import SETS
from ..posterior import Question
from ..request import Request, whole
from ..schedule import FAMILIES
from ..studio import Studio, parse
from .jobs import job, log

__all__ = ["build"]

MAX_SAMPLINGS = 20
Schedule = Literal[tuple(FAMILIES)]
_LIVE = PRESETS["25-gaussians-live"]
# what the parameters mean, for the schema
WORDS = {
    "data": "a toy's name, mnist, cifar10 or stackedmnist, or points:... as in a link of the page",
    "denoisers": "any of exact, ddgan, gaussian, regression, mean, official, or the own-... that train gave",
    "T": "number of steps; for train also 0, any number of them",
    "schedule": "which noise levels the steps go through",
    "span": "the schedule's [lo, hi]",
    "seed": "the same seed gives the same noise, item by item",
    "n": "number of samples: 2000 points, 10000 to evaluate, or 9 images by default",
    "forks": "other noise at single steps, like z.2.7 or eps.2.5.3 (what, t, seed, sample)",
    "edit": "begin with an image, like 2.PIXELS (t, image), as in a link of the page",
    "x": "the coordinates of x_t",
    "t": "the step from t to t - 1, in 1..T",
    "of": "what is asked about: the clean x_0, or x_s, the next state",
    "samplings": "how many seeds are judged, from `seed` on: the worst counts",
    "network": "skip (starts from a posterior draw) or plain (the paper's)",
    "loss": "r1r2, the paper's R1 alone, or relativistic",
    "latent_dim": "numbers in z; by default one a coordinate",
    "lr_g": "learning rate of the generator",
    "lr_d": "learning rate of the discriminator",
    "gamma": "weight of the gradient penalty",
    "ema": "the moving average's slowest rate",
    "width": "of the hidden layers",
    "depth": "hidden layers",
    "batch": "samples an update",
    "seconds": "length of the training, 120 at most",
}


class Work(NamedTuple):
    """What an endpoint is asked for: of which size, for the log, and what does it."""

    of: Request | str
    run: Callable[[Studio], Any]


def denoise(
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    seed: int = Request.seed,
    n: int | None = None,
    forks: list[str] | None = None,
    edit: str | None = None,
) -> Work:
    """Sample points or images with every denoiser, on the same noise: the states of every step, from x_T to x_0, and the x_0 that each step predicted. Arrays are base64 of float32."""
    request = _request(locals())
    reply.afford(request, 2 * request.start + 1)
    return Work(request, lambda studio: reply.denoise(studio.session, request))


def compare(
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    seed: int = Request.seed,
    n: int | None = None,
    forks: list[str] | None = None,
    edit: str | None = None,
) -> Work:
    """Sample several denoisers on the same noise: their samples and, for points, how many modes they cover, the share on a mode, KL and distance to the law."""
    request = _request(locals())
    reply.afford(request, 1)
    return Work(request, lambda studio: reply.compare(studio.session, request))


def posterior(
    x: list[float],
    t: int = 1,
    of: Literal["x_0", "x_s"] = "x_0",
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
) -> Work:
    """What could one x_t have been? The modes and weights of the exact law, what each denoiser draws for the same x_t, and how far that is from the truth, with the noise floor."""
    asked = locals()
    question = {name: asked.pop(name) for name in ("x", "t", "of")}
    question = Question.parse({**question, "query": _request({**asked, "n": 1}).to_query()})
    return Work(question.request, lambda studio: reply.posterior(studio.session, question))


def evaluate(
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    seed: int = Request.seed,
    n: int | None = None,
    samplings: int = 1,
) -> Work:
    """Judge denoisers as `python -m ddgan evaluate` does: points against their law, the worst of several samplings; images, 64 at most, in the features of our classifier."""
    asked = locals()
    times = whole("samplings", asked.pop("samplings"), 1, MAX_SAMPLINGS)
    request = _request({"n": 64 if isinstance(data, str) and data in SETS else 10_000, **_given(asked)})
    request.afford(times)
    return Work(request, lambda studio: reply.evaluate(studio.session, request, times))


def train(
    data: str = _LIVE.data,
    T: int = _LIVE.T,
    network: Literal["skip", "plain"] = _LIVE.network,
    loss: Literal["r1r2", "paper", "rpgan"] = _LIVE.loss,
    latent_dim: int | None = None,
    lr_g: float = _LIVE.lr_g,
    lr_d: float = _LIVE.lr_d,
    gamma: float = _LIVE.gamma,
    ema: float = _LIVE.ema,
    width: int = _LIVE.width,
    depth: int = _LIVE.depth,
    batch: int = _LIVE.batch,
    seed: int = _LIVE.seed,
    seconds: int = 20,
) -> Work:
    """Train a DDGAN on points, one training at a time: streams losses and modes covered, several records a second; the last one has the model's file, and the name under which the other endpoints know the model as a denoiser."""
    asked = _given(locals())
    config, length = parse(asked)
    return Work(f"{length:.0f} s, batch {config.batch}, width {config.width}", lambda studio: _trained(studio, asked))


def presets() -> Work:
    """The configurations that `python -m ddgan train` knows, by name."""
    return Work("", lambda studio: {name: config.to_dict() for name, config in PRESETS.items()})


def build(studio: Studio) -> None:
    """The endpoints, inside a gr.Blocks."""
    shared = {"concurrency_id": "sample", "concurrency_limit": 2}  # with the page's own sampling
    for asked in (denoise, compare, posterior, presets):
        _publish(asked, _once(asked, studio), **shared)
    _publish(evaluate, _once(evaluate, studio), concurrency_id="evaluate", concurrency_limit=1)
    _publish(train, _stream(train, studio), concurrency_id="train", concurrency_limit=1)


def _request(asked: dict[str, Any]) -> Request:
    return Request.parse(_given(asked))


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _trained(studio: Studio, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    visitor = secrets.token_hex(8)
    run = studio.open(visitor, {"latent_dim": studio.coordinates(asked["data"]), **asked}, waits=False)
    try:
        with closing(run.frames()) as frames:
            for frame in frames:
                yield {**(last := reply.progress(frame)), "denoiser": None, "model": None}
    finally:
        studio.close(visitor, run)
    if name := studio.adopt(run, "api"):
        with TemporaryDirectory() as directory:  # Gradio serves a copy
            file = gr.FileData(path=str(studio.save(name, Path(directory))))
            yield {**last, "denoiser": name, "model": file.model_dump()}


def _once(asked: Callable[..., Work], studio: Studio) -> Callable[..., dict[str, Any]]:
    @wraps(asked)
    def answer(*values: Any) -> dict[str, Any]:
        work = asked(*values)
        with job(f"api {asked.__name__}", work.of):
            return work.run(studio)

    return answer


def _stream(asked: Callable[..., Work], studio: Studio) -> Callable[..., Iterator[dict[str, Any]]]:
    @wraps(asked)
    def answers(*values: Any) -> Iterator[dict[str, Any]]:
        work = asked(*values)
        with job(f"api {asked.__name__}", work.of, background=True):
            yield from work.run(studio)

    return answers


def _publish(asked: Callable[..., Work], answer: Callable[..., Any], **limits: Any) -> None:
    """Make `answer`, which does the work that is asked for, an endpoint whose values are checked before it is queued."""
    signature = inspect.signature(asked)
    answer.__signature__ = signature.replace(return_annotation=dict[str, Any])
    answer.__doc__ = "\n".join([asked.__doc__, "Parameters:", *(f"    {name}: {WORDS[name]}" for name in signature.parameters)])
    endpoint = gr.api(answer, api_name=asked.__name__, **limits)
    function = get_blocks_context().fns[endpoint["id"]]
    for name, block in zip(signature.parameters, function.inputs, strict=True):
        block._api_info |= {"additional_description": WORDS[name]}
    if signature.parameters:
        function.validator = partial(_checked, asked)  # gr.api has no argument for it


def _checked(asked: Callable[..., Work], *values: Any) -> list[dict[str, Any]]:
    """What is right and wrong with each of the values, as Gradio wants it said."""
    names = list(inspect.signature(asked).parameters)
    try:
        asked(*values)
    except ValueError as error:
        log.info("api %s: -: 0.00 s, refused", asked.__name__)
        words = str(error)
        named = [(found.start(), name) for name in names if (found := re.search(rf"\b{name.removesuffix('s')}s?\b", words))]
        _, wrong = min(named, default=(0, names[0]))  # the one that the sentence names first
        return [gr.validate(name != wrong, words if name == wrong else "") for name in names]
    return [gr.validate(True, "") for _ in names]
