"""The proof itself: exact lists, survivors, and cases that nobody kills."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conformance import mutate
from conformance.case import CaseError
from conformance.mutate import Mutant, Proof, killed, load_mutants
from conformance.plan import all_cases
from conformance.results import Record
from fakeregistry import an_image, blob


def record(verdict: Any, **changes: Any) -> Record:
    return Record("blob/x", verdict, **changes)


@pytest.mark.parametrize(
    ("verdict", "values", "baseline", "dead"),
    [
        ("fail", {}, record("pass"), True),
        ("deviates", {}, record("pass"), True),
        ("fail", {}, record("fail"), False),
        ("inconclusive", {}, record("pass"), False),
        ("error", {}, record("pass"), False),
        ("recorded", {"n": "2"}, record("recorded", values={"n": "1"}), True),
        ("recorded", {"n": "1"}, record("recorded", values={"n": "1"}), False),
        ("recorded", {"behaviour": "refused"}, record("pass"), True),
    ],
)
def test_what_counts_as_a_kill(
    verdict: Any, values: dict[str, str], baseline: Record, dead: bool
) -> None:
    assert killed(record(verdict, values=values), baseline) is dead


def a_mutant(**changes: Any) -> Mutant:
    fields = {
        "name": "m",
        "areas": ("blob",),
        "kills": frozenset({"blob/x"}),
        "target": "a:B",
        "summary": "It is wrong.",
    }
    return Mutant(**{**fields, **changes})


def compared(mutant: Mutant, **verdicts: Any) -> Proof:
    proof = Proof()
    outcome = mutate.Outcomes({f"blob/{k}": Record(f"blob/{k}", v) for k, v in verdicts.items()})
    honest = mutate.Outcomes({f"blob/{k}": Record(f"blob/{k}", "pass") for k in verdicts})
    mutate.compare(proof, mutant, outcome, honest)
    return proof


def test_an_exact_list_is_no_problem() -> None:
    assert compared(a_mutant(), x="fail", y="pass").problems == []


def test_a_kill_that_isnt_listed_is_a_problem() -> None:
    assert compared(a_mutant(), x="fail", y="fail").problems == [
        "mutant m: killed by blob/y, which its list lacks"
    ]


def test_a_listed_case_that_doesnt_kill_is_a_problem() -> None:
    problems = compared(a_mutant(kills=frozenset({"blob/x", "blob/y"})), x="fail", y="pass")

    assert problems.problems == ["mutant m: not killed by blob/y (pass: -)"]


def test_a_survivor_is_a_problem() -> None:
    assert "mutant m survives: It is wrong." in compared(a_mutant(), x="pass").problems


def test_a_trivial_mutant_needs_no_exact_list() -> None:
    assert compared(a_mutant(trivial=True), x="fail", y="fail").problems == []


def test_a_case_needs_a_killer_that_isnt_trivial() -> None:
    proof = Proof(cases={"blob/x": ["easy"], "blob/y": ["easy", "hard"]})
    mutants = [a_mutant(name="easy", trivial=True), a_mutant(name="hard")]

    mutate.check_cases(proof, ["blob/x", "blob/y", "blob/z"], mutants)

    assert proof.problems == [
        "blob/x: no mutant is killed by it",
        "blob/z: no mutant is killed by it",
    ]


def test_the_shipped_mutants_name_cases_that_exist() -> None:
    cases = all_cases()

    for each in load_mutants():
        assert each.kills
        assert each.trivial or all(key in cases or key == mutate.SECRETS_CASE for key in each.kills)


def test_a_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(CaseError, match="did you mean 'no-digest-check'"):
        load_mutants(["no-digest-chek"])


@pytest.mark.parametrize("area", ["blobs", ("blob", "reume")])
def test_an_unknown_area_is_named(area: Any) -> None:
    with pytest.raises(CaseError, match="no area"):
        mutate.mutant("x", area=area, kills=())(type("X", (), {"__doc__": "Wrong."}))


def test_one_mutant_is_proven_to_die_by_its_case(tmp_path: Path) -> None:
    out = tmp_path / "mutants.json"

    status = mutate.prove(
        names=["no-digest-check"],
        patterns=["blob/corrupted-is-refused"],
        everything=False,
        jobs=0,
        seed="abc",
        out=out,
    )

    document = json.loads(out.read_text())
    assert status == 0, document["problems"]
    assert document["cases"] == {"blob/corrupted-is-refused": ["no-digest-check"]}


@pytest.mark.parametrize("either", [True, False])
def test_a_case_that_takes_both_outcomes_needs_no_failing_assertion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, either: bool
) -> None:
    name = "blob/corrupted-is-refused"
    known = all_cases()[name]

    def function(registry: Any, puller: Any) -> None:
        image = registry.add(an_image())
        registry.on(blob(image.layers[0])).flip_byte(0)
        pulled = puller.pull(image)
        assert pulled.refused or pulled.succeeded

    taken = replace(known, function=function, either=either)
    monkeypatch.setattr(mutate, "all_cases", lambda: {name: taken})
    task = mutate._Task("", [name], "abc", neighbours=True)

    words = mutate._run_task(task).neighbours[name]

    assert words == ("may be refused or succeed" if either else "ITS ASSERTION HOLDS")
