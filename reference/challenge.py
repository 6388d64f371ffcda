"""`WWW-Authenticate`: what a server asks for, read as RFC 9110 (section 11.6.1) writes it down.

One header line may hold several challenges, so a comma either separates parameters or challenges;
the next token decides: followed by ``=`` it is a parameter, else it is the next scheme.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*(?P<scheme>{_TOKEN})(?=[\s,]|$)[ \t]*")
_TOKEN68 = re.compile(r"(?P<value>[A-Za-z0-9._~+/-]+=*)[ \t]*(?=,|$)")
_PARAMETER = re.compile(
    rf'[\s,]*(?P<key>{_TOKEN})[ \t]*=[ \t]*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>{_TOKEN}))'
    r"[ \t]*(?=,|$)"
)
_LONGEST = 64 * 1024


@dataclass(frozen=True)
class Challenge:
    """One challenge: scheme and parameter names in lower case, values as they were meant."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str = ""


def parse_challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all header lines, in their order.

    What doesn't follow the grammar ends its line: challenges before it count, the rest is dropped.
    The first of two parameters with the same name counts (RFC 9110 allows only one).
    """
    found: list[Challenge] = []
    for line in lines:
        found.extend(_parse_line(line[:_LONGEST]))
    return tuple(found)


def _parse_line(line: str) -> Iterable[Challenge]:
    position = 0
    while match := _SCHEME.match(line, position):
        position = match.end()
        parameters: dict[str, str] = {}
        token68 = ""
        if lone := _TOKEN68.match(line, position):
            # "Basic abc=" is a token68, but in "Basic, Bearer" the next word is a new scheme.
            if match.end() > match.end("scheme"):
                token68, position = lone["value"], lone.end()
        else:
            while parameter := _PARAMETER.match(line, position):
                position = parameter.end()
                value = parameter["plain"]
                if value is None:
                    value = re.sub(r"\\(.)", r"\1", parameter["quoted"])
                parameters.setdefault(parameter["key"].lower(), value)
        yield Challenge(match["scheme"].lower(), parameters, token68)
