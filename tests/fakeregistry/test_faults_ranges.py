"""Faults of partial answers, without a socket."""

import email
import email.policy

import pytest

from fakeregistry import fault
from fakeregistry.faults import Setting
from fakeregistry.honest.parts import serve
from fakeregistry.messages import Content, Request, header_of
from fakeregistry.script import Script

BODY = bytes(range(100))
CONTENT = Content(BODY, "text/x", "sha256:1")


def edit(kind: str, span: str | None, method: str = "GET", /, **given: object) -> Script:
    """Edit what the honest registry answers to a Range; an If-Range may stand after a `|`."""
    span, _, condition = (span or "").partition("|")
    headers = (("Range", f"bytes={span}"),) if span else ()
    headers += (("If-Range", condition),) if condition else ()
    request = Request(method, "/x", headers)
    script = Script.of(serve(CONTENT, (), request), head_only=method == "HEAD")
    edited = fault(kind, given).edit(script, Setting(request))  # type: ignore[union-attr]
    assert isinstance(edited, Script)
    return edited if edited is not script else Script(0)


def seen(script: Script) -> tuple[int, str | None, bytes]:
    """Status, Content-Range and body; status 0 where there was nothing to bite on."""
    return script.status, header_of(script.headers, "Content-Range"), b"".join(script.pieces())


NOTHING = (0, None, b"")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("range_ignored", {}),
        ("range_status", {}),
        ("range_416_at_end", {"n": 100}),
        ("range_wrong_offset", {"delta": 1}),
        ("range_short", {"n": 1}),
        ("range_overlong", {"n": 1}),
        ("partial_body", {}),
        ("partial_no_content_range", {}),
        ("content_range_total", {}),
        ("if_range_ignored", {}),
        ("multirange", {}),
    ],
)
def test_a_request_without_range_is_left_alone(kind, given) -> None:
    assert seen(edit(kind, None, **given)) == NOTHING
    assert seen(edit(kind, None, "HEAD", **given)) == NOTHING


@pytest.mark.parametrize(
    ("span", "n", "labelled", "expected"),
    [
        ("10-19", 3, True, (206, "bytes 10-16/100", BODY[10:17])),
        ("10-19", 3, False, (206, "bytes 10-19/100", BODY[10:17])),
        ("10-", 1, True, (206, "bytes 10-98/100", BODY[10:99])),
        ("10-19", 10, True, NOTHING),
    ],
)
def test_a_part_can_be_short(span, n, labelled, expected) -> None:
    assert seen(edit("range_short", span, n=n, labelled=labelled)) == expected


@pytest.mark.parametrize(
    ("span", "labelled", "claim", "body"),
    [
        ("10-19", True, "bytes 10-22/100", BODY[10:23]),
        ("10-19", False, "bytes 10-19/100", BODY[10:23]),
        ("98-", True, "bytes 98-102/100", BODY[98:] + b"pul"),
        ("97-98", False, "bytes 97-98/100", BODY[97:] + b"pu"),
    ],
)
def test_a_part_can_be_too_long_and_go_beyond_the_object(span, labelled, claim, body) -> None:
    edited = edit("range_overlong", span, n=3, labelled=labelled)
    assert seen(edited) == (206, claim, body)
    assert header_of(edited.final_headers(), "Content-Length") == str(len(body))


def test_the_status_of_a_part_can_lie() -> None:
    assert seen(edit("partial_body", "10-19")) == (200, "bytes 10-19/100", BODY[10:20])


@pytest.mark.parametrize(
    ("total", "claim"), [("*", "10-19/*"), ("wrong", "10-19/101"), ("7", "10-19/7")]
)
def test_the_total_can_be_another(total, claim) -> None:
    assert seen(edit("content_range_total", "10-19", total=total))[1] == f"bytes {claim}"


@pytest.mark.parametrize(("n", "end"), [(None, 100), (30, 30), (200, 100)])
def test_a_part_that_nobody_asked_for(n, end) -> None:
    expected = (206, f"bytes 0-{end - 1}/100", BODY[:end])
    assert seen(edit("unasked_partial", None, n=n)) == expected
    assert seen(edit("unasked_partial", "10-19", n=n)) == NOTHING
    assert seen(edit("unasked_partial", None, "HEAD", n=n)) == NOTHING


@pytest.mark.parametrize(
    ("span", "n", "status"),
    [("99-", 1, 416), ("98-", 1, 0), ("95-99", 5, 416), ("-1", 1, 416), ("100-", 1, 0)],
)
def test_the_end_of_an_object_can_be_refused(span, n, status) -> None:
    edited = edit("range_416_at_end", span, n=n)
    assert edited.status == status
    if status:
        assert header_of(edited.headers, "Content-Range") == "bytes */100"


@pytest.mark.parametrize("span", ["10-", "100-"])
def test_a_range_beyond_the_end_can_be_ignored_too(span) -> None:
    edited = edit("range_ignored", span)
    assert seen(edited) == (200, None, BODY)
    assert header_of(edited.headers, "Content-Type") == "text/x"


@pytest.mark.parametrize("value", ["none", None])
def test_ranges_may_work_and_not_be_said(value) -> None:
    for span in (None, "10-19"):
        edited = edit("accept_ranges", span, value=value)
        assert header_of(edited.headers, "Accept-Ranges") == value
    assert seen(edit("accept_ranges", "100-", value=value)) == NOTHING


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ('10-19|"old"', (206, "bytes 10-19/100", BODY[10:20])),
        ('10-19|"sha256:1"', NOTHING),
        ("10-19", NOTHING),
        ('100-|"old"', (416, "bytes */100", None)),
    ],
)
def test_a_condition_can_be_ignored(span, expected) -> None:
    got = seen(edit("if_range_ignored", span))
    assert got[:2] == expected[:2]
    assert expected[2] is None or got[2] == expected[2]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (400, (400, None)),
        ("416", (416, "bytes */100")),
        (200, (200, None)),
        ("first_range_only", (206, "bytes 10-19/100")),
        ("multipart", (206, None)),
    ],
)
def test_several_ranges_have_five_answers(form, expected) -> None:
    edited = edit("multirange", "10-19,30-34,200-", form=form)
    assert seen(edited)[:2] == expected
    if form == "first_range_only":
        assert seen(edited)[2] == BODY[10:20]
    if form == 200:
        assert header_of(edited.headers, "Accept-Ranges") is None
    for single in ("10-19", "-5"):
        assert seen(edit("multirange", single, form=form)) == NOTHING


def test_a_multipart_answer_has_each_part_with_its_range() -> None:
    edited = edit("multirange", "0-0,65-70,-2")
    kind = header_of(edited.headers, "Content-Type")
    message = email.message_from_bytes(
        f"Content-Type: {kind}\r\n\r\n".encode() + seen(edited)[2], policy=email.policy.HTTP
    )
    parts = [
        (part["Content-Range"], part.get_content_type(), part.get_payload(decode=True))
        for part in message.walk()
        if not part.is_multipart()
    ]
    assert parts == [
        ("bytes 0-0/100", "text/x", BODY[:1]),
        ("bytes 65-70/100", "text/x", BODY[65:71]),
        ("bytes 98-99/100", "text/x", BODY[98:]),
    ]


def test_several_ranges_without_a_byte_are_refused() -> None:
    assert seen(edit("multirange", "100-,200-"))[:2] == (416, "bytes */100")
