"""BLOB-15: large blobs in parts, several at a time."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from scripted import HOST, MIRROR, Broken, ScriptedTransport, fetcher_at

from reference.config import Config
from reference.descriptors import OCI_LAYER, Descriptor
from reference.errors import Cancelled, DigestMismatch, NotFound
from reference.hosts import Host

SIZE = 1000
DATA = bytes(range(256)) * 36  # 9 parts and a bit
LAYER = Descriptor.of(OCI_LAYER, DATA)
STARTS = list(range(0, len(DATA), SIZE))
Handler = Callable[[httpx.Request], httpx.Response]


def asked_for(request: httpx.Request) -> tuple[int, int]:
    """First byte and the one after the last of a request's range."""
    match = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", request.headers["range"])
    assert match
    return int(match[1]), int(match[2]) + 1 if match[2] else len(DATA)


def by_range(request: httpx.Request, data: bytes = DATA) -> httpx.Response:
    """What a registry that knows ranges answers."""
    if "range" not in request.headers:
        return httpx.Response(200, content=data)
    start, end = asked_for(request)
    said = {"content-range": f"bytes {start}-{end - 1}/{len(data)}"}
    return httpx.Response(206, headers=said, content=data[start:end])


def fetch(
    tmp_path: Path, handler: Handler, *hosts: Host, data: bytes = DATA, **config: float
) -> list[str]:
    """Fetch in parts of 1,000 bytes; returns the ranges asked for, sorted."""
    settings = {"concurrent_layer_fetch_buffer": SIZE, "retry_attempts": 0, **config}
    transport = ScriptedTransport(handler, Config(**settings))  # type: ignore[arg-type]
    fetcher = fetcher_at(transport, tmp_path, *hosts)
    fetcher.fetch(LAYER)
    assert fetcher.store.read(LAYER.digest) == data
    active, received = transport.reporter.status()
    assert (active, received >= len(DATA)) == (0, True)
    return sorted(request.headers.get("range", "whole") for request in transport.asked)


def spans(*starts: int) -> list[str]:
    return sorted(f"bytes={start}-{min(start + SIZE, len(DATA)) - 1}" for start in starts)


def test_each_part_is_asked_for_once(tmp_path: Path) -> None:
    """BLOB-15"""
    assert fetch(tmp_path, by_range) == spans(*STARTS)


@pytest.mark.parametrize(
    "config",
    [
        {"concurrent_layer_fetch_buffer": 0},
        {"concurrent_layer_fetch_buffer": 511},
        {"concurrent_layer_fetch_buffer": len(DATA)},
        {"max_concurrent_downloads": 1},
        {"max_concurrent_downloads": 0},
    ],
)
def test_the_whole_is_asked_for_unless_there_are_parts(
    tmp_path: Path, config: dict[str, float]
) -> None:
    assert fetch(tmp_path, by_range, **config) == ["whole"]


def test_as_many_come_at_a_time_as_downloads_may(tmp_path: Path) -> None:
    """CONC-01: the first shows that there are ranges; then the next go together."""
    together = threading.Barrier(3, timeout=10)
    lock = threading.Lock()
    under_way: list[int] = []
    most = 0

    class Body(httpx.SyncByteStream):
        def __init__(self, start: int, answer: httpx.Response) -> None:
            self.start, self.data = start, answer.content

        def __iter__(self) -> Iterator[bytes]:
            if self.start in STARTS[1:4]:
                together.wait()
            yield self.data

        def close(self) -> None:
            with lock:
                under_way.remove(self.start)

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal most
        start, _ = asked_for(request)
        with lock:
            under_way.append(start)
            most = max(most, len(under_way))
        answer = by_range(request)
        headers = {"content-range": answer.headers["content-range"]}
        return httpx.Response(206, headers=headers, stream=Body(start, answer))

    assert fetch(tmp_path, handler, max_concurrent_downloads=3) == spans(*STARTS)
    assert most == 3


def test_a_part_that_starves_or_breaks_off_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Incident A06: containerd 2.2 cancelled the whole pull for it."""
    monkeypatch.setattr("reference.fetch.FIRST_PAUSE", 0.0)
    starving = {3000: 0, 5000: 400}

    def handler(request: httpx.Request) -> httpx.Response:
        answer = by_range(request)
        start, _ = asked_for(request)
        come = starving.pop(start, None)
        if come is None:
            return answer
        if not come:
            raise httpx.ReadTimeout("no answer within 1s")
        stream = Broken(answer.content[:come], httpx.ReadTimeout("nothing within 1s"))
        headers = {"content-range": answer.headers["content-range"]}
        return httpx.Response(206, headers=headers, stream=stream)

    again = ["bytes=3000-3999", "bytes=5400-5999"]
    assert fetch(tmp_path, handler) == sorted([*spans(*STARTS), *again])


def test_a_part_that_starves_is_not_its_mirrors_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.fetch.FIRST_PAUSE", 0.0)
    starving = [3000]
    hosts = set()

    def handler(request: httpx.Request) -> httpx.Response:
        hosts.add(request.url.host)
        if asked_for(request)[0] in starving:
            starving.clear()
            raise httpx.ReadTimeout("no answer within 1s")
        return by_range(request)

    assert fetch(tmp_path, handler, MIRROR, HOST) == sorted([*spans(*STARTS), "bytes=3000-3999"])
    assert hosts == {"mirror.test"}


def test_a_part_is_waited_for_no_longer_than_a_third_of_the_pulls_patience(tmp_path: Path) -> None:
    waits = []

    def handler(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"])
        return by_range(request)

    fetch(tmp_path, handler, progress_timeout=12.0)
    assert {(wait["connect"], wait["read"]) for wait in waits} == {(4.0, 4.0)}


@pytest.mark.parametrize("code", [200, 400, 416])
def test_where_ranges_are_not_known_the_whole_is_asked_for(tmp_path: Path, code: int) -> None:
    """Incident B22: a Range in a first request was answered by 400."""

    def handler(request: httpx.Request) -> httpx.Response:
        if code == 200 or "range" not in request.headers:
            return httpx.Response(200, stream=httpx.ByteStream(DATA))
        return httpx.Response(code)

    assert fetch(tmp_path, handler) == [*spans(0), "whole"]


def test_what_fails_in_parts_goes_on_as_one_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.fetch.FIRST_PAUSE", 0.0)

    def handler(request: httpx.Request) -> httpx.Response:
        start, end = asked_for(request)
        return httpx.Response(500) if start == 2000 and end == 3000 else by_range(request)

    found = fetch(tmp_path, handler, max_concurrent_downloads=2)
    assert "bytes=2000-" in found


def test_the_next_host_goes_on_with_the_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.fetch.FIRST_PAUSE", 0.0)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "mirror.test" and asked_for(request)[0]:
            return httpx.Response(404)
        return by_range(request)

    found = fetch(tmp_path, handler, MIRROR, HOST)
    assert set(spans(*STARTS)) <= set(found)
    assert "whole" not in found


def test_parts_that_do_not_fit_are_followed_by_one_whole(tmp_path: Path) -> None:
    """Incident B15: what was pieced together and is wrong is fetched once more, in one body."""
    served: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        served.append(request.headers.get("range", "whole"))
        wrong = served[-1] == "bytes=4000-4999"
        return by_range(request, bytes(len(DATA)) if wrong else DATA)

    transport = ScriptedTransport(handler, Config(concurrent_layer_fetch_buffer=SIZE))
    fetcher = fetcher_at(transport, tmp_path)
    fetcher.fetch(LAYER)
    assert fetcher.store.read(LAYER.digest) == DATA
    assert served[-1] == "whole"
    assert len(served) == len(STARTS) + 1


def test_content_in_parts_is_verified_too(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        fetch(tmp_path, lambda request: by_range(request, bytes(len(DATA))))


def test_what_no_part_can_be_had_of_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        fetch(tmp_path, lambda request: httpx.Response(404))


def test_cancelling_ends_all_parts(tmp_path: Path) -> None:
    config = Config(concurrent_layer_fetch_buffer=SIZE)

    def handler(request: httpx.Request) -> httpx.Response:
        if asked_for(request)[0] == 2000:
            transport.cancellation.cancel()
        return by_range(request)

    transport = ScriptedTransport(handler, config)
    with pytest.raises(Cancelled):
        fetcher_at(transport, tmp_path).fetch(LAYER)
    assert transport.reporter.status()[0] == 0
