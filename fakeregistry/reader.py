"""Reading requests from a connection: HTTP/1.1 heads and bodies, bounded (RFC 9112)."""

from __future__ import annotations

import socket
from typing import Literal

from .messages import Headers, Request, header_of

HEAD_LIMIT = 64 << 10
"""The longest request head, in bytes."""
BODY_LIMIT = 512 << 20
"""The longest request body, in bytes."""


class BadRequestError(Exception):
    """The request can't be understood: answered by `status`, then the connection closes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Reader:
    """A buffered reader of requests on one socket; it reads no byte more than it is given."""

    def __init__(self, sock: socket.socket, scheme: Literal["http", "https"], peer: str) -> None:
        self._sock = sock
        self._scheme = scheme
        self._peer = peer
        self._buffer = bytearray()

    def read(self) -> Request | None:
        """Return the next request, or None where the client has closed.

        Raises BadRequestError, and OSError where the connection broke.
        """
        head = self._head()
        if head is None:
            return None
        line, *fields = head.decode("latin-1").split("\r\n")
        words = line.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequestError(400, "malformed request line")
        method, target, version = words
        headers = _fields(fields)
        body = self._body(headers)
        return Request(method, target, headers, body, self._scheme, version, self._peer)

    def _fill(self) -> bool:
        data = self._sock.recv(256 << 10)
        self._buffer += data
        return bool(data)

    def _head(self) -> bytes | None:
        while True:
            # A blank line before a request line is ignored (RFC 9112, 2.2).
            while self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n")
            if end > HEAD_LIMIT or (end < 0 and len(self._buffer) > HEAD_LIMIT):
                raise BadRequestError(431, f"the request head is longer than {HEAD_LIMIT} bytes")
            if end >= 0:
                head = bytes(self._buffer[:end])
                del self._buffer[: end + 4]
                return head
            if not self._fill():
                return None

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._fill():
                raise ConnectionAbortedError("the client closed inside its request body")
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return data

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 2]
                return line
            if len(self._buffer) > HEAD_LIMIT:
                raise BadRequestError(400, "a chunk line without end")
            if not self._fill():
                raise ConnectionAbortedError("the client closed inside its request body")

    def _body(self, headers: Headers) -> bytes:
        coding = (header_of(headers, "transfer-encoding") or "").strip().lower()
        length = header_of(headers, "content-length")
        if coding and coding != "chunked":
            raise BadRequestError(501, f"transfer coding {coding} is not supported")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise BadRequestError(400, f"malformed Content-Length {length!r}")
        if not coding and length is not None and int(length) > BODY_LIMIT:
            raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")
        if not coding and not (length and int(length)):
            return b""
        if (header_of(headers, "expect") or "").lower() == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._chunks() if coding else self._take(int(length or 0))

    def _chunks(self) -> bytes:
        body = bytearray()
        while True:
            text = self._line().partition(b";")[0].strip()
            try:
                size = int(text, 16)
            except ValueError:
                raise BadRequestError(400, "malformed chunk size") from None
            if size < 0 or len(body) + size > BODY_LIMIT:
                raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")
            if size == 0:
                for _ in range(100):
                    if not self._line():
                        return bytes(body)
                raise BadRequestError(431, "too many trailer fields")
            body += self._take(size)
            if self._take(2) != b"\r\n":
                raise BadRequestError(400, "malformed chunk")


def _fields(lines: list[str]) -> Headers:
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "malformed header line")
        headers.append((name, value.strip(" \t")))
    return tuple(headers)
