"""One request over HTTP/2, and all that came back, told like an answer of HTTP/1.

`h2` reads and writes the frames; the registry builds on it as well, but what a frame says is its
reading here, on the client's side.
"""

from __future__ import annotations

import h2.connection
import h2.events
import h2.exceptions
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from seen import FURTHER, Line, Seen


class H2Line(Line):
    """One connection of HTTP/2. Fall back to HTTP/1.1 where ALPN chose it: `speaks` says which."""

    @property
    def speaks(self) -> str:
        return self.alpn or "http/1.1"

    def begin(self) -> None:
        configuration = H2Configuration(client_side=True, header_encoding="latin-1")
        self.frames = h2.connection.H2Connection(configuration)
        # h2 hears nothing after GOAWAY, and a graceful one comes before the rest of the answer.
        machine, goaway = self.frames.state_machine, ConnectionInputs.RECV_GOAWAY
        at = ConnectionState.CLIENT_OPEN
        machine._transitions = {**machine._transitions, (at, goaway): (None, at)}  # type: ignore[misc]
        self.frames.initiate_connection()
        self.send(self.frames.data_to_send())

    def ask_h2(self, seen: Seen, body: bytes, expected: int) -> Seen:
        """Send the request that `seen` names, and take in what comes until its stream has ended."""
        seen.tls, seen.alpn = self.tls, self.alpn
        if self.end:
            seen.end = self.end
            return seen
        if not hasattr(self, "frames"):
            self.begin()
        stream = self.frames.get_next_available_stream_id()
        fields = [
            (":method", seen.method),
            (":path", seen.path),
            (":scheme", "https"),
            (":authority", seen.asked["Host"]),
            *((name.lower(), value) for name, value in seen.asked.items() if name != "Host"),
        ]
        self.frames.send_headers(stream, fields, end_stream=not body)
        self.send(self.frames.data_to_send())
        taking = _Taking(self, seen, stream, body)
        while not seen.end:
            taking.give()
            data = self.more()
            if not data:
                seen.end = self.end
                break
            taking.take(data)
            if len(taking.body) > expected + FURTHER:
                seen.end = "endless"
        seen.raw = taking.head + bytes(taking.body)
        return seen


class _Taking:
    """What comes for one stream."""

    def __init__(self, line: H2Line, seen: Seen, stream: int, body: bytes) -> None:
        self.line, self.seen, self.stream, self.left = line, seen, stream, body
        self.head = b""
        self.body = bytearray()

    def give(self) -> None:
        """Send as much of the request's body as the window takes."""
        frames = self.line.frames
        while self.left:
            size = min(frames.local_flow_control_window(self.stream), len(self.left), 16_384)
            if size <= 0:
                break
            part, self.left = self.left[:size], self.left[size:]
            frames.send_data(self.stream, part, end_stream=not self.left)
        self.line.send(frames.data_to_send())

    def take(self, data: bytes) -> None:
        try:
            events = self.line.frames.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.seen.end = f"h2: {error}"
            return
        for event in events:
            self._note(event)
        self.line.send(self.line.frames.data_to_send())

    def _note(self, event: h2.events.Event) -> None:
        seen = self.seen
        own = getattr(event, "stream_id", self.stream) == self.stream
        if isinstance(event, h2.events.ConnectionTerminated):
            seen.goaway = (_name(event.error_code), event.last_stream_id or 0)
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            changed = event.changed_settings
            for code, name in _SETTINGS.items():
                if code in changed:
                    seen.settings[name] = changed[code].new_value
        elif not own:
            return
        elif isinstance(event, _HEADS):
            self.head += _head(event.headers or [])
        elif isinstance(event, h2.events.DataReceived):
            self.body += event.data or b""
            self.line.frames.acknowledge_received_data(
                event.flow_controlled_length or 0, self.stream
            )
        elif isinstance(event, h2.events.StreamReset):
            seen.end = f"rst_stream {_name(event.error_code)}"
        elif isinstance(event, h2.events.StreamEnded):
            seen.end = "complete"


_HEADS = (h2.events.InformationalResponseReceived, h2.events.ResponseReceived)
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: "max_concurrent_streams",
    SettingCodes.INITIAL_WINDOW_SIZE: "initial_window_size",
}


def _name(code: object) -> str:
    try:
        return ErrorCodes(int(str(code)) if not isinstance(code, int) else code).name
    except ValueError:
        return str(code)


def _head(fields: list[tuple[str, str]]) -> bytes:
    """The fields as a head of HTTP/1 would have them."""
    pairs = [(_text(name), _text(value)) for name, value in fields]
    status = next((value for name, value in pairs if name == ":status"), "0")
    lines = [f"HTTP/2 {status}", *(f"{n}: {v}" for n, v in pairs if not n.startswith(":"))]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
