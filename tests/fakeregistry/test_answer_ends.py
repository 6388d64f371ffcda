"""What an answer does to its connection beside the cuts: held, half closed, inside a record."""

import ssl
from collections.abc import Iterator

import pytest
from rawclient import Raw, Received

from fakeregistry import Image, Registries, Registry, Rule, a_layer, an_image, any_request, blob

KIB = 1024


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def context(
    request: pytest.FixtureRequest, registries: Registries, registry: Registry
) -> ssl.SSLContext | None:
    if not request.param:
        return None
    registry.tls = registries.certificates.valid()
    return registries.certificates.client_context()


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


def test_a_held_connection_has_its_answer_and_reads_no_more(
    registry, rule, path, data, context
) -> None:
    rule.first(1).hold_open()
    with Raw(registry, context) as raw:
        assert raw.ask(path).answer().body == data
        assert rule.wait_holding()
        assert last(registry).ended == "complete", "the answer is over, whatever is held"
        raw.ask("/v2/")
        assert raw.silent()
        assert len(registry.requests()) == 1
        rule.release()
        assert raw.answer().body == b"{}"


def test_a_held_connection_ends_by_time(registry, rule, path, data) -> None:
    rule.hold_open(0.05)
    with Raw(registry) as raw:
        assert raw.ask(path).answer().body == data
        assert raw.ask("/v2/").answer().status == 200
    assert rule.fired == 1


def test_a_client_that_wants_the_end_gets_it_after_the_hold(registry, rule, path, data) -> None:
    rule.hold_open()
    with Raw(registry) as raw:
        assert raw.ask(path, Connection="close").answer().body == data
        assert rule.wait_holding()
        assert raw.silent()
        rule.release()
        assert raw.rest() == Received(b"", "fin")


def test_the_head_comes_before_the_first_byte(registry, rule, path, data, context) -> None:
    rule.delay_first_byte()
    with Raw(registry, context) as raw:
        head = raw.ask(path).head()
        assert head.header("content-length") == str(len(data))
        assert rule.wait_holding()
        assert raw.silent()
        assert last_open(registry).bytes_sent == 0
        rule.release()
        assert raw.exactly(len(data)) == data


def last_open(registry: Registry):
    return registry.requests()[-1]


@pytest.mark.parametrize("announced", [True, False])
def test_each_answer_closes(registry, rule, path, data, context, announced) -> None:
    rule.close_each_response(announced=announced)
    with Raw(registry, context) as raw:
        answer = raw.ask(path).rest()
    assert (answer.body, answer.end) == (data, "fin")
    assert (answer.header("connection") == "close") == announced
    assert last(registry).ended == "complete"


def test_half_closed_with_a_part(registry, rule, path, data, context) -> None:
    rule.half_close_after(1000)
    with Raw(registry, context) as raw:
        answer = raw.ask(path).rest()
        assert (answer.body, answer.end) == (data[:1000], "fin")
        assert answer.header("content-length") == str(len(data))
        assert last(registry).ended == "fin"
        assert rule.wait_holding()
        # What we say now is read and forgotten: no RST, however much it is.
        raw.sock.settimeout(5)
        for _ in range(20):
            raw.send(b"x" * 100_000)
        assert rule.gate.holding == 1
    [one] = registry.journal.connections
    assert registry.journal.wait_for(lambda _: one.closed is not None)


def test_half_closed_after_the_whole(registry, rule, path, data) -> None:
    rule.half_close_after(len(data))
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
        assert (answer.body, answer.end) == (data, "fin")
        assert answer.header("connection") is None
        raw.ask("/v2/")
        rule.release()
        assert raw.rest() == Received(b"", "fin"), "nobody answered"
    assert last(registry).ended == "complete"
    assert len(registry.requests()) == 1


def test_a_head_has_nothing_to_hold_or_halve(registry, image, path) -> None:
    for fault in ("hold_open", "delay_first_byte", "half_close_after"):
        rule = registry.on(blob(image.layers[0]))
        getattr(rule, fault)()
        with Raw(registry) as raw:
            raw.ask(path, "HEAD").head()
            assert raw.ask("/v2/").answer().status == 200
        assert rule.fired == 0
        registry.drop(rule)


def readable(tls: ssl.SSLObject) -> Iterator[bytes]:
    """What can be decrypted by now."""
    while True:
        try:
            yield tls.read(1 << 16)
        except ssl.SSLWantReadError:
            return


@pytest.mark.parametrize("n", [0, 1000])
def test_half_a_record_is_on_the_wire(registries, registry, rule, path, data, n) -> None:
    """The bytes before it can be read; of the record, exactly half has arrived, and waits."""
    registry.tls = registries.certificates.valid()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = registries.certificates.client_context().wrap_bio(
        incoming, outgoing, server_hostname="127.0.0.1"
    )
    rule.stall_after(n, inside_record=True)
    with Raw(registry) as raw:

        def until(step, *arguments):
            while True:
                try:
                    return step(*arguments)
                except ssl.SSLWantReadError:
                    raw.send(outgoing.read())
                    incoming.write(raw.sock.recv(1 << 16))

        until(tls.do_handshake)
        tls.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        raw.send(outgoing.read())
        assert rule.wait_holding()
        while not raw.silent():
            incoming.write(raw.sock.recv(1 << 16))
        said = b"".join(readable(tls))
        assert said.partition(b"\r\n\r\n")[2] == data[:n]
        assert incoming.pending == 0, "OpenSSL has taken what there is of the record"
        rule.release()
        body = b""
        while len(body) < len(data) - n:
            body += until(tls.read, 1 << 16)
        assert body == data[n:]
    assert last(registry).ended == "complete"
    assert last(registry).bytes_sent == len(data)


def test_a_record_can_be_cut_in_half_for_ever(registries, registry, rule, path, data) -> None:
    registry.tls = registries.certificates.valid()
    rule.stall_after(50, inside_record=True)
    with Raw(registry, registries.certificates.client_context()) as raw:
        raw.ask(path).head()
        assert raw.exactly(50) == data[:50]
        assert rule.wait_holding()
        raw.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            raw.sock.recv(1)
    assert last(registry).ended == "client_gone"
    assert last(registry).bytes_sent == 50


def test_chunks_can_stall_inside_a_record(registries, registry, rule, path, data) -> None:
    registry.tls = registries.certificates.valid()
    rule.chunked().stall_after(50, 0.05, inside_record=True)
    with Raw(registry, registries.certificates.client_context()) as raw:
        raw.ask(path, Connection="close")
        said = raw.rest()
    assert said.body.startswith(b"32\r\n" + data[:50] + b"\r\n")
    assert said.body.endswith(data[-50:] + b"\r\n0\r\n\r\n")


def test_plain_connections_have_no_records(registry, rule, path, data) -> None:
    rule.stall_after(50, inside_record=True)
    with Raw(registry) as raw:
        assert raw.ask(path).answer().body == data
    assert rule.fired == 0


def test_stopping_ends_a_held_connection() -> None:
    with Registries() as registries:
        registry = registries.registry()
        image = registry.add(an_image())
        held = registry.on(any_request()).hold_open()
        half = registry.on(blob(image.layers[0])).half_close_after(0)
        with Raw(registry) as one, Raw(registry) as two:
            one.ask("/v2/").answer()
            two.ask(f"/v2/app/web/blobs/{image.layers[0].digest}").rest()
            assert held.wait_holding()
            assert half.wait_holding()
            registry.stop()
            assert one.rest().end == "fin"
