"""What a token service answers: the document, in all the forms that it is seen in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

TOKEN_FIELDS = ("both", "token", "access_token", "different", "neither", "null")
"""By which names an answer has the token. `different`: `access_token` is the good one, `token` is
another; `null`: both are there, and say nothing."""

_NOW = re.compile(r"\{now(?:([+-]\d+))?\}")


def named(token: str, wrong: str, field: str) -> dict[str, Any]:
    """The token by its names, in one of `TOKEN_FIELDS`; `wrong` is one that nobody issued."""
    match field:
        case "neither":
            return {}
        case "null":
            return {"token": None, "access_token": None}
        case "different":
            return {"token": wrong, "access_token": token}
        case "both":
            return {"token": token, "access_token": token}
    return {field: token}


def filled(value: Any, words: Mapping[str, str], now: datetime) -> Any:
    """A value with its placeholders replaced: those of `words`, and `{now}`, `{now-3600}`."""
    if isinstance(value, Mapping):
        return {key: filled(one, words, now) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, words, now) for one in value]
    if not isinstance(value, str):
        return value
    for name, word in words.items():
        value = value.replace("{" + name + "}", word)
    return _NOW.sub(lambda match: rfc3339(now + timedelta(seconds=int(match[1] or 0))), value)


def issued_text(issued_at: float | str, now: datetime) -> str:
    """What `issued_at` says: so many seconds from now as RFC 3339, or a text as it stands."""
    if isinstance(issued_at, str):
        return issued_at
    return rfc3339(now + timedelta(seconds=issued_at))


def rfc3339(when: datetime) -> str:
    """A moment as RFC 3339 writes it, in UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
