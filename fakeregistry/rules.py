"""Rules: when → what. A target and conditions say when, a window how often, faults say what.

    registry.on(blob(layer), range=True).first(2).reset_after(64 * 1024)

A window counts the requests on which the rule's faults have something to bite: a HEAD never uses up
the window of a fault on the body.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, replace

from . import faults as f
from .budget import Budget
from .clock import Clock
from .conditions import HeaderCondition, When
from .gate import Gate
from .greeting import Greeting
from .messages import Facts, Request
from .script import Script
from .targets import ConnectionTarget, HasDigest, Target
from .verbs import Verbs

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
"""A name never looks like a rule's id or number."""


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

    def __init__(
        self,
        target: Target,
        when: When,
        number: int = 1,
        owner: str = "",
        name: str | None = None,
    ) -> None:
        if name is not None and not _NAME.fullmatch(name):
            raise ValueError(
                f"a rule's name {name!r}: a letter, then letters, digits, '.', '_', '-'"
            )
        super().__init__()
        self.name = name
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
        self._budget: Budget | None = None

    def __repr__(self) -> str:
        return f"<Rule {self.id} {self.words}; fired {self._fired}>"

    @property
    def on_connection(self) -> bool:
        """Whether the rule is about connections, and not about requests."""
        return isinstance(self.target, ConnectionTarget)

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

    def _budget_on(self, clock: Clock) -> Budget:
        with self._changed:
            if self._budget is None:
                self._budget = Budget(clock.now)
            return self._budget

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
        budget = self._budget_on(setting.clock)
        own = replace(setting, gate=self.gate, spend=budget.spend, left=budget.left)
        for fault in self.edits:
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

    def meet(
        self, greeting: Greeting, setting: f.Setting, *, honest: bool
    ) -> tuple[Greeting, bool]:
        """Edit how a connection goes where the rule fires; return it and whether it fired."""
        edited = greeting
        own = replace(setting, gate=self.gate)
        for fault in self.greets:
            edited = fault.greet(edited, own)
        if self.greets and edited is greeting:
            return greeting, False
        with self._changed:
            self._counts[""] += 1
            if not self.window.holds(self._counts[""]):
                return greeting, False
            self._fired += 1
            self._changed.notify_all()
        return (greeting if honest else edited), True


__all__ = ["HasDigest", "HeaderCondition", "Rule", "When", "Window"]
