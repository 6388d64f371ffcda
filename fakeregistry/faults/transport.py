"""Faults of time, and of how the connection ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.script import End, EndKind, Pace, Script, Wait

from .base import Faults, Setting, at_least


@dataclass(frozen=True)
class DelayHeaders:
    """Say nothing for `seconds` before the status line; None: until released."""

    seconds: float | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait first."""
        return replace(script, before=(*script.before, Wait(self.seconds, setting.gate)))


@dataclass(frozen=True)
class StallAfter:
    """Send `n` bytes of the body, then nothing for `seconds`; None: until released."""

    n: int
    seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("stall_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait inside the body."""
        if not script.has_body or self.n > script.length:
            return script
        return script.with_mark(self.n, Wait(self.seconds, setting.gate))


@dataclass(frozen=True)
class Throttle:
    """Send the body at about this rate, in ten slices a second at the most."""

    bytes_per_second: int

    def __post_init__(self) -> None:
        at_least("throttle", self.bytes_per_second, 1)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set the pace."""
        if not script.has_body:
            return script
        size = max(1, self.bytes_per_second // 10)
        return replace(script, pace=Pace(size, size / self.bytes_per_second))


@dataclass(frozen=True)
class Drip:
    """Send `size` bytes, wait `every` seconds, and so on."""

    size: int = 1
    every: float = 1.0

    def __post_init__(self) -> None:
        at_least("drip", self.size, 1)
        at_least("drip every", self.every, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Set the pace."""
        return replace(script, pace=Pace(self.size, self.every)) if script.has_body else script


def _cut(script: Script, n: int, kind: EndKind, *, terminated: bool = False) -> Script:
    if not script.has_body or n >= script.length:
        return script
    return script.with_mark(n, End(kind, terminated=terminated))


@dataclass(frozen=True)
class TruncateAfter:
    """Promise the whole body, send `n` bytes, and close in good order (TLS says goodbye; FIN).

    With a chunked body, `terminated` sends the last chunk: then only the size tells.
    """

    n: int
    terminated: bool = False

    def __post_init__(self) -> None:
        at_least("truncate_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        return _cut(script, self.n, "fin", terminated=self.terminated)


@dataclass(frozen=True)
class CloseAfter:
    """Send `n` bytes of the body, then FIN alone: under TLS nobody says goodbye."""

    n: int = 0

    def __post_init__(self) -> None:
        at_least("close_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        return _cut(script, self.n, "drop")


@dataclass(frozen=True)
class ResetAfter:
    """Send `n` bytes of the body, then RST."""

    n: int = 0

    def __post_init__(self) -> None:
        at_least("reset_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body."""
        return _cut(script, self.n, "rst")


@dataclass(frozen=True)
class ResetBeforeHeaders:
    """Read the request, then RST without a word."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """End first."""
        return replace(script, before=(*script.before, End("rst")))


FAULTS: Faults = {
    "delay_headers": DelayHeaders,
    "stall_after": StallAfter,
    "throttle": Throttle,
    "drip": Drip,
    "truncate_after": TruncateAfter,
    "close_after": CloseAfter,
    "reset_after": ResetAfter,
    "reset_before_headers": ResetBeforeHeaders,
}
