"""A journal, read back for drawing: NDJSON as the registry writes it, or an HTTP archive (HAR).

What is read is what is drawn, and no more: no header, no query and no body, so that no secret can
come along, whoever wrote the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Bar", "BarsError", "bars_of", "clean"]

_MOST_TEXT = 400


class BarsError(ValueError):
    """A text that is no journal. One line that says where, and what was expected."""


@dataclass(frozen=True)
class Bar:
    """One exchange. Times in seconds from the first one; None: that never came.

    ``ended`` is how it ended: complete, fin, rst, client_gone, stopped, open. ``rules`` are the
    rules that edited the answer, in words.
    """

    registry: str
    connection: str
    at: float
    head: float | None = None
    first_byte: float | None = None
    last_byte: float | None = None
    end: float | None = None
    method: str = ""
    target: str = ""
    kind: str = ""
    status: int | None = None
    size: int = 0
    ended: str = "complete"
    rules: tuple[str, ...] = ()


def bars_of(text: str) -> list[Bar]:
    """The exchanges of a journal, in order. Raises `BarsError`."""
    begun = text.lstrip("\ufeff \t\r\n")
    if begun.startswith("{") and _is_archive(begun):
        bars = _of_archive(json.loads(begun))
    else:
        bars = [_of_line(line, number) for number, line in _lines(text)]
    start = min((bar.at for bar in bars), default=0.0)
    return sorted((_from(start, bar) for bar in bars), key=lambda bar: bar.at)


def _from(start: float, bar: Bar) -> Bar:
    def moved(time: float | None) -> float | None:
        return None if time is None else time - start

    return replace(
        bar,
        at=bar.at - start,
        head=moved(bar.head),
        first_byte=moved(bar.first_byte),
        last_byte=moved(bar.last_byte),
        end=moved(bar.end),
    )


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _is_archive(text: str) -> bool:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and isinstance(document.get("log"), dict)


def _of_line(line: str, number: int) -> Bar:
    where = f"line {number}"
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise BarsError(f"{where}: no JSON: a line of a journal, or a HAR file is meant") from None
    if not isinstance(document, dict) or not isinstance(document.get("times"), dict):
        raise BarsError(f"{where}: no exchange of a journal: it has no 'times'")
    times = document["times"]
    at = _seconds(times.get("opened"), f"{where}: times.opened")
    if at is None:
        raise BarsError(f"{where}: times.opened is missing")
    rules = document.get("rules")
    return Bar(
        registry=clean(document.get("registry")) or "?",
        connection=clean(document.get("connection")),
        at=at,
        head=_seconds(times.get("head"), f"{where}: times.head"),
        first_byte=_seconds(times.get("first_byte"), f"{where}: times.first_byte"),
        last_byte=_seconds(times.get("last_byte"), f"{where}: times.last_byte"),
        end=_seconds(times.get("ended"), f"{where}: times.ended"),
        method=clean(document.get("method")),
        target=_path(clean(document.get("target"))),
        kind=clean(document.get("kind")),
        status=_count(document.get("status")),
        size=_count(document.get("bytes_sent")) or 0,
        ended=clean(document.get("ended")) or "complete",
        rules=tuple(map(clean, rules)) if isinstance(rules, list) else (),
    )


def _of_archive(document: dict[str, Any]) -> list[Bar]:
    entries = document["log"].get("entries")
    if not isinstance(entries, list):
        raise BarsError("the archive has no log.entries")
    return [_of_entry(entry, number) for number, entry in enumerate(entries)]


def _of_entry(entry: Any, number: int) -> Bar:
    where = f"entry {number}"
    if not isinstance(entry, dict):
        raise BarsError(f"{where}: an object is meant")
    at = _moment(entry.get("startedDateTime"), where)
    request, response, timings = (_part(entry, name) for name in _PARTS)
    spent = {name: _spent(timings.get(name)) for name in (*_BEFORE, "receive")}
    head = at + sum(spent[name] for name in _BEFORE)
    whole = _spent(entry.get("time")) or head - at + spent["receive"]
    status = _count(response.get("status")) or None
    address = urlsplit(clean(request.get("url")))
    size = max(0, _count(response.get("bodySize")) or 0)
    rules = entry.get("_rules")
    return Bar(
        registry=clean(entry.get("comment")) or address.hostname or "?",
        connection=clean(entry.get("connection")),
        at=at,
        head=head if status else None,
        first_byte=head if status and size else None,
        last_byte=head + spent["receive"] if status and size else None,
        end=at + whole,
        method=clean(request.get("method")),
        target=address.path,
        kind=clean(entry.get("_kind")),
        status=status,
        size=size,
        ended=clean(entry.get("_ended")) or "complete",
        rules=tuple(map(clean, rules)) if isinstance(rules, list) else (),
    )


_PARTS = ("request", "response", "timings")
_BEFORE = ("blocked", "dns", "connect", "send", "wait")


def _part(entry: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = entry.get(name)
    return found if isinstance(found, dict) else {}


def _spent(value: Any) -> float:
    """Milliseconds of a HAR as seconds; -1 and nonsense are nothing."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return value / 1000 if number and 0 <= value < 1e12 else 0.0


def _moment(value: Any, where: str) -> float:
    try:
        return datetime.fromisoformat(clean(value)).timestamp()
    except (ValueError, OverflowError):
        raise BarsError(f"{where}: startedDateTime is no time") from None


def _seconds(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise BarsError(f"{where}: a number of seconds is meant")
    return float(value)


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and abs(value) < 1e18 else None


_CONTROLS = re.compile(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(value: Any) -> str:
    """A text that XML can hold, and of a length that a page can."""
    if value is None:
        return ""
    return _CONTROLS.sub("\ufffd", str(value)[:_MOST_TEXT])


def _path(target: str) -> str:
    """A target without its query, and without a host's part that may hold a password."""
    parts = urlsplit(target) if "://" in target else None
    return parts.path if parts else target.partition("?")[0]
