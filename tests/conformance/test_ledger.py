"""Ledgers are strict both ways, and tell versions apart."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from conformance.ledger import Ledger, LedgerError, in_range

CASES = ["blob/one", "blob/two", "tls/one"]


def entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "case": "blob/one",
        "verdict": "fail",
        "kind": "accepted",
        "reason": "it doesn't look",
        "date": date(2026, 11, 24),
    }
    return {"entry": [{**fields, **changes}]}


def ledger(**changes: Any) -> Ledger:
    return Ledger.parse(entry(**changes), "1.6.20", CASES)


@pytest.mark.parametrize(
    ("verdict", "kind", "standing"),
    [
        ("fail", "accepted", "known"),
        ("fail", "crashed", "news"),
        ("deviates", "accepted", "news"),
        ("inconclusive", "", "news"),
        ("pass", "", "stale"),
        ("recorded", "", "stale"),
        ("not-applicable", "", "expected"),
        ("error", "", "expected"),
    ],
)
def test_standing_of_a_recorded_case(verdict: Any, kind: str, standing: str) -> None:
    assert ledger().standing("blob/one", verdict, kind) == standing


@pytest.mark.parametrize(
    ("verdict", "standing"), [("fail", "new"), ("pass", "expected"), ("differs", "expected")]
)
def test_standing_of_a_case_nobody_recorded(verdict: Any, standing: str) -> None:
    assert ledger().standing("blob/two", verdict, "accepted") == standing


def test_the_most_particular_pattern_speaks() -> None:
    document = entry(case="blob/*")
    document["entry"] += entry(case="blob/two", kind="hung")["entry"]
    both = Ledger.parse(document, "1.6.20", CASES)

    assert both.standing("blob/two", "fail", "hung") == "known"
    assert both.standing("blob/one", "fail", "accepted") == "known"


def test_an_entry_for_other_versions_is_silent() -> None:
    assert ledger(versions=">=2").standing("blob/one", "fail", "accepted") == "new"


@pytest.mark.parametrize(
    ("version", "clauses", "inside"),
    [
        ("1.6.20", ">=1.6, <2", True),
        ("2.0", ">=1.6, <2", False),
        ("1.7.0-beta.0", "<1.7", True),
        ("1.7", "==1.7.0", True),
        ("1.6.20~ds1-1+deb12u2", "==1.6.20", True),
        ("v2.1.3", "!=2.1.3", False),
        ("anything", "", True),
    ],
)
def test_version_ranges(version: str, clauses: str, inside: bool) -> None:
    assert in_range(version, clauses) is inside


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"case": "blub/*"}, "matches no case"),
        ({"verdict": "bad"}, "verdict must be one of"),
        ({"kind": "odd"}, "kind must be one of"),
        ({"versions": "1.6"}, "isn't a clause"),
        ({"date": "yesterday"}, "must be a TOML date"),
        ({"reason": " "}, "reason is empty"),
        ({"why": "x"}, "unknown key 'why'"),
    ],
)
def test_mistakes_are_one_line_that_says_where(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(LedgerError, match=words) as caught:
        ledger(**changes)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert Ledger.read(tmp_path / "none.toml", "1", CASES).entries == ()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text("[[entry")
    with pytest.raises(LedgerError, match=r"some\.toml"):
        Ledger.read(path, "1", CASES)


def test_an_embargo_ends() -> None:
    made = ledger(embargo=date(2027, 1, 1)).entry("blob/one")
    assert made is not None
    assert made.withheld(date(2026, 12, 31))
    assert not made.withheld(date(2027, 1, 1))
