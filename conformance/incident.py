"""Incidents: scenario files that run as cases, without a line of code.

``fakeregistry`` reads and checks the files and builds their worlds; what ``[pull]`` and
``[expect]`` mean is interpreted here, and only here. A file ``x.toml`` is the case ``incident/x``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from conformance.case import Case, CaseError
from conformance.contract import Evidence, Trust
from conformance.pulls import CasePuller, Pulled
from conformance.world import World
from fakeregistry.scenario import PullPart, Scenario, ScenarioError, load, shipped
from fakeregistry.scenario.build import Built, build

__all__ = ["case_of", "load_cases"]

UNLISTED = "SCENARIO-01"
"""What a file is judged by that names no requirement: the user's own expectation."""


def load_cases(further: Iterable[str] = ()) -> dict[str, Case]:
    """The shipped scenario files and further ones, as cases by id.

    Raises `CaseError` with one line per problem. Shipped files without ``[expect]`` are worlds to
    serve, and no cases; a further file without one is an error.
    """
    cases: dict[str, Case] = {}
    for path in shipped().values():
        scenario = _read(path)
        if scenario.expect is not None and scenario.pull is not None:
            made = case_of(scenario)
            cases[made.id] = made
    for name in further:
        scenario = _read(Path(name))
        if scenario.expect is None or scenario.pull is None:
            lacking = "[pull]" if scenario.pull is None else "[expect]"
            raise CaseError(f"{name}: no {lacking}: there is nothing to judge")
        made = case_of(scenario)
        cases[made.id] = made
    return cases


def case_of(scenario: Scenario) -> Case:
    """A scenario with ``[pull]`` and ``[expect]`` as a case."""
    assert scenario.expect is not None
    expect = scenario.expect
    needs = {Evidence.LAYOUT} if expect.content else set()
    long_waits = any(_waits(fault) for rule in scenario.rules for fault in rule.faults)

    def function(world: World, puller: CasePuller) -> None:
        _play(scenario, world, puller)

    return Case(
        id=f"incident/{scenario.name}",
        covers=expect.requirements or (UNLISTED,),
        function=function,
        needs=frozenset(needs),
        stalls=long_waits,
        summary=scenario.incident.right or scenario.incident.title or scenario.name,
        scenario=scenario.path,
    )


def _read(path: Path) -> Scenario:
    try:
        return load(path)
    except ScenarioError as error:
        # A line each; those that name a place in the file first, and one is enough to begin with.
        lines = sorted(str(error).splitlines(), key=lambda line: not re.match(r".*?:\d+: ", line))
        more = f" ({len(lines) - 1} more: `fakeregistry check {path}`)" if len(lines) > 1 else ""
        raise CaseError(lines[0] + more) from None


def _waits(fault: Any) -> bool:
    name = type(fault).__name__
    return name in ("StallAfter", "DelayHeaders", "Drip", "Throttle")


def _play(scenario: Scenario, world: World, puller: CasePuller) -> None:
    def tell(words: str, false: Any, true: Any, where: str) -> Any:
        return world.lie(words, false, truth=true, where=where)  # type: ignore[arg-type]

    # Lies in rules are the stage's matter: its registries turn them into observers.
    built = build(scenario, world.registries, stage=world, tell=tell)
    assert scenario.pull is not None
    assert scenario.expect is not None
    pulls = _pull(scenario.pull, built, world, puller)
    expect = scenario.expect
    for pulled in pulls:
        if expect.outcome == "pulled":
            assert pulled.succeeded, f"expected was a pull, it was {pulled.outcome.kind}"
        elif expect.outcome == "refused":
            assert pulled.refused, f"expected was a refusal, it was {pulled.outcome.kind}"
        else:
            ended = pulled.succeeded or pulled.refused
            assert ended, f"expected was a clean end, it was {pulled.outcome.kind}"
        if expect.at_most_s is not None:
            assert pulled.seconds <= expect.at_most_s, f"took {pulled.seconds:.1f} s"
        if expect.at_least_s is not None:
            assert pulled.seconds >= expect.at_least_s, f"took {pulled.seconds:.1f} s only"
    for part in expect.requests:
        count = len(built.seen(part.target))
        words = f"{count} requests for {part.target.on} at {part.target.registry}"
        assert part.at_most is None or count <= part.at_most, f"{words}, at most {part.at_most}"
        assert part.at_least is None or count >= part.at_least, f"{words}, at least {part.at_least}"
    for name in expect.untouched:
        assert not world.registry(name).contacted, f"{name} was contacted"


def _pull(part: PullPart, built: Built, world: World, puller: CasePuller) -> list[Pulled]:
    image = built.images[part.image or next(iter(built.images))]
    home = world.registry(image.registry.name)
    options: dict[str, Any] = {
        "platform": part.platform,
        "by_digest": part.by_digest,
        "hosts": [world.registry(name) for name in part.hosts],
        "timeout": part.timeout,
        "progress_timeout": part.progress_timeout,
        "max_concurrent_downloads": part.max_concurrent_downloads,
    }
    if home.real.auth is not None and part.auth != "none":
        options["auth"] = home.real.auth.credentials
        if part.auth == "wrong":
            options["auth"] = world.wrong_credentials(home)
    if part.trust == "none":
        options["trust"] = Trust()
    elif part.trust == "skip":
        options["trust"] = Trust(skip_verify=True)
    expect = built.scenario.expect
    if expect is not None and expect.at_most_s is not None:
        options["within"] = expect.at_most_s
    if part.parallel == 1:
        return [puller.pull(image, **options)]
    running = [puller.start(image, **options) for _ in range(part.parallel)]
    return [each.wait() for each in running]
