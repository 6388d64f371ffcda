"""One HTTP/2 connection, from the client's preface to its end: a loop of reading and sending."""

from __future__ import annotations

import contextlib
import math
import select
import ssl
import time
from typing import TYPE_CHECKING, Protocol

from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)

from fakeregistry.journal.exchange import Connection, Exchange
from fakeregistry.journal.journal import Ended, Journal
from fakeregistry.messages import Facts, Request, error
from fakeregistry.script import Script
from fakeregistry.wire.greeting import Greeting
from fakeregistry.wire.heads import BadRequestError
from fakeregistry.wire.player import ClientGoneError, Player

from .elsewhere import Elsewhere
from .frames import STREAM_WINDOW, BrokenError, Frames, code_name
from .playing import OverError, Playing
from .streams import Answering, Asking, Held, Pause

if TYPE_CHECKING:
    from fakeregistry.wire.served import Handler

RESETS = 100
"""So many streams may be opened in vain, beside one for each that is answered: opening and
resetting them costs a client nothing, and us an answer each (CVE-2023-44487)."""
_RECEIVED = 64 << 10
_LAST_WORD = 1.0
"""How many seconds a client that is cut may take to hear why."""
_READS = 8
"""So many reads are made before answers go on."""
_HANG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Line(Protocol):
    """The connection as those see it who may end it."""

    stopping: bool

    @property
    def cut(self) -> str | None:
        """How it is to end, once somebody has told."""
        ...

    def rests(self, since: float | None, *, idle: bool) -> None:
        """Be told since when the client is waited for, and whether no request is carried."""
        ...


class Conversation:
    """One connection, as its thread sees it."""

    def __init__(
        self,
        sock: ssl.SSLSocket,
        handler: Handler,
        record: Connection,
        greeting: Greeting,
        line: Line,
        player: Player,
    ) -> None:
        self._sock = sock
        self._handler = handler
        self._journal: Journal = handler.journal
        self._record = record
        self._greeting = greeting
        self._line = line
        self._shut = None if greeting.shut is None else Pause(greeting.shut)
        window = STREAM_WINDOW if self._shut is None or self._shut.over else 0
        self._frames = Frames(greeting.streams, window)
        self._playing = Playing(sock, self._frames, self._journal, player, self._rest)
        self._asking: dict[int, Asking] = {}
        self._begun = 0
        self._deaf = greeting.deaf
        self._wasted = 0
        self._elsewhere = Elsewhere()

    def run(self) -> str | None:
        """Converse to the end; return what went wrong, or None."""
        self._sock.setblocking(False)
        try:
            return self._converse()
        except OverError as over:
            return over.why
        except BrokenError as broken:
            why = f"HTTP/2: {code_name(broken.code)}: {broken}"
            self._end(broken.code, str(broken))
            return why
        except (OSError, ClientGoneError):
            if self._line.cut is None and not self._playing.count:
                raise
            return None
        finally:
            self._leave()

    def _converse(self) -> str | None:
        playing = self._playing
        self._rest(True)
        self._go_deaf()
        while True:
            playing.go_on()
            self._go_deaf()
            if playing.last_taken is not None and playing.finishing and self._is_idle:
                playing.close()
            if not self._wait():
                continue
            if self._line.cut == "silent":
                return None
            said = self._read()
            if said is not None:
                return said or None

    def _go_deaf(self) -> None:
        """Stand still once so many requests are answered, if a rule says so."""
        deaf = self._deaf
        if deaf is not None and self._begun >= self._greeting.deaf_from and self._is_idle:
            self._deaf = None
            self._playing.stand_still(deaf)

    # waiting

    def _wait(self) -> bool:
        """Wait until something can be done; return whether the client has said something."""
        playing = self._playing
        pauses = playing.pauses
        if self._shut is not None and not self._shut.over:
            pauses = [*pauses, self._shut]
        poller = select.poll()
        mine = self._sock.fileno()
        poller.register(mine, select.POLLIN | (0 if playing.drained else select.POLLOUT))
        for pause in pauses:
            if pause.descriptor is not None:
                poller.register(pause.descriptor, select.POLLIN)
        if self._elsewhere.descriptor is not None:
            poller.register(self._elsewhere.descriptor, select.POLLIN)
        ready = dict(poller.poll(self._patience(pauses)))
        for pause in pauses:
            pause.look(pause.descriptor in ready)
        if self._shut is not None and self._shut.over:
            self._shut = None
            self._frames.open_window(STREAM_WINDOW)
        for finished in self._elsewhere.finished():
            finished()
        return bool(ready.get(mine, 0) & (select.POLLIN | _HANG_UP)) or self._sock.pending() > 0

    def _patience(self, pauses: list[Pause]) -> int | None:
        """How many milliseconds may pass before something is due; None: no limit."""
        if self._playing.can_go or self._sock.pending():
            return 0
        due = min((pause.until for pause in pauses if pause.until is not None), default=None)
        return None if due is None else max(0, math.ceil((due - time.monotonic()) * 1000))

    @property
    def _is_idle(self) -> bool:
        return not (self._playing.busy or self._elsewhere.busy or self._asking)

    def _rest(self, waiting: bool) -> None:
        """Tell who watches whether we wait for the client: for a body, or the next request."""
        idle = self._is_idle
        waiting = waiting and (idle or bool(self._asking))
        self._line.rests(time.monotonic() if waiting else None, idle=idle)

    # reading

    def _read(self) -> str | None:
        """Take what the client says; return why that was the last of it, "" for no reason."""
        for _ in range(_READS):
            try:
                data = self._sock.recv(_RECEIVED)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return None
            if not data:
                return self._gone()
            for event in self._frames.feed(data):
                self._hear(event)
            self._playing.send()
        return None

    def _gone(self) -> str:
        """The client has closed, or somebody else has ended our reading."""
        cut = self._line.cut
        if cut in ("fin", "late"):
            self._frames.goaway(ErrorCodes.NO_ERROR, self._frames.last)
            self._playing.flush()
        if cut == "late" and self._asking:
            return "no whole request within the time allowed"
        return ""

    def _hear(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            assert event.stream_id is not None
            self._open(event.stream_id, Asking(event.headers or [], self._record.peer))
        elif isinstance(event, DataReceived):
            self._take(event)
        elif isinstance(event, StreamEnded):
            asking = self._asking.pop(event.stream_id or 0, None)
            if asking is not None:
                self._answer(event.stream_id or 0, asking)
        elif isinstance(event, StreamReset):
            self._reset(event)
        elif isinstance(event, ConnectionTerminated):
            code = code_name(event.error_code or 0)
            raise OverError(None if code == "NO_ERROR" else f"the client said GOAWAY {code}")

    def _open(self, stream: int, asking: Asking) -> None:
        """Begin a request, unless it is one too many."""
        self._frames.forward()
        playing = self._playing
        if playing.last_taken is not None and stream > playing.last_taken:
            self._waste()
            self._unheard(asking, stream, *playing.unheard)
            return
        if self._deaf is not None and self._begun >= self._greeting.deaf_from:
            self._waste()
            return
        under_way = len(self._asking) + playing.count + self._elsewhere.count
        if under_way >= self._greeting.streams:
            self._waste()
            self._unheard(asking, stream, "rst_stream", ErrorCodes.REFUSED_STREAM)
            self._frames.reset(stream, ErrorCodes.REFUSED_STREAM)
            return
        self._begun += 1
        if self._begun == self._greeting.requests:
            playing.retire(announced=self._greeting.announced, last=stream)
        try:
            asking.check()
        except BadRequestError as problem:
            self._refuse(stream, asking, problem)
            return
        if asking.expects and self._frames.alive(stream):
            self._frames.headers(stream, [(":status", "100")])
        self._asking[stream] = asking
        self._rest(True)

    def _take(self, event: DataReceived) -> None:
        """Take a piece of a request's body; give the client room for another one."""
        stream = event.stream_id or 0
        asking = self._asking.get(stream)
        if asking is not None and event.data:
            self._frames.forward()
            try:
                asking.held.take(event.data)
            except BadRequestError as problem:
                del self._asking[stream]
                self._refuse(stream, asking, problem)
        if self._shut is None:
            self._frames.received(stream, event.flow_controlled_length or 0)
        self._rest(True)

    def _reset(self, event: StreamReset) -> None:
        """Forget a stream that the client has given up."""
        stream = event.stream_id or 0
        asking = self._asking.pop(stream, None)
        if asking is not None:
            asking.held.give()
        self._playing.given_up(stream, code_name(event.error_code or 0))
        self._rest(True)
        if event.remote_reset:
            self._waste()

    def _waste(self) -> None:
        self._wasted += 1
        if self._wasted > RESETS + self._playing.completed:
            message = "too many streams are opened in vain"
            raise BrokenError(ErrorCodes.ENHANCE_YOUR_CALM, message)

    # answering

    def _answer(self, stream: int, asking: Asking) -> None:
        request = asking.request()
        if self._handler.may_wait():
            # A test's own function answers, and may wait for another stream's request.
            self._elsewhere.run(
                lambda: self._handler.handle(request, self._record),
                lambda script, exchange: self._begin(stream, script, exchange, asking.held),
                self._abandoned,
            )
        else:
            self._begin(stream, *self._handler.handle(request, self._record), asking.held)
        self._rest(True)

    def _begin(self, stream: int, script: Script, exchange: Exchange, held: Held) -> None:
        exchange.stream = stream
        answer = Answering(stream, script, exchange, held)
        if not self._frames.alive(stream):
            answer.leave()
            self._journal.end(exchange, "client_gone")
            return
        self._playing.add(answer)

    def _abandoned(self, exchange: Exchange) -> None:
        self._journal.end(exchange, "stopped" if self._line.stopping else "client_gone")

    def _refuse(self, stream: int, asking: Asking, problem: BadRequestError) -> None:
        """Answer a request that can't be served, though more of it may come."""
        asking.held.give()
        request = self._bare(asking)
        exchange = self._journal.begin(request, Facts(), self._record)
        reply = error(problem.status, "UNSUPPORTED", problem.message)
        script = Script.of(reply, head_only=asking.method == "HEAD")
        self._begin(stream, script, exchange, Held())

    def _unheard(self, asking: Asking, stream: int, how: Ended, code: int) -> None:
        """Record a request that isn't even looked at."""
        exchange = self._journal.begin(self._bare(asking), Facts(), self._record)
        exchange.stream, exchange.code = stream, code_name(code)
        self._journal.end(exchange, how)

    def _bare(self, asking: Asking) -> Request:
        headers, peer = asking.headers[:64], self._record.peer
        return Request(asking.method, asking.target, headers, b"", "https", "HTTP/2", peer)

    # ending

    def _end(self, code: int, why: str) -> None:
        """Say why the connection ends, and end it."""
        self._playing.cut("goaway", code_name(code))
        self._frames.goaway(code, self._frames.last, why)
        with contextlib.suppress(OverError, OSError):
            self._playing.close(within=_LAST_WORD)

    def _leave(self) -> None:
        self._elsewhere.close()
        if self._shut is not None:
            self._shut.leave()
        for asking in self._asking.values():
            asking.held.give()
        self._playing.cut("stopped" if self._line.stopping else "client_gone")
