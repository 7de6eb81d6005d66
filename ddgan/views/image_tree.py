"""What may each x_t of a sample still become, and does its x_0 keep its class where it is noised and denoised again?

What assets/image_tree.js draws: a tree, six children of each x_t, walked to x_0; U-turns, eight draws through each x_t.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..explorer.class_rows import grown, judged_classes, turned, way
from ..explorer.posterior import ImageQuestion
from ..explorer.session import Session
from .answers import label, subscript
from .encoding import contact

__all__ = ["CHILDREN", "STATES", "TURNS", "branches", "turns"]

CHILDREN, STATES = 6, 8  # of every state; states that have children, at most
TURNS = 8  # through every x_t, of no more than STATES


def branches(session: Session, question: ImageQuestion) -> dict[str, Any]:
    """The tree of a sample. Refused where no classifier names the classes of its leaves."""
    classes, states = judged_classes(session, question.request.data), way(session, question, STATES + 1)
    found, p = grown(session, question, states, CHILDREN)
    return {
        **_answer(question, states.t[:-1], found.x_0, classes, p),
        "about": f"Sample #{question.item}",
        "x": contact(states.x[:-1], 1),
        "children": contact(found.x_s.flatten(0, 1), CHILDREN),
        "words": _words(states.t[:-1], p.argmax(2), classes),
    }


def turns(session: Session, question: ImageQuestion) -> dict[str, Any]:
    """U-turns of a sample, or of the image that its request begins with. Refused where no classifier names classes."""
    request = question.request.walked(question.of)
    classes, found = judged_classes(session, request.data), turned(session, question, STATES, TURNS)
    sure, likeliest = found.own.max(0)
    kept = (found.p.argmax(2) == likeliest).sum(1).tolist()
    some = f" Of the {request.T} steps {len(found.t)} are shown." * (len(found.t) < request.T)
    return {
        **_answer(question, found.t, found.x, classes, found.p),
        "about": f"U-turns of {'the image you began with' if request.edit else f'sample #{question.item}'}",
        "x": contact(found.x_0[None], 1),
        "own": {"likeliest": int(likeliest), "sure": round(float(sure), 3)},
        "kept": kept,
        "words": f"{_finding(found.t, kept, classes[int(likeliest)])}{some} The model is told no class here.",
    }


def _answer(question: ImageQuestion, t: list[int], x: Tensor, classes: tuple[str, ...], p: Tensor) -> dict[str, Any]:
    """The part that both have, of images x (F, K, C, H, W), as many of each t, and of their p (F, K, classes)."""
    sure, likeliest = p.max(2)
    return {
        "query": question.request.to_query(),
        "item": question.item,
        "of": question.of,
        "by": label(question.of),
        "start": question.request.walked(question.of).start,
        "t": t,
        "n": x.shape[1],
        "shape": list(x.shape[2:]),
        "classes": classes,
        "leaves": contact(x.flatten(0, 1), x.shape[1]),
        "likeliest": likeliest.tolist(),
        "sure": [[round(float(v), 3) for v in row] for row in sure],
    }


def _words(t: list[int], likeliest: Tensor, classes: tuple[str, ...]) -> str:
    """How many classes the children of the noise have, and from which state on all leaves show one."""
    kinds, last = [len(row.unique()) for row in likeliest], classes[int(likeliest[-1, 0])]
    first = f"The leaves of {subscript(t[0])} show {kinds[0]} class{'es' * (kinds[0] > 1)}"
    open_ = [k for k, row in enumerate(likeliest) if kinds[k] > 1 or row[0] != likeliest[-1, 0]]
    if not open_:
        return f"All leaves show {last}."
    from_ = open_[-1] + 1
    if len(t) == 1:
        return f"{first}."
    if from_ == len(t):
        return f"{first}, and those of {subscript(t[-1])} show {kinds[-1]}."
    return f"{first}; from {subscript(t[from_])} on all show {last}."


def _finding(t: list[int], kept: list[int], called: str) -> str:
    """Up to which t all U-turns keep the class, and from which on fewer than half, of the number kept at rising t."""
    few = [2 * k < TURNS for k in kept]
    whole = next((i for i, k in enumerate(kept) if k < TURNS), len(t))
    first = f"Up to {subscript(t[whole - 1])}" if whole > 1 else f"Through {subscript(t[0])}"
    first += f" the class {called} is kept by {'all' if whole else f'{kept[0]} of' if kept[0] else 'none of'} {TURNS}"
    if whole == len(t) or len(t) == 1:
        return f"{first}."
    if all(few):
        return f"Already from {subscript(t[0])} on the class {called} is lost more often than kept."
    if few[-1] and not few[0]:
        from_ = max(i for i, lost in enumerate([False, *few]) if not lost)
        return f"{first}; from {subscript(t[from_])} on it is lost more often than kept."
    return f"{first}, through {subscript(t[-1])} by {kept[-1]}."
