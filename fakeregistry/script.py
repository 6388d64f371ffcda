"""A script: the answer as protocol-neutral steps, which faults edit and the wire plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from .messages import Buffer, Content, Headers, Reply, with_header, without_header
from .wire.gate import Gate

Framing = Literal["length", "chunked", "close"]
EndKind = Literal["keep", "close", "quit", "fin", "half", "drop", "rst", "rst_stream", "goaway"]
"""How an answer ends: complete and the connection stays; complete and closed; the same, but no
header says so; cut by an orderly close (TLS says goodbye, then FIN); the same, but the client is
read on; cut by FIN alone; cut by RST; of HTTP/2 alone: cut by RST_STREAM, or by GOAWAY and FIN. On
HTTP/2 "fin" ends the stream in good order, and leaves the connection."""

FILLER = memoryview(b"pullproof filler" * 4096)
ZEROS = memoryview(bytes(len(FILLER)))
"""What a body is lengthened by: constant, so that an endless body takes no memory."""

BODYLESS = frozenset({204, 304})
"""Statuses that never carry a body (RFC 9110, 6.4.1)."""


@dataclass(frozen=True)
class Writing:
    """How HTTP/1 writes a head and chunks, where not as usual. HTTP/2 has nothing of it.

    `reason` None: the usual phrase. `raw`: lines that stand in the head as they are, after the
    headers. `chunk_extension` follows the size of every chunk.
    """

    version: str = "HTTP/1.1"
    reason: str | None = None
    raw: tuple[bytes, ...] = ()
    chunk_extension: str = ""


AS_USUAL = Writing()


@dataclass(frozen=True)
class Head:
    """Send the status line and the headers."""

    status: int
    headers: Headers
    chunked: bool = False
    writing: Writing = AS_USUAL

    @property
    def shown(self) -> Headers:
        """All headers as a journal shows them: the raw lines too, as far as they are headers."""
        if not self.writing.raw:
            return self.headers
        raw = [line.decode("latin-1").partition(":") for line in self.writing.raw]
        return (*self.headers, *((name, value.strip()) for name, _, value in raw))

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the headers, in lower case."""
        return frozenset(name.lower() for name, _ in self.headers)

    @cached_property
    def lines(self) -> bytes:
        """The headers as HTTP/1 writes them, without the raw lines."""
        text = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return text.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Interim:
    """Send an informational answer, 100 to 199, before the final one (RFC 9110, 15.2)."""

    status: int
    headers: Headers = ()


@dataclass(frozen=True)
class Raw:
    """Send bytes into the body as they are, past every framing: HTTP/1 alone can say this."""

    data: bytes


@dataclass(frozen=True)
class Data:
    """Send these body bytes."""

    data: Buffer


@dataclass(frozen=True)
class Wait:
    """Say nothing for `seconds`; None waits until the gate opens, the client goes, or the end.

    `inside_record`: under TLS half of the record that comes next is sent before. `dams`: on HTTP/2
    no other answer's body goes on meanwhile either.
    """

    seconds: float | None
    gate: Gate | None = None
    inside_record: bool = False
    dams: bool = False


@dataclass(frozen=True)
class End:
    """End the answer. `terminated` says whether a chunked body gets its last chunk.

    `whole`: the answer is complete, whatever its kind of end says. `hold` is waited with the
    connection as it is then: open, or half closed. `code`: the error code of an end that is of
    HTTP/2 alone (RFC 9113, 7).
    """

    kind: EndKind
    terminated: bool = True
    whole: bool = False
    hold: Wait | None = None
    code: int = 0


@dataclass(frozen=True)
class GoAway:
    """Say that this HTTP/2 connection takes no further requests (RFC 9113, 6.8).

    `taken`: whether this request still counts as taken. `finishes`: the connection closes once its
    answers have gone out; else it stays, and says nothing to what is asked later.
    """

    code: int = 0
    taken: bool = True
    finishes: bool = True


@dataclass(frozen=True)
class Act:
    """Do something beside the answer, such as opening another rule's gate."""

    run: Callable[[], object]


@dataclass(frozen=True)
class HandOver:
    """Let somebody else have the connection, who says all and ends it: a proxy on its way on."""

    run: Callable[[Any, Any], object]


Step = Head | Interim | Data | Raw | Wait | Act | GoAway | HandOver | End


@dataclass(frozen=True)
class Pace:
    """Send at most `size` bytes, then wait `seconds`, and so on."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Script:
    """An answer that can be edited: what is said, in which framing, with what pauses and end.

    Offsets count bytes of this answer's body. `marks` are waits and ends inside the body, sorted
    when played; what stands at one offset keeps its order. `promised` replaces the length that the
    headers state (None: the true one), `lengths` are Content-Length lines in raw text instead of
    it, also beside chunks. `filler` bytes follow the body: `pattern`, over and over. `trailers`
    follow a chunked body; HTTP/2 sends them whatever the framing is. `hold` is waited after a
    complete answer, before the next request is read. `hand_over`: nothing of all this, but somebody
    else has the connection.
    """

    status: int
    headers: Headers = ()
    body: Buffer = b""
    content: Content | None = None
    start: int = 0
    head_only: bool = False
    framing: Framing = "length"
    promised: int | None = None
    lengths: tuple[str, ...] | None = None
    trailers: Headers = ()
    writing: Writing = AS_USUAL
    before: tuple[Interim | Raw | Wait | Act | GoAway | End, ...] = ()
    marks: tuple[tuple[int, Raw | Wait | GoAway | End], ...] = ()
    flips: tuple[int, ...] = ()
    pace: Pace | None = None
    filler: int = 0
    pattern: Buffer = FILLER
    end: EndKind = "keep"
    hold: Wait | None = None
    hand_over: HandOver | None = None

    @classmethod
    def of(cls, reply: Reply, *, head_only: bool = False) -> Script:
        """Return the honest script of a reply."""
        return cls(
            reply.status,
            reply.headers,
            reply.body,
            reply.content,
            reply.start,
            head_only=head_only,
        )

    @property
    def length(self) -> int:
        """How many body bytes the answer really has (also where a HEAD keeps them back)."""
        return len(self.body) + self.filler

    @property
    def may_have_body(self) -> bool:
        """Whether a body follows the head, be it an empty one."""
        return not self.head_only and self.status not in BODYLESS

    @property
    def has_body(self) -> bool:
        """Whether body bytes will go out."""
        return self.may_have_body and self.length > 0

    @property
    def closes(self) -> bool:
        """Whether the connection ends with the answer."""
        by_framing = self.framing == "close" and self.may_have_body
        return by_framing or self.end in ("close", "fin", "drop")

    def with_body(self, body: Buffer, start: int | None = None) -> Script:
        """Return the script with other bytes and nothing after them; `start`: in the object."""
        start = self.start if start is None else start
        return replace(
            self, body=body, start=start, filler=0, pattern=FILLER, flips=(), hand_over=None
        )

    def with_reply(self, status: int, headers: Headers, body: Buffer) -> Script:
        """Return the script saying something else: the object behind it is gone."""
        return replace(self.with_body(body, 0), status=status, headers=headers, content=None)

    def with_mark(self, offset: int, step: Raw | Wait | GoAway | End) -> Script:
        """Return the script with raw bytes, a wait or an end at an offset of the body."""
        return replace(self, marks=(*self.marks, (offset, step)))

    def final_headers(self) -> Headers:
        """Return the headers with their framing, as the head sends them."""
        headers = without_header(self.headers, "Content-Length", "Transfer-Encoding")
        if self.status in BODYLESS:
            return headers
        if self.framing == "close":
            return with_header(headers, "Connection", "close") if self.may_have_body else headers
        said = self.lengths or ()
        if self.framing == "chunked":
            headers = with_header(headers, "Transfer-Encoding", "chunked")
        elif self.lengths is None:
            said = (str(self.length if self.promised is None else self.promised),)
        return (*headers, *(("Content-Length", text) for text in said))

    @cached_property
    def head(self) -> Head:
        """The head with its framing. Kept, for an honest answer is played again and again."""
        chunked = self.framing == "chunked" and self.may_have_body
        return Head(self.status, self.final_headers(), chunked, self.writing)

    def steps(self) -> Iterator[Step]:
        """Yield the steps of the answer, ending with exactly one `End` or `HandOver`."""
        for step in self.before:
            yield step
            if isinstance(step, End):
                return
        if self.hand_over is not None:
            yield self.hand_over
            return
        yield self.head
        end = End("close" if self.closes and self.end == "keep" else self.end, hold=self.hold)
        if not self.may_have_body:
            yield end
            return
        offset = 0
        for at, mark in sorted(self.marks, key=lambda mark: mark[0]):
            if at > self.length:
                continue
            yield from self._data(offset, at)
            offset = at
            yield mark
            if isinstance(mark, End):
                return
        yield from self._data(offset, self.length)
        yield end

    def _data(self, start: int, stop: int) -> Iterator[Step]:
        pace = self.pace
        if pace is None:
            yield from map(Data, self.pieces(start, stop))
            return
        for offset in range(start, stop, pace.size):
            yield from map(Data, self.pieces(offset, min(stop, offset + pace.size)))
            if offset + pace.size < self.length:
                yield Wait(pace.seconds)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Buffer]:
        """Yield the body's bytes from start to stop, flipped where asked, without a copy."""
        stop = self.length if stop is None else stop
        body = memoryview(self.body)
        size = len(body)
        offset = start
        for flip in sorted(self.flips):
            if offset <= flip < min(stop, size):
                if flip > offset:
                    yield body[offset:flip]
                yield bytes([body[flip] ^ 0xFF])
                offset = flip + 1
        if offset < min(stop, size):
            yield body[offset : min(stop, size)]
            offset = min(stop, size)
        pattern = memoryview(self.pattern)
        while offset < stop:
            at = (offset - size) % len(pattern)
            amount = min(stop - offset, len(pattern) - at)
            yield pattern[at : at + amount]
            offset += amount
