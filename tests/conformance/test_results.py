"""Results: their form, what proves that they are whole, and what the terminal says of them."""

from __future__ import annotations

import json
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conformance.ledger import Ledger
from conformance.report import block, noteworthy, summary
from conformance.requirements import load
from conformance.results import (
    FAILURE_KINDS,
    VERDICTS,
    Breach,
    Header,
    Record,
    Results,
    ResultsError,
    read,
    write,
)
from conformance.running import Run, exit_status

SCHEMA = json.loads((files("conformance") / "schemas/results.schema.json").read_text())


def some_results(*records: Record, name: str = "mine", **changes: Any) -> Results:
    header = Header(
        suite="1",
        seed="abc",
        puller={"name": name, "version": "2"},
        machine={"system": "Linux"},
        isolation="private",
        started="2026-11-24T00:00:00+00:00",
    )
    return Results(header, list(records), **changes)


def failure(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "case": "blob/corrupted-is-refused",
        "verdict": "fail",
        "kind": "accepted",
        "requirement": "BLOB-02",
        "level": "MUST",
        "authority": "safety",
        "expected": "It is refused.",
        "actual": "claimed success",
        "lies": ["origin#1: flip_byte(3)"],
        "breaches": [Breach("password of origin", "evil", "http", "query", "blob/x")],
        "standing": "new",
        "seconds": 0.5,
    }
    return Record(**{**fields, **changes})


def test_what_is_written_is_read_and_fits_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.json"
    results = some_results(failure(), Record("blob/x", "pass"))

    write(results, path)

    document = json.loads(path.read_text())
    Draft202012Validator(SCHEMA).validate(document)
    assert document["footer"] == {
        "complete": True,
        "records": 2,
        "totals": {"pass": 1, "fail": 1},
    }
    assert read(path) == results
    assert [each.name for each in path.parent.iterdir()] == ["results.json"]


def test_the_schema_knows_every_word() -> None:
    record = SCHEMA["$defs"]["record"]["properties"]
    assert tuple(record["verdict"]["enum"]) == VERDICTS
    assert tuple(record["kind"]["enum"]) == FAILURE_KINDS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "not a results file"),
        ('{"format": 1, "header": {}, "records": []}', "'footer' is missing"),
        ('{"format": 1, "header": {}, "records": [], "footer": {"records": 2}}', "0 records"),
    ],
)
def test_a_file_that_isnt_whole_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError, match=words):
        read(path)


def test_a_block_can_be_acted_on() -> None:
    text = block(
        failure(bundle="bundles/x"), load(), "pullproof run --puller mine --case x --seed abc"
    )

    for words in (
        "FAIL blob/corrupted-is-refused  (accepted)",
        "BLOB-02: ",
        "MUST by safety",
        "origin#1: flip_byte(3)",
        "It is refused.",
        "claimed success",
        "no request reached a registry",
        "bundles/x",
        "  again      pullproof run --puller mine --case x --seed abc",
    ):
        assert words in text or words == "no request reached a registry"


def test_an_embargo_withholds_all_but_the_date() -> None:
    ledger = Ledger.parse(
        {
            "entry": [
                {
                    "case": "blob/corrupted-is-refused",
                    "verdict": "fail",
                    "kind": "hung",
                    "reason": "very secret",
                    "date": date(2026, 1, 1),
                    "embargo": date(9999, 1, 1),
                }
            ]
        },
        "2",
        ["blob/corrupted-is-refused"],
    )

    text = block(
        failure(standing="news"), load(), "pullproof run --puller mine --case x --seed abc", ledger
    )

    assert "withheld until 9999-01-01" in text
    assert "claimed success" not in text
    assert "very secret" not in text


def test_the_summary_says_what_is_open() -> None:
    results = some_results(
        failure(), Record("blob/y", "recorded", values={"waits": "≥ 5 s"}), complete=False
    )
    results.reason = "interrupted"
    results.header.untested = ["TLS-01"]
    results.header.capabilities = {
        "claimed": ["zstd"],
        "over_claimed": {"zstd": "failed: no"},
        "under_claimed": {"schema1": "works where it is needed"},
    }

    text = summary(results)

    for words in ("1 fail, 1 recorded", "waits = ≥ 5 s", "not tested: 1 MUSTs: TLS-01"):
        assert words in text
    assert "INCOMPLETE: interrupted" in text
    assert "claimed, and doesn't work: zstd: failed: no" in text
    assert "works, and isn't claimed: schema1" in text
    assert "not tested" not in summary(results, whole=False)
    assert "seed abc" in text


@pytest.mark.parametrize(
    ("record", "name", "strict", "status"),
    [
        (Record("a/a", "pass"), "mine", False, 0),
        (failure(), "mine", False, 1),
        (failure(standing="known"), "mine", False, 0),
        (failure(tentative=True), "mine", False, 0),
        (failure(standing="news"), "mine", False, 1),
        (Record("a/a", "pass", standing="stale"), "mine", False, 1),
        (Record("a/a", "error"), "mine", False, 1),
        (failure(verdict="deviates"), "mine", False, 0),
        (failure(verdict="deviates"), "mine", True, 1),
        (Record("a/a", "inconclusive", standing="new"), "mine", False, 0),
        (Record("a/a", "inconclusive", standing="new"), "reference", False, 1),
        (Record("a/a", "differs"), "mine", True, 0),
    ],
)
def test_exit_statuses(record: Record, name: str, strict: bool, status: int) -> None:
    run = Run(some_results(record, name=name), Ledger())

    assert exit_status(run, strict=strict) == status


def test_exit_statuses_of_runs_that_didnt_end() -> None:
    incomplete = some_results(complete=False)

    assert exit_status(Run(incomplete, Ledger())) == 11
    assert exit_status(Run(incomplete, Ledger(), interrupted=True)) == 2
    assert exit_status(Run(some_results(), Ledger())) == 5


def test_what_gets_a_block() -> None:
    assert noteworthy(failure())
    assert noteworthy(Record("a/a", "error"))
    assert not noteworthy(failure(standing="known"))
    assert not noteworthy(Record("a/a", "pass"))
