"""Why there is no answer: `Refused` for what cannot be done, `Cancelled` if nobody waits; any other error is a bug."""

from __future__ import annotations

__all__ = ["Cancelled", "Refused", "wanted"]


class Refused(ValueError):
    """What was asked for cannot be done. The message says in one sentence what was wanted, and what came."""


class Cancelled(Exception):
    """Nobody waits for the result any more."""


def wanted(kind: type, example: str, value: object) -> None:
    """Refused unless the value is of this kind, such as the `example`: a class, or a name, in its place is not."""
    if not isinstance(getattr(value, "_orig_mod", value), kind):  # torch.compile makes another class
        came = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise Refused(f"wanted {example} or another {kind.__name__}, got {came}")
