"""Quirks of containerd that take more than a line: how it reads credentials and challenges."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from reference.challenge import Challenge
from reference.errors import AuthorizationFailed, InvalidAuth

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PARAMETER = re.compile(
    rf'[ \t]*(?P<key>{_TOKEN.pattern})=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"'
    rf'|(?P<open>".*)|(?P<plain>(?:{_TOKEN.pattern})?))[ \t]*(?P<more>,?)'
)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def url_names_host(address: str, host: str) -> bool:
    """Whether a server address, read as Go's url.Parse reads a URL, has just this host (PA-08).

    Without a scheme ``name:5000`` has none: the name is its scheme. ``127.0.0.1:5000``, which can't
    be a scheme, isn't a URL at all (PA-10).
    """
    parts = urlsplit(address)
    if not parts.scheme and not parts.netloc and ":" in parts.path.partition("/")[0]:
        raise InvalidAuth("the server address given can't be parsed")
    return parts.netloc.rpartition("@")[2] == host


def challenge_of_line(line: str) -> Challenge | None:
    """A header line as one challenge: blanks around ``=`` end it, and so does a second one.

    What its parameters are is read up to there; a quoted value without an end is empty (AUTH-17,
    AUTH-18).
    """
    scheme = _TOKEN.match(line)
    if scheme is None:
        return None
    parameters: dict[str, str] = {}
    found = _PARAMETER.match(line, scheme.end())
    while found:
        quoted = found["quoted"]
        value = found["plain"] or "" if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters[found["key"].lower()] = value
        found = _PARAMETER.match(line, found.end()) if found["more"] else None
    return Challenge(scheme[0].lower(), parameters)


def check_types(document: Any, where: str) -> None:
    """Refuse a token answer of which any field is of another type than Go's struct has it.

    So ``expires_in`` has to be a whole number (AUTH-26) and ``issued_at`` a date (AUTH-25), though
    nobody may look at them.
    """
    wrong = None if isinstance(document, dict | None) else "the whole"
    for name, value in document.items() if isinstance(document, dict) else ():
        if name == "expires_in":
            right = isinstance(value, int) and not isinstance(value, bool)
        elif name == "issued_at":
            right = isinstance(value, str) and _is_date(value)
        elif name in ("token", "access_token", "refresh_token"):
            right = isinstance(value, str)
        else:
            continue
        if not right and value is not None:
            wrong = name
    if wrong:
        raise AuthorizationFailed(f"the token answer of {where} can't be decoded: {wrong}")


def _is_date(text: str) -> bool:
    try:
        return bool(_RFC3339.fullmatch(text) and datetime.fromisoformat(text[:19]))
    except ValueError:
        return False
