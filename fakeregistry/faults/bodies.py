"""Faults of the body: other bytes than the object has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from fakeregistry.messages import Buffer, error_document, with_header
from fakeregistry.script import End, Script

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


FAULTS: Faults = {
    "body": Body,
    "swap": Swap,
    "error_body": ErrorBody,
    "append": Append,
    "infinite_body": InfiniteBody,
    "flip_byte": FlipByte,
}
