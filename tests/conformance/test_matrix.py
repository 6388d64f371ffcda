"""The matrix: nine pullers by many cases in a terminal, and as Markdown."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from conformance.matrix import as_markdown, as_text
from conformance.results import Header, Record, Results


def a_run(name: str, *records: Record, **changes: Any) -> Results:
    header = Header(
        suite="1",
        seed="abc",
        puller={"name": name, "version": "2.1"},
        machine={"system": "Linux"},
        isolation="private",
    )
    return Results(header, list(records), **changes)


def test_two_pullers_stand_under_their_names() -> None:
    text = as_text(
        [
            a_run("one", Record("blob/x", "pass"), Record("tls/y", "recorded")),
            a_run(
                "two",
                Record("blob/x", "fail", standing="known"),
                Record("tls/y", "not-applicable"),
            ),
        ]
    )

    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["case", "one", "two"]
    assert lines[2:4] == [["blob"], ["x", "pass", "FAIL*"]]
    assert lines[5:7] == [["tls"], ["y", "rec", "-"]]
    assert ["pass", "1", "0"] in lines
    assert ["fail", "0", "1"] in lines
    assert ["known", "*", "0", "1"] in lines


def test_standings_are_seen() -> None:
    text = as_text(
        [
            a_run(
                "one",
                Record("blob/a", "fail", standing="new"),
                Record("blob/b", "deviates", standing="news"),
                Record("blob/c", "pass", standing="stale"),
            )
        ]
    )

    lines = [line.split() for line in text.splitlines()]
    assert lines[3:6] == [["a", "FAIL!"], ["b", "dev!"], ["c", "pass~"]]
    assert "news !" in text
    assert "stale ~" in text


def test_nine_pullers_and_long_names_fit_a_terminal() -> None:
    names = ["reference", "skopeo", "crane"]
    names += [f"containerd-{v}-{by}" for v in ("1.6", "1.7", "2") for by in ("cri", "ctr")]
    cases = [f"{area}/{'a-long-slug-' * 4}{n}" for area in ("blob", "tls") for n in range(75)]

    text = as_text([a_run(name, *(Record(case, "pass") for case in cases)) for name in names])

    lines = text.splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[3] == "D  containerd-1.6-cri 2.1"
    assert lines[10].split() == ["case", *"ABCDEFGHI"]
    row = next(line for line in lines if line.startswith("  a-long"))
    assert row.split()[1:] == ["pass"] * 9


def test_what_is_under_embargo_isnt_shown() -> None:
    # A day, as the ledger has it.
    until = (date.today() + timedelta(2)).isoformat()  # noqa: DTZ011
    held = Record("blob/x", "fail", standing="known", ledger={"embargo": until})
    past = Record("blob/x", "fail", standing="known", ledger={"embargo": "2020-01-01"})

    assert ["x", "held"] in [line.split() for line in as_text([a_run("one", held)]).splitlines()]
    assert "FAIL*" not in as_text([a_run("one", held)])
    assert "FAIL*" in as_text([a_run("one", past)])


def test_markdown_has_totals_and_cases() -> None:
    runs = [
        a_run("one", Record("blob/x", "pass")),
        a_run("two", Record("blob/x", "deviates", standing="known"), complete=False, reason="why"),
    ]

    lines = as_markdown(runs).splitlines()

    assert lines[0] == "|  | one | two |"
    assert "| version | 2.1 | 2.1 |" in lines
    assert "| pass | 1 | 0 |" in lines
    assert r"| `blob/x` | pass | dev\* |" in lines
    assert lines[-1] == "INCOMPLETE: two: why"
    tables = [line for line in lines if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in tables} == {4}
    assert "<details><summary>all 1 cases</summary>" in lines
    assert "</details>" in lines
