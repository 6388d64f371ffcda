"""Request heads: what is understood, and what could be understood in two ways and is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakeregistry.wire.heads import BadRequestError, Head, parse


def head(*lines: str, line: str = "GET /v2/ HTTP/1.1", host: str = "Host: x") -> bytes:
    return "\r\n".join([line, host, *lines]).encode("latin-1")


def test_a_sound_head_is_taken_apart() -> None:
    assert parse(head("Accept:  a \t", "accept: é")) == Head(
        "GET", "/v2/", "HTTP/1.1", (("Host", "x"), ("Accept", "a"), ("accept", "é"))
    )


@pytest.mark.parametrize(
    ("lines", "length", "expects"),
    [
        ([], 0, False),
        (["Content-Length: 0"], 0, False),
        (["Content-Length: 17", "Expect: 100-Continue"], 17, True),
        (["Transfer-Encoding: Chunked"], None, False),
    ],
)
def test_the_length_of_a_body(lines, length, expects) -> None:
    parsed = parse(head(*lines))
    assert (parsed.length, parsed.expects) == (length, expects)


@pytest.mark.parametrize(
    "target", ["/", "*", "//evil/", "/a%00b", "http://h:1/v2/", "https://[::1]:5/", "http://h"]
)
def test_targets(target) -> None:
    assert parse(head(line=f"GET {target} HTTP/1.1")).target == target


def test_connect_names_an_authority() -> None:
    assert parse(head(line="CONNECT h.test:443 HTTP/1.1")).target == "h.test:443"


@pytest.mark.parametrize(
    "line",
    [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / HTTP/1",
        "GET / http/1.1",
        "GET /",
        "",
        "G(T / HTTP/1.1",
        "GET v2/ HTTP/1.1",
        "GET ../ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u:p@h/ HTTP/1.1",
        "GET http://[::::]/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT h.test HTTP/1.1",
        "GET /\0 HTTP/1.1",
    ],
)
def test_malformed_request_lines(line) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(head(line=line))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Content-Length: 3", "Transfer-Encoding: chunked"], 400),
        (["Content-Length: 3", "Content-Length: 3"], 400),
        (["Content-Length: 3, 3"], 400),
        (["Content-Length: +3"], 400),
        (["Content-Length: 0x3"], 400),
        (["Content-Length: ³"], 400),
        (["Content-Length:"], 400),
        (["Content-Length: " + "9" * 5000], 400),
        (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], 501),
        (["Transfer-Encoding: gzip, chunked"], 501),
        (["Transfer-Encoding: xchunked"], 501),
        (["Transfer-Encoding : chunked"], 400),
        (["Content-Length : 3"], 400),
        (["X: a", " folded"], 400),
        (["X: a", "\tfolded"], 400),
        ([": nameless"], 400),
        (["no colon"], 400),
        (["X: a\nY: b"], 400),
        (["X: a\rY: b"], 400),
        (["X: a\0b"], 400),
        (["Host: y"], 400),
        (["Expect: a-miracle"], 417),
        ([f"X-{i}: y" for i in range(300)], 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines, status) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(head(*lines))
    assert caught.value.status == status
    assert caught.value.line == ("GET", "/v2/")


def test_a_host_is_named_since_http_1_1() -> None:
    assert parse(b"GET / HTTP/1.0").version == "HTTP/1.0"
    with pytest.raises(BadRequestError):
        parse(b"GET / HTTP/1.1")
    with pytest.raises(BadRequestError):
        parse(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_a_bad_request(data) -> None:
    with contextlib.suppress(BadRequestError):
        assert not any(set("\r\n\0") & set(value) for _, value in parse(data).headers)
