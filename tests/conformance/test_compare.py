"""Two runs compared: what differs is told, what is withheld is not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from conformance.cli import main
from conformance.compare import differences
from conformance.results import Breach, Header, Record, Results, write

BREACH = Breach("password", "mirror", "http", "header:Authorization")
CASE = "auth/x"


def a_run(name: str, records: Sequence[Record]) -> Results:
    puller = {"name": name, "version": "2.1"}
    return Results(Header("1", "abc", puller, {"system": "Linux"}, "private"), list(records))


def told(one: Record, other: Record, *, requests: bool = False) -> list[str]:
    lines = differences(a_run("one", [one]), a_run("other", [other]), requests=requests)
    return [line.strip() for each in list(lines)[1:] for line in each.strip().splitlines()]


@pytest.mark.parametrize(
    ("other", "lines"),
    [
        (Record(CASE, "fail", "leaked"), ["verdict", "- pass", "+ fail leaked"]),
        (
            Record(CASE, "pass", pulls=[{"outcome": "failed"}]),
            ["pulls", "- nothing", "+ failed"],
        ),
        (
            Record(CASE, "pass", values={"used": "second"}),
            ["value 'used'", "- nothing", "+ second"],
        ),
        (
            Record(CASE, "pass", breaches=[BREACH, BREACH]),
            ["seen", "- nothing", "+ password by mirror (header:Authorization, http)"],
        ),
    ],
)
def test_each_difference_is_told(other: Record, lines: list[str]) -> None:
    assert told(Record(CASE, "pass"), other) == [CASE, *lines]


def test_requests_count_where_they_are_asked_for() -> None:
    asked = {"registry": "origin", "method": "GET", "kind": "blob", "status": 429}
    one, other = (
        Record(CASE, "pass", exchanges=[asked]),
        Record(CASE, "pass", exchanges=[asked] * 6),
    )
    assert told(one, other) == []
    assert told(one, other, requests=True) == [CASE, "requests origin GET blob 429", "- 1", "+ 6"]


def test_what_only_one_has_been_asked_is_passed_over() -> None:
    assert told(Record(CASE, "pass"), Record("auth/y", "fail")) == []


def test_an_embargo_holds_here_too() -> None:
    tomorrow = (date.today() + timedelta(days=1)).isoformat()  # noqa: DTZ011 - as in the code
    one = Record(CASE, "fail", "leaked", ledger={"embargo": tomorrow}, breaches=[BREACH])
    assert told(one, Record(CASE, "pass")) == [CASE, f"withheld until {tomorrow}"]
    assert told(Record(CASE, "pass"), one) == [CASE, f"withheld until {tomorrow}"]


def test_the_command_ends_as_diff_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, verdict in (("one", "pass"), ("same", "pass"), ("other", "fail")):
        write(a_run(name, [Record(CASE, verdict)]), tmp_path / name)  # type: ignore[arg-type]
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "same")]) == 0
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "other")]) == 1
    assert f"\n{CASE}\n  verdict\n  - pass\n  + fail\n" in capsys.readouterr().out
