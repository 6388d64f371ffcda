"""Reading requests from a connection: HTTP/1.1 heads and bodies, bounded (RFC 9112)."""

from __future__ import annotations

import io
import re
import socket
import time
from typing import Literal

from fakeregistry.honest.room import FullError, Room
from fakeregistry.messages import Request

from .heads import FIELD_LIMIT, BadRequestError, Head, check_line, parse

HEAD_LIMIT = 64 << 10
"""The longest request head, in bytes."""
BODY_LIMIT = 512 << 20
"""The longest request body, in bytes."""
_LINE_LIMIT = 4096
"""The longest line of a chunked body: a size with its extensions, or a trailer field."""
_RECEIVED = 64 << 10
"""How much one call receives of a head. Larger buffers cost a page fault each: measured 10 us."""
_PIECE = 256 << 10
"""How much one call receives of a body."""

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_BARE = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|\0")
"""What no request holds outside its body: it may never end by a line that ends otherwise."""


BODIES = Room(1 << 30, "request bodies")
"""What all request bodies that this process reads, or answers just now, may take together."""


class Reader:
    """A buffered reader of requests on one socket; it reads no byte more than it is given."""

    def __init__(
        self,
        sock: socket.socket,
        scheme: Literal["http", "https"],
        peer: str,
        room: Room = BODIES,
    ) -> None:
        self._sock = sock
        self._scheme = scheme
        self._peer = peer
        self._room = room
        self._taken = 0
        self._buffer = bytearray()
        self.moved: float | None = None
        """When a body went on last, on the monotonic clock; None while there is none to read."""

    def read(self) -> Request | None:
        """Return the next request, or None where the client has closed.

        Raises BadRequestError, and OSError where the connection broke. The body of the request
        before counts as held until now.
        """
        self.close()
        data = self._head()
        if data is None:
            return None
        head = parse(data)
        body = b"" if head.length == 0 else self._body(head)
        self.moved = None
        return Request(
            head.method, head.target, head.headers, body, self._scheme, head.version, self._peer
        )

    def close(self) -> None:
        """Say that the last request's body is no longer held."""
        if self._taken:
            self._room.give(self._taken)
            self._taken = 0

    # heads

    def _head(self) -> bytes | None:
        if not self._buffer:
            # Nearly every request comes alone and whole.
            data = self._sock.recv(_RECEIVED)
            if data.find(b"\r\n\r\n") == len(data) - 4 > 0:
                return data[:-4]
            if not data:
                return None
            self._buffer += data
        return self._next_head()

    def _next_head(self) -> bytes | None:
        """Return the head that the buffer begins with; what can't become one isn't waited for."""
        seen = 0
        line_is_sound = False
        while True:
            # A blank line before a request line is ignored (RFC 9112, 2.2).
            while self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
                seen = 0
            end = self._buffer.find(b"\r\n\r\n", max(0, seen - 3))
            if end > HEAD_LIMIT or (end < 0 and len(self._buffer) > HEAD_LIMIT):
                raise BadRequestError(431, f"the request head is longer than {HEAD_LIMIT} bytes")
            if end >= 0:
                head = bytes(self._buffer[:end])
                del self._buffer[: end + 4]
                return head
            if _BARE.search(self._buffer, max(0, seen - 1)):
                raise BadRequestError(400, "a line that doesn't end by CR LF, or a NUL")
            if not line_is_sound and (stop := self._buffer.find(b"\r\n")) >= 0:
                check_line(bytes(self._buffer[:stop]))
                line_is_sound = True
            seen = len(self._buffer)
            if not self._fill():
                if self._buffer:
                    raise ConnectionAbortedError("the client closed inside a request head")
                return None

    def _fill(self) -> bool:
        data = self._sock.recv(_RECEIVED)
        self._buffer += data
        return bool(data)

    # bodies

    def _body(self, head: Head) -> bytes:
        if head.length is not None and head.length > BODY_LIMIT:
            raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")
        if head.expects and not self._buffer:
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.moved = time.monotonic()
        body = io.BytesIO()
        if head.length is None:
            self._chunks(body)
        else:
            self._copy(head.length, body)
        return body.getvalue()

    def _copy(self, count: int, body: io.BytesIO) -> None:
        """Move bytes into a body as they arrive: what a client only promises takes no room."""
        while count:
            if self._buffer:
                data = bytes(memoryview(self._buffer)[:count])
                del self._buffer[: len(data)]
            else:
                data = self._sock.recv(min(count, _PIECE))
                if not data:
                    raise ConnectionAbortedError("the client closed inside its request body")
            try:
                self._room.take(len(data))
            except FullError as full:
                raise BadRequestError(503, str(full)) from None
            self._taken += len(data)
            self.moved = time.monotonic()
            body.write(data)
            count -= len(data)

    def _chunks(self, body: io.BytesIO) -> None:
        while True:
            text = self._line().partition(b";")[0].rstrip(b" \t")
            if _SIZE.fullmatch(text) is None:
                raise BadRequestError(400, "malformed chunk size")
            size = int(text, 16)
            if body.tell() + size > BODY_LIMIT:
                raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")
            if size == 0:
                break
            self._copy(size, body)
            while len(self._buffer) < 2:
                if not self._fill():
                    raise ConnectionAbortedError("the client closed inside its request body")
            if not self._buffer.startswith(b"\r\n"):
                raise BadRequestError(400, "malformed chunk")
            del self._buffer[:2]
        for _ in range(FIELD_LIMIT):
            if not self._line():
                return
        raise BadRequestError(431, "too many trailer fields")

    def _line(self) -> bytes:
        """Return the next line of a chunked body, without its CR LF."""
        seen = 0
        while True:
            end = self._buffer.find(b"\r\n", max(0, seen - 1))
            if end > _LINE_LIMIT or (end < 0 and len(self._buffer) > _LINE_LIMIT):
                raise BadRequestError(400, "a chunk line without end")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            seen = len(self._buffer)
            if not self._fill():
                raise ConnectionAbortedError("the client closed inside its request body")


__all__ = ["BODIES", "BadRequestError", "Reader"]
