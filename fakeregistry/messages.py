"""What travels between the wire and the honest registry: a request, its facts, and a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Headers = tuple[tuple[str, str], ...]
Buffer = bytes | memoryview

Kind = Literal[
    "ping",
    "token",
    "tag_manifest",
    "manifest",
    "config",
    "blob",
    "upload",
    "tags",
    "referrers",
    "redirect_target",
    "foreign_url",
    "proxy",
    "other",
]
KINDS: tuple[Kind, ...] = (
    "ping",
    "token",
    "tag_manifest",
    "manifest",
    "config",
    "blob",
    "upload",
    "tags",
    "referrers",
    "redirect_target",
    "foreign_url",
    "proxy",
    "other",
)


def header_of(headers: Headers, name: str) -> str | None:
    """Return the first value of a header by its case-insensitive name, or None."""
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


def headers_of(headers: Headers, name: str) -> list[str]:
    """Return every value of a header, in the order of the wire."""
    wanted = name.lower()
    return [value for key, value in headers if key.lower() == wanted]


def with_header(headers: Headers, name: str, value: str) -> Headers:
    """Return the headers with one set: in its old place, or at the end; duplicates go."""
    wanted = name.lower()
    result: list[tuple[str, str]] = []
    placed = False
    for key, old in headers:
        if key.lower() != wanted:
            result.append((key, old))
        elif not placed:
            result.append((name, value))
            placed = True
    if not placed:
        result.append((name, value))
    return tuple(result)


def without_header(headers: Headers, *names: str) -> Headers:
    """Return the headers without those of the given names."""
    dropped = {name.lower() for name in names}
    return tuple((key, value) for key, value in headers if key.lower() not in dropped)


@dataclass(frozen=True)
class Request:
    """One request as it arrived. `target` is the raw request target, never decoded."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""
    scheme: Literal["http", "https"] = "http"
    version: str = "HTTP/1.1"
    peer: str = ""

    @property
    def path(self) -> str:
        """The percent-decoded path, without the query."""
        return unquote(self.raw_path)

    @property
    def raw_path(self) -> str:
        """The path as sent, without the query; the absolute form loses scheme and host."""
        if self.target.startswith("/"):
            return self.target.partition("?")[0].partition("#")[0]
        return urlsplit(self.target).path or "/"

    @property
    def raw_query(self) -> str:
        """What follows the first question mark, as sent."""
        return self.target.partition("?")[2]

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query as decoded pairs, in order, empty values kept."""
        return _pairs(self.raw_query)

    @property
    def form(self) -> list[tuple[str, str]]:
        """A urlencoded body as decoded pairs; empty for any other body."""
        kind = (self.header("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return []
        return _pairs(self.body.decode("utf-8", "replace"))

    def argument(self, name: str) -> str | None:
        """Return the first query value of that name, or None."""
        return next((value for key, value in self.query if key == name), None)

    def header(self, name: str) -> str | None:
        """Return the first header value of that name, or None."""
        return header_of(self.headers, name)


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return []


@dataclass(frozen=True)
class Facts:
    """What a request means to the registry: the ground on which targets match.

    `digest` is what the request asks for or what its tag points at; None where nothing is there.
    `denied` says that authentication refused the request, and `problem` why: no_credentials,
    wrong_credentials, expired_token, scope or no_right.
    """

    kind: Kind = "other"
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    denied: bool = False
    problem: str | None = None


@dataclass(frozen=True)
class Content:
    """A whole object that an answer is about, so that faults can move inside it."""

    data: Buffer
    media_type: str
    digest: str | None = None


@dataclass(frozen=True)
class Reply:
    """An honest answer. Framing headers (Content-Length) are the script's business.

    `body` is what a GET carries; a HEAD is answered by the same reply, and the wire keeps the body
    back. `content` is the whole object, of which the body is the part that begins at `start`.
    """

    status: int
    headers: Headers = ()
    body: Buffer = b""
    content: Content | None = None
    start: int = 0


@dataclass(frozen=True)
class Answer:
    """A reply together with the facts by which rules recognise it."""

    reply: Reply
    facts: Facts = field(default_factory=Facts)


def error_document(code: str, message: str, detail: object = None) -> bytes:
    """Return the OCI error body: `{"errors": [{"code", "message", "detail"}]}`."""
    entry: dict[str, Any] = {"code": code, "message": message}
    if detail is not None:
        entry["detail"] = detail
    return json.dumps({"errors": [entry]}, separators=(",", ":")).encode() + b"\n"


def error(
    status: int,
    code: str,
    message: str,
    *,
    detail: object = None,
    headers: Mapping[str, str] | Headers = (),
) -> Reply:
    """Return an error as a value, with the OCI error body."""
    extra = tuple(headers.items()) if isinstance(headers, Mapping) else headers
    document = error_document(code, message, detail)
    return Reply(status, (("Content-Type", "application/json"), *extra), document)


ERROR_CODES: dict[int, tuple[str, str]] = {
    400: ("UNSUPPORTED", "the request is not understood"),
    401: ("UNAUTHORIZED", "authentication required"),
    403: ("DENIED", "requested access to the resource is denied"),
    404: ("NAME_UNKNOWN", "not found"),
    405: ("UNSUPPORTED", "the operation is unsupported"),
    406: ("MANIFEST_UNKNOWN", "no acceptable manifest"),
    416: ("UNSUPPORTED", "the range is not satisfiable"),
    429: ("TOOMANYREQUESTS", "too many requests"),
    500: ("UNKNOWN", "internal error"),
    502: ("UNKNOWN", "bad gateway"),
    503: ("UNAVAILABLE", "service unavailable"),
    504: ("UNAVAILABLE", "gateway timeout"),
}
