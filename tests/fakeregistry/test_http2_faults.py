"""Faults on HTTP/2: those that it alone has, and what the others are there, frame by frame."""

import httpx
import pytest
from h2frames import (
    DATA,
    END_STREAM,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    SETTINGS,
    WINDOW_UPDATE,
    Answer,
    H2Client,
    frame,
)
from rawclient import Raw

from fakeregistry import (
    Registries,
    Registry,
    Rule,
    a_layer,
    an_image,
    blob,
    connection,
    fault,
    ping,
)
from fakeregistry.faults import Setting
from fakeregistry.faults.http2 import CODES, FAULTS
from fakeregistry.messages import Reply, Request
from fakeregistry.script import Script
from fakeregistry.wire.greeting import Greeting

SIZE = 100_000


@pytest.fixture
def h2(registries: Registries, registry: Registry) -> Registry:
    registry.tls = registries.certificates.valid()
    registry.http2 = True
    return registry


@pytest.fixture
def path(h2: Registry) -> str:
    layer = a_layer(size=SIZE)
    h2.add(an_image(layers=[layer]))
    return f"/v2/app/web/blobs/{layer.digest}"


def ended(registry: Registry, number: int = 0) -> tuple[str, str | None, int]:
    assert registry.journal.wait_quiet()
    exchange = registry.requests(blob())[number]
    return exchange.ended, exchange.code, exchange.bytes_sent


def serves(client: H2Client) -> bool:
    """Whether the connection still answers."""
    return client.get("/v2/").end == "complete"


# RST_STREAM


@pytest.mark.parametrize(
    "code", ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "REFUSED_STREAM", "CANCEL"]
)
def test_a_stream_is_reset_in_its_body_and_the_connection_stays(h2, path, code) -> None:
    h2.on(blob()).rst_stream(code, after=50_000)
    with H2Client(h2) as client:
        answer = client.get(path)
        assert serves(client)

    assert (answer.status, len(answer.body), answer.end) == (200, 50_000, f"rst_stream {code}")
    assert ended(h2) == ("rst_stream", code, 50_000)


def test_all_bytes_without_an_end_are_no_answer(h2: Registry, path: str) -> None:
    size = int(httpx_length(h2, path))
    h2.on(blob(), method="GET").rst_stream("NO_ERROR", after=size)
    with H2Client(h2) as client:
        answer = client.get(path)

    assert (len(answer.body), answer.end) == (size, "rst_stream NO_ERROR")


def httpx_length(registry: Registry, path: str) -> str:
    with httpx.Client(verify=registry.topology.certificates.client_context()) as client:
        return client.head(registry.url_for(path)).headers["content-length"]


def test_a_stream_is_reset_in_place_of_an_answer(h2: Registry, path: str) -> None:
    h2.on(blob()).rst_stream()
    with H2Client(h2) as client:
        answer = client.get(path)
        head = client.get(path, method="HEAD")

    assert (answer.status, answer.end) == (0, "rst_stream INTERNAL_ERROR")
    assert head.end == "rst_stream INTERNAL_ERROR"


def test_a_refused_stream_can_be_asked_again(h2: Registry, path: str) -> None:
    h2.on(blob()).once().refused_stream()
    with H2Client(h2) as client:
        assert client.get(path).end == "rst_stream REFUSED_STREAM"
        assert client.get(path).end == "complete"
    assert ended(h2) == ("rst_stream", "REFUSED_STREAM", 0)


def test_http_1_1_can_be_required(h2: Registry, path: str) -> None:
    h2.on(blob(), alpn="h2").http_1_1_required()
    with H2Client(h2) as client:
        assert client.get(path).end == "rst_stream HTTP_1_1_REQUIRED"
        assert serves(client)
    with Raw(h2, h2.topology.certificates.client_context()) as raw:
        assert raw.ask(path).answer().status == 200


def test_http_1_1_can_be_required_by_goaway(h2: Registry, path: str) -> None:
    h2.on(blob()).http_1_1_required("goaway")
    with H2Client(h2) as client:
        answer = client.get(path)
        (goaway,) = client.frames(GOAWAY)

    assert (goaway.code, goaway.last, answer.status) == ("HTTP_1_1_REQUIRED", 0, 0)
    assert client.closed == "fin"
    assert ended(h2) == ("goaway", "HTTP_1_1_REQUIRED", 0)


# GOAWAY


def test_goaway_in_a_body_cuts_all_that_is_under_way(h2: Registry, path: str) -> None:
    h2.on(blob(), nth=1).stall_after(10)
    h2.on(blob(), nth=2).goaway("INTERNAL_ERROR", after=20_000)
    with H2Client(h2) as client:
        other = client.ask(path)
        client.until(lambda: len(client.answers[other].body) == 10)
        answer = client.get(path)
        (goaway,) = client.frames(GOAWAY)

    assert (goaway.code, goaway.last) == ("INTERNAL_ERROR", 3)
    assert (len(answer.body), answer.end) == (20_000, "closed by fin")
    assert client.answers[other].end == "closed by fin"
    assert {one.ended for one in h2.requests(blob())} == {"goaway"}
    assert {one.code for one in h2.requests(blob())} == {"INTERNAL_ERROR"}


def test_a_graceful_goaway_lets_answers_finish_and_then_closes(h2: Registry, path: str) -> None:
    h2.on(blob()).goaway(after=20_000, then="finish")
    with H2Client(h2) as client:
        answer = client.get(path)
        later = client.ask("/v2/")
        client.until(lambda: False)
        (goaway,) = client.frames(GOAWAY)

    assert (answer.end, len(answer.body)) == ("complete", int(answer.header("content-length")))
    assert (goaway.code, goaway.last, client.closed) == ("NO_ERROR", 1, "fin")
    assert client.answers[later].status == 0
    assert ended(h2)[:2] == ("complete", "NO_ERROR")


def test_after_goaway_a_connection_may_stay_and_answer_nothing_new(h2: Registry, path) -> None:
    h2.on(blob()).goaway(then="stay")
    with H2Client(h2) as client:
        assert client.get(path).end == "complete"
        client.ask("/v2/")
        client.ping()
        assert h2.journal.wait_for(lambda journal: len(journal) == 2)
        assert not client.closed
    unheard = h2.journal.exchanges()[1]

    assert (unheard.ended, unheard.code, unheard.status) == ("goaway", "NO_ERROR", None)


def test_goaway_can_say_that_nothing_was_taken(h2: Registry, path: str) -> None:
    h2.on(blob()).once().goaway(last_id="none")
    with H2Client(h2) as client:
        assert client.get(path).end == "closed by fin"
        assert client.frames(GOAWAY)[0].last == 0
    with H2Client(h2) as client:
        assert client.get(path).end == "complete"


# windows


def test_a_body_stalls_as_if_its_window_were_zero(h2: Registry, path: str) -> None:
    stall = h2.on(blob()).once().zero_window(1000)
    with H2Client(h2) as client:
        stalled = client.answers[client.ask(path)]
        assert client.get(path).end == "complete"
        client.ping()
        assert len(stalled.body) == 1000
        stall.release()
        client.until(lambda: bool(stalled.end))

    assert stalled.end == "complete"


def test_all_bodies_stall_as_if_the_connections_window_were_zero(h2: Registry, path: str) -> None:
    stall = h2.on(blob()).once().zero_window(1000, whole_connection=True)
    with H2Client(h2) as client:
        stalled = client.answers[client.ask(path)]
        client.until(lambda: len(stalled.body) == 1000)
        other = client.answers[client.ask(path)]
        client.until(lambda: bool(other.fields))
        assert client.get(path, method="HEAD").end == "complete"
        client.ping()
        assert other.body == b""
        stall.release()
        client.until(lambda: bool(stalled.end and other.end))

    assert stalled.body == other.body


def test_a_body_of_a_request_finds_no_window_until_it_is_released(h2: Registry) -> None:
    shut = h2.on(connection()).zero_request_window()
    with H2Client(h2) as client:
        assert serves(client)
        assert client.frames(SETTINGS)[0].settings[INITIAL_WINDOW_SIZE] == 0
        stream, head = client.framing.ask("POST", "/v2/", client.authority, {}, end=False)
        client.answers[stream] = Answer()
        client.send(head)
        client.ping()
        assert [one for one in client.frames(WINDOW_UPDATE) if one.stream == stream] == []
        shut.release()
        client.until(lambda: INITIAL_WINDOW_SIZE in client.frames(SETTINGS)[-1].settings)
        assert client.frames(SETTINGS)[-1].settings[INITIAL_WINDOW_SIZE] > 0
        client.send(frame(DATA, END_STREAM, stream, b"x"))
        client.until(lambda: bool(client.answers[stream].end))

    assert client.answers[stream].status == 200


def test_a_connection_may_have_few_streams(h2: Registry, path: str) -> None:
    h2.on(connection()).once().max_concurrent_streams(1)
    stall = h2.on(blob()).once().stall_after(10)
    with H2Client(h2) as client:
        client.ask(path)
        assert stall.gate.wait_holding()
        assert client.get(path).end == "rst_stream REFUSED_STREAM"
        assert client.frames(SETTINGS)[0].settings[MAX_CONCURRENT_STREAMS] == 1
    with H2Client(h2) as client:
        assert serves(client)
        assert client.frames(SETTINGS)[0].settings[MAX_CONCURRENT_STREAMS] == 100


# where they have nothing to bite on

SAMPLES = {"max_concurrent_streams": {"n": 1}}


@pytest.mark.parametrize("name", FAULTS)
def test_http_1_1_gives_them_nothing_to_bite_on(name: str) -> None:
    made = fault(name, SAMPLES.get(name, {}))
    script = Script.of(Reply(200, (), b"body"))
    if hasattr(made, "edit"):
        assert made.edit(script, Setting(Request("GET", "/"))) is script
    else:
        plain = Greeting()
        assert made.greet(plain, Setting(Request("", ""))) is plain


@pytest.mark.parametrize("n", [5, 6])
def test_a_cut_beyond_the_end_is_none(n: int) -> None:
    script = Script.of(Reply(200, (), b"body"))
    setting = Setting(Request("GET", "/", version="HTTP/2"))

    assert fault("rst_stream", {"after": n}).edit(script, setting) is script
    assert fault("goaway", {"after": n}).edit(script, setting) is script
    assert fault("zero_window", {"n": n}).edit(script, setting) is script


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rst_stream", {"code": "NO_SUCH"}),
        ("rst_stream", {"after": -1}),
        ("goaway", {"code": "no_error"}),
        ("goaway", {"last_id": "7"}),
        ("goaway", {"then": "sleep"}),
        ("zero_window", {"n": -1}),
        ("max_concurrent_streams", {"n": -1}),
        ("http_1_1_required", {"how": "politely"}),
    ],
)
def test_nonsense_is_told(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=name):
        fault(name, arguments)


def test_the_codes_are_those_of_the_rfc() -> None:
    assert len(CODES) == 14
    assert (CODES["NO_ERROR"], CODES["HTTP_1_1_REQUIRED"]) == (0, 13)


# the faults of HTTP/1.1, by HTTP/2


def rule(registry: Registry) -> Rule:
    return registry.on(blob(), method="GET")


def test_truncated_is_a_good_end_of_the_stream(h2: Registry, path: str) -> None:
    rule(h2).truncate_after(100)
    with H2Client(h2) as client:
        answer = client.get(path)
        assert serves(client)

    assert (len(answer.body), answer.end) == (100, "fin")
    assert int(answer.header("content-length")) > 100
    assert ended(h2) == ("fin", None, 100)


@pytest.mark.parametrize("delta", [-5, 5])
def test_a_length_may_differ_from_the_data(h2: Registry, path: str, delta: int) -> None:
    rule(h2).wrong_content_length(delta)
    with H2Client(h2) as client:
        answer = client.get(path)
        assert serves(client)

    assert int(answer.header("content-length")) == len(answer.body) + delta
    assert answer.end == "fin"


def test_no_length_ends_the_stream_and_not_the_connection(h2: Registry, path: str) -> None:
    rule(h2).no_content_length()
    with H2Client(h2) as client:
        answer = client.get(path)
        assert serves(client)

    assert (answer.header("content-length"), answer.header("connection")) == (None, None)
    assert answer.end == "complete"


def test_headers_of_the_connection_are_dropped(h2: Registry, path: str) -> None:
    rule(h2).header("Connection", "close").header("Keep-Alive", "timeout=5").header("X-Odd", "1")
    with H2Client(h2) as client:
        answer = client.get(path)
        assert serves(client)

    assert answer.header("x-odd") == "1"
    assert {"connection", "keep-alive"}.isdisjoint(dict(answer.fields))


@pytest.mark.parametrize(
    ("name", "arguments", "closed", "how"),
    [
        ("reset_after", {"n": 100}, "rst", "rst"),
        ("close_after", {"n": 100}, "fin without goodbye", "fin"),
        ("half_close_after", {"n": 100, "seconds": 0.05}, "fin", "fin"),
        ("reset_before_headers", {}, "rst", "rst"),
    ],
)
def test_ends_of_the_connection_cut_every_stream(h2, path, name, arguments, closed, how) -> None:
    h2.on(ping()).delay_headers()
    rule(h2).add(fault(name, arguments))
    with H2Client(h2) as client:
        other = client.ask("/v2/")
        answer = client.get(path)

    assert answer.end == client.answers[other].end == f"closed by {closed}"
    assert len(answer.body) in (0, 100)
    assert h2.journal.wait_quiet()
    assert {one.ended for one in h2.journal} == {how}


def test_a_closing_answer_says_goaway(h2: Registry, path: str) -> None:
    rule(h2).close_each_response()
    with H2Client(h2) as client:
        answer = client.get(path)
        client.until(lambda: False)

    assert (answer.end, client.closed) == ("complete", "fin")
    assert [(one.code, one.last) for one in client.frames(GOAWAY)] == [("NO_ERROR", 1)]


def test_an_unannounced_close_says_nothing(h2: Registry, path: str) -> None:
    rule(h2).close_each_response(announced=False)
    with H2Client(h2) as client:
        answer = client.get(path)
        client.until(lambda: False)

    assert (answer.end, client.closed, client.frames(GOAWAY)) == ("complete", "fin", [])


@pytest.mark.parametrize("announced", [True, False])
def test_a_connection_serves_so_many_requests(h2: Registry, announced: bool) -> None:
    h2.on(connection()).max_requests_per_connection(2, announced=announced)
    with H2Client(h2) as client:
        assert serves(client)
        assert serves(client)
        client.until(lambda: False)

    assert client.closed == "fin"
    assert [one.last for one in client.frames(GOAWAY)] == ([3] if announced else [])


def test_a_connection_goes_deaf_after_so_many_requests(h2: Registry) -> None:
    deaf = h2.on(connection()).once().blackhole_established(1)
    with H2Client(h2) as client:
        assert serves(client)
        assert deaf.gate.wait_holding()
        later = client.ask("/v2/")
        deaf.release()
        client.until(lambda: bool(client.answers[later].end))

    assert client.answers[later].status in (0, 200)


def test_what_is_held_open_reads_nothing(h2: Registry) -> None:
    held = h2.on(ping()).once().hold_open()
    with H2Client(h2) as client:
        assert serves(client)
        assert held.gate.wait_holding()
        later = client.ask("/v2/")
        held.release()
        client.until(lambda: bool(client.answers[later].end))

    assert client.answers[later].end == "complete"


def test_throttled_dripped_and_delayed_answers_hold_up_no_other(h2: Registry, path: str) -> None:
    h2.on(blob(), nth=1).drip(40_000, 0.01)
    h2.on(blob(), nth=2).throttle(2_000_000)
    h2.on(blob(), nth=3).delay_first_byte(0.02)
    h2.on(blob(), nth=4).delay_headers(0.02)
    with H2Client(h2) as client:
        streams = [client.ask(path) for _ in range(5)]
        client.until(lambda: all(client.answers[one].end for one in streams))

    assert {client.answers[one].end for one in streams} == {"complete"}
    assert len({client.answers[one].body for one in streams}) == 1


def test_informational_answers_and_trailers(h2: Registry, path: str) -> None:
    rule(h2).informational(103, times=2).trailer("X-After", "1")
    with H2Client(h2) as client:
        answer = client.get(path)

    assert [one[0] for one in answer.interim] == [(":status", "103")] * 2
    assert answer.trailers == [("x-after", "1")]
    assert answer.end == "complete"


def test_flips_statuses_and_bodies_are_as_ever(h2: Registry, path: str) -> None:
    h2.on(blob(), nth=2).status(503, retry_after=7)
    h2.on(blob(), header={"x-flip": "yes"}).flip_byte(5)
    with H2Client(h2) as client:
        whole, refused = client.get(path), client.get(path)
        flipped = client.get(path, headers={"X-Flip": "yes"})

    assert (refused.status, refused.header("retry-after")) == (503, "7")
    assert [at for at in range(SIZE) if whole.body[at : at + 1] != flipped.body[at : at + 1]] == [5]
