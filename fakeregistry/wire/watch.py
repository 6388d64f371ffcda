"""The watch: cuts connections whose clients begin something and don't go on.

One thread serves all registries of the process. It sleeps until the first connection can be late,
so that it costs nothing while clients are quick, and nothing while there are none.
"""

from __future__ import annotations

import math
import os
import threading
import time
from typing import Protocol


class Watched(Protocol):
    """What can be late."""

    @property
    def patience(self) -> float:
        """How long it may take, in seconds."""
        ...

    @property
    def due(self) -> float | None:
        """When it is late, on the monotonic clock; None while nobody waits for it."""
        ...

    def late(self) -> None:
        """Be told so."""
        ...


class Watch:
    """Watches over connections. Thread-safe."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with nothing: also in a forked child, which has no threads and no connections."""
        self._changed = threading.Condition()
        self._watched: set[Watched] = set()
        self._until = math.inf
        self._thread: threading.Thread | None = None

    def add(self, one: Watched) -> None:
        """Begin to watch."""
        with self._changed:
            self._watched.add(one)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                self._thread.start()
            if time.monotonic() + one.patience < self._until:
                self._changed.notify()

    def discard(self, one: Watched) -> None:
        """Watch it no longer."""
        with self._changed:
            self._watched.discard(one)

    def look(self) -> None:
        """Look again: somebody's patience has changed."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                self._until = math.inf
                for one in self._watched:
                    due = one.due
                    if due is not None and due <= now:
                        one.late()
                        due = None
                    # Who waits for nothing now may begin to wait right after this look.
                    self._until = min(self._until, now + one.patience if due is None else due)
                left = self._until - now
                self._changed.wait(min(left, threading.TIMEOUT_MAX) if self._watched else None)


WATCH = Watch()
"""The watch of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCH.begin)
