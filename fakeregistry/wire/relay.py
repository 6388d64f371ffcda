"""Relays: what a proxy does with a connection, once it leads to a registry.

Bytes go on as they come, in both directions; so do the ends: FIN as FIN, RST as RST.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from fakeregistry.journal.exchange import Ended
from fakeregistry.messages import Headers, Request, header_of

if TYPE_CHECKING:
    from fakeregistry.journal.exchange import Exchange
    from fakeregistry.journal.journal import Journal

    from .player import Player

_PIECE = 256 << 10
_HEAD = 64 << 10
_PATIENCE = 5.0
"""How long a proxy tries to reach a registry, in seconds."""
_HOP_BY_HOP = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "proxy-authorization"),
        *("te", "transfer-encoding", "upgrade", "content-length", "expect"),
    }
)
"""What is between a client and its proxy alone (RFC 9110, 7.6.1)."""
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Address = tuple[str, int]


def tunnel(player: Player, exchange: Exchange, journal: Journal, address: Address) -> None:
    """Say that a tunnel stands, and be one until both sides have ended.

    The exchange is complete when it stands: what goes through is nobody's business.
    """
    far = _reach(player, exchange, journal, address)
    if far is None:
        return
    with far:
        player.sock.sendall(_ESTABLISHED)
        journal.head(exchange, 200, ())
        journal.end(exchange, "complete")
        _Pump(player, far).run()


def forward(
    player: Player, exchange: Exchange, journal: Journal, address: Address, request: Request
) -> None:
    """Send a request on, and its answer back; the connection ends with it."""
    far = _reach(player, exchange, journal, address)
    if far is None:
        return
    with far:
        far.sendall(request_bytes(request))
        pump = _Pump(player, far, exchange, journal, request.method)
        pump.run()
        journal.end(exchange, pump.ended)


def request_bytes(request: Request) -> bytes:
    """A request as a proxy sends it on: in origin form, and for one answer."""
    path = request.raw_path + (f"?{request.raw_query}" if request.raw_query else "")
    headers = [pair for pair in request.headers if pair[0].lower() not in _HOP_BY_HOP]
    if request.body or request.method in ("POST", "PUT", "PATCH"):
        headers.append(("Content-Length", str(len(request.body))))
    headers += [("Via", "1.1 proxy"), ("Connection", "close")]
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {said}" for name, said in headers)]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + request.body


def _reach(
    player: Player, exchange: Exchange, journal: Journal, address: Address
) -> socket.socket | None:
    """Connect to a registry; None where that fails, which the client is told."""
    try:
        far = socket.create_connection(address, _PATIENCE)
    except OSError as problem:
        status = b"504 Gateway Timeout" if isinstance(problem, TimeoutError) else b"502 Bad Gateway"
        said = f"the registry can't be reached: {problem}\n".encode()
        head = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % (
            status,
            len(said),
        )
        player.sock.sendall(head + b"Connection: close\r\n\r\n" + said)
        journal.head(exchange, int(status[:3]), (("Content-Type", "text/plain"),))
        journal.sent(exchange, len(said))
        player.say_goodbye()
        journal.end(exchange, "complete")
        player.linger()
        return None
    far.settimeout(None)
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return far


class _Pump:
    """Moves bytes between a client and a registry until both are done; notes the answer, if told.

    `ended` says afterwards how the answer ended.
    """

    def __init__(
        self,
        player: Player,
        far: socket.socket,
        exchange: Exchange | None = None,
        journal: Journal | None = None,
        method: str = "",
    ) -> None:
        self._player = player
        self._near = player.sock
        self._far = far
        self._exchange = exchange
        self._journal = journal
        self._method = method
        self._head = b""
        self._told = exchange is None
        self._body = 0
        self._status = 0
        self._headers: Headers = ()
        self._tail = b""
        self._reset = False

    def run(self) -> None:
        """Move bytes until the registry has ended its side, or somebody breaks off."""
        poller = select.poll()
        near, far = self._near.fileno(), self._far.fileno()
        for descriptor in (near, far):
            poller.register(descriptor, select.POLLIN)
        while True:
            # What TLS has decrypted already, no poll tells of.
            pending = isinstance(self._near, ssl.SSLSocket) and self._near.pending() > 0
            ready = [near] if pending else [descriptor for descriptor, _ in poller.poll()]
            if far in ready and not self._answer():
                return
            if near in ready and not self._ask():
                if self._player.stopping:
                    return
                poller.unregister(near)

    def _ask(self) -> bool:
        """Move what the client says; False once it has ended its side."""
        try:
            data = self._near.recv(_PIECE)
        except OSError:
            _abort(self._far)
            raise
        with contextlib.suppress(OSError):
            # A registry that takes no more may still have something to say.
            if data:
                self._far.sendall(data)
            else:
                self._far.shutdown(socket.SHUT_WR)
        return bool(data)

    def _answer(self) -> bool:
        """Move what the registry says; False once it has ended its side."""
        try:
            data = self._far.recv(_PIECE)
        except OSError:
            self._reset = True
            self._player.reset()
            return False
        if not data:
            self._player.say_goodbye()
            self._player.linger()
            return False
        try:
            self._near.sendall(data)
        except OSError:
            _abort(self._far)
            raise
        self._note(data)
        return True

    # what an answer was like

    def _note(self, data: bytes) -> None:
        if self._exchange is None or self._journal is None:
            return
        if not self._told:
            self._head += data
            head, blank, data = self._head.partition(b"\r\n\r\n")
            if not blank and len(self._head) < _HEAD:
                return
            self._told = True
            line, *lines = head.decode("latin-1").split("\r\n")
            words = line.split(" ", 2)
            self._status = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
            pairs = (text.partition(":") for text in lines)
            self._headers = tuple((name, value.strip()) for name, _, value in pairs)
            self._journal.head(self._exchange, self._status, self._headers)
        if data:
            self._body += len(data)
            self._tail = (self._tail + data)[-5:]
            self._journal.sent(self._exchange, len(data))

    @property
    def ended(self) -> Ended:
        """How the answer ended: whole, or cut by FIN or RST."""
        if self._reset:
            return "rst"
        length = header_of(self._headers, "content-length")
        if not self._told:
            return "fin"
        if self._method == "HEAD" or self._status in (204, 304):
            return "complete"
        if (header_of(self._headers, "transfer-encoding") or "").lower() == "chunked":
            return "complete" if self._tail == b"0\r\n\r\n" else "fin"
        if length is not None and length.isdecimal():
            return "complete" if self._body >= int(length) else "fin"
        return "complete"


def _abort(sock: socket.socket) -> None:
    """Let a connection end by RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
