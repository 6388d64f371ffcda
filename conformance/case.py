"""What a case is, and the registry of all cases.

A case is a function with the ``@case`` decorator in ``conformance/cases/<area>.py``. Its
parameters are given by name: ``world``, ``registry`` (the world's origin, plain http) and
``puller``. The first line of its docstring is what reports call 'expected'.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from conformance.contract import Evidence
from conformance.requirements import Requirement, Requirements

__all__ = [
    "AREAS",
    "Case",
    "CaseError",
    "Observed",
    "case",
    "did_you_mean",
    "load_cases",
    "observed",
    "select",
    "validate",
]

AREAS = (
    "names",
    "auth",
    "tokens",
    "tls",
    "hosts",
    "transport",
    "http2",
    "redirects",
    "manifests",
    "indexes",
    "blob",
    "resume",
    "timeouts",
    "concurrency",
    "cancel",
    "schema1",
    "unpack",
    "records",
    "incident",
)
"""The first part of an id: where in the catalogue a case belongs."""

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*")
_PARAMETERS = frozenset({"world", "registry", "puller"})


class CaseError(Exception):
    """A case is declared wrongly. One line says which, and what."""


@dataclass(frozen=True)
class Observed:
    """What a case found out where nothing can be wrong: a name and a value, to be recorded."""

    name: str
    value: str


def observed(name: str, value: object) -> Observed:
    """Returned by a case of level MAY or OBSERVE: the verdict is ``recorded`` with this value.

    The value must not hold what changes from run to run (ports, digests, exact seconds): it is
    compared between runs and between pullers.
    """
    return Observed(name, str(value))


@dataclass(frozen=True)
class Case:
    """One test of one behaviour.

    Attributes:
        id: ``area/slug``, kept for ever (``cases.lock``).
        covers: ids of requirements; the first is the one it is judged by.
        needs: evidence without which it can't be judged.
        capabilities: features that the profile must have (declared, or found by a probe).
        stalls: it waits more than it works: such cases run side by side, in a pool of their own.
        either: to refuse and to have the right content are both right, so that its assertion may
            hold in the honest world too.
        tentative: reports and doesn't gate.
        summary: the first sentence of its docstring.
        scenario: the file that it was read from, where it isn't a function.
    """

    id: str
    covers: tuple[str, ...]
    function: Callable[..., Observed | None] = field(repr=False, compare=False)
    needs: frozenset[Evidence] = frozenset()
    capabilities: frozenset[str] = frozenset()
    stalls: bool = False
    tentative: bool = False
    either: bool = False
    summary: str = ""
    scenario: Path | None = None

    @property
    def area(self) -> str:
        """The first part of the id."""
        return self.id.partition("/")[0]

    @property
    def parameters(self) -> frozenset[str]:
        """Which of ``world``, ``registry`` and ``puller`` the function asks for."""
        return frozenset(inspect.signature(self.function).parameters)

    def requirement(self, table: Requirements) -> Requirement:
        """The requirement it is judged by."""
        return table[self.covers[0]]


_CASES: dict[str, Case] = {}


def case(
    id: str,  # noqa: A002 - the word that reports and ledgers use
    *,
    covers: str | Iterable[str],
    needs: Iterable[Evidence] = (),
    capabilities: Iterable[str] = (),
    stalls: bool = False,
    tentative: bool = False,
    either: bool = False,
) -> Callable[[Callable[..., Observed | None]], Callable[..., Observed | None]]:
    """Make a function a case (fields: see `Case`)."""

    def register(function: Callable[..., Observed | None]) -> Callable[..., Observed | None]:
        made = Case(
            id=id,
            covers=(covers,) if isinstance(covers, str) else tuple(covers),
            function=function,
            needs=frozenset(needs),
            capabilities=frozenset(capabilities),
            stalls=stalls,
            either=either,
            tentative=tentative,
            summary=" ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split()),
        )
        _check(made)
        before = _CASES.get(id)
        if before is not None and not _same(before.function, function):
            raise CaseError(f"case {id}: two functions have this id")
        _CASES[id] = made
        return function

    return register


def load_cases() -> dict[str, Case]:
    """All cases of ``conformance/cases``, by id, in the order of areas and files."""
    package = importlib.import_module("conformance.cases")
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda found: found.name):
        importlib.import_module(f"conformance.cases.{module.name}")
    shipped = (
        made for made in _CASES.values() if made.function.__module__.startswith(package.__name__)
    )
    return {made.id: made for made in sorted(shipped, key=lambda made: AREAS.index(made.area))}


def validate(cases: Iterable[Case], table: Requirements) -> None:
    """Every requirement that a case names exists; raises `CaseError` otherwise."""
    for made in cases:
        for requirement in made.covers:
            if requirement not in table:
                hint = did_you_mean(requirement, table)
                raise CaseError(f"case {made.id}: no requirement {requirement!r}{hint}")


def select(cases: Mapping[str, Case], patterns: Iterable[str]) -> list[Case]:
    """The cases whose id matches one of the patterns (as file names do); all without a pattern.

    Raises `CaseError` for a pattern that matches nothing: a typo must not pass as 'no failures'.
    """
    wanted = list(patterns)
    if not wanted:
        return list(cases.values())
    chosen: dict[str, Case] = {}
    for pattern in wanted:
        found = {key: made for key, made in cases.items() if fnmatchcase(key, pattern)}
        if not found:
            raise CaseError(
                f"no case matches {pattern!r}{did_you_mean(pattern, cases)}; "
                "`pullproof list` shows all"
            )
        chosen.update(found)
    return [made for key, made in cases.items() if key in chosen]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``: did you mean 'x'?`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f": did you mean {near[0]!r}?" if near else ""


def _check(made: Case) -> None:
    if not _ID.fullmatch(made.id):
        raise CaseError(f"case {made.id!r}: an id is 'area/some-words' in lower case")
    if made.area not in AREAS:
        raise CaseError(f"case {made.id}: no area {made.area!r}{did_you_mean(made.area, AREAS)}")
    if not made.covers:
        raise CaseError(f"case {made.id} covers no requirement")
    if not made.summary:
        raise CaseError(f"case {made.id} has no docstring: say in one sentence what is expected")
    unknown = sorted(made.parameters - _PARAMETERS)
    if unknown:
        raise CaseError(f"case {made.id}: unknown parameter {unknown[0]!r}")
    if "puller" not in made.parameters:
        raise CaseError(f"case {made.id} takes no puller")


def _same(one: Any, other: Any) -> bool:
    """Whether two functions are one definition, imported again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
