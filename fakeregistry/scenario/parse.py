"""From a TOML file to a :class:`Scenario`, with one line for each mistake."""

from pathlib import Path
from typing import Any, cast

from fakeregistry.faults import FAULTS, Redirect

from .faultkeys import faults_of
from .model import (
    OUTCOMES,
    WINDOWS,
    ExpectPart,
    IncidentPart,
    PullPart,
    RegistryPart,
    RequestsPart,
    RulePart,
    Scenario,
)
from .reader import Source, Table
from .worldparts import WorldReader


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


def read_rules(source: Source, scenario: Scenario) -> tuple[RulePart, ...]:
    """Read rules for a world that stands: ``[[rule]]`` tables, or the keys of a single rule.

    They name the registries and images of `scenario`. Raises :class:`ScenarioError`.
    """
    rules = _Reading(source).rules(scenario)
    source.check()
    return rules


class _Reading(WorldReader):
    """One pass over one file."""

    def rules(self, scenario: Scenario) -> tuple[RulePart, ...]:
        """Read rules alone."""
        self.registries, self.images = scenario.registries, scenario.images
        top = self.source.top
        if not top.has("rule"):
            return (self._rule(top),)
        rules = tuple(self._rule(table) for table in top.tables("rule", one=True))
        top.finish()
        return rules

    def scenario(self) -> Scenario:
        top, path = self.source.top, Path(self.source.file)
        incident = self._incident(top.table("incident"))
        tables = top.tables("registry", one=True)
        self.registries = tuple(self.registry(table) for table in tables)
        if not any(part.name == "origin" for part in self.registries):
            self.registries = (RegistryPart(), *self.registries)
        for table, part in zip(tables, self.registries[-len(tables) :], strict=False):
            if part.auth and part.auth.realm:
                self.known_registry(table, "auth", part.auth.realm)
        tables = top.tables("image", one=True)
        self.images = tuple(self.image(table) for table in tables)
        if not self.images:
            top.problem("", "there is no [[image]]: a scenario needs at least one")
        self.twice(top, "registry", [part.name for part in self.registries])
        self.twice(top, "image", [part.id for part in self.images])
        rules = tuple(self._rule(table) for table in top.tables("rule", one=True))
        pull = self._pull(top.table("pull"))
        expect = self._expect(top.table("expect"))
        if (pull is None) != (expect is None):
            there, absent = ("expect", "pull") if pull is None else ("pull", "expect")
            top.problem(there, f"[{there}] needs [{absent}] beside it")
        top.finish()
        return Scenario(
            path.stem,
            path if self.source.is_file else Path(),
            incident,
            self.registries,
            self.images,
            rules,
            pull,
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
        )
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
            if key == "always":
                table.flag(key)
            else:
                count = table.integer(key, 1, least=1) or 1
        observe, bait = table.flag("observe"), table.flag("bait")
        lie = table.flag("lie", True)
        per = table.choice("per", ("rule", "digest", "method"), "rule")
        wrong_before = len(self.source.problems)
        named = any(key in FAULTS for key in table.left())
        faults = faults_of(table)
        for fault in faults:
            if isinstance(fault, Redirect) and fault.to and "://" not in fault.to:
                self.known_registry(table, "redirect", fault.to)
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
            per=cast(Any, per),
            faults=faults,
            bait=bait,
            lie=lie,
            line=table.line,
        )

    def _pull(self, table: Table | None) -> PullPart | None:
        if table is None:
            return None
        image = self.image_of(table)
        hosts = table.texts("hosts")
        for host in hosts:
            self.known_registry(table, "hosts", host)
        part = PullPart(
            image=image.id if image else "",
            platform=self.platform_of(table, image),
            by_digest=table.flag("by_digest"),
            auth=cast(Any, table.choice("auth", ("right", "wrong", "none"), "right")),
            trust=cast(Any, table.choice("trust", ("right", "none", "skip"), "right")),
            hosts=hosts,
            timeout=table.seconds("timeout"),
            progress_timeout=table.seconds("progress_timeout"),
            max_concurrent_downloads=table.integer("max_concurrent_downloads", least=1),
            parallel=table.integer("parallel", 1, least=1) or 1,
        )
        table.finish()
        return part

    def _expect(self, table: Table | None) -> ExpectPart | None:
        if table is None:
            return None
        named = table.has("outcome")
        outcome = table.choice("outcome", OUTCOMES, "")
        if not outcome and not named:
            table.problem("outcome", f"[expect] needs outcome = one of {', '.join(OUTCOMES)}")
        untouched = table.texts("untouched")
        for host in untouched:
            self.known_registry(table, "untouched", host)
        part = ExpectPart(
            outcome=cast(Any, outcome),
            content=table.flag("content", outcome == "pulled"),
            requests=tuple(self._requests(one) for one in table.tables("requests")),
            untouched=untouched,
            at_least_s=table.seconds("at_least_s"),
            at_most_s=table.seconds("at_most_s"),
            requirements=table.texts("requirements"),
        )
        bounds = part.at_least_s is not None or part.at_most_s is not None
        if outcome == "either" and not (part.requests or untouched or bounds or part.content):
            table.problem(
                "outcome",
                "outcome = 'either' asserts nothing alone: add requests, untouched, content "
                "or a bound",
            )
        if part.content and outcome == "refused":
            table.problem("content", "content can't be judged where the pull must be refused")
        if bounds and (part.at_least_s or 0) > (part.at_most_s or float("inf")):
            table.problem("at_least_s", "at_least_s is more than at_most_s")
        table.finish()
        return part

    def _requests(self, table: Table) -> RequestsPart:
        target = self.target(table)
        least, most = table.integer("at_least"), table.integer("at_most")
        if least is None and most is None:
            table.problem("", "[[expect.requests]] needs at_least, at_most, or both")
        elif least is not None and most is not None and least > most:
            table.problem("at_least", "at_least is more than at_most")
        table.finish()
        return RequestsPart(target, least, most, table.line)
