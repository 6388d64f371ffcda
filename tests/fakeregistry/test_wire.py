"""The wire, seen from raw sockets: bytes, offsets, order, and how each connection ends."""

import hashlib
import socket
import threading

import pytest
from rawclient import Raw

from fakeregistry import Image, Registries, Registry, Rule, a_layer, an_image, blob, manifest
from fakeregistry.wire.player import TLS_SLICE

KIB = 1024


@pytest.fixture
def image(registry: Registry) -> Image:
    return registry.add(an_image([a_layer(0, size=300 * KIB)]))


@pytest.fixture
def data(image: Image) -> bytes:
    return image.layers[0].blob


@pytest.fixture
def path(image: Image) -> str:
    return f"/v2/app/web/blobs/{image.layers[0].digest}"


@pytest.fixture
def rule(registry: Registry, image: Image) -> Rule:
    return registry.on(blob(image.layers[0]))


def last(registry: Registry):
    assert registry.journal.wait_quiet()
    return registry.requests()[-1]


# honest answers


def test_one_connection_carries_many_requests(registry, image, path, data) -> None:
    with Raw(registry) as raw:
        for _ in range(3):
            answer = raw.ask(path).answer()
            assert (answer.status, answer.body) == (200, data)
            assert answer.header("docker-content-digest") == image.layers[0].digest
    assert registry.journal.wait_quiet()
    assert {e.connection.id for e in registry.requests()} == {1}
    assert [e.ended for e in registry.requests()] == ["complete"] * 3
    assert last(registry).bytes_sent == len(data)


def test_head_states_the_length_and_sends_no_byte(registry, path, data) -> None:
    with Raw(registry) as raw:
        head = raw.ask(path, "HEAD").head()
        assert head.header("content-length") == str(len(data))
        assert raw.ask("/v2/").answer().body == b"{}"
    assert registry.requests()[0].bytes_sent == 0


def test_pipelined_requests_are_answered_in_order(registry, path, data) -> None:
    with Raw(registry) as raw:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
        raw.send(request)
        assert raw.answer().body == data
        assert raw.answer().body == b"{}"


@pytest.mark.parametrize(
    "request_text",
    ["GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "GET /v2/ HTTP/1.0\r\n\r\n"],
)
def test_a_client_that_wants_it_gets_the_connection_closed(registry, request_text) -> None:
    with Raw(registry) as raw:
        answer = raw.send(request_text).rest()
    assert (answer.status, answer.body, answer.end) == (200, b"{}", "fin")
    assert answer.header("connection") == "close"
    assert last(registry).ended == "complete"


def test_request_bodies_come_whole_or_in_chunks(registry) -> None:
    content = b"some bytes of a blob"
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    with Raw(registry) as raw:
        location = raw.ask("/v2/a/blobs/uploads/", "POST").answer().header("location")
        raw.ask(location, "PATCH", Transfer_Encoding="chunked")
        raw.send(b"4;ext=1\r\nsome\r\n10\r\n bytes of a blob\r\n0\r\nTrailer: x\r\n\r\n")
        assert raw.answer().status == 202
        assert raw.ask(f"{location}?digest={digest}", "PUT").answer().status == 201
        assert raw.ask(f"/v2/a/blobs/{digest}").answer().body == content


def test_a_client_that_expects_it_is_told_to_continue(registry) -> None:
    with Raw(registry) as raw:
        raw.ask("/v2/a/blobs/uploads/", "POST", Content_Length="3", Expect="100-continue")
        assert raw.head().status == 100
        assert raw.send(b"abc").answer().status == 202


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("nonsense\r\n\r\n", 400),
        ("GET /v2/ HTTP/2.0\r\n\r\n", 505),
        ("GET /v2/ HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ("PUT /v2/ HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("PUT /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("PUT /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        ("GET /v2/ HTTP/1.1\r\nX: " + "x" * 70_000, 431),
    ],
)
def test_what_is_no_request_is_refused_and_closed(registry, said, status) -> None:
    with Raw(registry) as raw:
        answer = raw.send(said).rest()
    assert (answer.status, answer.end) == (status, "fin")
    assert last(registry).status == status


def test_a_plain_port_answers_a_tls_hello_at_once(registry) -> None:
    with Raw(registry) as raw:
        answer = raw.send(b"\x16\x03\x01").rest()
    assert (answer.status, answer.end) == (400, "fin")
    assert registry.requests() == []
    [connection] = registry.journal.connections
    assert registry.journal.wait_for(lambda _: connection.closed is not None)
    assert connection.failure == "TLS hello on a plain port"


def test_a_tls_port_answers_plaintext_at_once(registries, registry) -> None:
    registry.tls = registries.certificates.valid()
    with Raw(registry) as raw:
        answer = raw.send(b"G").rest()
    assert (answer.status, answer.end) == (400, "fin")
    assert b"HTTPS server" in answer.body


def test_a_silent_client_blocks_nobody(registries, registry) -> None:
    registry.tls = registries.certificates.valid()
    with Raw(registry), Raw(registry, registries.certificates.client_context()) as raw:
        assert raw.ask("/v2/").answer().status == 200


# cuts


def test_truncate_after_promises_all_and_says_goodbye(registry, rule, path, data) -> None:
    rule.truncate_after(1000)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.header("content-length") == str(len(data))
    assert (answer.body, answer.end) == (data[:1000], "fin")
    exchange = last(registry)
    assert (exchange.status, exchange.bytes_sent, exchange.ended) == (200, 1000, "fin")
    assert rule.fired == 1
    assert len(exchange.rules) == 1


def test_close_after_sends_a_bare_fin(registry, rule, path, data) -> None:
    rule.close_after(0)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.status, answer.body, answer.end) == (200, b"", "fin")


@pytest.mark.parametrize(("fault", "end"), [("truncate_after", "fin"), ("close_after", "bare")])
def test_under_tls_a_cut_may_or_may_not_say_goodbye(
    registries, registry, rule, path, data, fault, end
) -> None:
    registry.tls = registries.certificates.valid()
    getattr(rule, fault)(1000)
    with Raw(registry, registries.certificates.client_context()) as raw:
        answer = raw.ask(path).rest()
    assert answer.body == data[:1000]
    assert answer.end == {"fin": "fin", "bare": "fin without goodbye"}[end]


@pytest.mark.parametrize("n", [0, 1, 200 * KIB])
def test_reset_after_delivers_its_bytes_before_the_reset(registry, rule, path, data, n) -> None:
    rule.reset_after(n)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.status, answer.end) == (200, "rst")
    assert answer.body == data[:n]
    assert (last(registry).bytes_sent, last(registry).ended) == (n, "rst")


def test_reset_after_under_tls(registries, registry, rule, path, data) -> None:
    registry.tls = registries.certificates.valid()
    rule.reset_after(1000)
    with Raw(registry, registries.certificates.client_context()) as raw:
        answer = raw.ask(path).rest()
    assert (answer.body, answer.end) == (data[:1000], "rst")


def test_reset_before_headers_says_no_word(registry, rule, path) -> None:
    rule.reset_before_headers()
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.data, answer.end) == (b"", "rst")
    assert (last(registry).status, last(registry).ended) == (None, "rst")


# lengths and bytes


def test_flip_byte_changes_one_byte(registry, rule, path, data) -> None:
    rule.flip_byte(-1)
    with Raw(registry) as raw:
        body = raw.ask(path).answer().body
    assert body[:-1] == data[:-1]
    assert body[-1] == data[-1] ^ 0xFF


def test_wrong_content_length_too_long_ends_by_fin(registry, rule, path, data) -> None:
    rule.wrong_content_length(7)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.header("content-length") == str(len(data) + 7)
    assert (answer.body, answer.end) == (data, "fin")


def test_wrong_content_length_too_short_sends_more_than_it_said(registry, rule, path, data) -> None:
    rule.wrong_content_length(-7)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.header("content-length") == str(len(data) - 7)
    assert (answer.body, answer.end) == (data, "fin")


def test_no_content_length_ends_the_body_by_closing(registry, rule, path, data) -> None:
    rule.no_content_length()
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.header("content-length") is None
    assert answer.header("transfer-encoding") is None
    assert answer.header("connection") == "close"
    assert (answer.body, answer.end) == (data, "fin")
    assert last(registry).ended == "complete"


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """The content of a chunked body, and whether it came to its end."""
    content = b""
    while body:
        line, _, body = body.partition(b"\r\n")
        size = int(line, 16)
        if size == 0:
            return content, True
        content, body = content + body[:size], body[size + 2 :]
    return content, False


def test_chunked_keeps_the_connection(registry, rule, path, data) -> None:
    rule.chunked()
    with Raw(registry) as raw:
        head = raw.ask(path).head()
        assert head.header("transfer-encoding") == "chunked"
        assert head.header("content-length") is None
        answer = raw.ask("/v2/", Connection="close").rest()
    body, _, next_answer = answer.data.partition(b"0\r\n\r\nHTTP/1.1 ")
    assert unchunked(body) == (data, False)
    assert next_answer.startswith(b"200 OK")
    assert last(registry).connection.requests == 2
    assert registry.requests(blob())[0].bytes_sent == len(data)


@pytest.mark.parametrize("terminated", [True, False])
def test_a_chunked_body_can_be_cut_with_and_without_its_end(
    registry, rule, path, data, terminated
) -> None:
    rule.chunked().truncate_after(1000, terminated=terminated)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert unchunked(answer.body) == (data[:1000], terminated)
    assert answer.end == "fin"


def test_append_tells_the_true_length(registry, rule, path, data) -> None:
    rule.append(100_000)
    with Raw(registry) as raw:
        answer = raw.ask(path).answer()
    assert len(answer.body) == len(data) + 100_000
    assert answer.body.startswith(data)


def test_infinite_body_ends_at_its_cap(registry, rule, path, data) -> None:
    rule.infinite_body(cap=len(data) + 1_000_000)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    body, ended = unchunked(answer.body)
    assert (len(body), ended) == (len(data) + 1_000_000, False)


# time


def test_stall_after_holds_until_released(registry, rule, path, data) -> None:
    rule.stall_after(1000)
    with Raw(registry) as raw:
        raw.ask(path).head()
        assert raw.exactly(1000) == data[:1000]
        assert rule.wait_holding()
        [exchange] = registry.requests()
        assert (exchange.ended, exchange.bytes_sent) == ("open", 1000)
        raw.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            raw.sock.recv(1)
        raw.sock.setblocking(True)
        rule.release()
        assert raw.exactly(len(data) - 1000) == data[1000:]
        assert raw.ask(path).answer().body == data, "a released rule holds nobody any more"


def test_stall_after_ends_by_itself(registry, rule, path, data) -> None:
    rule.stall_after(0, seconds=0.05)
    with Raw(registry) as raw:
        assert raw.ask(path).answer().body == data
    times = last(registry).times
    assert times.first_byte - times.head >= 0.04


def test_delay_headers_says_nothing_first(registry, rule, path, data) -> None:
    rule.delay_headers()
    with Raw(registry) as raw:
        raw.ask(path)
        assert rule.wait_holding()
        assert registry.requests()[0].status is None
        raw.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            raw.sock.recv(1)
        raw.sock.setblocking(True)
        rule.release()
        assert raw.answer().body == data


@pytest.mark.parametrize("tls", [False, True])
def test_a_client_that_hangs_up_in_a_stall_is_noticed(
    registries, registry, rule, path, tls
) -> None:
    context = None
    if tls:
        registry.tls = registries.certificates.valid()
        context = registries.certificates.client_context()
    rule.stall_after(10)
    with Raw(registry, context) as raw:
        raw.ask(path).head()
        raw.exactly(10)
        assert rule.wait_holding()
    exchange = last(registry)
    assert (exchange.ended, exchange.bytes_sent) == ("client_gone", 10)


def test_a_client_that_never_reads_and_goes_is_noticed(registry) -> None:
    big = registry.add(an_image([a_layer(0, size=20 << 20)]), "app/big")
    raw = Raw(registry).ask(f"/v2/app/big/blobs/{big.layers[0].digest}")
    assert registry.journal.wait_for(
        lambda j: registry.requests() and registry.requests()[0].status
    )
    raw.sock.close()
    exchange = last(registry)
    assert exchange.ended == "client_gone"
    assert exchange.bytes_sent < 20 << 20


@pytest.mark.parametrize("fault", ["delay_headers", "stall", "unread"])
def test_stopping_ends_what_is_held(registries, registry, rule, path, fault) -> None:
    if fault == "delay_headers":
        rule.delay_headers()
    elif fault == "stall":
        rule.stall_after(1)
    else:
        rule.append(50 << 20)
    with Raw(registry) as raw:
        raw.ask(path)
        assert rule.wait_fired()
        if fault != "unread":
            assert rule.wait_holding()
        before = registry.journal.now()
        registries.close()
        assert registry.journal.now() - before < 3
        assert raw.rest().end in ("fin", "rst")
    assert registry.requests()[0].ended == "stopped"
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith("origin ")]


def test_drip_sends_so_many_bytes_at_a_time(registry, image) -> None:
    registry.on(manifest(image)).drip(300, every=0.01)
    with Raw(registry) as raw:
        assert raw.ask("/v2/app/web/manifests/v1").answer().body == image.manifest
    times = last(registry).times
    pauses = (len(image.manifest) - 1) // 300
    assert times.last_byte - times.first_byte >= 0.01 * pauses * 0.9


def test_throttle_keeps_the_rate(registry, image) -> None:
    registry.on(manifest(image)).throttle(len(image.manifest) * 10)
    with Raw(registry) as raw:
        assert raw.ask("/v2/app/web/manifests/v1").answer().body == image.manifest
    times = last(registry).times
    assert times.last_byte - times.first_byte < 5


def test_several_faults_of_one_rule_act_together(registry, rule, path, data) -> None:
    rule.flip_byte(0).stall_after(100, seconds=0.01).header("X-Odd", "yes").reset_after(1000)
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.header("x-odd") == "yes"
    assert answer.body == bytes([data[0] ^ 0xFF]) + data[1:1000]
    assert answer.end == "rst"


def test_large_bodies_pass_in_slices(registries, registry) -> None:
    registry.tls = registries.certificates.valid()
    big = registry.add(an_image([a_layer(0, size=3 * TLS_SLICE)]))
    with Raw(registry, registries.certificates.client_context()) as raw:
        raw.sock.settimeout(10)
        answer = raw.ask(f"/v2/app/web/blobs/{big.layers[0].digest}").answer()
    assert answer.body == big.layers[0].blob


def test_a_port_in_use_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Registries() as registries, pytest.raises(OSError, match="in use"):
            registries.registry("other", port=taken.getsockname()[1])
