"""Results: what was found, in the one form that every report derives from.

``results.json`` has a header (who, what, where), a record per case, and a footer that proves that
the file is whole. Its schema is ``schemas/results.schema.json``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = [
    "FAILURE_KINDS",
    "FORMAT",
    "VERDICTS",
    "Breach",
    "Header",
    "Record",
    "Results",
    "ResultsError",
    "Verdict",
    "by_case",
    "make_writable",
    "read",
    "results_files",
    "write",
    "write_json",
]

FORMAT = 1
"""Version number of the results' form."""

Verdict = Literal[
    "pass",
    "fail",
    "deviates",
    "differs",
    "recorded",
    "not-applicable",
    "inconclusive",
    "error",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
FailureKind = Literal[
    "accepted",
    "refused",
    "wrong-content",
    "crashed",
    "hung",
    "runaway",
    "leaked",
    "escaped",
    "unclear-error",
]
FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)


class ResultsError(Exception):
    """A results file can't be read, or isn't one. One line says why."""


@dataclass(frozen=True)
class Breach:
    """A secret that was seen where it must not be (or, for a mirror, where policies differ)."""

    secret: str
    seen_by: str
    scheme: str
    where: str
    case: str = ""
    policy: bool = False


@dataclass
class Record:
    """What was found for one case. Texts hold no ports and no secrets."""

    case: str
    verdict: Verdict
    kind: str = ""
    requirement: str = ""
    level: str = ""
    authority: str = ""
    note: str = ""
    expected: str = ""
    actual: str = ""
    lies: list[str] = field(default_factory=list)
    neighbour: dict[str, Any] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    traffic: dict[str, Any] = field(default_factory=dict)
    standing: str = "expected"
    ledger: dict[str, str] = field(default_factory=dict)
    tentative: bool = False
    seconds: float = 0.0
    bundle: str = ""

    def to_json(self) -> dict[str, Any]:
        """The JSON form; empty members are left out, except the first three."""
        document = asdict(self)
        kept = ("case", "verdict", "seconds")
        return {key: value for key, value in document.items() if value or key in kept}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Record:
        """The reverse of `to_json`."""
        known = {one.name for one in fields(cls)}
        given = {key: value for key, value in document.items() if key in known}
        given["breaches"] = [Breach(**breach) for breach in document.get("breaches", ())]
        return cls(**given)


@dataclass
class Header:
    """Who was judged by whom, where and how."""

    suite: str
    seed: str
    puller: dict[str, Any]
    machine: dict[str, Any]
    isolation: str
    selection: list[str] = field(default_factory=list)
    started: str = ""
    requirements: dict[str, dict[str, str]] = field(default_factory=dict)
    untested: list[str] = field(default_factory=list)
    capabilities: dict[str, Any] = field(default_factory=dict)


@dataclass
class Results:
    """A whole run. ``complete``: every case that was to run has a record."""

    header: Header
    records: list[Record]
    complete: bool = True
    reason: str = ""

    def totals(self) -> dict[str, int]:
        """How many records have which verdict, in the order of `VERDICTS`."""
        counted = Counter(record.verdict for record in self.records)
        return {verdict: counted[verdict] for verdict in VERDICTS if counted[verdict]}

    def to_json(self) -> dict[str, Any]:
        """Header, records and footer."""
        footer: dict[str, Any] = {
            "complete": self.complete,
            "records": len(self.records),
            "totals": self.totals(),
        }
        if self.reason:
            footer["reason"] = self.reason
        return {
            "format": FORMAT,
            "header": asdict(self.header),
            "records": [record.to_json() for record in self.records],
            "footer": footer,
        }


def write(results: Results, path: Path) -> None:
    """Write the file in one step: a reader sees the old one or the new one, never a part."""
    write_json(results.to_json(), path)


def make_writable(folder: Path, option: str) -> None:
    """Make the folder, and try to write there: before a run, not after it.

    Raises `ResultsError` with a line that names the `option` that says where to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResultsError(
            f"can't write to {folder}: {error.strerror}; {option} says where to"
        ) from None


def results_files(path: Path) -> list[Path]:
    """The file itself, or the results files that stand in a folder or in the folders below it."""
    if not path.is_dir():
        return [path]
    found = [*path.glob("results.json"), *sorted(path.glob("*/results.json"))]
    if not found:
        raise ResultsError(f"{path}: no results.json is there or one folder below")
    return found


def write_json(document: Mapping[str, Any], path: Path) -> None:
    """Write a JSON document in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path) -> Results:
    """A results file; raises `ResultsError` where it isn't one, or isn't whole in its form."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ResultsError(f"{path}: not a results file of format {FORMAT}")
    missing = [part for part in ("header", "records", "footer") if part not in document]
    if missing:
        raise ResultsError(f"{path}: '{missing[0]}' is missing: the file is cut")
    footer = document["footer"]
    if footer.get("records") != len(document["records"]):
        raise ResultsError(
            f"{path}: {len(document['records'])} records, and the footer says "
            f"{footer.get('records')}"
        )
    return Results(
        Header(**document["header"]),
        [Record.from_json(record) for record in document["records"]],
        bool(footer["complete"]),
        footer.get("reason", ""),
    )


def by_case(records: Iterable[Record]) -> dict[str, Record]:
    """The records by the id of their case."""
    return {record.case: record for record in records}
