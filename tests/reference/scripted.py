"""A transport that asks a function instead of the network, and what is needed around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from reference.auth import Authorizer
from reference.config import AuthConfig, Config
from reference.fetch import Fetcher
from reference.hosts import Host
from reference.names import Names
from reference.progress import Cancellation, ProgressReporter
from reference.remote import Remote
from reference.store import Store
from reference.tls import TLSOptions
from reference.transport import Transport

Handler = Callable[[httpx.Request], httpx.Response]
NAME = Names().parse("registry.test/app/web:v1")
HOST = Host("https", "registry.test")
MIRROR = Host("https", "mirror.test", origin=False)


class Broken(httpx.SyncByteStream):
    """A body that stops with a lost connection after some bytes."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self.data = data
        self.error = error or httpx.RemoteProtocolError("peer closed connection")

    def __iter__(self) -> Iterator[bytes]:
        yield self.data
        raise self.error


class ScriptedTransport(Transport):
    """Asks `handler`, and keeps every request with the TLS options that it was sent with."""

    def __init__(self, handler: Handler, config: Config | None = None) -> None:
        config = config or Config()
        cancellation = Cancellation()
        super().__init__(config, cancellation, ProgressReporter(config, "x", cancellation))
        self.handler = handler
        self.asked: list[httpx.Request] = []
        self.tls_used: list[TLSOptions] = []

    def wire(
        self, scheme: str, tls: TLSOptions, proxy: str | None, *, http2: bool = False
    ) -> httpx.BaseTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            self.tls_used.append(tls)
            response = self.handler(request)
            response.request = request
            return response

        return httpx.MockTransport(answer)

    @property
    def lines(self) -> list[str]:
        """Method and URL of every request."""
        return [f"{request.method} {request.url}" for request in self.asked]


def remote_at(
    transport: ScriptedTransport, auth: AuthConfig | None = None, name: str | None = None
) -> Remote:
    """A remote over a scripted transport."""
    parsed = Names().parse(name) if name else NAME
    return Remote(transport.config, transport, Authorizer(transport, auth), parsed)


def fetcher_at(transport: ScriptedTransport, root: Path, *hosts: Host) -> Fetcher:
    """A fetcher over a scripted transport."""
    remote = remote_at(transport)
    return Fetcher(transport.config, remote, hosts or (HOST,), Store(root))
