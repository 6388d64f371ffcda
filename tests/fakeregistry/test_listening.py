"""How a port is listened on: open, refusing, or a black hole; by IPv4 or by IPv6 alone."""

import socket
import sys
import threading
import time

import httpx
import pytest
from rawclient import Raw

from fakeregistry import Registries, Registry, an_image

PATIENCE = 0.3
"""Longer than any answer takes here, in seconds, and shorter than a second SYN is sent."""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


def attempt(registry: Registry) -> str:
    """What becomes of an attempt to connect."""
    try:
        socket.create_connection((registry.address, registry.port), PATIENCE).close()
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "nothing"
    return "connected"


def test_a_refusing_port_answers_by_rst_and_stays_ours(registry) -> None:
    port = registry.port
    assert attempt(registry) == "connected"
    for _ in range(3):
        registry.listening = "refuse"
        assert attempt(registry) == "refused"
        with pytest.raises(OSError, match="in use"):
            bind_alone(port)
        registry.listening = "open"
        with Raw(registry) as raw:
            assert raw.ask("/v2/").answer().status == 200
    assert registry.port == port


def bind_alone(port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))


def test_connections_that_stand_go_on(registry) -> None:
    with Raw(registry) as raw:
        raw.ask("/v2/").answer()
        registry.listening = "refuse"
        assert raw.ask("/v2/").answer().status == 200
        assert registry.journal.wait_quiet()
        assert registry.kill_connections("fin") == 1
        assert raw.rest().end == "fin"


@linux
def test_a_black_hole_says_nothing_while_others_answer(registries, registry) -> None:
    other = registries.registry("other")
    registry.listening = "blackhole"
    assert registry.dropped == 0
    began = time.monotonic()
    assert attempt(registry) == "nothing"
    assert time.monotonic() - began >= PATIENCE
    assert registry.dropped >= 1
    assert attempt(registry) == "nothing"
    with Raw(other) as raw:
        assert raw.ask("/v2/").answer().status == 200
    assert registry.journal.connections[0].registry == "other", "a black hole sees nobody"
    registry.listening = "open"
    with Raw(registry) as raw:
        assert raw.ask("/v2/").answer().status == 200


@linux
def test_who_waits_at_a_black_hole_is_served_when_it_opens(registry) -> None:
    registry.listening = "blackhole"
    seen = []

    def connect() -> None:
        with socket.create_connection(("127.0.0.1", registry.port), 10) as sock:
            seen.append(sock.getpeername()[1])

    client = threading.Thread(target=connect)
    client.start()
    while not registry.dropped and client.is_alive():
        threading.Event().wait(0.005)
    registry.listening = "open"
    client.join(10)
    assert seen == [registry.port]


@pytest.mark.parametrize("way", ["refuse", pytest.param("blackhole", marks=linux)])
def test_a_registry_can_be_stopped_and_started_as_it_listens(registry, way) -> None:
    registry.listening = way
    port = registry.port
    registry.stop()
    assert attempt(registry) == "refused"
    registry.start()
    assert registry.port == port
    assert attempt(registry) == {"refuse": "refused", "blackhole": "nothing"}[way]
    registry.wipe()
    assert attempt(registry) == "connected"


def test_there_are_three_ways(registry) -> None:
    with pytest.raises(ValueError, match="'ajar': open, refuse or blackhole"):
        registry.listening = "ajar"
    assert registry.listening == "open"


def test_a_black_hole_elsewhere_is_a_clear_error(registry, monkeypatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(OSError, match="a black hole needs Linux"):
        registry.listening = "blackhole"


# addresses


def test_ipv6_alone(registries) -> None:
    registry = registries.registry("six", address="::1")
    assert registry.host == f"[::1]:{registry.port}"
    image = registry.add(an_image())
    assert image.reference == f"[::1]:{registry.port}/app/web:v1"
    assert httpx.get(f"{registry.base_url}/v2/").status_code == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", registry.port), 5)
    registry.tls = registries.certificates.valid()
    with httpx.Client(verify=registries.certificates.client_context(), trust_env=False) as client:
        assert client.get(f"{registry.base_url}/v2/").status_code == 200
    for way, said in (("refuse", "refused"), ("open", "connected")):
        registry.listening = way
        assert attempt(registry) == said


@linux
def test_a_black_hole_of_ipv6(registries) -> None:
    registry = registries.registry("six", address="::1")
    registry.listening = "blackhole"
    assert attempt(registry) == "nothing"


def test_the_address_can_be_changed(registry) -> None:
    registry.address = "[::1]"
    assert registry.address == "::1"
    assert attempt(registry) == "connected"
    registry.address = "127.0.0.1"
    assert registry.base_url == f"http://127.0.0.1:{registry.port}"
    assert attempt(registry) == "connected"
    with pytest.raises(ValueError, match=r"address '0\.0\.0\.0': 127\.0\.0\.1 or ::1"):
        registry.address = "0.0.0.0"


def test_a_port_can_be_asked_for() -> None:
    with Registries() as registries:
        port = registries.registry().port
    with Registries() as registries:
        assert registries.registry(port=port).port == port


def test_a_registry_starts_and_stops_at_once() -> None:
    times = []
    with Registries() as registries:
        registry = registries.registry()
        for _ in range(50):
            began = time.perf_counter()
            registry.stop()
            registry.start()
            times.append(time.perf_counter() - began)
    assert sorted(times)[25] < 0.01, "a millisecond, with a margin for a busy machine"
