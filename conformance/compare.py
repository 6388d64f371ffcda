"""Two runs, case by case: what one puller does otherwise than another (``pullproof compare``)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

from conformance.report import title
from conformance.results import Record, Results, by_case

__all__ = ["differences"]


def differences(one: Results, other: Results, *, requests: bool = False) -> Iterator[str]:
    """A line per case with what is not the same; what only one of the runs has is passed over.

    Compared are the verdict, how each pull ended, recorded values, and which secret was seen where;
    with `requests` also what was asked of whom, and how often.
    """
    yield f"- {title(one)}\n+ {title(other)}"
    found = by_case(other.records)
    for record in one.records:
        twin = found.get(record.case)
        if twin is None or (before := facts(record, requests)) == (after := facts(twin, requests)):
            continue
        yield f"\n{record.case}"
        if until := withheld(record) or withheld(twin):
            yield f"  withheld until {until}"
            continue
        for name in dict.fromkeys([*before, *after]):
            was, now = before.get(name, "nothing"), after.get(name, "nothing")
            if was != now:
                yield f"  {name}\n  - {was}\n  + {now}"


def facts(record: Record, requests: bool) -> dict[str, str]:
    """What of a record is compared, by name."""
    found = {"verdict": " ".join(filter(None, (record.verdict, record.kind)))}
    found["pulls"] = ", ".join(pull["outcome"] for pull in record.pulls) or "nothing"
    found |= {f"value {name!r}": value for name, value in record.values.items()}
    seen = {
        f"{each.secret} by {each.seen_by} ({each.where}, {each.scheme})" for each in record.breaches
    }
    found["seen"] = ", ".join(sorted(seen)) or "nothing"
    if requests:
        asked = Counter(
            f"{each['registry']} {each.get('method', '')} {each.get('kind', '')} "
            f"{each.get('status', '-')}"
            for each in record.exchanges
        )
        found |= {f"requests {what}": str(count) for what, count in sorted(asked.items())}
    return found


def withheld(record: Record) -> str:
    """Until when details of this case are kept back; empty where they aren't."""
    until = record.ledger.get("embargo", "")
    return until if date.today().isoformat() < until else ""  # noqa: DTZ011 - a day, not a moment
