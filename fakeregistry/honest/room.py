"""Room: how many bytes may be held at once, by all connections together."""

from __future__ import annotations

import threading


class FullError(Exception):
    """There is no room for what was asked. One line."""


class Room:
    """Room for so many bytes, that many threads take from and give back to."""

    def __init__(self, limit: int, noun: str) -> None:
        self.limit = limit
        self.used = 0
        self._noun = noun
        self._lock = threading.Lock()

    def take(self, count: int) -> None:
        """Take bytes; raises FullError where so many aren't left."""
        with self._lock:
            if self.used + count > self.limit:
                raise FullError(f"no room: at most {self.limit} bytes of {self._noun} are held")
            self.used += count

    def give(self, count: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.used -= count
