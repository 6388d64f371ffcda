"""HTTP/2 as an honest registry speaks it: seen frame by frame, then by clients of the field."""

import hashlib
import shutil
import subprocess
import threading

import httpx
import pytest
from h2frames import (
    ACK,
    DATA,
    END_STREAM,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PING,
    PRIORITY,
    SETTINGS,
    Answer,
    H2Client,
    frame,
    rst_stream,
    settings,
    window_update,
)
from rawclient import Raw
from werkzeug import Request, Response

from fakeregistry import Registries, Registry, a_layer, an_image, any_request, bearer, blob, token

MANIFEST = "/v2/app/web/manifests/v1"


@pytest.fixture
def h2(registries: Registries, registry: Registry) -> Registry:
    registry.tls = registries.certificates.valid()
    registry.http2 = True
    return registry


def large(registry: Registry, size: int = 300_000) -> tuple[str, bytes]:
    """The path and the bytes of a layer that needs several frames."""
    layer = a_layer(size=size)
    registry.add(an_image(layers=[layer]))
    return f"/v2/app/web/blobs/{layer.digest}", bytes(layer.blob)


# what is offered


@pytest.mark.parametrize(
    ("http2", "asked", "chosen"),
    [
        (False, ["h2", "http/1.1"], "http/1.1"),
        (True, ["h2", "http/1.1"], "h2"),
        (True, ["http/1.1"], "http/1.1"),
        (True, [], None),
    ],
)
def test_alpn_chooses_where_it_is_on(registries, registry, http2, asked, chosen) -> None:
    registry.tls = registries.certificates.valid()
    registry.http2 = http2
    context = registries.certificates.client_context()
    if asked:
        context.set_alpn_protocols(asked)
    with Raw(registry, context) as raw:
        assert raw.sock.selected_alpn_protocol() == chosen


def test_registries_that_share_a_certificate_offer_each_their_own(registries) -> None:
    certificate = registries.certificates.valid()
    chosen = []
    for name, http2 in (("a", True), ("b", False), ("c", True)):
        one = registries.registry(name)
        one.tls, one.http2 = certificate, http2
        with httpx.Client(http2=True, verify=registries.certificates.client_context()) as client:
            chosen.append(client.get(one.url_for("/v2/")).http_version)

    assert chosen == ["HTTP/2", "HTTP/1.1", "HTTP/2"]


def test_without_tls_there_is_none(registry: Registry) -> None:
    registry.http2 = True
    assert httpx.get(registry.url_for("/v2/")).http_version == "HTTP/1.1"


# requests and answers


def test_an_answer_is_a_head_and_data_that_ends_the_stream(h2: Registry) -> None:
    image = h2.add(an_image())
    with H2Client(h2) as client:
        answer = client.get(MANIFEST)

    assert (answer.status, answer.end) == (200, "complete")
    assert answer.header("content-length") == str(len(answer.body))
    assert "sha256:" + hashlib.sha256(answer.body).hexdigest() == image.digest
    assert all(name == name.lower() for name, _ in answer.fields)
    assert len(answer.sizes) == 1
    assert {"connection", "transfer-encoding"}.isdisjoint(dict(answer.fields))


def test_a_head_ends_with_its_headers(h2: Registry) -> None:
    image = h2.add(an_image())
    with H2Client(h2) as client:
        answer = client.get(MANIFEST, method="HEAD")

    assert (answer.status, answer.sizes, answer.end) == (200, [], "complete")
    assert answer.header("docker-content-digest") == image.digest


def test_the_journal_knows_protocol_and_stream(h2: Registry) -> None:
    h2.add(an_image())
    with H2Client(h2) as client:
        client.get("/v2/")
        answer = client.get(MANIFEST)
    assert h2.journal.wait_quiet()
    first, second = h2.journal.exchanges()

    assert (first.connection.alpn, first.connection is second.connection) == ("h2", True)
    assert (first.stream, second.stream) == (1, 3)
    assert (second.status, second.bytes_sent, second.ended) == (200, len(answer.body), "complete")
    assert (second.host, second.method, second.target) == (h2.host, "GET", MANIFEST)
    assert second.to_dict()["stream"] == 3
    assert h2.requests(any_request(), alpn="h2") == [first, second]


def test_a_large_body_comes_in_frames_as_large_as_the_client_takes(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2) as client:
        answer = client.get(path)
    assert (answer.body, answer.end) == (body, "complete")
    assert max(answer.sizes) == 1 << 14

    with H2Client(h2, {INITIAL_WINDOW_SIZE: 1 << 30, MAX_FRAME_SIZE: 1 << 17}) as client:
        answer = client.get(path)
    assert answer.body == body
    assert max(answer.sizes) == 1 << 17


def test_a_body_of_whole_frames_ends_with_its_last_one(h2: Registry) -> None:
    h2.on(any_request()).body(b"x" * (1 << 15))
    with H2Client(h2) as client:
        assert client.get("/v2/").sizes == [1 << 14, 1 << 14]


def test_a_range_is_asked_for_as_ever(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2) as client:
        answer = client.get(path, headers={"Range": "bytes=100000-"})

    assert (answer.status, answer.body) == (206, body[100_000:])


def test_streams_are_answered_beside_each_other(h2: Registry) -> None:
    path, body = large(h2)
    stall = h2.on(blob(), nth=1).stall_after(10)
    with H2Client(h2) as client:
        stalled = client.ask(path)
        assert client.get(path).body == body
        assert client.get("/v2/").status == 200
        assert client.answers[stalled].body == body[:10]
        stall.release()
        client.until(lambda: bool(client.answers[stalled].end))

    assert client.answers[stalled].body == body


def test_a_hundred_stalled_streams_hold_up_nobody_and_no_thread(h2: Registry) -> None:
    path, _ = large(h2)
    stall = h2.on(blob()).stall_after(10)
    threads = threading.active_count()
    with H2Client(h2) as client:
        for _ in range(99):
            client.ask(path)
        assert stall.gate.wait_holding(99)
        assert client.get("/v2/").status == 200
        assert threading.active_count() <= threads + 2


def test_a_tests_own_handler_may_wait_for_another_stream(h2: Registry) -> None:
    met = threading.Event()

    def wait(_: Request) -> Response:
        return Response("met" if met.wait(10) else "alone")

    def meet(_: Request) -> Response:
        met.set()
        return Response("here")

    h2.expect_request("/wait").respond_with_handler(wait)
    h2.expect_request("/meet").respond_with_handler(meet)
    with H2Client(h2) as client:
        waiting = client.ask("/wait")
        assert client.get("/meet").body == b"here"
        client.until(lambda: bool(client.answers[waiting].end))

    assert client.answers[waiting].body == b"met"


def test_a_body_is_read_whole(registries: Registries, h2: Registry) -> None:
    h2.auth = bearer("user")
    secret = h2.auth.credentials.password
    form = f"grant_type=password&username=user&password={secret}&service={h2.host}"
    kind = {"content-type": "application/x-www-form-urlencoded"}
    with H2Client(h2) as client:
        answer = client.get("/token", "POST", headers=kind, body=form.encode())
    (exchange,) = h2.requests(token())

    assert answer.status == 200, answer.body
    assert exchange.request_body_size == len(form)
    assert secret not in str(exchange.form)


def test_a_large_upload_gets_its_window_again_and_again(h2: Registry) -> None:
    data = bytes(range(256)) * (40 << 10)
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    context = h2.topology.certificates.client_context()
    with httpx.Client(http2=True, verify=context) as client:
        url = h2.url_for(f"/v2/app/web/blobs/uploads/?digest={digest}")
        assert client.post(url, content=data).status_code == 201
        assert client.get(h2.url_for(f"/v2/app/web/blobs/{digest}")).content == data


def test_who_expects_a_100_gets_it(h2: Registry) -> None:
    with H2Client(h2) as client:
        headers = {"expect": "100-continue", "content-length": "2"}
        stream, head = client.framing.ask("POST", "/v2/", client.authority, headers, end=False)
        client.answers[stream] = Answer()
        client.send(head)
        client.until(lambda: bool(client.answers[stream].interim))
        client.send(frame(DATA, END_STREAM, stream, b"ab"))
        client.until(lambda: bool(client.answers[stream].end))

    assert client.answers[stream].status == 200
    assert client.answers[stream].interim == [[(":status", "100")]]


# flow control


def test_no_byte_beyond_the_streams_window(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2, {INITIAL_WINDOW_SIZE: 1000}) as client:
        stream = client.ask(path)
        answer = client.answers[stream]
        client.until(lambda: len(answer.body) >= 1000)
        client.ping()
        assert answer.body == body[:1000]
        client.send(window_update(500, stream))
        client.until(lambda: len(answer.body) >= 1500)
        client.ping()
        assert answer.body == body[:1500]
        client.send(window_update(len(body), stream))
        client.until(lambda: bool(answer.end))

    assert answer.body == body


def test_a_new_initial_window_counts_for_streams_that_are_open(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2, {INITIAL_WINDOW_SIZE: 1000}) as client:
        stream = client.ask(path)
        answer = client.answers[stream]
        client.until(lambda: len(answer.body) >= 1000)
        # Less than was sent: the window is negative (RFC 9113, 6.9.2).
        client.send(settings({INITIAL_WINDOW_SIZE: 400}))
        client.send(window_update(500, stream))
        client.ping()
        assert answer.body == body[:1000]
        client.send(settings({INITIAL_WINDOW_SIZE: 1000}))
        client.until(lambda: len(answer.body) >= 1500)
        client.ping()
        assert answer.body == body[:1500]
        client.send(settings({INITIAL_WINDOW_SIZE: 1 << 30}))
        client.until(lambda: bool(answer.end))

    assert answer.body == body


def test_the_connections_window_is_shared_fairly(h2: Registry) -> None:
    path, _ = large(h2, 1 << 20)
    with H2Client(h2, window=0) as client:
        streams = [client.ask(path) for _ in range(4)]
        answers = [client.answers[stream] for stream in streams]
        client.until(lambda: sum(len(one.body) for one in answers) >= 65_535)
        client.until(lambda: all(one.fields for one in answers))
        had = [len(one.body) for one in answers]
        for _ in range(40):
            before = sum(len(one.body) for one in answers)
            client.send(window_update(16_384))
            client.until(lambda before=before: sum(len(a.body) for a in answers) >= before + 16_384)
        got = [len(one.body) - before for one, before in zip(answers, had, strict=True)]

    assert max(got) - min(got) <= 2 * 16_384, got


def test_pings_settings_and_priorities_are_taken_while_bodies_flow(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2, {INITIAL_WINDOW_SIZE: 1000}) as client:
        stream = client.ask(path)
        client.ping(b"12345678")
        client.send(frame(PRIORITY, 0, stream, b"\0\0\0\0\x10"))
        client.send(settings({INITIAL_WINDOW_SIZE: 1 << 30}))
        client.send(frame(0x99, 0, stream, b"nobody knows this kind"))
        client.until(lambda: bool(client.answers[stream].end))
        acks = [one for one in client.frames(SETTINGS) if one.flags & ACK]

    assert client.answers[stream].body == body
    assert len(acks) == 2
    assert [one.payload for one in client.frames(PING)] == [b"12345678"]


def test_a_stream_that_the_client_resets_is_left_alone(h2: Registry) -> None:
    path, body = large(h2)
    with H2Client(h2, {INITIAL_WINDOW_SIZE: 1000}) as client:
        stream = client.ask(path)
        client.until(lambda: len(client.answers[stream].body) >= 1000)
        client.send(rst_stream(stream) + settings({INITIAL_WINDOW_SIZE: 1 << 30}))
        assert client.get(path).body == body
    assert h2.journal.wait_quiet()
    left, whole = h2.requests(blob())

    assert (left.ended, left.code, left.bytes_sent) == ("client_gone", "CANCEL", 1000)
    assert whole.ended == "complete"


# limits


def test_one_stream_too_many_is_refused_and_can_be_asked_again(h2: Registry) -> None:
    h2.max_concurrent_streams = 2
    path, body = large(h2)
    stall = h2.on(blob()).first(2).stall_after(10)
    with H2Client(h2) as client:
        streams = [client.ask(path) for _ in range(3)]
        client.until(lambda: bool(client.answers[streams[2]].end))
        said = client.frames(SETTINGS)[0].settings
        stall.release()
        client.until(lambda: all(client.answers[one].end for one in streams))
        again = client.get(path)

    assert said[MAX_CONCURRENT_STREAMS] == 2
    assert client.answers[streams[2]].end == "rst_stream REFUSED_STREAM"
    assert client.answers[streams[0]].body == body
    assert again.body == body
    assert h2.journal.wait_quiet()
    refused = [one for one in h2.journal if one.ended == "rst_stream"]
    assert [(one.stream, one.code, one.status) for one in refused] == [(5, "REFUSED_STREAM", None)]


@pytest.mark.parametrize("streams", [-1, 1 << 31])
def test_a_limit_of_streams_is_a_number_that_settings_hold(h2: Registry, streams: int) -> None:
    with pytest.raises(ValueError, match="max_concurrent_streams"):
        h2.max_concurrent_streams = streams


# ends


def test_an_idle_client_is_told_to_go(h2: Registry) -> None:
    with H2Client(h2) as client:
        client.get("/v2/")
        h2.head_timeout = 0.05
        client.until(lambda: False)

    assert client.closed == "fin"
    assert [one.code for one in client.frames(GOAWAY)] == ["NO_ERROR"]
    (connection,) = h2.journal.connections
    assert h2.journal.wait_for(lambda _: connection.closed is not None)
    assert connection.failure == "idle for 0.05 s"


def test_a_body_that_does_not_come_is_waited_for_no_longer(h2: Registry) -> None:
    h2.head_timeout = 0.05
    with H2Client(h2) as client:
        _, head = client.framing.ask("POST", "/token", client.authority, {}, end=False)
        client.send(head)
        client.until(lambda: False)
    (connection,) = h2.journal.connections
    assert h2.journal.wait_for(lambda _: connection.closed is not None)

    assert [one.code for one in client.frames(GOAWAY)] == ["NO_ERROR"]
    assert "no whole request" in (connection.failure or "")


def test_an_answer_that_waits_is_no_idle_client(h2: Registry) -> None:
    stall = h2.on(any_request()).stall_after(0, 0.3)
    h2.head_timeout = 0.05
    with H2Client(h2) as client:
        answer = client.get("/v2/")

    assert stall.fired == 1
    assert answer.end == "complete"


@pytest.mark.parametrize(("how", "closed"), [("rst", "rst"), ("fin", "fin")])
def test_idle_connections_can_be_killed(h2: Registry, how: str, closed: str) -> None:
    with H2Client(h2) as client:
        client.get("/v2/")
        assert h2.journal.wait_quiet()
        assert h2.kill_connections(how) == 1
        client.until(lambda: False)

    assert client.closed == closed
    assert [one.code for one in client.frames(GOAWAY)] == (["NO_ERROR"] if how == "fin" else [])


def test_a_busy_connection_is_not_idle(h2: Registry) -> None:
    stall = h2.on(any_request()).stall_after(0)
    with H2Client(h2) as client:
        client.ask("/v2/")
        assert stall.gate.wait_holding()
        assert h2.kill_connections() == 0


def test_stop_ends_what_stalls(registries: Registries, h2: Registry) -> None:
    stall = h2.on(any_request()).stall_after(0)
    with H2Client(h2) as client:
        client.ask("/v2/")
        assert stall.gate.wait_holding()
        h2.stop()
        client.until(lambda: False)
        h2.start()
    (exchange,) = h2.journal.exchanges()

    assert exchange.ended == "stopped"


# clients of the field


def test_httpx(h2: Registry) -> None:
    path, body = large(h2)
    context = h2.topology.certificates.client_context()
    with httpx.Client(http2=True, verify=context) as client:
        answers = [client.get(h2.url_for(path)) for _ in range(3)]

    assert {(one.http_version, one.content) for one in answers} == {("HTTP/2", body)}
    assert len(h2.journal.connections) == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl isn't there")
def test_curl(h2: Registry, tmp_path) -> None:
    path, body = large(h2, 3 << 20)
    ca = h2.topology.certificates.ca_file(tmp_path)
    known = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=10)
    if "HTTP2" not in known.stdout:
        pytest.skip("this curl doesn't speak HTTP/2")
    wanted = [f"{h2.url_for(path)}?{number}" for number in range(4)]
    outputs = [part for one in range(4) for part in ("-o", str(tmp_path / str(one)))]
    done = subprocess.run(
        ["curl", "-sSf", "--http2", "-Z", "--cacert", str(ca), *outputs, *wanted],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert done.returncode == 0, done.stderr
    assert [(tmp_path / str(one)).read_bytes() == body for one in range(4)] == [True] * 4
    assert {one.connection.alpn for one in h2.journal} == {"h2"}


def test_headers_frames_of_a_large_head_are_continued(h2: Registry) -> None:
    h2.on(any_request()).header("X-Large", "x" * 40_000)
    context = h2.topology.certificates.client_context()
    with httpx.Client(http2=True, verify=context) as client:
        assert len(client.get(h2.url_for("/v2/")).headers["x-large"]) == 40_000


def test_trailers_of_a_request_are_let_pass(h2: Registry) -> None:
    with H2Client(h2) as client:
        stream, head = client.framing.ask("POST", "/token", client.authority, {}, end=False)
        client.answers[stream] = Answer()
        client.send(head + frame(DATA, 0, stream, b"a=b"))
        client.send(client.framing.head(stream, [("x-after", "1")], end=True))
        client.until(lambda: bool(client.answers[stream].end))

    assert client.answers[stream].status != 0
