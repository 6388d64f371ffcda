"""What a run says in the terminal: a block per case that a person should look at, and totals."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from conformance.ledger import Ledger
from conformance.requirements import Requirement, Requirements
from conformance.results import VERDICTS, Record, Results

__all__ = [
    "block",
    "detail",
    "noteworthy",
    "summary",
    "timeline_lines",
    "title",
    "totals_line",
    "withheld",
]

_WIDTH = 100
_MOST_ROWS = 24


def noteworthy(record: Record) -> bool:
    """Whether a record gets a block: whatever isn't as expected, and what fails for us."""
    if record.standing in ("stale", "news", "new"):
        return True
    return record.verdict in ("error", "inconclusive") and record.standing != "known"


def withheld(record: Record, ledger: Ledger | None) -> bool:
    """Whether an embargo keeps the details of this record back."""
    entry = ledger.entry(record.case) if ledger is not None else None
    # A day, not a moment: every clock on Earth is right enough.
    return entry is not None and entry.withheld(date.today())  # noqa: DTZ011


def block(
    record: Record, requirements: Requirements, again: str, ledger: Ledger | None = None
) -> str:
    """One case, with all that is needed to act on it."""
    entry = ledger.entry(record.case) if ledger is not None else None
    head = f"{record.verdict.upper()} {record.case}"
    head += f"  ({record.kind})" if record.kind else ""
    if record.tentative:
        head += "  [tentative: doesn't gate]"
    lines = ["─" * _WIDTH, head]
    if entry is not None and withheld(record, ledger):
        return "\n".join([*lines, f"  withheld until {entry.embargo}"])
    if entry is not None and record.standing in ("stale", "news"):
        recorded = f"{entry.verdict} {entry.kind}".strip()
        lines.append(_row("ledger", f"{record.standing}: recorded as {recorded}: {entry.reason}"))
    requirement = requirements.get(record.requirement)
    if requirement is not None:
        lines.append(_row("requires", f"{requirement.id}: {requirement.text}"))
        lines.append(_row("", requirement.ground))
    lines += [_row("the lie" if n == 0 else "", words) for n, words in enumerate(record.lies)]
    lines.append(_row("expected", record.expected))
    if record.actual:
        lines.append(_row("actual", record.actual))
    if record.note:
        lines.append(_row("note", record.note))
    if record.exchanges:
        lines.append("  timeline")
        lines += timeline_lines(record.exchanges)
    if record.bundle:
        lines.append(_row("bundle", record.bundle))
    # In one line, however long: it is there to be copied.
    lines.append(f"  again      {again}")
    return "\n".join(lines)


def detail(record: Record) -> str:
    """One case in full: request, answer, stderr and timeline."""
    lines = [f"{record.verdict} {record.case} in {record.seconds:.2f} s", _row("", record.expected)]
    lines += [_row("lie", words) for words in record.lies]
    for number, pull in enumerate(record.pulls, 1):
        lines.append(f"  pull {number}: {pull['image']}")
        asked = ", ".join(f"{key}: {value}" for key, value in pull.get("request", {}).items())
        lines.append(_row("request", asked or "nothing but the image"))
        if pull.get("argv"):
            lines.append(_row("argv", " ".join(pull["argv"])))
        answer = {
            key: pull[key]
            for key in ("outcome", "error", "code", "exit_status", "image_id", "digest", "seconds")
            if key in pull
        }
        lines.append(_row("answer", ", ".join(f"{key}: {value}" for key, value in answer.items())))
        lines += [_row("wrong", problem) for problem in pull.get("problems", ())]
        stderr = pull.get("stderr", "").strip().splitlines()[-15:]
        lines += [_row("stderr" if n == 0 else "", line) for n, line in enumerate(stderr)]
    lines.append("  timeline")
    lines += timeline_lines(record.exchanges, most=len(record.exchanges))
    lines += [_row("value", f"{name} = {value}") for name, value in record.values.items()]
    if record.neighbour:
        pulls = record.neighbour["pulls"]
        outcomes = ", ".join(pull["outcome"] for pull in pulls)
        recalled = " (from memory)" if record.neighbour.get("recalled") else ""
        lines.append(_row("neighbour", f"{outcomes or 'no pull'}{recalled}"))
    lines += [_row("note", record.note)] if record.note else []
    return "\n".join(lines)


def timeline_lines(exchanges: Sequence[dict[str, Any]], most: int = _MOST_ROWS) -> list[str]:
    """Exchanges as rows: when, where, what, the answer, bytes, how it ended, rules that fired."""
    lines = []
    for row in exchanges[:most]:
        asked = f"{row['method']} {row['target']}"
        asked = asked if len(asked) <= 60 else asked[:57] + "..."
        extra = " ".join(
            [
                *([f"[{row['range']}]"] if "range" in row else []),
                *(["[with authorization]"] if "authorization" in row else []),
            ]
        )
        ended = "" if row["ended"] == "complete" else f" {row['ended']}"
        # A rule's words stand above, with the lies; here its number is enough.
        rules = [rule.partition(" ")[0] for rule in row.get("rules", ())]
        fired = f"  ← {', '.join(rules)}" if rules else ""
        lines.append(
            f"    {row['at'] * 1000:8.0f} ms  {row['registry']:<8} {asked:<60} "
            f"{row.get('status', '-')} {row['bytes']:>8} B{ended} {extra}{fired}".rstrip()
        )
    if len(exchanges) > most:
        lines.append(f"    … and {len(exchanges) - most} more exchanges")
    if not exchanges:
        lines.append("    no request reached a registry")
    return lines


def title(results: Results) -> str:
    """Name and version of the puller."""
    puller = results.header.puller
    return f"{puller['name']} {puller.get('version', '')}".rstrip()


def totals_line(results: Results) -> str:
    """The verdicts, counted."""
    counted = results.totals()
    return ", ".join(f"{counted[name]} {name}" for name in VERDICTS if name in counted) or "nothing"


def summary(results: Results, *, whole: bool = True) -> str:
    """Totals, standing against the ledger, values, and the seed; of the `whole` suite what
    isn't tested, too.
    """
    header = results.header
    lines = [
        "─" * _WIDTH,
        f"{title(results)}: {totals_line(results)}",
    ]
    standings = [record for record in results.records if record.standing not in ("expected",)]
    for name in ("known", "stale", "news", "new"):
        which = [record.case for record in standings if record.standing == name]
        if which and name != "known":
            lines.append(f"  {name}: {', '.join(which)}")
        elif which:
            lines.append(f"  known by the ledger: {len(which)}")
    recorded = [record for record in results.records if record.verdict == "recorded"]
    for record in recorded:
        values = ", ".join(f"{name} = {value}" for name, value in record.values.items())
        lines.append(f"  recorded {record.case}: {values}")
    for capability, why in header.capabilities.get("over_claimed", {}).items():
        lines.append(f"  claimed, and doesn't work: {capability}: {why}")
    if header.capabilities.get("under_claimed"):
        names = ", ".join(header.capabilities["under_claimed"])
        lines.append(f"  works, and isn't claimed: {names}")
    if header.untested and whole:
        text = f"not tested: {len(header.untested)} MUSTs: {', '.join(header.untested)}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
    lines.append(f"  isolation: {header.isolation}; seed {header.seed}")
    if not results.complete:
        lines.append(f"  INCOMPLETE: {results.reason}")
    return "\n".join(lines)


def untested_of(requirements: Requirements, covered: Iterable[str]) -> list[str]:
    """Ids of the MUSTs that no case covers."""
    untested: tuple[Requirement, ...] = requirements.untested(covered)
    return [requirement.id for requirement in untested]


def _row(label: str, text: str) -> str:
    lines = []
    for line in text.splitlines() or [""]:
        lines += textwrap.wrap(line, _WIDTH - 14) or [""]
    head = f"  {label:<10}"
    return "\n".join([f"{head} {lines[0]}", *(f"{'':13}{line}" for line in lines[1:])])
