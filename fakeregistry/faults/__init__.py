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

from . import (
    bodies,
    codings,
    connections,
    headers,
    http2,
    lengths,
    negotiation,
    order,
    ranges,
    rate,
    redirects,
    state,
    status,
    tokenfaults,
    transport,
)
from .base import AnswerFault, ConnectionFault, Fault, Faults, Setting, misplaced
from .bodies import Append, Body, ErrorBody, FlipByte, InfiniteBody, Swap
from .headers import ContentType, DigestHeader, DropHeader, Header
from .lengths import Chunked, NoContentLength, WrongContentLength
from .ranges import PartialNoContentRange, RangeIgnored, RangeStatus, RangeWrongOffset
from .redirects import Redirect
from .status import Status, TooManyRequests
from .transport import (
    CloseAfter,
    DelayHeaders,
    Drip,
    ResetAfter,
    ResetBeforeHeaders,
    StallAfter,
    Throttle,
    TruncateAfter,
)

ROOMS: Mapping[str, Faults] = {
    "Status": status.FAULTS,
    "Rates, and statuses in turn": rate.FAULTS,
    "Headers": headers.FAULTS,
    "Bodies": bodies.FAULTS,
    "Lengths and framing": lengths.FAULTS,
    "Content codings": codings.FAULTS,
    "Ranges": ranges.FAULTS,
    "Redirects, and where to push": redirects.FAULTS,
    "Challenges and tokens": tokenfaults.FAULTS,
    "Content negotiation": negotiation.FAULTS,
    "What there is": state.FAULTS,
    "Time, and how the connection ends": transport.FAULTS,
    "Order, and the registry's clock": order.FAULTS,
    "Connections, as they are accepted": connections.FAULTS,
    "HTTP/2 alone": http2.FAULTS,
}
"""The faults by room, as a person looks for them; a new fault goes into the list of its module."""

FAULTS: Mapping[str, Callable[..., Fault]] = {
    name: make for room in ROOMS.values() for name, make in room.items()
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
    "ROOMS",
    "AnswerFault",
    "Append",
    "Body",
    "Chunked",
    "CloseAfter",
    "ConnectionFault",
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
    "misplaced",
    "name_of",
]
