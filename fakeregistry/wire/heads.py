"""Request heads: what HTTP/1.1 allows in one, and nothing else (RFC 9112, 2 to 7).

What two readers could understand in two ways is refused: both lengths, two lengths, folded lines,
bare line feeds, blanks before a colon. A registry behind a proxy would be smuggled requests by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from fakeregistry.messages import Headers

FIELD_LIMIT = 256
"""The most header lines of one request, and the most lines of a trailer."""
_CACHED = 4096
"""Heads up to this size are kept parsed: a client says nearly the same in each request."""

_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_AUTHORITY = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


class BadRequestError(Exception):
    """The request can't be understood: answered by `status`, then the connection closes.

    `line` is the request line as far as it is one, for the journal.
    """

    def __init__(self, status: int, message: str, line: tuple[str, str] = ("?", "?")) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.line = line


@dataclass(frozen=True)
class Head:
    """A sound request head. `length` is that of the body: None where chunks tell it."""

    method: str
    target: str
    version: str
    headers: Headers
    length: int | None = 0
    expects: bool = False


def check_line(line: bytes) -> None:
    """Raise BadRequestError where a line is no request line: its head need not be waited for."""
    if _LINE.fullmatch(line.decode("latin-1")) is None:
        raise BadRequestError(400, "malformed request line")


def parse(head: bytes) -> Head:
    """Parse a head without its blank line; raises BadRequestError."""
    return _kept(head) if len(head) <= _CACHED else _parse(head)


def _parse(head: bytes) -> Head:
    line, *lines = head.decode("latin-1").split("\r\n")
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadRequestError(400, "malformed request line")
    method, target, major, minor = match.groups()
    said = (method, target)
    if major != "1":
        raise BadRequestError(505, f"HTTP/{major}.{minor} is not spoken here", said)
    try:
        _check_target(method, target)
        headers = _fields(lines)
        length, expects = _framing(headers, minor)
        hosts = [value for name, value in headers if name.lower() == "host"]
        if len(hosts) > 1 or (not hosts and minor != "0"):
            raise BadRequestError(400, "a request names its host once")
    except BadRequestError as problem:
        problem.line = said
        raise
    return Head(method, target, f"HTTP/1.{minor}", headers, length, expects)


_kept = lru_cache(maxsize=1024)(_parse)


def _check_target(method: str, target: str) -> None:
    if method == "CONNECT":
        if not _AUTHORITY.fullmatch(target):
            raise BadRequestError(400, "CONNECT names a host and a port")
    elif not (target.startswith("/") or target == "*"):
        try:
            host = urlsplit(target).netloc if _ABSOLUTE.match(target) else ""
        except ValueError:
            host = ""
        if not host or "@" in host:
            raise BadRequestError(400, "malformed request target")


def _fields(lines: list[str]) -> Headers:
    if len(lines) > FIELD_LIMIT:
        raise BadRequestError(431, f"more than {FIELD_LIMIT} header lines")
    headers = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise BadRequestError(400, "malformed header line")
        headers.append((match[1], match[2].rstrip(" \t")))
    return tuple(headers)


def _framing(headers: Headers, minor: str) -> tuple[int | None, bool]:
    """Return the body's length, None for a chunked one, and whether a 100 is waited for."""
    lengths: list[str] = []
    codings: list[str] = []
    expects = False
    for name, value in headers:
        match name.lower():
            case "content-length":
                lengths.append(value)
            case "transfer-encoding":
                codings.append(value)
            case "expect":
                if value.lower() != "100-continue":
                    raise BadRequestError(417, f"can't meet the expectation {value!r}")
                expects = True
    if codings:
        if lengths or minor == "0":
            raise BadRequestError(400, "Transfer-Encoding beside a length, or in HTTP/1.0")
        coding = ", ".join(codings)
        if coding.strip().lower() != "chunked":
            raise BadRequestError(501, f"transfer coding {coding} is not supported")
        return None, expects
    if len(lengths) > 1:
        raise BadRequestError(400, "more than one Content-Length")
    if lengths and not _DIGITS.fullmatch(lengths[0]):
        raise BadRequestError(400, f"malformed Content-Length {lengths[0]!r}")
    return int(lengths[0]) if lengths else 0, expects
