"""Declaring, finding and choosing cases."""

from __future__ import annotations

from typing import Any

import pytest
from naive import a_case

from conformance.case import CaseError, case, load_cases, select, validate
from conformance.requirements import load


def declared(**changes: Any) -> Any:
    options = {"covers": "BLOB-01", **changes}
    return case(options.pop("id", "blob/x"), **options)


def good(puller: Any) -> None:
    """It works."""


def silent(puller: Any) -> None:
    pass


def strange(puller: Any, colour: Any) -> None:
    """It works."""


def idle(world: Any) -> None:
    """It works."""


@pytest.mark.parametrize(
    ("function", "changes", "words"),
    [
        (good, {"id": "Blob/X"}, "an id is 'area/some-words'"),
        (good, {"id": "blobs/x"}, "no area 'blobs': did you mean 'blob'"),
        (good, {"covers": ()}, "covers no requirement"),
        (silent, {}, "has no docstring"),
        (strange, {}, "unknown parameter 'colour'"),
        (idle, {}, "takes no puller"),
    ],
)
def test_a_wrong_declaration_is_named(function: Any, changes: Any, words: str) -> None:
    with pytest.raises(CaseError, match=words):
        declared(**changes)(function)


def test_an_id_belongs_to_one_function() -> None:
    load_cases()
    with pytest.raises(CaseError, match="two functions have this id"):
        declared(id="blob/corrupted-is-refused")(good)


def test_cases_are_chosen_by_pattern_in_their_own_order() -> None:
    cases = load_cases()

    assert select(cases, []) == list(cases.values())
    chosen = select(cases, ["blob/corrupted*", "blob/intact*"])
    assert [each.id for each in chosen] == [
        "blob/intact-image-is-pulled",
        "blob/corrupted-is-refused",
    ]


def test_a_typo_gets_a_suggestion() -> None:
    with pytest.raises(CaseError, match="did you mean 'blob/corrupted-is-refused'"):
        select(load_cases(), ["blob/corupted-is-refused"])


def test_an_unknown_requirement_gets_a_suggestion() -> None:
    with pytest.raises(CaseError, match="no requirement 'BLOB-O2': did you mean"):
        validate([a_case(good, "BLOB-O2")], load())


def test_the_shipped_cases_are_sound() -> None:
    cases = load_cases()

    validate(cases.values(), load())
    assert all(each.summary.endswith(".") for each in cases.values())
