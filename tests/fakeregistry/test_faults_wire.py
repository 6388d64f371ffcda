"""Faults in what an answer says, seen from raw sockets, byte for byte."""

import gzip
import hashlib
import re

import pytest
from rawclient import Raw

from fakeregistry import Image, Registry, Rule, a_layer, an_image, blob, manifest

KIB = 1024


@pytest.fixture
def image(registry: Registry) -> Image:
    return registry.add(an_image([a_layer(0, size=20 * KIB), a_layer(1, size=20 * KIB)]))


@pytest.fixture
def data(image: Image) -> bytes:
    return bytes(image.layers[0].blob)


@pytest.fixture
def path(image: Image) -> str:
    return f"/v2/app/web/blobs/{image.layers[0].digest}"


@pytest.fixture
def rule(registry: Registry, image: Image) -> Rule:
    return registry.on(blob(image.layers[0]))


def closes(raw: Raw) -> None:
    """The connection carries no more requests: nothing but its end comes."""
    assert raw.rest().data == b""


def still_serves(raw: Raw) -> None:
    assert raw.ask("/v2/").answer().body == b"{}"


# the head


def test_the_first_line_can_be_odd(registry, rule, path, data) -> None:
    rule.http_version().reason("")
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.data.startswith(b"HTTP/1.0 200 \r\n")
    assert (answer.body, answer.end) == (data, "fin")


def test_close_delimited_as_in_1996(registry, rule, path, data) -> None:
    rule.http_version("1.0").no_content_length()
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.header("content-length"), answer.body) == (None, data)


def test_raw_lines_stand_as_they_are(registry, rule, path, data) -> None:
    rule.raw_header("No-Colon").raw_header(b"X-Bytes: \xff\xfe\n").raw_header("X-A: 1\r\n\tfolded")
    rule.rename_header("Docker-Content-Digest", "dOCKER-content-digest")
    rule.add_header("X-Twice", "1").add_header("X-Twice", "2")
    with Raw(registry) as raw:
        data_seen = raw.ask(path, Connection="close").rest().data
    head, _, body = data_seen.partition(b"\r\n\r\n")
    assert b"\r\nNo-Colon\r\nX-Bytes: \xff\xfe\nX-A: 1\r\n\tfolded" in head
    assert b"\r\ndOCKER-content-digest: sha256:" in head
    assert re.findall(rb"X-Twice: (\d)", head) == [b"1", b"2"]
    assert body == data
    assert registry.journal.wait_quiet()
    [exchange] = registry.requests()
    assert exchange.response_header("x-a") == "1\r\n\tfolded"


def test_informational_answers_come_before_the_final_one(registry, rule, path, data) -> None:
    rule.informational(100).informational(103, times=2, link="</style>; rel=preload")
    with Raw(registry) as raw:
        raw.ask(path)
        heads = [raw.head() for _ in range(3)]
        assert [head.status for head in heads] == [100, 103, 103]
        assert heads[1].header("link") == "</style>; rel=preload"
        assert raw.answer().body == data
        still_serves(raw)
    assert registry.journal.wait_quiet()
    assert registry.requests()[0].status == 200


def test_content_types_take_turns(registry, image) -> None:
    rule = registry.on(manifest(image)).content_type_alternate(["a/b; charset=utf-8", "C/D;"])
    with Raw(registry) as raw:
        kinds = [
            raw.ask("/v2/app/web/manifests/v1").answer().header("content-type") for _ in range(3)
        ]
    assert kinds == ["a/b; charset=utf-8", "C/D;", "a/b; charset=utf-8"]
    assert rule.fired == 3


def test_a_forged_digest_fits_the_body(registry, image, rule, path) -> None:
    rule.swap(image.layers[1].blob).digest_header("of_body")
    with Raw(registry) as raw:
        answer = raw.ask(path).answer()
    digest = hashlib.sha256(answer.body).hexdigest()
    assert answer.header("docker-content-digest") == f"sha256:{digest}" == image.layers[1].digest


def test_not_modified_leaves_the_connection(registry, rule, path) -> None:
    rule.not_modified()
    with Raw(registry) as raw:
        head = raw.ask(path).head()
        assert (head.status, head.header("content-length")) == (304, None)
        still_serves(raw)


# the body


def test_a_captive_portal_answers_everything(registry, image) -> None:
    registry.on(manifest(image)).html_page("Sign in")
    with Raw(registry) as raw:
        answer = raw.ask("/v2/app/web/manifests/v1").answer()
        head = raw.ask("/v2/app/web/manifests/v1", "HEAD").head()
    assert (answer.status, answer.header("content-type")) == (200, "text/html; charset=utf-8")
    assert b"Sign in" in answer.body
    assert answer.header("docker-content-digest") is None
    assert head.header("content-length") == str(len(answer.body))


def test_a_length_and_not_one_byte(registry, rule, path, data) -> None:
    rule.empty_body(len(data))
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.header("content-length"), answer.body) == (str(len(data)), b"")
    assert answer.end == "fin"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_empty_body_ends(registry, rule, path, framing) -> None:
    rule.empty_body()
    if framing == "chunked":
        rule.chunked()
    with Raw(registry) as raw:
        raw.ask(path).head()
        if framing == "chunked":
            assert raw.exactly(5) == b"0\r\n\r\n"
        still_serves(raw)


def test_a_resume_gets_foreign_bytes(registry, image, rule, path, data) -> None:
    rule.other_content_from_offset(image.layers[1].blob)
    with Raw(registry) as raw:
        assert raw.ask(path).answer().body == data
        part = raw.ask(path, Range="bytes=100-199").answer()
    assert (part.status, part.body) == (206, bytes(image.layers[1].blob[100:200]))
    assert part.header("content-range") == f"bytes 100-199/{len(data)}"
    assert rule.fired == 1


def test_zeros_in_place_of_the_rest(registry, rule, path, data) -> None:
    rule.zero_fill(1000)
    with Raw(registry) as raw:
        answer = raw.ask(path).answer()
    assert answer.body == data[:1000] + bytes(len(data) - 1000)


def test_the_body_of_an_error_in_another_form(registry, rule, path) -> None:
    rule.range_status(400).error_body(code="InvalidRequest", form="xml")
    with Raw(registry) as raw:
        answer = raw.ask(path, Range="bytes=5-").answer()
    assert (answer.status, answer.header("content-type")) == (400, "application/xml")
    assert b"<Code>InvalidRequest</Code>" in answer.body


# lengths


def lines_of(raw: Raw, name: str) -> list[str]:
    head = raw.head().head.split("\r\n")
    return [line for line in head if line.lower().startswith(name)]


def test_two_lengths_in_two_lines_or_one(registry, rule, path, data) -> None:
    rule.two_content_lengths(5)
    size = len(data)
    with Raw(registry) as raw:
        lines = lines_of(raw.ask(path), "content-length")
        assert raw.exactly(size) == data
        closes(raw)
    assert lines == [f"Content-Length: {size}", f"Content-Length: {size + 5}"]
    registry.drop(rule)
    registry.on(blob(), method="HEAD").two_content_lengths(0, joined=True)
    with Raw(registry) as raw:
        assert lines_of(raw.ask(path, "HEAD"), "content-length") == [
            f"Content-Length: {size}, {size}"
        ]
        still_serves(raw)


def test_a_length_that_is_no_number(registry, rule, path, data) -> None:
    rule.content_length_text("abc")
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert (answer.header("content-length"), answer.body) == ("abc", data)


def test_head_says_more_than_get_gives(registry, rule, path, data) -> None:
    rule.head_content_length(200)
    with Raw(registry) as raw:
        assert raw.ask(path, "HEAD").head().header("content-length") == str(len(data) + 200)
        assert raw.ask(path).answer().body == data
    assert rule.fired == 1


def test_head_and_get_without_a_length(registry, rule, path, data) -> None:
    rule.no_content_length()
    with Raw(registry) as raw:
        head = raw.ask(path, "HEAD").head()
        assert (head.header("content-length"), head.header("connection")) == (None, None)
        answer = raw.ask(path).rest()
    assert (answer.header("content-length"), answer.body) == (None, data)
    assert answer.end == "fin"


def test_chunks_with_all_their_trimmings(registry, image, rule, path, data) -> None:
    rule.chunked_with_content_length(-1).chunk_extension(';by="us"').trailer("X-Sum", "42")
    with Raw(registry) as raw:
        head = raw.ask(path).head()
        assert head.header("transfer-encoding") == "chunked"
        assert head.header("content-length") == str(len(data) - 1)
        assert head.header("trailer") == "X-Sum"
        start = b'%x;by="us"\r\n' % len(data)
        whole = start + data + b'\r\n0;by="us"\r\nX-Sum: 42\r\n\r\n'
        assert raw.exactly(len(whole)) == whole
        still_serves(raw)


def test_a_chunk_size_that_is_no_number(registry, rule, path, data) -> None:
    rule.broken_chunk_size(1000, text="xyz")
    with Raw(registry) as raw:
        answer = raw.ask(path).rest()
    assert answer.body == b"3e8\r\n" + data[:1000] + b"\r\nxyz\r\n"
    assert registry.journal.wait_quiet()
    assert registry.requests()[0].bytes_sent == 1000


# codings


def test_a_coded_body_and_its_resume(registry, image) -> None:
    registry.on(manifest(image)).content_encode("gzip")
    url = "/v2/app/web/manifests/v1"
    with Raw(registry) as raw:
        assert raw.ask(url).answer().body == image.manifest
        answer = raw.ask(url, Accept_Encoding="zstd, gzip;q=0.5").answer()
        head = raw.ask(url, "HEAD", Accept_Encoding="gzip").head()
    assert gzip.decompress(answer.body) == image.manifest
    assert answer.header("content-encoding") == "gzip"
    assert answer.header("docker-content-digest") == image.digest
    assert head.header("content-length") == str(len(answer.body)) != str(len(image.manifest))


def test_a_resume_of_a_coded_blob_means_coded_bytes(registry, rule, path, data) -> None:
    rule.content_encode("x-gzip").truncate_after(500)
    with Raw(registry) as raw:
        first = raw.ask(path, Accept_Encoding="gzip").rest()
        assert (len(first.body), first.header("content-encoding")) == (500, "x-gzip")
    registry.drop(rule)
    registry.on(blob()).content_encode("x-gzip")
    with Raw(registry) as raw:
        more = raw.ask(
            path, Accept_Encoding="gzip", Range="bytes=500-", If_Range=first.header("etag")
        ).answer()
    assert more.status == 206
    assert gzip.decompress(first.body + more.body) == data


def test_a_false_label(registry, rule, path, data) -> None:
    rule.content_encoding_label("x-gzip")
    with Raw(registry) as raw:
        answer = raw.ask(path).answer()
    assert (answer.header("content-encoding"), answer.body) == ("x-gzip", data)


# ranges


@pytest.mark.parametrize(
    ("fault", "given", "asked", "status", "claim", "part"),
    [
        ("range_short", {"n": 10}, "100-199", 206, "100-189", (100, 190)),
        ("range_overlong", {"n": 10}, "100-199", 206, "100-209", (100, 210)),
        ("range_wrong_offset", {"delta": 7}, "100-199", 206, "107-206", (107, 207)),
        ("partial_body", {}, "100-199", 200, "100-199", (100, 200)),
        ("unasked_partial", {"n": 50}, None, 206, "0-49", (0, 50)),
        ("multirange", {"form": "first_range_only"}, "100-199,0-1", 206, "100-199", (100, 200)),
        ("content_range_total", {"total": "*"}, "100-199", 206, "100-199/*", (100, 200)),
    ],
)
def test_parts_that_are_wrong(
    registry, rule, path, data, fault, given, asked, status, claim, part
) -> None:
    getattr(rule, fault)(**given)
    with Raw(registry) as raw:
        headers = {} if asked is None else {"Range": f"bytes={asked}"}
        answer = raw.ask(path, **headers).answer()
        still_serves(raw)
    said = claim if "/" in claim else f"{claim}/{len(data)}"
    assert (answer.status, answer.header("content-range")) == (status, f"bytes {said}")
    assert answer.body == data[slice(*part)]


@pytest.mark.parametrize("form", ["400", "416", "200", "multipart"])
def test_several_ranges(registry, rule, path, data, form) -> None:
    rule.multirange(form)
    with Raw(registry) as raw:
        answer = raw.ask(path, Range="bytes=0-9,20-29").answer()
        still_serves(raw)
    if form == "multipart":
        assert answer.status == 206
        assert str(answer.header("content-type")).startswith("multipart/byteranges; boundary=")
        assert b"\r\n\r\n" + data[20:30] + b"\r\n--" in answer.body
    else:
        assert answer.status == int(form)
        assert (answer.body == data) == (form == "200")


def test_the_last_byte_is_refused(registry, rule, path, data) -> None:
    rule.range_416_at_end()
    with Raw(registry) as raw:
        last = len(data) - 1
        assert raw.ask(path, Range=f"bytes={last - 1}-").answer().body == data[-2:]
        refused = raw.ask(path, Range=f"bytes={last}-").answer()
    assert (refused.status, refused.header("content-range")) == (416, f"bytes */{len(data)}")


def test_an_object_that_changes_under_a_resume(registry, rule, path, data) -> None:
    rule.etag_changes()
    with Raw(registry) as raw:
        first = raw.ask(path).answer().header("etag")
        resumed = raw.ask(path, Range="bytes=100-", If_Range=first).answer()
        assert (resumed.status, resumed.body) == (200, data)
        assert resumed.header("etag") != first
        registry.on(blob()).if_range_ignored()
        wrong = raw.ask(path, Range="bytes=100-", If_Range=first).answer()
    assert (wrong.status, wrong.body) == (206, data[100:])


def test_ranges_that_work_and_are_not_said(registry, rule, path, data) -> None:
    rule.accept_ranges(None)
    with Raw(registry) as raw:
        part = raw.ask(path, Range="bytes=5-9").answer()
        head = raw.ask(path, "HEAD").head()
    assert (part.status, part.body, part.header("accept-ranges")) == (206, data[5:10], None)
    assert head.header("accept-ranges") is None


def test_a_registry_that_refuses_open_ranges_alone(registry, image, path, data) -> None:
    rule = registry.on(blob(), range={"end": "open"}).range_status(416)
    with Raw(registry) as raw:
        refused = raw.ask(path, Range="bytes=100-").answer()
        assert (refused.status, refused.header("content-range")) == (416, f"bytes */{len(data)}")
        assert raw.ask(path, Range="bytes=100-199").answer().body == data[100:200]
    assert rule.fired == 1
