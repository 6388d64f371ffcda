"""Frames of one HTTP/2 connection (RFC 9113): what arrives as events, what is sent as bytes.

The h2 library keeps the protocol's state. Here stands what it leaves to its users, and what a
registry under attack can't leave to it: bounds on frames and floods, refused streams, GOAWAY that
lets answers go on, and DATA without copies.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

FRAME_LIMIT = 1 << 14
"""The longest frame that a client may send, in bytes: what every client can rely on (6.5.2)."""
HEADERS_LIMIT = 64 << 10
"""The largest header list of a request: names, values, and 32 bytes for each (6.5.2)."""
STREAM_WINDOW = 1 << 20
CONNECTION_WINDOW = 8 << 20
"""How many bytes of request bodies may be under way: of one, and of all of a connection."""
IDLE_FRAMES = 10_000
"""So many frames in which nothing goes forward are taken for an attack."""
ANSWER_LIMIT = 64 << 10
"""So many bytes of replies to a client that doesn't read them are taken for an attack."""

_DATA, _SETTINGS, _GOAWAY = 0, 4, 7
_HEAD = struct.Struct(">IBI")
"""Length and type in one number, flags, stream (4.1)."""


class BrokenError(Exception):
    """The client broke the protocol, or attacks: the connection ends by GOAWAY with `code`."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def code_name(code: int) -> str:
    """Return an error code by its name in RFC 9113, 7; an unknown one as a number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"0x{code:x}"


class Frames:
    """One connection's frames. Owned by the connection's thread.

    `streams`: how many requests a client may have open at once. `window`: how many bytes of a
    request's body it may send unasked.
    """

    def __init__(self, streams: int, window: int = STREAM_WINDOW) -> None:
        self._h2 = H2Connection(
            H2Configuration(
                client_side=False,
                # Faults say what no honest server may say.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self._guard = _Guard()
        self._queue = bytearray()
        self._greet(streams, window)

    def _greet(self, streams: int, window: int) -> None:
        says = {
            SettingCodes.MAX_CONCURRENT_STREAMS: streams,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_LIMIT,
        }
        self._h2.local_settings = Settings(client=False, initial_values=says)
        self._h2.initiate_connection()
        # h2 would end the connection where one stream is too many; that is refused here, as the
        # RFC wants it (5.1.2): a client may open streams before it knows the limit.
        says[SettingCodes.MAX_CONCURRENT_STREAMS] = 2**31 - 1
        self._h2.local_settings = Settings(client=False, initial_values=says)
        self._h2.decoder.max_header_list_size = HEADERS_LIMIT
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - 65_535)

    # in

    def feed(self, data: bytes) -> list[Event]:
        """Take what the client sent; raises BrokenError, with the events before it lost."""
        self._guard.check(data)
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as problem:
            self._h2.clear_outbound_data_buffer()
            raise BrokenError(problem.error_code, str(problem) or type(problem).__name__) from None
        self._collect()
        if len(self._queue) > ANSWER_LIMIT:
            message = "the client asks for replies and doesn't read them"
            raise BrokenError(ErrorCodes.ENHANCE_YOUR_CALM, message)
        return events

    def forward(self) -> None:
        """Say that something went forward: what came before was no flood."""
        self._guard.idle = 0

    def received(self, stream: int, count: int) -> None:
        """Let the client send as many bytes again as it has sent on a stream."""
        if count:
            self._h2.acknowledge_received_data(count, stream)

    def open_window(self, window: int) -> None:
        """Allow so many bytes of a request's body from now on, also on streams that are open."""
        self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})

    @property
    def last(self) -> int:
        """The newest stream that the client opened; 0 for none."""
        return self._h2.highest_inbound_stream_id

    # out

    def alive(self, stream: int) -> bool:
        """Whether anything can be sent on a stream."""
        known = self._h2.streams.get(stream)
        return known is not None and not known.closed

    def room(self, stream: int) -> int:
        """How many bytes the client lets us send on a stream now; 0 or less for none."""
        return self._h2.local_flow_control_window(stream)

    def headers(
        self, stream: int, headers: Iterable[tuple[str, str]], *, end: bool = False
    ) -> None:
        """Send a head, an interim one, or trailers."""
        encoded = [
            (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
            for name, value in headers
        ]
        self._h2.send_headers(stream, encoded, end_stream=end)

    def data(self, stream: int, view: memoryview) -> None:
        """Send bytes of a body, as many as `room` allows, in frames as large as may be.

        h2's own way copies three times and costs 17 us per frame: measured, 17 times as much.
        """
        self._collect()
        size = self._h2.max_outbound_frame_size
        for offset in range(0, len(view), size):
            part = view[offset : offset + size]
            self._queue += _HEAD.pack(len(part) << 8 | _DATA, 0, stream)
            self._queue += part
        self._h2.outbound_flow_control_window -= len(view)
        self._h2.streams[stream].outbound_flow_control_window -= len(view)

    def end(self, stream: int) -> None:
        """End a body in good order."""
        self._h2.end_stream(stream)

    def last_data(self, stream: int, view: memoryview) -> None:
        """Send the last bytes of a body, as `data` does, and end it with the last of them."""
        size = self._h2.max_outbound_frame_size
        whole = (len(view) - 1) // size * size
        if whole:
            self.data(stream, view[:whole])
        self._h2.send_data(stream, view[whole:], end_stream=True)

    def reset(self, stream: int, code: int) -> None:
        """Send RST_STREAM."""
        self._h2.reset_stream(stream, code)

    def goaway(self, code: int, last: int, why: str = "") -> None:
        """Send GOAWAY; h2's own would let nothing follow."""
        self._collect()
        said = why.encode()
        self._queue += _HEAD.pack((8 + len(said)) << 8 | _GOAWAY, 0, 0)
        self._queue += struct.pack(">II", last, code) + said

    def take(self) -> memoryview:
        """Return what is to be sent, and forget it."""
        self._collect()
        taken, self._queue = self._queue, bytearray()
        return memoryview(taken)

    def _collect(self) -> None:
        self._queue += self._h2.data_to_send()


class _Guard:
    """Looks at the heads of frames as they arrive: h2 would keep up to 16 MiB of one too long."""

    def __init__(self) -> None:
        self.idle = 0
        self._skip = 24  # the connection preface (3.4), which h2 checks
        self._head = bytearray()
        self._greeted = False

    def check(self, data: bytes) -> None:
        """Raise BrokenError at a frame that is too long, or one of a flood."""
        offset = 0
        while offset < len(data):
            if self._skip:
                step = min(self._skip, len(data) - offset)
                self._skip -= step
            else:
                step = 9 - len(self._head)
                self._head += data[offset : offset + step]
                if len(self._head) == 9:
                    self._frame(int.from_bytes(self._head[:3], "big"), self._head[3])
                    self._head.clear()
            offset += step

    def _frame(self, length: int, kind: int) -> None:
        if not self._greeted and kind != _SETTINGS:
            message = "the client doesn't begin with its settings"
            raise BrokenError(ErrorCodes.PROTOCOL_ERROR, message)
        self._greeted = True
        if length > FRAME_LIMIT:
            message = f"a frame of {length} bytes: at most {FRAME_LIMIT} are taken"
            raise BrokenError(ErrorCodes.FRAME_SIZE_ERROR, message)
        self._skip = length
        self.idle += 1
        if self.idle > IDLE_FRAMES:
            message = f"{IDLE_FRAMES} frames in which nothing goes forward"
            raise BrokenError(ErrorCodes.ENHANCE_YOUR_CALM, message)
