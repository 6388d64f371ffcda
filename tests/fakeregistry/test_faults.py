"""Faults edit scripts: each one alone, without a socket."""

import re
from dataclasses import fields, is_dataclass, replace

import pytest

from fakeregistry import FAULTS, fault
from fakeregistry.faults import Setting, name_of
from fakeregistry.messages import Content, Reply, Request, header_of
from fakeregistry.script import Data, End, Head, Script, Step, Wait

BODY = bytes(range(100))
GET = Setting(Request("GET", "/x"))
RANGED = Setting(Request("GET", "/x", (("Range", "bytes=10-"),)))


def script(*, head_only: bool = False) -> Script:
    headers = (("Content-Type", "text/x"), ("Docker-Content-Digest", "sha256:1"))
    content = Content(BODY, "text/x", "sha256:1")
    return Script.of(Reply(200, headers, BODY, content), head_only=head_only)


def part() -> Script:
    headers = (("Content-Type", "text/x"), ("Content-Range", "bytes 10-99/100"))
    return Script.of(Reply(206, headers, BODY[10:], Content(BODY, "text/x"), 10))


def played(edited: Script) -> tuple[Head | None, bytes, list[Step]]:
    """The head, the body, and the steps that aren't data."""
    steps = list(edited.steps())
    body = b"".join(bytes(step.data) for step in steps if isinstance(step, Data))
    head = next((step for step in steps if isinstance(step, Head)), None)
    return head, body, [step for step in steps if not isinstance(step, Data | Head)]


def edited(
    kind: str, setting: Setting = GET, start: Script | None = None, /, **arguments: object
) -> Script:
    return fault(kind, arguments).edit(start or script(), setting)


def test_an_honest_script_says_all_and_keeps_the_connection() -> None:
    head, body, rest = played(script())
    assert head is not None
    assert header_of(head.headers, "Content-Length") == "100"
    assert (body, rest) == (BODY, [End("keep")])


def test_a_head_states_a_length_and_says_nothing() -> None:
    head, body, _ = played(script(head_only=True))
    assert head is not None
    assert (header_of(head.headers, "Content-Length"), body) == ("100", b"")


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_a_frozen_value_with_words(name) -> None:
    kind = FAULTS[name]
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__


BODY_FAULTS = {
    "append": {"n": 5},
    "infinite_body": {"cap": 1000},
    "flip_byte": {"offset": 3},
    "stall_after": {"n": 3},
    "throttle": {"bytes_per_second": 10},
    "drip": {"size": 3},
    "truncate_after": {"n": 3},
    "close_after": {"n": 3},
    "reset_after": {"n": 3},
}


@pytest.mark.parametrize("name", BODY_FAULTS)
def test_a_fault_on_the_body_has_nothing_to_bite_in_a_head(name) -> None:
    assert edited(name, **BODY_FAULTS[name]) != script()
    start = script(head_only=True)
    assert edited(name, GET, start, **BODY_FAULTS[name]) is start


@pytest.mark.parametrize("name", ["truncate_after", "close_after", "reset_after", "stall_after"])
def test_a_cut_beyond_the_end_is_none(name) -> None:
    start = script()
    assert edited(name, GET, start, n=101) is start


@pytest.mark.parametrize(
    ("name", "arguments", "status", "kind", "body"),
    [
        ("status", {"code": 500}, 500, "application/json", b'"UNKNOWN"'),
        ("status", {"code": 404}, 404, "application/json", b'"NAME_UNKNOWN"'),
        ("status", {"code": 503, "body": "later"}, 503, "text/plain; charset=utf-8", b"later"),
        ("status", {"code": 204}, 204, None, b""),
        ("too_many_requests", {}, 429, "application/json", b'"TOOMANYREQUESTS"'),
        ("body", {"data": "<html>", "content_type": "text/html"}, 200, "text/html", b"<html>"),
        ("content_type", {"value": "a/b"}, 200, "a/b", BODY),
        ("content_type", {"value": None}, 200, None, BODY),
        ("swap", {"other": b"other"}, 200, "text/x", b"other"),
    ],
)
def test_what_is_said_can_be_replaced(name, arguments, status, kind, body) -> None:
    head, said, _ = played(edited(name, **arguments))
    assert head is not None
    assert head.status == status
    assert header_of(head.headers, "Content-Type") == kind
    assert body in said


def test_retry_after_stands_where_it_was_asked_for() -> None:
    assert header_of(edited("too_many_requests").headers, "Retry-After") == "1"
    assert header_of(edited("too_many_requests", retry_after=None).headers, "Retry-After") is None
    assert (
        header_of(edited("status", code=503, retry_after="soon").headers, "Retry-After") == "soon"
    )


def test_headers_are_set_and_dropped() -> None:
    assert header_of(edited("header", name="X-Y", value="1").headers, "x-y") == "1"
    one = edited("header", name="content-type", value="1").headers
    assert [value for name, value in one if name.lower() == "content-type"] == ["1"]
    assert header_of(edited("drop_header", name="content-type").headers, "Content-Type") is None
    start = script()
    assert edited("drop_header", GET, start, name="X-None") is start


def test_the_digest_header_can_lie_or_be_absent() -> None:
    assert header_of(edited("digest_header", value=None).headers, "Docker-Content-Digest") is None
    wrong = header_of(edited("digest_header", value="wrong").headers, "Docker-Content-Digest")
    assert wrong is not None
    assert wrong.startswith("sha256:")
    assert len(wrong) == 71
    refused = edited("status", code=404)
    assert edited("digest_header", GET, refused, value="wrong") is refused


@pytest.mark.parametrize(
    ("form", "kind"),
    [("oci", "application/json"), ("html", "text/html"), ("empty", "text/plain")],
)
def test_error_bodies_have_forms(form, kind) -> None:
    refused = edited("status", code=404)
    said = edited("error_body", GET, refused, code="X", message="m", form=form)
    assert header_of(said.headers, "Content-Type") == kind
    honest = script()
    assert edited("error_body", GET, honest) is honest


def test_flip_byte_means_the_objects_byte() -> None:
    _, body, _ = played(edited("flip_byte", offset=20))
    assert [n for n in range(100) if body[n] != BODY[n]] == [20]
    _, body, _ = played(edited("flip_byte", GET, part(), offset=20))
    assert [n for n in range(90) if body[n] != BODY[n + 10]] == [10]
    start = part()
    assert edited("flip_byte", GET, start, offset=5) is start
    assert edited("flip_byte", GET, start, offset=100) is start


def test_waits_stand_where_they_were_put() -> None:
    steps = list(edited("stall_after", n=40, seconds=2).steps())
    assert [type(step) for step in steps] == [Head, Data, Wait, Data, End]
    assert isinstance(steps[2], Wait)
    assert (steps[2].seconds, steps[2].gate) == (2, GET.gate)
    steps = list(edited("delay_headers").steps())
    assert isinstance(steps[0], Wait)
    assert steps[0].seconds is None


def test_a_pace_waits_between_slices_and_not_after_the_last() -> None:
    steps = list(edited("drip", size=30, every=1.5).steps())[1:]
    assert [len(s.data) if isinstance(s, Data) else type(s).__name__ for s in steps] == [
        30, "Wait", 30, "Wait", 30, "Wait", 10, "End",
    ]  # fmt: skip
    throttled = edited("throttle", bytes_per_second=200).pace
    assert throttled is not None
    assert (throttled.size, throttled.seconds) == (20, 0.1)


@pytest.mark.parametrize(
    ("name", "end"),
    [("truncate_after", "fin"), ("close_after", "drop"), ("reset_after", "rst")],
)
def test_cuts_promise_the_whole(name, end) -> None:
    head, body, [last] = played(edited(name, n=40))
    assert head is not None
    assert header_of(head.headers, "Content-Length") == "100"
    assert (body, last) == (BODY[:40], End(end, terminated=False))


def test_a_reset_before_headers_has_no_head() -> None:
    assert list(edited("reset_before_headers").steps()) == [End("rst")]


def test_lengths_can_lie() -> None:
    said = edited("wrong_content_length", delta=-5)
    assert header_of(said.final_headers(), "Content-Length") == "95"
    assert said.end == "fin"
    head = edited("wrong_content_length", GET, script(head_only=True), delta=5)
    assert header_of(head.final_headers(), "Content-Length") == "105"
    assert head.end == "keep"
    assert header_of(edited("no_content_length").final_headers(), "Content-Length") is None
    assert header_of(edited("chunked").final_headers(), "Transfer-Encoding") == "chunked"


def test_range_faults_leave_whole_answers_alone() -> None:
    start = script()
    assert edited("range_ignored", GET, start) is start
    assert edited("range_status", GET, start) is start
    assert edited("range_wrong_offset", GET, start, delta=1) is start
    assert edited("partial_no_content_range", GET, start) is start


def test_range_ignored_serves_the_whole_without_a_hint() -> None:
    start = replace(part(), headers=(*part().headers, ("Accept-Ranges", "bytes")))
    said = edited("range_ignored", RANGED, start)
    assert (said.status, said.body) == (200, BODY)
    assert header_of(said.headers, "Content-Range") is None
    assert header_of(said.headers, "Accept-Ranges") is None


def test_range_status_refuses() -> None:
    said = edited("range_status", RANGED, part())
    assert said.status == 416
    assert header_of(said.headers, "Content-Range") == "bytes */100"
    assert edited("range_status", RANGED, part(), code=403).status == 403


@pytest.mark.parametrize(
    ("labelled", "claim", "body"),
    [(True, "bytes 15-99/100", BODY[15:]), (False, "bytes 10-99/100", BODY[15:])],
)
def test_range_wrong_offset_may_say_so(labelled, claim, body) -> None:
    said = edited("range_wrong_offset", RANGED, part(), delta=5, labelled=labelled)
    assert said.status == 206
    assert header_of(said.headers, "Content-Range") == claim
    assert bytes(said.body) == body


def test_swap_keeps_a_part_a_part() -> None:
    said = edited("swap", RANGED, part(), other=b"z" * 200)
    assert (said.status, bytes(said.body)) == (206, b"z" * 90)


def test_a_redirect_places_the_object_or_names_a_url() -> None:
    asked = []

    def place(to, path, moved):
        asked.append((to, path, moved.body))
        return "http://cdn/storage/1"

    setting = Setting(Request("GET", "/x"), place=place)
    said = edited("redirect", setting, to="cdn")
    assert (said.status, said.body) == (307, b"")
    assert header_of(said.headers, "Location") == "http://cdn/storage/1"
    assert asked == [("cdn", None, BODY)]
    away = edited("redirect", setting, to="http://other/x", code=302)
    assert (away.status, header_of(away.headers, "Location")) == (302, "http://other/x")
    refused = edited("status", code=404)
    assert edited("redirect", setting, refused, to="cdn") is refused


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("explode", {}, "unknown fault 'explode': one of status"),
        ("truncate_after", {}, "truncate_after: missing a required argument: 'n'"),
        ("truncate_after", {"m": 1}, "truncate_after: "),
        ("truncate_after", {"n": -1}, "truncate_after is -1"),
        ("status", {"code": 20}, "status code 20"),
        ("throttle", {"bytes_per_second": 0}, "throttle is 0"),
        ("header", {"name": "X", "value": "a\r\nb"}, "single lines"),
        ("header", {"name": "Content-Length", "value": "1"}, "wrong_content_length"),
        ("redirect", {"code": 200}, "redirect code 200"),
        ("error_body", {"form": "pdf"}, "error_body form 'pdf'"),
    ],
)
def test_wrong_arguments_get_one_line(name, arguments, message) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        fault(name, arguments)
    assert "\n" not in str(caught.value)


def test_faults_speak() -> None:
    assert name_of(fault("truncate_after", {"n": 5})) == "truncate_after(5)"
    assert name_of(fault("swap", {"other": b"abc"})) == "swap(3 bytes)"
    assert name_of(fault("chunked", {})) == "chunked()"


def test_arguments_are_the_fields() -> None:
    for kind in FAULTS.values():
        assert all(field.init for field in fields(kind))
