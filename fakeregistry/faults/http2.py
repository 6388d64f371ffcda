"""Faults that HTTP/2 alone has (RFC 9113). On HTTP/1.1 they have nothing to bite on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from h2.errors import ErrorCodes

from fakeregistry.script import End, GoAway, Script, Wait
from fakeregistry.wire.greeting import Greeting

from .base import Faults, Setting, at_least, on_http2, one_of

CODES = {code.name: code.value for code in ErrorCodes}
"""Error codes by their names (RFC 9113, 7)."""

_Step = Wait | GoAway | End


def _at(script: Script, after: int | None, *steps: _Step) -> Script:
    """Return the script with steps before its head (None) or inside its body, if it has so much."""
    if after is None:
        return replace(script, before=(*script.before, *steps))
    if not script.has_body or after > script.length:
        return script
    for step in steps:
        script = script.with_mark(after, step)
    return script


@dataclass(frozen=True)
class RstStream:
    """Send `after` bytes of the body, then RST_STREAM with an error code; the connection stays.

    `after` None: in place of any answer. With all bytes sent the stream's end alone is missing:
    the body is incomplete all the same, whatever the code says.
    """

    code: str = "INTERNAL_ERROR"
    after: int | None = None

    def __post_init__(self) -> None:
        one_of("rst_stream", self.code, CODES)
        at_least("rst_stream after", self.after or 0, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Cut the stream."""
        if not on_http2(setting):
            return script
        return _at(script, self.after, End("rst_stream", code=CODES[self.code]))


@dataclass(frozen=True)
class RefusedStream:
    """Answer by RST_STREAM REFUSED_STREAM: nothing was done, ask again (RFC 9113, 8.7)."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse first."""
        return RstStream("REFUSED_STREAM").edit(script, setting)


@dataclass(frozen=True)
class Http11Required:
    """Say that this request is to come by HTTP/1.1: HTTP_1_1_REQUIRED.

    By "rst_stream", or by "goaway": the whole connection is of no use, and closes.
    """

    how: str = "rst_stream"

    def __post_init__(self) -> None:
        one_of("http_1_1_required", self.how, ("rst_stream", "goaway"))

    def edit(self, script: Script, setting: Setting) -> Script:
        """Refuse first."""
        if self.how == "goaway":
            return Goaway("HTTP_1_1_REQUIRED", None, "none").edit(script, setting)
        return RstStream("HTTP_1_1_REQUIRED").edit(script, setting)


@dataclass(frozen=True)
class Goaway:
    """Send `after` bytes of the body, then GOAWAY: this connection takes no further requests.

    `after` None: before the answer begins. `last_id` "current": this request counts as taken;
    "none": no request of the connection was, they can all be asked again. `then` "close": the
    connection closes at once, and cuts what is under way; "finish": when its answers have gone out,
    as a graceful shutdown does; "stay": never, and what is asked later is not answered.
    """

    code: str = "NO_ERROR"
    after: int | None = None
    last_id: str = "current"
    then: str = "close"

    def __post_init__(self) -> None:
        one_of("goaway", self.code, CODES)
        at_least("goaway after", self.after or 0, 0)
        one_of("goaway last_id", self.last_id, ("current", "none"))
        one_of("goaway then", self.then, ("close", "finish", "stay"))

    def edit(self, script: Script, setting: Setting) -> Script:
        """Say so, and end or go on."""
        if not on_http2(setting):
            return script
        code = CODES[self.code]
        say = GoAway(code, taken=self.last_id == "current", finishes=self.then != "stay")
        if self.then != "close":
            return _at(script, self.after, say)
        return _at(script, self.after, say, End("goaway", code=code))


@dataclass(frozen=True)
class ZeroWindow:
    """Send `n` bytes of the body, then no more for `seconds`, as if the client's window were zero.

    None: until released. All else goes on: other streams, pings, settings. `whole_connection`: no
    other body goes on either, as if the window of the connection were zero.
    """

    n: int = 0
    seconds: float | None = None
    whole_connection: bool = False

    def __post_init__(self) -> None:
        at_least("zero_window", self.n, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait inside the body."""
        if not on_http2(setting):
            return script
        return _at(script, self.n, Wait(self.seconds, setting.gate, dams=self.whole_connection))


@dataclass(frozen=True)
class MaxConcurrentStreams:
    """Allow `n` requests at once on this connection; one more is refused by REFUSED_STREAM."""

    n: int

    def __post_init__(self) -> None:
        at_least("max_concurrent_streams", self.n, 0)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Set the limit."""
        return replace(greeting, streams=self.n) if _may_speak_http2(greeting) else greeting


@dataclass(frozen=True)
class ZeroRequestWindow:
    """Give the client no window to send a request's body in, for `seconds`; None: until released.

    A GET has no body, and is answered; a token asked for by POST isn't.
    """

    seconds: float | None = None

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Shut the window."""
        if not _may_speak_http2(greeting):
            return greeting
        return replace(greeting, shut=Wait(self.seconds, setting.gate))


def _may_speak_http2(greeting: Greeting) -> bool:
    return greeting.tls and "h2" in greeting.offered


FAULTS: Faults = {
    "rst_stream": RstStream,
    "refused_stream": RefusedStream,
    "http_1_1_required": Http11Required,
    "goaway": Goaway,
    "zero_window": ZeroWindow,
    "max_concurrent_streams": MaxConcurrentStreams,
    "zero_request_window": ZeroRequestWindow,
}
