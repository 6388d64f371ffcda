"""Parts and preconditions of the honest registry, by RFC 9110, 13 and 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rawclient import Raw

from fakeregistry import Registry, an_image
from fakeregistry.honest.parts import ranges_of, serve
from fakeregistry.messages import Content, Reply, Request, header_of

DATA = bytes(range(100))
CONTENT = Content(DATA, "text/x", "sha256:1")
TAG = '"sha256:1"'


def ask(content: Content = CONTENT, method: str = "GET", **headers: str) -> Reply:
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return serve(content, (), Request(method, "/x", named))


@pytest.mark.parametrize(
    ("asked", "ranges"),
    [
        ("bytes=0-4", [(0, 4)]),
        ("BYTES=5-", [(5, None)]),
        ("bytes=-7", [(None, 7)]),
        ("bytes=0-4, 9-12 ,-3", [(0, 4), (9, 12), (None, 3)]),
        ("bytes=,0-4,", [(0, 4)]),
        ("bytes=3-2", []),
        ("bytes=0-1,3-2", []),
        ("bytes=-", []),
        ("bytes=", []),
        ("bytes", []),
        ("bytes 0-4", []),
        ("lines=0-4", []),
        ("bytes=a-4", []),
        ("bytes=\u0663-\u0664", []),
        ("bytes=+1-4", []),
    ],
)
def test_ranges_are_read_by_the_grammar(asked, ranges) -> None:
    assert ranges_of(Request("GET", "/x", (("Range", asked),))) == ranges


@given(st.text(alphabet="bytes=0123456789-, \t\u0663x", max_size=40))
def test_no_range_header_breaks_anything(asked) -> None:
    reply = ask(Range="bytes=" + asked)
    assert reply.status in (200, 206, 416)
    if reply.status == 206:
        assert bytes(reply.body) == DATA[reply.start : reply.start + len(reply.body)] != b""


def test_positions_of_thousands_of_digits_are_beyond_the_end() -> None:
    assert ask(Range="bytes=" + "9" * 5000 + "-").status == 416
    assert bytes(ask(Range="bytes=98-" + "9" * 5000).body) == DATA[98:]
    assert bytes(ask(Range="bytes=-" + "9" * 5000).body) == DATA


@pytest.mark.parametrize(
    ("size", "asked", "status"),
    [
        (100, "bytes=-0", 416),
        (100, "bytes=100-", 416),
        (100, "bytes=99-", 206),
        (0, "bytes=0-", 416),
        (0, "bytes=-5", 200),
        (0, "bytes=-0", 416),
        (100, "bytes=0-1,5-6", 200),
    ],
)
def test_edges_of_the_object(size, asked, status) -> None:
    reply = ask(Content(DATA[:size], "text/x"), Range=asked)
    assert reply.status == status
    if status == 416:
        assert header_of(reply.headers, "Content-Range") == f"bytes */{size}"


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (TAG, 206),
        (f" {TAG}", 206),
        (f"W/{TAG}", 200),
        ('"sha256:2"', 200),
        ("sha256:1", 200),
        ("Sat, 01 Aug 2026 00:00:00 GMT", 200),
    ],
)
def test_if_range_takes_the_very_tag_alone(condition, status) -> None:
    reply = ask(Range="bytes=5-", If_Range=condition)
    assert (reply.status, header_of(reply.headers, "ETag")) == (status, TAG)


def test_if_range_without_a_tag_is_never_met() -> None:
    assert ask(Content(DATA, "text/x"), Range="bytes=5-", If_Range='""').status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ({"If_None_Match": TAG}, 304),
        ({"If_None_Match": f'"a", W/{TAG}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": TAG, "Range": "bytes=5-"}, 304),
        ({"If_Match": TAG}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Match": f"W/{TAG}"}, 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_preconditions_come_first(condition, status, method) -> None:
    reply = ask(method=method, **condition)
    assert reply.status == status
    if status == 304:
        assert (header_of(reply.headers, "ETag"), reply.body) == (TAG, b"")


def test_blobs_and_manifests_have_tags_on_the_wire(registry: Registry) -> None:
    image = registry.add(an_image())
    with Raw(registry) as raw:
        for path in ("manifests/v1", f"blobs/{image.layers[0].digest}"):
            tag = raw.ask(f"/v2/app/web/{path}").answer().header("etag")
            assert tag == f'"{image.digest if path == "manifests/v1" else image.layers[0].digest}"'
            again = raw.ask(f"/v2/app/web/{path}", If_None_Match=tag).head()
            assert (again.status, again.header("etag")) == (304, tag)
            assert again.header("content-length") is None
            refused = raw.ask(f"/v2/app/web/{path}", If_Match='"x"').answer()
            assert refused.status == 412
        huge = raw.ask(f"/v2/app/web/{path}", Range="bytes=" + "9" * 5000 + "-").answer()
        assert huge.status == 416
