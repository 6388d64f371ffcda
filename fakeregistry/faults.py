"""Faults: small frozen values that each edit a script in exactly one way.

`FAULTS` names them in the field's words; the names and arguments are the same in Python (methods of
a rule) and in TOML (`fault = "truncate_after"`, `n = 100`). A fault that has nothing to bite on
returns the script unchanged (a HEAD has no body to cut): then its rule has not fired.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from .gate import Gate
from .messages import (
    ERROR_CODES,
    Buffer,
    Headers,
    Request,
    error_document,
    header_of,
    with_header,
    without_header,
)
from .script import End, EndKind, Pace, Script, Wait


def _no_place(to: str | None, path: str | None, script: Script) -> str:
    raise ValueError(f"redirect: no registry named {to!r}")


@dataclass(frozen=True)
class Setting:
    """Where a fault acts: the request, the gate of its rule, and how to place an object elsewhere.

    `place(to, path, script)` puts what the script serves at another registry and returns its URL.
    """

    request: Request
    gate: Gate = field(default_factory=Gate)
    place: Callable[[str | None, str | None, Script], str] = _no_place


class Fault(Protocol):
    """What a rule does: a pure function from script to script."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Return the edited script, or the same one where there is nothing to bite on."""
        ...


def _at_least(name: str, value: float, least: float) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}: it must be at least {least}")


# Status, headers, body


@dataclass(frozen=True)
class Status:
    """Answer with this status and an OCI error body (or `body`), whatever would have been said."""

    code: int
    body: str | bytes | None = None
    retry_after: int | str | None = None

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 999:
            raise ValueError(f"status code {self.code}: it must lie between 200 and 999")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace status and body."""
        headers: Headers = ()
        if self.body is not None:
            body = self.body.encode() if isinstance(self.body, str) else self.body
            headers = (("Content-Type", "text/plain; charset=utf-8"),)
        elif self.code >= 400:
            body = error_document(*ERROR_CODES.get(self.code, ERROR_CODES[500]))
            headers = (("Content-Type", "application/json"),)
        else:
            body = b""
        if self.retry_after is not None:
            headers = (*headers, ("Retry-After", str(self.retry_after)))
        return script.with_reply(self.code, headers, body)


@dataclass(frozen=True)
class TooManyRequests:
    """Answer 429 with Retry-After (seconds, or raw text; None leaves it out)."""

    retry_after: int | str | None = 1

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the answer."""
        return Status(429, retry_after=self.retry_after).edit(script, setting)


@dataclass(frozen=True)
class Header:
    """Set a header: the last word over whatever stood there."""

    name: str
    value: str

    def __post_init__(self) -> None:
        if any(char in self.name + self.value for char in "\r\n\0") or not self.name:
            raise ValueError(f"header {self.name!r}: names and values are single lines")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set it."""
        if self.name.lower() == "content-length":
            raise ValueError("header Content-Length: use wrong_content_length or no_content_length")
        return replace(script, headers=with_header(script.headers, self.name, self.value))


@dataclass(frozen=True)
class DropHeader:
    """Leave a header away."""

    name: str

    def edit(self, script: Script, setting: Setting) -> Script:
        """Drop it where it stands."""
        if header_of(script.headers, self.name) is None:
            return script
        return replace(script, headers=without_header(script.headers, self.name))


@dataclass(frozen=True)
class DigestHeader:
    """Set Docker-Content-Digest to a value; None drops it, "wrong" is a well-formed lie."""

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header of a successful answer."""
        if script.status >= 300:
            return script
        if self.value is None:
            return DropHeader("Docker-Content-Digest").edit(script, setting)
        value = "sha256:" + "0123456789abcdef" * 4 if self.value == "wrong" else self.value
        return Header("Docker-Content-Digest", value).edit(script, setting)


@dataclass(frozen=True)
class ContentType:
    """Set the Content-Type to a value; None drops it."""

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header."""
        if self.value is None:
            return DropHeader("Content-Type").edit(script, setting)
        return Header("Content-Type", self.value).edit(script, setting)


@dataclass(frozen=True)
class Body:
    """Say these bytes instead, with a true length; status and other headers stay."""

    data: bytes | str
    content_type: str | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the body."""
        data = self.data.encode() if isinstance(self.data, str) else self.data
        headers = script.headers
        if self.content_type is not None:
            headers = with_header(headers, "Content-Type", self.content_type)
        return replace(script, headers=headers, body=data)


@dataclass(frozen=True)
class Swap:
    """Serve another object's bytes under this object's name; a part stays a part."""

    other: Buffer

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the bytes, from the same offset and with the same headers."""
        if script.status not in (200, 206):
            return script
        part = self.other
        if script.status == 206:
            part = memoryview(self.other)[script.start : script.start + len(script.body)]
        return replace(script, body=part)


@dataclass(frozen=True)
class ErrorBody:
    """Give an error answer another body: form "oci", "html", "text", "empty" or "huge" (1 MiB)."""

    code: str = "UNKNOWN"
    message: str = "unknown error"
    detail: Any = None
    form: str = "oci"

    def __post_init__(self) -> None:
        if self.form not in ("oci", "html", "text", "empty", "huge"):
            raise ValueError(f"error_body form {self.form!r}: oci, html, text, empty or huge")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the body of an answer of 400 and above."""
        if script.status < 400:
            return script
        kind, body = "application/json", error_document(self.code, self.message, self.detail)
        if self.form == "html":
            kind = "text/html"
            body = f"<html><body><h1>{self.code}</h1><p>{self.message}</p></body></html>".encode()
        elif self.form == "text":
            kind, body = "text/plain", self.message.encode()
        elif self.form == "empty":
            kind, body = "text/plain", b""
        elif self.form == "huge":
            body = error_document(self.code, self.message + "x" * (1 << 20), self.detail)
        return replace(script, headers=with_header(script.headers, "Content-Type", kind), body=body)


@dataclass(frozen=True)
class Append:
    """Send `n` bytes more than the object has; the length says so truthfully."""

    n: int

    def __post_init__(self) -> None:
        _at_least("append", self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Lengthen the body."""
        return replace(script, filler=script.filler + self.n) if script.has_body else script


@dataclass(frozen=True)
class InfiniteBody:
    """Go on after the true body, chunked and without an end in sight; `cap` bytes bound it."""

    cap: int = 1 << 30

    def __post_init__(self) -> None:
        _at_least("infinite_body", self.cap, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Lengthen the body to the cap, and cut there."""
        if not script.has_body:
            return script
        filler = max(0, self.cap - len(script.body))
        longer = replace(script, filler=filler, framing="chunked")
        return longer.with_mark(self.cap, End("fin", terminated=False))


@dataclass(frozen=True)
class FlipByte:
    """Invert one byte of the object; a negative offset counts from its end.

    The offset is the object's: a part (206) that doesn't hold the byte is served unharmed.
    """

    offset: int

    def edit(self, script: Script, setting: Setting) -> Script:
        """Mark the byte."""
        if not script.has_body or script.status >= 300:
            return script
        whole = len(script.content.data) if script.content else len(script.body)
        at = (self.offset if self.offset >= 0 else whole + self.offset) - script.start
        if not 0 <= at < len(script.body):
            return script
        return replace(script, flips=(*script.flips, at))


# Time


@dataclass(frozen=True)
class DelayHeaders:
    """Say nothing for `seconds` before the status line; None: until released."""

    seconds: float | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait first."""
        return replace(script, before=(*script.before, Wait(self.seconds, setting.gate)))


@dataclass(frozen=True)
class StallAfter:
    """Send `n` bytes of the body, then nothing for `seconds`; None: until released."""

    n: int
    seconds: float | None = None

    def __post_init__(self) -> None:
        _at_least("stall_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait inside the body."""
        if not script.has_body or self.n > script.length:
            return script
        return script.with_mark(self.n, Wait(self.seconds, setting.gate))


@dataclass(frozen=True)
class Throttle:
    """Send the body at about this rate, in ten slices a second at the most."""

    bytes_per_second: int

    def __post_init__(self) -> None:
        _at_least("throttle", self.bytes_per_second, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set the pace."""
        if not script.has_body:
            return script
        size = max(1, self.bytes_per_second // 10)
        return replace(script, pace=Pace(size, size / self.bytes_per_second))


@dataclass(frozen=True)
class Drip:
    """Send `size` bytes, wait `every` seconds, and so on."""

    size: int = 1
    every: float = 1.0

    def __post_init__(self) -> None:
        _at_least("drip", self.size, 1)
        _at_least("drip every", self.every, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set the pace."""
        return replace(script, pace=Pace(self.size, self.every)) if script.has_body else script


# Connection


def _cut(script: Script, n: int, kind: EndKind) -> Script:
    return script.with_mark(n, End(kind)) if script.has_body and n < script.length else script


@dataclass(frozen=True)
class TruncateAfter:
    """Promise the whole body, send `n` bytes, and close in good order (TLS says goodbye; FIN).

    With a chunked body, `terminated` sends the last chunk: then only the size tells.
    """

    n: int
    terminated: bool = False

    def __post_init__(self) -> None:
        _at_least("truncate_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        if not script.has_body or self.n >= script.length:
            return script
        return script.with_mark(self.n, End("fin", terminated=self.terminated))


@dataclass(frozen=True)
class CloseAfter:
    """Send `n` bytes of the body, then FIN alone: under TLS nobody says goodbye."""

    n: int = 0

    def __post_init__(self) -> None:
        _at_least("close_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        cut = _cut(script, self.n, "drop")
        if cut is not script:
            cut = replace(cut, marks=(*cut.marks[:-1], (self.n, End("drop", terminated=False))))
        return cut


@dataclass(frozen=True)
class ResetAfter:
    """Send `n` bytes of the body, then RST."""

    n: int = 0

    def __post_init__(self) -> None:
        _at_least("reset_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        return _cut(script, self.n, "rst")


@dataclass(frozen=True)
class ResetBeforeHeaders:
    """Read the request, then RST without a word."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """End first."""
        return replace(script, before=(*script.before, End("rst")))


# Lengths


@dataclass(frozen=True)
class WrongContentLength:
    """State a length that is off by `delta`; after the true body the connection closes."""

    delta: int

    def edit(self, script: Script, setting: Setting) -> Script:
        """Promise another length."""
        promised = script.length + self.delta
        if promised < 0 or self.delta == 0 or script.framing != "length":
            return script
        end: EndKind = "keep" if script.head_only else "fin"
        return replace(script, promised=promised, end=end)


@dataclass(frozen=True)
class NoContentLength:
    """State no length: the end of the connection ends the body."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Frame by closing."""
        return replace(script, framing="close")


@dataclass(frozen=True)
class Chunked:
    """Send the body in chunks, without Content-Length."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Frame by chunks."""
        return replace(script, framing="chunked")


# Range


def _part(script: Script) -> tuple[Buffer, int, int] | None:
    """Return (whole object, first, end) of a partial answer, or None."""
    if script.status != 206 or script.content is None:
        return None
    return script.content.data, script.start, script.start + len(script.body)


@dataclass(frozen=True)
class RangeIgnored:
    """Answer a Range request with 200 and the whole object, without a hint of ranges."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve the whole."""
        part = _part(script)
        if part is None:
            return script
        headers = without_header(script.headers, "Content-Range", "Accept-Ranges")
        return replace(script, status=200, headers=headers, body=part[0], start=0)


@dataclass(frozen=True)
class RangeStatus:
    """Answer a Range request with this status."""

    code: int = 416

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse the part."""
        if setting.request.header("range") is None:
            return script
        whole = len(script.content.data) if script.content else None
        refused = Status(self.code).edit(script, setting)
        if self.code != 416 or whole is None:
            return refused
        return Header("Content-Range", f"bytes */{whole}").edit(refused, setting)


@dataclass(frozen=True)
class RangeWrongOffset:
    """Answer a Range request with a part that begins `delta` bytes off.

    The Content-Range tells truly what is sent; with `labelled=False` it claims what was asked.
    """

    delta: int
    labelled: bool = True

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve another part."""
        part = _part(script)
        if part is None or self.delta == 0:
            return script
        whole, first, end = part
        moved = first + self.delta
        if not 0 <= moved < len(whole):
            return script
        stop = (
            len(whole) if end == len(whole) and self.labelled else min(len(whole), end + self.delta)
        )
        body = memoryview(whole)[moved:stop]
        if not body:
            return script
        headers = script.headers
        if self.labelled:
            claim = f"bytes {moved}-{moved + len(body) - 1}/{len(whole)}"
            headers = with_header(headers, "Content-Range", claim)
        return replace(script, headers=headers, body=body, start=moved)


@dataclass(frozen=True)
class PartialNoContentRange:
    """Answer 206 without Content-Range."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Drop the header of a part."""
        return script if script.status != 206 else DropHeader("Content-Range").edit(script, setting)


# Second origins


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere: to a registry of the topology (by name), or to a URL.

    A registry serves the very same object there, under a signed path and without auth. `path`
    replaces the signed path; with neither, the Location is a relative path on the same host.
    """

    to: str | None = None
    code: int = 307
    path: str | None = None

    def __post_init__(self) -> None:
        if self.code not in (300, 301, 302, 303, 307, 308):
            raise ValueError(f"redirect code {self.code}: 300, 301, 302, 303, 307 or 308")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Answer with a Location."""
        if script.status >= 300:
            return script
        location = self.to
        if location is None or "://" not in location:
            location = setting.place(self.to, self.path, script)
        return script.with_reply(self.code, (("Location", location),), b"")


FAULTS: Mapping[str, Callable[..., Fault]] = {
    "status": Status,
    "too_many_requests": TooManyRequests,
    "header": Header,
    "drop_header": DropHeader,
    "digest_header": DigestHeader,
    "content_type": ContentType,
    "body": Body,
    "swap": Swap,
    "error_body": ErrorBody,
    "append": Append,
    "infinite_body": InfiniteBody,
    "flip_byte": FlipByte,
    "delay_headers": DelayHeaders,
    "stall_after": StallAfter,
    "throttle": Throttle,
    "drip": Drip,
    "truncate_after": TruncateAfter,
    "close_after": CloseAfter,
    "reset_after": ResetAfter,
    "reset_before_headers": ResetBeforeHeaders,
    "wrong_content_length": WrongContentLength,
    "no_content_length": NoContentLength,
    "chunked": Chunked,
    "range_ignored": RangeIgnored,
    "range_status": RangeStatus,
    "range_wrong_offset": RangeWrongOffset,
    "partial_no_content_range": PartialNoContentRange,
    "redirect": Redirect,
}


def fault(name: str, arguments: Mapping[str, Any]) -> Fault:
    """Make a fault by its name and arguments, as a scenario file states them.

    Raises ValueError with one line that names the fault, what is wrong, and what would be right.
    """
    make = FAULTS.get(name)
    if make is None:
        raise ValueError(f"unknown fault {name!r}: one of {', '.join(FAULTS)}")
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as problem:
        raise ValueError(f"fault {name}: {problem}; it takes {inspect.signature(make)}") from None
    return make(**arguments)


def name_of(given: Fault) -> str:
    """Return a fault as words: its name and what differs from its defaults."""
    name = next(
        (name for name, kind in FAULTS.items() if kind is type(given)), type(given).__name__
    )
    if not dataclasses.is_dataclass(given):
        return name
    words = []
    for item in dataclasses.fields(given):
        value = getattr(given, item.name)
        if value != item.default:
            words.append(f"{len(value)} bytes" if isinstance(value, Buffer) else f"{value}")
    return f"{name}({', '.join(words)})"
