"""A fuzzer over raw sockets: requests that are nearly right, broken anywhere, in any pieces.

`nox -s fuzz` runs it for longer; PULLPROOF_FUZZ says how many attacks each test makes.
"""

import os
from collections.abc import Iterator

import pytest
from attacks import Attack, survives
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakeregistry import Registries, Registry, an_image

EXAMPLES = int(os.environ.get("PULLPROOF_FUZZ", "60"))

SIGNS = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"%", b"/", b"\xff", b"0", b"\x16"]
TARGETS = [
    b"/v2/",
    b"/v2/app/web/manifests/v1",
    b"/v2/app/web/blobs/sha256:" + b"0" * 64,
    b"/v2/app/web/blobs/uploads/",
    b"/v2/app/web/blobs/uploads/upload-1?digest=sha256:00",
    b"/v2/app/web/tags/list?n=1&last=x",
    b"/v2/_catalog",
    b"/token?service=x&scope=repository:a:pull",
    b"//",
    b"/..%2f%00",
    b"*",
    b"http://h.test:1/v2/",
    b"h.test:443",
]
FIELDS = [
    b"Host: x",
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content-Length: 999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Range: bytes=0-1,2-",
    b"Range: bytes=-",
    b"Content-Range: 0-4",
    b"If-None-Match: *",
    b"Authorization: Basic !!!",
    b"Authorization: Bearer x",
    b"Content-Type: application/x-www-form-urlencoded",
    b"Accept: " + b"a/b, " * 500,
    b"X: " + b"y" * 9000,
]
BODIES_SENT = [
    b"",
    b"abcde",
    b"5\r\nabcde\r\n0\r\n\r\n",
    b"ffffff\r\nx",
    b"1;x=y\r\na\r\n0\r\nT: v\r\n\r\n",
]

methods = st.sampled_from([b"GET", b"HEAD", b"PUT", b"POST", b"PATCH", b"DELETE", b"CONNECT", b"X"])
versions = st.sampled_from([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b""])


@st.composite
def nearly_requests(draw: st.DrawFn) -> bytes:
    """A request put together from what belongs there, mostly in order."""
    line = b" ".join([draw(methods), draw(st.sampled_from(TARGETS)), draw(versions)])
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=5))
    if draw(st.booleans()):
        fields.append(b"Host: x")
    head = b"\r\n".join([line, *fields]) + b"\r\n\r\n"
    return head + draw(st.sampled_from(BODIES_SENT))


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """One to three such requests in a row, with bytes cut out, put in or doubled."""
    data = b"".join(draw(st.lists(nearly_requests(), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        to = min(len(data), at + draw(st.integers(0, 8)))
        kind = draw(st.sampled_from(["cut", "put", "double", "end"]))
        if kind == "cut":
            data = data[:at] + data[to:]
        elif kind == "put":
            data = data[:at] + draw(st.sampled_from(SIGNS)) + data[at:]
        elif kind == "double":
            data = data[:to] + data[at:]
        else:
            data = data[:at]
    return data


@st.composite
def attacks(draw: st.DrawFn, of: st.SearchStrategy[bytes]) -> Attack:
    """Bytes in pieces, and a way to end."""
    data = draw(of)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    return Attack(tuple(pieces), draw(st.sampled_from(["half-close"] * 3 + ["reset", "leave"])))


@pytest.fixture(scope="module")
def registries() -> Iterator[Registries]:
    with Registries() as topology:
        topology.request_cap = topology.connection_cap = 10_000_000
        topology.journal.limit = 500
        yield topology


@pytest.fixture(scope="module")
def plain(registries: Registries) -> Registry:
    registry = registries.registry()
    registry.add(an_image(2))
    return registry


fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@fuzzed
@given(attack=attacks(broken()))
def test_requests_broken_anywhere(plain: Registry, attack: Attack) -> None:
    for status in survives(plain, attack).statuses:
        assert 100 <= status < 600
        assert status != 500


@fuzzed
@given(attack=attacks(st.binary(max_size=2000)))
def test_any_bytes(plain: Registry, attack: Attack) -> None:
    for status in survives(plain, attack).statuses:
        assert 400 <= status < 600
        assert status != 500
