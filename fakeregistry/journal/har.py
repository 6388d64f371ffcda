"""The journal as an HTTP archive (HAR 1.2), which browsers and proxies show.

Where the format has no word for what happened, a field with an underscore says it: `_ended`,
`_rules`, `_kind`, `_secrets`; of HTTP/2 `_stream` and `_code`. An exchange without an answer has
status 0, as browsers write it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from .journal import Exchange, Journal


def _timings(journal: Journal, exchange: Exchange) -> dict[str, float]:
    """Milliseconds until the head and after it; what isn't over lasts until now.

    None of the three may be negative, and together they are the whole time.
    """
    times = exchange.times
    ended = times.ended if times.ended is not None else journal.now()
    head = ended if times.head is None else min(times.head, ended)
    return {
        "send": 0,
        "wait": round((head - times.opened) * 1000, 3),
        "receive": round((ended - head) * 1000, 3),
    }


def _url(exchange: Exchange) -> str:
    """The URL that was asked for, absolute: a target may be `*`, or a host alone."""
    target = exchange.target
    if "://" in target.partition("?")[0]:
        return target
    slash = "" if target.startswith("/") else "/"
    return f"{exchange.scheme}://{exchange.host or exchange.registry}{slash}{target}"


def _pairs(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _entry(journal: Journal, exchange: Exchange) -> dict[str, Any]:
    times = exchange.times
    protocol = "HTTP/2" if exchange.connection.alpn == "h2" else "HTTP/1.1"
    timings = _timings(journal, exchange)
    request: dict[str, Any] = {
        "method": exchange.method,
        "url": _url(exchange),
        "httpVersion": protocol,
        "cookies": [],
        "headers": _pairs(exchange.request_headers),
        "queryString": _pairs(parse_qsl(exchange.query, keep_blank_values=True)),
        "headersSize": -1,
        "bodySize": exchange.request_body_size,
    }
    if exchange.form is not None:
        mime = exchange.header("content-type") or "application/x-www-form-urlencoded"
        request["postData"] = {"mimeType": mime, "text": exchange.form}
    return {
        "startedDateTime": (journal.began + timedelta(seconds=times.opened)).isoformat(),
        "time": round(sum(timings.values()), 3),
        "request": request,
        "response": {
            "status": exchange.status or 0,
            "statusText": "",
            "httpVersion": protocol,
            "cookies": [],
            "headers": _pairs(exchange.response_headers),
            "content": {
                "size": exchange.bytes_sent,
                "mimeType": exchange.response_header("content-type") or "",
            },
            "redirectURL": exchange.response_header("location") or "",
            "headersSize": -1,
            "bodySize": exchange.bytes_sent,
        },
        "cache": {},
        "timings": timings,
        "connection": str(exchange.connection.id),
        "comment": exchange.registry,
        "_kind": exchange.kind,
        "_ended": exchange.ended,
        "_code": exchange.code,
        "_stream": exchange.stream,
        "_rules": exchange.rules,
        "_secrets": [vars(seen) for seen in exchange.secrets],
    }


def to_har(journal: Journal) -> dict[str, Any]:
    """Return the journal as a HAR document; extra fields begin with an underscore."""
    return {
        "log": {
            "version": "1.2",
            "creator": {"name": "fakeregistry", "version": "1"},
            "entries": [_entry(journal, exchange) for exchange in journal.exchanges()],
        }
    }
