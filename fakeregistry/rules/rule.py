"""Rules: when → what. A target and conditions say when, a window how often, faults say what.

    registry.on(blob(layer), range=True).first(2).reset_after(64 * 1024)

A window counts the requests on which the rule's faults have something to bite: a HEAD never uses up
the window of a fault on the body.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Self

from fakeregistry import faults as f
from fakeregistry.faults.base import NamedRule
from fakeregistry.script import Script
from fakeregistry.wire.gate import Gate
from fakeregistry.wire.greeting import Greeting

from .asking import Asked
from .budget import ACCOUNTS, Budget
from .conditions import HasId, HeaderCondition, When
from .targets import ConnectionTarget, HasDigest, Target
from .verbs import Verbs

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
SCOPES = ("rule", "digest", "method", "connection", "client")
"""What a window can count for."""


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


def valid_name(name: str) -> bool:
    """Whether a rule can be called so: a name never looks like a rule's id or its number."""
    return _NAME.fullmatch(name) is not None


class Tally(dict[str, int]):
    """Counts by name, of which so many are kept: who invents names can't fill the memory."""

    def __missing__(self, name: str) -> int:
        return 0

    def add(self, name: str) -> int:
        """Count one more and return the count."""
        self[name] = count = self[name] + 1
        if len(self) > ACCOUNTS:
            del self[next(iter(self))]
        return count


class Rule(Verbs):
    """One rule of a registry, and the handle on it: every method but the queries returns itself."""

    def __init__(
        self,
        target: Target,
        when: When,
        number: int = 1,
        owner: str = "",
        name: str | None = None,
        seed: str = "",
    ) -> None:
        if name is not None and not valid_name(name):
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
        self.passed = Gate()
        self.gone = False
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._scope = ""
        self._counts = Tally()
        self._firings = Tally()
        self._drawn = Tally()
        self._fired = 0
        self._seed = seed
        self._said: tuple[tuple[f.Fault, ...] | None, Window, str] = (None, self.window, "")
        self._budget: Budget | None = None
        self._barriers: dict[str, Gate] = {}

    def __repr__(self) -> str:
        return f"<Rule {self.id} {self.words}; fired {self._fired}>"

    @property
    def on_connection(self) -> bool:
        """Whether the rule is about connections, and not about requests."""
        return isinstance(self.target, ConnectionTarget)

    @property
    def words(self) -> str:
        """The rule as a person says it: `blob sha256:… GET, first 2: reset_after(65536)`."""
        faults, window, text = self._said
        if faults is not self.faults or window is not self.window:
            # Said anew only where it changed: the journal asks each time that the rule fires.
            when = f"{self.target.words} {self.when.words}".strip()
            what = ", ".join(f.name_of(fault) for fault in self.faults) or "observe"
            text = f"{when}, {self.window.words}: {what}"
            self._said = (self.faults, self.window, text)
        return text

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

    def once(self) -> Rule:
        """Fire on the first request alone."""
        return self._windowed(Window("once", stop=1))

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
        """Count per "rule" (the default), "digest", "method", "connection" or "client".

        Clients are told apart by their address (without the port) and their User-Agent.
        """
        if scope not in SCOPES:
            raise ValueError(f"per {scope!r}: {', '.join(SCOPES[:-1])} or {SCOPES[-1]}")
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

    def release(self, rule: HasId | str | None = None) -> Self:
        """End every wait of this rule, now and from now on.

        With another rule: a fault, which does so to that one when this rule fires.
        """
        if rule is not None:
            return super().release(rule)
        self.gate.release()
        return self

    def wait_fired(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until the rule has fired `count` times; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._fired >= count, timeout)

    def wait_holding(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Wait until `count` answers stand still by this rule; False after `timeout` seconds."""
        return self.gate.wait_holding(count, timeout)

    def barrier(self, name: str, rules: Callable[[str], NamedRule | None]) -> Gate:
        """What opens once another rule has fired, or this one is released; LookupError."""
        with self._changed:
            gate = self._barriers.get(name)
            if gate is None:
                other = rules(name)
                if other is None:
                    raise LookupError(f"wait_for: no rule is named {name!r}")
                gate = self._barriers[name] = Gate(counted_with=self.gate)
                self.gate.then(gate)
                other.passed.then(gate)
            return gate

    def close(self) -> None:
        """Give the descriptors back that waiting needs; who waits later gets new ones."""
        for gate in (self.gate, *self._barriers.values()):
            gate.close()

    def retire(self) -> None:
        """Act no more: everything goes on that this rule holds up, or that waits for it."""
        self.gone = True
        self.release()
        self.passed.release()
        self.close()

    # acting

    def means(self, setting: f.Setting) -> bool:
        """Whether a request is meant, by its target and by every condition but chance."""
        return (
            self.target.matches(setting.asked.facts)
            and self.when.accepts(setting.asked)
            and self.when.holds(setting.around, self.target)
        )

    def apply(self, script: Script, setting: f.Setting, *, honest: bool) -> tuple[Script, bool]:
        """Edit the answer to a request that is meant; return it and whether the rule fired.

        In an honest world the rule counts and fires as ever, and changes nothing.
        """
        scope = self._scope_of(setting.asked)
        # Where a fault depends on the number of its request, two requests take turns.
        numbered = any(getattr(fault, "numbered", False) for fault in self.edits)
        with self._turn if numbered else nullcontext():
            edited = self._edited(script, setting, scope)
            if edited is None or not self._fires(scope):
                return script, False
        return (script if honest else edited), True

    def meet(
        self, greeting: Greeting, setting: f.Setting, *, honest: bool
    ) -> tuple[Greeting, bool]:
        """Edit how a connection goes where the rule fires; return it and whether it fired."""
        if not self.when.holds(setting.around, self.target):
            return greeting, False
        edited = greeting
        own = self._own(setting, "")
        for fault in self.greets:
            edited = fault.greet(edited, own)
        if (self.greets and edited is greeting) or not self._fires(""):
            return greeting, False
        return (greeting if honest else edited), True

    def _scope_of(self, asked: Asked) -> str:
        """What the request counts for."""
        match self._scope:
            case "digest":
                return asked.facts.digest or ""
            case "method":
                return asked.method
            case "connection":
                return str(asked.connection)
            case "client":
                return asked.client
        return ""

    def _own(self, setting: f.Setting, scope: str) -> f.Setting:
        """The setting with what is this rule's own."""
        with self._changed:
            if self._budget is None:
                self._budget = Budget(setting.clock.now)
            budget, count = self._budget, self._firings[scope] + 1
        return replace(
            setting,
            gate=self.gate,
            spend=budget.spend,
            left=budget.left,
            barrier=lambda name: self.barrier(name, setting.rules),
            count=count,
        )

    def _edited(self, script: Script, setting: f.Setting, scope: str) -> Script | None:
        """The edited script; None where no fault had anything to bite on."""
        if not self.edits:
            return script
        own = self._own(setting, scope)
        edited = script
        for fault in self.edits:
            before = edited
            edited = fault.edit(before, own)
            if edited is before and getattr(fault, "decides", False):
                return None
        return None if edited is script else edited

    def _fires(self, scope: str) -> bool:
        """Count a request, and say whether the rule fires on it."""
        with self._changed:
            if not self._lucky(scope):
                return False
            if not self.window.holds(self._counts.add(scope)):
                return False
            self._fired += 1
            self._firings.add(scope)
            self._changed.notify_all()
        if not self.passed.released:
            self.passed.release()
        return True

    def _lucky(self, scope: str) -> bool:
        """Draw: the same for the same seed, rule and number of the request."""
        chance = self.when.chance
        if chance is None:
            return True
        said = f"{self._seed} {self.id} {scope} {self._drawn.add(scope)}".encode(
            "utf-8", "surrogatepass"
        )
        return int.from_bytes(hashlib.sha256(said).digest()[:8]) < chance * 2**64


__all__ = ["SCOPES", "HasDigest", "HeaderCondition", "Rule", "When", "Window", "valid_name"]
