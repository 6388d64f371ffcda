"""The log of pytest-httpserver: requests and answers as werkzeug knows them, made when read.

Nearly nobody reads it, and making werkzeug's objects for each request would cost more than
answering.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, overload

from werkzeug import Request as HTTPRequest
from werkzeug import Response as HTTPResponse

from fakeregistry.messages import Reply, Request

LIMIT = 10_000
"""How many exchanges are kept, the newest."""
BODY_LIMIT = 64 << 10
"""The longest request body that is kept whole, in bytes; a longer one is cut there."""

Pair = tuple[HTTPRequest, HTTPResponse]


class HTTPLog(Sequence[Pair]):
    """A list to those who read it. It takes werkzeug's pairs, and our own by `note`."""

    def __init__(self, host: Callable[[], str], pairs: Iterable[Pair] = ()) -> None:
        self._host = host
        self._entries: deque[Pair | tuple[Request, int, tuple[tuple[str, str], ...]]] = deque(
            pairs, LIMIT
        )

    def note(self, request: Request, reply: Reply) -> None:
        """Add a request and its honest answer."""
        if len(request.body) > BODY_LIMIT:
            request = replace(request, body=request.body[:BODY_LIMIT])
        self._entries.append((request, reply.status, reply.headers))

    def append(self, pair: Pair) -> None:
        """Add a pair, as pytest-httpserver does."""
        self._entries.append(pair)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Pair]:
        return map(self._pair, list(self._entries))

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        if isinstance(index, slice):
            return [self._pair(entry) for entry in list(self._entries)[index]]
        return self._pair(self._entries[index])

    def _pair(self, entry: Any) -> Pair:
        if len(entry) == 2:
            request, response = entry
            return request, response
        request, status, headers = entry
        response = HTTPResponse(status=status, headers=list(headers))
        return as_http_request(request, self._host()), response


def as_http_request(request: Request, host: str) -> HTTPRequest:
    """Return the request as werkzeug knows it: for handlers and the log of pytest-httpserver."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode().decode("latin-1"),
        "QUERY_STRING": request.raw_query,
        "REQUEST_URI": request.target,
        "RAW_URI": request.target,
        "SERVER_NAME": host.rpartition(":")[0],
        "SERVER_PORT": host.rpartition(":")[2],
        "SERVER_PROTOCOL": request.version,
        "REMOTE_ADDR": request.peer.rpartition(":")[0],
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": BytesIO(request.body),
        "wsgi.input_terminated": True,
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    http = HTTPRequest(environ)
    http.get_data()
    return http
