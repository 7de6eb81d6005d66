"""Whose turn it is. Work that nobody waits for ends, and background work gives way to work that somebody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import Cancelled

__all__ = ["give_way", "once_idle", "urgent", "watch_for", "while_wanted"]

COURTESY = 0.05  # seconds that give_way waits at most

_wanted: Callable[[], bool] = lambda: True  # noqa: E731  # until `watch_for` puts another in its place


def watch_for(wanted: Callable[[], bool]) -> None:
    """From now on `wanted` says whether somebody still waits for what the thread that calls it computes."""
    global _wanted
    _wanted = wanted


def while_wanted(parts: Iterable[Any]) -> Iterator[Any]:
    """The same parts of some long work; Cancelled, which ends it, once nobody waits for it any more."""
    for part in parts:
        if not _wanted():
            raise Cancelled("nobody waits for this any more")
        yield part


_idle = threading.Condition()
_urgent = 0
_last = 0.0  # when the last of it ended, by time.monotonic


@contextmanager
def urgent(really: bool = True) -> Iterator[None]:
    """Inside, something is computed that somebody waits for: background work gives way to it."""
    global _urgent, _last
    with _idle:
        _urgent += really
    try:
        yield
    finally:
        with _idle:
            _urgent, _last = _urgent - really, time.monotonic()
            _idle.notify_all()


def once_idle(seconds: float, work: Callable[[], object]) -> None:
    """Do the work, in a thread of its own, as soon as nothing urgent has been computed for some seconds."""
    begun = time.monotonic()

    def wait() -> None:
        while _urgent or time.monotonic() - max(_last, begun) < seconds:
            time.sleep(seconds / 10)
        work()

    threading.Thread(target=wait, daemon=True).start()


def give_way() -> None:
    """Wait while anything urgent is computed, for COURTESY at most: background work slows down, but never stops."""
    with _idle:
        _idle.wait_for(lambda: not _urgent, COURTESY)
