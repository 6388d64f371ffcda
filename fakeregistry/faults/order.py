"""Faults of order: an answer that waits for another rule, lets another go, or moves the clock.

They act when the answer begins, in the order in which they were added. They have always something
to bite on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fakeregistry.script import Act, Script, Wait

from .base import Faults, Setting, at_least


@dataclass(frozen=True)
class WaitFor:
    """Hold the answer until another rule (by name) has fired, at most `seconds`; None: for ever.

    Releasing this rule ends the wait too.
    """

    rule: str
    seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("wait_for seconds", self.seconds or 0, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Wait first."""
        wait = Wait(self.seconds, setting.barrier(self.rule))
        return replace(script, before=(*script.before, wait))


@dataclass(frozen=True)
class Release:
    """Let go what another rule (by its name) holds, now and from now on."""

    rule: str

    def edit(self, script: Script, setting: Setting) -> Script:
        """Open its gate first."""
        other = setting.rules(self.rule)
        if other is None:
            raise LookupError(f"release: no rule is named {self.rule!r}")
        return replace(script, before=(*script.before, Act(other.release)))


@dataclass(frozen=True)
class AdvanceClock:
    """Set the registry's clock forward by `seconds`: tokens, signed URLs and rate limits age."""

    seconds: float

    def __post_init__(self) -> None:
        at_least("advance_clock", self.seconds, 0)

    def edit(self, script: Script, setting: Setting) -> Script:
        """Move the clock first."""
        clock = setting.clock
        move = Act(lambda: clock.advance(self.seconds))
        return replace(script, before=(*script.before, move))


FAULTS: Faults = {
    "wait_for": WaitFor,
    "release": Release,
    "advance_clock": AdvanceClock,
}
