"""What every fault is: a pure function on a script, or on a greeting, in a setting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fakeregistry.messages import Content, Facts, Request
from fakeregistry.rules.asking import Asked
from fakeregistry.rules.clock import Clock
from fakeregistry.rules.conditions import Around
from fakeregistry.rules.hosting import Host, Nowhere
from fakeregistry.rules.surroundings import Alone
from fakeregistry.script import Script
from fakeregistry.wire.gate import Gate
from fakeregistry.wire.greeting import Greeting


def _no_place(to: str | None, path: str | None, script: Script) -> str:
    raise ValueError(f"redirect: no registry named {to!r}")


def _nothing(_: str) -> None:
    return None


def _no_barrier(name: str) -> Gate:
    raise LookupError(f"no rule is named {name!r}")


def _nobody(how: str) -> int:
    return 0


def _free(key: str, requests: int, window: float) -> float:
    return 0.0


def _whole(key: str, requests: int, window: float) -> int:
    return requests


class NamedRule(Protocol):
    """A rule as other rules know it."""

    @property
    def id(self) -> str:
        """The registry and the rule's number there: `origin#1`."""
        ...

    @property
    def fired(self) -> int:
        """How often it has fired."""
        ...

    @property
    def passed(self) -> Gate:
        """A gate that opens when it fires for the first time."""
        ...

    def release(self) -> Any:
        """End every wait of this rule, now and from now on."""
        ...


@dataclass(frozen=True)
class Setting:
    """Where a fault acts: the request, what it means, and what the registry around it can do.

    `gate`: what holds this rule's answers. `place(to, path, script)` puts what the script serves at
    another registry and returns its URL. `find(digest)`: any object of this registry. `clock`: the
    registry's own. `spend(key, requests, window)` takes one request from an account of this rule
    that allows so many in so many seconds on the clock: 0 where it is allowed, else the seconds
    until it will be; `left` says how many it still allows. `rules(name)`: a rule by its name or its
    id. `barrier(name)`: what opens once that rule has fired, or this rule is released. `count`: how
    often the rule will have fired if it fires now, per what it counts. `kill(how)` ends the idle
    connections of this registry, and returns how many there were. `around`: what goes on at the
    registry; `asked`: the request as conditions see it; `host`: the registry and its neighbours.
    """

    request: Request
    gate: Gate = field(default_factory=Gate)
    place: Callable[[str | None, str | None, Script], str] = _no_place
    facts: Facts = field(default_factory=Facts)
    find: Callable[[str], Content | None] = _nothing
    clock: Clock = field(default_factory=Clock)
    spend: Callable[[str, int, float], float] = _free
    left: Callable[[str, int, float], int] = _whole
    rules: Callable[[str], NamedRule | None] = _nothing
    barrier: Callable[[str], Gate] = _no_barrier
    count: int = 1
    kill: Callable[[str], int] = _nobody
    around: Around = field(default_factory=Alone)
    asked: Asked = field(default_factory=lambda: Asked("GET"))
    host: Host = field(default_factory=Nowhere)


class AnswerFault(Protocol):
    """What a rule does to an answer: a pure function from script to script."""

    def edit(self, script: Script, setting: Setting) -> Script:
        """Return the edited script, or the same one where there is nothing to bite on."""
        ...


class ConnectionFault(Protocol):
    """What a rule does to a connection: a pure function from greeting to greeting."""

    def greet(self, greeting: Greeting, setting: Setting) -> Greeting:
        """Return the edited greeting, or the same one where there is nothing to bite on."""
        ...


Fault = AnswerFault | ConnectionFault
"""What a rule does. A fault with `greet` goes with the target `connection()`, one with `edit` with
every other; `request` of a greeting's setting is empty."""


def misplaced(fault: Fault, *, on_connection: bool) -> str | None:
    """Say what is wrong with a fault on this kind of target, or None where it fits."""
    if hasattr(fault, "greet" if on_connection else "edit"):
        return None
    if on_connection:
        return "it edits answers: on a connection nobody has asked anything yet"
    return "it edits connections as they are accepted: it goes with the target connection alone"


Faults = Mapping[str, Callable[..., Any]]
"""The faults of one room by their names, as `faults.ROOMS` lists them."""


def at_least(name: str, value: float, least: float) -> None:
    """Raise ValueError where an argument is below its least value."""
    if value < least:
        raise ValueError(f"{name} is {value}: it must be at least {least}")


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Raise ValueError where an argument isn't one of the known words."""
    words = tuple(known)
    if value not in words:
        raise ValueError(f"{name} {value!r}: it must be one of {', '.join(words)}")


def single_line(name: str, text: str) -> None:
    """Raise ValueError where an argument would break the line that it stands in."""
    if any(char in text for char in "\r\n\0"):
        raise ValueError(f"{name} {text!r}: it must be a single line")


def on_http2(setting: Setting) -> bool:
    """Whether the answer goes out by HTTP/2, which can't say what HTTP/1 writes as text."""
    return setting.request.version == "HTTP/2"
