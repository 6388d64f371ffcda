"""What isn't asked of a puller: texts and releases that are younger than it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from conformance.applicability import Subject, not_applicable
from conformance.case import Case
from conformance.contract import Description
from conformance.plan import subject_of
from conformance.profile import load
from conformance.requirements import Requirement, parse, release

AUTHORITIES = {
    "spec@2": {"title": "A spec", "since": date(2024, 2, 15)},
    "containerd@1.7": {"title": "containerd 1.7", "since": date(2023, 3, 10)},
    "containerd@2.x": {"title": "containerd 2", "since": date(2024, 11, 5)},
    "containerd@seed": {"title": "containerd", "since": date(2022, 11, 1)},
}
CASE = Case("blob/of-a-test", ("A-1",), lambda: None)


def a_requirement(authority: str, **more: Any) -> Requirement:
    entry = {"id": "A-1", "text": "It holds.", "level": "MUST", "role": "copy", "section": "-"}
    entry |= {"authority": authority, "source": "It MUST hold.", **more}
    return parse({"format": 1, "authorities": AUTHORITIES, "requirement": [entry]})["A-1"]


def a_subject(profile: str, version: str) -> Subject:
    made = load(profile)
    return subject_of(made, Description(profile, version, made.roles, made.evidence, frozenset()))


@pytest.mark.parametrize(
    ("profile", "version", "day"),
    [
        ("skopeo", "1.9.3", date(2022, 10, 19)),
        ("crane", "v0.22.1", date(2026, 9, 4)),
        ("containerd-1.6-cri", "1.6.20~ds1", date(2023, 3, 30)),
        ("containerd-1.7-ctr", "1.7.35+unknown", date(2026, 9, 4)),
        ("containerd-2-cri", "2.4.2+unknown", date(2026, 10, 13)),
        ("skopeo", "1.9.30", None),
        ("reference", "0.1.0", None),
    ],
)
def test_a_version_has_a_day(profile: str, version: str, day: date | None) -> None:
    assert a_subject(profile, version).released == day


def test_a_younger_text_asks_nothing() -> None:
    requirement = a_requirement("spec@2")

    assert not_applicable(CASE, requirement, a_subject("skopeo", "1.9.3")) == (
        "spec@2 asks for it since 2024-02-15, this puller is of 2022-10-19"
    )
    assert not not_applicable(CASE, requirement, a_subject("crane", "0.22.1"))
    # Nobody knows how old that one is: it is asked.
    assert not not_applicable(CASE, requirement, a_subject("skopeo", "1.13.0"))


@pytest.mark.parametrize(
    ("authority", "more", "puller", "why"),
    [
        (
            "containerd@1.7",
            {},
            ("containerd-1.6-cri", "1.6.20~ds1"),
            "containerd does it since 1.7",
        ),
        ("containerd@seed", {}, ("containerd-1.6-cri", "1.6.20~ds1"), ""),
        (
            "containerd@seed",
            {"first": "1.7"},
            ("containerd-1.6-cri", "1.6.20~ds1"),
            "containerd does it since 1.7",
        ),
        ("containerd@2.x", {}, ("containerd-1.7-cri", "1.7.35"), "containerd does it since 2"),
        ("containerd@2.x", {}, ("containerd-2-cri", "2.4.2"), ""),
        ("containerd@1.7", {}, ("containerd-2-cri", "2.4.2"), ""),
        ("containerd@1.7", {}, ("crane", "0.22.1"), ""),
    ],
)
def test_a_branch_of_containerd_is_older_than_its_last_release(
    authority: str, more: dict[str, str], puller: tuple[str, str], why: str
) -> None:
    requirement = a_requirement(authority, **more)

    assert not_applicable(CASE, requirement, a_subject(*puller)) == why


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("v1.6.20~ds1", (1, 6, 20)), ("2.x", (2,)), ("seed", ()), ("", ())],
)
def test_versions_are_compared_by_their_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert release(version) == numbers
