"""Streams of one HTTP/2 connection: a request as it arrives, and its answer as it goes out."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from typing import cast

from fakeregistry.honest.room import FullError, Room
from fakeregistry.journal.exchange import Exchange
from fakeregistry.messages import Headers, Request, header_of
from fakeregistry.script import Data, End, Head, Raw, Script, Step, Wait
from fakeregistry.wire.heads import FIELD_LIMIT, BadRequestError
from fakeregistry.wire.reader import BODIES, BODY_LIMIT

OF_THE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}
)
"""Headers that HTTP/2 doesn't have (RFC 9113, 8.2.2)."""


class Pause:
    """A wait that a loop polls: until a moment, or until a gate opens."""

    def __init__(self, wait: Wait) -> None:
        self._gate = wait.gate
        self.descriptor = wait.gate.enter() if wait.gate is not None else None
        """What becomes readable when the gate opens; None: there is none, or it is open."""
        self.until = None if wait.seconds is None else time.monotonic() + wait.seconds
        self.over = wait.gate is not None and self.descriptor is None

    def look(self, readable: bool) -> bool:
        """Return whether the wait is over by now."""
        if readable or (self.until is not None and time.monotonic() >= self.until):
            self.over = True
            self.leave()
        return self.over

    def leave(self) -> None:
        """Wait no longer."""
        if self.descriptor is not None and self._gate is not None:
            self.descriptor = None
            self._gate.leave()


class Asking:
    """A request whose body is still to come."""

    def __init__(self, fields: Iterable[tuple[bytes, bytes]], peer: str) -> None:
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        said = {name: value for name, value in pairs if name.startswith(":")}
        headers: Headers = tuple(pair for pair in pairs if not pair[0].startswith(":"))
        authority = said.get(":authority")
        if authority is not None and header_of(headers, "host") is None:
            # Whatever looks at a request looks for its host where HTTP/1.1 says it.
            headers = (("host", authority), *headers)
        self.method = said.get(":method", "?")
        self.target = said.get(":path") or authority or "?"
        self.headers = headers
        self.peer = peer
        self.held = Held()

    def check(self) -> None:
        """Raise BadRequestError where it can't be served whatever its body is."""
        if len(self.headers) > FIELD_LIMIT:
            raise BadRequestError(431, f"more than {FIELD_LIMIT} header lines")
        if self.method == "CONNECT":
            raise BadRequestError(501, "CONNECT is not served by HTTP/2 here")
        if not (self.target.startswith("/") or self.target == "*"):
            raise BadRequestError(400, "malformed request target")
        length = header_of(self.headers, "content-length") or "0"
        if length.isdigit() and int(length) > BODY_LIMIT:
            raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")

    @property
    def expects(self) -> bool:
        """Whether the client waits for a 100 before it sends its body."""
        return (header_of(self.headers, "expect") or "").lower() == "100-continue"

    def request(self) -> Request:
        """Return the request, now that it is whole."""
        body = self.held.body.getvalue()
        return Request(self.method, self.target, self.headers, body, "https", "HTTP/2", self.peer)


class Held:
    """A request's body, and the room that it takes until the answer is done."""

    def __init__(self, room: Room = BODIES) -> None:
        self.body = io.BytesIO()
        self._room = room
        self._taken = 0

    def take(self, data: bytes) -> None:
        """Hold more bytes; raises BadRequestError where there are too many."""
        if self.body.tell() + len(data) > BODY_LIMIT:
            raise BadRequestError(413, f"the body is longer than {BODY_LIMIT} bytes")
        try:
            self._room.take(len(data))
        except FullError as full:
            raise BadRequestError(503, str(full)) from None
        self._taken += len(data)
        self.body.write(data)

    def give(self) -> None:
        """Hold nothing any more."""
        self._room.give(self._taken)
        self._taken = 0
        self.body = io.BytesIO()


class Answering:
    """An answer under way: the script's steps, and how far they have come."""

    def __init__(self, stream: int, script: Script, exchange: Exchange, held: Held) -> None:
        self.stream = stream
        self.script = script
        self.exchange = exchange
        self.held = held
        self.left = memoryview(b"")
        """What is still to be sent of the data that the last step brought."""
        self.pause: Pause | None = None
        self.dams = False
        """Whether its pause holds back the data of every stream."""
        self._steps: Iterator[Step] = script.steps()
        self._next: Step | None = next(self._steps)

    def step(self) -> Step:
        """Return the next step, which is then done."""
        step = self._next
        assert step is not None, "a script always ends by a step of its own"
        self._next = next(self._steps, None)
        # HTTP/1 alone can say this.
        while isinstance(self._next, Raw):
            self._next = next(self._steps, None)
        return step

    def comes_to_its_end(self) -> bool:
        """Whether nothing comes but a good end of the stream: then what is sent now says so."""
        return (
            isinstance(self._next, End)
            and self._next.kind in ("keep", "close", "quit", "fin")
            and not self.script.trailers
        )

    def begin(self, data: Data) -> None:
        """Take the data of a step to be sent."""
        self.left = memoryview(data.data).cast("B") if len(data.data) else memoryview(b"")

    def leave(self) -> None:
        """Give back what the answer holds."""
        if self.pause is not None:
            self.pause.leave()
        self.held.give()


def head_fields(head: Head) -> list[tuple[str, str]]:
    """Return a head as HTTP/2 says it: lower-case names, and none that are of the connection."""
    fields = [(":status", str(head.status)), *_allowed(head.headers)]
    if "date" not in head.names:
        fields.append(("date", formatdate(usegmt=True)))
    return fields


def interim_fields(status: int, headers: Headers) -> list[tuple[str, str]]:
    """Return an informational head as HTTP/2 says it."""
    return [(":status", str(status)), *_allowed(headers)]


def trailer_fields(trailers: Headers) -> list[tuple[str, str]]:
    """Return trailers as HTTP/2 says them."""
    return list(_allowed(trailers))


def _allowed(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        lower = name.lower()
        if lower not in OF_THE_CONNECTION:
            yield lower, value


def shown(fields: list[tuple[str, str]]) -> Headers:
    """Return fields as a journal shows them: without the status."""
    return cast(Headers, tuple(fields[1:]))
