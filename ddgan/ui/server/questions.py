"""What each visitor wants to know now: a question that another has replaced ends at its next part.

The page sends a question only when the one before has ended. `note` says at once which one is the newest, and with that
the one before ends, wherever its work is in parts (explorer/priority.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from ...explorer.kept import Kept
from ...explorer.parse import json_of
from .gradio_internals import current_visitor
from .jobs import while_wanted_by

__all__ = ["note", "until_another"]

MOST = 1000  # notes that are kept, of all visitors
_newest: Kept[tuple[object, ...]] = Kept(MOST, lambda note: 1)

T = TypeVar("T")


def note(what: str, asked: str) -> None:
    """This is what the visitor of the calling thread asks about `what`."""
    _newest.put((current_visitor(), what), _question(what, asked))


def until_another(what: str, asked: str, parts: Iterable[T]) -> Iterator[T]:
    """The same parts of an answer; Cancelled once the visitor is noted to ask something else about `what`."""
    key, question, parts = (current_visitor(), what), _question(what, asked), iter(parts)
    before = _newest.get(key)  # which may be of the question before, and the note of this one on its way

    def wanted() -> bool:
        now = _newest.get(key)
        return now is before or now == question

    while True:
        with while_wanted_by(wanted):  # each in the context in which it is asked for
            part = next(parts, None)
        if part is None:
            return
        yield part


def _question(what: str, asked: str) -> tuple[object, ...]:
    """What tells questions apart, of JSON values {query, item, of, step}; the step counts where one is explored."""
    values = json_of(asked)
    if not isinstance(values, dict):
        return ()
    return tuple(str(values.get(name)) for name in ("query", "item", "of", *["step"] * (what == "explore")))
