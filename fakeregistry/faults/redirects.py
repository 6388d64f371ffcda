"""Faults that send the client elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from fakeregistry.script import Script

from .base import Faults, Setting


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


FAULTS: Faults = {"redirect": Redirect}
