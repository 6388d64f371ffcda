"""Attacks on a registry's port: what anybody can send, and what must come of it.

Every attack is answered or cut in bounded time, stands in the journal, disturbs no other
connection, and leaves no traceback, no thread and no memory behind.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rawclient import Raw

from fakeregistry import Registry
from fakeregistry.wire.reader import BODIES

BOUND = 8.0
"""Seconds in which everything is over: well beyond what a busy machine needs."""


@dataclass(frozen=True)
class Attack:
    """Pieces to send one by one, and how the client ends: it half-closes, resets, or leaves."""

    pieces: tuple[bytes, ...]
    end: str = "half-close"


@dataclass(frozen=True)
class Outcome:
    """What came of an attack."""

    data: bytes
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """The statuses of all answers, by their status lines."""
        lines = self.data.split(b"HTTP/1.1 ")[1:]
        return [int(line[:3]) for line in lines]


@contextlib.contextmanager
def no_traceback() -> Iterator[None]:
    """Fail where any thread dies by an exception meanwhile."""
    caught: list[str] = []
    before = threading.excepthook
    threading.excepthook = lambda args: caught.append(f"{args.thread}: {args.exc_value!r}")
    try:
        yield
    finally:
        threading.excepthook = before
    assert not caught, caught


def strike(registry: Registry, attack: Attack) -> Outcome:
    """Play an attack, and take everything that comes until the connection ends."""
    start = time.monotonic()
    data = b""
    with socket.create_connection(("127.0.0.1", registry.port), BOUND) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in attack.pieces:
                sock.sendall(piece)
            if attack.end == "half-close":
                sock.shutdown(socket.SHUT_WR)
            elif attack.end == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return Outcome(data, time.monotonic() - start)
            elif attack.end == "leave":
                return Outcome(data, time.monotonic() - start)
        with contextlib.suppress(ConnectionError):
            while more := sock.recv(1 << 16):
                data += more
    return Outcome(data, time.monotonic() - start)


def probe(registry: Registry) -> None:
    """Another client must be served at once."""
    start = time.monotonic()
    with Raw(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200
    assert time.monotonic() - start < BOUND


def survives(registry: Registry, attack: Attack) -> Outcome:
    """Play an attack and hold its consequences against all that must be so."""
    journal = registry.journal
    with no_traceback():
        outcome = strike(registry, attack)
        probe(registry)
        assert journal.wait_for(lambda j: all(one.closed is not None for one in j.connections))
    assert outcome.seconds < BOUND
    assert not outcome.data or outcome.data.startswith(b"HTTP/1.1 ")
    assert journal.wait_quiet()
    assert BODIES.used == 0
    return outcome
