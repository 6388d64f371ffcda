"""Faults of partial answers (RFC 9110, 14)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.messages import Buffer, with_header, without_header
from fakeregistry.script import Script

from .base import Faults, Setting
from .headers import DropHeader, Header
from .status import Status


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


FAULTS: Faults = {
    "range_ignored": RangeIgnored,
    "range_status": RangeStatus,
    "range_wrong_offset": RangeWrongOffset,
    "partial_no_content_range": PartialNoContentRange,
}
