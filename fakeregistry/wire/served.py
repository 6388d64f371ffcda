"""One connection and its thread, from the greeting to the last answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Literal, Protocol

from fakeregistry.http2 import Conversation
from fakeregistry.journal import journal as records
from fakeregistry.messages import Facts, Request, error
from fakeregistry.script import End, Script, Wait

from .certificates import TLSSocket, subject_of
from .divert import caught, diverted, receive_record, send_raw
from .greeting import Greeting, Say
from .player import ClientGoneError, Player
from .reader import BadRequestError, Reader
from .watch import WATCH

_PLAIN_TO_TLS = b"Client sent an HTTP request to an HTTPS server.\n"
_TLS_TO_PLAIN = b"Client sent a TLS hello to a plain HTTP server.\n"
_TLS_HANDSHAKE = b"\x16"

Scheme = Literal["http", "https"]
How = Literal["rst", "fin", "silent"]
"""How an idle connection is ended: by RST, in good order, or by no longer answering on it."""


def _refusal(message: bytes) -> bytes:
    head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(message)}\r\nConnection: close\r\n\r\n".encode() + message


class Handler(Protocol):
    """What a listener serves."""

    name: str
    journal: records.Journal
    head_timeout: float
    """How long a client may take to begin, to say a request's head, or to go on with its body."""

    def may_connect(self) -> bool:
        """Whether one more connection is served."""
        ...

    def greet(self, connection: records.Connection) -> Greeting:
        """Return how a connection goes that was just accepted."""
        ...

    def may_wait(self) -> bool:
        """Whether `handle` may take its time: then no other stream of HTTP/2 waits for it."""
        ...

    def handle(
        self, request: Request, connection: records.Connection
    ) -> tuple[Script, records.Exchange]:
        """Return the script that answers a request, and the exchange that records it."""
        ...


class Served:
    """One connection and its thread; `ended` is told when all is over."""

    def __init__(
        self, sock: socket.socket, handler: Handler, peer: str, ended: Callable[[Served], None]
    ) -> None:
        self.sock = sock
        self.handler = handler
        self.peer = peer
        self.stopping = False
        self._ended = ended
        self._lock = threading.Lock()
        self._idle = True
        self._cut: How | Literal["late"] | None = None
        self._since: float | None = None
        self._reader: Reader | None = None
        self.record = handler.journal.connect(handler.name, peer)
        self._greeting = handler.greet(self.record)
        self.thread = threading.Thread(
            target=self._run, name=f"{handler.name} {self.record.id}", daemon=True
        )

    # ended by others

    def stop(self) -> None:
        """End the connection, whatever its thread waits for."""
        with self._lock:
            self.stopping = True
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def end_idle(self, how: How) -> bool:
        """End the connection if it carries no request; return whether it was so."""
        with self._lock:
            if self.stopping or not self._idle or self._cut is not None:
                return False
            self._cut = how
            if how != "silent":
                self._wake()
            return True

    @property
    def cut(self) -> str | None:
        """How the connection is to end, once somebody has told."""
        return self._cut

    def rests(self, since: float | None, *, idle: bool) -> None:
        """Be told since when the client is waited for, and whether no request is carried."""
        with self._lock:
            self._idle, self._since = idle, since

    @property
    def patience(self) -> float:
        """How long the client may take, in seconds."""
        return self.handler.head_timeout

    @property
    def due(self) -> float | None:
        """When the client is late, on the monotonic clock; None while nobody waits for it."""
        since, reader = self._since, self._reader
        if since is None or self._cut is not None:
            return None
        moved = reader.moved if reader is not None else None
        return (since if moved is None else moved) + self.patience

    def late(self) -> None:
        """End the connection because the client doesn't go on."""
        with self._lock:
            if not self.stopping and self._since is not None and self._cut is None:
                self._cut = "late"
                self._wake()

    def _wake(self) -> None:
        # Nothing of this is seen outside: our own reading ends, as if the client had closed.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RD)

    # the connection's thread

    def _run(self) -> None:
        failure: str | None = None
        WATCH.add(self)
        try:
            failure = self._serve()
        except OSError as problem:
            if not self.stopping:
                failure = f"connection lost: {problem.strerror or problem}"
        except ClientGoneError:
            if not self.stopping:
                failure = "the client left a connection that stood still"
        finally:
            WATCH.discard(self)
            with self._lock:
                self.sock.close()
            self.handler.journal.close(self.record, failure)
            self._ended(self)

    def _player(self) -> Player:
        return Player(
            self.sock, self.handler.journal, lambda: self.stopping, self._lock, self._kept
        )

    def _kept(self) -> None:
        """Be told that an answer is complete, and that the connection may carry another."""
        self._idle = True

    def _serve(self) -> str | None:
        """Serve the connection to its end; return what went wrong beside the answers."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        greeting = self._greeting
        if greeting.opening:
            ended = self._act(greeting.opening)
            if ended is not None:
                return ended
        self._since = time.monotonic()
        first = self.sock.recv(1, socket.MSG_PEEK)
        if not first:
            return self._after_cut(self._player()) or "closed without a word"
        if greeting.hello:
            self._since = None
            ended = self._act(greeting.hello)
            if ended is not None:
                return ended
        if not greeting.tls and first == _TLS_HANDSHAKE:
            self._turn_away(_refusal(_TLS_TO_PLAIN))
            return "TLS hello on a plain port"
        if greeting.tls and first != _TLS_HANDSHAKE:
            self._turn_away(greeting.to_plain or _refusal(_PLAIN_TO_TLS))
            return "plain HTTP on a TLS port"
        if greeting.tls:
            failure = self._handshake(greeting)
            if failure is not None:
                return failure
        if self.record.alpn == "h2" and isinstance(self.sock, ssl.SSLSocket):
            player = self._player()
            talk = Conversation(self.sock, self.handler, self.record, greeting, self, player)
            return talk.run() or self._after_cut(player)
        return self._requests("https" if greeting.tls else "http")

    def _act(self, steps: tuple[Wait | Say | End, ...]) -> str | None:
        """Do what a rule says before anything is answered; return how it ended, if it did."""
        player = self._player()
        for step in steps:
            if isinstance(step, Wait):
                player.wait(step)
            elif isinstance(step, Say):
                self.sock.sendall(step.data)
            elif step.kind == "rst":
                player.reset()
                return "reset by a rule"
            else:
                player.say_goodbye()
                player.linger()
                return "closed by a rule"
        return None

    def _turn_away(self, message: bytes) -> None:
        """Answer the wrong protocol at once, so that a client can fall back without a timeout."""
        self._since = None
        player = self._player()
        self.sock.sendall(message)
        player.say_goodbye()
        player.linger()

    # TLS

    def _handshake(self, greeting: Greeting) -> str | None:
        assert greeting.certificate is not None
        context = greeting.certificate.context(greeting.offered, greeting.version)
        with self._lock:
            if self.stopping:
                return None
            self._idle = False
            tls = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
            self.sock = tls
        failure: str | None = None
        try:
            if greeting.pause is not None:
                self._partial_flight(tls, greeting.flight, greeting.pause)
            self._since = time.monotonic()
            tls.do_handshake()
        except ssl.SSLError as problem:
            failure = f"TLS: {(problem.reason or str(problem)).replace('_', ' ').lower()}"
        except OSError as problem:
            failure = f"TLS: {problem.strerror or problem}"
        self._since = None
        if self._cut == "late":
            failure = f"TLS: no handshake within {self.patience:g} s"
        if isinstance(tls, TLSSocket):
            self.record.sni = tls.server_name
        if failure is not None:
            # Our alert is on its way: an RST by unread bytes would overtake it.
            player = self._player()
            player.say_goodbye(notify=False)
            player.linger()
            return failure
        self.record.tls = tls.version()
        self.record.alpn = tls.selected_alpn_protocol()
        self.record.client_certificate = subject_of(tls.getpeercert())
        return None

    def _partial_flight(self, tls: ssl.SSLSocket, count: int, pause: Wait) -> None:
        """Answer the client's hello with `count` bytes, wait, and send the rest."""
        self._since = None
        hello = receive_record(tls)
        with self._lock, diverted(tls) as far:
            far.sendall(hello)
            tls.setblocking(False)
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            finally:
                tls.setblocking(True)
                flight = caught(far)
        send_raw(tls, flight[:count])
        self._player().wait(pause)
        send_raw(tls, flight[count:])

    # requests

    def _requests(self, scheme: Scheme) -> str | None:
        greeting = self._greeting
        player = self._player()
        answered = 0
        self._reader = reader = Reader(self.sock, scheme, self.peer)
        with contextlib.closing(reader):
            while True:
                if greeting.deaf is not None and answered == greeting.deaf_from:
                    player.wait(greeting.deaf)
                request = self._read(reader, player, scheme)
                if not isinstance(request, Request):
                    return request
                answered += 1
                last = greeting.requests is not None and answered >= greeting.requests
                script, exchange = self.handler.handle(request, self.record)
                close = _wants_close(request) or (last and greeting.announced)
                if player.play(script, exchange, close=close) == "closed":
                    # What is held open after its answer is idle, and can be ended by others.
                    return self._after_cut(player)
                if last:
                    player.say_goodbye()
                    player.linger()
                    return None

    def _read(self, reader: Reader, player: Player, scheme: Scheme) -> Request | str | None:
        """Return the next request; or, where there is none any more, what went wrong."""
        self._since = time.monotonic()
        self._idle = True
        request: Request | None = None
        try:
            request = reader.read()
        except BadRequestError as problem:
            self._since = None
            self._refuse(player, problem, scheme)
            return None
        except OSError:
            if self._cut is None:
                raise
            if self._cut == "late":
                slow = f"no whole request within {self.patience:g} s"
                self._refuse(player, BadRequestError(408, slow), scheme)
                return slow
        finally:
            with self._lock:
                self._idle, self._since = False, None
        if self._cut is not None:
            return self._after_cut(player)
        return request

    def _after_cut(self, player: Player) -> str | None:
        """Do what somebody else has told; return it in words, or None where nobody did."""
        if self._cut is None:
            return None
        if self._cut == "rst":
            player.reset()
            return "reset while it was idle"
        if self._cut == "silent":
            player.wait(Wait(None))
        player.say_goodbye()
        player.linger()
        late = self._cut == "late"
        return f"idle for {self.patience:g} s" if late else "closed while it was idle"

    def _refuse(self, player: Player, problem: BadRequestError, scheme: Scheme) -> None:
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
