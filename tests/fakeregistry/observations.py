"""Each fault as a witness sees it: verb -> a look at what came, beside the honest answer.

A look is true where the fault can be seen, and must be false of the honest answer to the same
request. ``honest`` is None where there is none to compare with (a false digest leads nowhere).
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import zlib
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from h2looks import H2_LOOKS
from hostlooks import HOST_LOOKS
from seen import Seen

if sys.version_info >= (3, 14):  # pragma: no cover
    from compression import zstd
else:
    from backports import zstd

Look = Callable[[Any, Seen, Seen | None], bool]


def _same_body(seen: Seen, honest: Seen | None) -> bool:
    return honest is None or seen.body == honest.body


def _other_body(seen: Seen, honest: Seen | None) -> bool:
    return honest is None or seen.body != honest.body


def _length(honest: Seen | None) -> int:
    """The object's length, by the honest answer."""
    if honest is None:
        return -1
    return int(honest.header("content-length") or len(honest.body))


def _asked_range(seen: Seen) -> tuple[int, int | None] | None:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", seen.asked.get("Range", ""))
    return (int(match[1]), int(match[2]) if match[2] else None) if match else None


def _said_range(seen: Seen) -> tuple[int, int, str] | None:
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(.*)", seen.header("content-range") or "")
    return (int(match[1]), int(match[2]), match[3]) if match else None


# status


def _status(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.status == fault.code


def _too_many(fault: Any, seen: Seen, _: Seen | None) -> bool:
    said = seen.header("retry-after")
    if fault.date and said:
        ahead = parsedate_to_datetime(said) - parsedate_to_datetime(seen.header("date") or "")
        return seen.status == 429 and abs(ahead.total_seconds() - fault.retry_after) <= 1
    wanted = None if fault.retry_after is None else str(fault.retry_after)
    return seen.status == 429 and said == (wanted and wanted.encode().decode("latin-1"))


def _not_modified(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.status == 304 and seen.payload == b""


def _informational(fault: Any, seen: Seen, _: Seen | None) -> bool:
    codes = [int(head.split(b" ")[1]) for head in seen.interim]
    return codes == [fault.code] * fault.times


def _http_version(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.head.startswith(b"HTTP/" + fault.version.encode())


def _reason(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.head.split(b"\r\n")[0].decode().split(" ", 2)[2:] in ([fault.text], [])


# headers


def _header(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.values(fault.name) == [fault.value]


def _add_header(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    before = 0 if honest is None else len(honest.values(fault.name))
    values = seen.values(fault.name)
    return fault.value in values and (honest is None or len(values) == before + 1)


def _drop_header(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return bool(seen.head) and not seen.values(fault.name)


def _rename_header(fault: Any, seen: Seen, _: Seen | None) -> bool:
    names = [name for name, _ in seen.headers]
    return fault.to in names and fault.name not in names


def _raw_header(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return fault.text.encode("latin-1").strip(b"\r\n") in seen.head


def _digest_header(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    value = seen.header("docker-content-digest")
    if fault.value is None:
        return value is None
    if fault.value != "wrong":
        return value == fault.value
    other = None if honest is None else honest.header("docker-content-digest")
    return re.fullmatch(r"sha256:[0-9a-f]{64}", value or "") is not None and value != other


def _content_type(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.header("content-type") == fault.value


def _content_type_alternate(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.header("content-type") in fault.values


def _etag(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.header("etag") == fault.value


def _etag_changes(_: Any, seen: Seen, honest: Seen | None) -> bool:
    return honest is not None and seen.header("etag") not in (None, honest.header("etag"))


# bodies


def _body(fault: Any, seen: Seen, _: Seen | None) -> bool:
    data = fault.data.encode() if isinstance(fault.data, str) else bytes(fault.data)
    if seen.method == "HEAD":
        return seen.header("content-length") == str(len(data))
    return seen.body == data


def _html_page(fault: Any, seen: Seen, _: Seen | None) -> bool:
    page = seen.method == "HEAD" or b"<html" in seen.body
    return seen.status == 200 and (seen.header("content-type") or "")[:9] == "text/html" and page


def _empty_body(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.payload == b"" and seen.header("content-length") == str(fault.promised)


def _error_body(fault: Any, seen: Seen, _: Seen | None) -> bool:
    kind, body = seen.header("content-type") or "", seen.body
    if seen.status < 400:
        return False
    if seen.method == "HEAD":
        return True
    forms: dict[str, Callable[[], bool]] = {
        "html": lambda: kind == "text/html" and b"<html" in body,
        "xml": lambda: kind == "application/xml" and b"<Error>" in body,
        "text": lambda: kind == "text/plain" and b"{" not in body,
        "empty": lambda: body == b"",
        "huge": lambda: len(body) > 1 << 20,
        "not_json": lambda: not _json(body),
        "unknown_code": lambda: b"ERROR_OF_ANOTHER_AGE" in body,
        "errors_null": lambda: _json(body) == {"errors": None},
        "detail_object": lambda: isinstance(_json(body)["errors"][0]["detail"], dict),
        "oci": lambda: _json(body)["errors"][0]["code"] == fault.code,
    }
    return forms[fault.form]()


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _swap(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.status in (200, 206) and _other_body(seen, honest)


def _other_from_offset(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    if honest is None or len(seen.body) != len(honest.body) or seen.body == honest.body:
        return False
    said = _said_range(seen)
    own = max(0, (fault.n or 0) - (said[0] if said else 0))
    return seen.body[:own] == honest.body[:own]


def _flip_byte(_: Any, seen: Seen, honest: Seen | None) -> bool:
    if honest is None:
        return True
    pairs = zip(seen.body, honest.body, strict=False)
    return len(seen.body) == len(honest.body) and sum(a != b for a, b in pairs) == 1


def _zero_fill(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    said = _said_range(seen)
    own = max(0, fault.n - (said[0] if said else 0))
    tail = seen.body[own:]
    return tail.strip(b"\0") == b"" and len(tail) > 0 and _other_body(seen, honest)


def _append(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return honest is not None and len(seen.body) == len(honest.body) + fault.n


def _infinite_body(_: Any, seen: Seen, honest: Seen | None) -> bool:
    more = honest is None or len(seen.body) > len(honest.body)
    return more and (seen.chunked or seen.end == "endless")


# lengths and framing


def _wrong_length(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.header("content-length") == str(_length(honest) + fault.delta)


def _head_length(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.method == "HEAD" and _wrong_length(fault, seen, honest)


def _length_text(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.values("content-length") == [fault.value.strip()]


def _two_lengths(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    said = seen.values("content-length")
    both = said[0].split(", ") if fault.joined and said else said
    return len(both) == 2 and int(both[1]) - int(both[0]) == fault.delta


def _no_length(_: Any, seen: Seen, __: Seen | None) -> bool:
    return bool(seen.head) and not seen.values("content-length") and not seen.chunked


def _chunked(_: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.chunked and not seen.values("content-length")


def _chunked_with_length(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.chunked and bool(seen.values("content-length"))


def _chunk_extension(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.chunked and fault.text.encode() in seen.payload.partition(b"\r\n")[0]


def _broken_chunk(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.chunked and seen.payload.endswith(fault.text.encode() + b"\r\n")


def _trailer(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return f"{fault.name}: {fault.value}".encode() in seen.trailers


# codings


def _decoded(coding: str, body: bytes) -> bytes:
    if coding in ("gzip", "x-gzip"):
        return gzip.decompress(body)
    if coding == "deflate":
        return zlib.decompress(body)
    return zstd.decompress(body) if coding == "zstd" else body


def _content_encode(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    if seen.header("content-encoding") != fault.coding:
        return False
    if fault.coding == "br" or seen.method == "HEAD" or honest is None:
        return _other_body(seen, honest)
    try:
        return _decoded(fault.coding, seen.body) == honest.body
    except EOFError:  # another rule has cut it
        return False


def _content_encoding_label(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.header("content-encoding") == fault.value and _same_body(seen, honest)


# ranges


def _range_ignored(_: Any, seen: Seen, honest: Seen | None) -> bool:
    whole = honest is None or len(seen.body) >= len(honest.body)
    return (
        "Range" in seen.asked and seen.status == 200 and whole and not seen.values("Content-Range")
    )


def _range_status(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return "Range" in seen.asked and seen.status == fault.code


def _range_416(_: Any, seen: Seen, __: Seen | None) -> bool:
    return "Range" in seen.asked and seen.status == 416


def _range_wrong_offset(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    asked, said = _asked_range(seen), _said_range(seen)
    if asked is None or said is None or seen.status != 206:
        return False
    if fault.labelled:
        return said[0] == asked[0] + fault.delta
    return said[0] == asked[0] and _other_body(seen, honest)


def _range_short(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.status == 206 and len(seen.body) == len(honest.body if honest else b"") - fault.n


def _range_overlong(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return seen.status == 206 and len(seen.body) == len(honest.body if honest else b"") + fault.n


def _partial_body(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.status == 200 and _said_range(seen) is not None


def _no_content_range(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.status == 206 and not seen.values("content-range")


def _content_range_total(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    said = _said_range(seen)
    true = _said_range(honest) if honest is not None else None
    wanted = said is not None and fault.total in ("wrong", said[2])
    return wanted and (true is None or (said or true)[2] != true[2])


def _unasked_partial(_: Any, seen: Seen, __: Seen | None) -> bool:
    return "Range" not in seen.asked and seen.status == 206


def _accept_ranges(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.header("accept-ranges") == fault.value


def _if_range_ignored(_: Any, seen: Seen, __: Seen | None) -> bool:
    return "If-Range" in seen.asked and seen.status == 206


def _multirange(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    form = str(fault.form)
    if "," not in seen.asked.get("Range", ""):
        return False
    if form in ("400", "416"):
        return seen.status == int(form)
    if form == "200":
        return seen.status == 200 and not seen.values("accept-ranges")
    kind = seen.header("content-type") or ""
    return seen.status == 206 and kind.startswith("multipart/") == (form == "multipart")


# order, rate and age


def _statuses(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.status in fault.codes and seen.status != 200


def _wait_for(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "held"


def _release(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return fault.rule in seen.released


def _advance_clock(fault: Any, seen: Seen, _: Seen | None) -> bool:
    return seen.aged > fault.seconds * 0.99 - 1e-3


def _rate(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.headers:
        return seen.header("ratelimit-limit") is not None
    return seen.status == fault.status


# time, and how the connection ends


def _delay_headers(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "held" and seen.raw == b""


def _delay_first_byte(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "held" and bool(seen.head) and seen.payload == b""


def _stall_after(fault: Any, seen: Seen, _: Seen | None) -> bool:
    # A TLS record that is cut in the middle hides the bytes that it has.
    came = len(seen.body) <= fault.n if fault.inside_record else len(seen.body) == fault.n
    if fault.seconds is not None and seen.end in ("rst", "fin"):
        return came and seen.took >= fault.seconds * 0.9
    return seen.end == "held" and bool(seen.head) and came


def _hold_open(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "complete" and seen.again is not None and seen.again.end == "held"


def _slow(_: Any, seen: Seen, honest: Seen | None) -> bool:
    some = honest is None or len(seen.body) < _length(honest)
    return seen.end == "held" and bool(seen.head) and some


def _drip(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    return _slow(fault, seen, honest) and len(seen.body) % fault.size == 0


def _promised(seen: Seen) -> int:
    return int(seen.header("content-length") or -1)


def _truncate_after(fault: Any, seen: Seen, honest: Seen | None) -> bool:
    if fault.terminated or seen.chunked:
        short = honest is None or len(seen.body) < len(honest.body)
        ended = seen.end == ("complete" if fault.terminated else "fin")
        return seen.chunked and ended and short and len(seen.body) == fault.n
    return seen.end == "fin" and len(seen.body) == fault.n < _promised(seen)


def _close_after(fault: Any, seen: Seen, _: Seen | None) -> bool:
    end = "fin without goodbye" if seen.tls else "fin"
    return seen.end == end and len(seen.body) == fault.n


def _reset_after(fault: Any, seen: Seen, _: Seen | None) -> bool:
    # What was on its way when the RST came may be lost.
    return seen.end == "rst" and len(seen.body) <= fault.n


def _half_close_after(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if seen.end == "complete":
        return seen.again is not None and seen.again.end.startswith("fin")
    return seen.end.startswith("fin") and len(seen.body) == fault.n


def _close_each(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if seen.again is None or not seen.again.end.startswith(("fin", "rst")) or seen.again.raw:
        return False
    return (seen.header("connection") == "close") == fault.announced


def _kill_idle(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.how == "silent":
        return seen.idle == "silent"
    return seen.idle == fault.how


def _reset_before(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "rst" and seen.raw == b""


# connections


def _reset_on_accept(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "rst" and seen.raw == b""


def _close_on_accept(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.raw == b"" and seen.end.startswith(("fin", "rst", "tls: UNEXPECTED_EOF"))


def _silence(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "held" and seen.raw == b""


def _tls_stall(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end == "held" and seen.tls is None and seen.raw == b""


def _tls_alert(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.description in ("close_notify", "user_canceled"):
        return seen.raw == b"" and seen.end != "complete"
    # OpenSSL's words for alerts are those of TLS 1.2, and say `access denied` as the RFC does.
    words = fault.description.upper()
    return seen.end.startswith("tls: ") and words in seen.end


def _refuse_tls(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.how == "reset":
        return seen.end == "rst" and seen.raw == b""
    return seen.raw == b"" and seen.end.startswith(("fin", "tls: UNEXPECTED_EOF", "tls: EOF"))


def _http_on_tls(_: Any, seen: Seen, __: Seen | None) -> bool:
    # A client that speaks TLS finds no TLS there.
    return re.match(r"tls: (WRONG_VERSION|RECORD_LAYER|PACKET_LENGTH|HTTP)", seen.end) is not None


def _https_on_http(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.raw[:1] == b"\x15" or seen.raw == b""


def _old_tls(_: Any, seen: Seen, __: Seen | None) -> bool:
    return seen.end.startswith("tls: ") or seen.tls in ("TLSv1", "TLSv1.1")


def _alpn(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if not fault.protocols:
        return seen.alpn is None and seen.end == "complete"
    return seen.alpn in fault.protocols or "NO_APPLICATION_PROTOCOL" in seen.end


def _max_requests(fault: Any, seen: Seen, _: Seen | None) -> bool:
    again = seen.again
    return again is not None and again.raw == b"" and again.end.startswith(("fin", "rst"))


def _blackhole(fault: Any, seen: Seen, _: Seen | None) -> bool:
    if fault.n == 0:
        return seen.end == "held" and seen.raw == b""
    return seen.again is not None and seen.again.end == "held"


LOOKS: Mapping[str, Look] = {
    "status": _status,
    "too_many_requests": _too_many,
    "not_modified": _not_modified,
    "informational": _informational,
    "http_version": _http_version,
    "reason": _reason,
    "header": _header,
    "add_header": _add_header,
    "drop_header": _drop_header,
    "rename_header": _rename_header,
    "raw_header": _raw_header,
    "digest_header": _digest_header,
    "content_type": _content_type,
    "content_type_alternate": _content_type_alternate,
    "etag": _etag,
    "etag_changes": _etag_changes,
    "body": _body,
    "html_page": _html_page,
    "empty_body": _empty_body,
    "error_body": _error_body,
    "swap": _swap,
    "other_content_from_offset": _other_from_offset,
    "flip_byte": _flip_byte,
    "zero_fill": _zero_fill,
    "append": _append,
    "infinite_body": _infinite_body,
    "wrong_content_length": _wrong_length,
    "head_content_length": _head_length,
    "content_length_text": _length_text,
    "two_content_lengths": _two_lengths,
    "no_content_length": _no_length,
    "chunked": _chunked,
    "chunked_with_content_length": _chunked_with_length,
    "chunk_extension": _chunk_extension,
    "broken_chunk_size": _broken_chunk,
    "trailer": _trailer,
    "content_encode": _content_encode,
    "content_encoding_label": _content_encoding_label,
    "range_ignored": _range_ignored,
    "range_status": _range_status,
    "range_416_at_end": _range_416,
    "range_wrong_offset": _range_wrong_offset,
    "range_short": _range_short,
    "range_overlong": _range_overlong,
    "partial_body": _partial_body,
    "partial_no_content_range": _no_content_range,
    "content_range_total": _content_range_total,
    "unasked_partial": _unasked_partial,
    "accept_ranges": _accept_ranges,
    "if_range_ignored": _if_range_ignored,
    "multirange": _multirange,
    "statuses": _statuses,
    "wait_for": _wait_for,
    "release": _release,
    "advance_clock": _advance_clock,
    "rate": _rate,
    **H2_LOOKS,
    **HOST_LOOKS,
    "delay_headers": _delay_headers,
    "delay_first_byte": _delay_first_byte,
    "stall_after": _stall_after,
    "hold_open": _hold_open,
    "throttle": _slow,
    "drip": _drip,
    "truncate_after": _truncate_after,
    "close_after": _close_after,
    "reset_after": _reset_after,
    "half_close_after": _half_close_after,
    "close_each_response": _close_each,
    "kill_idle_connections": _kill_idle,
    "reset_before_headers": _reset_before,
    "reset_on_accept": _reset_on_accept,
    "close_on_accept": _close_on_accept,
    "accept_silence": _silence,
    "tls_stall": _tls_stall,
    "tls_alert": _tls_alert,
    "refuse_tls": _refuse_tls,
    "http_on_tls_port": _http_on_tls,
    "https_on_http_port": _https_on_http,
    "old_tls_version": _old_tls,
    "alpn": _alpn,
    "max_requests_per_connection": _max_requests,
    "blackhole_established": _blackhole,
}
