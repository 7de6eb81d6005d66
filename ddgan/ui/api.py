"""The public endpoints: denoise, compare, picture, posterior, evaluate, train, presets; the page's events are private.

Language models use them as tools too, so answers are short: numbers that sum up the samples, and `picture`. With
`arrays` the samples come too.

An endpoint is a typed function from its values to the work that they ask for. Calling it parses the values, which is
quick: this is done before a request is queued, and again when its turn has come. Whatever is wrong with them comes back
as one sentence. Replies are dicts: see views/answers.py.
"""

# no annotations from __future__: Gradio makes the schema of the types themselves

import inspect
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import gradio as gr

from ..data.images import SETS
from ..diffusion.schedule import FAMILIES
from ..errors import Refused
from ..explorer.live_runs import LiveRuns, parse
from ..explorer.methods import METHODS
from ..explorer.parse import whole
from ..explorer.posterior import Question
from ..explorer.request import Request
from ..explorer.scene import scene
from ..models.config import PRESETS, Config
from ..models.registry import POINT_NETWORKS
from ..training.losses import LOSSES
from ..views import answers, files
from ..views.stage import MAX_SHOWN
from .canvas import SAMPLING
from .server.gradio_internals import document_endpoint
from .server.jobs import job, log

__all__ = ["build"]

MAX_SAMPLINGS = 20
Schedule, Network, Loss = (Literal[tuple(known)] for known in (FAMILIES, POINT_NETWORKS, LOSSES))
_LIVE = PRESETS["25-gaussians-live"]
# what the parameters mean, for the schema
WORDS = {
    "data": "a toy's name, or points:... as in a link of the page; to sample and to evaluate, also mnist, cifar10 or "
    "stackedmnist",
    "denoisers": f"any of {', '.join(METHODS)}, or the name own-... that train returned, while its model is kept",
    "T": "number of steps; for train, 0 means any number",
    "schedule": "which noise levels the steps go through",
    "span": "the schedule's [lo, hi]",
    "seed": "the same seed gives the same noise, item by item",
    "n": "number of samples: by default 2000 points or 9 images, to evaluate 10000 or 64; picture shows 5000 at most",
    "forks": "other noise at single steps, like z.2.7 or eps.2.5.3 (what, t, seed, sample)",
    "edit": "begin with an image, like 2.PIXELS (t, image), as in a link of the page",
    "eta": "for ddim: 0 draws nothing, 1 is ancestral sampling",
    "budget": "whether T counts steps (T) or evaluations (nfe)",
    "label": "class to draw, for image models that know classes: a name, an index or any; "
    "by default each sample has its own",
    "x": "the coordinates of x_t",
    "t": "the step from t to t - 1, in 1..T",
    "arrays": "true for the samples themselves, as base64 of float32, up to 11 MB; else summed up, 20 kB at most",
    "at": "the step t whose state is shown, from 0, the samples, up to T, the noise",
    "of": "what is asked about: the clean x_0, or x_s, the next state",
    "samplings": "number of seeds to sample with, from `seed` on; the worst score and the mean distance are reported",
    "network": "skip (starts from a posterior draw), plain (the paper's), or others; mixture and flow have no D",
    "loss": "r1r2, the paper's R1 alone, relativistic (rpgan), or wgan-gp",
    "latent_dim": "numbers in z; by default one a coordinate",
    "lr_g": "learning rate of the generator",
    "lr_d": "learning rate of the discriminator",
    "gamma": "weight of the gradient penalty",
    "ema": "the moving average's slowest rate",
    "width": "width of the hidden layers",
    "depth": "number of hidden layers",
    "batch": "samples an update",
    "seconds": "length of the training, 120 at most",
}


class Work(NamedTuple):
    """What an endpoint is asked for: its size, for the log, and the function that does the work."""

    of: Request | str
    run: Callable[[LiveRuns], Any]


def _sampling(
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    seed: int = Request.seed,
    n: int | None = None,
    forks: list[str] | None = None,
    edit: str | None = None,
    eta: float | None = None,
    budget: Literal["T", "nfe"] = "T",
    label: str | None = None,
) -> Request:
    """The request of what `denoise`, `compare` and `picture` have in common."""
    return _request(locals())


def _of_sampling(asked: Callable[..., Work]) -> Callable[..., Work]:
    """The endpoint that takes the values of `_sampling` for the request that `asked` begins with."""
    sampling, own = (inspect.signature(of) for of in (_sampling, asked))
    common, (_, *others) = sampling.parameters, own.parameters.values()
    signature = own.replace(parameters=[*common.values(), *others])

    @wraps(asked)
    def endpoint(*values: Any, **named: Any) -> Work:
        given = signature.bind(*values, **named).arguments
        request = _sampling(**{name: value for name, value in given.items() if name in common})
        return asked(request, **{name: value for name, value in given.items() if name not in common})

    endpoint.__signature__ = signature
    endpoint.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    return endpoint


@_of_sampling
def denoise(request: Request, arrays: bool = False) -> Work:
    """Sample points or images with every denoiser, on the same noise: the states of every step, from x_T to x_0, and
    the x_0 that each step predicted.

    By default at most nine states, each as mean, standard deviation and quantiles of its coordinates (images: of its
    channels); with arrays=true all of them, as base64 of float32.
    """
    if _is_true("arrays", arrays):
        answers.afford(request, 2 * request.start + 1)
    kept = None if arrays else answers.summed_up(request)
    return Work(request, lambda live: answers.denoise(scene(live.session, request, kept), arrays=arrays))


@_of_sampling
def compare(request: Request, arrays: bool = False) -> Work:
    """Sample several denoisers on the same noise: their samples, summed up unless arrays=true,
    and for points how far they are from the law: energy distance with its noise floor, modes covered, share on a mode,
    KL, width.
    """
    if _is_true("arrays", arrays):
        answers.afford(request, 1)
    return Work(request, lambda live: answers.compare(scene(live.session, request, t=(), scored=(0,)), arrays=arrays))


@_of_sampling
def picture(request: Request, at: int = 0) -> Work:
    """Show what denoise and compare sum up: one image of one state, a panel for each denoiser, at most 20 kB."""
    t = whole("at", at, 0, request.start)
    if request.n > MAX_SHOWN:
        raise Refused(f"n must be in 1..{MAX_SHOWN} for a picture, got {request.n}")
    return Work(request, lambda live: _painted(live, request, t))


def posterior(
    x: list[float],
    t: int = 1,
    of: Literal["x_0", "x_s"] = "x_0",
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    arrays: bool = False,
) -> Work:
    """What could one x_t have been?

    The modes and weights of the exact law, what each denoiser draws for the same x_t (summed up unless arrays=true),
    and how far that is from the truth, with the noise floor.
    """
    asked = locals()
    arrays = _is_true("arrays", asked.pop("arrays"))
    question = {name: asked.pop(name) for name in ("x", "t", "of")}
    question = Question.of_request(_request({**asked, "n": 1}), question)
    return Work(question.request, lambda live: answers.posterior(live.session, question, arrays=arrays))


def evaluate(
    data: str = Request.data,
    denoisers: list[str] | None = None,
    T: int = Request.T,
    schedule: Schedule = Request.schedule,
    span: list[float] | None = None,
    seed: int = Request.seed,
    n: int | None = None,
    samplings: int = 1,
    eta: float | None = None,
    budget: Literal["T", "nfe"] = "T",
    label: str | None = None,
) -> Work:
    """Judge denoisers as `python -m ddgan evaluate` does: points against their law, the worst of several samplings;
    images, 64 at most, in the features of our classifier.
    """
    asked = locals()
    times = whole("samplings", asked.pop("samplings"), 1, MAX_SAMPLINGS)
    request = _request({"n": 64 if isinstance(data, str) and data in SETS else 10_000, **_given(asked)})
    request.afford(times)
    return Work(request, lambda live: answers.evaluate(live.session, request, times))


def train(
    data: str = _LIVE.data,
    T: int = _LIVE.T,
    network: Network = _LIVE.network,
    loss: Loss = _LIVE.loss,
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
    """Train a DDGAN on points, one training at a time: streams losses and modes covered, several records a second;
    the last one has the model's file, and the name under which the other endpoints know the model as a denoiser.
    """
    asked = _given(locals())
    config, length = parse(asked)
    return Work(f"{length:.0f} s, batch {config.batch}, width {config.width}", lambda live: _trained(live, asked))


def presets() -> Work:
    """The configurations of `python -m ddgan train` by name: of each the fields that differ from the default."""
    default = {**Config(Request.data).to_dict(), "data": None}
    known = {name: config.to_dict() for name, config in PRESETS.items()}
    changed = {name: {key: v for key, v in of.items() if v != default[key]} for name, of in known.items()}
    return Work("", lambda live: changed)


def build(live: LiveRuns) -> None:
    """The endpoints, inside a gr.Blocks."""
    for asked in (denoise, compare, posterior, presets):
        _publish(asked, _once(asked, live), **SAMPLING)
    _publish(picture, _stream(picture, live, background=False), **SAMPLING)
    _publish(evaluate, _once(evaluate, live), concurrency_id="evaluate", concurrency_limit=1)
    _publish(train, _stream(train, live), concurrency_id="train", concurrency_limit=1)


def _request(asked: dict[str, Any]) -> Request:
    return Request.parse(_given(asked))


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}


def _is_true(name: str, value: Any) -> bool:
    """True or false; Refused for anything else."""
    if not isinstance(value, bool):
        raise Refused(f"{name} must be true or false, got {str(value)[:40]!r}")
    return value


def _painted(live: LiveRuns, request: Request, t: int) -> Iterator[dict[str, Any]]:
    with TemporaryDirectory() as directory:  # Gradio serves a copy
        path = Path(directory, "picture.webp")
        path.write_bytes(files.preview(live.session, request, t))
        yield gr.FileData(path=str(path)).model_dump()


def _trained(live: LiveRuns, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    visitor = secrets.token_hex(8)
    run = live.open(visitor, {"latent_dim": live.latent_dim(asked["data"], asked["network"]), **asked}, waits=False)
    try:
        with closing(run.frames()) as frames:
            for frame in frames:
                yield {**(last := answers.progress(frame)), "denoiser": None, "model": None}
    finally:
        live.close(visitor, run)
    if name := live.adopt(run, visitor):
        with TemporaryDirectory() as directory:  # Gradio serves a copy
            file = gr.FileData(path=str(live.save(name, Path(directory))))
            yield {**last, "denoiser": name, "model": file.model_dump()}


def _once(asked: Callable[..., Work], live: LiveRuns) -> Callable[..., dict[str, Any]]:
    @wraps(asked)
    def answer(*values: Any) -> dict[str, Any]:
        work = asked(*values)
        with job(f"api {asked.__name__}", work.of):
            return work.run(live)

    return answer


def _stream(
    asked: Callable[..., Work], live: LiveRuns, *, background: bool = True
) -> Callable[..., Iterator[dict[str, Any]]]:
    @wraps(asked)
    def replies(*values: Any) -> Iterator[dict[str, Any]]:
        work = asked(*values)
        with job(f"api {asked.__name__}", work.of, background=background):
            yield from work.run(live)

    return replies


def _publish(asked: Callable[..., Work], answer: Callable[..., Any], **limits: Any) -> None:
    """Make `answer`, which does the work that is asked for,
    an endpoint whose values are checked before it is queued.
    """
    signature = inspect.signature(asked)
    answer.__signature__ = signature.replace(return_annotation=dict[str, Any])
    words = " ".join(asked.__doc__.split())
    answer.__doc__ = "\n".join([words, "Parameters:", *(f"    {name}: {WORDS[name]}" for name in signature.parameters)])
    endpoint = gr.api(answer, api_name=asked.__name__, **limits)
    document_endpoint(endpoint, [WORDS[name] for name in signature.parameters], partial(_checked, asked))


def _checked(asked: Callable[..., Work], *values: Any) -> list[dict[str, Any]]:
    """What is right and wrong with each of the values, as Gradio wants it said.

    A refusal is about the value that its sentence begins with, or else about the first one without which it would not
    have come.
    """
    known = inspect.signature(asked).parameters
    given = dict(zip(known, values, strict=True))
    if not (words := _refusal(asked, given)):
        return [gr.validate(True, "") for _ in known]
    log.info("api %s: -: 0.00 s, refused", asked.__name__)
    without = {name: {**given, name: of.default} for name, of in known.items() if of.default is not of.empty}
    needed = [name for name in known if name not in without]
    about = [name for name, others in without.items() if _refusal(asked, others) != words] + needed
    wrong = min(about or known, key=lambda name: not words.startswith(f"{name} "))
    return [gr.validate(name != wrong, words if name == wrong else "") for name in known]


def _refusal(asked: Callable[..., Work], values: dict[str, Any]) -> str:
    """Why there is no work for these values, empty where there is."""
    try:
        asked(**values)
    except Refused as error:
        return str(error)
    return ""
