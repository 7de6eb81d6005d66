"""Three outcomes that are not an answer, three types: a refusal, nobody waits any more, and any other error: a bug."""

from __future__ import annotations

__all__ = ["Cancelled", "Refused"]


class Refused(ValueError):
    """What was asked for cannot be done; the message is one sentence for whoever asked: what was wanted, what came."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""
