"""Ids are kept for ever."""

from __future__ import annotations

import pytest

from conformance import lock
from conformance.case import load_cases
from conformance.requirements import load

NOW = {("case", "blob/one"): "BLOB-01", ("requirement", "BLOB-01"): ""}


def test_the_shipped_lock_is_up_to_date() -> None:
    locked = lock.read(lock.path().read_text("utf-8"))

    assert lock.check(locked, lock.lines_of(load_cases().values(), load())) == []


def test_what_was_written_is_read() -> None:
    assert lock.read(lock.update({}, NOW)) == NOW


def test_a_renamed_case_is_seen_twice() -> None:
    now = {("case", "blob/uno"): "BLOB-01", ("requirement", "BLOB-01"): ""}

    problems = lock.check(NOW, now)

    assert [problem.split(":")[0] for problem in problems] == [
        "case blob/uno is new",
        "case blob/one is gone, or has another id now",
    ]


def test_a_case_that_covers_something_else_is_seen() -> None:
    now = {**NOW, ("case", "blob/one"): "BLOB-02"}

    assert lock.check(NOW, now) == ["case blob/one covers BLOB-02, and was locked with BLOB-01"]


def test_a_retired_id_is_never_used_again() -> None:
    retired = lock.read(lock.update(NOW, {("requirement", "BLOB-01"): ""}))

    assert ("retired-case", "blob/one") in retired
    assert lock.check(retired, NOW) == [
        "case blob/one: this id was retired and can't be used again"
    ]


def test_nonsense_is_refused() -> None:
    with pytest.raises(lock.LockError, match="line 1: not understood"):
        lock.read("what is this\n")
