"""The last few results, as many as have room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Kept"]

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by their keys, of `limit` bytes in all; those asked for longest ago go first. Threads share it."""

    def __init__(self, limit: int, size: Callable[[T], int] = len) -> None:  # type: ignore[assignment]
        self.limit, self.size, self.bytes = limit, size, 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """The value of a key, None where it is not here, or no longer."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> T:
        """Keep a value, unless it alone has no room, and return it."""
        with self._lock:
            if (old := self._values.pop(key, None)) is not None:
                self.bytes -= self.size(old)
            if self.size(value) <= self.limit:
                self._values[key] = value
                self.bytes += self.size(value)
            while self.bytes > self.limit:
                self.bytes -= self.size(self._values.popitem(last=False)[1])
        return value
