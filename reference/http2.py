"""HTTP/2 to registries that offer it by ALPN, where the config asks for it.

httpcore speaks it; what it doesn't do is share a connection among threads: stream numbers are taken
without a lock, one thread reads for all, and waits beyond the time limits of the others. So each
request under way has a connection of its own here, as with HTTP/1.1, and a stalled or broken one is
nobody else's. What its body didn't come to the end of isn't used again.

Nor does httpcore let an answer end after GOAWAY, though the server has taken its request (RFC 9113,
6.8). So a graceful GOAWAY is kept from it, and the connection isn't used after that answer.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import httpcore
import httpx

Origin = tuple[str, str, int | None]
_HEAD = 9
_GOAWAY = 7


class CutByServer(httpx.RemoteProtocolError):
    """The server ended a stream by RST_STREAM, or the connection by GOAWAY; `code` says why."""

    def __init__(self, event: Any, request: httpx.Request) -> None:
        self.code = str(getattr(event.error_code, "name", event.error_code))
        what = "reset the stream" if hasattr(event, "stream_id") else "said GOAWAY"
        super().__init__(f"the server {what} ({self.code})", request=request)


class Lines(httpx.BaseTransport):
    """Connections for one way of TLS and one proxy, each with one request at a time.

    `make` gives a pool that is used for one connection alone.
    """

    def __init__(self, make: Callable[[], httpx.BaseTransport]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[tuple[httpx.BaseTransport, Any]]] = {}
        self._all: set[httpx.BaseTransport] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body is read by the caller as it comes."""
        url = request.url
        origin = (url.scheme, url.host, url.port)
        line = self._take(origin)
        try:
            response = line.handle_request(request)
        except BaseException:
            self._drop(line)
            raise
        wire = response.extensions.get("network_stream")

        def ended(whole: bool) -> None:
            if whole or request.method == "HEAD":
                self._keep(origin, line, wire)
            else:
                self._drop(line)

        response.stream = _Body(cast(httpx.SyncByteStream, response.stream), ended)
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            lines = list(self._all)
            self._idle.clear()
            self._all.clear()
        for line in lines:
            line.close()

    def _take(self, origin: Origin) -> httpx.BaseTransport:
        """Return a connection that nobody uses, or what will be one."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                if not idle:
                    line = self._make()
                    self._all.add(line)
                    return line
                line, wire = idle.pop()
            # Something came while nothing was asked for: mostly GOAWAY, or the end.
            if wire is None or not wire.get_extra_info("is_readable"):
                return line
            self._drop(line)

    def _keep(self, origin: Origin, line: httpx.BaseTransport, wire: Any) -> None:
        with self._lock:
            if line in self._all:
                self._idle.setdefault(origin, []).append((line, wire))

    def _drop(self, line: httpx.BaseTransport) -> None:
        with self._lock:
            self._all.discard(line)
        line.close()


class _Body(httpx.SyncByteStream):
    """A body that says, once, whether it was read to its end."""

    def __init__(self, inner: httpx.SyncByteStream, ended: Callable[[bool], None]) -> None:
        self._inner = inner
        self._ended = ended
        self._whole = False
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._inner
        self._whole = True

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._inner.close()
            self._ended(self._whole)


class PatientStream(httpcore.NetworkStream):
    """A connection on which no graceful GOAWAY is heard; it counts as readable ever after."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        sock = inner.get_extra_info("ssl_object")
        self._frames = sock is not None and sock.selected_alpn_protocol() == "h2"
        self._came = bytearray()
        self._pass = 0
        self._leaving = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what is there but for such frames; empty at the end."""
        while True:
            data = self._inner.read(max_bytes, timeout)
            if not (data and self._frames):
                return data
            heard = self._heard(data)
            if heard:
                return heard

    def _heard(self, data: bytes) -> bytes:
        self._came += data
        heard = bytearray()
        while self._came:
            if self._pass:
                heard += self._came[: self._pass]
                count = min(self._pass, len(self._came))
                self._pass -= count
                del self._came[:count]
                continue
            if len(self._came) < _HEAD:
                break
            size = _HEAD + int.from_bytes(self._came[:3], "big")
            if self._came[3] != _GOAWAY:
                self._pass = size
                continue
            if len(self._came) < size:
                break
            last, code = self._came[_HEAD : _HEAD + 4], self._came[_HEAD + 4 : _HEAD + 8]
            if any(last) and not any(code):
                self._leaving = True
                del self._came[:size]
            else:
                self._pass = size
        return bytes(heard)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything."""
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Do the handshake."""
        return type(self)(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """What is asked about a connection."""
        if info == "is_readable" and self._leaving:
            return True
        return self._inner.get_extra_info(info)


class Patient(httpcore.NetworkBackend):
    """Sockets whose graceful GOAWAY is kept back."""

    stream = PatientStream

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect as the sockets do."""
        made = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return self.stream(made)
