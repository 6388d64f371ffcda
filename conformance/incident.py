"""Incidents: scenario files that run as cases, without a line of code.

``fakeregistry`` reads and checks the files and builds their worlds; what ``[pull]`` and
``[expect]`` mean is interpreted here, and only here. A file ``x.toml`` is the case ``incident/x``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance import expected
from conformance.capabilities import PROBES
from conformance.case import Case, CaseError, did_you_mean
from conformance.contract import Evidence
from conformance.profile import KNOWN_INPUTS
from conformance.pulls import CasePuller
from conformance.requirements import load as load_requirements
from conformance.steps import played
from conformance.world import World
from fakeregistry.faults import name_of
from fakeregistry.scenario import Scenario, ScenarioError, load, shipped
from fakeregistry.scenario.build import build

__all__ = ["case_of", "load_cases", "named_cases"]

UNLISTED = "SCENARIO-01"
"""What a file is judged by that names no requirement: the user's own expectation."""
SLOW = frozenset(
    {
        "stall_after",
        "delay_headers",
        "delay_first_byte",
        "drip",
        "throttle",
        "hold_open",
        "half_close_after",
        "accept_silence",
        "tls_stall",
        "blackhole_established",
    }
)
"""Faults that take their time."""


def load_cases(further: Iterable[str] = ()) -> dict[str, Case]:
    """The shipped scenario files and further ones, as cases by id.

    Raises `CaseError` with one line per problem. Shipped files without ``[expect]`` are worlds to
    serve, and no cases; a further file without one is an error.
    """
    cases: dict[str, Case] = {}
    for path in shipped().values():
        scenario = _read(path)
        if scenario.expect is not None:
            made = case_of(scenario)
            cases[made.id] = made
    for name in further:
        scenario = _read(Path(name))
        if scenario.expect is None:
            raise CaseError(f"{name}: no [pull] and [expect]: there is nothing to judge")
        made = case_of(scenario)
        cases[made.id] = made
    return cases


def case_of(scenario: Scenario) -> Case:
    """A scenario with ``[pull]`` and ``[expect]`` as a case."""
    assert scenario.expect is not None
    expect = scenario.expect
    needs = {
        Evidence.LAYOUT: expect.content,
        Evidence.ROOTFS: expect.rootfs,
        Evidence.STATUS: expect.absent,
    }

    def function(world: World, puller: CasePuller) -> None:
        _play(scenario, world, puller)

    return Case(
        id=f"incident/{scenario.name}",
        covers=expect.requirements or (UNLISTED,),
        function=function,
        needs=frozenset(evidence for evidence, needed in needs.items() if needed),
        capabilities=frozenset(expect.capabilities),
        stalls=_waits(scenario),
        either="either" in (expect.outcome, *(pull.outcome for pull in scenario.pulls)),
        summary=scenario.incident.right or scenario.incident.title or scenario.name,
        scenario=scenario.path,
    )


def named_cases() -> dict[str, str]:
    """The shipped files that name a case in code as the one that plays them: file -> its id."""
    scenarios = map(_read, shipped().values())
    return {one.name: one.incident.case for one in scenarios if one.incident.case}


def _read(path: Path) -> Scenario:
    try:
        return _known(load(path))
    except ScenarioError as error:
        # A line each; those that name a place in the file first, and one is enough to begin with.
        lines = sorted(str(error).splitlines(), key=lambda line: not re.match(r".*?:\d+: ", line))
        more = f" ({len(lines) - 1} more: `fakeregistry check {path}`)" if len(lines) > 1 else ""
        raise CaseError(lines[0] + more) from None


def _known(scenario: Scenario) -> Scenario:
    """The scenario, if the suite knows what it names; raises `CaseError` with file and line."""
    expect = scenario.expect
    if expect is not None:
        features = sorted({*PROBES, *KNOWN_INPUTS})
        for key, what, named, known in (
            ("requirements", "requirement", expect.requirements, load_requirements()),
            ("capabilities", "capability", expect.capabilities, features),
        ):
            for word in named:
                if word not in known:
                    where = f"{scenario.path}:{expect.lines.get(key, 0)}"
                    raise CaseError(f"{where}: no {what} {word!r}{did_you_mean(word, known)}")
    return scenario


def _waits(scenario: Scenario) -> bool:
    """Whether it waits more than it works: a fault that takes its time, or a limit of the puller's.

    A gate that a step opens again (``leave_at``, ``cancel_at``) takes no time.
    """
    stopped = {part.stopped_at for part in scenario.pulls}
    slow = any(
        name_of(fault).partition("(")[0] in SLOW
        for rule in scenario.rules
        if not (rule.name and rule.name in stopped)
        for fault in rule.faults
    )
    slow = slow or any(part.listening == "blackhole" for part in scenario.registries)
    return slow or any(part.timeout or part.progress_timeout for part in scenario.pulls)


def _play(scenario: Scenario, world: World, puller: CasePuller) -> None:
    def tell(words: str, false: Any, true: Any, where: str) -> Any:
        return world.lie(words, false, truth=true, where=where)  # type: ignore[arg-type]

    # Lies in rules are the stage's matter: its registries turn them into observers.
    built = build(scenario, world.registries, stage=world, tell=tell)
    assert scenario.expect is not None
    puller.tree_is_told = scenario.expect.rootfs
    steps = []
    for step in played(built, world, puller):
        steps.append(step)
        expected.of_step(step, scenario.expect)
        if scenario.expect.content and not world.honest:
            expected.of_content(step, built, puller)
    expected.of_world(steps, built, world, puller)
