"""Rules that wait for rules, in a lying world and in its honest neighbour: one test for both."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.world import World
from fakeregistry import Registries, a_layer, an_image, blob, manifest


@pytest.fixture(params=[False, True], ids=["lying", "honest"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World("seed", "blob/x", bool(request.param), Registries("salt"), tmp_path)
    yield made
    made.close()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_waiting_rule_holds_in_the_lying_world_alone(world: World) -> None:
    registry = world.registry()
    image = registry.add(an_image(layers=[a_layer(0), a_layer(1)]))
    first, second = (f"{registry.base_url}/v2/app/web/blobs/{x.digest}" for x in image.layers)
    asked = registry.on(blob(image.layers[1]), name="asked").observe()
    held = registry.on(blob(image.layers[0])).wait_for(asked).advance_clock(500)
    said: list[int] = []

    one = threading.Thread(target=lambda: said.append(status(first)))
    one.start()
    assert held.wait_holding() is not world.honest
    if world.honest:
        one.join(10)
        assert said == [200]  # before anybody asked for the second
    assert status(second) == 200
    one.join(10)

    assert said == [200]
    assert (asked.fired, held.fired) == (1, 1)
    assert world.unmet() == ([], [])
    assert (world.registries.clock.now() > 400) is not world.honest


def test_after_rule_counts_in_both(world: World) -> None:
    registry = world.registry()
    registry.add(an_image())
    url = f"{registry.base_url}/v2/app/web/manifests/v1"
    first = registry.on(manifest(), name="first").once().status(503)
    then = registry.on(manifest(), after_rule=first).nth(1).status(500)
    given = registry.given(manifest(), after_rule="first").header("X-Later", "1")

    said = [status(url) for _ in range(3)]

    assert said == ([200, 200, 200] if world.honest else [503, 500, 200])
    assert (first.fired, then.fired, given.fired) == (1, 1, 2)


def test_a_rate_and_statuses_limit_nobody_in_an_honest_world(world: World) -> None:
    registry = world.registry()
    registry.add(an_image())
    url = f"{registry.base_url}/v2/app/web/manifests/v1"
    registry.on(manifest()).rate(1, 60)
    registry.on(blob()).statuses([503, 200])
    registry.on(manifest(), chance=1.0, concurrency=1).per("client").once().bait()

    said = [status(url) for _ in range(2)]

    assert said == ([200, 200] if world.honest else [200, 429])


def test_a_rule_lets_a_held_one_go_by_either_handle(world: World) -> None:
    registry = world.registry()
    image = registry.add(an_image(layers=[a_layer(0), a_layer(1)]))
    first, second = (f"{registry.base_url}/v2/app/web/blobs/{x.digest}" for x in image.layers)
    held = registry.on(blob(image.layers[0]), name="held").stall_after(1)
    registry.on(blob(image.layers[1])).release(held)
    said: list[int] = []

    one = threading.Thread(target=lambda: said.append(status(first)))
    one.start()
    assert held.wait_fired()
    assert status(second) == 200
    one.join(10)
    held.release()

    assert said == [200]
