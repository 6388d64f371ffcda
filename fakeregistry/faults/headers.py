"""Faults of headers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.messages import header_of, with_header, without_header
from fakeregistry.script import Script

from .base import Faults, Setting


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


FAULTS: Faults = {
    "header": Header,
    "drop_header": DropHeader,
    "digest_header": DigestHeader,
    "content_type": ContentType,
}
