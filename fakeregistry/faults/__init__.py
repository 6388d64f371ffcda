"""Faults: small frozen values that each edit a script in exactly one way.

`FAULTS` names them in the field's words; the names and arguments are the same in Python (methods of
a rule) and in TOML (`fault = "truncate_after"`, `n = 100`). A fault that has nothing to bite on
returns the script unchanged (a HEAD has no body to cut): then its rule has not fired.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fakeregistry.messages import Buffer

from .answers import (
    Append,
    Body,
    ContentType,
    DigestHeader,
    DropHeader,
    ErrorBody,
    FlipByte,
    Header,
    InfiniteBody,
    Status,
    Swap,
    TooManyRequests,
)
from .base import Fault, Setting
from .ranges import PartialNoContentRange, RangeIgnored, RangeStatus, RangeWrongOffset
from .redirects import Redirect
from .transport import (
    Chunked,
    CloseAfter,
    DelayHeaders,
    Drip,
    NoContentLength,
    ResetAfter,
    ResetBeforeHeaders,
    StallAfter,
    Throttle,
    TruncateAfter,
    WrongContentLength,
)

FAULTS: Mapping[str, Callable[..., Fault]] = {
    "status": Status,
    "too_many_requests": TooManyRequests,
    "header": Header,
    "drop_header": DropHeader,
    "digest_header": DigestHeader,
    "content_type": ContentType,
    "body": Body,
    "swap": Swap,
    "error_body": ErrorBody,
    "append": Append,
    "infinite_body": InfiniteBody,
    "flip_byte": FlipByte,
    "delay_headers": DelayHeaders,
    "stall_after": StallAfter,
    "throttle": Throttle,
    "drip": Drip,
    "truncate_after": TruncateAfter,
    "close_after": CloseAfter,
    "reset_after": ResetAfter,
    "reset_before_headers": ResetBeforeHeaders,
    "wrong_content_length": WrongContentLength,
    "no_content_length": NoContentLength,
    "chunked": Chunked,
    "range_ignored": RangeIgnored,
    "range_status": RangeStatus,
    "range_wrong_offset": RangeWrongOffset,
    "partial_no_content_range": PartialNoContentRange,
    "redirect": Redirect,
}


def fault(name: str, arguments: Mapping[str, Any]) -> Fault:
    """Make a fault by its name and arguments, as a scenario file states them.

    Raises ValueError with one line that names the fault, what is wrong, and what would be right.
    """
    make = FAULTS.get(name)
    if make is None:
        raise ValueError(f"unknown fault {name!r}: one of {', '.join(FAULTS)}")
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError as problem:
        raise ValueError(f"fault {name}: {problem}; it takes {inspect.signature(make)}") from None
    return make(**arguments)


def name_of(given: Fault) -> str:
    """Return a fault as words: its name and what differs from its defaults."""
    kind: Any = type(given)
    name = next((name for name, known in FAULTS.items() if known is kind), kind.__name__)
    words = []
    for item in dataclasses.fields(kind):
        value = getattr(given, item.name)
        if value != item.default:
            words.append(f"{len(value)} bytes" if isinstance(value, Buffer) else f"{value}")
    return f"{name}({', '.join(words)})"


__all__ = [
    "FAULTS",
    "Append",
    "Body",
    "Chunked",
    "CloseAfter",
    "ContentType",
    "DelayHeaders",
    "DigestHeader",
    "Drip",
    "DropHeader",
    "ErrorBody",
    "Fault",
    "FlipByte",
    "Header",
    "InfiniteBody",
    "NoContentLength",
    "PartialNoContentRange",
    "RangeIgnored",
    "RangeStatus",
    "RangeWrongOffset",
    "Redirect",
    "ResetAfter",
    "ResetBeforeHeaders",
    "Setting",
    "StallAfter",
    "Status",
    "Swap",
    "Throttle",
    "TooManyRequests",
    "TruncateAfter",
    "WrongContentLength",
    "fault",
    "name_of",
]
