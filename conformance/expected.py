"""What ``[expect]`` asks, asserted: of each pull as it ends, and of what registries have seen."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from conformance.breaches import breaches_of
from conformance.contract import HarnessError
from conformance.pulls import CasePuller, Pulled
from conformance.rightness import platform_image
from conformance.steps import Step
from conformance.world import World
from fakeregistry import Exchange
from fakeregistry.scenario import ConnectionsPart, ExpectPart, Outcome, RequestsPart
from fakeregistry.scenario.build import Built

__all__ = ["most_in_flight", "of_content", "of_step", "of_world"]

_CONTENT = frozenset(
    {"tag_manifest", "manifest", "config", "blob", "redirect_target", "foreign_url"}
)


def of_step(step: Step, expect: ExpectPart) -> None:
    """Assert how the pulls of one step ended."""
    part = step.part
    assert step.reached, f"no pull came to where {part.stopped_at!r} holds"
    stopped = part.stopped_at is not None
    outcome: Outcome = part.outcome or ("either" if stopped else expect.outcome)
    for pulled in step.pulls:
        _ended(pulled, outcome)
        if stopped:
            continue
        if expect.at_most_s is not None:
            assert pulled.seconds <= expect.at_most_s, f"took {pulled.seconds:.1f} s"
        if expect.at_least_s is not None:
            assert pulled.seconds >= expect.at_least_s, f"took {pulled.seconds:.1f} s only"


def of_content(step: Step, built: Built, puller: CasePuller) -> None:
    """Assert that it is this image which was brought: another one is no fault of the store's.

    What the blobs are is looked at after every pull, whatever is expected (`rightness`).
    """
    part, expect = step.part, built.scenario.expect
    assert expect is not None
    if part.stopped_at is not None or (part.outcome or expect.outcome) != "pulled":
        return
    image = built.images[part.image or next(iter(built.images))]
    spec = platform_image(image, part.platform)
    if spec is None:
        return
    reference = image.by_digest if part.by_digest else image
    try:
        held = puller.layout(reference, store=part.store)
    except HarnessError:
        return  # it makes no sense, which is told by who looked after the pull
    assert held is not None, "the image isn't there"
    words = f"holds the manifest {held.manifest_digest}, expected was {spec.digest}"
    assert held.manifest_digest == spec.digest, words


def _ended(pulled: Pulled, outcome: Outcome) -> None:
    was = f"it was {pulled.outcome.kind}"
    if outcome == "pulled":
        assert pulled.succeeded, f"expected was a pull, {was}"
    elif outcome == "refused":
        assert pulled.refused, f"expected was a refusal, {was}"
    else:
        assert pulled.succeeded or pulled.refused, f"expected was a clean end, {was}"


def of_world(steps: list[Step], built: Built, world: World, puller: CasePuller) -> None:
    """Assert what the registries have seen, and what stands in the store, once all has ended."""
    expect = built.scenario.expect
    assert expect is not None
    for requests in expect.requests:
        _requests(requests, built)
    for connections in expect.connections:
        _connections(connections, world)
    for name in expect.untouched:
        assert not world.registry(name).contacted, f"{name} was contacted"
    if expect.no_leak:
        told = [
            f"{breach.secret} was seen by {breach.seen_by} ({breach.where})"
            for breach in breaches_of(world)
            if not breach.policy
        ]
        assert not told, told[0]
    if expect.fetched_at_most is not None:
        _fetched(expect.fetched_at_most, steps, built, world)
    if expect.absent:
        last = steps[-1].part
        image = built.images[last.image or next(iter(built.images))]
        assert puller.has_not(image, store=last.store), "the reference resolves to the image"


def _requests(part: RequestsPart, built: Built) -> None:
    seen: list[Exchange] = built.seen(part.target)
    where = f"requests for {part.target.on} at {part.target.registry}"
    _bounds(len(seen), part, where)
    if part.in_flight_at_most is not None:
        most = most_in_flight(seen)
        words = f"{most} {where} at once, at most {part.in_flight_at_most}"
        assert most <= part.in_flight_at_most, words
    if part.bytes_at_most is not None:
        sent = sum(exchange.bytes_sent for exchange in seen)
        assert sent <= part.bytes_at_most, f"{sent} bytes of {where}, at most {part.bytes_at_most}"
    if part.apart_s is not None:
        began = sorted(exchange.times.opened for exchange in seen)
        gaps = [later - earlier for earlier, later in pairwise(began)]
        words = f"{where}: {min(gaps, default=0):.2f} s apart, at least {part.apart_s:g} s"
        assert all(gap >= part.apart_s for gap in gaps), words


def _connections(part: ConnectionsPart, world: World) -> None:
    journal = world.registries.journal
    count = sum(connection.registry == part.registry for connection in journal.connections)
    _bounds(count, part, f"connections to {part.registry}")


def _bounds(count: int, part: RequestsPart | ConnectionsPart, what: str) -> None:
    if part.at_most is not None:
        assert count <= part.at_most, f"{count} {what}, at most {part.at_most}"
    if part.at_least is not None:
        assert count >= part.at_least, f"{count} {what}, at least {part.at_least}"


def most_in_flight(exchanges: Iterable[Exchange]) -> int:
    """The most exchanges that were under way at one moment; an end frees its place at once."""
    moments: list[tuple[float, int]] = []
    for exchange in exchanges:
        ended = exchange.times.ended
        moments.append((exchange.times.opened, 1))
        moments.append((float("inf") if ended is None else ended, -1))
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return most


def _fetched(factor: float, steps: list[Step], built: Built, world: World) -> None:
    """Compare the bytes of all content with what the pulled images have, once per store."""
    needed: dict[tuple[str, str], int] = {}
    for step in steps:
        image = step.part.image or next(iter(built.images))
        objects = list(built.spec(image, step.part.platform).objects())
        for each in objects:
            needed[step.part.store, each.digest] = len(each.data)
        index = built.images[image].spec
        needed[step.part.store, index.digest] = index.size
    allowed = factor * sum(needed.values())
    journal = world.registries.journal
    sent = sum(one.bytes_sent for one in journal.exchanges() if one.kind in _CONTENT)
    assert sent <= allowed, f"{sent} bytes were fetched, {int(allowed)} are allowed"
