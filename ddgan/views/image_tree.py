"""What may each x_t of a sample still become? What assets/image_tree.js draws: six children of it, walked to x_0."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..explorer.class_rows import class_names, grown, way
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from .answers import SUBSCRIPT, label
from .encoding import contact

__all__ = ["CHILDREN", "branches"]

CHILDREN, STATES = 6, 8  # of every state; states that have children, at most


def branches(session: Session, question: ImageQuestion) -> dict[str, Any]:
    """The tree of a sample. Refused where no classifier names the classes of its leaves."""
    request = question.request
    classes, states = class_names(session, request.data), way(session, question, STATES + 1)
    found, p = grown(session, question, states, CHILDREN)
    sure, likeliest = p.max(2)
    return {
        "query": request.to_query(),
        "item": question.item,
        "of": question.of,
        "by": label(question.of),
        "t": states.t[:-1],
        "n": CHILDREN,
        "shape": list(states.x.shape[1:]),
        "classes": classes,
        "x": contact(states.x[:-1], 1),
        "children": contact(found.x_s.flatten(0, 1), CHILDREN),
        "leaves": contact(found.x_0.flatten(0, 1), CHILDREN),
        "likeliest": likeliest.tolist(),
        "sure": [[round(float(v), 3) for v in row] for row in sure],
        "words": _words(states.t[:-1], likeliest, classes),
    }


def _words(t: list[int], likeliest: Tensor, classes: tuple[str, ...]) -> str:
    """How many classes the children of the noise have, and from which state on all of them have one."""
    kinds = [len(row.unique()) for row in likeliest]
    first = f"The leaves of {_state(t[0])} show {kinds[0]} class{'es' * (kinds[0] > 1)}"
    open_ = [k for k, row in enumerate(likeliest) if kinds[k] > 1 or row[0] != likeliest[-1, 0]]
    from_ = open_[-1] + 1 if open_ else 0
    if from_ == len(t):
        return f"{first}, and those of {_state(t[-1])} show {kinds[-1]}."
    return f"{first}; from {_state(t[from_])} on all show {classes[int(likeliest[-1, 0])]}."


def _state(t: int) -> str:
    return f"x{str(t).translate(SUBSCRIPT)}"
