"""JSON and times as Go writes them, byte for byte.

An image id is the digest of a config, and the config of a converted schema 1 image is written by
the puller: to have the id that containerd gives, the bytes have to be Go's.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

_TIME = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d+))?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)",
    re.ASCII,
)
_ESCAPES = {"b": "\\u0008", "f": "\\u000c"}
_SURROGATE = re.compile("[\ud800-\udfff]")
ZERO_TIME = "0001-01-01T00:00:00Z"
"""What an absent time becomes."""


def marshal_indent(value: Any) -> bytes:
    """What ``json.MarshalIndent(value, "", "   ")`` makes of it."""
    text = json.dumps(value, indent=3, ensure_ascii=False)
    text = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text)
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return _SURROGATE.sub("\ufffd", text).encode()


def time(text: str) -> str:
    """An RFC 3339 time as Go's ``time.Time`` reads and writes it; ValueError when it isn't one."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time")
    datetime.fromisoformat(match["second"] + match["zone"])  # no month 13, no second 60
    fraction = (match["fraction"] or "")[:9].rstrip("0")
    zone = "Z" if match["zone"] in ("+00:00", "-00:00") else match["zone"]
    return match["second"] + (f".{fraction}" if fraction else "") + zone
