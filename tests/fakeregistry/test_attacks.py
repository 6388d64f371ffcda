"""Attacks by name: each is refused as it should be, and the one after it isn't smuggled in."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from attacks import Attack, no_traceback, probe, strike, survives
from rawclient import Raw

from fakeregistry.honest.room import Room
from fakeregistry.wire.reader import BODIES, BODY_LIMIT

START = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"
SMUGGLED = b"GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        # two lengths
        (START + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n", 400),
        (START + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n", 400),
        (START + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
        (START + b"Content-Length: 0, 5\r\n\r\n", 400),
        # lengths that are none
        (START + b"Content-Length: +0\r\n\r\n", 400),
        (START + b"Content-Length: -1\r\n\r\n", 400),
        (START + b"Content-Length: 0x0\r\n\r\n", 400),
        (START + b"Content-Length: 0_0\r\n\r\n", 400),
        (START + b"Content-Length: \xb2\r\n\r\n", 400),
        (START + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (START + b"Content-Length: 99999999999999999\r\n\r\n", 413),
        # codings
        (START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (START + b"Transfer-Encoding: \x0bchunked\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked, identity\r\n\r\n", 501),
        (START + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /v2/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # chunks
        (START + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n1_0\r\na\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\nfffffffffff\r\n", 413),
        (START + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 9000 + b"\r\na\r\n", 400),
        (START + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 300 + b"\r\n", 431),
        # lines
        (b"GET /v2/ HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /v2/ HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
        (GET + b"X: a\r\n folded\r\n\r\n", 400),
        (GET + b" X: a\r\n\r\n", 400),
        (GET + b"X : a\r\n\r\n", 400),
        (GET + b"X: a\rb\r\n\r\n", 400),
        (GET + b"X: a\0b\r\n\r\n", 400),
        (GET + b"Host: y\r\n\r\n", 400),
        (b"GET /v2/ HTTP/1.1\r\n\r\n", 400),
        (GET + b"X: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (GET + b"X: y\r\n" * 1000 + b"\r\n", 431),
        (b"GET /" + b"a" * 70_000, 431),
        (GET + b"Expect: 200-maybe\r\n\r\n", 417),
        # targets and versions
        (b"GET /v2/ HTTP/0.9\r\n\r\n", 505),
        (b"GET /v2/ HTTP/3.0\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /v2/\r\n\r\n", 400),
        (b"GET v2 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://[::::]/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 400),
        (b"\0" * 100, 400),
        (bytes(range(256)), 400),
    ],
)
def test_what_is_no_sound_request_ends_the_connection(registry, said, status) -> None:
    outcome = survives(registry, Attack((said + SMUGGLED,)))
    assert outcome.statuses == [status]
    assert b"Connection: close" in outcome.data
    [exchange] = [one for one in registry.requests() if one.status == status]
    assert exchange.ended == "complete"


@pytest.mark.parametrize(
    ("target", "statuses"),
    [
        ("/v2/../../../etc/passwd", {404}),
        ("/v2/..%2f..%2fetc%2fpasswd/manifests/x", {400}),
        ("/v2/a/blobs/..%2f..%2f..%2fetc%2fpasswd", {404}),
        ("/v2/a/manifests/%2e%2e", {404}),
        ("/v2/a%00b/manifests/v1", {400}),
        ("/v2/a%0d%0aX-Injected:%20y/tags/list", {400, 404}),
        ("/v2/a/manifests/%0d%0aX-Injected:%20y", {404}),
        ("/v2//manifests/v1", {400, 404}),
        ("//v2//a//tags//list", {404}),
        ("/v2/" + "a/" * 20_000 + "tags/list", {400}),
        ("/v2/" + "/manifests" * 5_000, {400, 404}),
        ("/v2/a/tags/list?n=" + "9" * 5_000, {404}),
        ("/v2/a/tags/list?" + "&" * 50_000, {404}),
        ("/v2/a/blobs/uploads/%ff%fe", {404}),
        ("http://elsewhere.test/v2/", {200}),
        ("*", {404}),
        ("/%", {404}),
    ],
)
def test_paths_lead_nowhere_else(registry, target, statuses) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    outcome = survives(registry, Attack((head,)))
    assert len(outcome.statuses) == 1
    assert set(outcome.statuses) <= statuses
    assert b"\nX-Injected" not in outcome.data


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PATCH", "BREW", "get", "DELETE", "POST"])
def test_methods_that_mean_nothing_here(registry, method) -> None:
    target = "x.test:443" if method == "CONNECT" else "/v2/a/tags/list"
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    assert survives(registry, Attack((head,))).statuses[0] in (400, 404, 405)


@pytest.mark.parametrize(
    "range_", ["bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=" + "0-0," * 5000]
)
def test_ranges_beyond_reason(registry, range_) -> None:
    registry.storage.put_blob("a", "sha256:1", b"abc")
    head = f"GET /v2/a/blobs/sha256:1 HTTP/1.1\r\nHost: x\r\nRange: {range_}\r\n\r\n".encode()
    [status] = survives(registry, Attack((head,))).statuses
    assert status in (200, 206, 416)


def test_requests_that_stop_half_way_stand_in_the_journal(registry) -> None:
    for said in (b"GET /v2/ HT", GET, START + b"Content-Length: 10\r\n\r\nabc"):
        assert survives(registry, Attack((said,))).data == b""
    halves = [one for one in registry.journal.connections if not one.requests]
    assert [one.failure for one in halves] == [
        "connection lost: the client closed inside a request head",
        "connection lost: the client closed inside a request head",
        "connection lost: the client closed inside its request body",
    ]


@pytest.mark.parametrize("end", ["half-close", "reset", "leave"])
def test_a_thousand_requests_at_once(registry, end) -> None:
    outcome = survives(registry, Attack(((GET + b"\r\n") * 1000,), end))
    assert outcome.statuses == ([200] * 1000 if end == "half-close" else [])


def test_a_slow_head_holds_up_nobody(registry) -> None:
    with no_traceback(), contextlib.closing(Raw(registry).sock) as slow:
        for byte in GET + b"\r\n":
            slow.sendall(bytes([byte]))
            if byte == ord("\n"):
                probe(registry)
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_body_is_taken_in_tiny_chunks(registry) -> None:
    chunks = b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"
    outcome = survives(
        registry, Attack((START + b"Transfer-Encoding: chunked\r\n\r\n", chunks), "half-close")
    )
    assert outcome.statuses == [202]


# memory


def test_a_promised_body_takes_no_memory(registry) -> None:
    head = START + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            raw = stack.enter_context(Raw(registry))
            raw.send(head + b"x")
        probe(registry)
        assert BODIES.used <= 50


def test_bodies_have_a_bound_together(registry, monkeypatch) -> None:
    room = Room(1 << 20, "request bodies")
    monkeypatch.setattr("fakeregistry.wire.reader.BODIES", room)
    from fakeregistry.wire.reader import Reader

    monkeypatch.setattr(Reader.__init__, "__defaults__", (room,))
    head = START + b"Content-Length: 700000\r\n\r\n"
    with Raw(registry) as first:
        first.send(head + b"x" * 699_999)
        while room.used < 699_999:
            probe(registry)
        outcome = strike(registry, Attack((head + b"x" * 700_000,)))
        assert outcome.statuses == [503]
        assert first.send(b"x").answer().status == 202
    assert registry.journal.wait_for(lambda j: all(one.closed for one in j.connections))
    assert room.used == 0


def anonymous_memory() -> int:
    """What this process holds that no file stands behind, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise KeyError("RssAnon")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells")
def test_what_is_refused_leaves_nothing_behind(registry) -> None:
    attacks = [
        Attack((GET + b"X: " + b"x" * 60_000,), "reset"),
        Attack((GET + b"X: " + b"x" * 70_000,)),
        Attack((START + b"Content-Length: 4000000\r\n\r\n" + b"x" * 3_000_000,), "leave"),
        Attack((START + b"Transfer-Encoding: chunked\r\n\r\n2dc6c0\r\n" + b"x" * 2_000_000,)),
        Attack((bytes(range(256)) * 200,)),
    ]
    registry.topology.connection_cap = 10_000

    def all_of_them(times: int) -> None:
        for _ in range(times):
            for attack in attacks:
                strike(registry, attack)
        assert registry.journal.wait_for(lambda j: all(one.closed for one in j.connections))
        registry.journal.clear()

    threads = threading.active_count()
    with no_traceback():
        all_of_them(5)
        before = anonymous_memory()
        all_of_them(20)
    assert anonymous_memory() - before < 16 << 10
    assert BODIES.used == 0
    probe(registry)
    assert registry.journal.wait_for(lambda j: all(one.closed for one in j.connections))
    assert threading.active_count() <= threads + 2


def test_many_sockets_at_once_leave_the_registry_alive(registry) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", registry.port), 10))
            sock.sendall(b"G")
        probe(registry)
    probe(registry)
