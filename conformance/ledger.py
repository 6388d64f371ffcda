"""Ledgers: the known failures of one puller, with reasons, strict both ways.

``conformance/ledgers/<puller>.toml`` has one ``[[entry]]`` per known failure. A failure that is
recorded is ``known``; a case that is recorded and passes is ``stale``; one that fails otherwise
than recorded is ``news``. A pattern that matches no case at all is an error.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

from conformance.results import FAILURE_KINDS, Verdict

__all__ = ["Entry", "Ledger", "LedgerError", "Standing", "in_range"]

Standing = Literal["expected", "known", "stale", "news", "new"]
"""How a verdict stands against the ledger; ``new`` is a failure that no entry speaks of."""

STANDINGS: tuple[str, ...] = get_args(Standing)
LEDGER_VERDICTS = ("fail", "deviates", "inconclusive")
_NEEDED = ("case", "verdict", "reason", "date")
_FIELDS = {*_NEEDED, "kind", "versions", "link", "embargo"}
_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9][^\s,]*)\s*")


class LedgerError(Exception):
    """A ledger is wrong. One line says which entry, and what."""


@dataclass(frozen=True)
class Entry:
    """One known failure.

    ``case`` is a pattern over ids; ``versions`` is a range such as ``>=1.6, <2`` over the puller's
    version (empty: all). ``embargo``: until that day reports show neither reason nor details.
    """

    case: str
    verdict: str
    reason: str
    date: datetime.date
    kind: str = ""
    versions: str = ""
    link: str = ""
    embargo: datetime.date | None = None

    def withheld(self, today: datetime.date) -> bool:
        """Whether the embargo still holds."""
        return self.embargo is not None and today < self.embargo


@dataclass(frozen=True)
class Ledger:
    """The entries of one puller that speak about the version under test."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def read(cls, path: Path, version: str, cases: Iterable[str]) -> Ledger:
        """The ledger at `path`; empty when there is no such file."""
        if not path.exists():
            return cls()
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LedgerError(f"{path.name}: {error}") from None
        return cls.parse(document, version, cases, path.name)

    @classmethod
    def parse(
        cls, document: Mapping[str, Any], version: str, cases: Iterable[str], name: str = "ledger"
    ) -> Ledger:
        """The entries of a TOML document, checked against the ids of all cases."""
        ids = list(cases)
        unknown = sorted(set(document) - {"entry"})
        if unknown:
            raise LedgerError(f"{name}: unknown key {unknown[0]!r} (entries stand in [[entry]])")
        entries = [
            _entry(fields, f"{name}, entry {number}")
            for number, fields in enumerate(document.get("entry", ()), 1)
        ]
        for entry in entries:
            if not any(fnmatchcase(key, entry.case) for key in ids):
                raise LedgerError(f"{name}: the pattern {entry.case!r} matches no case")
        return cls(tuple(entry for entry in entries if in_range(version, entry.versions)))

    def entry(self, case: str) -> Entry | None:
        """The entry that speaks about a case: the longest pattern is the most particular."""
        found = [entry for entry in self.entries if fnmatchcase(case, entry.case)]
        return max(found, key=lambda entry: len(entry.case), default=None)

    def standing(self, case: str, verdict: Verdict, kind: str) -> Standing:
        """How one verdict stands against the ledger."""
        entry = self.entry(case)
        failed = verdict in LEDGER_VERDICTS
        if entry is None:
            return "new" if failed else "expected"
        if verdict in ("not-applicable", "error"):
            return "expected"
        if not failed:
            return "stale"
        same = verdict == entry.verdict and entry.kind in ("", kind)
        return "known" if same else "news"


def _entry(fields: Mapping[str, Any], where: str) -> Entry:
    unknown = sorted(set(fields) - _FIELDS)
    if unknown:
        raise LedgerError(f"{where}: unknown key {unknown[0]!r}")
    for name in _NEEDED:
        if name not in fields:
            raise LedgerError(f"{where}: '{name}' is missing")
    where = f"{where} ({fields['case']})"
    if fields["verdict"] not in LEDGER_VERDICTS:
        raise LedgerError(f"{where}: verdict must be one of {', '.join(LEDGER_VERDICTS)}")
    kind = fields.get("kind", "")
    if fields["verdict"] != "inconclusive" and kind not in FAILURE_KINDS:
        raise LedgerError(f"{where}: kind must be one of {', '.join(FAILURE_KINDS)}")
    for name in ("date", "embargo"):
        if name in fields and not isinstance(fields[name], datetime.date):
            raise LedgerError(f"{where}: {name} must be a TOML date: 2026-11-24")
    if not str(fields["reason"]).strip():
        raise LedgerError(f"{where}: the reason is empty")
    in_range("0", fields.get("versions", ""), where)
    return Entry(**fields)


def in_range(version: str, clauses: str, where: str = "version range") -> bool:
    """Whether ``1.6.20`` is in ``>=1.6, <2``; every clause must hold, none means all versions.

    A part after a dash is a pre-release: ``1.7.0-beta.0`` comes before ``1.7.0``.
    """
    for clause in filter(None, (part.strip() for part in clauses.split(","))):
        match = _CLAUSE.fullmatch(clause)
        if match is None:
            raise LedgerError(f"{where}: {clause!r} isn't a clause such as '>=1.6' or '<2'")
        operator, other = match.groups()
        one, two = _key(version), _key(other)
        holds = {
            ">=": one >= two,
            "<=": one <= two,
            "==": one == two,
            "!=": one != two,
            "<": one < two,
            ">": one > two,
        }[operator]
        if not holds:
            return False
    return True


def _key(version: str) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    # A distribution's own suffix (1.6.20~ds1-1+deb12u2) says nothing about upstream's version.
    text = re.split(r"[~+]", version.lstrip("v"))[0]
    release, dash, extra = text.partition("-")
    numbers = tuple(int(part) for part in re.findall(r"\d+", release))
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers, 0 if dash else 1, tuple(int(part) for part in re.findall(r"\d+", extra))
