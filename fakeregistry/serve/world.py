"""The world that `serve` shows: built of a scenario or a layout, changed, and made anew."""

from __future__ import annotations

import threading
from pathlib import Path

from fakeregistry.honest.layouts import LaidOut, Layout
from fakeregistry.placed import Image
from fakeregistry.rules.rule import Rule
from fakeregistry.scenario import (
    Built,
    IncidentPart,
    RegistryPart,
    RulePart,
    Scenario,
    build,
    install,
)
from fakeregistry.topology import Registries

EMPTY = Scenario("empty", Path(), IncidentPart(""), (RegistryPart(),), (), ())
"""The world of `serve` without a file: one registry that holds nothing and takes pushes."""


class World:
    """Registries with what stands on them now. Thread-safe; a change is whole before the next.

    `honest` leaves every lie of a scenario away; a rule that somebody adds acts all the same.
    """

    def __init__(
        self,
        registries: Registries,
        scenario: Scenario = EMPTY,
        *,
        layout: Layout | None = None,
        honest: bool = False,
    ) -> None:
        self.registries = registries
        self.honest = honest
        self._layout = layout
        self._lock = threading.RLock()
        self._rules: dict[int, tuple[RulePart, Rule]] = {}
        self._numbered = 0
        self._build(scenario)

    @property
    def scenario(self) -> Scenario:
        """The scenario that is served."""
        return self.built.scenario

    @property
    def images(self) -> dict[str, Image | LaidOut]:
        """What is served by name: by the id of an image, or the reference inside a layout."""
        with self._lock:
            found: dict[str, Image | LaidOut] = dict(self.built.images)
            return found | {one.reference.partition("/")[2]: one for one in self.laid_out}

    @property
    def rules(self) -> dict[int, tuple[RulePart, Rule]]:
        """The rules by number, in the order in which they edit an answer."""
        with self._lock:
            return dict(self._rules)

    def add(self, parts: tuple[RulePart, ...]) -> dict[int, tuple[RulePart, Rule]]:
        """Put rules; they come after those that are there. Returns them by number.

        Raises ValueError, and puts none, where another rule has the name of one.
        """
        with self._lock:
            made: list[tuple[RulePart, Rule]] = []
            try:
                for part in parts:
                    made.append((part, install(self.built, part)))
            except ValueError:
                for part, rule in made:
                    self.registries.registry(part.target.registry).drop(rule)
                raise
            return dict(self._note(part, rule) for part, rule in made)

    def drop(self, number: int) -> None:
        """Take a rule back; raises KeyError where there is none with this number."""
        with self._lock:
            part, rule = self._rules.pop(number)
            self.registries.registry(part.target.registry).drop(rule)

    def reset(self, scenario: Scenario | None = None) -> None:
        """Begin anew: with the scenario as it was at first, or with another one.

        What was pushed and put goes, the journal is empty, held answers go on, ports stay.
        """
        with self._lock:
            self.registries.wipe()
            self._rules.clear()
            self._build(self.scenario if scenario is None else scenario)

    def _build(self, scenario: Scenario) -> None:
        self.built: Built = build(scenario, self.registries, honest=self.honest)
        for part, rule in self.built.rules:
            self._note(part, rule)
        self.laid_out: list[LaidOut] = []
        if self._layout is not None:
            self.laid_out = self._layout.place(self.registries.registry())

    def _note(self, part: RulePart, rule: Rule) -> tuple[int, tuple[RulePart, Rule]]:
        self._numbered += 1
        self._rules[self._numbered] = (part, rule)
        return self._numbered, (part, rule)
