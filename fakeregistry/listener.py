"""The listening socket of a registry: one thread accepts, one thread per connection serves.

Start and stop take about a millisecond: the accept blocks, and ends because its socket is shut
down. TLS is wrapped in the connection's thread, so that a silent client blocks nobody.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
import threading
from typing import Literal, Protocol

from . import journal as records
from .certificates import ServerCertificate, TLSSocket, subject_of
from .messages import Facts, Request, error
from .reader import BadRequestError, Reader
from .script import Script
from .wire import Player

_PLAIN_TO_TLS = b"Client sent an HTTP request to an HTTPS server.\n"
_TLS_TO_PLAIN = b"Client sent a TLS hello to a plain HTTP server.\n"
_TLS_HANDSHAKE = b"\x16"


def _refusal(message: bytes) -> bytes:
    head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(message)}\r\nConnection: close\r\n\r\n".encode() + message


class Handler(Protocol):
    """What a listener serves."""

    name: str
    journal: records.Journal

    @property
    def certificate(self) -> ServerCertificate | None:
        """The certificate for new connections; None means plain HTTP."""
        ...

    def may_connect(self) -> bool:
        """Whether one more connection is served."""
        ...

    def handle(
        self, request: Request, connection: records.Connection
    ) -> tuple[Script, records.Exchange]:
        """Return the script that answers a request, and the exchange that records it."""
        ...


class Served:
    """One connection and its thread."""

    def __init__(self, sock: socket.socket, handler: Handler, peer: str) -> None:
        self.sock = sock
        self.handler = handler
        self.peer = peer
        self.stopping = False
        self._lock = threading.Lock()
        self.record = handler.journal.connect(handler.name, peer)
        self.thread = threading.Thread(
            target=self._run, name=f"{handler.name} {self.record.id}", daemon=True
        )

    def stop(self) -> None:
        """End the connection, whatever its thread waits for."""
        with self._lock:
            self.stopping = True
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        failure: str | None = None
        try:
            failure = self._serve()
        except OSError as problem:
            if not self.stopping:
                failure = f"connection lost: {problem.strerror or problem}"
        finally:
            with self._lock:
                self.sock.close()
            self.handler.journal.close(self.record, failure)

    def _serve(self) -> str | None:
        """Serve the connection to its end; return what went wrong before any request."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        first = self.sock.recv(1, socket.MSG_PEEK)
        if not first:
            return "closed without a word"
        certificate = self.handler.certificate
        if certificate is None and first == _TLS_HANDSHAKE:
            self._turn_away(_TLS_TO_PLAIN)
            return "TLS hello on a plain port"
        if certificate is not None and first != _TLS_HANDSHAKE:
            self._turn_away(_PLAIN_TO_TLS)
            return "plain HTTP on a TLS port"
        if certificate is not None:
            failure = self._handshake(certificate)
            if failure is not None:
                return failure
        self._requests("http" if certificate is None else "https")
        return None

    def _turn_away(self, message: bytes) -> None:
        """Answer the wrong protocol at once, so that a client can fall back without a timeout."""
        player = Player(self.sock, self.handler.journal)
        self.sock.sendall(_refusal(message))
        player.say_goodbye()
        player.linger()

    def _handshake(self, certificate: ServerCertificate) -> str | None:
        context = certificate.context()
        with self._lock:
            if self.stopping:
                return None
            tls = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            self.sock = tls
        failure: str | None = None
        try:
            tls.do_handshake()
        except ssl.SSLError as problem:
            failure = f"TLS: {(problem.reason or str(problem)).replace('_', ' ').lower()}"
        except OSError as problem:
            failure = f"TLS: {problem.strerror or problem}"
        if isinstance(tls, TLSSocket):
            self.record.sni = tls.server_name
        if failure is not None:
            # Our alert is on its way: an RST by unread bytes would overtake it.
            player = Player(tls, self.handler.journal)
            player.say_goodbye(notify=False)
            player.linger()
            return failure
        self.record.tls = tls.version()
        self.record.alpn = tls.selected_alpn_protocol()
        self.record.client_certificate = subject_of(tls.getpeercert())
        return None

    def _requests(self, scheme: Literal["http", "https"]) -> None:
        reader = Reader(self.sock, scheme, self.peer)
        player = Player(self.sock, self.handler.journal, lambda: self.stopping)
        with contextlib.closing(reader):
            while True:
                try:
                    request = reader.read()
                except BadRequestError as problem:
                    self._refuse(player, problem, scheme)
                    return
                if request is None:
                    return
                script, exchange = self.handler.handle(request, self.record)
                if player.play(script, exchange, close=_wants_close(request)) == "closed":
                    return

    def _refuse(
        self, player: Player, problem: BadRequestError, scheme: Literal["http", "https"]
    ) -> None:
        journal = self.handler.journal
        request = Request(*problem.line, scheme=scheme, peer=self.peer)
        exchange = journal.begin(request, Facts(), self.record)
        reply = error(problem.status, "UNSUPPORTED", problem.message)
        player.play(Script.of(reply), exchange, close=True)


def _wants_close(request: Request) -> bool:
    wish = (request.header("connection") or "").lower()
    if request.version == "HTTP/1.0":
        return "keep-alive" not in wish
    return "close" in wish


class Listener:
    """A listening socket on loopback with its threads."""

    def __init__(self, handler: Handler, host: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sock.bind((host, port))
            self._sock.listen(512)
        except OSError:
            self._sock.close()
            raise
        self.address: tuple[str, int] = self._sock.getsockname()[:2]
        self._handler = handler
        self._family = family
        self._stopping = False
        self._lock = threading.Lock()
        self._served: dict[int, Served] = {}
        self.thread = threading.Thread(
            target=self.accept, name=f"{handler.name} accept", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that the kernel chose, or that was asked for."""
        return self.address[1]

    def start(self) -> None:
        """Begin to accept."""
        self.thread.start()

    def accept(self) -> None:
        """Accept until stopped."""
        for key in itertools.count():
            try:
                sock, peer = self._sock.accept()
            except OSError:
                return
            if self._stopping or not self._handler.may_connect():
                sock.close()
                continue
            served = Served(sock, self._handler, f"{peer[0]}:{peer[1]}")
            with self._lock:
                for old in self._ended():
                    del self._served[old]
                self._served[key] = served
                served.thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop accepting, end every connection, and wait for the threads."""
        self._stopping = True
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            # Not every system lets a listening socket be shut down: a last caller wakes it.
            with contextlib.suppress(OSError):
                socket.create_connection(self.address, timeout=1).close()
        self.thread.join(timeout)
        self._sock.close()
        with self._lock:
            served = list(self._served.values())
        for connection in served:
            connection.stop()
        for connection in served:
            connection.thread.join(timeout)

    def _ended(self) -> list[int]:
        return [key for key, served in self._served.items() if not served.thread.is_alive()]
