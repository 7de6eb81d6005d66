"""Values from JSON, a link or a command line: of the kind and in the range that is wanted, or Refused."""

from __future__ import annotations

import json
import math
from typing import Any

from ..errors import Refused

__all__ = ["json_of", "names_of", "number", "text_of", "whole"]


def text_of(name: str, value: Any) -> str:
    """A text; Refused otherwise."""
    if not isinstance(value, str):
        raise Refused(f"{name} must be a name, got {str(value)[:40]!r}")
    return value


def names_of(name: str, value: Any) -> list[str]:
    """Names from a list, or from a text with commas; Refused otherwise."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise Refused(f"{name} must be names, got {str(value)[:40]!r}")
    return list(items)


def json_of(text: str) -> Any:
    """What a JSON text from a browser holds, None for an empty one; Refused where it is no JSON."""
    try:
        return json.loads(text or "null")
    except (ValueError, TypeError, RecursionError):
        raise Refused("this is not JSON that the page sends") from None


def number(name: str, value: Any) -> float:
    """A finite number from JSON or text; Refused otherwise."""
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > 40:
            raise ValueError
        found = float(value)
    except (ValueError, OverflowError):
        got = "nothing" if value in (None, "") else repr(str(value)[:40])
        raise Refused(f"{name} must be a number, got {got}") from None
    if not math.isfinite(found):
        raise Refused(f"{name} must be a finite number, got {str(value)[:40]!r}")
    return found


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number in low..high from JSON or text; Refused otherwise."""
    found = number(name, value)
    if found != int(found) or not low <= found <= high:
        raise Refused(f"{name} must be a whole number in {low}..{high}, got {str(value)[:40]}")
    return int(found)
