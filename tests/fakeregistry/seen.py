"""One request over a raw socket, and all that came back: bytes, how it ended, what was held.

Nothing here shares code with the registry, so that what it says of a fault is a witness's word. A
fault that waits takes no time: once a gate holds and the socket is silent, the request is `held`.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

SILENT = 0.06
"""So long nothing must come while a gate holds, in seconds."""
PATIENCE = 15.0
FURTHER = 4 << 20
"""An answer that goes on for so many bytes behind what is expected is called endless."""


@dataclass
class Seen:
    """What came of one request. `end` says how:

    complete · held · endless · fin · fin without goodbye · rst · refused · silent · tls: REASON ·
    rst_stream CODE · h2: what breaks its protocol

    ``again``: what came of a further request on the same connection; ``idle``: how an idle one
    fared; ``aged``: by how many seconds the registry's clock was set forward; ``released``: rules
    whose gates were opened meanwhile; ``goaway``: code and last stream of a GOAWAY; ``settings``:
    what HTTP/2 said of itself; ``took``: seconds; ``worth``: the statuses of what a token that was
    issued opens; ``rotated``: whether passwords are new; ``via``: the pull through whose proxy it
    went.
    """

    registry: str
    method: str
    path: str
    asked: Mapping[str, str]
    raw: bytes = b""
    end: str = ""
    tls: str | None = None
    alpn: str | None = None
    fired: list[Any] = field(default_factory=list)
    again: Seen | None = None
    idle: str = ""
    aged: float = 0.0
    took: float = 0.0
    via: Any = None
    worth: list[int] = field(default_factory=list)
    rotated: bool = False
    released: list[str] = field(default_factory=list)
    goaway: tuple[str, int] | None = None
    settings: dict[str, int] = field(default_factory=dict)

    def _split(self) -> tuple[list[bytes], bytes, bytes]:
        """The heads of 1xx, the last head, and what follows it."""
        interim: list[bytes] = []
        rest = self.raw
        while True:
            head, blank, rest = rest.partition(b"\r\n\r\n")
            if not (blank and re.match(rb"HTTP/\S+ 1\d\d", head)):
                return interim, head if blank else b"", rest
            interim.append(head)

    @property
    def interim(self) -> list[bytes]:
        return self._split()[0]

    @property
    def head(self) -> bytes:
        return self._split()[1]

    @property
    def payload(self) -> bytes:
        """The body as it is framed."""
        return self._split()[2]

    @property
    def status(self) -> int:
        match = re.match(rb"HTTP/\S+ (\d+)", self.head)
        return int(match[1]) if match else 0

    @property
    def headers(self) -> list[tuple[str, str]]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = [line.partition(":") for line in lines]
        return [(name, value.strip()) for name, _, value in pairs]

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        found = self.values(name)
        return found[-1] if found else None

    @property
    def chunked(self) -> bool:
        return (self.header("transfer-encoding") or "").lower() == "chunked"

    @property
    def body(self) -> bytes:
        """The body without its framing; as much of it as came."""
        return dechunked(self.payload)[0] if self.chunked else self.payload

    @property
    def trailers(self) -> bytes:
        return dechunked(self.payload)[1] if self.chunked else b""

    @property
    def complete(self) -> bool:
        """Whether the framing says that all has come."""
        if not self.head:
            return False
        if self.method == "HEAD" or self.status in (204, 304):
            return True
        if self.chunked:
            return dechunked(self.payload)[2]
        lengths = self.values("content-length")
        if len(lengths) != 1 or not lengths[0].isdecimal():
            return False
        return len(self.payload) >= int(lengths[0])


def dechunked(payload: bytes) -> tuple[bytes, bytes, bool]:
    """Body, trailers, and whether the last chunk and its end were there."""
    body, at = b"", 0
    while True:
        line, end, _ = payload[at : at + 8192].partition(b"\r\n")
        size = re.match(rb"\s*([0-9a-fA-F]+)\s*(?:;|$)", line)
        if not end or size is None:
            return body, b"", False
        at += len(line) + 2
        count = int(size[1], 16)
        if count == 0:
            tail = payload[at:]
            done = tail.startswith(b"\r\n") or b"\r\n\r\n" in tail
            return body, tail.partition(b"\r\n\r\n")[0].strip(b"\r\n"), done
        body += payload[at : at + count]
        at += count + 2
        if at > len(payload):
            return body, b"", False


class Line:
    """One connection. `holding` says whether a rule holds something back just now.

    TLS runs over memory, so that what the socket says (RST, FIN) is heard apart from what TLS says.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None,
        name: str,
        holding: Callable[[], bool],
        host: str = "127.0.0.1",
        tunnel: bytes = b"",
    ) -> None:
        self.holding = holding
        self.end = ""
        self.refusal = b""
        self.tls: str | None = None
        self.alpn: str | None = None
        self._inner: ssl.SSLObject | None = None
        self.sock: socket.socket | None = None
        try:
            self.sock = socket.create_connection((host, port), 0.4)
        except ConnectionRefusedError:
            self.end = "refused"
        except TimeoutError:
            self.end = "silent"
        except ConnectionResetError:
            self.end = "rst"
        if self.sock is not None:
            self.sock.setblocking(False)
            if tunnel and not self._tunnelled(tunnel):
                return
            if context is not None:
                self._handshake(context, name)

    def _tunnelled(self, connect: bytes) -> bool:
        """Ask a proxy for a way through; `refusal` is what it said where it gave none."""
        self._push(connect)
        said = Seen("", "CONNECT", "", {})
        while not said.head and (data := self._heard()):
            said.raw += data
        if said.status == 200:
            return True
        while not said.complete and (data := self._heard()):
            said.raw += data
        self.refusal, self.end = said.raw, self.end or "complete"
        return False

    def _handshake(self, context: ssl.SSLContext, name: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        inner = context.wrap_bio(self._in, self._out, server_hostname=name)
        while not self.end:
            try:
                inner.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._fetch()
            except ssl.SSLError as error:
                self.end = f"tls: {error.reason or error}"
        self._push(self._out.read())
        if not self.end:
            self._inner = inner
            self.tls, self.alpn = inner.version(), inner.selected_alpn_protocol()

    def _fetch(self) -> None:
        """Take the next TLS bytes in, after what TLS wants to say has left."""
        self._push(self._out.read())
        data = self._heard()
        if data:
            self._in.write(data)
        elif self.end == "fin" and not self._in.eof:
            # TLS decides how it takes that: as its end after a goodbye, or as a cut.
            self.end = ""
            self._in.write_eof()

    def _heard(self) -> bytes:
        """The socket's next bytes; nothing once it has ended."""
        assert self.sock is not None
        while not self.end:
            try:
                data = self.sock.recv(1 << 18)
            except BlockingIOError:
                self._await()
                continue
            except OSError as error:
                self.end = _ended(error)
            else:
                if data:
                    return data
                self.end = "fin"
        return b""

    def _await(self) -> None:
        """Wait for bytes; ends the line as held where a gate holds and nothing comes."""
        deadline = time.monotonic() + PATIENCE
        while True:
            if select.select([self.sock], [], [], 0.02)[0]:
                return
            if self.holding() and not select.select([self.sock], [], [], SILENT)[0]:
                self.end = "held"
                return
            if time.monotonic() > deadline:
                raise AssertionError("neither an answer nor an end, and no rule holds anything")

    def _push(self, data: bytes) -> None:
        while data and self.sock is not None:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                select.select([], [self.sock], [], 1)
            except OSError as error:
                self.end = self.end or _ended(error)
                return

    def send(self, data: bytes) -> None:
        """Send these bytes, as far as somebody takes them."""
        if self._inner is not None:
            self._inner.write(data)
            data = self._out.read()
        self._push(data)

    def more(self) -> bytes:
        """The next bytes of the answer; nothing once the line has ended."""
        if self._inner is None:
            return self._heard()
        while not self.end:
            try:
                data = self._inner.read(1 << 18)
            except ssl.SSLWantReadError:
                self._fetch()
            except ssl.SSLEOFError:
                self.end = "fin without goodbye"
            except ssl.SSLError as error:
                self.end = f"tls: {error.reason or error}"
            else:
                if data:
                    return data
                self.end = "fin"
        return b""

    def ask(self, seen: Seen, request: bytes, expected: int) -> Seen:
        """Send a request, and take in the answer until it is whole, or for as long as it comes."""
        seen.tls, seen.alpn = self.tls, self.alpn
        if self.end:
            seen.raw, seen.end = self.refusal, self.end
            return seen
        self.send(request)
        # A server may answer and close before it has read everything: what it said counts.
        self.end = ""
        came = bytearray()
        while data := self.more():
            came += data
            if len(came) > expected + FURTHER:
                seen.raw, seen.end = bytes(came), "endless"
                return seen
            if self._may_be_whole(seen, came):
                seen.raw = bytes(came)
                if seen.complete:
                    break
        seen.raw = bytes(came)
        seen.end = "complete" if seen.complete else self.end
        return seen

    @staticmethod
    def _may_be_whole(seen: Seen, came: bytearray) -> bool:
        """A cheap look before the careful one: an answer comes in many pieces."""
        if not seen.raw:
            return b"\r\n\r\n" in came
        if seen.chunked:
            return came.endswith(b"\r\n\r\n")
        return seen.method != "HEAD" and len(came) >= int(seen.header("content-length") or 0)

    def state(self) -> str:
        """How an idle connection stands: alive, fin, fin without goodbye, or rst."""
        if self.sock is not None and select.select([self.sock], [], [], SILENT)[0]:
            self.more()
        return self.end or "alive"

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()


def _ended(error: OSError) -> str:
    return "rst" if isinstance(error, ConnectionResetError | BrokenPipeError) else str(error)
