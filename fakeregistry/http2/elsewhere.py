"""Answers that are made beside the loop of a connection, because making them may take its time."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from fakeregistry.journal.exchange import Exchange
from fakeregistry.script import Script


class Elsewhere:
    """Answers that are made in threads of their own, and wake the loop when they are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: deque[Callable[[], None]] = deque()
        self._pipe: tuple[int, int] | None = None
        self._closed = False
        self.count = 0

    @property
    def busy(self) -> bool:
        """Whether some answer is still to come."""
        return self.count > 0

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when an answer is there."""
        return None if self._pipe is None or not self.count else self._pipe[0]

    def run(
        self,
        make: Callable[[], tuple[Script, Exchange]],
        take: Callable[[Script, Exchange], None],
        abandon: Callable[[Exchange], None],
    ) -> None:
        """Make an answer; `take` gets it in the loop, or `abandon` where the loop is over."""
        if self._pipe is None:
            self._pipe = os.pipe()
        self.count += 1

        def work() -> None:
            script, exchange = make()
            with self._lock:
                if not self._closed and self._pipe is not None:
                    self._done.append(lambda: take(script, exchange))
                    os.write(self._pipe[1], b"x")
                    return
            abandon(exchange)

        threading.Thread(target=work, name="answer", daemon=True).start()

    def finished(self) -> list[Callable[[], None]]:
        """Return what to do for each answer that is there."""
        if not self._done:
            return []
        with self._lock:
            done = list(self._done)
            self._done.clear()
            self.count -= len(done)
            if self._pipe is not None:
                os.read(self._pipe[0], len(done))
        return done

    def close(self) -> None:
        """Take no answer any more."""
        with self._lock:
            self._closed = True
            if self._pipe is not None:
                for descriptor in self._pipe:
                    os.close(descriptor)
                self._pipe = None
