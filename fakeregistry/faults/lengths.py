"""Faults of lengths and framing: how a client is told where the body ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.script import EndKind, Script

from .base import Faults, Setting


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


FAULTS: Faults = {
    "wrong_content_length": WrongContentLength,
    "no_content_length": NoContentLength,
    "chunked": Chunked,
}
