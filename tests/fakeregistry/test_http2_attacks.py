"""HTTP/2 clients that break the protocol or attack: cut by GOAWAY, with an entry in the journal."""

import contextlib
import os
import resource
import socket
import struct
import threading

import hpack
import pytest
from h2frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    Answer,
    H2Client,
    frame,
    rst_stream,
    settings,
    window_update,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from fakeregistry import Registries, Registry, a_layer, an_image, blob, connection
from fakeregistry.http2.frames import ANSWER_LIMIT, FRAME_LIMIT, HEADERS_LIMIT, IDLE_FRAMES
from fakeregistry.wire.reader import BODIES, BODY_LIMIT

HELLO = PREFACE + settings({})


@pytest.fixture
def h2(registries: Registries, registry: Registry) -> Registry:
    registry.tls = registries.certificates.valid()
    registry.http2 = True
    return registry


def cut(registry: Registry, said: bytes) -> tuple[str, str]:
    """What a client that says this is told, by code, and what the journal has of it."""
    with H2Client(registry, hello=said) as client:
        client.until(lambda: False)
    journal = registry.journal
    made = journal.connections[-1]
    assert journal.wait_for(lambda _: made.closed is not None)
    (goaway,) = client.frames(GOAWAY)
    assert client.closed in ("fin", "rst")
    return goaway.code, made.failure or ""


def head(stream: int = 1, *, end: bool = True, method: str = "GET", **more: str) -> bytes:
    said = {":method": method, ":scheme": "https", ":authority": "x", ":path": "/v2/", **more}
    flags = END_HEADERS | (END_STREAM if end else 0)
    return frame(HEADERS, flags, stream, hpack.Encoder().encode(list(said.items())))


BROKEN = {
    "garbage": (b"\0" * 64, "PROTOCOL_ERROR"),
    "HTTP/1.1": (b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n", "PROTOCOL_ERROR"),
    "no SETTINGS first": (PREFACE + head(), "PROTOCOL_ERROR"),
    "an overlong frame": (HELLO + struct.pack(">IBI", 0xFFFFFF << 8, 0, 1), "FRAME_SIZE_ERROR"),
    "an overlong head": (
        HELLO + struct.pack(">IBI", (FRAME_LIMIT + 1) << 8 | HEADERS, END_HEADERS, 1),
        "FRAME_SIZE_ERROR",
    ),
    "SETTINGS of an odd size": (HELLO + frame(SETTINGS, 0, 0, b"12345"), "FRAME_SIZE_ERROR"),
    "SETTINGS on a stream": (HELLO + frame(SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    "SETTINGS out of range": (
        HELLO + settings({INITIAL_WINDOW_SIZE: 1 << 31}),
        "FLOW_CONTROL_ERROR",
    ),
    "PING of an odd size": (HELLO + frame(PING, 0, 0, b"1234"), "FRAME_SIZE_ERROR"),
    "a window of no bytes": (HELLO + window_update(0), "PROTOCOL_ERROR"),
    "a window too large": (HELLO + window_update(2**31 - 1), "FLOW_CONTROL_ERROR"),
    "DATA on no stream": (HELLO + frame(DATA, 0, 0, b"x"), "PROTOCOL_ERROR"),
    "DATA on an idle stream": (HELLO + frame(DATA, 0, 5, b"x"), "PROTOCOL_ERROR"),
    "RST_STREAM of an idle stream": (HELLO + frame(RST_STREAM, 0, 0, b"1234"), "PROTOCOL_ERROR"),
    "a stream of the server's": (HELLO + head(2), "PROTOCOL_ERROR"),
    "a stream that goes back": (HELLO + head(3) + head(1), "PROTOCOL_ERROR"),
    "a push": (HELLO + frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"), "PROTOCOL_ERROR"),
    "CONTINUATION alone": (HELLO + frame(CONTINUATION, END_HEADERS, 1), "PROTOCOL_ERROR"),
    "a head interrupted": (
        HELLO + frame(HEADERS, 0, 1) + frame(PING, 0, 0, b"8" * 8),
        "PROTOCOL_ERROR",
    ),
    "headers that aren't HPACK": (HELLO + frame(HEADERS, 5, 1, b"\xff" * 40), "PROTOCOL_ERROR"),
    "padding beyond the frame": (HELLO + frame(DATA, 8, 1, b"\xff"), "PROTOCOL_ERROR"),
    "no path": (HELLO + head(**{":path": ""}), "PROTOCOL_ERROR"),
    "a name in upper case": (HELLO + head(**{"X-Odd": "1"}), "PROTOCOL_ERROR"),
    "a header of the connection": (HELLO + head(connection="close"), "PROTOCOL_ERROR"),
    "less data than its length": (
        HELLO + head(end=False, **{"content-length": "9"}) + frame(DATA, END_STREAM, 1, b"x"),
        "PROTOCOL_ERROR",
    ),
    "a stream that depends on itself": (
        HELLO + frame(PRIORITY, 0, 1, b"\0\0\0\1\x10"),
        "PROTOCOL_ERROR",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_is_cut(h2: Registry, name: str) -> None:
    said, code = BROKEN[name]
    told, failure = cut(h2, said)

    assert told == code, failure
    assert failure.startswith(f"HTTP/2: {code}: ")
    assert len(failure) < 300


def test_a_header_bomb_is_cut_before_it_is_unpacked(h2: Registry) -> None:
    encoder = hpack.Encoder()
    line = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
    first = encoder.encode([*line, ("a", "x" * 3000)])
    # One byte each: the entry of the table that the first head has made.
    again = bytes([0x80 | 62]) * 12_000
    code, failure = cut(h2, HELLO + frame(HEADERS, END_HEADERS | END_STREAM, 1, first + again))

    assert (code, str(HEADERS_LIMIT) in failure) == ("ENHANCE_YOUR_CALM", True), failure


def test_continuations_without_end_are_cut(h2: Registry) -> None:
    flood = frame(CONTINUATION, 0, 1, b"\0" * 16) * 1000
    assert cut(h2, HELLO + frame(HEADERS, 0, 1) + flood)[0] == "PROTOCOL_ERROR"


@pytest.mark.parametrize(
    "flood",
    [
        frame(PING, ACK, 0, b"12345678"),
        frame(SETTINGS, ACK),
        frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"),
        frame(0x77, 0, 0, b""),
        window_update(1),
        rst_stream(1),
    ],
    ids=["ping", "settings", "priority", "unknown", "window", "reset"],
)
def test_a_flood_of_frames_that_do_nothing_is_cut(h2: Registry, flood: bytes) -> None:
    code, failure = cut(h2, HELLO + head(1) + flood * 3 * IDLE_FRAMES)
    assert (code, "nothing goes forward" in failure) == ("ENHANCE_YOUR_CALM", True)


def test_a_flood_of_empty_data_is_cut(h2: Registry) -> None:
    said = HELLO + head(1, end=False, method="POST") + frame(DATA, 0, 1) * 3 * IDLE_FRAMES
    assert cut(h2, said)[0] == "ENHANCE_YOUR_CALM"


def test_replies_that_nobody_reads_are_not_kept(h2: Registry) -> None:
    layer = a_layer(size=8 << 20)
    h2.add(an_image(layers=[layer]))
    h2.head_timeout = 60
    with H2Client(h2) as client:
        client.ask(f"/v2/app/web/blobs/{layer.digest}")
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # The body fills what the kernel holds; now every reply has to be kept.
        ping = frame(PING, 0, 0, b"12345678")
        made = h2.journal.connections[-1]
        client.sock.settimeout(5)
        for _ in range(4 * ANSWER_LIMIT // len(ping) // 500):
            client.send(ping * 500)
        assert h2.journal.wait_for(lambda j: any(one.ended == "goaway" for one in j), 15)
    assert h2.journal.wait_for(lambda _: made.closed is not None)
    assert "asks for replies and doesn't read them" in (made.failure or "")


def test_rapid_resets_are_cut(h2: Registry) -> None:
    h2.on(connection())
    said = b"".join(head(stream) + rst_stream(stream) for stream in range(1, 1001, 2))
    code, failure = cut(h2, HELLO + said)

    assert (code, "in vain" in failure) == ("ENHANCE_YOUR_CALM", True)
    assert len(h2.journal) <= 110


def test_streams_beyond_the_limit_without_end_are_cut(h2: Registry) -> None:
    h2.max_concurrent_streams = 1
    said = b"".join(head(stream, end=False, method="POST") for stream in range(1, 1001, 2))
    assert cut(h2, HELLO + said)[0] == "ENHANCE_YOUR_CALM"


def test_data_beyond_the_window_is_cut(h2: Registry) -> None:
    h2.on(connection()).zero_request_window()
    said = HELLO + head(1, end=False, method="POST") + frame(DATA, 0, 1, b"x")
    assert cut(h2, said)[0] == "FLOW_CONTROL_ERROR"


def test_too_many_header_lines_are_refused_and_the_connection_stays(h2: Registry) -> None:
    with H2Client(h2) as client:
        answer = client.get("/v2/", headers={f"x-{number}": "" for number in range(300)})
        assert client.get("/v2/").status == 200

    assert answer.status == 431


def test_a_connect_is_refused(h2: Registry) -> None:
    with H2Client(h2) as client:
        fields = [(":method", "CONNECT"), (":authority", "x:443")]
        client.answers[1] = Answer()
        client.framing.next = 3
        client.send(client.framing.head(1, fields, end=False))
        client.until(lambda: bool(client.answers[1].end))

    assert client.answers[1].status == 501


def test_a_body_that_is_too_long_is_refused_before_it_comes(h2: Registry) -> None:
    with H2Client(h2) as client:
        length = {"content-length": str(BODY_LIMIT + 1)}
        stream, said = client.framing.ask("POST", "/token", client.authority, length, end=False)
        client.answers[stream] = Answer()
        client.send(said)
        client.until(lambda: bool(client.answers[stream].end))
        assert client.get("/v2/").status == 200

    assert client.answers[stream].status == 413
    # The rest of it needn't come (RFC 9113, 8.1).
    assert client.answers[stream].end == "complete"


def test_bodies_share_one_room(h2: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BODIES, "limit", BODIES.used + 10)
    before = BODIES.used
    with H2Client(h2) as client:
        assert client.get("/v2/", "POST", body=b"x" * 11).status == 503
        assert client.get("/v2/", "POST", body=b"x" * 10).status == 200
    assert h2.journal.wait_quiet()
    assert h2.journal.wait_for(lambda _: h2.journal.connections[-1].closed is not None)
    assert BODIES.used == before


def test_half_a_request_is_given_back(h2: Registry) -> None:
    before = BODIES.used
    with H2Client(h2) as client:
        _, said = client.framing.ask("POST", "/token", client.authority, {}, end=False)
        client.send(said + frame(DATA, 0, 1, b"x" * 1000))
        client.ping()
        assert BODIES.used == before + 1000
    assert h2.journal.wait_for(lambda _: h2.journal.connections[-1].closed is not None)
    assert BODIES.used == before


def test_a_client_that_breaks_off_is_noted(h2: Registry) -> None:
    stall = h2.on(blob()).stall_after(10)
    layer = a_layer(size=1000)
    h2.add(an_image(layers=[layer]))
    with H2Client(h2) as client:
        client.ask(f"/v2/app/web/blobs/{layer.digest}")
        assert stall.gate.wait_holding()
    assert h2.journal.wait_quiet()
    assert [one.ended for one in h2.journal] == ["client_gone"]
    assert stall.gate.wait_holding(0)


def test_what_a_client_complains_of_is_noted(h2: Registry) -> None:
    with H2Client(h2) as client:
        client.get("/v2/")
        client.send(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 3)))
        client.until(lambda: False)
    made = h2.journal.connections[-1]
    assert h2.journal.wait_for(lambda _: made.closed is not None)
    assert made.failure == "the client said GOAWAY FLOW_CONTROL_ERROR"


FRAMES = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 1, 3, 5, 2, 2**31 - 1]),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([head()[9:], head(end=False, method="POST")[9:], b"\0\0\0\1\x10"]),
    ),
)
SOUND = st.sampled_from([head(1), head(1, end=False, method="POST"), head(3), window_update(9, 1)])
PIECES = st.lists(st.one_of(FRAMES, SOUND, st.binary(max_size=30)), max_size=12)


@hypothesis(
    max_examples=int(os.environ.get("PULLPROOF_FUZZ", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.booleans(), PIECES)
def test_whatever_is_said_ends_and_disturbs_nobody(h2, registries, greets, pieces) -> None:
    with H2Client(h2, hello=(HELLO if greets else b"") + b"".join(pieces)) as client:
        client.sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            client.until(lambda: False)
    made = h2.journal.connections[-1]
    assert h2.journal.wait_for(lambda _: made.closed is not None)
    assert not h2.handler_errors
    with H2Client(h2) as other:
        assert other.get("/v2/").end == "complete"
    assert h2.journal.wait_quiet()
    registries.wipe()
    h2.tls, h2.http2 = registries.certificates.valid(), True


def test_a_thousand_bad_clients_leave_nothing_behind(registries: Registries, h2: Registry) -> None:
    registries.connection_cap = 10_000
    said = [one for one, _ in BROKEN.values()]

    def attack() -> None:
        for number in range(10):
            with H2Client(h2, hello=said[number % len(said)]) as client:
                client.until(lambda: False)

    attack()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        attack()
    assert h2.journal.wait_for(lambda j: all(c.closed is not None for c in j.connections))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
    assert threading.active_count() < 10
