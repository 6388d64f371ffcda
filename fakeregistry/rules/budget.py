"""Budgets of requests: so many in a window of time, per account."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

ACCOUNTS = 10_000
"""So many accounts are kept: who invents names can't fill the memory."""


class Budget:
    """Counts what was allowed in the window that ends now; what was refused costs nothing.

    `now` gives seconds. Thread-safe.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._spent: dict[str, deque[float]] = {}

    def spend(self, key: str, requests: int, window: float) -> float:
        """Take one request from an account that allows `requests` in any `window` seconds.

        Returns 0 where it is allowed, else the seconds until the next one is.
        """
        with self._lock:
            now = self._now()
            spent = self._account(key, now - window)
            if len(spent) < requests:
                spent.append(now)
                return 0.0
            return (spent[0] + window - now) if spent else window

    def left(self, key: str, requests: int, window: float) -> int:
        """How many requests the account still allows now."""
        with self._lock:
            return max(0, requests - len(self._account(key, self._now() - window)))

    def _account(self, key: str, since: float) -> deque[float]:
        spent = self._spent.setdefault(key, deque())
        if len(self._spent) > ACCOUNTS:
            del self._spent[next(iter(self._spent))]
        while spent and spent[0] <= since:
            spent.popleft()
        return spent
