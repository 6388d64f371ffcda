"""Clients that begin and don't go on: they block nobody, and are cut after a bound."""

import math
import os
import subprocess
import sys
import threading
import time

import pytest
from rawclient import Raw, Received, hello

from fakeregistry import Registries, Registry, an_image, any_request, blob, connection

BOUND = 0.4
"""Seconds: longer than a request takes here on a busy machine, short enough to wait for."""

GARBAGE = [
    b"\x00" * 100,
    b"\r\n" * 50,
    b"GET /v2/ HTT",
    b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: a",
    b"PUT /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
    b"PUT /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"",
]


def ended(registry: Registry, number: int = 0):
    journal = registry.journal
    assert journal.wait_for(lambda _: journal.connections[number].closed is not None)
    return journal.connections[number]


@pytest.mark.parametrize("said", GARBAGE)
@pytest.mark.parametrize("tls", [False, True])
def test_nobody_else_waits(registries, registry, said, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    context = registries.certificates.client_context() if tls else None
    with Raw(registry) as slow, Raw(registry, context) as other:
        if said:
            slow.send(said)
        began = time.monotonic()
        assert other.ask("/v2/").answer().status == 200
        assert time.monotonic() - began < 1


@pytest.mark.parametrize("tls", [False, True])
def test_an_idle_connection_is_closed_in_good_order(registries, registry, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    context = registries.certificates.client_context() if tls else None
    registry.head_timeout = BOUND
    with Raw(registry, context) as raw:
        assert raw.ask("/v2/").answer().status == 200
        began = time.monotonic()
        assert raw.rest() == Received(b"", "fin")
        assert time.monotonic() - began > BOUND / 2
    assert ended(registry).failure == f"idle for {BOUND} s"
    assert [each.ended for each in registry.requests()] == ["complete"]


def test_who_says_nothing_is_cut(registry) -> None:
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        assert raw.rest() == Received(b"", "fin")
    assert ended(registry).failure == f"idle for {BOUND} s"


@pytest.mark.parametrize("tls", [False, True])
def test_a_slow_head_is_answered_by_408(registries, registry, tls) -> None:
    registry.tls = registries.certificates.valid() if tls else None
    context = registries.certificates.client_context() if tls else None
    registry.head_timeout = BOUND
    with Raw(registry, context) as raw:
        raw.ask("/v2/").answer()
        answer = raw.send("GET /v2/ HTTP/1.1\r\nX-Slow: ").rest()
    assert (answer.status, answer.end) == (408, "fin")
    assert ended(registry).failure == f"no whole request within {BOUND} s"
    assert registry.requests()[-1].status == 408


def test_bytes_now_and_then_are_no_excuse(registry) -> None:
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        raw.send("GET /v2/ HTTP/1.1\r\n")
        began = time.monotonic()
        while raw.silent(BOUND / 10) and time.monotonic() - began < 5:
            raw.send("X-Slow: 1\r\n")
        assert raw.rest().status == 408


def test_a_body_may_take_as_long_as_it_moves(registry) -> None:
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        location = raw.ask("/v2/a/blobs/uploads/", "POST").answer().header("location")
        raw.ask(location, "PATCH", Content_Length="12")
        for _ in range(11):
            raw.send(b"x")
            assert raw.silent(BOUND / 8)
        assert raw.send(b"x").answer().status == 202


def test_a_body_that_stands_still_is_cut(registry) -> None:
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        location = raw.ask("/v2/a/blobs/uploads/", "POST").answer().header("location")
        answer = raw.ask(location, "PATCH", Content_Length="30").send(b"x").rest()
    assert (answer.status, answer.end) == (408, "fin")


@pytest.mark.parametrize("part", [1, 7, 40])
def test_half_a_hello_is_cut(registries, registry, part) -> None:
    registry.tls = registries.certificates.valid()
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        assert raw.send(hello()[:part]).rest().end == "fin"
    assert ended(registry).failure == f"TLS: no handshake within {BOUND} s"


def test_a_handshake_that_stops_is_cut(registries, registry) -> None:
    registry.tls = registries.certificates.valid()
    registry.head_timeout = BOUND
    with Raw(registry) as raw:
        raw.send(hello()).rest()
    assert ended(registry).failure == f"TLS: no handshake within {BOUND} s"


def test_what_we_hold_ourselves_is_never_late(registry) -> None:
    registry.head_timeout = BOUND
    rule = registry.on(any_request()).first(1).delay_headers(3 * BOUND)
    silent = registry.on(connection()).nth(2).accept_silence(3 * BOUND)
    with Raw(registry) as one, Raw(registry) as two:
        assert one.ask("/v2/").answer().status == 200
        assert two.ask("/v2/").answer().status == 200
    assert (rule.fired, silent.fired) == (1, 1)


def test_patience_can_be_changed_while_somebody_waits(registry) -> None:
    with Raw(registry) as raw:
        raw.ask("/v2/").answer()
        registry.head_timeout = BOUND
        assert raw.rest() == Received(b"", "fin")
    registry.head_timeout = math.inf
    assert registry.head_timeout == math.inf
    registry.wipe()
    assert registry.head_timeout == 60
    with pytest.raises(ValueError, match="more than 0"):
        registry.head_timeout = 0


GREEDY = """
import resource, socket
from fakeregistry import Registries

with Registries() as registries:
    port = registries.registry().port
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    many = []
    try:
        while len(many) < 100:
            many.append(socket.create_connection(("127.0.0.1", port), 5))
    except OSError as problem:
        print(problem.strerror)
    for each in many:
        each.close()
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print(sock.recv(15))
"""


def test_a_registry_outlives_more_clients_than_descriptors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", GREEDY], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == ["Too many open files", "b'HTTP/1.1 200 OK'"], done.stderr


def test_one_thread_watches_over_all() -> None:
    with Registries() as registries:
        for name in ("a", "b", "c"):
            with Raw(registries.registry(name)) as raw:
                raw.ask("/v2/").answer()
    assert sum(each.name == "watch" for each in threading.enumerate()) == 1


def test_many_stand_still_and_the_next_is_answered_at_once(registry) -> None:
    image = registry.add(an_image())
    held = registry.on(blob(image.layers[0])).stall_after(100)
    path = f"/v2/app/web/blobs/{image.layers[0].digest}"
    many = [Raw(registry) for _ in range(200)]
    try:
        for each in many:
            each.ask(path)
        assert held.wait_holding(count=200)
        spent = os.times()
        began = time.monotonic()
        with Raw(registry) as next_one:
            assert next_one.ask("/v2/").answer().status == 200
        assert time.monotonic() - began < 1
        threading.Event().wait(0.3)
        assert os.times().user + os.times().system - spent.user - spent.system < 0.25
        held.release()
        for each in many:
            assert each.answer().body == image.layers[0].blob
    finally:
        for each in many:
            each.sock.close()
