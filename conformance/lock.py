"""The lock of ids: a case or requirement that was once published keeps its id for ever.

``cases.lock`` has one line per id: kind, id, and for a case what it covers. A case that has gone
stays in the file as ``retired``, so that its id is never given to something else. The check
compares the lock with what there is; a difference fails until it is locked on purpose by
``pullproof list --lock``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

from conformance.case import Case
from conformance.requirements import Requirements

__all__ = ["LockError", "check", "lines_of", "path", "read", "update"]

_HEAD = (
    "# Ids of cases and requirements. Written by `pullproof list --lock`; never edited by hand.\n"
)


class LockError(Exception):
    """The lock file can't be read. One line says where."""


def path() -> Path:
    """Where the lock stands in the source tree."""
    return Path(str(resources.files("conformance").joinpath("cases.lock")))


def lines_of(cases: Iterable[Case], requirements: Requirements) -> dict[tuple[str, str], str]:
    """What the lock should say now: (kind, id) -> the rest of the line."""
    table = {("requirement", key): "" for key in requirements}
    # Scenario files are data that anyone adds: their file name is their id, and isn't locked.
    table.update(
        {("case", case.id): " ".join(case.covers) for case in cases if case.scenario is None}
    )
    return table


def read(text: str) -> dict[tuple[str, str], str]:
    """The lock as it stands."""
    table: dict[tuple[str, str], str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, rest = line.partition(" ")
        name, _, covers = rest.partition(" ")
        if kind not in ("case", "requirement", "retired-case", "retired-requirement") or not name:
            raise LockError(f"cases.lock, line {number}: not understood: {line!r}")
        table[kind, name] = covers.strip()
    return table


def check(locked: Mapping[tuple[str, str], str], now: Mapping[tuple[str, str], str]) -> list[str]:
    """What differs, one sentence each; empty where all is as it was locked."""
    problems = []
    for (kind, name), covers in now.items():
        if (f"retired-{kind}", name) in locked:
            problems.append(f"{kind} {name}: this id was retired and can't be used again")
        elif (kind, name) not in locked:
            problems.append(f"{kind} {name} is new: lock it with `pullproof list --lock`")
        elif locked[kind, name] != covers:
            problems.append(
                f"{kind} {name} covers {covers or 'nothing'}, and was locked with "
                f"{locked[kind, name] or 'nothing'}"
            )
    problems.extend(
        f"{kind} {name} is gone, or has another id now"
        for kind, name in locked
        if not kind.startswith("retired-") and (kind, name) not in now
    )
    return problems


def update(locked: Mapping[tuple[str, str], str], now: Mapping[tuple[str, str], str]) -> str:
    """The lock's new text: what is new is added, what is gone is retired."""
    table = dict(now)
    for (kind, name), covers in locked.items():
        if kind.startswith("retired-"):
            table[kind, name] = covers
        elif (kind, name) not in now:
            table[f"retired-{kind}", name] = covers
    lines = [f"{kind} {name} {covers}".rstrip() for (kind, name), covers in sorted(table.items())]
    return _HEAD + "\n".join(lines) + "\n"
