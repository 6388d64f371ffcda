from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import pytest
from scripted import HOST, MIRROR, Broken, ScriptedTransport, fetcher_at

from reference.compat import Quirks
from reference.config import Config
from reference.descriptors import (
    DOCKER_FOREIGN_LAYER_GZIP,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
)
from reference.errors import (
    BodyError,
    DigestMismatch,
    IntegrityError,
    NotFound,
    PullError,
    RegistryError,
    Silent,
    SizeMismatch,
    StoreError,
    TransportError,
)
from reference.store import Store

DATA = bytes(range(256)) * 4
LAYER = Descriptor.of(OCI_LAYER, DATA)
BLOB = f"https://registry.test/v2/app/web/blobs/{LAYER.digest}"
Handler = Callable[[httpx.Request], httpx.Response]


def whole(data: bytes = DATA, **headers: str) -> httpx.Response:
    return httpx.Response(200, headers=headers, content=data)


def labelled(coding: str, data: bytes) -> httpx.Response:
    """Bytes as they are, under the label of a content coding."""
    headers = {"content-length": str(len(data)), "content-encoding": coding}
    return httpx.Response(200, headers=headers, stream=httpx.ByteStream(data))


def cut(at: int, start: int = 0, status: int = 200, **headers: str) -> httpx.Response:
    """A body that promises everything and breaks off after `at` bytes."""
    headers = {"content-length": str(len(DATA) - start), **headers}
    return httpx.Response(status, headers=headers, stream=Broken(DATA[start : start + at]))


def part(start: int, data: bytes = DATA, *, says: str | None = "") -> httpx.Response:
    """The rest from `start` on, as a 206."""
    said = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}" if says == "" else says
    headers = {} if said is None else {"content-range": said}
    return httpx.Response(206, headers=headers, content=data[start:])


def in_turn(*answers: httpx.Response | Exception) -> Handler:
    left: list[httpx.Response | Exception] = list(answers)

    def handler(request: httpx.Request) -> httpx.Response:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


def fetch(
    tmp_path: Path,
    handler: Handler,
    descriptor: Descriptor = LAYER,
    *,
    hosts: Iterable[object] = (HOST,),
    **config: int,
) -> ScriptedTransport:
    """Fetch, and look whether exactly the right content is in the store."""
    transport = ScriptedTransport(handler, Config(retry_attempts=0, **config))  # type: ignore[arg-type]
    fetcher = fetcher_at(transport, tmp_path, *hosts)  # type: ignore[arg-type]
    try:
        fetcher.fetch(descriptor)
    except BaseException:
        assert not fetcher.store.has(descriptor.digest)
        raise
    assert fetcher.store.read(descriptor.digest) == DATA
    assert transport.reporter.status()[0] == 0
    return transport


def ranges(transport: ScriptedTransport) -> list[str | None]:
    return [request.headers.get("range") for request in transport.asked]


def test_a_blob_comes_by_one_get(tmp_path: Path) -> None:
    transport = fetch(tmp_path, in_turn(whole()))
    assert transport.lines == [f"GET {BLOB}"]  # BLOB-01
    assert ranges(transport) == [None]  # BLOB-14
    assert transport.asked[0].headers["accept"] == f"{OCI_LAYER}, */*"  # MAN-03


def test_what_is_there_is_not_fetched(tmp_path: Path) -> None:
    Store(tmp_path).put(OCI_LAYER, DATA)
    assert fetch(tmp_path, in_turn()).asked == []  # BLOB-23


def test_embedded_data_needs_no_request(tmp_path: Path) -> None:
    descriptor = Descriptor(OCI_LAYER, LAYER.digest, LAYER.size, data=DATA)
    assert fetch(tmp_path, in_turn(), descriptor).asked == []  # BLOB-35
    lying = Descriptor(OCI_LAYER, LAYER.digest, LAYER.size, data=DATA[::-1])
    with pytest.raises(DigestMismatch):
        fetch(tmp_path / "other", in_turn(), lying)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda: whole(DATA[:-1] + b"x"), DigestMismatch),  # BLOB-02
        (lambda: whole(DATA[:-1]), SizeMismatch),  # BLOB-03
        (lambda: whole(DATA + b"x"), SizeMismatch),
        (lambda: httpx.Response(200, stream=httpx.ByteStream(DATA + b"x")), SizeMismatch),
        (lambda: httpx.Response(404), NotFound),  # BLOB-19
        (lambda: httpx.Response(500), RegistryError),
        (lambda: labelled("br", DATA[:-1]), TransportError),  # BLOB-16
    ],
)
def test_anything_but_the_content_is_refused(
    tmp_path: Path, answer: Callable[[], httpx.Response], kind: type[PullError]
) -> None:
    with pytest.raises(kind):
        fetch(tmp_path, lambda request: answer())


def test_an_endless_body_is_left_soon_after_its_size(tmp_path: Path) -> None:
    sent = 0

    class Endless(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal sent
            while True:
                sent += 1000
                yield bytes(1000)

    with pytest.raises(SizeMismatch):
        fetch(tmp_path, lambda request: httpx.Response(200, stream=Endless()))
    assert sent <= 3000  # BLOB-04


def test_a_length_that_is_not_the_contents_is_refused_unread(tmp_path: Path) -> None:
    """BLOB-40: or a held connection would have to run into the timeout first."""
    length = {"content-length": str(len(DATA) + 1)}
    never = Broken(b"", AssertionError("nobody should read this"))
    with pytest.raises(SizeMismatch, match=f"promises {len(DATA) + 1}"):
        fetch(tmp_path, lambda request: httpx.Response(200, headers=length, stream=never))


def test_a_blob_without_bytes_is_one(tmp_path: Path) -> None:
    """BLOB-29"""
    empty = Descriptor.of(OCI_LAYER, b"")
    fetcher = fetcher_at(ScriptedTransport(in_turn(whole(b""))), tmp_path)
    fetcher.fetch(empty)
    assert fetcher.store.read(empty.digest) == b""


# Resuming


def test_a_broken_body_is_continued(tmp_path: Path) -> None:
    transport = fetch(tmp_path, in_turn(cut(100), part(100)))
    assert ranges(transport) == [None, "bytes=100-"]  # BLOB-05


def test_a_reset_is_continued_too(tmp_path: Path) -> None:
    reset = httpx.Response(200, stream=Broken(DATA[:10], httpx.ReadError("reset by peer")))
    assert ranges(fetch(tmp_path, in_turn(reset, part(10)))) == [None, "bytes=10-"]  # BLOB-12


def test_a_connection_that_just_ends_is_continued(tmp_path: Path) -> None:
    ended = httpx.Response(200, stream=httpx.ByteStream(DATA[:10]))
    assert "content-length" not in ended.headers
    assert ranges(fetch(tmp_path, in_turn(ended, part(10)))) == [None, "bytes=10-"]


def test_an_ignored_range_is_skipped_over(tmp_path: Path) -> None:
    transport = fetch(tmp_path, in_turn(cut(100), whole()))
    assert ranges(transport) == [None, "bytes=100-"]  # BLOB-07
    # Of a 200 the range that it names doesn't count (BLOB-09).
    fetch(tmp_path / "b", in_turn(cut(100), whole(**{"content-range": "bytes 5-1023/1024"})))


@pytest.mark.parametrize(
    "answer",
    [
        lambda: part(0, says=f"bytes 0-{len(DATA) - 1}/{len(DATA)}"),
        lambda: part(100, says=f"bytes 101-{len(DATA) - 1}/{len(DATA)}"),  # BLOB-08
        lambda: part(100, says=None),
        lambda: part(100, says="bytes=100-"),
        lambda: part(100, says=f"bytes 100-{len(DATA)}/{len(DATA) + 1}"),
        lambda: httpx.Response(416),  # BLOB-10
        lambda: part(100, says=""),
    ],
)
def test_another_part_than_asked_for_is_thrown_away(
    tmp_path: Path, answer: Callable[[], httpx.Response]
) -> None:
    response = answer()
    if response.headers.get("content-range") == f"bytes 100-{len(DATA) - 1}/{len(DATA)}":
        response.headers["content-encoding"] = "gzip"  # BLOB-18
    transport = fetch(tmp_path, in_turn(cut(100), response, whole()))
    assert ranges(transport) == [None, "bytes=100-", None]


@pytest.mark.parametrize("code", [400, 405, 416])
def test_a_refused_range_means_the_whole_once_more(tmp_path: Path, code: int) -> None:
    transport = fetch(tmp_path, in_turn(cut(100), httpx.Response(code), whole()))
    assert ranges(transport) == [None, "bytes=100-", None]
    with pytest.raises(RegistryError):
        fetch(
            tmp_path / "again",
            in_turn(cut(100), httpx.Response(400), cut(100), httpx.Response(400)),
        )


def test_a_resume_that_finds_the_registry_busy_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    transport = ScriptedTransport(in_turn(cut(100), httpx.Response(503), part(100)))
    fetcher_at(transport, tmp_path).fetch(LAYER)
    assert ranges(transport) == [None, "bytes=100-", "bytes=100-"]  # BLOB-11


def test_each_resume_is_redirected_anew(tmp_path: Path) -> None:
    """BLOB-21: a signed URL may have run out in the meantime."""
    away = [httpx.Response(307, headers={"location": f"https://cdn.test/{n}"}) for n in (1, 2)]
    transport = fetch(tmp_path, in_turn(away[0], cut(100), away[1], part(100)))
    assert [str(request.url) for request in transport.asked] == [
        *(BLOB, "https://cdn.test/1"),
        *(BLOB, "https://cdn.test/2"),
    ]
    assert ranges(transport)[2:] == ["bytes=100-", "bytes=100-"]


def test_a_smaller_part_than_the_rest_is_progress(tmp_path: Path) -> None:
    middle = httpx.Response(
        206, headers={"content-range": f"bytes 100-199/{len(DATA)}"}, content=DATA[100:200]
    )
    transport = fetch(tmp_path, in_turn(cut(100), middle, part(200)))
    assert ranges(transport) == [None, "bytes=100-", "bytes=200-"]


def test_resuming_goes_on_while_bytes_come(tmp_path: Path) -> None:
    answers = [cut(100)] + [
        cut(100, start, 206, **{"content-range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"})
        for start in range(100, 1000, 100)
    ]
    transport = fetch(tmp_path, in_turn(*answers, part(1000)), resume_attempts=1)
    assert len(transport.asked) == 11  # BLOB-06


def test_resuming_without_a_byte_ends_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    transport = ScriptedTransport(lambda request: cut(0), Config(resume_attempts=3))
    with pytest.raises(BodyError):
        fetcher_at(transport, tmp_path).fetch(LAYER)
    assert len(transport.asked) == 4


def test_what_comes_again_after_a_restart_is_no_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)

    def same_cut(request: httpx.Request) -> httpx.Response:
        return httpx.Response(416) if "range" in request.headers else cut(100)

    transport = ScriptedTransport(same_cut, Config(resume_attempts=3))
    with pytest.raises(BodyError):
        fetcher_at(transport, tmp_path).fetch(LAYER)
    assert len(transport.asked) == 5


def test_resuming_has_a_budget(tmp_path: Path) -> None:
    def drip(request: httpx.Request) -> httpx.Response:
        start = int(request.headers.get("range", "bytes=0-")[6:-1])
        span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        return cut(1, start, 206 if start else 200, **{"content-range": span})

    transport = ScriptedTransport(drip, Config(resume_budget=20))
    with pytest.raises(BodyError):
        fetcher_at(transport, tmp_path).fetch(LAYER)
    assert len(transport.asked) == 20


def test_the_next_pull_continues_what_broke_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    with pytest.raises(BodyError):
        fetch(tmp_path, lambda request: cut(100) if not request.headers.get("range") else cut(0))
    transport = fetch(tmp_path, in_turn(part(100)))
    assert ranges(transport) == ["bytes=100-"]  # BLOB-27


def test_wrong_bytes_of_an_earlier_pull_are_thrown_away(tmp_path: Path) -> None:
    wrong = httpx.Response(
        200, headers={"content-length": str(len(DATA))}, stream=Broken(bytes(100))
    )
    answers = iter([wrong])
    with pytest.raises(PullError):
        fetch(tmp_path, lambda request: next(answers, None) or httpx.Response(503))
    transport = fetch(tmp_path, in_turn(part(100), whole()))
    assert ranges(transport) == ["bytes=100-", None]  # BLOB-28


def test_a_rest_that_does_not_fit_is_thrown_away_with_what_was_there(tmp_path: Path) -> None:
    """Incident B15: once from the beginning, and no more."""
    answers = cut(100), part(100, DATA[::-1])
    assert ranges(fetch(tmp_path, in_turn(*answers, whole()))) == [None, "bytes=100-", None]
    again = cut(100), part(100, DATA[::-1])
    with pytest.raises(DigestMismatch):
        fetch(tmp_path / "again", in_turn(cut(100), part(100, DATA[::-1]), *again))


def test_a_rest_of_another_host_that_does_not_fit_is_not_its_fault_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)
    wrong = httpx.Response(
        200, headers={"content-length": str(len(DATA))}, stream=Broken(bytes(100))
    )
    answers = wrong, httpx.Response(404), part(100), whole()
    transport = fetch(tmp_path, in_turn(*answers), hosts=(MIRROR, HOST))
    assert ranges(transport) == [None, "bytes=100-", "bytes=100-", None]


def test_nothing_stays_of_content_that_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        fetch(tmp_path, lambda request: whole(DATA[::-1]))
    assert ranges(fetch(tmp_path, in_turn(whole()))) == [None]


# Hosts


@pytest.mark.parametrize(
    "fault",
    [
        lambda: whole(DATA[::-1]),  # HOST-38 is containerd's
        lambda: whole(DATA[:-1]),
        lambda: httpx.Response(404),
        lambda: httpx.Response(500),
        lambda: httpx.ConnectError("refused"),
    ],
)
def test_what_one_host_gets_wrong_the_next_may_have(
    tmp_path: Path, fault: Callable[[], httpx.Response | Exception]
) -> None:
    transport = fetch(tmp_path, in_turn(fault(), whole()), hosts=(MIRROR, HOST))
    assert [request.url.host for request in transport.asked] == ["mirror.test", "registry.test"]


def test_where_storage_refuses_its_signed_url_the_next_host_is_asked(tmp_path: Path) -> None:
    away = httpx.Response(307, headers={"location": "https://cdn.test/x?sig=old"})
    transport = fetch(tmp_path, in_turn(away, httpx.Response(403), whole()), hosts=(MIRROR, HOST))
    hosts = [request.url.host for request in transport.asked]
    assert hosts == ["mirror.test", "cdn.test", "registry.test"]  # BLOB-22


def test_the_next_host_goes_on_where_the_first_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference.progress.Cancellation.wait", lambda self, seconds: None)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "registry.test":
            return part(100)
        return httpx.Response(404) if "range" in request.headers else cut(100)

    transport = fetch(tmp_path, handler, hosts=(MIRROR, HOST))
    assert ranges(transport) == [None, "bytes=100-", "bytes=100-"]  # BLOB-13


@pytest.mark.parametrize("begun", [False, True])
def test_a_silent_mirror_uses_up_a_third_of_the_pulls_patience(tmp_path: Path, begun: bool) -> None:
    """Incident A09: the pull was cancelled before the next host was asked."""
    waits = []

    def handler(request: httpx.Request) -> httpx.Response:
        timeout = request.extensions["timeout"]
        waits.append((timeout["connect"], timeout["read"]))
        if request.url.host == "registry.test":
            return part(100) if begun else whole()
        late = httpx.ReadTimeout("nothing within 5s")
        if not begun:
            raise late
        headers = {"content-length": str(len(DATA))}
        return httpx.Response(200, headers=headers, stream=Broken(DATA[:100], late))

    config = {"progress_timeout": 15, "connect_timeout": 7, "response_header_timeout": 9}
    transport = fetch(tmp_path, handler, hosts=(MIRROR, HOST), **config)
    assert ranges(transport) == [None, "bytes=100-" if begun else None]
    assert waits == [(5, 5), (7, 9)]


@pytest.mark.parametrize("begun", [False, True])
def test_a_silent_mirror_is_asked_no_more_in_this_pull(tmp_path: Path, begun: bool) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host != "mirror.test":
            return whole()
        late = httpx.ConnectTimeout("no connection within 5s")
        if not begun:
            raise late
        headers = {"content-length": str(len(DATA))}
        return httpx.Response(200, headers=headers, stream=Broken(b"", late))

    transport = ScriptedTransport(handler)
    fetcher = fetcher_at(transport, tmp_path, MIRROR, HOST)
    fetcher.fetch(LAYER)
    fetcher.store.delete(LAYER.digest)
    fetcher.fetch(LAYER)
    hosts = [request.url.host for request in transport.asked]
    assert hosts == ["mirror.test", "registry.test", "registry.test"]


def test_a_silent_mirror_may_use_up_the_pulls_patience_where_told_so(tmp_path: Path) -> None:
    """The quirk answers_may_take_for_ever."""
    config = Config(quirks=Quirks(answers_may_take_for_ever=True))
    transport = ScriptedTransport(lambda request: whole(), config)
    fetcher_at(transport, tmp_path, MIRROR, HOST).fetch(LAYER)
    assert transport.asked[0].extensions["timeout"]["read"] is None


def test_where_all_are_silent_the_last_is_asked_all_the_same(tmp_path: Path) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("no answer")

    transport = ScriptedTransport(handler)
    fetcher = fetcher_at(transport, tmp_path, MIRROR, HOST)
    for _ in range(2):
        with pytest.raises(Silent):
            fetcher.fetch(LAYER)
    hosts = [request.url.host for request in transport.asked]
    assert hosts == ["mirror.test", "registry.test", "registry.test"]


def test_the_error_is_the_one_that_tells_most(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError):
        fetch(tmp_path, in_turn(whole(DATA[::-1]), httpx.Response(404)), hosts=(MIRROR, HOST))
    with pytest.raises(RegistryError, match="500"):
        fetch(tmp_path, in_turn(httpx.Response(500), httpx.Response(404)), hosts=(MIRROR, HOST))


def test_manifests_come_from_their_own_endpoint(tmp_path: Path) -> None:
    manifest = Descriptor.of(OCI_MANIFEST, DATA)
    transport = ScriptedTransport(in_turn(whole()))
    assert fetcher_at(transport, tmp_path).document(manifest) == DATA
    assert transport.lines == [f"GET https://registry.test/v2/app/web/manifests/{manifest.digest}"]


def test_a_document_beyond_the_limit_is_not_fetched(tmp_path: Path) -> None:
    transport = ScriptedTransport(in_turn(), Config(max_manifest_size=100))
    with pytest.raises(SizeMismatch):
        fetcher_at(transport, tmp_path).document(Descriptor.of(OCI_MANIFEST, DATA))


def test_a_full_disk_is_not_a_hosts_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise StoreError("No space left on device")

    monkeypatch.setattr("reference.store.Ingest.write", full)
    with pytest.raises(StoreError, match="No space"):
        fetch(tmp_path, in_turn(whole()), hosts=(MIRROR, HOST))


# URLs of a descriptor


def foreign(*urls: str, media_type: str = DOCKER_FOREIGN_LAYER_GZIP) -> Descriptor:
    return Descriptor(media_type, LAYER.digest, LAYER.size, urls=urls)


def test_a_foreign_layer_comes_from_its_url_where_no_host_has_it(tmp_path: Path) -> None:
    urls = ("ftp://x.test/", "https://one.test/l", "https://two.test/l?k=v")
    transport = ScriptedTransport(
        in_turn(httpx.Response(404), httpx.Response(403), whole()), Config(headers={"X-Key": "s"})
    )
    fetcher_at(transport, tmp_path).fetch(foreign(*urls))
    assert [str(request.url) for request in transport.asked] == [BLOB, *urls[1:]]  # BLOB-34
    assert transport.reporter.status() == (0, len(DATA))  # PROG-18
    assert "x-key" in transport.asked[0].headers
    assert "x-key" not in transport.asked[1].headers  # BLOB-32


def test_content_from_a_url_is_verified(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        fetch(
            tmp_path,
            in_turn(httpx.Response(404), whole(DATA[::-1])),
            foreign("https://one.test/l"),
        )  # BLOB-33


def test_urls_of_other_content_are_not_asked(tmp_path: Path) -> None:
    layer = foreign("https://internal.test/", media_type=OCI_LAYER)
    with pytest.raises(NotFound):
        fetch(tmp_path, in_turn(httpx.Response(404)), layer)


def test_the_size_of_a_blob_is_asked_for_where_nobody_said_it(tmp_path: Path) -> None:
    """S1-15"""
    transport = ScriptedTransport(
        in_turn(
            httpx.Response(404),
            httpx.Response(200, headers={"content-length": "7"}, stream=httpx.ByteStream(b"")),
        )
    )
    fetcher = fetcher_at(transport, tmp_path, MIRROR, HOST)
    assert fetcher.describe(OCI_LAYER, LAYER.digest).size == 7
    with pytest.raises(TransportError, match="no Content-Length"):
        fetcher_at(
            ScriptedTransport(lambda request: httpx.Response(200, stream=Broken(b""))), tmp_path
        ).describe(OCI_LAYER, LAYER.digest)


def test_a_signed_manifest_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    transport = ScriptedTransport(in_turn(whole()), Config(max_manifest_size=len(DATA) - 1))
    with pytest.raises(BodyError, match="more than 1023 bytes"):
        fetcher_at(transport, tmp_path).signed(LAYER)  # S1-08


@pytest.mark.parametrize("label", ["gzip", "x-gzip", "br"])
def test_a_label_on_bytes_of_the_right_length_is_false(tmp_path: Path, label: str) -> None:
    fetch(tmp_path, in_turn(labelled(label, DATA)))  # incident C04
