"""Cases by pullers, from any number of results: for a terminal, and as Markdown.

Each cell is a word, never a colour alone. What stands beside it says how the ledger sees it:
``*`` a known failure, ``!`` a failure that is new or otherwise than recorded, ``~`` recorded as a
failure and passing now.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import date
from string import ascii_uppercase

from conformance.report import title
from conformance.results import VERDICTS, Record, Results

__all__ = ["MARKS", "as_markdown", "as_text"]

MARKS = {
    "pass": "pass",
    "fail": "FAIL",
    "deviates": "dev",
    "differs": "diff",
    "recorded": "rec",
    "not-applicable": "-",
    "inconclusive": "inc",
    "error": "ERR",
}
_STANDING = {"known": "*", "news": "!", "new": "!", "stale": "~"}
_WITHHELD = "held"
_LEDGER = "* known by the ledger, ! news, ~ recorded as a failure and passes now"
_WIDTH = 120
"""Columns of a terminal in which the names of pullers stand; else letters do."""


def as_text(runs: Iterable[Results], width: int = _WIDTH) -> str:
    """The table for a terminal of that many columns: areas as headings, totals below."""
    runs = list(runs)
    cases = _cases(runs)
    heads = [_name(run) for run in runs]
    first = max([len(_slug(case)) + 2 for case in cases] + [len("not-applicable") + 2])
    widths = [max(len(head), 5) for head in heads]
    key: list[str] = []
    if first + sum(each + 2 for each in widths) > width:
        letters = [ascii_uppercase[n] if n < 26 else str(n) for n in range(len(runs))]
        key = [f"{letter}  {title(run)}" for letter, run in zip(letters, runs, strict=True)] + [""]
        heads, widths = letters, [5] * len(runs)

    def row(label: str, cells: Sequence[str]) -> str:
        padded = (f"{cell:<{each}}" for cell, each in zip(cells, widths, strict=True))
        return "  ".join([f"{label:<{first}}", *padded]).rstrip()

    lines = [*key, row("case", heads)]
    tables = [_table(run) for run in runs]
    area = ""
    for case in cases:
        if case.partition("/")[0] != area:
            area = case.partition("/")[0]
            # By a letter nobody knows a column for long.
            lines += ["", row(area, heads) if key else area]
        lines.append(row(f"  {_slug(case)}", [_cell(table.get(case)) for table in tables]))
    lines += ["", row("totals", heads)]
    lines += [row(f"  {label}", cells) for label, cells in _totals(runs)]
    words = ", ".join(f"{mark} {name}" for name, mark in MARKS.items() if mark != name)
    legend = textwrap.wrap(f"{words}; {_LEDGER}", width)
    return "\n".join([*lines, "", *legend, *_incomplete(runs)])


def as_markdown(runs: Iterable[Results]) -> str:
    """The same as Markdown: totals, and the cases folded up below, as GitHub shows them."""
    runs = list(runs)
    names = [_name(run) for run in runs]
    versions = [str(run.header.puller.get("version", "")) for run in runs]
    lines = [_line(["", *names]), _line(["---"] * (len(runs) + 1))]
    lines.append(_line(["version", *versions]))
    lines += [_line([label, *cells]) for label, cells in _totals(runs)]
    cases = _cases(runs)
    lines += ["", f"<details><summary>all {len(cases)} cases</summary>", ""]
    lines += [_line(["case", *names]), _line(["---"] * (len(runs) + 1))]
    tables = [_table(run) for run in runs]
    for case in cases:
        cells = [_cell(table.get(case)) for table in tables]
        # A star alone would begin emphasis in some renderers.
        lines.append(_line([f"`{case}`", *(cell.replace("*", r"\*") for cell in cells)]))
    words = ", ".join(f"{mark} {name}" for name, mark in MARKS.items() if mark != name)
    lines += ["", f"{words}; {_LEDGER}".replace("*", r"\*", 1)]
    return "\n".join([*lines, "", "</details>", *_incomplete(runs)])


def _totals(runs: Sequence[Results]) -> list[tuple[str, list[str]]]:
    """Rows: a verdict and how often each puller has it; then the standings against the ledger."""
    counted = [run.totals() for run in runs]
    rows: list[tuple[str, list[str]]] = [
        (verdict, [str(each.get(verdict, 0)) for each in counted])
        for verdict in VERDICTS
        if any(verdict in each for each in counted)
    ]
    for words, standings in (
        ("known *", ("known",)),
        ("news !", ("news", "new")),
        ("stale ~", ("stale",)),
    ):
        counts = [sum(record.standing in standings for record in run.records) for run in runs]
        if any(counts):
            rows.append((words, [str(count) for count in counts]))
    return rows


def _cases(runs: Sequence[Results]) -> list[str]:
    """Every case that any run has, areas together, in the order in which they come."""
    seen = dict.fromkeys(record.case for run in runs for record in run.records)
    areas = list(dict.fromkeys(case.partition("/")[0] for case in seen))
    return sorted(seen, key=lambda case: areas.index(case.partition("/")[0]))


def _table(run: Results) -> dict[str, Record]:
    return {record.case: record for record in run.records}


def _cell(record: Record | None) -> str:
    if record is None:
        return ""
    embargo = record.ledger.get("embargo", "")
    if embargo and date.today().isoformat() < embargo:  # noqa: DTZ011 - a day, not a moment
        return _WITHHELD
    return MARKS[record.verdict] + _STANDING.get(record.standing, "")


def _name(run: Results) -> str:
    return str(run.header.puller["name"])


def _slug(case: str) -> str:
    return case.partition("/")[2]


def _incomplete(runs: Sequence[Results]) -> list[str]:
    return [f"INCOMPLETE: {_name(run)}: {run.reason}" for run in runs if not run.complete]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
