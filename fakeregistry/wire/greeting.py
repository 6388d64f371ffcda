"""A greeting: how a connection begins and lives, as values that connection faults edit.

What the listener does with a connection before, between and beside the answers stands here; what
an answer says stands in its script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fakeregistry.script import End, Wait

from .certificates import HTTP1, ServerCertificate

OldVersion = str
"""A version of TLS that nobody should speak any more: one of `OLD_VERSIONS`."""

OLD_VERSIONS = ("1.0", "1.1")
STREAMS = 100
"""How many requests an HTTP/2 client may have open at once, unless told otherwise."""


@dataclass(frozen=True)
class Say:
    """Send these bytes as they are: also where TLS is expected."""

    data: bytes


@dataclass(frozen=True)
class Greeting:
    """How a connection goes. Without edits: as an honest server's.

    `certificate` None means plain HTTP; `spare` makes a valid one for a port that speaks TLS
    though nobody expects it. `opening` happens on accept, before anything is read. `hello` happens
    when the client has begun to speak, and takes the place of what would be answered unless it
    ends in waits. `to_plain` is what a TLS port says to plain HTTP; empty: an honest 400 in words
    of HTTP. `flight` bytes of TLS handshake are sent, then `pause` is waited. `offered` are
    the protocols of ALPN, best first. `version` is the one (old) version of TLS that is spoken.
    `deaf_from`: after so many requests nothing is read and nothing said for as long as `deaf` says.
    `requests`: so many are answered, then the connection closes, `announced` by a header (on
    HTTP/2: by GOAWAY). On HTTP/2 so many `streams` may be open at once, and for as long as `shut`
    says the window for request bodies is zero.
    """

    certificate: ServerCertificate | None = None
    spare: Callable[[], ServerCertificate] | None = None
    opening: tuple[Wait | End, ...] = ()
    hello: tuple[Wait | Say | End, ...] = ()
    to_plain: bytes = b""
    flight: int = 0
    pause: Wait | None = None
    offered: tuple[str, ...] = HTTP1
    version: OldVersion | None = None
    deaf_from: int = 0
    deaf: Wait | None = None
    requests: int | None = None
    announced: bool = True
    streams: int = STREAMS
    shut: Wait | None = None

    @property
    def tls(self) -> bool:
        """Whether the connection begins with a TLS handshake."""
        return self.certificate is not None
