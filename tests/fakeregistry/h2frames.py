"""HTTP/2 frames of a raw client: written and read by hand (RFC 9113), headers by hpack.

Nothing here shares code with the registry, nor with h2, which it uses: what it says of frames on
the wire is a witness's word.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import hpack

from fakeregistry import Registry

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 3, 4, 5
MOST = 2**31 - 1
CODES = {
    0: "NO_ERROR",
    1: "PROTOCOL_ERROR",
    2: "INTERNAL_ERROR",
    3: "FLOW_CONTROL_ERROR",
    5: "STREAM_CLOSED",
    6: "FRAME_SIZE_ERROR",
    7: "REFUSED_STREAM",
    8: "CANCEL",
    9: "COMPRESSION_ERROR",
    11: "ENHANCE_YOUR_CALM",
    13: "HTTP_1_1_REQUIRED",
}


@dataclass(frozen=True)
class Frame:
    """One frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends(self) -> bool:
        """Whether it ends its stream in good order."""
        return self.kind in (DATA, HEADERS) and bool(self.flags & END_STREAM)

    @property
    def code(self) -> str:
        """The error code of RST_STREAM or GOAWAY."""
        at = 0 if self.kind == RST_STREAM else 4
        return CODES[struct.unpack_from(">I", self.payload, at)[0]]

    @property
    def last(self) -> int:
        """The last stream that GOAWAY takes."""
        return int(struct.unpack_from(">I", self.payload)[0])

    @property
    def settings(self) -> dict[int, int]:
        """What SETTINGS say."""
        pairs = struct.iter_unpack(">HI", self.payload)
        return dict(pairs)


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """One frame's bytes."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def settings(said: Mapping[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *one) for one in said.items()))


def window_update(count: int, stream: int = 0) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))


def rst_stream(stream: int, code: int = 8) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


class Framing:
    """One connection's frames, without a socket."""

    def __init__(self) -> None:
        self._encoder, self._decoder = hpack.Encoder(), hpack.Decoder()
        self._came = b""
        self.next = 1

    def hello(self, said: Mapping[int, int] | None = None, window: int = MOST) -> bytes:
        """The preface; `window`: how much all bodies together may be in flight."""
        more = window_update(window - 65535) if window > 65535 else b""
        return PREFACE + settings({INITIAL_WINDOW_SIZE: MOST} if said is None else said) + more

    def ask(
        self, method: str, path: str, authority: str, headers: Mapping[str, str], *, end: bool
    ) -> tuple[int, bytes]:
        """A request's head, and the stream that it opens."""
        said = {":method": method, ":scheme": "https", ":authority": authority, ":path": path}
        fields = [*said.items(), *((name.lower(), value) for name, value in headers.items())]
        stream, self.next = self.next, self.next + 2
        return stream, self.head(stream, fields, end=end)

    def head(self, stream: int, fields: Iterable[tuple[str, str]], *, end: bool) -> bytes:
        flags = END_HEADERS | (END_STREAM if end else 0)
        return frame(HEADERS, flags, stream, self._encoder.encode(list(fields)))

    def fields(self, got: Frame) -> list[tuple[str, str]]:
        """The fields of a HEADERS frame; to be asked once, in order."""
        return [(str(name), str(value)) for name, value in self._decoder.decode(got.payload)]

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole by now."""
        self._came += data
        found = []
        while len(self._came) >= 9:
            head, flags, stream = struct.unpack_from(">IBI", self._came)
            if len(self._came) < 9 + (head >> 8):
                break
            payload = self._came[9 : 9 + (head >> 8)]
            self._came = self._came[9 + (head >> 8) :]
            found.append(Frame(head & 0xFF, flags, stream, payload))
        return found


@dataclass
class Answer:
    """What came on one stream; `end`: complete, fin (too short), rst_stream CODE, closed by …"""

    fields: list[tuple[str, str]] = field(default_factory=list)
    interim: list[list[tuple[str, str]]] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    sizes: list[int] = field(default_factory=list)
    end: str = ""

    @property
    def status(self) -> int:
        return int(dict(self.fields).get(":status", 0))

    def header(self, name: str) -> str | None:
        return dict(self.fields).get(name)


class H2Client:
    """A client on a TLS socket, that does nothing unasked but acknowledge SETTINGS."""

    def __init__(
        self,
        registry: Registry,
        said: Mapping[int, int] | None = None,
        window: int = MOST,
        *,
        hello: bytes | None = None,
    ) -> None:
        context = registry.topology.certificates.client_context()
        context.set_alpn_protocols(["h2"])
        sock = socket.create_connection(("127.0.0.1", registry.port), timeout=10)
        self.sock = context.wrap_socket(
            sock, server_hostname="localhost", suppress_ragged_eofs=False
        )
        assert self.sock.selected_alpn_protocol() == "h2"
        self.framing = Framing()
        self.authority = registry.host
        self.answers: dict[int, Answer] = {}
        self.others: list[Frame] = []
        self.closed = ""
        self.send(self.framing.hello(said, window) if hello is None else hello)

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        # What has been reset is told when it is read.
        with contextlib.suppress(OSError):
            self.sock.sendall(data)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> int:
        """Send a request; return its stream."""
        stream, head = self.framing.ask(
            method, path, self.authority, headers or {}, end=body is None
        )
        self.answers[stream] = Answer()
        self.send(head + (b"" if body is None else frame(DATA, END_STREAM, stream, body)))
        return stream

    def get(self, path: str, method: str = "GET", **asked: Any) -> Answer:
        """Ask, and wait for the answer."""
        stream = self.ask(path, method, **asked)
        self.until(lambda: bool(self.answers[stream].end), method)
        return self.answers[stream]

    def until(self, done: Callable[[], bool], method: str = "GET") -> None:
        """Take frames in until something is so, or the connection has ended."""
        while not done() and not self.closed:
            try:
                data = self.sock.recv(1 << 18)
            except ConnectionResetError:
                self.closed = "rst"
            except ssl.SSLEOFError:
                # OpenSSL tells FIN and RST alike: after an RST both directions are gone.
                poller = select.poll()
                poller.register(self.sock, select.POLLIN)
                gone = any(event & select.POLLHUP for _, event in poller.poll(0))
                self.closed = "rst" if gone else "fin without goodbye"
            else:
                if not data:
                    self.closed = "fin"
                for got in self.framing.feed(data):
                    self._take(got, method)
        if self.closed:
            for answer in self.answers.values():
                answer.end = answer.end or f"closed by {self.closed}"

    def frames(self, kind: int) -> list[Frame]:
        """The frames so far that are about no answer, of one kind."""
        return [one for one in self.others if one.kind == kind]

    def ping(self, payload: bytes = b"eight by") -> None:
        """Send a PING, and wait for its reply: all that was said before is understood by then."""
        self.send(frame(PING, 0, 0, payload))
        before = len(self.frames(PING))
        self.until(lambda: len(self.frames(PING)) > before)
        if not self.closed:
            assert (self.frames(PING)[-1].flags, self.frames(PING)[-1].payload) == (ACK, payload)

    def _take(self, got: Frame, method: str) -> None:
        if got.kind == SETTINGS and not got.flags & ACK:
            self.send(frame(SETTINGS, ACK))
        answer = self.answers.get(got.stream)
        if answer is None or got.kind not in (DATA, HEADERS, RST_STREAM):
            self.others.append(got)
            return
        if got.kind == HEADERS:
            fields = self.framing.fields(got)
            if fields[0][0] != ":status":
                answer.trailers = fields
            elif fields[0][1].startswith("1"):
                answer.interim.append(fields)
            else:
                answer.fields = fields
        elif got.kind == DATA:
            answer.body += got.payload
            answer.sizes.append(len(got.payload))
        else:
            # One that stops an upload after a whole answer changes nothing of it.
            answer.end = answer.end or f"rst_stream {got.code}"
        if got.ends:
            length = answer.header("content-length")
            short = length is not None and length != str(len(answer.body)) and method != "HEAD"
            answer.end = "fin" if short else "complete"
