"""Faults of time, and of how the connection ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.script import Act, End, EndKind, Pace, Script, Wait

from .base import Faults, Setting, at_least, on_http2, one_of


@dataclass(frozen=True)
class DelayHeaders:
    """Say nothing for `seconds` before the status line; None: until released."""

    seconds: float | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait first."""
        return replace(script, before=(*script.before, Wait(self.seconds, setting.gate)))


@dataclass(frozen=True)
class StallAfter:
    """Send `n` bytes of the body, then nothing for `seconds`; None: until released.

    `inside_record` (HTTP/1.1 over TLS): half of the next TLS record is sent before the silence.
    """

    n: int
    seconds: float | None = None
    inside_record: bool = False

    def __post_init__(self) -> None:
        at_least("stall_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait inside the body."""
        last = script.length - 1 if self.inside_record else script.length
        if not script.has_body or self.n > last:
            return script
        if self.inside_record and (setting.request.scheme != "https" or on_http2(setting)):
            return script
        return script.with_mark(self.n, Wait(self.seconds, setting.gate, self.inside_record))


@dataclass(frozen=True)
class DelayFirstByte:
    """Send the headers at once, and the first byte of the body `seconds` later; None: released."""

    seconds: float | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait between head and body."""
        if not script.has_body:
            return script
        return script.with_mark(0, Wait(self.seconds, setting.gate))


@dataclass(frozen=True)
class HoldOpen:
    """After the complete answer keep the connection open and silent, and read no next request.

    For `seconds`; None: until released.
    """

    seconds: float | None = None

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait after the end."""
        if not script.may_have_body:
            return script
        return replace(script, hold=Wait(self.seconds, setting.gate))


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
class HalfCloseAfter:
    """Send `n` bytes of the body, close our direction alone, and go on reading; never RST.

    For `seconds`, or until the client closes; None: until released. All bytes may be sent: then
    the answer is complete, and only the next request goes into the void.
    """

    n: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("half_close_after", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the body, or end after it."""
        if not script.has_body or self.n > script.length:
            return script
        hold = Wait(self.seconds, setting.gate)
        whole = self.n == script.length
        end = End("half", terminated=whole, whole=whole, hold=hold)
        return script.with_mark(self.n, end)


@dataclass(frozen=True)
class CloseEachResponse:
    """Close the connection after the answer; `announced` says so by a header, as it should be."""

    announced: bool = True

    def edit(self, script: Script, setting: Setting) -> Script:
        """End with the connection."""
        if script.end != "keep":
            return script
        return replace(script, end="close" if self.announced else "quit")


@dataclass(frozen=True)
class KillIdleConnections:
    """When the answer begins, end all other connections that are idle: by RST, FIN, or silence.

    "silent" leaves them open and answers nothing on them any more, as a lost peer does.
    """

    how: str = "rst"

    def __post_init__(self) -> None:
        one_of("kill_idle_connections", self.how, ("rst", "fin", "silent"))

    def edit(self, script: Script, setting: Setting) -> Script:
        """End them first."""
        kill = Act(lambda: setting.kill(self.how))
        return replace(script, before=(kill, *script.before))


@dataclass(frozen=True)
class ResetBeforeHeaders:
    """Read the request, then RST without a word."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """End first."""
        return replace(script, before=(*script.before, End("rst")))


FAULTS: Faults = {
    "delay_headers": DelayHeaders,
    "delay_first_byte": DelayFirstByte,
    "stall_after": StallAfter,
    "hold_open": HoldOpen,
    "throttle": Throttle,
    "drip": Drip,
    "truncate_after": TruncateAfter,
    "close_after": CloseAfter,
    "reset_after": ResetAfter,
    "half_close_after": HalfCloseAfter,
    "close_each_response": CloseEachResponse,
    "kill_idle_connections": KillIdleConnections,
    "reset_before_headers": ResetBeforeHeaders,
}
