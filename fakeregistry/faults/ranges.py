"""Faults of partial answers (RFC 9110, 14). Range done right is no fault: the registry does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.honest.parts import ranges_of, serve, span
from fakeregistry.messages import (
    Buffer,
    Headers,
    Request,
    header_of,
    with_header,
    without_header,
)
from fakeregistry.script import Script

from .base import Faults, Setting, at_least
from .headers import DropHeader, Header
from .status import Status


def _part(script: Script) -> tuple[Buffer, int, int] | None:
    """Return (whole object, first, end) of a partial answer, or None."""
    if script.status != 206 or script.content is None:
        return None
    return script.content.data, script.start, script.start + len(script.body)


def _claim(headers: Headers, first: int, end: int, size: int) -> Headers:
    return with_header(headers, "Content-Range", f"bytes {first}-{end - 1}/{size}")


@dataclass(frozen=True)
class RangeIgnored:
    """Answer a Range request with 200 and the whole object, without a hint of ranges.

    A range beyond the end too, which would honestly be 416.
    """

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve the whole."""
        content = script.content
        if content is None or script.status not in (206, 416):
            return script
        headers = without_header(script.headers, "Content-Range", "Accept-Ranges")
        headers = with_header(headers, "Content-Type", content.media_type)
        return replace(script.with_body(content.data, 0), status=200, headers=headers)


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
class Range416AtEnd:
    """Answer 416 to a Range that begins within the last `n` bytes of the object: off by so many."""

    n: int = 1

    def __post_init__(self) -> None:
        at_least("range_416_at_end", self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse the part."""
        part = _part(script)
        if part is None or part[1] < len(part[0]) - self.n:
            return script
        return RangeStatus(416).edit(script, setting)


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
            headers = _claim(headers, moved, moved + len(body), len(whole))
        return replace(script, headers=headers, body=body, start=moved)


@dataclass(frozen=True)
class RangeShort:
    """Answer a Range request with a part that ends `n` bytes too early.

    The Content-Range tells truly what is sent, which is allowed (RFC 9110, 15.3.7); with
    `labelled=False` it claims what was asked.
    """

    n: int
    labelled: bool = True

    def __post_init__(self) -> None:
        at_least("range_short", self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve less."""
        part = _part(script)
        if part is None or self.n >= len(script.body):
            return script
        whole, first, end = part
        short = script.with_body(memoryview(script.body)[: -self.n])
        if self.labelled:
            short = replace(short, headers=_claim(short.headers, first, end - self.n, len(whole)))
        return short


@dataclass(frozen=True)
class RangeOverlong:
    """Answer a Range request with a part that ends `n` bytes too late, behind the object too.

    The Content-Range tells truly what is sent; with `labelled=False` it claims what was asked.
    """

    n: int
    labelled: bool = True

    def __post_init__(self) -> None:
        at_least("range_overlong", self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve more."""
        part = _part(script)
        if part is None:
            return script
        whole, first, end = part
        stop = min(len(whole), end + self.n)
        more = replace(script.with_body(memoryview(whole)[first:stop]), filler=end + self.n - stop)
        if self.labelled:
            more = replace(more, headers=_claim(more.headers, first, end + self.n, len(whole)))
        return more


@dataclass(frozen=True)
class PartialBody:
    """Answer a Range request with the part and its Content-Range, and say 200: the status lies."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Change the status alone."""
        return script if script.status != 206 else replace(script, status=200)


@dataclass(frozen=True)
class PartialNoContentRange:
    """Answer 206 without Content-Range."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Drop the header of a part."""
        return script if script.status != 206 else DropHeader("Content-Range").edit(script, setting)


@dataclass(frozen=True)
class ContentRangeTotal:
    """Say another total length in Content-Range: "*" (unknown, allowed), "wrong", or any text."""

    total: str = "wrong"

    def edit(self, script: Script, setting: Setting) -> Script:
        """Change what follows the slash."""
        claim = header_of(script.headers, "Content-Range")
        part = _part(script)
        if part is None or claim is None:
            return script
        total = str(len(part[0]) + 1) if self.total == "wrong" else self.total
        value = f"{claim.partition('/')[0]}/{total}"
        return Header("Content-Range", value).edit(script, setting)


@dataclass(frozen=True)
class UnaskedPartial:
    """Answer 206 to a GET without Range: the first `n` bytes, or all of them."""

    n: int | None = None

    def __post_init__(self) -> None:
        at_least("unasked_partial", 1 if self.n is None else self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Serve a part."""
        size = len(script.body)
        if script.status != 200 or script.content is None or not script.has_body or not size:
            return script
        if setting.request.header("range") is not None:
            return script
        end = size if self.n is None else min(size, self.n)
        part = script.with_body(memoryview(script.body)[:end], 0)
        return replace(part, status=206, headers=_claim(part.headers, 0, end, size))


@dataclass(frozen=True)
class AcceptRanges:
    """Say this in Accept-Ranges of an object, such as "none", or nothing; ranges go on to work."""

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header."""
        if script.content is None or script.status not in (200, 206):
            return script
        if self.value is None:
            return DropHeader("Accept-Ranges").edit(script, setting)
        return Header("Accept-Ranges", self.value).edit(script, setting)


@dataclass(frozen=True)
class IfRangeIgnored:
    """Serve the part that a Range asks for, though If-Range says that the object has changed."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Answer as if there were no condition."""
        asked = setting.request
        if script.status != 200 or script.content is None or asked.header("if-range") is None:
            return script
        plain = replace(asked, headers=without_header(asked.headers, "If-Range"))
        return _served_again(script, plain)


def _served_again(script: Script, request: Request) -> Script:
    """Return what the honest registry answers to another request for the same object."""
    if script.content is None:
        return script
    own = without_header(script.headers, "Content-Type", "Accept-Ranges", "Content-Range")
    reply = serve(script.content, own, request)
    if reply.status == script.status:
        return script
    again = script.with_reply(reply.status, reply.headers, reply.body)
    return replace(again, content=reply.content, start=reply.start)


_FORMS = ("200", "400", "416", "multipart", "first_range_only")


@dataclass(frozen=True)
class Multirange:
    """Answer several ranges at once in a form of its own; the honest answer is the whole.

    "multipart" is what RFC 9110, 14.6 means; "first_range_only" a single part; "400", "416" refuse;
    "200" is the whole without a hint of ranges.
    """

    form: int | str = "multipart"

    def __post_init__(self) -> None:
        if str(self.form) not in _FORMS:
            raise ValueError(f"multirange form {self.form!r}: {', '.join(_FORMS)}")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Answer in that form."""
        asked = ranges_of(setting.request)
        content = script.content
        if len(asked) < 2 or content is None or script.status != 200:
            return script
        form = str(self.form)
        if form in ("400", "416"):
            return RangeStatus(int(form)).edit(script, setting)
        if form == "200":
            return DropHeader("Accept-Ranges").edit(script, setting)
        spans = [found for one in asked if (found := span(one, len(content.data)))]
        if not spans:
            return RangeStatus(416).edit(script, setting)
        whole, size = memoryview(content.data), len(content.data)
        if form == "first_range_only":
            start, stop = spans[0]
            headers = _claim(script.headers, start, stop, size)
            return replace(script.with_body(whole[start:stop], start), status=206, headers=headers)
        kind = header_of(script.headers, "Content-Type") or content.media_type
        body = b""
        for start, stop in spans:
            head = f"--{_BOUNDARY}\r\nContent-Type: {kind}\r\n"
            head += f"Content-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n"
            body += head.encode() + bytes(whole[start:stop]) + b"\r\n"
        body += f"--{_BOUNDARY}--\r\n".encode()
        headers = with_header(
            script.headers, "Content-Type", f"multipart/byteranges; boundary={_BOUNDARY}"
        )
        return script.with_reply(206, headers, body)


_BOUNDARY = "bytes-of-one-object"

FAULTS: Faults = {
    "range_ignored": RangeIgnored,
    "range_status": RangeStatus,
    "range_416_at_end": Range416AtEnd,
    "range_wrong_offset": RangeWrongOffset,
    "range_short": RangeShort,
    "range_overlong": RangeOverlong,
    "partial_body": PartialBody,
    "partial_no_content_range": PartialNoContentRange,
    "content_range_total": ContentRangeTotal,
    "unasked_partial": UnaskedPartial,
    "accept_ranges": AcceptRanges,
    "if_range_ignored": IfRangeIgnored,
    "multirange": Multirange,
}
