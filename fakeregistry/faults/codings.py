"""Faults of content coding (RFC 9110, 8.4): a body that is truly coded, and one that isn't."""

from __future__ import annotations

import importlib
import importlib.util
import re
import zlib
from dataclasses import dataclass, replace

from fakeregistry.content.compression import compress
from fakeregistry.honest.parts import serve
from fakeregistry.messages import (
    Buffer,
    Content,
    Headers,
    Request,
    header_of,
    headers_of,
    with_header,
    without_header,
)
from fakeregistry.script import Script

from .base import Faults, Setting
from .headers import Header

CODINGS = ("gzip", "x-gzip", "zstd", "deflate", "br")
_ELEMENT = re.compile(r"\s*([^;\s]+)\s*(?:;\s*q\s*=\s*([0-9.]+)\s*)?", re.IGNORECASE)


def encode(coding: str, data: Buffer) -> bytes:
    """Return the data in a coding; the same for the same data."""
    match coding:
        case "gzip" | "x-gzip":
            return compress(bytes(data), "gzip")
        case "zstd":
            return compress(bytes(data), "zstd")
        case "deflate":
            return zlib.compress(data)
        case "br":
            coded: bytes = importlib.import_module("brotli").compress(bytes(data), quality=5)
            return coded
    raise ValueError(f"content_encode {coding!r}: {', '.join(CODINGS)}")


def accepted(coding: str, request: Request) -> bool:
    """Whether Accept-Encoding names a coding (RFC 9110, 12.5.3); x-gzip goes by gzip's name too."""
    weights: dict[str, float] = {}
    for value in headers_of(request.headers, "accept-encoding"):
        for element in value.split(","):
            match = _ELEMENT.fullmatch(element)
            if match is not None:
                weights[match[1].lower()] = _weight(match[2])
    names = ("x-gzip", "gzip") if coding in ("gzip", "x-gzip") else (coding,)
    for name in (*names, "*"):
        if name in weights:
            return weights[name] > 0
    return False


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


@dataclass(frozen=True)
class ContentEncode:
    """Code the body by gzip, x-gzip, zstd, deflate or br (with `pullproof[brotli]`) where accepted.

    `always`: whatever the client accepts. All is true: length, Vary, an ETag of its own, and a
    Range means bytes of the coded body (RFC 9110, 14.1.2). Docker-Content-Digest goes on to name
    the object itself.
    """

    coding: str = "gzip"
    always: bool = False

    def __post_init__(self) -> None:
        if self.coding not in CODINGS:
            raise ValueError(f"content_encode {self.coding!r}: {', '.join(CODINGS)}")
        if self.coding == "br" and importlib.util.find_spec("brotli") is None:
            raise ValueError("content_encode 'br' needs: pip install 'pullproof[brotli]'")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Code the whole, and serve it or the part that was asked for."""
        if script.status not in (200, 206) or not script.length:
            return script
        if not self.always and not accepted(self.coding, setting.request):
            return script
        whole = script.body
        if script.status == 206 and script.content is not None:
            whole = script.content.data
        kind = header_of(script.headers, "Content-Type") or "application/octet-stream"
        digest = script.content.digest if script.content else None
        content = Content(encode(self.coding, whole), kind, digest)
        headers = with_header(self._headers(script.headers), "Content-Encoding", self.coding)
        headers = with_header(headers, "Vary", "Accept-Encoding")
        if header_of(script.headers, "Accept-Ranges") is None:
            return replace(script.with_reply(200, headers, content.data), content=content)
        own = without_header(headers, "Content-Type", "Content-Range", "Accept-Ranges")
        reply = serve(content, own, setting.request)
        coded = script.with_reply(reply.status, reply.headers, reply.body)
        return replace(coded, content=reply.content, start=reply.start)

    def _headers(self, headers: Headers) -> Headers:
        """Return the headers with an ETag that differs from the one of the body as it is."""
        tag = header_of(headers, "ETag")
        if tag is None or not tag.endswith('"'):
            return headers
        return with_header(headers, "ETag", f'{tag[:-1]}-{self.coding}"')


@dataclass(frozen=True)
class ContentEncodingLabel:
    """Say that the body is in this coding, and leave it as it is: a false label."""

    value: str

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set the header of a successful answer."""
        if script.status >= 300:
            return script
        return Header("Content-Encoding", self.value).edit(script, setting)


FAULTS: Faults = {
    "content_encode": ContentEncode,
    "content_encoding_label": ContentEncodingLabel,
}
