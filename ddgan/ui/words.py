"""What the page says around its pictures: choices, notes, and the text of an answer with what it answers."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from ..data.toys import TOYS
from ..diffusion.schedule import FAMILIES
from ..errors import Refused
from ..views.answers import data_label, refusal
from ..views.encoding import encoded

__all__ = ["INSTEAD", "SCHEDULES", "answered", "data_choices", "misunderstood", "note"]

INSTEAD = "This is the first view instead."
SCHEDULES = [({"vp": "vp (paper)", "linear": "linear σ²"}.get(name, name), name) for name in FAMILIES]


def data_choices(*own: str) -> list[tuple[str, str]]:
    """(label, name) of all toys, and of a visitor's own points."""
    return [(data_label(name), name) for name in dict.fromkeys([*TOYS, *own])]


def misunderstood(error: Refused) -> str:
    """What is said of a link that is none."""
    return f"The link was not understood: {error}. {INSTEAD}"


def note(kind: str, words: str, *, failed: bool = False) -> str:
    """What a visitor is told beside a control, as HTML: `kind` is the class that styles it."""
    return f'<p class="note {kind}{" failed" if failed else ""}" role="status">{html.escape(words)}</p>'


def answered(
    answer: dict[str, Any] | Refused, asked: int | None = None, controls: Iterable[Any] = (), problem: str | None = None
) -> str:
    """The text that the page is sent: a picture, or the sentence of a refusal.

    `asked` is the time at which it was asked for, `controls` what they held then: the page shows no older picture after
    it, and asks for nothing anew that is there. A `problem` is why this picture stands for another: it says so, and
    leaves the address alone.
    """
    said = refusal(answer) if isinstance(answer, Refused) else answer
    if problem:
        said = {**said, "message": problem, "query": ""}
    return encoded(said if asked is None else {**said, "asked": asked, "controls": [*controls]})
