"""Faults of HTTP/2 as a witness sees them: verb -> a look at what came."""

from __future__ import annotations

from typing import Any

from seen import Seen


def _rst_stream(fault: Any, seen: Seen, _: Seen | None) -> bool:
    cut = seen.end == f"rst_stream {fault.code}"
    return cut and (seen.head == b"" if fault.after is None else len(seen.body) == fault.after)


def _refused_stream(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "rst_stream REFUSED_STREAM" and seen.head == b""


def _http_1_1_required(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.how == "rst_stream":
        return seen.end == "rst_stream HTTP_1_1_REQUIRED"
    return seen.goaway is not None and seen.goaway[0] == "HTTP_1_1_REQUIRED"


def _goaway(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if seen.goaway is None or seen.goaway[0] != fault.code:
        return False
    if (seen.goaway[1] == 0) != (fault.last_id == "none"):
        return False
    return (seen.end != "complete") == (fault.then == "close")


def _zero_window(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.end == "held" and bool(seen.head) and len(seen.body) == fault.n


def _max_concurrent_streams(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.settings.get("max_concurrent_streams") == fault.n


def _zero_request_window(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.settings.get("initial_window_size") == 0


H2_LOOKS = {
    "rst_stream": _rst_stream,
    "refused_stream": _refused_stream,
    "http_1_1_required": _http_1_1_required,
    "goaway": _goaway,
    "zero_window": _zero_window,
    "max_concurrent_streams": _max_concurrent_streams,
    "zero_request_window": _zero_request_window,
}
H2_SAMPLES = {
    "rst_stream": 'rst_stream = { code = "CANCEL", after = 100 }',
    "refused_stream": "refused_stream = true",
    "http_1_1_required": "http_1_1_required = true",
    "goaway": 'goaway = { code = "ENHANCE_YOUR_CALM", after = 100 }',
    "zero_window": "zero_window = 100",
    "max_concurrent_streams": "max_concurrent_streams = 3",
    "zero_request_window": "zero_request_window = true",
}
"""A rule's keys for each, for a registry that speaks HTTP/2."""
