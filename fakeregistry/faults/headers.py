"""Faults of headers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from fakeregistry.messages import header_of, with_header, without_header
from fakeregistry.script import Script

from .base import Faults, Setting, on_http2


def _check(name: str, value: str = "") -> None:
    if any(char in name + value for char in "\r\n\0") or not name:
        raise ValueError(f"header {name!r}: names and values are single lines")
    if name.lower() in ("content-length", "transfer-encoding"):
        raise ValueError(
            f"header {name}: framing is set by wrong_content_length, content_length_text,"
            " no_content_length or chunked"
        )


@dataclass(frozen=True)
class Header:
    """Set a header: the last word over whatever stood there."""

    name: str
    value: str

    def __post_init__(self) -> None:
        _check(self.name, self.value)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set it."""
        return replace(script, headers=with_header(script.headers, self.name, self.value))


@dataclass(frozen=True)
class AddHeader:
    """Say a header once more, beside the lines of this name that stand there."""

    name: str
    value: str

    def __post_init__(self) -> None:
        _check(self.name, self.value)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Add a line."""
        return replace(script, headers=(*script.headers, (self.name, self.value)))


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
class RenameHeader:
    """Say a header by another name, such as one in odd case: `docker-content-DIGEST`.

    Names are lower-case in HTTP/2: another case alone has nothing to bite on there.
    """

    name: str
    to: str

    def __post_init__(self) -> None:
        _check(self.to)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Rename each line of this name."""
        wanted = self.name.lower()
        if header_of(script.headers, wanted) is None:
            return script
        if on_http2(setting) and self.to.lower() == wanted:
            return script
        return replace(
            script,
            headers=tuple(
                (self.to if name.lower() == wanted else name, value)
                for name, value in script.headers
            ),
        )


@dataclass(frozen=True)
class RawHeader:
    """Write a line into the head just as it stands; it ends by CR LF where it has no line end.

    For what no header is: no colon, blanks before it, a folded line (a value with CR LF and a
    blank), a bare LF, bytes that are no text. HTTP/2 can't say it: nothing to bite on there.
    """

    text: str | bytes

    def __post_init__(self) -> None:
        if not self.text:
            raise ValueError("raw_header needs a text")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Add the bytes after the headers."""
        if on_http2(setting):
            return script
        line = self.text.encode() if isinstance(self.text, str) else self.text
        line = line if line.endswith(b"\n") else line + b"\r\n"
        return replace(script, writing=replace(script.writing, raw=(*script.writing.raw, line)))


@dataclass(frozen=True)
class DigestHeader:
    """Set Docker-Content-Digest to a value; None drops it, "wrong" is a well-formed lie.

    "of_body" is the SHA-256 of what this answer's body will be, after the faults that stand before
    this one: the forger's header. "sha512" is the true digest of that body by another algorithm.
    """

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header of a successful answer."""
        if script.status >= 300:
            return script
        if self.value is None:
            return DropHeader("Docker-Content-Digest").edit(script, setting)
        value = self.value
        if value == "wrong":
            value = "sha256:" + "0123456789abcdef" * 4
        elif value in ("of_body", "sha512"):
            state = hashlib.sha256() if value == "of_body" else hashlib.sha512()
            for piece in script.pieces():
                state.update(piece)
            value = f"{state.name}:{state.hexdigest()}"
        return Header("Docker-Content-Digest", value).edit(script, setting)


@dataclass(frozen=True)
class ContentType:
    """Set the Content-Type to a value; None drops it.

    The value is all that stands there: "application/json; charset=utf-8", upper case and a bare
    ";" at the end are said in it.
    """

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header."""
        if self.value is None:
            return DropHeader("Content-Type").edit(script, setting)
        return Header("Content-Type", self.value).edit(script, setting)


@dataclass(frozen=True)
class ContentTypeAlternate:
    """Say another one of these Content-Types in each answer, in turn."""

    values: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("content_type_alternate needs at least one value")

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header."""
        value = self.values[(setting.count - 1) % len(self.values)]
        return Header("Content-Type", value).edit(script, setting)


@dataclass(frozen=True)
class ETag:
    """Set the ETag to a value, quotes and all; None drops it.

    Only the answer changes: If-None-Match and If-Range go on to be judged by the true ETag, which
    is the quoted digest.
    """

    value: str | None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header of a successful answer."""
        if script.status >= 300 and script.status != 304:
            return script
        if self.value is None:
            return DropHeader("ETag").edit(script, setting)
        return Header("ETag", self.value).edit(script, setting)


@dataclass(frozen=True)
class ETagChanges:
    """Say another ETag in each answer, as if the object had changed: no If-Range is met then."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Replace the header."""
        return ETag(f'"version-{setting.count}"').edit(script, setting)


FAULTS: Faults = {
    "header": Header,
    "add_header": AddHeader,
    "drop_header": DropHeader,
    "rename_header": RenameHeader,
    "raw_header": RawHeader,
    "digest_header": DigestHeader,
    "content_type": ContentType,
    "content_type_alternate": ContentTypeAlternate,
    "etag": ETag,
    "etag_changes": ETagChanges,
}
