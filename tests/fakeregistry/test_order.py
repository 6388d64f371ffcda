"""Order and load: barriers between rules, the registry's clock, rate limits, statuses in turn."""

import threading
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from rawclient import Raw, Received

from fakeregistry import (
    Image,
    Registries,
    Registry,
    an_image,
    any_request,
    basic,
    blob,
    manifest,
)
from fakeregistry.faults.rate import Rate, Statuses
from fakeregistry.rules.budget import ACCOUNTS, Budget
from fakeregistry.rules.clock import Clock
from fakeregistry.rules.rule import Tally
from fakeregistry.wire.gate import Gate

MANIFEST = "/v2/app/web/manifests/v1"


def layer(image: Image, number: int) -> str:
    return f"/v2/app/web/blobs/{image.layers[number].digest}"


def ask(registry: Registry, path: str = MANIFEST, **headers: str) -> Received:
    with Raw(registry) as raw:
        return raw.ask(path, **headers).answer()


# barriers


def test_an_answer_waits_until_another_rule_has_fired(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    second = registry.on(blob(image.layers[1])).observe()
    held = registry.on(blob(image.layers[0])).wait_for(second)

    with Raw(registry) as one:
        one.ask(layer(image, 0))
        assert held.wait_holding()
        assert one.silent()
        ask(registry, layer(image, 1))
        assert one.answer().body == image.layers[0].blob

    assert held.gate.holding == 0
    assert ask(registry, layer(image, 0)).status == 200  # it has fired: nobody waits any more


def test_who_comes_late_finds_it_open(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    registry.on(blob(image.layers[1]), name="second").observe()
    held = registry.on(blob(image.layers[0])).wait_for("second")
    ask(registry, layer(image, 1))

    assert ask(registry, layer(image, 0)).status == 200
    assert (held.fired, held.gate.holding) == (1, 0)


def test_no_firing_is_lost_between_look_and_wait(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    said: list[int] = []
    for number in range(40):
        registry.on(blob(image.layers[1]), name=f"go-{number}").observe()
        waits = registry.on(blob(image.layers[0]))
        waits.wait_for(f"go-{number}", 20)
        one = threading.Thread(target=lambda: said.append(ask(registry, layer(image, 0)).status))
        one.start()
        ask(registry, layer(image, 1))
        one.join(10)
        registry.drop(waits)

    assert said == [200] * 40


def test_many_wait_for_one_rule_of_another_registry(registries: Registries) -> None:
    origin, mirror = registries.registry(), registries.registry("mirror")
    for each in (origin, mirror):
        each.add(an_image())
    go = mirror.on(manifest(), name="mirror-asked").observe()
    held = origin.on(manifest()).wait_for("mirror-asked")

    raws = [Raw(origin).ask(MANIFEST) for _ in range(5)]
    assert held.wait_holding(count=5)
    assert go.fired == 0
    ask(mirror)
    for raw in raws:
        assert raw.answer().status == 200
        raw.sock.close()


def test_a_wait_is_bounded(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(blob(), name="never").observe()
    registry.on(manifest()).wait_for("never", 0.1)

    began = time.monotonic()
    assert ask(registry).status == 200
    assert time.monotonic() - began >= 0.1


def test_a_wait_ends_by_release_drop_and_stop(registry: Registry) -> None:
    registry.add(an_image())
    never = registry.on(blob(), name="never").observe()
    held = registry.on(manifest()).wait_for(never)

    with Raw(registry) as raw:
        raw.ask(MANIFEST)
        assert held.wait_holding()
        held.release()
        assert raw.answer().status == 200

    registry.drop(held)
    held = registry.on(manifest()).wait_for(never)
    with Raw(registry) as raw:
        raw.ask(MANIFEST)
        assert held.wait_holding()
        registry.drop(never)  # it will never fire: nobody waits for it
        assert raw.answer().status == 200

    last = registry.on(blob(), name="last").observe()
    held = registry.on(manifest()).wait_for(last)
    with Raw(registry) as raw:
        raw.ask(MANIFEST)
        assert held.wait_holding()
        registry.stop()
        assert raw.rest().data == b""
    assert held.gate.holding == 0


def test_a_client_may_leave_while_it_waits(registry: Registry) -> None:
    registry.add(an_image())
    never = registry.on(blob()).observe()
    held = registry.on(manifest()).wait_for(never)

    with Raw(registry) as raw:
        raw.ask(MANIFEST)
        assert held.wait_holding()
    assert registry.journal.wait_quiet()
    assert [each.ended for each in registry.requests()] == ["client_gone"]


def test_a_rule_that_waits_for_itself_waits_for_nobody(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest(), name="own").wait_for("own")

    assert ask(registry).status == 200


def test_a_barrier_doesnt_end_the_other_waits_of_its_rule(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    second = registry.on(blob(image.layers[1])).observe()
    held = registry.on(blob(image.layers[0])).wait_for(second).stall_after(10)

    with Raw(registry) as raw:
        raw.ask(layer(image, 0))
        assert held.wait_holding()
        ask(registry, layer(image, 1))
        head = raw.head()
        raw.exactly(10)
        assert held.wait_holding()
        assert raw.silent()
        held.release()
        raw.exactly(int(head.header("content-length") or 0) - 10)


def test_one_rule_lets_another_go(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    held = registry.on(blob(image.layers[0])).stall_after(5)
    registry.on(blob(image.layers[1])).release(held)

    with Raw(registry) as raw:
        raw.ask(layer(image, 0))
        raw.head()
        assert held.wait_holding()
        ask(registry, layer(image, 1))
        assert raw.exactly(len(image.layers[0].blob)) == image.layers[0].blob


@pytest.mark.parametrize("verb", ["wait_for", "release"])
def test_a_name_that_nobody_has(registry: Registry, verb: str) -> None:
    registry.add(an_image())
    getattr(registry.on(manifest()), verb)("tpyo")

    assert ask(registry).status == 500
    with pytest.raises(LookupError, match=f"{verb}: no rule is named 'tpyo'"):
        registry.check()


def test_an_honest_world_holds_nothing_and_counts_all(registries: Registries) -> None:
    registry = registries.registry()
    image = registry.add(an_image(layers=2))
    registries.honest = True
    never = registry.on(blob(image.layers[1]), name="never").observe()
    held = registry.on(manifest()).wait_for(never).advance_clock(1000)
    limited = registry.on(manifest()).rate(1, 60)
    after = registry.on(manifest(), after_rule=held).status(500)

    assert [ask(registry).status for _ in range(3)] == [200, 200, 200]
    assert (held.fired, limited.fired, after.fired) == (3, 2, 2)
    assert registries.clock.now() < 900


def test_a_gate_gives_its_descriptors_back() -> None:
    own = Gate()
    other, barrier = Gate(), Gate(counted_with=own)
    own.then(barrier)
    other.then(barrier)
    assert barrier.enter() is not None
    assert (own.holding, barrier.holding) == (1, 1)
    own.close()
    barrier.close()
    barrier.leave()
    assert own.holding == 0
    other.release()
    for _ in range(70_000):  # more than a pipe holds
        other.release()
        barrier.release()
    assert barrier.enter() is None


# the clock


def test_the_clock_runs_and_can_be_set_forward() -> None:
    clock = Clock()
    first = clock.now()
    assert 0 <= first < 60
    assert clock.advance(100) >= first + 100
    assert 99 < (clock.date() - Clock().date()).total_seconds() < 160
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="for ever"):
        clock.advance(float("inf"))
    clock.reset()
    assert clock.now() < 60


def test_a_rule_sets_the_clock_forward_when_it_fires(registries: Registries) -> None:
    registry = registries.registry()
    registry.add(an_image())
    registry.on(manifest()).nth(2).advance_clock(500)

    ask(registry)
    assert registries.clock.now() < 400
    ask(registry)
    assert 500 <= registries.clock.now() < 900
    ask(registry)
    assert registries.clock.now() < 900


def test_the_clock_begins_anew_with_the_registries(registries: Registries) -> None:
    registries.registry()
    registries.clock.advance(1000)
    registries.wipe()
    assert registries.clock.now() < 900


# rates


def test_five_in_ten_seconds_without_a_second_of_waiting(registries: Registries) -> None:
    registry = registries.registry()
    registry.add(an_image())
    limit = registry.on(manifest()).rate(5, 10)

    said = [ask(registry) for _ in range(7)]
    assert [one.status for one in said] == [200] * 5 + [429] * 2
    wait = int(said[5].header("retry-after") or 0)
    assert 1 <= wait <= 10
    assert b"TOOMANYREQUESTS" in said[5].body
    assert limit.fired == 2

    registries.clock.advance(wait)  # as long as it said, and not a moment longer
    assert [ask(registry).status for _ in range(6)] == [200] * 5 + [429]


def test_the_window_slides(registries: Registries) -> None:
    registry = registries.registry()
    registry.add(an_image())
    registry.on(manifest()).rate(2, 10)

    assert ask(registry).status == 200
    registries.clock.advance(6)
    assert ask(registry).status == 200
    assert ask(registry).header("retry-after") == "4"
    registries.clock.advance(4)
    assert [ask(registry).status for _ in range(2)] == [200, 429]


def test_a_date_in_retry_after_is_true(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest()).rate(0, 30, retry_after="date")

    before = time.time()
    date = parsedate_to_datetime(ask(registry).header("retry-after") or "").timestamp()
    assert before + 30 <= date <= time.time() + 31


@pytest.mark.parametrize(
    ("said", "expected"),
    [("none", None), (None, None), ("880.092µs", "880.092µs"), (3600, "3600"), (0, "0")],
)
def test_other_forms_of_retry_after(registry: Registry, said: Any, expected: str | None) -> None:
    registry.add(an_image())
    registry.on(manifest()).rate(0, 30, status=503, retry_after=said)

    answer = ask(registry)
    assert (answer.status, answer.header("retry-after")) == (503, expected)


def test_the_headers_of_a_rate(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest()).rate(2, 21600, headers=True)

    said = [ask(registry) for _ in range(3)]
    assert [one.status for one in said] == [200, 200, 429]
    assert [one.header("ratelimit-limit") for one in said] == ["2;w=21600"] * 3
    assert [one.header("ratelimit-remaining") for one in said] == [
        "1;w=21600",
        "0;w=21600",
        "0;w=21600",
    ]


def test_who_shares_an_account(registry: Registry) -> None:
    image = registry.add(an_image(layers=1))
    registry.auth = basic("alice")
    user = registry.auth.credentials
    good = {"auth": (user.username, user.password)}

    def asked(path: str = MANIFEST, agent: str = "crane") -> int:
        url = registry.url_for(path)
        answer = httpx.get(url, headers={"User-Agent": agent}, trust_env=False, **good)  # type: ignore[arg-type]
        return answer.status_code

    by_client = registry.on(manifest()).rate(1, 60, key="client")
    assert [asked(), asked(), asked(agent="skopeo")] == [200, 429, 200]
    registry.drop(by_client)

    by_user = registry.on(manifest()).rate(1, 60, key="user")
    assert [asked(), asked(agent="skopeo")] == [200, 429]
    registry.drop(by_user)

    registry.on(any_request()).rate(1, 60, key="kind")
    assert [asked(), asked(), asked(layer(image, 0)), asked(layer(image, 0))] == [200, 429] * 2


def test_what_follows_a_rate_in_a_rule_is_for_the_refused(registry: Registry) -> None:
    registry.add(an_image())
    limit = registry.on(manifest()).rate(1, 60).error_body(form="html").header("X-Limited", "1")

    first, second = ask(registry), ask(registry)
    assert (first.status, first.header("x-limited")) == (200, None)
    assert (second.status, second.header("x-limited")) == (429, "1")
    assert second.body.startswith(b"<html>")
    assert limit.fired == 1


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"requests": -1, "window": 1}, "rate requests"),
        ({"requests": 1, "window": 0}, "rate window"),
        ({"requests": 1, "window": float("nan")}, "rate window"),
        ({"requests": 1, "window": 1, "key": "moon"}, "rate key"),
        ({"requests": 1, "window": 1, "retry_after": "1\r\nX: y"}, "single line"),
        ({"requests": 1, "window": 1, "status": 42}, "status code"),
    ],
)
def test_a_rate_that_makes_no_sense(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rate(**wrong)


def test_what_is_refused_costs_nothing() -> None:
    now = [0.0]
    budget = Budget(lambda: now[0])
    assert [budget.spend("", 1, 10) for _ in range(3)] == [0.0, 10.0, 10.0]
    now[0] = 4.0
    assert (budget.spend("", 1, 10), budget.left("", 1, 10)) == (6.0, 0)
    now[0] = 10.0
    assert (budget.left("", 1, 10), budget.spend("", 1, 10), budget.spend("x", 1, 10)) == (1, 0, 0)


def test_invented_names_dont_fill_the_memory() -> None:
    budget, tally = Budget(lambda: 0.0), Tally()
    for number in range(ACCOUNTS + 100):
        budget.spend(f"client {number}", 1, 10)
        tally.add(f"client {number}")

    assert len(tally) == ACCOUNTS
    assert budget.spend(f"client {ACCOUNTS}", 1, 10) > 0
    assert (tally["client 0"], tally[f"client {ACCOUNTS}"]) == (0, 1)


# 429 in every form


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (1, "1"),
        (0, "0"),
        (-1, "-1"),
        (3600, "3600"),
        ("880.092µs", "880.092µs"),
        ("soon", "soon"),
        ("Fri, 31 Dec 1999 23:59:59 GMT", "Fri, 31 Dec 1999 23:59:59 GMT"),
        (None, None),
    ],
)
@pytest.mark.parametrize("form", ["oci", "html", "empty"])
def test_too_many_requests(registry: Registry, said: Any, expected: str | None, form: str) -> None:
    registry.add(an_image())
    registry.on(manifest()).too_many_requests(said).error_body(form=form)

    answer = ask(registry)
    assert answer.status == 429
    assert answer.header("retry-after") == expected
    assert (answer.body == b"") == (form == "empty")


@pytest.mark.parametrize("seconds", [5, 0, -60])
def test_too_many_requests_until_a_date(registry: Registry, seconds: int) -> None:
    registry.add(an_image())
    registry.on(manifest()).too_many_requests(seconds, date=True)

    before = time.time()
    date = parsedate_to_datetime(ask(registry).header("retry-after") or "").timestamp()
    assert before + seconds <= date <= time.time() + seconds + 1


def test_a_date_needs_seconds(registry: Registry) -> None:
    with pytest.raises(ValueError, match="a date is seconds ahead"):
        registry.on(manifest()).too_many_requests("soon", date=True)


# statuses in turn


def test_statuses_in_turn(registry: Registry) -> None:
    registry.add(an_image())
    rule = registry.on(manifest()).statuses([503, 200, 502, 200])

    assert [ask(registry).status for _ in range(6)] == [503, 200, 502, 200, 200, 200]
    assert rule.fired == 4


def test_statuses_in_turn_for_each_digest_and_window(registry: Registry) -> None:
    image = registry.add(an_image(layers=2))
    registry.on(blob()).per("digest").statuses([500, 504])
    registry.on(manifest()).after(1).statuses([500])

    said = [ask(registry, layer(image, number)).status for number in (0, 1, 0, 1, 0, 1)]
    assert said == [500, 500, 504, 504, 200, 200]
    assert [ask(registry).status for _ in range(3)] == [200, 500, 200]


def test_each_of_many_at_once_has_a_turn_of_its_own(registry: Registry) -> None:
    registry.add(an_image())
    registry.on(manifest()).statuses([500, 501, 502, 503, 504, 505])
    said: list[int] = []

    threads = [threading.Thread(target=lambda: said.append(ask(registry).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert sorted(said) == [200, 200, 500, 501, 502, 503, 504, 505]


def test_statuses_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Statuses(())
    with pytest.raises(ValueError, match="status code 99"):
        Statuses((200, 99))
