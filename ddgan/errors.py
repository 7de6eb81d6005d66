"""Why there is no answer: `Refused` for what cannot be done, `Cancelled` if nobody waits; any other error is a bug."""

from __future__ import annotations

__all__ = ["Cancelled", "Refused"]


class Refused(ValueError):
    """What was asked for cannot be done. The message says in one sentence what was wanted, and what came."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""
