"""A gate: a wait that a test can end, and that a hang-up of the client can end as well."""

from __future__ import annotations

import os
import threading


class Gate:
    """Closed until `release`. A waiting connection polls `fileno` beside its own socket.

    The descriptor becomes readable on release and stays so: it is never read, therefore any number
    of connections can wait on one gate, now and later. Thread-safe.

    `counted_with`: another gate that counts who waits here as its own.
    """

    def __init__(self, counted_with: Gate | None = None) -> None:
        self._counted_with = counted_with
        self._followers: list[Gate] = []
        self._changed = threading.Condition()
        self._pipe: tuple[int, int] | None = None
        self._released = False
        self._holding = 0
        self._closing = False

    def __repr__(self) -> str:
        return f"<Gate {'open' if self._released else 'shut'}, holding {self._holding}>"

    @property
    def released(self) -> bool:
        """Whether the gate is open."""
        return self._released

    @property
    def holding(self) -> int:
        """How many answers wait at the gate now."""
        return self._holding

    def release(self) -> None:
        """Open the gate for those who wait and for all who come later."""
        with self._changed:
            if self._pipe is not None and not self._released:
                os.write(self._pipe[1], b"x")
            self._released = True
            self._changed.notify_all()
            followers, self._followers = self._followers, []
        for follower in followers:
            follower.release()

    def then(self, follower: Gate) -> None:
        """Open another gate as well: when this one opens, or at once where it is open."""
        with self._changed:
            if not self._released:
                self._followers.append(follower)
                return
        follower.release()

    def enter(self) -> int | None:
        """Count one more waiting; return the descriptor to poll, or None where it is open."""
        with self._changed:
            if self._released:
                return None
            if self._pipe is None:
                self._pipe = os.pipe()
            self.count(1)
            return self._pipe[0]

    def leave(self) -> None:
        """Count one less waiting."""
        self.count(-1)

    def count(self, more: int) -> None:
        """Count more (or fewer) who wait, here and where they are counted as well."""
        with self._changed:
            self._holding += more
            if self._closing:
                self._give_back()
            self._changed.notify_all()
        if self._counted_with is not None:
            self._counted_with.count(more)

    def wait_holding(self, count: int = 1, timeout: float = 10.0) -> bool:
        """Wait until `count` answers are held; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._holding >= count, timeout)

    def close(self) -> None:
        """Give the descriptors back, once nobody waits any more; who waits later gets new ones."""
        with self._changed:
            self._closing = self._holding > 0
            self._give_back()

    def _give_back(self) -> None:
        if self._pipe is not None and self._holding == 0:
            for descriptor in self._pipe:
                os.close(descriptor)
            self._pipe = None
            self._closing = False
