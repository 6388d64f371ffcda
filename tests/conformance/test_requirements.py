"""The requirement table, and how it is read."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest

from conformance.plan import all_cases
from conformance.requirements import RequirementsError, load, parse

DOCUMENT: dict[str, Any] = {
    "format": 1,
    "authorities": {
        "spec@1": {"title": "A spec", "since": date(2020, 1, 1)},
        "spec@main": {"title": "A draft", "since": date(2026, 1, 1), "draft": True},
        "safety": {"title": "Safety", "since": date(2015, 1, 1)},
    },
    "requirement": [
        {
            "id": "A-1",
            "text": "Something holds.",
            "level": "MUST",
            "role": "copy",
            "authority": "spec@1",
            "section": "here",
            "source": "It MUST hold.",
        }
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    document["requirement"][0].update(changes)
    return document


def test_the_shipped_table_holds_together() -> None:
    table = load()

    assert len(table) > 150
    assert all(requirement.text.endswith(".") for requirement in table.values())
    for requirement in table.values():
        if requirement.authority.id == "safety" and requirement.level == "MUST":
            assert requirement.advisory, requirement.id


def test_every_case_covers_known_requirements() -> None:
    table = load()

    assert all(key in table for case in all_cases().values() for key in case.covers)


def test_what_a_requirement_knows() -> None:
    requirement = parse(DOCUMENT)["A-1"]

    assert requirement.binding
    assert not requirement.containerd_only
    assert requirement.since == date(2020, 1, 1)
    assert requirement.ground == "MUST by spec@1, here"


def test_a_draft_binds_nobody() -> None:
    requirement = parse(changed(authority="spec@main"))["A-1"]

    assert requirement.status == "draft"
    assert not requirement.binding


def test_a_contested_must_binds_nobody() -> None:
    assert not parse(changed(status="contested"))["A-1"].binding


def test_uncovered_musts_are_named() -> None:
    table = parse(DOCUMENT)

    assert [requirement.id for requirement in table.untested([])] == ["A-1"]
    assert table.untested(["A-1"]) == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"level": "OUGHT"}, "unknown level 'OUGHT'"),
        ({"role": "cook"}, "unknown role 'cook'"),
        ({"authority": "nobody"}, "unknown authority 'nobody'"),
        ({"status": "odd"}, "unknown status 'odd'"),
        ({"authority": "safety"}, "a MUST by safety needs an 'advisory'"),
        ({"source": " "}, "A-1 has no 'source'"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RequirementsError, match=words):
        parse(changed(**changes))


def test_an_id_stands_once() -> None:
    document = deepcopy(DOCUMENT)
    document["requirement"] *= 2
    with pytest.raises(RequirementsError, match="A-1 stands there twice"):
        parse(document)


def test_another_format_is_refused() -> None:
    with pytest.raises(RequirementsError, match="'format' must be 1"):
        parse({**DOCUMENT, "format": 2})
