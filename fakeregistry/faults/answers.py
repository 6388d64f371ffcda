"""Faults in what is said: status, headers, body."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fakeregistry.messages import (
    ERROR_CODES,
    Buffer,
    Headers,
    error_document,
    header_of,
    with_header,
    without_header,
)
from fakeregistry.script import End, Script

from .base import Setting, at_least


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
        if self.name.lower() in ("content-length", "transfer-encoding"):
            raise ValueError(
                f"header {self.name}: framing is set by wrong_content_length,"
                " no_content_length or chunked"
            )

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set it."""
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
