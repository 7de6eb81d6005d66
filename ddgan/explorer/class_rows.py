"""When is the class of one sample decided? Rows of p(class | x_t) at every state of its way, from several sources.

The training set answers exactly; where it is not on this machine, the rows of some samples are shipped in
assets/class-posterior.json: their probabilities in thousandths, and of every set the variance along its largest
principal direction and the entropy of its class over log-SNR. `examples` makes that file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.images import ImageSet, set_label, to_uint8
from ..errors import Refused
from ..files import write
from ..metrics.images import classifier_of, observe
from ..models.classifier import Classifier
from .catalogue import training_images
from .class_posterior import class_posterior, classified, entropy_curve, largest_variance, speciation
from .labels import ANY
from .posterior import ImageQuestion
from .request import Request
from .scene import spread
from .session import Session
from .tree import Branches

__all__ = [
    "DRAWS", "EXAMPLES", "SHIPPED_N", "SHIPPED_OF", "SHIPPED_T", "Turns", "Way", "curve", "examples", "exact", "grown",
    "judged_classes", "learned", "of_shipped", "spoken", "turned", "way",
]  # fmt: skip

DRAWS = 64  # redraws of z at each state
MOST = 17  # states that have a bar
EXAMPLES = Path(__file__).parents[2] / "assets" / "class-posterior.json"
SHIPPED = {"mnist": 60_000, "cifar10": 100_000}  # sets with shipped examples, and how many images their law has
SHIPPED_T, SHIPPED_N, SHIPPED_OF, SHIPPED_LABELS = (1, 2, 4, 8), 25, ("ddgan", "regression"), (None, ANY)
CURVE_N, CURVE = 100, torch.arange(-12, 6.5, 0.5, dtype=torch.float64)  # of the entropy: x_t at each of these log-SNRs


class Way(NamedTuple):
    """The states of one sample: their t, from noise to 0, x_t (F, C, H, W), and the log-SNRs (F,), +inf at 0."""

    t: list[int]
    x: Tensor
    level: Tensor


class Turns(NamedTuple):
    """U-turns of an image x_0 (C, H, W) at these F rising t: they end at x (F, K, C, H, W).

    p(class), as the classifier sees it, is `own` (classes,) for the image and `p` (F, K, classes) for x.
    """

    t: list[int]
    x_0: Tensor
    x: Tensor
    own: Tensor
    p: Tensor


def way(session: Session, question: ImageQuestion, most: int = MOST) -> Way:
    """The way of the sample of a question, at no more than `most` states; the t of the question is ignored."""
    request = question.request.walked(question.of)
    steps = list(session.run(request, question.of, slice(question.item, question.item + 1)))
    x = {**{step.t: step.x_t[0] for step in steps}, 0: steps[-1].x_s[0]}
    t = spread(request.start, most)[::-1]
    return Way(t, torch.stack([x[k] for k in t]), session.schedule(request).level(torch.tensor(t)))


def judged_classes(session: Session, data: str) -> tuple[str, ...]:
    """The classes of the bars, as the classifier of this data has them; Refused if there is no such classifier."""
    return tuple(_classifier(session.source(data).set).card["classes"])


def learned(session: Session, question: ImageQuestion, states: Way, name: str) -> Tensor:
    """p(class | x_t) (F, classes) of a denoiser that is told no class; for x_0, what the classifier sees in it."""
    request = replace(question.request.walked(question.of), label=ANY)
    classifier = _classifier(session.source(request.data).set)
    x_0 = session.redraws_along(request, name, states.x[:-1], states.t[:-1], DRAWS)
    return torch.stack([classified(classifier, x) for x in (*x_0, states.x[-1:])])


def grown(session: Session, question: ImageQuestion, states: Way, K: int) -> tuple[Branches, Tensor]:
    """K children of every state (F, ...) but x_0, and p(class) of their leaves (F, K, classes).

    The denoiser on whose way the states are draws them, told no class. The classifier judges the leaves.
    """
    request = replace(question.request.walked(question.of), label=ANY)
    found = session.branches(request, question.of, states.x[:-1], states.t[:-1], K)
    return found, _seen(session, request.data, found.x_0.flatten(0, 1)).unflatten(0, (-1, K))


def turned(session: Session, question: ImageQuestion, most: int, K: int) -> Turns:
    """K U-turns of a sample's x_0, or of the image that the request begins with, at no more than `most` of its t.

    They are those of the denoiser on whose way the sample is, told no class.
    """
    request = question.request.walked(question.of)
    if request.edit:
        x_0 = request.edit.x_0(request.shape)[0]
    else:
        *_, last = session.run(request, question.of, slice(question.item, question.item + 1))
        x_0 = last.x_s[0]
    t = spread(request.T, most + 1)[1:]
    x = session.u_turns(replace(request, label=ANY), question.of, x_0, t, K)
    p = _seen(session, request.data, torch.cat([x_0[None], x.flatten(0, 1)]))
    return Turns(t, x_0, x, p[0], p[1:].unflatten(0, (-1, K)))


def exact(session: Session, data: str, states: Way) -> Tensor | None:
    """p(class | x_t) (F, classes) of the training set, None while that is being read.

    Refused where it is not on this machine, or does not have the classes of the classifier.
    """
    if (known := session.images(data)) is None:
        return None
    if known.labels is None or known.names != judged_classes(session, data):
        raise Refused(f"the training images of {set_label(data)} on this machine have other classes, or none")
    return class_posterior(known.images, known.labels, known.known, states.x, states.level)


def of_shipped(session: Session, question: ImageQuestion) -> Tensor | None:
    """`exact` from the shipped examples; None for any other sample, and if the model is not the example's."""
    request, data = question.request.walked(question.of), question.request.data
    ways = _shipped()["ways"].get(_key(request, question.of), ())
    if question.item >= len(ways) or _weights(session, request, question.of) != _shipped()[data][question.of]:
        return None
    p = torch.tensor(ways[question.item], dtype=torch.float64)
    return p / p.sum(1, keepdim=True)


def spoken(data: str) -> tuple[int, float] | None:
    """(the number of images in a set, the log-SNR of its speciation); None where these are not shipped."""
    known = _shipped().get(data)
    return known and (known["images"], speciation(known["largest_variance"]))


def curve(data: str) -> Tensor | None:
    """(log-SNR, H(class | x_t) in nats) of a set, (L, 2), noise first; None where the curve is not shipped."""
    known = _shipped().get(data)
    return known and torch.tensor(known["entropy"], dtype=torch.float64)


def examples(path: Path = EXAMPLES, say: Callable[[str], None] = lambda words: None) -> Path:
    """Make the file of shipped examples; Refused where a training set is missing."""
    session, made = Session(), {}
    ways: dict[str, list[Any]] = {}
    for data, images in SHIPPED.items():
        known = training_images(data)
        if known.labels is None or len(known) != images:
            raise Refused(f"the examples of {data} need its {images:,} labelled images, these are {len(known):,}")
        request = Request(data, SHIPPED_OF, n=SHIPPED_N)
        models = {of: _weights(session, request, of) for of in SHIPPED_OF}
        made[data] = {"images": images, "largest_variance": round(largest_variance(known.images), 4), **models}
        made[data]["entropy"] = _curve(known)
        for label, T, of in product(SHIPPED_LABELS, SHIPPED_T, SHIPPED_OF):
            asked = replace(request, T=T, label=label)
            ways[_key(asked, of)] = _ways(session, asked, of, known)
            say(f"{data}, T = {T}, {of}, class {label or 'its own'}")
    heads = "".join(f"{json.dumps(data)}: {json.dumps(head)},\n" for data, head in made.items())
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(p, separators=(',', ':'))}" for key, p in ways.items())
    write(path, f'{{{heads}"ways": {{\n{lines}\n}}}}\n'.encode())
    return path


def _ways(session: Session, request: Request, of: str, known: ImageSet) -> list[Any]:
    """Of every sample and state, from noise to x_0, the exact p(class | x_t) in thousandths."""
    steps, schedule = list(session.run(request, of)), session.schedule(request)
    states = [*((step.t, step.x_t) for step in steps), (0, steps[-1].x_s)]
    assert known.labels is not None
    p = [class_posterior(known.images, known.labels, known.known, x, schedule.level(t)) for t, x in states]
    return (1000 * torch.stack(p, 1)).round().int().tolist()


def _curve(known: ImageSet) -> list[list[float]]:
    assert known.labels is not None
    found = entropy_curve(known.images, known.labels, known.known, CURVE, CURVE_N)
    return [[float(level), round(float(v), 4)] for level, v in zip(CURVE, found, strict=True)]


def _key(request: Request, of: str) -> str:
    """What a sample's way depends on, but for its number."""
    return replace(request, denoisers=(of,), n=1).to_query()


def _weights(session: Session, request: Request, of: str) -> str:
    """The start of the SHA-256 of a model's weights."""
    return str((session.model(request, of).card or {}).get("sha256"))[:10]


def _seen(session: Session, data: str, x: Tensor) -> Tensor:
    """p(class) (B, classes) that the classifier of this data sees in each of the images x (B, C, H, W)."""
    return observe(_classifier(session.source(data).set), to_uint8(x))[1].softmax(1)


def _classifier(name: str) -> Classifier:
    """The one that judges samples too; Refused in words about the classes."""
    if not name:
        raise Refused("no classifier here knows the classes of these images")
    try:
        return classifier_of(name)
    except Refused:
        raise Refused(f"no classifier of {set_label(name)} is here to tell its classes") from None


@cache
def _shipped() -> dict[str, Any]:
    try:
        return json.loads(EXAMPLES.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"ways": {}}
