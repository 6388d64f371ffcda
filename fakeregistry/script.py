"""A script: the answer as protocol-neutral steps, which faults edit and the wire plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .gate import Gate
from .messages import Buffer, Content, Headers, Reply, with_header, without_header

Framing = Literal["length", "chunked", "close"]
EndKind = Literal["keep", "close", "fin", "drop", "rst"]
"""How an answer ends: complete and the connection stays; complete and closed; cut by an orderly
close (TLS says goodbye, then FIN); cut by FIN alone; cut by RST."""

BODYLESS = frozenset({204, 304})
"""Statuses that never carry a body (RFC 9110, 6.4.1)."""


@dataclass(frozen=True)
class Head:
    """Send the status line and the headers."""

    status: int
    headers: Headers
    chunked: bool = False


@dataclass(frozen=True)
class Data:
    """Send these body bytes."""

    data: Buffer


@dataclass(frozen=True)
class Wait:
    """Say nothing for `seconds`; None waits until the gate opens, the client goes, or the end."""

    seconds: float | None
    gate: Gate | None = None


@dataclass(frozen=True)
class End:
    """End the answer. `terminated` says whether a chunked body gets its last chunk."""

    kind: EndKind
    terminated: bool = True


@dataclass(frozen=True)
class Act:
    """Do something beside the answer, such as opening another rule's gate."""

    run: Callable[[], object]


Step = Head | Data | Wait | Act | End


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
    headers state (None: the true one). `filler` bytes follow the body.
    """

    status: int
    headers: Headers = ()
    body: Buffer = b""
    content: Content | None = None
    start: int = 0
    head_only: bool = False
    framing: Framing = "length"
    promised: int | None = None
    before: tuple[Wait | Act | End, ...] = ()
    marks: tuple[tuple[int, Wait | End], ...] = ()
    flips: tuple[int, ...] = ()
    pace: Pace | None = None
    filler: int = 0
    end: EndKind = "keep"

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
    def has_body(self) -> bool:
        """Whether body bytes will go out."""
        return not self.head_only and self.status not in BODYLESS and self.length > 0

    def with_reply(self, status: int, headers: Headers, body: Buffer) -> Script:
        """Return the script saying something else: the object behind it is gone."""
        return replace(self, status=status, headers=headers, body=body, content=None, start=0)

    def with_mark(self, offset: int, step: Wait | End) -> Script:
        """Return the script with a wait or an end at an offset of the body."""
        return replace(self, marks=(*self.marks, (offset, step)))

    def final_headers(self) -> Headers:
        """Return the headers with their framing, as the head sends them."""
        headers = without_header(self.headers, "Content-Length", "Transfer-Encoding")
        if self.status in BODYLESS:
            return headers
        if self.framing == "length":
            promised = self.length if self.promised is None else self.promised
            return with_header(headers, "Content-Length", str(promised))
        if self.framing == "chunked":
            return with_header(headers, "Transfer-Encoding", "chunked")
        return with_header(headers, "Connection", "close")

    def steps(self) -> Iterator[Step]:
        """Yield the steps of the answer, ending with exactly one `End`."""
        for step in self.before:
            yield step
            if isinstance(step, End):
                return
        chunked = self.framing == "chunked" and self.has_body
        yield Head(self.status, self.final_headers(), chunked)
        end = End("close" if self.framing == "close" and self.end == "keep" else self.end)
        if self.head_only or self.status in BODYLESS:
            yield end
            return
        offset = 0
        for at, step in sorted(self.marks, key=lambda mark: mark[0]):
            if at > self.length:
                continue
            yield from self._data(offset, at)
            offset = at
            yield step
            if isinstance(step, End):
                return
        yield from self._data(offset, self.length)
        yield end

    def _data(self, start: int, stop: int) -> Iterator[Step]:
        pace = self.pace
        if pace is None:
            yield from self._pieces(start, stop)
            return
        for offset in range(start, stop, pace.size):
            yield from self._pieces(offset, min(stop, offset + pace.size))
            if offset + pace.size < self.length:
                yield Wait(pace.seconds)

    def _pieces(self, start: int, stop: int) -> Iterator[Data]:
        """Yield the bytes from start to stop, flipped where asked, never copying the body."""
        body = memoryview(self.body)
        size = len(body)
        offset = start
        for flip in sorted(self.flips):
            if offset <= flip < min(stop, size):
                if flip > offset:
                    yield Data(body[offset:flip])
                yield Data(bytes([body[flip] ^ 0xFF]))
                offset = flip + 1
        if offset < min(stop, size):
            yield Data(body[offset : min(stop, size)])
            offset = min(stop, size)
        while offset < stop:
            amount = min(stop - offset, len(_FILLER))
            yield Data(_FILLER[:amount])
            offset += amount


_FILLER = memoryview(b"pullproof filler" * 4096)
