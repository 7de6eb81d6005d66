"""What the canvases of points show, each as a pure function of a query: the same query, the same bytes.

A kind parses a query to what is asked for, without what does not change the answer, and shows it. The page, and whoever
else has the address, gets that as `encoding.packed` (ui/server/pictures.py).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from ..data.images import SETS
from ..diffusion.schedule import FAMILIES, span_through
from ..errors import Refused
from ..explorer.field import FieldQuestion
from ..explorer.parse import number, whole
from ..explorer.posterior import Question
from ..explorer.request import OWN, Request
from ..explorer.session import Session
from . import field, landscape, posterior, recorded, stage, why

__all__ = ["KINDS", "WALKS", "WHY", "Kind", "private", "request_in", "request_of"]

WHY = "4-gaussians-1d"  # the law of the tab Why
WALKS = (1, 2, 3, 4, 6, 8, 12, 16, 32)  # steps of a path there: of more, the optimal one has too few to choose from


class Kind(NamedTuple):
    """`parse`: a query -> what is asked for, Refused where it is none; `show`: that -> the answer.

    `after`: it adds to a picture that is there, and comes after the pictures that others wait for.
    """

    parse: Callable[[str], Hashable]
    show: Callable[[Session, Any], dict[str, Any]]
    after: bool = False


def request_of(query: str) -> Request:
    """The request of a query for points, without a range that is the default; for images, the request of the first
    view.
    """
    request = Request.from_query(query)
    if request.data in SETS:  # the tab Images shows them
        return Request()
    own = FAMILIES[request.schedule].default
    return replace(request, span=None) if request.span == own else request


def _walk_of(query: str) -> Request:
    """The request as far as it says which levels a law goes through."""
    request = request_of(query)
    return Request(request.data, Request.denoisers, request.T, request.schedule, request.span)


def _question_of(query: str, of: Callable[[Request], Request] = lambda request: request) -> Question:
    """The question of a query, whose `at` is t, the coordinates of x and of, as in a link."""
    request = request_of(query)
    at = dict(parse_qsl(query)).get("at", "")
    if not at:
        raise Refused("a question must have at: t, the coordinates of x, and x_0 or x_s, with commas")
    # neither the seed nor the number of samples changes what could have been
    return replace(Question.of_words(request, at), request=of(replace(request, seed=0, n=1, forks=())))


def _map_of(query: str) -> Question:
    """A question about all x_t at once."""
    asked = _question_of(query, lambda request: replace(request, denoisers=Request.denoisers, eta=None, budget=None))
    return replace(asked, x=(0.0,) * len(asked.x))


def _field_of(query: str) -> FieldQuestion:
    """The field of the step from `step`, which neither the seed nor the samples change."""
    request = replace(request_of(query), seed=0, n=1, forks=())
    return FieldQuestion(request, whole("step", dict(parse_qsl(query)).get("step"), 1, request.T))


def _bent_of(query: str) -> tuple[Request, int, float]:
    """A request, and where its curve is to go through: `at` is t and a."""
    request = _walk_of(query)
    t, _, a = dict(parse_qsl(query)).get("at", "").partition(",")
    return request, whole("at", t, 1, request.T), number("at", a)


def _path_of(query: str) -> Request:
    given = dict(parse_qsl(query))
    T, schedule = whole("T", given.get("T"), 1, max(WALKS)), given.get("schedule", "")
    if T not in WALKS or schedule not in FAMILIES:
        raise Refused(f"a path has one of {', '.join(FAMILIES)} and T one of {', '.join(map(str, WALKS))}")
    return Request(WHY, T=T, schedule=schedule)


def _points(session: Session, request: Request) -> dict[str, Any]:
    scene = stage.staged(session, request, scored=False)
    if not private(request):
        session.scenes.put(request, scene)
    return stage.stage(scene)


def _scores(session: Session, request: Request) -> dict[str, Any]:
    scene = session.scenes.get(request) or stage.staged(session, request, scored=False)
    return {"panels": stage.scores(session, scene)}


def _bars(session: Session, request: Request) -> dict[str, Any]:
    return {"steps": stage.step_gaps(session, request)}


def _bent(session: Session, asked: tuple[Request, int, float]) -> dict[str, Any]:
    request, t, a = asked
    return {"span": span_through(request.schedule, request.T, request.span, t, a)}


def _paths(session: Session, request: Request) -> dict[str, Any]:
    """The path of a schedule, and that of the best one."""
    law, best = session.law(request.data), replace(request, schedule="optimal")
    return {name: why.path(law, session.schedule(of)) for name, of in (("chosen", request), ("best", best))}


KINDS = {
    "points": Kind(request_of, _points),
    "scores": Kind(request_of, _scores, after=True),
    "bars": Kind(_walk_of, _bars, after=True),
    "bent": Kind(_bent_of, _bent),
    "posterior": Kind(_question_of, posterior.posterior),
    "map": Kind(_map_of, posterior.gap_map, after=True),
    "fold": Kind(_question_of, posterior.folded, after=True),
    "landscape": Kind(_question_of, landscape.shown, after=True),
    "field": Kind(_field_of, field.field, after=True),
    "why": Kind(lambda query: WHY, lambda session, law: why.gap_map(session.law(law))),
    "path": Kind(_path_of, _paths),
    "recorded": Kind(lambda query: recorded.EXPERIMENT, lambda session, experiment: recorded.played(session)),
}


def request_in(asked: Any) -> Request | None:
    """The request of what is asked for, where it has one."""
    found = asked[0] if isinstance(asked, tuple) else getattr(asked, "request", asked)
    return found if isinstance(found, Request) else None


def private(asked: Any) -> bool:
    """Whether the answer belongs to one visitor, because it shows a model of theirs."""
    request = request_in(asked)
    return request is not None and any(map(OWN.fullmatch, request.denoisers))
