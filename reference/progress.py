"""Stopping a pull: the one switch that ends it, and the watch that turns it when nothing moves.

The watch is the seed's progress reporter: it counts the requests that are under way (token requests
too) and the body bytes that came in, and gives up when requests are active and no byte arrived for
longer than the timeout. Bytes of all requests count together, and time without a request (waiting
for a lock, unpacking) never counts.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from reference.config import Config
from reference.errors import Cancelled, ProgressTimeout, PullError


class Cancellation:
    """The switch of one pull. Turning it unblocks whatever waits, in every thread of the pull."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._reason: PullError | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    def cancel(self, reason: PullError | None = None) -> None:
        """Stop the pull; the first reason given is the one that everybody sees."""
        with self._lock:
            if self._reason is None:
                self._reason = reason or Cancelled("the pull was cancelled")
            self._event.set()
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    @property
    def reason(self) -> PullError | None:
        """Why the pull was stopped; None while it goes on."""
        return self._reason

    def check(self) -> None:
        """Raise the reason if the pull was stopped."""
        if self._reason is not None:
            raise self._reason

    def wait(self, seconds: float) -> None:
        """Pause, but no longer than until the pull is stopped; then raise the reason."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` called when the pull is stopped, at once if it was already."""
        key = id(callback)
        with self._lock:
            self._callbacks[key] = callback
            stopped = self._event.is_set()
        try:
            if stopped:
                callback()
            yield
        finally:
            with self._lock:
                self._callbacks.pop(key, None)


class ProgressReporter:
    """Counts requests and bytes of one pull, and cancels it when they stand still."""

    def __init__(self, config: Config, name: str, cancellation: Cancellation) -> None:
        self.quirks = config.quirks
        self.timeout = config.progress_timeout
        self.longest_interval = config.progress_interval
        self.interval_floor = config.progress_interval_floor
        self.min_rate = config.min_rate
        self.name = name
        self.cancellation = cancellation
        self._lock = threading.Lock()
        self._active = 0
        self._bytes = 0
        self._last_active = 0
        self._last_bytes = 0
        self._last_moved = 0.0
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    # What the transport reports.

    def begin(self) -> None:
        """A request is about to be sent."""
        with self._lock:
            self._active += 1

    def end(self) -> None:
        """A request failed, or its body came to the end."""
        with self._lock:
            self._active -= 1

    def received(self, count: int) -> None:
        """So many bytes of a body arrived."""
        with self._lock:
            self._bytes += count

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Content that has come whole is put into the store: for containerd's reporter that is
        still the request (PROG-13)."""
        if not self.quirks.active_until_stored:
            yield
            return
        self.begin()
        try:
            yield
        finally:
            self.end()

    def status(self) -> tuple[int, int]:
        """Requests under way, and body bytes so far."""
        with self._lock:
            return self._active, self._bytes

    # What the watch makes of it.

    def interval(self) -> float:
        """Seconds between two looks: half of a short timeout, but not less than the floor."""
        if self.timeout < self.longest_interval:
            return max(self.timeout / 2, self.interval_floor)
        return self.longest_interval

    def moved(self, active: int, received: int) -> bool:
        """Whether this look counts as progress.

        Beside the seed's two rules (nothing under way, or more bytes than last time), the first
        look after an idle one starts the clock anew: a request is never charged for the time
        before it began.
        """
        begun = self._last_active == 0 and not self.quirks.idle_time_counts
        return active == 0 or received > self._last_bytes or begun

    def is_drip(self, active: int, received: int, now: float) -> bool:
        """Whether what came since the last good look is less than the rate asked for.

        Idle before or now is no drip. While it is one, the time since that look grows: to the
        timeout, or until enough has come for all of it.
        """
        least = self.min_rate * (now - self._last_moved)
        return bool(active and self._last_active) and received - self._last_bytes < least

    def look(self, now: float) -> bool:
        """One look at the counters at time `now` (seconds); True when the pull stands still."""
        active, received = self.status()
        if self.moved(active, received) and not self.is_drip(active, received, now):
            self._last_bytes = received
            self._last_moved = now
        self._last_active = active
        return now - self._last_moved > self.timeout

    def run(self) -> None:
        """Look again and again until the pull ends or stands still."""
        self._last_moved = time.monotonic()
        while not self._done.wait(self.interval()):
            if self.look(time.monotonic()):
                self.cancellation.cancel(
                    ProgressTimeout(
                        f"cancel pulling image {self.name}: no progress in {self.timeout:g}s"
                    )
                )
                return

    def __enter__(self) -> ProgressReporter:
        """Start the watch; a timeout of 0 means that nobody watches."""
        if self.timeout > 0:
            self._thread = threading.Thread(target=self.run, name="pull-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
