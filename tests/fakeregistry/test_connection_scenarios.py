"""Connections and TLS in scenario files: what they say, what is a mistake, what is built."""

import socket
import ssl
from collections.abc import Iterator

import pytest
from rawclient import Raw, Received

from fakeregistry import Registries
from fakeregistry.scenario import Built, ScenarioError, Source, build, read
from fakeregistry.serve.control import Control
from fakeregistry.serve.world import World
from fakeregistry.wire.certificates import FAULTS

WORLD = """
[[registry]]
{registry}

[[image]]

{rule}
"""


def scenario(registry: str = "", rule: str = ""):
    text = WORLD.format(registry=registry, rule=rule)
    return read(Source.of_text("s.toml", text))


@pytest.fixture
def registries() -> Iterator[Registries]:
    with Registries() as made:
        yield made


def built(registries: Registries, registry: str = "", rule: str = "", **how: bool) -> Built:
    return build(scenario(registry, rule), registries, **how)


def end_of_one(registries: Registries) -> str:
    """How a connection ends on which nothing is said."""
    try:
        with Raw(registries.registry()) as raw:
            return raw.rest().end
    except ConnectionResetError:
        return "rst"  # already while it was made


def test_a_rule_about_connections(registries) -> None:
    rule = '[[rule]]\non = "connection"\nfirst = 2\nreset_on_accept = true'
    world = built(registries, rule=rule)
    [(part, rule)] = world.rules
    assert rule.words == "connection, first 2: reset_on_accept()"
    for _ in range(2):
        assert end_of_one(registries) == "rst"
    with Raw(registries.registry()) as raw:
        assert raw.ask("/v2/").answer().status == 200
    assert rule.fired == 2
    assert len(world.seen(part.target)) == 3


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ('alpn = ["h2", "http/1.1"]', 1),
        ("alpn = true", 1),
        ('tls_stall = { n = 5, seconds = "2s" }', 1),
        ('accept_silence = "forever"', 1),
        ('refuse_tls = "reset"', 1),
        ("max_requests_per_connection = 3", 1),
        ('old_tls_version = "1.0"\nblackhole_established = 2', 2),
        ("observe = true", 0),
    ],
)
def test_faults_of_connections_are_keys(keys, count) -> None:
    [rule] = scenario(rule=f'[[rule]]\non = "connection"\n{keys}').rules
    assert len(rule.faults) == count


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('on = "connection"\nstatus = 500', "status: it edits answers: on a connection nobody"),
        ('on = "blob"\ntls_stall = true', "tls_stall: it edits connections as they are accepted"),
        ('on = "connection"\nmethod = "GET"\nobserve = true', "method is about requests"),
        ('on = "connection"\nlayer = 0\nobserve = true', "layer goes with on = blob, redirect"),
        ('on = "connection"\ntls_alert = "tired"', "tls_alert 'tired': it must be one of"),
    ],
)
def test_mistakes(rule, said) -> None:
    with pytest.raises(ScenarioError, match=said):
        scenario(rule=f"[[rule]]\n{rule}")


# listening


@pytest.mark.parametrize("way", ["refuse", "blackhole"])
def test_a_way_of_listening_is_a_lie(registries, way) -> None:
    lies = []

    def tell(words, false, true, where):
        lies.append((words, where))
        return false

    build(scenario(f'listening = "{way}"'), registries, tell=tell)
    said = {"refuse": "origin refuses connections", "blackhole": "origin swallows connections"}[way]
    assert lies == [(said, "answer")]
    registry = registries.registry()
    assert registry.listening == way
    with pytest.raises((ConnectionRefusedError, TimeoutError)):
        socket.create_connection(("127.0.0.1", registry.port), 0.2)


def test_an_honest_world_listens(registries) -> None:
    built(registries, 'listening = "blackhole"', honest=True)
    with Raw(registries.registry()) as raw:
        assert raw.ask("/v2/").answer().status == 200


def test_an_address_is_no_lie(registries) -> None:
    built(registries, 'address = "::1"', honest=True)
    assert registries.registry().host.startswith("[::1]:")
    with Raw(registries.registry()) as raw:
        assert raw.ask("/v2/").answer().status == 200


def test_another_world_on_the_same_registries(registries) -> None:
    world = World(registries, scenario('listening = "refuse"\naddress = "::1"'))
    world.reset(scenario())
    assert registries.registry().listening == "open"
    assert registries.registry().address == "127.0.0.1"


# TLS


@pytest.mark.parametrize("fault", FAULTS)
def test_every_way_of_tls_is_a_key(registries, fault) -> None:
    lies = []

    def tell(words, false, true, where):
        lies.append((false.fault, true.fault, where))
        return false

    build(scenario(f'tls = "{fault}"'), registries, tell=tell)
    assert registries.registry().tls is not None
    assert registries.registry().tls.fault == fault
    assert lies == ([] if fault == "valid" else [(fault, "valid", "certificate")])


# control


def test_rules_about_connections_come_by_the_control_api(registries) -> None:
    world = World(registries, scenario())
    control = Control(world, dict, lambda: None)
    try:
        said = b'{"on": "connection", "accept_silence": true}'
        with socket.create_connection(("127.0.0.1", control._listener.port), 10) as sock:

            def ask(line: str, body: bytes = b"") -> bytes:
                head = f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
                head += f"Authorization: Bearer {control.token}\r\n\r\n"
                sock.sendall(head.encode() + body)
                return sock.recv(1 << 16)

            assert b" 201 " in ask("POST /rules", said)
            with Raw(registries.registry()) as raw:
                raw.ask("/v2/")
                assert b'"holding": 1' in ask("GET /rules/1?holding=1")
                assert raw.silent()
                assert b'"fired": 1' in ask("POST /rules/1/release")
                assert raw.answer().status == 200
    finally:
        control.close()


def test_an_honest_connection_is_untouched_by_its_rules(registries) -> None:
    registries.honest = True
    tls = "tls = true\nclient_certificate = false"
    built(registries, tls, '[[rule]]\non = "connection"\ntls_alert = true')
    context = ssl.create_default_context(cadata=registries.certificates.ca_pem)
    with Raw(registries.registry(), context) as raw:
        assert raw.ask("/v2/", Connection="close").rest() != Received(b"", "fin")
