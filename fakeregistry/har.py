"""The journal as an HTTP archive (HAR 1.2), which browsers and proxies show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from .journal import Exchange, Journal


def _milliseconds(start: float | None, stop: float | None) -> float:
    return -1 if start is None or stop is None else round((stop - start) * 1000, 3)


def _pairs(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _entry(journal: Journal, exchange: Exchange) -> dict[str, Any]:
    times = exchange.times
    ended = times.ended if times.ended is not None else journal.now()
    url = exchange.target
    if url.startswith("/"):
        url = f"{exchange.scheme}://{exchange.host}{url}"
    request: dict[str, Any] = {
        "method": exchange.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
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
        "time": _milliseconds(times.opened, ended),
        "request": request,
        "response": {
            "status": exchange.status or 0,
            "statusText": "",
            "httpVersion": "HTTP/1.1",
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
        "timings": {
            "send": 0,
            "wait": max(0.0, _milliseconds(times.opened, times.head)),
            "receive": max(0.0, _milliseconds(times.head, ended)),
        },
        "connection": str(exchange.connection.id),
        "comment": exchange.registry,
        "_kind": exchange.kind,
        "_ended": exchange.ended,
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
