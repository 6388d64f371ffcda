"""Leases: while a pull is under way, nothing that it brought may be collected.

    <root>/lease    locked: by any number of pulls together, or by one collection alone

What a pull has stored is named by no record before the pull ends; to a collector it looks like
garbage. The lock is `flock`, so it goes with the process that held it, however that ended: a
killed pull leaves no lease behind that somebody would have to let expire.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reference.errors import StoreError
from reference.store import disk

_RETRY = 0.02  # seconds between two looks at a lock that another process holds


class InUseError(StoreError):
    """Somebody else has a lease."""


def at_once(seconds: float) -> None:
    """For those who would not wait: raises InUseError."""
    raise InUseError("a pull is under way")


class Leases:
    """The leases of one root folder. Safe for any number of threads and processes."""

    def __init__(self, root: Path) -> None:
        self._path = root / "lease"

    @contextmanager
    def pulling(self, wait: Callable[[float], object]) -> Iterator[None]:
        """Hold off every collection; `wait` is called while one is under way, and may raise."""
        with self._lock(fcntl.LOCK_SH, wait):
            yield

    @contextmanager
    def collecting(self, wait: Callable[[float], object] | None = None) -> Iterator[None]:
        """Be alone: wait until every pull has ended, and let none begin."""
        with self._lock(fcntl.LOCK_EX, wait or threading.Event().wait):
            yield

    @contextmanager
    def _lock(self, how: int, wait: Callable[[float], object]) -> Iterator[None]:
        with disk(f"cannot open {self._path}"):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            while not self._locked(fd, how):
                wait(_RETRY)
            yield
        finally:
            os.close(fd)

    def _locked(self, fd: int, how: int) -> bool:
        with disk(f"cannot lock {self._path}"):
            try:
                fcntl.flock(fd, how | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True
