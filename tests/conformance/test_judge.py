"""Each verdict and each kind, from a puller that is wrong in exactly one way."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from naive import SUBJECT, Naive, a_case, a_judge

from conformance.case import observed
from conformance.contract import Evidence, HarnessError
from conformance.judge import kind_of
from fakeregistry import a_layer, an_image, any_request, blob, manifest


def corrupted(registry: Any, puller: Any) -> None:
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[0])).flip_byte(-30)
    pulled = puller.pull(image)
    assert pulled.refused
    assert puller.has_not(image)


def sound(registry: Any, puller: Any) -> None:
    assert puller.pull(registry.add(an_image())).succeeded


def test_a_right_puller_passes_and_its_neighbour_is_played(tmp_path: Path) -> None:
    judged = a_judge(tmp_path).judge(a_case(corrupted))

    assert (judged.record.verdict, judged.record.kind) == ("pass", "")
    assert [pull["outcome"] for pull in judged.record.neighbour["pulls"]] == ["pulled"]
    assert judged.honest is not None
    assert judged.honest.failed == "assert pulled.refused"
    assert "flip_byte" in judged.record.lies[0]


def test_a_case_without_a_lie_has_no_neighbour(tmp_path: Path) -> None:
    judged = a_judge(tmp_path).judge(a_case(sound))

    assert judged.record.verdict == "pass"
    assert judged.honest is None


def test_wrong_content_fails_by_evidence_and_not_by_words(tmp_path: Path) -> None:
    record = a_judge(tmp_path, Naive(verify=False)).judge(a_case(corrupted)).record

    assert (record.verdict, record.kind) == ("fail", "wrong-content")
    assert "did not hold: assert pulled.refused" in record.actual


def test_a_lie_in_the_content_that_is_taken_is_accepted(tmp_path: Path) -> None:
    def case(world: Any, registry: Any, puller: Any) -> None:
        title = world.lie("the title is a lie", "false", truth="true")
        image = registry.add(an_image(annotations={"title": title}))
        assert puller.pull(image).refused

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert (record.verdict, record.kind) == ("fail", "accepted")


@pytest.mark.parametrize(
    ("needs", "requirement", "verdict"),
    [({Evidence.ROOTFS}, "LAYER-15", "deviates"), (set(), "STORE-01", "fail")],
)
def test_a_wrong_tree_breaks_what_asked_for_it(
    needs: set[Evidence], requirement: str, verdict: str, tmp_path: Path
) -> None:
    shows = Evidence.ROOTFS if needs else Evidence.LAYOUT
    subject = replace(
        SUBJECT, roles=SUBJECT.roles | {"unpack"}, evidence=frozenset({shows, Evidence.STATUS})
    )
    judge = a_judge(tmp_path, Naive(named=False), subject=subject)

    record = judge.judge(a_case(sound, "LAYER-15", needs=frozenset(needs))).record

    assert (record.verdict, record.kind) == (verdict, "wrong-content")
    assert record.requirement == requirement


def test_a_right_image_that_is_refused(tmp_path: Path) -> None:
    def case(registry: Any, puller: Any) -> None:
        image = registry.add(an_image())
        registry.on(manifest(image)).first(1).status(503)
        assert puller.pull(image).succeeded

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert (record.verdict, record.kind) == ("fail", "refused")


@pytest.mark.parametrize(
    ("covers", "verdict"),
    [("BLOB-02", "fail"), ("BLOB-35", "deviates"), ("BLOB-36", "recorded"), ("IDX-09", "recorded")],
)
def test_the_level_makes_the_verdict(covers: str, verdict: str, tmp_path: Path) -> None:
    record = a_judge(tmp_path, Naive(verify=False)).judge(a_case(corrupted, covers)).record

    assert record.verdict == verdict


def test_what_only_containerd_does_differs_elsewhere(tmp_path: Path) -> None:
    case = a_case(corrupted, "PROG-01")

    other = a_judge(tmp_path / "a", Naive(verify=False)).judge(case).record
    itself = replace(SUBJECT, containerd=True)
    same = a_judge(tmp_path / "b", Naive(verify=False), subject=itself).judge(case).record

    assert other.verdict == "differs"
    assert same.verdict == "fail"


@pytest.mark.parametrize(
    ("always", "verdict", "kind"),
    [("crashed", "fail", "crashed"), ("unsupported", "not-applicable", "")],
)
def test_ends_that_are_no_answer(always: str, verdict: str, kind: str, tmp_path: Path) -> None:
    record = a_judge(tmp_path, Naive(always=always)).judge(a_case(sound)).record

    assert (record.verdict, record.kind) == (verdict, kind)


def test_a_puller_that_always_refuses_isnt_right_by_that(tmp_path: Path) -> None:
    record = a_judge(tmp_path, Naive(always="failed")).judge(a_case(corrupted)).record

    assert record.verdict == "inconclusive"
    assert "never met" in record.note


def test_a_refusal_counts_only_where_the_neighbour_succeeds(tmp_path: Path) -> None:
    def case(registry: Any, puller: Any) -> None:
        image = registry.add(an_image())
        registry.on(any_request()).bait().drop_header("X-Nothing")
        registry.given(blob(image.layers[0])).status(500)
        assert puller.pull(image).refused

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert record.verdict == "inconclusive"
    assert "the honest neighbour fails too" in record.note


def test_bait_that_is_left_alone(tmp_path: Path) -> None:
    def case(registry: Any, puller: Any) -> None:
        image = registry.add(an_image())
        registry.on(blob(image.layers[0]), range=True).bait().status(400)
        assert puller.pull(image).succeeded

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert (record.verdict, record.note) == ("pass", "avoided")


def test_hanging_is_held_against_nobody_without_a_limit(tmp_path: Path) -> None:
    def limited(registry: Any, puller: Any) -> None:
        assert puller.pull(registry.add(an_image()), within=4).succeeded

    judge = a_judge(tmp_path, Naive(always="hung"))

    free, bound = judge.judge(a_case(sound)).record, judge.judge(a_case(limited)).record

    assert (free.verdict, free.values) == ("recorded", {"waits": "≥ 5 s"})
    assert (bound.verdict, bound.kind) == ("fail", "hung")


def test_writing_outside_fails_whatever_was_asked(tmp_path: Path) -> None:
    record = a_judge(tmp_path, Naive(escape=True)).judge(a_case(sound, "BLOB-36")).record

    assert (record.verdict, record.kind, record.requirement) == ("fail", "escaped", "ESCAPE-01")
    assert "outside/here-i-was" in record.actual


def test_a_canary_host_is_not_to_be_contacted(tmp_path: Path) -> None:
    def case(world: Any, registry: Any, puller: Any) -> None:
        image = world.canary("origin").add(an_image())
        assert puller.pull(image).succeeded

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert (record.verdict, record.kind) == ("fail", "escaped")


def test_too_many_requests_are_a_runaway(tmp_path: Path) -> None:
    def case(world: Any, registry: Any, puller: Any) -> None:
        world.registries.request_cap = 10
        puller.pull(registry.add(an_image()))

    record = a_judge(tmp_path, Naive(repeat=30)).judge(a_case(case)).record

    assert (record.verdict, record.kind, record.requirement) == (
        "deviates",
        "runaway",
        "RUNAWAY-01",
    )


def test_a_breach_is_recorded_and_judged_elsewhere(tmp_path: Path) -> None:
    def case(world: Any, registry: Any, puller: Any) -> None:
        secret = world.secrets.new("password of elsewhere")
        puller.session.naive.headers["X-Key"] = secret
        assert puller.pull(registry.add(an_image())).succeeded

    record = a_judge(tmp_path).judge(a_case(case)).record

    assert record.verdict == "pass"
    assert [(breach.secret, breach.seen_by) for breach in record.breaches] == [
        ("password of elsewhere", "origin")
    ]
    assert "canary-" not in str(record.to_json())


def test_a_secret_in_the_error_has_leaked(tmp_path: Path) -> None:
    def case(registry: Any, puller: Any) -> None:
        assert not puller.pull(registry.add(an_image())).tells("as told")

    record = a_judge(tmp_path, Naive(always="failed")).judge(a_case(case)).record

    assert (record.verdict, record.kind) == ("fail", "leaked")


def test_our_own_mistakes_are_errors_and_no_verdict(tmp_path: Path) -> None:
    def harness(puller: Any) -> None:
        raise HarnessError("the adapter broke")

    def bug(puller: Any) -> None:
        raise KeyError("typo")

    judge = a_judge(tmp_path)

    assert judge.judge(a_case(harness)).record.note == "the adapter broke"
    broken = judge.judge(a_case(bug)).record
    assert broken.verdict == "error"
    assert "the case itself failed" in broken.note


def test_values_are_recorded(tmp_path: Path) -> None:
    def case(registry: Any, puller: Any) -> Any:
        puller.pull(registry.add(an_image()))
        return observed("requests", len(registry.requests()))

    record = a_judge(tmp_path).judge(a_case(case, "MAN-01")).record

    assert (record.verdict, record.values) == ("recorded", {"requests": "4"})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"roles": frozenset({"resolve"})}, "role copy"),
        ({"evidence": frozenset({Evidence.LOG})}, "evidence status"),
        ({"released": date(2001, 1, 1)}, "since 2015-01-01"),
    ],
)
def test_what_cant_be_asked(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    subject = replace(SUBJECT, **changes)
    case = a_case(corrupted, needs=frozenset({Evidence.STATUS}))

    record = a_judge(tmp_path, subject=subject).judge(case).record

    assert record.verdict == "not-applicable"
    assert words in record.note


def test_equal_neighbours_are_played_once(tmp_path: Path) -> None:
    naive = Naive()
    judge = a_judge(tmp_path, naive)

    first = judge.judge(a_case(corrupted, id="blob/one")).record
    second = judge.judge(a_case(corrupted, id="blob/two")).record

    assert (first.neighbour["recalled"], second.neighbour["recalled"]) == (0, 1)
    assert naive.opened == 3
    assert second.verdict == "pass"


def test_another_world_is_another_neighbour(tmp_path: Path) -> None:
    def other(registry: Any, puller: Any) -> None:
        image = registry.add(an_image([a_layer(0, size=9000)]))
        registry.on(blob(image.layers[0])).flip_byte(-30)
        assert puller.pull(image).refused

    judge = a_judge(tmp_path)
    judge.judge(a_case(corrupted))

    assert judge.judge(a_case(other)).record.neighbour["recalled"] == 0


def test_a_neighbour_with_more_pulls_than_are_known_is_played_in_full(tmp_path: Path) -> None:
    def twice(registry: Any, puller: Any) -> None:
        image = registry.add(an_image(layers=2))
        registry.on(blob(image.layers[0])).nth(2).flip_byte(-30)
        first, second = puller.pull(image), puller.pull(image)
        assert first.succeeded
        assert second.refused

    judge = a_judge(tmp_path)
    judge.judge(a_case(corrupted))

    record = judge.judge(a_case(twice)).record

    assert record.verdict == "pass"
    assert record.neighbour["recalled"] == 0
    assert len(record.neighbour["pulls"]) == 2


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    judge = a_judge(tmp_path)
    judge.judge(a_case(corrupted))

    assert list(judge.directory.iterdir()) == []


def test_a_pull_that_was_right_has_no_kind(tmp_path: Path) -> None:
    judged = a_judge(tmp_path).judge(a_case(sound))

    assert judged.lying is not None
    assert kind_of(judged.lying) == ""
