"""Claims against what is seen: each feature too much and each too little is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from naive import SUBJECT, Naive, NaiveSession, a_judge

from conformance.capabilities import PROBES, Claims, probe, refused_inputs
from conformance.contract import HarnessError
from conformance.results import Record


def claims_of(tmp_path: Path, *claimed: str, naive: Naive | None = None) -> Claims:
    subject = replace(SUBJECT, capabilities=frozenset(claimed))
    return probe(a_judge(tmp_path, naive, subject=subject))


def test_what_is_claimed_and_doesnt_work(tmp_path: Path) -> None:
    claims = claims_of(tmp_path, "store", "foreign-layers", "zstd")

    assert set(claims.over_claimed) == {"store", "foreign-layers"}
    assert claims.over_claimed["store"] == (
        "the same image's layer is fetched again by the second pull"
    )
    assert claims.over_claimed["foreign-layers"].startswith("failed: status 404")
    assert claims.under_claimed == {}
    assert claims.claimed == ["foreign-layers", "store", "zstd"]


def test_what_works_and_isnt_claimed(tmp_path: Path) -> None:
    claims = claims_of(tmp_path)

    assert set(claims.under_claimed) == {"zstd"}
    assert claims.over_claimed == {}


def test_a_puller_without_any_feature(tmp_path: Path) -> None:
    claims = claims_of(tmp_path, *PROBES, naive=Naive(always="failed"))

    assert set(claims.over_claimed) == set(PROBES)


@pytest.mark.parametrize("error", [HarnessError("it broke"), None])
def test_an_adapter_that_breaks_shows_no_feature(
    tmp_path: Path, error: HarnessError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(*_: Any) -> Any:
        raise error or ValueError("a mistake of ours")

    monkeypatch.setattr(NaiveSession, "pull", pull)

    claims = claims_of(tmp_path, "zstd")

    # Our own mistakes are held against nobody.
    assert claims.over_claimed == ({"zstd": "it broke"} if error else {})


def test_an_input_that_is_claimed_and_answered_as_unsupported() -> None:
    claims = Claims(claimed=["proxy"])
    records = [
        Record("tls/a", "not-applicable", note="can't be given: proxy"),
        Record("tls/b", "not-applicable", note="can't be given: headers"),
        Record("tls/c", "not-applicable", note="capability zstd: absent"),
    ]

    refused_inputs(claims, records)

    assert claims.over_claimed == {"proxy": "answered as unsupported in tls/a"}
