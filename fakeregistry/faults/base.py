"""What every fault is: a pure function from script to script, in a setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakeregistry.gate import Gate
from fakeregistry.messages import Request
from fakeregistry.script import Script


def _no_place(to: str | None, path: str | None, script: Script) -> str:
    raise ValueError(f"redirect: no registry named {to!r}")


@dataclass(frozen=True)
class Setting:
    """Where a fault acts: the request, the gate of its rule, and how to place an object elsewhere.

    `place(to, path, script)` puts what the script serves at another registry and returns its URL.
    """

    request: Request
    gate: Gate = field(default_factory=Gate)
    place: Callable[[str | None, str | None, Script], str] = _no_place


class Fault(Protocol):
    """What a rule does: a pure function from script to script."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Return the edited script, or the same one where there is nothing to bite on."""
        ...


Faults = Mapping[str, Callable[..., Any]]
"""The faults of one room by their names, as `faults.ROOMS` lists them."""


def at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError where an argument is below its least value."""
    if value < least:
        raise ValueError(f"{name} is {value}: it must be at least {least}")
