"""Faults of a connection before and between answers: TCP, the TLS handshake, how long it serves.

They go with the target `connection()`, and fire when a connection is accepted. What is about TLS
bites on TLS ports alone, and the reverse.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from fakeregistry.script import End, Wait
from fakeregistry.wire.greeting import OLD_VERSIONS, Greeting, OldVersion, Say

from .base import Faults, Setting, at_least, one_of

ALERTS = {
    "close_notify": 0,
    "unexpected_message": 10,
    "bad_record_mac": 20,
    "handshake_failure": 40,
    "bad_certificate": 42,
    "unsupported_certificate": 43,
    "certificate_revoked": 44,
    "certificate_expired": 45,
    "certificate_unknown": 46,
    "illegal_parameter": 47,
    "unknown_ca": 48,
    "access_denied": 49,
    "decode_error": 50,
    "decrypt_error": 51,
    "protocol_version": 70,
    "insufficient_security": 71,
    "internal_error": 80,
    "inappropriate_fallback": 86,
    "user_canceled": 90,
    "unrecognized_name": 112,
    "certificate_required": 116,
    "no_application_protocol": 120,
}
"""TLS alerts by their names (RFC 8446, 6)."""


def alert_record(description: str) -> bytes:
    """Return a fatal alert as one plain TLS record (RFC 8446, 5.1 and 6)."""
    level = 1 if description in ("close_notify", "user_canceled") else 2
    return struct.pack(">BHHBB", 21, 0x0303, 2, level, ALERTS[description])


@dataclass(frozen=True)
class ResetOnAccept:
    """Accept the connection and send RST at once."""

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """End first."""
        return replace(greeting, opening=(*greeting.opening, End("rst")))


@dataclass(frozen=True)
class CloseOnAccept:
    """Accept the connection and close it at once: FIN without a word."""

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """End first."""
        return replace(greeting, opening=(*greeting.opening, End("fin")))


@dataclass(frozen=True)
class AcceptSilence:
    """Accept the connection, then read nothing and say nothing for `seconds`; None: released."""

    seconds: float | None = None

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Wait first."""
        wait = Wait(self.seconds, setting.gate)
        return replace(greeting, opening=(*greeting.opening, wait))


@dataclass(frozen=True)
class TlsStall:
    """Answer the TLS hello with `n` bytes of the handshake, then nothing for `seconds`.

    None: until released. After it the handshake goes on.
    """

    seconds: float | None = None
    n: int = 0

    def __post_init__(self) -> None:
        at_least("tls_stall", self.n, 0)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Wait inside the handshake."""
        if not greeting.tls:
            return greeting
        return replace(greeting, flight=self.n, pause=Wait(self.seconds, setting.gate))


@dataclass(frozen=True)
class TlsAlert:
    """Answer the TLS hello with a fatal alert, by its name in RFC 8446, and close."""

    description: str = "handshake_failure"

    def __post_init__(self) -> None:
        one_of("tls_alert", self.description, ALERTS)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Say so and end."""
        if not greeting.tls:
            return greeting
        steps = (Say(alert_record(self.description)), End("fin"))
        return replace(greeting, hello=(*greeting.hello, *steps))


@dataclass(frozen=True)
class RefuseTls:
    """Answer the TLS hello with nothing but the end of the connection: "close" (FIN) or "reset"."""

    how: str = "close"

    def __post_init__(self) -> None:
        one_of("refuse_tls", self.how, ("close", "reset"))

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """End after the hello."""
        if not greeting.tls:
            return greeting
        end = End("rst" if self.how == "reset" else "fin")
        return replace(greeting, hello=(*greeting.hello, end))


@dataclass(frozen=True)
class HttpOnTlsPort:
    """Speak plain HTTP on a port whose URL says https: a TLS hello is answered by words of HTTP.

    Who falls back to plain HTTP is served.
    """

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Speak plainly."""
        return replace(greeting, certificate=None) if greeting.tls else greeting


@dataclass(frozen=True)
class HttpsOnHttpPort:
    """Speak TLS on a port whose URL says http: a plain request is answered by a TLS alert.

    Who turns to TLS is served, with a valid certificate.
    """

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Speak TLS."""
        if greeting.tls or greeting.spare is None:
            return greeting
        alert = alert_record("unexpected_message")
        return replace(greeting, certificate=greeting.spare(), to_plain=alert)


@dataclass(frozen=True)
class OldTlsVersion:
    """Speak no other TLS than this old version: "1.0" or "1.1" (both forbidden by RFC 8996)."""

    version: OldVersion = "1.1"

    def __post_init__(self) -> None:
        one_of("old_tls_version", self.version, OLD_VERSIONS)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Choose the version."""
        return replace(greeting, version=self.version) if greeting.tls else greeting


@dataclass(frozen=True)
class Alpn:
    """Offer these protocols by ALPN, best first, such as "h2" and "http/1.1"; without any: none."""

    protocols: tuple[str, ...] = ()

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Choose the protocols."""
        if not greeting.tls:
            return greeting
        return replace(greeting, offered=self.protocols)


@dataclass(frozen=True)
class MaxRequestsPerConnection:
    """Close the connection after its answer number `n`; `announced` says so by a header there."""

    n: int
    announced: bool = True

    def __post_init__(self) -> None:
        at_least("max_requests_per_connection", self.n, 1)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Count the requests."""
        return replace(greeting, requests=self.n, announced=self.announced)


@dataclass(frozen=True)
class BlackholeEstablished:
    """Answer `n` requests of a connection, then leave it open and read and say nothing on it.

    For `seconds`; None: until released.
    """

    n: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("blackhole_established", self.n, 0)

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Go deaf after so many requests."""
        wait = Wait(self.seconds, setting.gate)
        return replace(greeting, deaf_from=self.n, deaf=wait)


FAULTS: Faults = {
    "reset_on_accept": ResetOnAccept,
    "close_on_accept": CloseOnAccept,
    "accept_silence": AcceptSilence,
    "tls_stall": TlsStall,
    "tls_alert": TlsAlert,
    "refuse_tls": RefuseTls,
    "http_on_tls_port": HttpOnTlsPort,
    "https_on_http_port": HttpsOnHttpPort,
    "old_tls_version": OldTlsVersion,
    "alpn": Alpn,
    "max_requests_per_connection": MaxRequestsPerConnection,
    "blackhole_established": BlackholeEstablished,
}
