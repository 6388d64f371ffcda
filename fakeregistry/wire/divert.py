"""Catches what OpenSSL writes on a socket, so that a part of a TLS record can be sent alone.

OpenSSL writes whole records to a descriptor. For the moment of one write the descriptor leads to a
pair of sockets of our own; what arrives there is then sent by hand, as far as it shall go.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

RECORD = 1 << 14
"""The most bytes that one TLS record carries (RFC 8446, 5.1)."""


@contextlib.contextmanager
def diverted(sock: socket.socket) -> Iterator[socket.socket]:
    """Let all that is written to a socket's descriptor arrive at the yielded socket instead.

    Nobody else may use the socket meanwhile. What is written must fit into a socket's buffer.
    """
    number = sock.fileno()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        kept = os.dup(number)
        try:
            os.dup2(ours.fileno(), number, inheritable=False)
            try:
                yield theirs
            finally:
                os.dup2(kept, number, inheritable=False)
        finally:
            os.close(kept)


def caught(theirs: socket.socket) -> bytes:
    """Return all that has arrived."""
    data = b""
    with contextlib.suppress(BlockingIOError):
        while more := theirs.recv(1 << 16, socket.MSG_DONTWAIT):
            data += more
    return data


def send_raw(sock: socket.socket, data: bytes | memoryview) -> None:
    """Send bytes as they are, also on a TLS socket."""
    socket.socket.sendall(sock, data)


def receive_record(sock: socket.socket) -> bytes:
    """Receive one TLS record as it is, whole or as far as it comes (RFC 8446, 5.1)."""
    data = b""
    wanted = 5
    while len(data) < wanted:
        more = socket.socket.recv(sock, wanted - len(data))
        if not more:
            break
        data += more
        if len(data) == 5:
            wanted = 5 + min(int.from_bytes(data[3:5], "big"), RECORD + 256)
    return data
