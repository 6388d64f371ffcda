"""Faults of connections as they are accepted, seen from raw sockets, plain and TLS."""

import ssl
import struct
import warnings

import pytest
from rawclient import Raw, Received, hello

from fakeregistry import Registries, Registry, an_image, any_request, blob, connection
from fakeregistry.faults.connections import ALERTS, alert_record


def bare(registry: Registry) -> Raw:
    """A connection on which nobody speaks TLS."""
    return Raw(registry)


def without_a_word(registry: Registry) -> Received:
    """What comes on a connection on which nothing is said."""
    try:
        with bare(registry) as raw:
            return raw.rest()
    except ConnectionResetError:
        return Received(b"", "rst")  # already while it was made


def refused(registries: Registries, registry: Registry) -> str:
    """How a TLS client of ours is refused."""
    with pytest.raises((ssl.SSLError, OSError)) as failure:
        with Raw(registry, registries.certificates.client_context()) as raw:
            raw.ask("/v2/").answer()
    return str(failure.value)


def served(registries: Registries, registry: Registry) -> Received:
    context = None if registry.tls is None else registries.certificates.client_context()
    with Raw(registry, context) as raw:
        return raw.ask("/v2/").answer()


def the_connection(registry: Registry, number: int = -1):
    journal = registry.journal
    assert journal.wait_for(lambda _: journal.connections[number].closed is not None)
    return journal.connections[number]


@pytest.fixture
def secure(registries: Registries, registry: Registry) -> Registry:
    registry.tls = registries.certificates.valid()
    return registry


# on accept


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("fault", "end", "said"),
    [
        ("reset_on_accept", "rst", "reset by a rule"),
        ("close_on_accept", "fin", "closed by a rule"),
    ],
)
def test_a_connection_ends_before_a_word(registries, registry, fault, end, said, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    rule = getattr(registry.on(connection()).first(1), fault)()
    assert without_a_word(registry) == Received(b"", end)
    assert the_connection(registry).failure == said
    assert the_connection(registry).rules == [f"origin#1 {rule.words}"]
    assert rule.fired == 1
    assert served(registries, registry).status == 200
    assert registry.journal.connections[-1].rules == []


def test_silence_reads_and_says_nothing_until_released(registry) -> None:
    rule = registry.on(connection()).accept_silence()
    with bare(registry) as raw:
        raw.ask("/v2/")
        assert rule.wait_holding()
        assert rule.fired == 1
        assert registry.requests() == []
        assert raw.silent()
        rule.release()
        assert raw.answer().status == 200


def test_silence_ends_by_time_or_by_the_client(registry) -> None:
    registry.on(connection()).first(1).accept_silence(0.05)
    held = registry.on(connection()).nth(2).accept_silence()
    with bare(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200
    with bare(registry) as raw:
        assert held.wait_holding()
    assert the_connection(registry).failure == "the client left a connection that stood still"


def test_a_window_counts_connections(registries, registry) -> None:
    rule = registry.on(connection()).every(2).close_on_accept()
    ends = []
    for _ in range(4):
        with bare(registry) as raw:
            raw.ask("/v2/", Connection="close")
            ends.append(raw.rest().data[:12])
    assert ends == [b"HTTP/1.1 200", b"", b"HTTP/1.1 200", b""]
    assert rule.fired == 2


def test_an_honest_world_counts_and_does_nothing() -> None:
    with Registries() as registries:
        registries.honest = True
        registry = registries.registry()
        rule = registry.on(connection()).reset_on_accept()
        assert served(registries, registry).status == 200
        assert rule.fired == 1


def test_without_a_fault_a_rule_only_counts(registries, registry) -> None:
    seen = registry.on(connection()).observe()
    assert served(registries, registry).status == 200
    assert seen.wait_fired()


# misuse


def test_a_fault_fits_one_kind_of_target(registry) -> None:
    with pytest.raises(ValueError, match=r"status\(500\): it edits answers: on a connection"):
        registry.on(connection()).status(500)
    with pytest.raises(ValueError, match=r"tls_stall\(\): it edits connections as they are"):
        registry.on(any_request()).tls_stall()


@pytest.mark.parametrize(
    ("fault", "arguments", "said"),
    [
        ("tls_alert", {"description": "tired"}, "tls_alert 'tired': it must be one of"),
        ("refuse_tls", {"how": "softly"}, "refuse_tls 'softly': it must be one of close, reset"),
        ("old_tls_version", {"version": "1.2"}, "it must be one of 1.0, 1.1"),
        ("max_requests_per_connection", {"n": 0}, "it must be at least 1"),
        ("blackhole_established", {"n": -1}, "it must be at least 0"),
    ],
)
def test_arguments_are_checked(registry, fault, arguments, said) -> None:
    with pytest.raises(ValueError, match=said):
        getattr(registry.on(connection()), fault)(**arguments)


# the handshake


def test_a_stalled_handshake_says_nothing_and_blocks_nobody(registries, secure) -> None:
    rule = secure.on(connection()).first(1).tls_stall()
    with bare(secure) as raw:
        raw.send(hello())
        assert rule.wait_holding()
        assert raw.silent()
        assert served(registries, secure).status == 200
        rule.release()
        assert raw.exactly(3) == b"\x16\x03\x03", "the handshake goes on"


@pytest.mark.parametrize("n", [1, 5, 60])
def test_a_handshake_stalls_after_so_many_bytes(secure, n) -> None:
    rule = secure.on(connection()).tls_stall(n=n)
    with bare(secure) as raw:
        raw.send(hello())
        assert raw.exactly(n)[:1] == b"\x16"
        assert rule.wait_holding()
        assert raw.silent()


def test_a_handshake_goes_on_after_its_stall(registries, secure) -> None:
    secure.on(connection()).tls_stall(0.05, n=100)
    assert served(registries, secure).status == 200
    assert the_connection(secure).tls == "TLSv1.3"


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("handshake_failure", "alert handshake failure"),
        ("internal_error", "alert internal error"),
        ("unrecognized_name", "unrecognized name"),
    ],
)
def test_an_alert_is_one_record(registries, secure, description, words) -> None:
    secure.on(connection()).tls_alert(description)
    with bare(secure) as raw:
        answer = raw.send(hello()).rest()
    assert answer == Received(b"\x15\x03\x03\x00\x02\x02" + bytes([ALERTS[description]]), "fin")
    assert words in refused(registries, secure)
    assert secure.requests() == []


def test_every_alert_has_a_record() -> None:
    for name, number in ALERTS.items():
        kind, version, length, level, said = struct.unpack(">BHHBB", alert_record(name))
        assert (kind, version, length, said) == (21, 0x0303, 2, number)
        assert level in (1, 2)


@pytest.mark.parametrize(("how", "end"), [("close", "fin"), ("reset", "rst")])
def test_tls_is_refused_by_the_end(secure, how, end) -> None:
    secure.on(connection()).refuse_tls(how)
    with bare(secure) as raw:
        assert raw.send(hello()).rest() == Received(b"", end)
    assert the_connection(secure).failure in ("closed by a rule", "reset by a rule")


@pytest.mark.parametrize("fault", ["tls_stall", "tls_alert", "refuse_tls", "http_on_tls_port"])
def test_what_is_about_tls_needs_tls(registries, registry, fault) -> None:
    rule = getattr(registry.on(connection()), fault)()
    assert served(registries, registry).status == 200
    assert rule.fired == 0


def test_http_on_a_tls_port(registries, secure) -> None:
    rule = secure.on(connection()).http_on_tls_port()
    with bare(secure) as raw:
        answer = raw.send(hello()).rest()
    assert (answer.status, answer.end) == (400, "fin")
    assert the_connection(secure).failure == "TLS hello on a plain port"
    with bare(secure) as raw:
        assert raw.ask("/v2/").answer().status == 200
    assert secure.requests()[-1].scheme == "http", "who falls back is seen to"
    assert rule.fired == 2


def test_https_on_a_plain_port(registries, registry) -> None:
    registry.on(connection()).https_on_http_port()
    with bare(registry) as raw:
        assert raw.ask("/v2/").rest() == Received(b"\x15\x03\x03\x00\x02\x02\x0a", "fin")
    assert the_connection(registry).failure == "plain HTTP on a TLS port"
    with Raw(registry, registries.certificates.client_context()) as raw:
        assert raw.ask("/v2/").answer().status == 200
    assert registry.requests()[-1].scheme == "https"
    registry.tls = registries.certificates.valid()
    assert served(registries, registry).status == 200


def server_version(registry: Registry, client: ssl.SSLContext) -> tuple[str | None, bytes]:
    """What is agreed on, and the version that stands in the ServerHello."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(incoming, outgoing, server_hostname="localhost")
    first = b""
    with bare(registry) as raw:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.send(outgoing.read())
                data = raw.sock.recv(1 << 16)
                first = first or data
                incoming.write(data)
        return tls.version(), first[9:11]


@pytest.mark.parametrize(("version", "number"), [("1.0", b"\x03\x01"), ("1.1", b"\x03\x02")])
def test_an_old_version_and_no_other(registries, secure, version, number) -> None:
    secure.on(connection()).old_tls_version(version)
    said = refused(registries, secure)
    assert "PROTOCOL" in said.upper()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(cadata=registries.certificates.ca_pem)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
    agreed, said_by_server = server_version(secure, old)
    assert agreed == {"1.0": "TLSv1", "1.1": "TLSv1.1"}[version]
    assert said_by_server == number


@pytest.mark.parametrize(
    ("offered", "asked", "chosen"),
    [
        (["h2"], ["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], ["h2", "http/1.1"], "http/1.1"),
        (["h2"], ["http/1.1"], None),
        ([], ["h2", "http/1.1"], None),
    ],
)
def test_alpn_offers_what_is_said(registries, secure, offered, asked, chosen) -> None:
    secure.on(connection()).alpn(offered)
    context = registries.certificates.client_context()
    context.set_alpn_protocols(asked)
    with Raw(secure, context) as raw:
        assert raw.sock.selected_alpn_protocol() == chosen


# how long a connection serves


@pytest.mark.parametrize("announced", [True, False])
def test_so_many_requests_and_no_more(registry, announced) -> None:
    registry.on(connection()).max_requests_per_connection(2, announced=announced)
    with bare(registry) as raw:
        assert raw.ask("/v2/").answer().header("connection") is None
        last = raw.ask("/v2/").answer()
        assert (last.header("connection") == "close") == announced
        assert raw.rest() == Received(b"", "fin")
    assert [each.ended for each in registry.requests()] == ["complete", "complete"]


@pytest.mark.parametrize("tls", [False, True])
def test_an_established_connection_goes_deaf(registries, registry, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    context = registries.certificates.client_context() if tls else None
    rule = registry.on(connection()).first(1).blackhole_established(1)
    with Raw(registry, context) as raw:
        assert raw.ask("/v2/").answer().status == 200
        raw.ask("/v2/")
        assert rule.wait_holding()
        assert len(registry.requests()) == 1, "the second request is never read"
        assert served(registries, registry).status == 200, "others are served"
        rule.release()
        assert raw.answer().status == 200


def test_the_other_idle_connections_are_killed_by_an_answer(registries, secure) -> None:
    image = secure.add(an_image())
    context = registries.certificates.client_context()
    rule = secure.on(blob(image.layers[0])).kill_idle_connections("rst")
    with Raw(secure, context) as idle, Raw(secure, context) as busy:
        idle.ask("/v2/").answer()
        assert secure.journal.wait_quiet()
        digest = image.layers[0].digest
        assert busy.ask(f"/v2/app/web/blobs/{digest}").answer().status == 200
        assert rule.fired == 1
        assert idle.rest() == Received(b"", "rst")
        assert busy.ask("/v2/").answer().status == 200


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("how", ["rst", "fin"])
def test_idle_connections_can_be_killed(registries, registry, how, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    context = registries.certificates.client_context() if tls else None
    held = registry.on(any_request(), header={"X-Held": True}).delay_headers()
    with Raw(registry, context) as idle, Raw(registry, context) as busy:
        idle.ask("/v2/").answer()
        assert registry.journal.wait_quiet()
        busy.ask("/v2/", X_Held="1")
        assert held.wait_holding()
        assert registry.kill_connections(how) == 1
        assert idle.rest() == Received(b"", how)
        held.release()
        assert busy.answer().status == 200
    assert the_connection(registry, 0).failure in (
        "reset while it was idle",
        "closed while it was idle",
    )


def test_idle_connections_can_fall_silent(registry) -> None:
    with bare(registry) as idle, bare(registry) as other:
        idle.ask("/v2/").answer()
        other.ask("/v2/").answer()
        assert registry.journal.wait_quiet()
        assert registry.kill_connections("silent") == 2
        idle.ask("/v2/")
        other.ask("/v2/")
        with bare(registry) as new:
            assert new.ask("/v2/").answer().status == 200
        assert len(registry.requests()) == 3
        assert idle.silent()
    with pytest.raises(ValueError, match="rst, fin or silent"):
        registry.kill_connections("loudly")
