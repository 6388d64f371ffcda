"""The wire: plays a script on a connection, and records what was truly sent."""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Literal

from fakeregistry.journal.journal import Exchange, Journal
from fakeregistry.messages import Headers, header_of
from fakeregistry.script import (
    AS_USUAL,
    Act,
    Data,
    End,
    HandOver,
    Head,
    Interim,
    Raw,
    Script,
    Wait,
    Writing,
)

from .divert import RECORD, caught, diverted, send_raw

PLAIN_SLICE = 1 << 20
TLS_SLICE = 256 << 10
"""How many bytes one write takes: measured faster than sendfile, and the place where faults act."""
JOINED = 64 << 10
"""A body up to this size leaves in one segment with its head."""
LINGER_SECONDS = 5.0
"""How long a closed connection waits for the client's own close, so that no FIN becomes an RST."""

_HANG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR

Outcome = Literal["keep", "closed"]


@lru_cache(maxsize=64)
def _status_line(status: int, writing: Writing = AS_USUAL) -> bytes:
    reason = writing.reason
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    return f"{writing.version} {status} {reason}\r\n".encode("utf-8", "surrogateescape")


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n".encode()


def head_bytes(head: Head, *, close: bool) -> bytes:
    """Return a head as HTTP/1.1 writes it."""
    lines = [_status_line(head.status, head.writing), head.lines]
    if "date" not in head.names:
        lines.append(_date_line(int(time.time())))
    if close and "connection" not in head.names:
        lines.append(b"Connection: close\r\n")
    return b"".join([*lines, *head.writing.raw, b"\r\n"])


def _interim_bytes(interim: Interim) -> bytes:
    head = Head(interim.status, interim.headers)
    return _status_line(interim.status) + head.lines + b"\r\n"


class ClientGoneError(Exception):
    """The client hung up."""


class Player:
    """Plays scripts on one connected socket, plain or TLS. Owned by the connection's thread."""

    def __init__(
        self,
        sock: socket.socket,
        journal: Journal,
        stopping: Callable[[], bool] = lambda: False,
        lock: contextlib.AbstractContextManager[object] | None = None,
        kept: Callable[[], None] = lambda: None,
    ) -> None:
        self.sock = sock
        self._journal = journal
        self._stopping = stopping
        self._lock = lock or contextlib.nullcontext()
        self._kept = kept
        self._inside: Wait | None = None
        self._slice = TLS_SLICE if isinstance(sock, ssl.SSLSocket) else PLAIN_SLICE
        self._pending = b""
        self._pending_head: Head | None = None
        self._chunked = False
        self._extension = b""
        self._trailers: Headers = ()
        self._length = 0

    def play(self, script: Script, exchange: Exchange, *, close: bool = False) -> Outcome:
        """Play a script; "keep" means that the connection may carry another request.

        `close` says that the client, or the protocol's version, ends the connection after this.
        """
        self._chunked = False
        self._inside = None
        self._extension = script.writing.chunk_extension.encode()
        self._trailers = script.trailers
        self._length = script.length
        try:
            for step in script.steps():
                if isinstance(step, Head):
                    close = close or ("connection" in step.names and _closes(step.headers))
                    self._pending = head_bytes(step, close=close or script.closes)
                    self._pending_head = step
                    self._chunked = step.chunked
                elif isinstance(step, Data):
                    self._data(step.data, exchange)
                elif isinstance(step, Wait):
                    self._flush(exchange)
                    if step.inside_record and isinstance(self.sock, ssl.SSLSocket):
                        self._inside = step
                    else:
                        self.wait(step)
                elif isinstance(step, Interim):
                    self.sock.sendall(_interim_bytes(step))
                elif isinstance(step, Raw):
                    self._flush(exchange)
                    self.sock.sendall(step.data)
                elif isinstance(step, Act):
                    step.run()
                elif isinstance(step, HandOver):
                    step.run(self, exchange)
                    return "closed"
                elif isinstance(step, End):
                    exchange.leaving = True
                    return self._end(step, exchange, close=close)
        except (OSError, ClientGoneError):
            how: Literal["stopped", "client_gone"] = (
                "stopped" if self._stopping() else "client_gone"
            )
            self._journal.end(exchange, how)
            return "closed"
        raise AssertionError("a script always ends by a step of its own")

    @property
    def stopping(self) -> bool:
        """Whether the registry stops, and this connection with it."""
        return self._stopping()

    # sending

    def _flush(self, exchange: Exchange) -> None:
        if self._pending:
            self._write(b"", exchange)

    def _data(self, data: bytes | memoryview, exchange: Exchange) -> None:
        view = memoryview(data)
        if self._chunked:
            # One chunk per slice, so that what is cut or slow shows as the client sees it.
            for offset in range(0, len(view), self._slice):
                part = view[offset : offset + self._slice]
                self._frame(b"%x%s\r\n" % (len(part), self._extension), part, exchange)
        elif len(view) <= JOINED:
            self._write(view, exchange)
        else:
            self._flush(exchange)
            for offset in range(0, len(view), self._slice):
                self._write(view[offset : offset + self._slice], exchange)

    def _frame(self, before: bytes, part: memoryview, exchange: Exchange) -> None:
        self._flush(exchange)
        self.sock.sendall(before)
        self._write(part, exchange)
        self.sock.sendall(b"\r\n")

    def _write(self, body: bytes | memoryview, exchange: Exchange) -> None:
        """Send what is pending and the body bytes; record the body bytes that went out."""
        if self._inside is not None and len(body):
            body = self._halve(memoryview(body), exchange)
        prefix = len(self._pending)
        view = memoryview(self._pending + bytes(body)) if prefix else memoryview(body)
        sent = 0
        while sent < len(view):
            # Before the client can have it: whoever has all of an answer never meets it under way.
            exchange.due = exchange.bytes_sent + len(view) - max(sent, prefix)
            exchange.leaving = exchange.leaving or exchange.due >= self._length
            count = self.sock.send(view[sent:])
            before = max(0, sent - prefix)
            sent += count
            if self._pending_head is not None and sent >= prefix:
                head, self._pending_head, self._pending = self._pending_head, None, b""
                self._journal.head(exchange, head.status, head.shown)
            now = max(0, sent - prefix)
            if now > before:
                self._journal.sent(exchange, now - before)

    def _halve(self, body: memoryview, exchange: Exchange) -> memoryview:
        """Send half a TLS record, wait, and send its other half; return what is left of the body.

        The record's bytes count as sent when it is whole: before that nobody can read one.
        """
        assert self._inside is not None
        pause, self._inside = self._inside, None
        with self._lock, diverted(self.sock) as far:
            count = self.sock.send(body[:RECORD])
            record = caught(far)
        half = len(record) // 2
        send_raw(self.sock, record[:half])
        self.wait(pause)
        send_raw(self.sock, record[half:])
        self._journal.sent(exchange, count)
        return body[count:]

    # waiting

    def wait(self, step: Wait) -> None:
        """Wait for time or gate; raises ClientGoneError where the client hangs up before."""
        if not self._wait(step, discard=False):
            raise ClientGoneError

    def swallow(self, step: Wait) -> None:
        """Wait likewise, also for the client to close; read and forget what it says meanwhile."""
        self._wait(step, discard=True)

    def _wait(self, step: Wait, *, discard: bool) -> bool:
        """Wait for time, gate or hang-up, whichever comes first; False for a hang-up.

        `discard` reads and forgets what the client says meanwhile.
        """
        gate = step.gate
        opened = gate.enter() if gate is not None else None
        if gate is not None and opened is None:
            return True
        try:
            poller = select.poll()
            poller.register(self.sock, _HANG_UP | (select.POLLIN if discard else 0))
            if opened is not None:
                poller.register(opened, select.POLLIN)
            end = None if step.seconds is None else time.monotonic() + step.seconds
            mine = self.sock.fileno()
            while True:
                left = None if end is None else max(0, math.ceil((end - time.monotonic()) * 1000))
                if not any(descriptor == mine for descriptor, _ in poller.poll(left)):
                    return True
                if not discard or not socket.socket.recv(self.sock, 1 << 16, socket.MSG_DONTWAIT):
                    return False
        finally:
            if gate is not None:
                gate.leave()

    # ending

    def _end(self, step: End, exchange: Exchange, *, close: bool) -> Outcome:
        if step.kind == "rst":
            self._flush(exchange)
            self.reset()
            self._journal.end(exchange, "rst")
            return "closed"
        if self._chunked and step.terminated:
            self._flush(exchange)
            trailers = "".join(f"{name}: {value}\r\n" for name, value in self._trailers)
            self.sock.sendall(b"0%s\r\n%s\r\n" % (self._extension, trailers.encode()))
        self._flush(exchange)
        whole = step.whole or step.kind in ("keep", "close", "quit")
        if step.kind == "keep" and not close:
            self._kept()
            self._journal.end(exchange, "complete")
            if step.hold is not None:
                self.wait(step.hold)
            return "keep"
        if whole and step.hold is not None and step.kind != "half":
            self._journal.end(exchange, "complete")
            self.wait(step.hold)
        self.say_goodbye(notify=step.kind != "drop")
        self._journal.end(exchange, "complete" if whole else "fin")
        if step.kind == "half":
            self.swallow(step.hold or Wait(None))
        else:
            self.linger()
        return "closed"

    def reset(self) -> None:
        """Send RST, after everything that was written has left."""
        self._wait_sent()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _wait_sent(self) -> None:
        """Wait until nothing unsent is left: a closing RST would throw it away."""
        lowat = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if lowat is None:
            return
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, lowat, 1)
            poller = select.poll()
            poller.register(self.sock, select.POLLOUT)
            poller.poll(LINGER_SECONDS * 1000)

    def say_goodbye(self, *, notify: bool = True) -> None:
        """Close our direction: TLS says goodbye where asked, then FIN."""
        with contextlib.suppress(OSError):
            if notify and isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(0)
                with contextlib.suppress(ssl.SSLError, ValueError):
                    self.sock.unwrap()
            # The plain method: SSLSocket's own forgets the TLS state that other threads may use.
            socket.socket.shutdown(self.sock, socket.SHUT_WR)

    def linger(self) -> None:
        """Read and forget until the client closes too; bounded in time and bytes."""
        deadline = time.monotonic() + LINGER_SECONDS
        with contextlib.suppress(OSError):
            poller = select.poll()
            poller.register(self.sock, select.POLLIN | _HANG_UP)
            for _ in range(4096):
                left = deadline - time.monotonic()
                if left <= 0 or not poller.poll(math.ceil(left * 1000)):
                    return
                if not socket.socket.recv(self.sock, 1 << 16, socket.MSG_DONTWAIT):
                    return


def _closes(headers: Headers) -> bool:
    return "close" in (header_of(headers, "Connection") or "").lower()
