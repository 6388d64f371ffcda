"""The listening socket of a registry: one thread accepts, one thread per connection serves.

Start and stop take about a millisecond: the accept blocks, and ends because its socket is shut
down. TLS is wrapped in the connection's thread, so that a silent client blocks nobody.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import sys
import threading
from typing import Literal, get_args

from .served import Handler, How, Served

Listening = Literal["open", "refuse", "blackhole"]
"""Whether a port accepts; answers every attempt by RST; or drops every attempt without a word."""

BACKLOG = 4096
"""As much as Linux allows unless told otherwise: a thousand clients may come at once."""
SEND_BUFFER = 212 << 10
"""What the kernel holds of an answer, in bytes (Linux doubles it). Left alone it grows to some MiB,
which a CPU's cache doesn't hold: measured, a large blob then takes a third more CPU, and longer."""
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
"""What keeps a connection from being accepted now, and not for ever."""
_BREATH = 50
"""How long to wait then, in milliseconds."""
_SO_MEMINFO = 55
_DROPS = 8
"""Where Linux counts what a socket dropped (linux/sock_diag.h)."""


def check_listening(value: str) -> Listening:
    """Return one of the ways of listening; raises ValueError for another word."""
    for way in get_args(Listening):
        if value == way:
            known: Listening = way
            return known
    raise ValueError(f"listening {value!r}: open, refuse or blackhole")


class Listener:
    """A port of one address with its threads. It keeps the port however it listens."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1", port: int = 0) -> None:
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = self._bound(host, port)
        self.address: tuple[str, int] = self._sock.getsockname()[:2]
        self._handler = handler
        self._listening: Listening = "refuse"
        self._lock = threading.Lock()
        self._served: set[Served] = set()
        self._accepting: threading.Thread | None = None
        self._filler: socket.socket | None = None

    @property
    def port(self) -> int:
        """The port that the kernel chose, or that was asked for."""
        return self.address[1]

    @property
    def dropped(self) -> int:
        """How many attempts to connect were dropped since the port is a black hole (on Linux)."""
        try:
            counts = self._sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_DROPS + 1))
        except OSError:
            return 0
        return int(struct.unpack(f"{_DROPS + 1}I", counts)[_DROPS]) if counts else 0

    def start(self, listening: Listening = "open") -> None:
        """Begin to listen, in one way or another."""
        self._listening = listening
        if listening == "open":
            self._sock.listen(BACKLOG)
            self._accepting = threading.Thread(
                target=self._accept, name=f"{self._handler.name} accept", daemon=True
            )
            self._accepting.start()
        elif listening == "blackhole":
            self._swallow()

    def listen(self, listening: Listening) -> None:
        """Listen in another way from now on. Connections that stand go on.

        Raises OSError for a black hole on another system than Linux.
        """
        if listening == "blackhole" and not sys.platform.startswith("linux"):
            raise OSError(f"a black hole needs Linux: {sys.platform} answers for a full queue")
        if listening != self._listening:
            self._fall_silent()
            self.start(listening)

    def stop(self, timeout: float = 5.0) -> None:
        """Stop accepting, end every connection, and wait for the threads."""
        self._fall_silent(timeout)
        self._sock.close()
        served = self._standing()
        for connection in served:
            connection.stop()
        for connection in served:
            connection.thread.join(timeout)

    def end_idle(self, how: How, timeout: float = 5.0) -> int:
        """End the connections that carry no request now; return how many there were."""
        ended = [connection for connection in self._standing() if connection.end_idle(how)]
        if how != "silent":
            for connection in ended:
                connection.thread.join(timeout)
        return len(ended)

    # ways of listening

    def _bound(self, host: str, port: int) -> socket.socket:
        """Return a socket that owns its port, be it heard there or not."""
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.bind((host, port))
            if port:
                return sock
            # A port that the kernel chose is lost when a socket ceases to listen, a port that was
            # asked for stays: so ask for the one that was chosen, before anybody else can.
            with sock:
                return self._bound(host, sock.getsockname()[1])
        except OSError:
            sock.close()
            raise

    def _fall_silent(self, timeout: float = 5.0) -> None:
        """Listen no longer; the port stays ours. What waits to be accepted is reset."""
        if self._listening == "refuse":
            # A second shutdown would be inherited by every connection that is accepted later.
            return
        self._listening = "refuse"
        accepting, self._accepting = self._accepting, None
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            if accepting is not None:
                # Not every system lets a listening socket be shut down: a last caller wakes it.
                with contextlib.suppress(OSError):
                    socket.create_connection(self.address, timeout=1).close()
                accepting.join(timeout)
                self._sock.close()
                self._sock = self._bound(*self.address)
        if accepting is not None:
            accepting.join(timeout)
        if self._filler is not None:
            self._filler.close()
            self._filler = None

    def _swallow(self) -> None:
        """Let the kernel drop whoever asks to connect: there is room for one, and it is taken."""
        self._sock.listen(0)
        self._filler = socket.create_connection(self.address, timeout=5)
        poller = select.poll()
        poller.register(self._sock, select.POLLIN)
        if not poller.poll(5000):
            raise OSError("the queue of a black hole didn't fill")

    # accepting

    def _accept(self) -> None:
        """Accept until the socket is shut down."""
        mine = self._sock
        while True:
            try:
                sock, peer = mine.accept()
            except OSError as problem:
                if self._accepting is None or problem.errno not in _PASSING:
                    return
                # Clients keep more connections than there may be: those in the queue wait.
                select.poll().poll(_BREATH)
                continue
            if self._accepting is None or not self._handler.may_connect():
                sock.close()
                continue
            served = Served(sock, self._handler, f"{peer[0]}:{peer[1]}", self._forget)
            with self._lock:
                self._served.add(served)
                try:
                    served.thread.start()
                except RuntimeError:
                    # No more threads: like no more descriptors, but it is accepted by now.
                    self._served.discard(served)
                    sock.close()
                    self._handler.journal.close(served.record, "no thread for it")

    def _standing(self) -> list[Served]:
        with self._lock:
            return list(self._served)

    def _forget(self, served: Served) -> None:
        with self._lock:
            self._served.discard(served)
