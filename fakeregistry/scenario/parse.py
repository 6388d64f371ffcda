"""From a TOML file to a :class:`Scenario`, with one line for each mistake."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from fakeregistry.faults import FAULTS, Fault, Redirect, misplaced, name_of
from fakeregistry.faults.order import Release, WaitFor
from fakeregistry.faults.redirects import UploadLocation
from fakeregistry.faults.tokenfaults import TokenBound
from fakeregistry.rules.rule import SCOPES, valid_name

from .conditionkeys import around_of
from .faultkeys import faults_of
from .model import WINDOWS, IncidentPart, RegistryPart, RulePart, Scenario
from .objects import object_of
from .pullparts import PullReader
from .reader import Source, Table, suggestion


def load(path: Path | str) -> Scenario:
    """Read and check a scenario file.

    Raises :class:`ScenarioError`, which has one line per problem: file, line, key, what to do.
    """
    return read(Source.of_file(Path(path)))


def read(source: Source) -> Scenario:
    """Read and check a whole scenario from anywhere; raises :class:`ScenarioError`."""
    scenario = _Reading(source).scenario()
    source.check()
    return scenario


def read_rules(
    source: Source, scenario: Scenario, named: Iterable[str] = ()
) -> tuple[RulePart, ...]:
    """Read rules for a world that stands: ``[[rule]]`` tables, or the keys of a single rule.

    They name the registries and images of `scenario`, and rules that are there already: `named`.
    Raises :class:`ScenarioError`.
    """
    rules = _Reading(source).rules(scenario, named)
    source.check()
    return rules


def _registries_of(fault: Fault) -> list[str]:
    """The registries of the file that a fault names."""
    named: list[str | None] = []
    if isinstance(fault, Redirect | UploadLocation):
        named = [fault.to]
    elif isinstance(fault, TokenBound):
        named = [fault.host]
    return [name for name in named if name and "://" not in name]


_CASE = re.compile(r"[a-z0-9-]+/[a-z0-9-]+")


class _Reading(PullReader):
    """One pass over one file."""

    def rules(self, scenario: Scenario, named: Iterable[str]) -> tuple[RulePart, ...]:
        """Read rules alone."""
        self.registries, self.images = scenario.registries, scenario.images
        top = self.source.top
        single = not top.has("rule")
        tables = [top] if single else top.tables("rule", one=True)
        rules = tuple(self._rule(table) for table in tables)
        self._check_names(tables, rules, named)
        if not single:
            top.finish()
        return rules

    def scenario(self) -> Scenario:
        top, path = self.source.top, Path(self.source.file)
        incident = self._incident(top.table("incident"))
        tables = top.tables("registry", one=True)
        self.registries = tuple(self.registry(table) for table in tables)
        if not any(part.name == "origin" for part in self.registries):
            self.registries = (RegistryPart(), *self.registries)
        own = top.tables("proxy", one=True)
        self.registries = (*self.registries, *(self.proxy(table) for table in own))
        tables += own
        for table, part in zip(tables, self.registries[-len(tables) :], strict=False):
            if part.auth and part.auth.realm:
                self.known_registry(table, "auth", part.auth.realm)
        tables = top.tables("image", one=True)
        for table in tables:
            self.images = (*self.images, self.image(table, self.images))
        if not self.images:
            top.problem("", "there is no [[image]]: a scenario needs at least one")
        self.twice(top, "registry", [part.name for part in self.registries])
        self.twice(top, "image", [part.id for part in self.images])
        tables = top.tables("rule", one=True)
        rules = tuple(self._rule(table) for table in tables)
        self._check_names(tables, rules)
        self.rules_read = rules
        pulls = self.pulls(top)
        expect = self.expectation(top.table("expect"))
        if bool(pulls) != bool(expect):
            there, absent = ("pull", "expect") if pulls else ("expect", "pull")
            top.problem(there, f"[{there}] needs [{absent}] beside it")
        if incident.case and pulls:
            top.problem("pull", "[pull] and [incident] case exclude each other: one of them plays")
        top.finish()
        return Scenario(
            path.stem,
            path if self.source.is_file else Path(),
            incident,
            self.registries,
            self.images,
            rules,
            pulls,
            expect,
        )

    def _incident(self, table: Table | None) -> IncidentPart:
        if table is None:
            return IncidentPart(title="")
        part = IncidentPart(
            title=table.required("title"),
            id=table.text("id"),
            did=table.text("did"),
            wrong=table.text("wrong"),
            right=table.text("right"),
            links=table.texts("links"),
            case=table.text("case"),
        )
        if part.case and not _CASE.fullmatch(part.case):
            table.problem("case", f"case = {part.case!r}: an id such as blob/cut-short-is-refused")
        for link in part.links:
            if not link.startswith(("https://", "http://")):
                table.problem("links", f"{link!r} is no URL")
        table.finish()
        return part

    def _rule(self, table: Table) -> RulePart:
        target = self.target(table)
        windows = [key for key in WINDOWS if table.has(key)]
        if len(windows) > 1:
            table.problem(windows[1], f"{' and '.join(windows)}: a rule has one window")
        window, count = "always", 1
        for key in windows:
            window = key
            if key in ("always", "once"):
                if not table.flag(key):
                    table.problem(key, f"{key} = false: leave it out")
            else:
                count = table.integer(key, 1, least=1) or 1
        observe, bait = table.flag("observe"), table.flag("bait")
        lie = table.flag("lie", True)
        name = table.text("name")
        if name and not valid_name(name):
            table.problem("name", f"name = {name!r}: a letter, then letters, digits, '.', '_', '-'")
        per = table.choice("per", SCOPES, "rule")
        around = around_of(table)
        wrong_before = len(self.source.problems)
        named = any(key in FAULTS for key in table.left())
        faults = faults_of(table, lambda value: object_of(value, self.images))
        for fault in faults:
            for named_there in _registries_of(fault):
                self.known_registry(table, name_of(fault).partition("(")[0], named_there)
            misfit = misplaced(fault, on_connection=target.on == "connection")
            if misfit is not None and target.on:
                key = name_of(fault).partition("(")[0]
                table.problem(key, f"{key}: {misfit}")
        table.finish([*WINDOWS, *FAULTS])
        sound = len(self.source.problems) == wrong_before
        if sound and observe and named:
            table.problem("observe", "observe means no fault: leave one of them out")
        if sound and not observe and not named:
            table.problem("", "the rule has no fault (or say observe = true)")
        return RulePart(
            target=target,
            window=cast(Any, window),
            count=count,
            per=per,
            faults=faults,
            bait=bait,
            lie=lie,
            line=table.line,
            name=name,
            around=around,
        )

    def _check_names(
        self, tables: list[Table], rules: tuple[RulePart, ...], named: Iterable[str] = ()
    ) -> None:
        """Make a problem of a name that stands twice, or that nobody has."""
        known = set(named)
        for table, rule in zip(tables, rules, strict=True):
            if rule.name and rule.name in known:
                table.problem("name", f"{rule.name!r} is a rule's name twice")
            known |= {rule.name} - {""}
        for table, rule in zip(tables, rules, strict=True):
            asked = [("after_rule", rule.around.get("after_rule"))]
            for fault in rule.faults:
                if isinstance(fault, WaitFor | Release):
                    asked.append((name_of(fault).partition("(")[0], fault.rule))
            for key, name in asked:
                if name is not None and name not in known:
                    near = suggestion(name, known)
                    table.problem(key, f"{key}: there is no rule named {name!r}{near}")
