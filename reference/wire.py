"""The wire under the transport: connections that a cancelled pull can let go of at once.

httpcore's pool does the HTTP; this module gives it sockets. A thread that waits in a `recv` can't
be interrupted from outside, but the socket it waits for can be shut down, so every socket of a pull
is known here and `abort` ends them all. This is the part to exchange for a faster body path:
whatever maps an `httpx.Request` to an `httpx.Response` fits.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EINPROGRESS
from os import strerror
from typing import Any

import httpcore
import httpx

from reference.http2 import CutByServer

_READ = 256 * 1024
_DAY = 86400.0
"""Seconds: a poll takes no more than 24 days, and nobody waits for one."""
_LAST_PORT = 65535
"""getaddrinfo takes a larger number modulo 65536, which would be some other service."""


class Sockets(httpcore.NetworkBackend):
    """Opens the sockets of one pull and remembers them."""

    def __init__(self, handshake_timeout: float) -> None:
        self.handshake_timeout = handshake_timeout
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._aborted = False

    def remember(self, sock: socket.socket) -> None:
        """Have `abort` shut this socket down; after an abort that is at once."""
        with self._lock:
            self._open.add(sock)
            aborted = self._aborted
        if aborted:
            _shut(sock)

    def abort(self) -> None:
        """Unblock every thread that waits for one of these sockets; no new one will connect."""
        with self._lock:
            self._aborted = True
            sockets = list(self._open)
        for sock in sockets:
            _shut(sock)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that answers.

        Each gets its share of the time left, so that one that swallows every packet (IPv6 that
        leads nowhere) leaves some for the next.
        """
        if not 0 <= port <= _LAST_PORT:
            raise httpcore.ConnectError(f"there is no port {port}")
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"no address for {host}: {error.strerror}") from error
        except UnicodeError:  # a label that is empty or too long
            raise httpcore.ConnectError(f"{host} can't be the name of a host") from None
        deadline = None if timeout is None else time.monotonic() + timeout
        failure: Exception = httpcore.ConnectError(f"no address for {host}")
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:  # a kernel without IPv6, for instance
                failure = httpcore.ConnectError(error.strerror or str(error))
                continue
            self.remember(sock)
            try:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._connect(sock, address, left and left / (len(addresses) - tried))
            except TimeoutError:
                failure = httpcore.ConnectTimeout(f"no connection within {timeout:g}s")
            except OSError as error:
                failure = httpcore.ConnectError(error.strerror or str(error))
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return Stream(sock, self)
            sock.close()
        raise failure

    def _connect(self, sock: socket.socket, address: Any, limit: float | None) -> None:
        # A shutdown wakes a poll on a connecting socket, but not a blocking connect.
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == EINPROGRESS:
            poll = select.poll()
            poll.register(sock, select.POLLOUT)
            if self._aborted or not poll.poll(None if limit is None else min(limit, _DAY) * 1000):
                raise TimeoutError
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, strerror(code))
        sock.setblocking(True)


class Stream(httpcore.NetworkStream):
    """One connection, with or without TLS."""

    def __init__(self, sock: socket.socket, sockets: Sockets) -> None:
        self._socket = sock
        self._sockets = sockets
        self._failure: OSError | None = None

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what is there, at least one byte; empty at the end.

        It may be more than `max_bytes`: httpcore takes it, and what each piece takes on its way
        doesn't depend on its size.
        """
        try:
            if self._failure is not None:
                raise self._failure
            self._socket.settimeout(timeout)
            first = self._socket.recv(_READ)
            return self._gathered(first) if isinstance(self._socket, ssl.SSLSocket) else first
        except TimeoutError as error:
            raise httpcore.ReadTimeout(f"no answer within {timeout:g}s") from error
        except OSError as error:
            raise httpcore.ReadError(error.strerror or str(error)) from error

    def _gathered(self, first: bytes) -> bytes:
        """What TLS gave, which is 16 KiB at most, with what else is here by now."""
        parts, left = [first], _READ - len(first)
        self._socket.settimeout(0)
        try:
            while parts[-1] and left > 0:
                parts.append(self._socket.recv(left))
                left -= len(parts[-1])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._failure = error  # of the read after this one: these bytes came
        return b"".join(parts)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send everything."""
        try:
            self._socket.settimeout(timeout)
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(f"nothing could be sent within {timeout:g}s") from error
        except OSError as error:
            raise httpcore.WriteError(error.strerror or str(error)) from error

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Do the handshake, within its own time limit."""
        limit = self._sockets.handshake_timeout
        try:
            self._socket.settimeout(limit)
            secure = ssl_context.wrap_socket(
                self._socket, server_hostname=server_hostname, do_handshake_on_connect=False
            )
            # wrap_socket took the descriptor over, so this is the socket to shut down from now on.
            self._socket = secure
            self._sockets.remember(secure)
            secure.do_handshake()
        except TimeoutError as error:
            self.close()
            raise httpcore.ConnectTimeout(f"no TLS handshake within {limit:g}s") from error
        except ConnectionError as error:
            self.close()
            raise httpcore.ReadError(error.strerror or str(error)) from error
        except (OSError, ValueError) as error:  # ValueError: no certificate can have such a name
            self.close()
            raise httpcore.ConnectError(str(error)) from error
        return Stream(secure, self._sockets)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about a connection."""
        if info == "ssl_object" and isinstance(self._socket, ssl.SSLSocket):
            return self._socket
        if info == "socket":
            return self._socket
        if info == "is_readable":
            if self._socket.fileno() < 0:
                return True
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return bool(poll.poll(0))
        return None


class Wire(httpx.BaseTransport):
    """httpcore's pool in httpx's words, for one way of TLS and one proxy."""

    def __init__(
        self,
        sockets: httpcore.NetworkBackend,
        context: ssl.SSLContext | None,
        proxy: str | None = None,
        *,
        http2: bool = False,
    ) -> None:
        self._pool: httpcore.ConnectionPool
        if proxy is None:
            self._pool = httpcore.ConnectionPool(
                ssl_context=context,
                network_backend=sockets,
                max_connections=None,
                keepalive_expiry=30,
                http2=http2,
            )
        else:
            url = httpx.URL(proxy)
            auth = (url.username.encode(), url.password.encode()) if url.username else None
            self._pool = httpcore.HTTPProxy(
                proxy_url=str(url.copy_with(username=None, password=None)),
                proxy_auth=auth,
                ssl_context=context,
                network_backend=sockets,
                max_connections=None,
                keepalive_expiry=30,
                http2=http2,
            )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body is read by the caller as it comes."""
        url = request.url
        with _as_httpx(request):
            answer = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream, request),
            extensions=answer.extensions,
            request=request,
        )

    def close(self) -> None:
        """Close all connections of the pool."""
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any, request: httpx.Request) -> None:
        self._stream = stream
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx(self._request):
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


_MAPPED: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.TimeoutException, httpx.ReadTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ProxyError, httpx.ProxyError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.ProtocolError, httpx.LocalProtocolError),
    (httpcore.NetworkError, httpx.ReadError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    """Give httpcore's errors their httpx names; the cause (an ssl.SSLError) stays attached."""
    try:
        yield
    except Exception as error:
        said = error.args[0] if error.args else None
        if hasattr(said, "error_code"):
            raise CutByServer(said, request) from error
        if type(error).__module__ == "h2.exceptions":
            # httpcore lets it through where a body doesn't keep to the rules.
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        for ours, theirs in _MAPPED:
            if isinstance(error, ours):
                # h11 quotes a line that it can't read, and a Location may be in it, with its query.
                raise theirs(str(error).partition(": bytearray(")[0], request=request) from error
        raise


def _shut(sock: socket.socket) -> None:
    # Not connected, or closed in the meantime: then nobody waits for it.
    with suppress(OSError):
        # Past SSLSocket's own shutdown, which would take the TLS state from under its reader.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
