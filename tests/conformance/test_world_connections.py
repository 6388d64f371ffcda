"""Lies about connections in worlds: told, met, and honest in the neighbour."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.world import World
from fakeregistry import Registries, an_image, connection


@pytest.fixture(params=[False, True], ids=["lying", "honest"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    made = World("seed", "connection/x", request.param, Registries("salt"), tmp_path)
    yield made
    made.close()


def words(world: World) -> bytes:
    """What a client hears that asks for `/v2/`, or nothing."""
    port = world.registry().real.port
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as sock:
            sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(15)
    except OSError:
        return b""


def test_a_rule_about_connections_acts_in_the_lying_world_alone(world: World) -> None:
    rule = world.registry().on(connection()).first(1).reset_on_accept()
    if not world.honest:
        assert world.unmet()[0] == ["origin#1: connection, first 1: reset_on_accept()"]

    assert words(world) == (b"HTTP/1.1 200 OK" if world.honest else b"")

    assert rule.fired == 1, "it counts in both"
    assert rule.wait_fired()
    assert world.unmet() == ([], [])
    assert words(world) == b"HTTP/1.1 200 OK"


def test_every_fault_of_connections_is_nothing_in_an_honest_world(world: World) -> None:
    if not world.honest:
        return
    world.registry().add(an_image())
    rule = world.registry().on(connection()).accept_silence().blackhole_established(0)
    rule.max_requests_per_connection(1).close_on_accept().tls_alert()
    assert words(world) == b"HTTP/1.1 200 OK"
    assert not rule.wait_holding(60)


def test_a_way_of_listening_is_told_as_a_lie(world: World) -> None:
    registry = world.registry()
    registry.listening = world.lie("nobody listens", "refuse", truth="open", where="answer")
    assert words(world) == (b"HTTP/1.1 200 OK" if world.honest else b"")
    assert world.told == ([] if world.honest else ["nobody listens"])
    assert world.unmet() == ([], []), "nobody can see an attempt that is refused"


def test_killed_connections_are_a_lie(world: World) -> None:
    registry = world.registry()
    with socket.create_connection(("127.0.0.1", registry.real.port), 5) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
        assert world.registries.journal.wait_quiet()
        assert registry.kill_connections("fin") == (0 if world.honest else 1)
    assert len(world.told) == (0 if world.honest else 1)
