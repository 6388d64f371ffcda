"""Rules: when → what. A target and conditions say when, a window how often, faults say what.

    registry.on(blob(layer), range=True).first(2).reset_after(64 * 1024)

A window counts the requests on which the rule's faults have something to bite: a HEAD never uses up
the window of a fault on the body.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from . import faults as f
from .gate import Gate
from .messages import Facts, Request
from .script import Script
from .targets import HasDigest, Target
from .verbs import Verbs

HeaderCondition = str | bool | Callable[[str], bool]
"""True: present; False: absent; a text: equal; a function: its judgement of the value."""


@dataclass(frozen=True)
class When:
    """The conditions of a rule beside its target; None asks nothing."""

    method: str | None = None
    range: bool | None = None
    authorized: bool | None = None
    header: Mapping[str, HeaderCondition] = field(default_factory=dict)
    query: Mapping[str, HeaderCondition] = field(default_factory=dict)

    def accepts(
        self, method: str, header: Callable[[str], str | None], query: Mapping[str, str]
    ) -> bool:
        """Whether a request is meant, given its method, a look-up of its headers, its query."""
        if self.method is not None and method != self.method.upper():
            return False
        if self.range is not None and (header("range") is not None) != self.range:
            return False
        given = header("authorization") is not None
        if self.authorized is not None and given != self.authorized:
            return False
        return all(_holds(want, header(name)) for name, want in self.header.items()) and all(
            _holds(want, query.get(name)) for name, want in self.query.items()
        )

    @property
    def words(self) -> str:
        """The conditions as a person says them, or nothing."""
        said = [self.method or ""]
        if self.range is not None:
            said.append("with range" if self.range else "without range")
        if self.authorized is not None:
            said.append("with authorization" if self.authorized else "without authorization")
        said += [f"with header {name}" for name in self.header]
        said += [f"with query {name}" for name in self.query]
        return " ".join(word for word in said if word)


def _holds(want: HeaderCondition, value: str | None) -> bool:
    if isinstance(want, bool):
        return (value is not None) == want
    if value is None:
        return False
    return value == want if isinstance(want, str) else want(value)


@dataclass(frozen=True)
class Window:
    """Which of the counted requests (from 1) a rule fires on."""

    words: str = "always"
    start: int = 1
    stop: int | None = None
    step: int = 1

    def holds(self, count: int) -> bool:
        """Whether the rule fires on the request with this number."""
        if count < self.start or (self.stop is not None and count > self.stop):
            return False
        return (count - self.start) % self.step == 0


class Rule(Verbs):
    """One rule of a registry, and the handle on it: every method but the queries returns itself."""

    def __init__(self, target: Target, when: When, number: int = 1, owner: str = "") -> None:
        super().__init__()
        self.target = target
        self.when = when
        self.id = f"{owner}#{number}" if owner else f"#{number}"
        self.window = Window()
        self.required = True
        self.gate = Gate()
        self._changed = threading.Condition()
        self._scope = ""
        self._counts: Counter[str] = Counter()
        self._fired = 0

    def __repr__(self) -> str:
        return f"<Rule {self.id} {self.words}; fired {self._fired}>"

    @property
    def words(self) -> str:
        """The rule as a person says it: `blob sha256:… GET, first 2: reset_after(65536)`."""
        when = f"{self.target.words} {self.when.words}".strip()
        what = ", ".join(f.name_of(fault) for fault in self.faults) or "observe"
        return f"{when}, {self.window.words}: {what}"

    # windows

    def _windowed(self, window: Window) -> Rule:
        self.window = window
        return self

    def always(self) -> Rule:
        """Fire on every request (the default)."""
        return self._windowed(Window())

    def first(self, n: int = 1) -> Rule:
        """Fire on the first `n` requests."""
        return self._windowed(Window(f"first {n}", stop=n))

    def nth(self, n: int) -> Rule:
        """Fire on the request number `n`, counted from 1."""
        return self._windowed(Window(f"number {n}", start=n, stop=n))

    def after(self, n: int) -> Rule:
        """Fire on every request but the first `n`."""
        return self._windowed(Window(f"after {n}", start=n + 1))

    def every(self, n: int) -> Rule:
        """Fire on the requests number n, 2n, 3n …"""
        if n < 1:
            raise ValueError(f"every {n}: it must be at least 1")
        return self._windowed(Window(f"every {n}", start=n, step=n))

    def per(self, scope: str) -> Rule:
        """Count per "rule" (the default), "digest", or "method"."""
        if scope not in ("rule", "digest", "method"):
            raise ValueError(f"per {scope!r}: rule, digest or method")
        self._scope = "" if scope == "rule" else scope
        return self

    def bait(self) -> Rule:
        """Say that the rule need not fire: a puller may avoid it."""
        self.required = False
        return self

    def observe(self) -> Rule:
        """Say that the rule has no fault and yet must fire."""
        self.required = True
        return self

    # queries and control

    @property
    def fired(self) -> int:
        """How often the rule has fired."""
        return self._fired

    def release(self) -> Rule:
        """End every wait of this rule, now and from now on."""
        self.gate.release()
        return self

    def wait_fired(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until the rule has fired `count` times; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._fired >= count, timeout)

    def wait_holding(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until `count` answers stand still by this rule; False after `timeout` seconds."""
        return self.gate.wait_holding(count, timeout)

    def apply(
        self, script: Script, request: Request, facts: Facts, setting: f.Setting, *, honest: bool
    ) -> tuple[Script, bool]:
        """Edit a script where the rule fires; return it and whether it fired.

        In an honest world the rule counts and fires as ever, and changes nothing.
        """
        if not self.target.matches(facts):
            return script, False
        if not self.when.accepts(request.method, request.header, dict(reversed(request.query))):
            return script, False
        edited = script
        own = replace(setting, gate=self.gate)
        for fault in self.faults:
            edited = fault.edit(edited, own)
        if self.faults and edited is script:
            return script, False
        scope = {"digest": facts.digest or "", "method": request.method}.get(self._scope, "")
        with self._changed:
            self._counts[scope] += 1
            if not self.window.holds(self._counts[scope]):
                return script, False
            self._fired += 1
            self._changed.notify_all()
        return (script if honest else edited), True


__all__ = ["HasDigest", "Rule", "When", "Window"]
