"""The answers of one HTTP/2 connection: who may send next, and what has truly been sent."""

from __future__ import annotations

import math
import select
import ssl
import time
from collections.abc import Callable
from typing import NoReturn

from fakeregistry.journal.exchange import Ended
from fakeregistry.journal.journal import Journal
from fakeregistry.script import Act, Data, End, GoAway, Head, Interim, Raw, Wait
from fakeregistry.wire.player import Player

from .frames import Frames, code_name
from .streams import Answering, Pause, head_fields, interim_fields, shown, trailer_fields

ALONE = 256 << 10
"""How many bytes of a body go out at once where no other answer waits."""
SHARED = 64 << 10
"""How many go out before the next answer's turn, where others wait."""


class OverError(Exception):
    """The connection is over; `why`: what went wrong, or None."""

    def __init__(self, why: str | None = None) -> None:
        super().__init__(why)
        self.why = why


class Playing:
    """Plays scripts on the streams of one connection, each as far as the client lets it.

    Bodies take turns, so that a window that the client gives the connection is shared. Only what
    has left is recorded as sent; nothing new is made before it has. `rest` is called where it may
    have changed who is waited for: with False, where nobody is.
    """

    def __init__(
        self,
        sock: ssl.SSLSocket,
        frames: Frames,
        journal: Journal,
        player: Player,
        rest: Callable[[bool], None],
    ) -> None:
        self._sock = sock
        self._frames = frames
        self._journal = journal
        self._player = player
        self._rest = rest
        self._answers: list[Answering] = []
        self._sending = memoryview(b"")
        self._then: list[Callable[[], None]] = []
        self._made = 0
        self.completed = 0
        self.last_taken: int | None = None
        """The last stream that is answered, once no other one will be."""
        self.finishing = False
        self.unheard: tuple[Ended, int] = ("goaway", 0)
        """How requests on later streams end, and the code that says so."""

    # what others see

    @property
    def busy(self) -> bool:
        """Whether some answer is under way."""
        return bool(self._answers) or bool(self._then)

    @property
    def count(self) -> int:
        """How many answers are under way."""
        return len(self._answers)

    @property
    def drained(self) -> bool:
        """Whether all that was made has left."""
        return not self._sending

    @property
    def pauses(self) -> list[Pause]:
        """What is waited for."""
        return [one.pause for one in self._answers if one.pause is not None]

    @property
    def can_go(self) -> bool:
        """Whether some answer can go on right now."""
        return self.drained and any(self._may_go(one) for one in self._answers)

    def add(self, answer: Answering) -> None:
        """Begin an answer."""
        self._answers.append(answer)

    def given_up(self, stream: int, code: str) -> None:
        """Drop the answer on a stream that the client has reset."""
        for answer in self._answers:
            if answer.stream == stream:
                answer.exchange.code = code
                self._drop(answer, "client_gone")
                return

    def cut(self, how: Ended, code: str | None = None) -> None:
        """Drop every answer."""
        for answer in list(self._answers):
            answer.exchange.code = code
            self._drop(answer, how)

    def retire(self, *, announced: bool, last: int) -> None:
        """Take no request after a stream; close once all are answered."""
        self.last_taken, self.finishing = last, True
        self.unheard = ("goaway" if announced else "fin", 0)
        if announced:
            self._frames.goaway(0, last)

    # going on

    def go_on(self) -> None:
        """Let each answer that can go on have its turn, unless the client takes no more now."""
        self.send()
        if self.drained:
            self._turns()
            self.send()

    def _turns(self) -> None:
        self._made = 0
        for answer in list(self._answers):
            if self._made >= ALONE:
                break
            if answer in self._answers and self._may_go(answer):
                self._turn(answer)
                if answer in self._answers and len(self._answers) > 1:
                    self._answers.remove(answer)
                    self._answers.append(answer)

    def _may_go(self, answer: Answering) -> bool:
        if answer.pause is not None and not answer.pause.over:
            return False
        return not answer.left or (not self._dammed and self._frames.room(answer.stream) > 0)

    @property
    def _dammed(self) -> bool:
        return any(one.dams and one.pause and not one.pause.over for one in self._answers)

    def _turn(self, answer: Answering) -> None:
        """Play an answer until it waits, ends, or has sent its share."""
        answer.pause = None
        share = ALONE if len(self._answers) == 1 else SHARED
        while share > 0:
            if answer.left:
                room = 0 if self._dammed else self._frames.room(answer.stream)
                count = min(room, share, len(answer.left))
                if count <= 0:
                    return
                share -= count
                if self._data(answer, count):
                    return
                continue
            step = answer.step()
            if isinstance(step, Data):
                answer.begin(step)
            elif isinstance(step, Head):
                if self._head(answer, step):
                    return
            elif isinstance(step, Wait):
                answer.pause, answer.dams = Pause(step), step.dams
                if not answer.pause.over:
                    return
            elif isinstance(step, Interim):
                # An upgrade is no answer here (RFC 9113, 8.6).
                if step.status != 101:
                    fields = interim_fields(step.status, step.headers)
                    self._frames.headers(answer.stream, fields)
            elif isinstance(step, Act):
                step.run()
            elif isinstance(step, GoAway):
                self._go_away(answer, step)
            elif isinstance(step, End):
                self._end(answer, step)
                return
            else:
                assert isinstance(step, Raw)  # HTTP/1 alone can say this

    def _head(self, answer: Answering, head: Head) -> bool:
        """Send a head; return whether the answer ends with it."""
        fields = head_fields(head)
        ends = answer.comes_to_its_end()
        answer.exchange.leaving = answer.exchange.leaving or ends
        self._frames.headers(answer.stream, fields, end=ends)
        exchange = answer.exchange
        self._then.append(lambda: self._journal.head(exchange, head.status, shown(fields)))
        if ends:
            self._finish(answer)
        return ends

    def _data(self, answer: Answering, count: int) -> bool:
        """Send bytes of a body; return whether the answer ends with them."""
        piece, answer.left = answer.left[:count], answer.left[count:]
        exchange = answer.exchange
        # Before the client can have it: whoever has all of an answer never meets it under way.
        exchange.due += count
        exchange.leaving = exchange.leaving or exchange.due >= answer.script.length
        ends = not answer.left and answer.comes_to_its_end()
        if ends:
            self._frames.last_data(answer.stream, piece)
        else:
            self._frames.data(answer.stream, piece)
        self._frames.forward()
        self._made += count
        self._then.append(lambda: self._journal.sent(exchange, count))
        if ends:
            self._finish(answer)
        return ends

    # ends

    def _finish(self, answer: Answering) -> None:
        """Do what an end says whose flag was just sent."""
        step = answer.step()
        assert isinstance(step, End)
        self._end(answer, step, said=True)

    def _end(self, answer: Answering, step: End, *, said: bool = False) -> None:
        """End an answer; `said`: the stream has been told already."""
        answer.exchange.leaving = True
        kind = step.kind
        if kind == "close" and answer.script.end == "keep":
            kind = "keep"  # a body without a length ends by itself here
        if kind == "rst_stream":
            self._frames.reset(answer.stream, step.code)
            self._gone(answer, "rst_stream", code_name(step.code))
        elif kind in ("keep", "close", "quit", "fin"):
            if not said:
                self._say_end(answer)
            if self._frames.alive(answer.stream):
                # The client needn't send the rest of its request (RFC 9113, 8.1).
                self._frames.reset(answer.stream, 0)
            whole = step.whole or kind != "fin"
            self.completed += 1
            self._gone(answer, "complete" if whole else "fin")
            self._after(answer, step, kind)
        else:
            self._end_connection(answer, step)

    def _say_end(self, answer: Answering) -> None:
        trailers = trailer_fields(answer.script.trailers)
        if trailers:
            self._frames.headers(answer.stream, trailers, end=True)
        else:
            self._frames.end(answer.stream)

    def _after(self, answer: Answering, step: End, kind: str) -> None:
        """Do what follows an answer that went out."""
        if step.hold is not None:
            self.flush()
            self.stand_still(step.hold)
        if kind == "quit":
            self.close()
        if kind == "close" and self.last_taken is None:
            self.retire(announced=True, last=self._frames.last)

    def _end_connection(self, answer: Answering, step: End) -> None:
        """End all with an answer: every other one is cut in the same way."""
        self.flush()
        if step.kind == "rst":
            self._player.reset()
            self.cut("rst")
            raise OverError
        if step.kind == "goaway":
            self.cut("goaway", code_name(step.code))
            self.close()
        self._player.say_goodbye(notify=step.kind != "drop")
        if step.whole:
            self._drop(answer, "complete")
        self.cut("fin")
        if step.kind == "half":
            self._player.swallow(step.hold or Wait(None))
        else:
            self._player.linger()
        raise OverError

    def _go_away(self, answer: Answering, step: GoAway) -> None:
        last = self._frames.last if step.taken else 0
        self._frames.goaway(step.code, last)
        self.unheard = ("goaway", step.code)
        self.last_taken = self._frames.last
        self.finishing = step.finishes
        answer.exchange.code = code_name(step.code)

    def _gone(self, answer: Answering, how: Ended, code: str | None = None) -> None:
        """Drop an answer whose end is on its way, and record it when it has left."""
        exchange = answer.exchange
        exchange.code = code or exchange.code
        self._answers.remove(answer)
        answer.leave()
        self._then.append(lambda: self._journal.end(exchange, how))

    def _drop(self, answer: Answering, how: Ended) -> None:
        """Drop an answer, and record it at once."""
        self._answers.remove(answer)
        answer.leave()
        self._journal.end(answer.exchange, how)

    def stand_still(self, wait: Wait) -> None:
        """Neither read nor say anything; raises ClientGoneError where the client hangs up."""
        self._rest(False)
        self._player.wait(wait)
        self._rest(True)

    def close(self, within: float | None = None) -> NoReturn:
        """Close in good order, after all that was made; raises OverError.

        `within`: what the client doesn't take in so many seconds is lost.
        """
        self.flush(within)
        self._player.say_goodbye()
        self._player.linger()
        raise OverError

    # sending

    def send(self) -> None:
        """Send as much of what was made as the client takes now."""
        while True:
            if not self._sending:
                self._sending = self._frames.take()
                if not self._sending:
                    self._sent()
                    return
            try:
                count = self._sock.send(self._sending)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                return
            self._sending = self._sending[count:]

    def flush(self, within: float | None = None) -> None:
        """Send all that was made, however long the client takes, or within so many seconds."""
        self.send()
        poller = select.poll()
        poller.register(self._sock, select.POLLOUT)
        end = math.inf if within is None else time.monotonic() + within
        while not self.drained and (left := end - time.monotonic()) > 0:
            poller.poll(None if within is None else math.ceil(left * 1000))
            self.send()

    def _sent(self) -> None:
        """Record what has left."""
        if not self._then:
            return
        then, self._then = self._then, []
        # Before anybody can see in the journal that the answers are complete.
        self._rest(True)
        for record in then:
            record()
