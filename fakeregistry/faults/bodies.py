"""Faults of the body: other bytes than the object has."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, replace
from typing import Any

from fakeregistry.messages import Buffer, error_document, with_header
from fakeregistry.script import ZEROS, End, EndKind, Script

from .base import Faults, Setting, at_least


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
        return replace(script.with_body(data), headers=headers)


@dataclass(frozen=True)
class HtmlPage:
    """Answer 200 with an HTML page, whatever would have been said: a captive portal, a sign-in.

    The headers of the true answer are gone; `keep_headers` leaves them, a digest among them.
    """

    title: str = "Sign in to the network"
    keep_headers: bool = False

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the answer."""
        title = html.escape(self.title)
        page = f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body>"
        headers = script.headers if self.keep_headers else ()
        headers = with_header(headers, "Content-Type", "text/html; charset=utf-8")
        return script.with_reply(200, headers, f"{page}</html>\n".encode())


@dataclass(frozen=True)
class EmptyBody:
    """Say no byte under the true status and headers; Content-Length says `promised`.

    Where that is more than 0, the connection closes in good order.
    """

    promised: int = 0

    def __post_init__(self) -> None:
        at_least("empty_body", self.promised, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Take the body away."""
        if script.length == 0 and self.promised == 0:
            return script
        closes = self.promised > 0 and script.may_have_body
        end: EndKind = "fin" if closes else script.end
        return replace(script.with_body(b""), lengths=(str(self.promised),), end=end)


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
        return script.with_body(part)


@dataclass(frozen=True)
class OtherContentFromOffset:
    """Serve another object's bytes from offset `n` of this object on, in parts and wholes.

    Without `n`: in every part (206), while wholes are true: the bytes of a resume don't fit what
    came before. The lengths stay; another object that is too short begins anew.
    """

    other: Buffer
    n: int | None = None

    def __post_init__(self) -> None:
        at_least("other_content_from_offset", self.n or 0, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace what lies behind the offset."""
        if script.status not in (200, 206) or not script.has_body or not len(self.other):
            return script
        if self.n is None and script.status == 200:
            return script
        own = max(0, (self.n or 0) - script.start)
        if own >= len(script.body):
            return script
        start, size = script.start + own, len(script.body) - own
        other = memoryview(self.other)
        if start + size > len(other):
            other = memoryview(bytes(other) * (1 + (start + size) // len(other)))
        foreign = other[start : start + size]
        body = bytes(memoryview(script.body)[:own]) + bytes(foreign) if own else foreign
        return replace(script, body=body)


@dataclass(frozen=True)
class ZeroFill:
    """Send zeros from offset `n` of the object on, to its true length."""

    n: int = 0

    def __post_init__(self) -> None:
        at_least("zero_fill", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace what lies behind the offset."""
        own = max(0, self.n - script.start)
        if script.status not in (200, 206) or not script.has_body or own >= len(script.body):
            return script
        zeros = script.length - own
        return replace(script, body=memoryview(script.body)[:own], filler=zeros, pattern=ZEROS)


_S3_ERROR = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{}</Code><Message>{}</Message></Error>
"""
ERROR_FORMS = (
    "oci",
    "html",
    "xml",
    "text",
    "empty",
    "huge",
    "not_json",
    "unknown_code",
    "errors_null",
    "detail_object",
)


@dataclass(frozen=True)
class ErrorBody:
    """Give an error answer another body, in one of ten forms.

    "oci" (code, message, detail), "html", "xml" (as S3 does), "text", "empty", "huge" (1 MiB);
    under application/json: "not_json" (cut off in the middle), "unknown_code" (one that no
    specification has), "errors_null", "detail_object" (a detail that is no text).
    """

    code: str = "UNKNOWN"
    message: str = "unknown error"
    detail: Any = None
    form: str = "oci"

    def __post_init__(self) -> None:
        if self.form not in ERROR_FORMS:
            raise ValueError(f"error_body form {self.form!r}: {', '.join(ERROR_FORMS)}")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the body of an answer of 400 and above."""
        if script.status < 400:
            return script
        kind, body = self._said()
        headers = with_header(script.headers, "Content-Type", kind)
        return replace(script.with_body(body), headers=headers)

    def _said(self) -> tuple[str, bytes]:
        code, message = self.code, self.message
        match self.form:
            case "html":
                page = f"<html><body><h1>{html.escape(code)}</h1><p>{html.escape(message)}</p>"
                return "text/html", f"{page}</body></html>".encode()
            case "xml":
                said = _S3_ERROR.format(html.escape(code), html.escape(message))
                return "application/xml", said.encode()
            case "text":
                return "text/plain", message.encode()
            case "empty":
                return "text/plain", b""
        detail = self.detail
        if self.form == "huge":
            message += "x" * (1 << 20)
        elif self.form == "unknown_code":
            code = "ERROR_OF_ANOTHER_AGE"
        elif self.form == "detail_object" and detail is None:
            detail = {"class": "repository", "actions": ["pull"], "limits": {"left": 0}}
        body = error_document(code, message, detail)
        if self.form == "not_json":
            body = body[: len(body) // 2]
        elif self.form == "errors_null":
            body = json.dumps({"errors": None}).encode()
        return "application/json", body


@dataclass(frozen=True)
class Append:
    """Send `n` bytes more than the object has; the length says so truthfully."""

    n: int

    def __post_init__(self) -> None:
        at_least("append", self.n, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Lengthen the body."""
        return replace(script, filler=script.filler + self.n) if script.has_body else script


@dataclass(frozen=True)
class InfiniteBody:
    """Go on after the true body, chunked and without an end in sight; `cap` bytes bound it."""

    cap: int = 1 << 30

    def __post_init__(self) -> None:
        at_least("infinite_body", self.cap, 1)

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


FAULTS: Faults = {
    "body": Body,
    "html_page": HtmlPage,
    "empty_body": EmptyBody,
    "error_body": ErrorBody,
    "swap": Swap,
    "other_content_from_offset": OtherContentFromOffset,
    "flip_byte": FlipByte,
    "zero_fill": ZeroFill,
    "append": Append,
    "infinite_body": InfiniteBody,
}
