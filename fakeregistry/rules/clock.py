"""The registry's own clock: the life of tokens and signed URLs, and the windows of rate limits.

It runs like any clock, and can be set forward, so that 'expired' takes no real time. Pauses of an
answer are never on it: what a client waits for is real.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta


class Clock:
    """Seconds since a topology began, on the monotonic clock, and what it was set forward by.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def __repr__(self) -> str:
        return f"<Clock {self.now():.3f} s, {self._ahead:g} s of it advanced>"

    def reset(self) -> None:
        """Begin at zero again."""
        with self._lock:
            self._start = time.monotonic()
            self._ahead = 0.0

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start + self._ahead

    def advance(self, seconds: float) -> float:
        """Set the clock forward and return what it shows now; ValueError for a step back."""
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"advance by {seconds}: a clock goes forward, and not for ever")
        with self._lock:
            self._ahead += seconds
        return self.now()

    def date(self, seconds: float = 0.0) -> datetime:
        """The date that the clock shows in so many seconds: today's, and what it is ahead by.

        The Date header of an answer is the real one, as a client's own clock is.
        """
        return datetime.now(UTC) + timedelta(seconds=self._ahead + seconds)
