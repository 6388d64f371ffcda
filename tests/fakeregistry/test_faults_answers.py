"""Faults in what an answer says, without a socket: status, headers, bodies, lengths, codings."""

import gzip
import hashlib
import inspect
import json
import tracemalloc
import zlib
from dataclasses import MISSING, fields, replace

import pytest

from fakeregistry import FAULTS, Rule, fault
from fakeregistry.faults import Setting
from fakeregistry.faults.bodies import ERROR_FORMS
from fakeregistry.faults.codings import CODINGS, accepted
from fakeregistry.honest.parts import serve
from fakeregistry.messages import Content, Headers, Reply, Request, header_of, headers_of
from fakeregistry.script import End, Interim, Raw, Script

BODY = bytes(range(100))
OTHER = bytes(range(100, 200))
CONTENT = Content(BODY, "text/x", "sha256:1")


def request(*headers: tuple[str, str], method: str = "GET", version: str = "HTTP/1.1") -> Request:
    return Request(method, "/x", headers, version=version)


GET = Setting(request())
HTTP2 = Setting(request(version="HTTP/2"))


def answer(asked: Request) -> Script:
    """What the honest registry would answer."""
    reply = serve(CONTENT, (("Docker-Content-Digest", "sha256:1"),), asked)
    return Script.of(reply, head_only=asked.method == "HEAD")


def whole() -> Script:
    return answer(request())


def head() -> Script:
    return answer(request(method="HEAD"))


def edit(
    kind: str, start: Script | None = None, setting: Setting = GET, /, **given: object
) -> Script:
    edited = fault(kind, given).edit(whole() if start is None else start, setting)  # type: ignore[union-attr]
    assert isinstance(edited, Script)
    return edited


def part(span: str) -> Script:
    return answer(request(("Range", f"bytes={span}")))


def said(script: Script) -> bytes:
    return b"".join(script.pieces())


def value(script: Script, name: str) -> str | None:
    return header_of(script.final_headers(), name)


def test_verbs_have_the_names_and_defaults_of_the_faults() -> None:
    for name, make in FAULTS.items():
        verb = list(inspect.signature(getattr(Rule, name)).parameters.values())[1:]
        want = [
            (item.name, inspect.Parameter.empty if item.default is MISSING else item.default)
            for item in fields(make)  # type: ignore[arg-type]
        ]
        if name == "release":  # without an argument it lets go what the rule itself holds
            want = [("rule", None)]
        assert [(one.name, one.default) for one in verb] == want, name


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("raw_header", {"text": "x"}),
        ("http_version", {}),
        ("reason", {}),
        ("chunked", {}),
        ("chunked_with_content_length", {}),
        ("chunk_extension", {}),
        ("broken_chunk_size", {}),
        ("rename_header", {"name": "ETag", "to": "ETAG"}),
    ],
)
def test_what_http1_alone_can_say_has_nothing_to_bite_in_http2(name, given) -> None:
    start = whole()
    assert edit(name, start, **given) is not start
    assert edit(name, start, HTTP2, **given) is start


# status


def test_not_modified_keeps_what_names_the_object() -> None:
    edited = edit("not_modified")
    assert (edited.status, said(edited)) == (304, b"")
    assert value(edited, "ETag") == '"sha256:1"'
    assert value(edited, "Content-Length") is None
    assert value(edited, "Content-Type") is None
    refused = edit("status", code=404)
    assert edit("not_modified", refused) is refused


def test_informational_answers_come_first_and_not_to_http10() -> None:
    steps = list(edit("informational", times=2, link="</x>").steps())
    assert steps[:2] == [Interim(103, (("Link", "</x>"),))] * 2
    start = whole()
    old = Setting(request(version="HTTP/1.0"))
    assert edit("informational", start, old) is start
    for code in (99, 101, 200):
        with pytest.raises(ValueError, match="informational code"):
            fault("informational", {"code": code})


def test_an_answer_of_http10_closes() -> None:
    edited = edit("http_version")
    assert (edited.writing.version, edited.closes) == ("HTTP/1.0", True)
    other = edit("http_version", version="1.7")
    assert (other.writing.version, other.closes) == ("HTTP/1.7", False)


# headers


def test_headers_are_added_and_renamed() -> None:
    edited = edit("add_header", name="content-type", value="b/c")
    assert headers_of(edited.headers, "Content-Type") == ["text/x", "b/c"]
    edited = edit("rename_header", name="docker-content-digest", to="docker-CONTENT-digest")
    assert ("docker-CONTENT-digest", "sha256:1") in edited.headers
    assert len(headers_of(edited.headers, "Docker-Content-Digest")) == 1
    start = whole()
    assert edit("rename_header", start, name="X-None", to="X") is start


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("No colon", b"No colon\r\n"),
        ("X : 1\n", b"X : 1\n"),
        (b"X: \xff", b"X: \xff\r\n"),
        ("X: 1\r\n folded", b"X: 1\r\n folded\r\n"),
    ],
)
def test_raw_headers_stay_as_they_are(text, line) -> None:
    assert edit("raw_header", text=text).writing.raw == (line,)


def test_a_digest_can_be_forged_for_the_body_that_is_sent() -> None:
    edited = edit(
        "digest_header", edit("swap", edit("flip_byte", offset=0), other=OTHER), value="of_body"
    )
    assert value(edited, "Docker-Content-Digest") == f"sha256:{hashlib.sha256(OTHER).hexdigest()}"
    edited = edit("digest_header", edit("append", edit("flip_byte", offset=0), n=5), value="sha512")
    sent = hashlib.sha512(said(edited)).hexdigest()
    assert value(edited, "Docker-Content-Digest") == f"sha512:{sent}"


def test_content_types_take_turns() -> None:
    kinds = [
        header_of(
            edit(
                "content_type_alternate",
                None,
                replace(GET, count=count),
                values=("a/b", "c/d"),
            ).headers,
            "Content-Type",
        )
        for count in (1, 2, 3)
    ]
    assert kinds == ["a/b", "c/d", "a/b"]


@pytest.mark.parametrize("text", ["A/B", "a/b; charset=utf-8", "a/b;"])
def test_a_content_type_may_be_any_text(text) -> None:
    assert value(edit("content_type", value=text), "Content-Type") == text


def test_etags_are_set_dropped_and_changed() -> None:
    assert value(edit("etag", value='W/"x"'), "ETag") == 'W/"x"'
    assert value(edit("etag", value=None), "ETag") is None
    tags = {
        value(edit("etag_changes", None, replace(GET, count=count)), "ETag") for count in (1, 2)
    }
    assert tags == {'"version-1"', '"version-2"'}
    refused = edit("status", code=404)
    assert edit("etag_changes", refused) is refused


# bodies


def test_a_page_takes_the_place_of_any_answer() -> None:
    for start in (whole(), edit("status", code=404), head()):
        page = edit("html_page", start, title="Log <in>")
        assert (page.status, value(page, "Docker-Content-Digest")) == (200, None)
        assert value(page, "Content-Type") == "text/html; charset=utf-8"
        assert b"<title>Log &lt;in&gt;</title>" in said(page)
    kept = edit("html_page", keep_headers=True)
    assert value(kept, "Docker-Content-Digest") == "sha256:1"


@pytest.mark.parametrize(("promised", "end"), [(0, "keep"), (100, "fin")])
def test_an_empty_body_may_be_promised_to_be_more(promised, end) -> None:
    edited = edit("empty_body", promised=promised)
    assert (said(edited), value(edited, "Content-Length")) == (b"", str(promised))
    assert edited.end == end
    assert edit("empty_body", head(), promised=promised).end == "keep"


@pytest.mark.parametrize("form", ERROR_FORMS)
def test_error_bodies_have_ten_forms(form) -> None:
    edited = edit("error_body", edit("status", code=403), message="<m>", form=form)
    kind, text = value(edited, "Content-Type"), said(edited)
    if kind != "application/json":
        assert text == b"" if form == "empty" else b"m" in text
        assert b"<m>" not in text or form == "text"
    elif form == "not_json":
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    else:
        errors = json.loads(text)["errors"]
        if form == "errors_null":
            assert errors is None
        elif form == "unknown_code":
            assert errors[0]["code"] == "ERROR_OF_ANOTHER_AGE"
        elif form == "detail_object":
            assert errors[0]["detail"]["class"] == "repository"
        else:
            assert errors[0]["code"] == "UNKNOWN"
            assert (len(text) > 1 << 20) == (form == "huge")


@pytest.mark.parametrize(
    ("start", "n", "body"),
    [
        ("whole", 40, BODY[:40] + OTHER[40:]),
        ("whole", 0, OTHER),
        ("30-", 40, BODY[30:40] + OTHER[40:]),
        ("30-49", None, OTHER[30:50]),
        ("30-49", 0, OTHER[30:50]),
    ],
)
def test_other_content_begins_at_an_offset_of_the_object(start, n, body) -> None:
    edited = edit(
        "other_content_from_offset", whole() if start == "whole" else part(start), other=OTHER, n=n
    )
    assert said(edited) == body


def test_other_content_that_is_short_begins_anew() -> None:
    edited = edit("other_content_from_offset", part("90-"), other=b"abc")
    assert said(edited) == (b"abc" * 40)[90:100]


@pytest.mark.parametrize("name", ["other_content_from_offset", "zero_fill"])
def test_what_lies_before_the_offset_is_left_alone(name) -> None:
    given = {"n": 50} | ({"other": OTHER} if name.startswith("other") else {})
    for start in (part("10-49"), head(), edit("status", code=404)):
        assert edit(name, start, **given) is start
    start = whole()
    assert edit(name, start, **{**given, "n": 100}) is start
    if name.startswith("other"):
        assert edit(name, start, other=OTHER) is start, "wholes are true without an offset"


def test_zeros_fill_the_object_to_its_true_length() -> None:
    assert said(edit("zero_fill", n=30)) == BODY[:30] + bytes(70)
    edited = edit("zero_fill", part("20-39"), n=30)
    assert said(edited) == BODY[20:30] + bytes(10)
    assert value(edited, "Content-Length") == "20"


def test_an_endless_body_takes_no_memory() -> None:
    edited = edit("infinite_body", cap=1 << 32)
    tracemalloc.start()
    size = sum(len(piece) for piece in edited.pieces())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 1 << 32
    assert peak < 1 << 20


def test_what_follows_a_body_is_the_same_however_it_is_sliced() -> None:
    longer = edit("append", n=200_000 - 100)
    starts = range(0, longer.length, 320)
    assert b"".join(b"".join(longer.pieces(at, at + 320)) for at in starts) == said(longer)


def test_another_answer_has_nothing_of_the_old_body() -> None:
    edited = edit("status", edit("zero_fill", edit("flip_byte", offset=1), n=5), code=404)
    assert json.loads(said(edited))["errors"]


# lengths


def test_head_and_get_may_disagree() -> None:
    assert value(edit("head_content_length", head(), delta=7), "Content-Length") == "107"
    start = whole()
    assert edit("head_content_length", start, delta=7) is start


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({}, ["100", "101"]),
        ({"delta": 0}, ["100", "100"]),
        ({"delta": -5, "joined": True}, ["100, 95"]),
    ],
)
def test_lengths_can_be_two(given, lines) -> None:
    edited = edit("two_content_lengths", **given)
    assert headers_of(edited.final_headers(), "Content-Length") == lines
    assert edited.end == "fin"


@pytest.mark.parametrize("text", ["abc", "-1", "", "1e2", "0x64"])
def test_a_length_can_be_any_text(text) -> None:
    assert value(edit("content_length_text", value=text), "Content-Length") == text
    assert edit("content_length_text", head(), value=text).end == "keep"


def test_a_head_without_a_length_leaves_the_connection() -> None:
    edited = edit("no_content_length", head())
    assert (value(edited, "Content-Length"), value(edited, "Connection")) == (None, None)
    assert list(edited.steps())[-1] == End("keep")
    assert value(edit("no_content_length"), "Connection") == "close"


def test_chunks_and_a_length_at_once() -> None:
    edited = edit("chunked_with_content_length", delta=-1)
    assert (value(edited, "Transfer-Encoding"), value(edited, "Content-Length")) == (
        "chunked",
        "99",
    )


def test_a_broken_chunk_ends_the_body() -> None:
    steps = list(edit("broken_chunk_size", n=40).steps())
    assert steps[2:] == [Raw(b"xyz\r\n"), End("fin", terminated=False)]
    start = whole()
    assert edit("broken_chunk_size", start, n=100) is start


def test_trailers_are_announced_and_come_in_http2_too() -> None:
    edited = edit("trailer", name="X-Checksum", value="1")
    assert (edited.framing, value(edited, "Trailer")) == ("chunked", "X-Checksum")
    over_h2 = edit("trailer", None, HTTP2, name="X-Checksum", value="1")
    assert (over_h2.framing, over_h2.trailers) == ("length", (("X-Checksum", "1"),))
    start = head()
    assert edit("trailer", start, name="X", value="1") is start


# codings


def decoded(coding: str, data: bytes) -> bytes:
    if coding in ("gzip", "x-gzip"):
        return gzip.decompress(data)
    if coding == "deflate":
        return zlib.decompress(data)
    if coding == "zstd":
        from fakeregistry.content.compression import zstd

        return zstd.decompress(data)
    return pytest.importorskip("brotli").decompress(data)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_body_is_truly_coded_where_accepted(coding) -> None:
    if coding == "br":
        pytest.importorskip("brotli")
    asked = Setting(request(("Accept-Encoding", f"identity, {coding};q=0.5")))
    edited = edit("content_encode", None, asked, coding=coding)
    assert decoded(coding, said(edited)) == BODY
    assert value(edited, "Content-Encoding") == coding
    assert value(edited, "Content-Length") == str(len(said(edited)))
    assert value(edited, "Docker-Content-Digest") == "sha256:1"
    assert (value(edited, "ETag"), value(edited, "Vary")) == (
        f'"sha256:1-{coding}"',
        "Accept-Encoding",
    )
    start = whole()
    assert edit("content_encode", start, coding=coding) is start
    assert said(edit("content_encode", start, coding=coding, always=True)) == said(edited)


@pytest.mark.parametrize(
    ("accept", "coding", "yes"),
    [
        ([], "gzip", False),
        (["gzip"], "gzip", True),
        (["GZIP;q=0.1"], "gzip", True),
        (["gzip; q=0"], "gzip", False),
        (["zstd", "gzip"], "gzip", True),
        (["gzip"], "x-gzip", True),
        (["*"], "br", True),
        (["*;q=0"], "br", False),
        (["br;q=0, *"], "br", False),
        (["identity"], "gzip", False),
        (["gzip;q=x"], "gzip", False),
    ],
)
def test_what_is_accepted(accept, coding, yes) -> None:
    headers: Headers = tuple(("Accept-Encoding", value) for value in accept)
    assert accepted(coding, request(*headers)) is yes


def test_a_range_means_the_coded_bytes() -> None:
    first = edit("content_encode", always=True)
    coded, tag = said(first), value(first, "ETag")
    asked = request(("Range", "bytes=10-"))
    edited = edit("content_encode", answer(asked), Setting(asked), always=True)
    assert (edited.status, said(edited)) == (206, coded[10:])
    assert value(edited, "Content-Range") == f"bytes 10-{len(coded) - 1}/{len(coded)}"
    for condition, status in ((tag, 206), ('"sha256:1"', 200)):
        asked = request(("Range", "bytes=10-"), ("If-Range", str(condition)))
        edited = edit("content_encode", answer(asked), Setting(asked), always=True)
        assert edited.status == status
    beyond = request(("Range", f"bytes={len(coded)}-"))
    edited = edit("content_encode", part("99-"), Setting(beyond), always=True)
    assert (edited.status, value(edited, "Content-Range")) == (416, f"bytes */{len(coded)}")


def test_what_has_no_ranges_is_coded_whole() -> None:
    reply = Reply(200, (("Content-Type", "a/b"),), BODY, Content(BODY, "a/b"))
    edited = edit("content_encode", Script.of(reply), always=True)
    assert (gzip.decompress(said(edited)), value(edited, "Content-Type")) == (BODY, "a/b")
    assert value(edited, "Accept-Ranges") is None


def test_a_label_changes_no_byte() -> None:
    edited = edit("content_encoding_label", value="x-gzip")
    assert (value(edited, "Content-Encoding"), said(edited)) == ("x-gzip", BODY)


def test_faults_of_lengths_act_on_the_coded_body() -> None:
    coded = edit("content_encode", always=True)
    cut = edit("truncate_after", coded, n=10)
    assert b"".join(bytes(s.data) for s in cut.steps() if hasattr(s, "data")) == said(coded)[:10]


# wrong arguments


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("add_header", {"name": "Content-Length", "value": "1"}, "content_length_text"),
        ("raw_header", {"text": ""}, "needs a text"),
        ("reason", {"text": "a\r\nb"}, "single line"),
        ("http_version", {"version": "1\n"}, "single line"),
        ("content_type_alternate", {"values": ()}, "at least one"),
        ("empty_body", {"promised": -1}, "at least 0"),
        ("zero_fill", {"n": -1}, "at least 0"),
        ("other_content_from_offset", {"other": b"", "n": -1}, "at least 0"),
        ("content_length_text", {"value": "\r\n"}, "single line"),
        ("chunk_extension", {"text": "\n"}, "single line"),
        ("trailer", {"name": "a", "value": "\n"}, "single line"),
        ("content_encode", {"coding": "lzma"}, "gzip, x-gzip"),
        ("range_short", {"n": 0}, "at least 1"),
        ("range_overlong", {"n": 0}, "at least 1"),
        ("range_416_at_end", {"n": 0}, "at least 1"),
        ("unasked_partial", {"n": 0}, "at least 1"),
        ("multirange", {"form": "tar"}, "first_range_only"),
    ],
)
def test_wrong_arguments_are_told(name, given, message) -> None:
    with pytest.raises(ValueError, match=message):
        fault(name, given)
