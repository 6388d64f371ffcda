"""The verbs of a rule about connections, and about what an answer does to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from fakeregistry.faults import connections as c
from fakeregistry.faults import transport as t
from fakeregistry.faults.base import Fault


class ConnectionVerbs(ABC):
    """One method for each fault of `faults.connections`, and the rest of `faults.transport`."""

    @abstractmethod
    def add(self, *faults: Fault) -> Self:
        """Add faults; they act in the order in which they were added."""

    # by an answer

    def delay_first_byte(self, seconds: float | None = None) -> Self:
        """Send the headers at once, and the body `seconds` later; None: when released."""
        return self.add(t.DelayFirstByte(seconds))

    def hold_open(self, seconds: float | None = None) -> Self:
        """After the complete answer stay silent and read nothing; None: until released."""
        return self.add(t.HoldOpen(seconds))

    def half_close_after(self, n: int = 0, seconds: float | None = None) -> Self:
        """Send `n` bytes of the body, close our direction alone, and go on reading."""
        return self.add(t.HalfCloseAfter(n, seconds))

    def close_each_response(self, *, announced: bool = True) -> Self:
        """Close the connection after the answer, said so by a header or not."""
        return self.add(t.CloseEachResponse(announced))

    def kill_idle_connections(self, how: str = "rst") -> Self:
        """When the answer begins, end all other idle connections: rst, fin or silent."""
        return self.add(t.KillIdleConnections(how))

    # on accept

    def reset_on_accept(self) -> Self:
        """Accept the connection and send RST at once."""
        return self.add(c.ResetOnAccept())

    def close_on_accept(self) -> Self:
        """Accept the connection and close it at once."""
        return self.add(c.CloseOnAccept())

    def accept_silence(self, seconds: float | None = None) -> Self:
        """Accept the connection, then neither read nor say anything; None: until released."""
        return self.add(c.AcceptSilence(seconds))

    def tls_stall(self, seconds: float | None = None, n: int = 0) -> Self:
        """Answer the TLS hello with `n` bytes of the handshake, then nothing."""
        return self.add(c.TlsStall(seconds, n))

    def tls_alert(self, description: str = "handshake_failure") -> Self:
        """Answer the TLS hello with a fatal alert."""
        return self.add(c.TlsAlert(description))

    def refuse_tls(self, how: str = "close") -> Self:
        """Answer the TLS hello with the end of the connection: close or reset."""
        return self.add(c.RefuseTls(how))

    def http_on_tls_port(self) -> Self:
        """Speak plain HTTP on a port whose URL says https."""
        return self.add(c.HttpOnTlsPort())

    def https_on_http_port(self) -> Self:
        """Speak TLS on a port whose URL says http."""
        return self.add(c.HttpsOnHttpPort())

    def old_tls_version(self, version: str = "1.1") -> Self:
        """Speak no other TLS than 1.0 or 1.1."""
        return self.add(c.OldTlsVersion(version))

    def alpn(self, protocols: Sequence[str] = ()) -> Self:
        """Offer these protocols by ALPN, best first; without any: none."""
        return self.add(c.Alpn(tuple(protocols)))

    def max_requests_per_connection(self, n: int, *, announced: bool = True) -> Self:
        """Close the connection after its answer number `n`."""
        return self.add(c.MaxRequestsPerConnection(n, announced))

    def blackhole_established(self, n: int = 0, seconds: float | None = None) -> Self:
        """Answer `n` requests of a connection, then leave it open and go deaf and dumb."""
        return self.add(c.BlackholeEstablished(n, seconds))
