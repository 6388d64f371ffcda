"""Every shipped scenario, proven on the wire: each rule fires, and a witness sees each fault.

The witness is a raw client (`walker`) that pulls as ``[pull]`` says, and a table of looks
(`observations`): a fault without a look fails here, so that the library can't say more than is
proven. Against the honest world the same look must see nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from h2looks import H2_SAMPLES
from hostlooks import HOST_SAMPLES
from observations import LOOKS
from seen import Seen
from walker import Walk, verbs_of

from fakeregistry.faults import FAULTS
from fakeregistry.scenario import RulePart, Scenario, Source, load, read, shipped

HONEST_TOO = frozenset({"accept_ranges", "alpn"})
"""What an honest registry may say as well: the look sees that it is said."""


def proof(scenario: Scenario, folder: Path) -> list[str]:
    """What isn't proven of a scenario, a line each."""
    walk = Walk(scenario, folder)
    try:
        walk.pull()
        unmet = [
            f"{words(part)}: required, and a pull never came across it"
            for part, rule in walk.built.rules
            if not part.bait and not rule.fired
        ]
        walk.bend()
        unmet += [
            f"{words(part)}: bait that can't be taken"
            for part, rule in walk.built.rules
            if part.bait and not rule.fired
        ]
        return unmet + _unheard(scenario, walk) + _unseen(scenario, walk, folder)
    finally:
        walk.close()


def _unheard(scenario: Scenario, walk: Walk) -> list[str]:
    """Lies of whole registries that don't show: a false certificate, a host that isn't there."""
    lines = []
    for part in scenario.registries:
        ends = {"refuse": "refused", "blackhole": "silent"}.get(part.listening, "")
        if part.tls not in (None, "valid") and not ends:
            ends = "tls: "
        if ends:
            walk.built.rules, rules = [], walk.built.rules
            seen = walk.ask(part.name, "/v2/")
            walk.built.rules = rules
            if not seen.end.startswith(ends):
                lines.append(f"{part.name}: {ends} wasn't seen, it was {seen.end}")
    return lines


def _objects(walk: Walk) -> dict[str, bytes]:
    return {
        each.digest: bytes(each.data)
        for image in walk.built.images.values()
        for each in image.spec.objects()
    }


def _unseen(scenario: Scenario, walk: Walk, folder: Path) -> list[str]:
    twin = Walk(scenario, folder, honest=True)
    try:
        twin.pull()
        lines = []
        if "content" in walk.told and _objects(walk) == _objects(twin):
            lines.append("the content is said to be a lie, and is what the honest world has")
        for part, rule in walk.built.rules:
            if not rule.fired:
                continue
            met = [seen for seen in walk.seen if part in seen.fired]
            for verb, fault in zip(verbs_of(part), part.faults, strict=True):
                lines += _looked(part, verb, fault, met, twin)
        return lines
    finally:
        twin.close()


def _looked(part: RulePart, verb: str, fault: Any, met: list[Seen], twin: Walk) -> list[str]:
    if verb not in LOOKS:
        return [f"{words(part)}: nobody has said how {verb} is seen"]
    look = LOOKS[verb]
    for seen in met:
        honest = as_honest(seen, twin)
        if not look(fault, seen, honest):
            continue
        compared = part.lie and honest is not None and verb not in HONEST_TOO
        if compared and honest is not None and look(fault, honest, honest):
            return [f"{words(part)}: {verb} can be seen in the honest world too"]
        return []
    shown = "; ".join(
        f"{one.method} {one.path[-30:]} {one.status} {len(one.body)} {one.end}" for one in met[:3]
    )
    return [f"{words(part)}: {verb} wasn't seen in: {shown}"]


def as_honest(seen: Seen, twin: Walk) -> Seen | None:
    """The same request in the honest world; None where there is nothing under that name."""
    # The body isn't kept: whoever promised one is refused for its lack.
    unfit = ("Host", "Content-Length")
    headers = {name: value for name, value in seen.asked.items() if name not in unfit}
    known = next((one.asked.get("Authorization") for one in reversed(twin.seen)), None)
    if "Authorization" in headers and known:
        headers["Authorization"] = known
    headers.pop("Proxy-Authorization", None)
    twin.via = seen.via and replace(seen.via, proxy_auth="right")
    found = twin.ask(seen.registry, seen.path, method=seen.method, headers=headers, trust="skip")
    return None if found.status in (401, 404) != seen.status else found


def words(part: RulePart) -> str:
    return f"line {part.line} ({part.target.on}: {', '.join(verbs_of(part)) or 'observe'})"


@pytest.mark.parametrize("name", sorted(shipped()))
def test_what_a_shipped_scenario_says_is_seen(name: str, tmp_path: Path) -> None:
    assert proof(load(shipped()[name]), tmp_path) == []


SAMPLES: dict[str, str] = {
    "status": "status = 503",
    "too_many_requests": "too_many_requests = 7",
    "not_modified": "not_modified = true",
    "informational": "informational = { code = 103, times = 2 }",
    "http_version": 'http_version = "1.0"',
    "reason": 'reason = "As You Like It"',
    "header": 'header = { name = "X-Odd", value = "1" }',
    "add_header": 'add_header = { name = "Docker-Content-Digest", value = "sha256:0" }',
    "drop_header": 'drop_header = "Content-Type"',
    "rename_header": 'rename_header = { name = "Content-Type", to = "content-TYPE" }',
    "raw_header": 'raw_header = "no colon at all"',
    "digest_header": 'digest_header = "wrong"',
    "content_type": 'content_type = "text/plain"',
    "content_type_alternate": 'content_type_alternate = ["a/b", "c/d"]',
    "etag": "etag = '\"odd\"'",
    "etag_changes": "etag_changes = true",
    "body": 'body = "hello"',
    "html_page": "html_page = true",
    "empty_body": "empty_body = 100",
    "error_body": 'status = 500\nerror_body = { form = "html" }',
    "swap": 'swap = "other"',
    "other_content_from_offset": 'other_content_from_offset = { other = "other", n = 9 }',
    "flip_byte": "flip_byte = 5",
    "zero_fill": "zero_fill = 9",
    "append": "append = 10",
    "infinite_body": 'infinite_body = "20MiB"',
    "wrong_content_length": "wrong_content_length = 5",
    "head_content_length": 'method = "HEAD"\nhead_content_length = 5',
    "content_length_text": 'content_length_text = "abc"',
    "two_content_lengths": "two_content_lengths = 3",
    "no_content_length": "no_content_length = true",
    "chunked": "chunked = true",
    "chunked_with_content_length": "chunked_with_content_length = 2",
    "chunk_extension": "chunk_extension = true",
    "broken_chunk_size": "broken_chunk_size = 9",
    "trailer": 'trailer = { name = "X-After", value = "1" }',
    "content_encode": 'content_encode = { coding = "zstd", always = true }',
    "content_encoding_label": 'content_encoding_label = "gzip"',
    "range_ignored": "range = true\nrange_ignored = true",
    "range_status": "range = true\nrange_status = 416",
    "range_416_at_end": "range = true\nrange_416_at_end = 9999999",
    "range_wrong_offset": "range = true\nrange_wrong_offset = 3",
    "range_short": "range = true\nrange_short = 3",
    "range_overlong": "range = true\nrange_overlong = 3",
    "partial_body": "range = true\npartial_body = true",
    "partial_no_content_range": "range = true\npartial_no_content_range = true",
    "content_range_total": "range = true\ncontent_range_total = true",
    "unasked_partial": "unasked_partial = 10",
    "accept_ranges": 'accept_ranges = "none"',
    "if_range_ignored": "range = true\nif_range_ignored = true",
    "multirange": 'range = true\nmultirange = "multipart"',
    "statuses": "statuses = [500, 200, 503]",
    "wait_for": 'wait_for = "other"',
    "release": 'release = "other"',
    "advance_clock": 'advance_clock = "10m"',
    "rate": 'rate = { requests = 2, window = "1m" }',
    "redirect": 'redirect = { to = "cdn" }',
    "delay_headers": 'delay_headers = "forever"',
    "delay_first_byte": "delay_first_byte = 3",
    "stall_after": "stall_after = 100",
    "hold_open": "hold_open = true",
    "throttle": "throttle = 100",
    "drip": 'drip = { size = 7, every = "20s" }',
    "truncate_after": "truncate_after = 100",
    "close_after": "close_after = 100",
    "reset_after": "reset_after = 100",
    "half_close_after": "half_close_after = 100",
    "close_each_response": "close_each_response = true",
    "kill_idle_connections": "kill_idle_connections = true",
    "reset_before_headers": "reset_before_headers = true",
    "reset_on_accept": "reset_on_accept = true",
    "close_on_accept": "close_on_accept = true",
    "accept_silence": "accept_silence = true",
    "tls_stall": "tls_stall = true",
    "tls_alert": 'tls_alert = "access_denied"',
    "refuse_tls": 'refuse_tls = "reset"',
    "http_on_tls_port": "http_on_tls_port = true",
    "https_on_http_port": "https_on_http_port = true",
    "old_tls_version": "old_tls_version = true",
    "alpn": 'alpn = ["http/1.1"]',
    "max_requests_per_connection": "max_requests_per_connection = 1",
    "blackhole_established": "blackhole_established = 1",
}
"""A rule's keys for each fault; by default on a layer's GET, bait, over http and https."""


OTHERS = {
    "wait_for": '[[rule]]\nname = "other"\non = "upload"\nbait = true\nobserve = true\n',
    "release": '[[rule]]\nname = "other"\non = "manifest"\nmethod = "HEAD"\ndelay_headers = true\n',
}
"""The other rule, for faults that need one."""


def sample(verb: str, *, tls: bool) -> Scenario:
    if verb in HOST_SAMPLES:
        text = HOST_SAMPLES[verb].replace("$TLS", str(tls).lower())
        return read(Source.of_text(f"{verb}.toml", text))
    connection = verb in CONNECTION
    target = 'on = "connection"' if connection else 'on = "blob"\nlayer = 0'
    keys = H2_SAMPLES.get(verb) or SAMPLES[verb]
    http2 = "http2 = true\n" if verb in H2_SAMPLES else ""
    method = "" if connection or "method" in keys else 'method = "GET"\n'
    text = (
        f"[[registry]]\ntls = {str(tls).lower()}\n{http2}[[registry]]\nname = 'cdn'\n[[image]]\n"
        f"[[rule]]\nbait = true\n{target}\n{method}{keys}\n{OTHERS.get(verb, '')}"
    )
    return read(Source.of_text(f"{verb}.toml", text))


CONNECTION = frozenset(
    {
        "reset_on_accept",
        "close_on_accept",
        "accept_silence",
        "tls_stall",
        "tls_alert",
        "refuse_tls",
        "http_on_tls_port",
        "https_on_http_port",
        "old_tls_version",
        "alpn",
        "max_requests_per_connection",
        "blackhole_established",
        "max_concurrent_streams",
        "zero_request_window",
    }
)
TLS_ONLY = frozenset(
    {
        *("tls_stall", "tls_alert", "refuse_tls", "http_on_tls_port", "old_tls_version", "alpn"),
        *H2_SAMPLES,
    }
)
PLAIN_ONLY = frozenset({"https_on_http_port"})


def test_every_fault_has_a_look_and_a_sample() -> None:
    assert set(LOOKS) == {*SAMPLES, *H2_SAMPLES, *HOST_SAMPLES} == set(FAULTS)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("verb", sorted({*SAMPLES, *H2_SAMPLES, *HOST_SAMPLES}))
def test_each_fault_is_seen_by_its_look(verb: str, tls: bool, tmp_path: Path) -> None:
    if verb in (PLAIN_ONLY if tls else TLS_ONLY):
        pytest.skip("bites on the other kind of port alone")

    assert proof(sample(verb, tls=tls), tmp_path) == []


def test_a_witness_is_not_easily_convinced(tmp_path: Path) -> None:
    text = '[[image]]\n[[rule]]\non = "blob"\nlayer = 0\nflip_byte = 5\n'
    scenario = read(Source.of_text("s.toml", text))
    walk, twin = Walk(scenario, tmp_path), Walk(scenario, tmp_path, honest=True)
    try:
        walk.pull()
        twin.pull()
        (fault,) = scenario.rules[0].faults
        met = [seen for seen in walk.seen if seen.fired]
        honest = [seen for seen in twin.seen if "/blobs/" in seen.path]

        assert LOOKS["flip_byte"](fault, met[0], as_honest(met[0], twin))
        assert not any(LOOKS["flip_byte"](fault, seen, as_honest(seen, twin)) for seen in honest)
    finally:
        walk.close()
        twin.close()


def test_a_required_rule_that_nobody_meets_is_told(tmp_path: Path) -> None:
    text = '[[image]]\n[[rule]]\non = "upload"\nstatus = 500\n'

    (line,) = proof(read(Source.of_text("s.toml", text)), tmp_path)

    assert line == "line 2 (upload: status): required, and a pull never came across it"


@pytest.mark.parametrize(
    "tls",
    ["expired", "not_yet_valid", "wrong_host", "unknown_ca", "self_signed"],
)
def test_a_false_certificate_shows(tls: str, tmp_path: Path) -> None:
    text = f"[[registry]]\ntls = '{tls}'\n[[image]]\n"

    assert proof(read(Source.of_text("s.toml", text)), tmp_path) == []


@pytest.mark.parametrize("listening", ["refuse", "blackhole"])
def test_a_host_that_is_not_there_shows(listening: str, tmp_path: Path) -> None:
    text = f"[[registry]]\n[[registry]]\nname = 'm'\nlistening = '{listening}'\n[[image]]\n"

    assert proof(read(Source.of_text("s.toml", text)), tmp_path) == []


def test_a_lie_in_the_content_shows(tmp_path: Path) -> None:
    text = "[[image]]\n[[image.layer]]\nlie = { size = 5 }\n"

    assert proof(read(Source.of_text("s.toml", text)), tmp_path) == []


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("status", [407, 502])
def test_what_a_proxy_says_shows(status: int, tls: bool, tmp_path: Path) -> None:
    text = (
        f"[[registry]]\ntls = {str(tls).lower()}\n[[proxy]]\nauth = 'basic'\n[[image]]\n"
        f"[[rule]]\nregistry = 'proxy'\non = 'proxy'\nnth = 2\nstatus = {status}\n"
        "[pull]\nproxy = 'proxy'\n[expect]\noutcome = 'pulled'\n"
    )

    assert proof(read(Source.of_text("s.toml", text)), tmp_path) == []
