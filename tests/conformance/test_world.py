"""Worlds: what is a lie, what it takes to be met, and who may see which secret."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.breaches import breaches_of, owner_of, secrets_record
from conformance.requirements import load
from conformance.results import Breach, Record
from conformance.world import World
from fakeregistry import Registries, an_image, any_request, bearer, blob, manifest

NAMES = {"mirror": "127.0.0.1", "auth": "127.0.0.1"}


def a_world(directory: Path, *, honest: bool = False, case: str = "blob/x") -> World:
    return World("seed", case, honest, Registries("salt", names=NAMES), directory)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = a_world(tmp_path)
    yield made
    made.close()


@pytest.fixture
def honest(tmp_path: Path) -> Iterator[World]:
    made = a_world(tmp_path, honest=True)
    yield made
    made.close()


def get(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        body: bytes = answer.read()
        return body


def test_a_lie_has_two_values(world: World, honest: World) -> None:
    assert world.lie("x is 1", 1, truth=2) == 1
    assert honest.lie("x is 1", 1, truth=2) == 2
    assert world.told == ["x is 1"]
    assert honest.told == []


def test_content_is_met_once_it_is_served(world: World) -> None:
    world.lie("the content is odd", None, truth=None)
    assert world.unmet() == (["the content is odd"], [])

    registry = world.registry()
    registry.add(an_image())
    get(f"{registry.base_url}/v2/app/web/manifests/v1")
    world.registries.journal.wait_quiet()

    assert world.unmet() == ([], [])


def test_a_certificate_is_met_once_somebody_connects(world: World) -> None:
    world.lie("expired", None, truth=None, where="certificate")
    assert world.unmet()[0] == ["expired"]

    get(f"{world.registry().base_url}/v2/")

    assert world.unmet()[0] == []


def test_a_request_is_met_by_being_made(world: World) -> None:
    world.lie("a wrong name", "x", truth="y", where="request")

    assert world.unmet() == ([], [])


def test_an_author_knows_better(world: World) -> None:
    met = False
    world.lie("odd", 1, truth=2, met=lambda: met, bait=True)
    assert world.unmet() == ([], ["odd"])

    met = True
    assert world.unmet() == ([], [])


def test_rules_act_in_the_lying_world_alone(world: World, honest: World) -> None:
    bodies = []
    for each in (world, honest):
        registry = each.registry()
        image = registry.add(an_image())
        rule = registry.on(blob(image.layers[0])).first(1).flip_byte(0)
        bodies.append(get(f"{registry.base_url}/v2/app/web/blobs/{image.layers[0].digest}"))
        assert rule.fired == 1
        assert bodies[-1] == image.layers[0].blob or each is world

    assert world.told
    assert not honest.told


def test_nothing_is_held_in_an_honest_world(honest: World) -> None:
    rule = honest.registry().on(any_request()).delay_headers()

    assert not rule.wait_holding(60)
    assert rule.release() is rule
    get(f"{honest.registry().base_url}/v2/")
    assert rule.wait_fired(60)


def test_what_is_given_acts_in_both(honest: World) -> None:
    registry = honest.registry()
    image = registry.add(an_image())
    registry.given(manifest(image)).header("X-Told", "yes")

    with urllib.request.urlopen(f"{registry.base_url}/v2/app/web/manifests/v1") as answer:
        assert answer.headers["X-Told"] == "yes"
    assert honest.told == []


def test_content_is_salted_by_seed_and_case(tmp_path: Path) -> None:
    digests = []
    for case in ("blob/x", "blob/x", "blob/y"):
        world = a_world(tmp_path, case=case)
        digests.append(world.registry().add(an_image()).digest)
        world.close()

    assert digests[0] == digests[1] != digests[2]


def test_neighbours_of_equal_worlds_are_equal(tmp_path: Path) -> None:
    prints = []
    for case, layers in (("blob/x", 1), ("blob/y", 1), ("blob/y", 2)):
        world = a_world(tmp_path, honest=True, case=case)
        world.registry().auth = bearer(realm=world.registry("auth"))
        world.registry().add(an_image(layers=layers))
        prints.append(world.fingerprint())
        world.close()

    assert prints[0] == prints[1] != prints[2]


def test_a_description_names_registries_and_no_ports(world: World) -> None:
    registry = world.registry()
    registry.add(an_image())

    assert str(registry.port) not in world.describe()
    assert world.neutral(f"http://{registry.host}/v2/") == "http://origin/v2/"


def test_secrets_have_owners() -> None:
    assert owner_of("password of mirror") == "mirror"


def test_who_may_see_what(world: World) -> None:
    origin, realm, mirror = (world.registry(name) for name in ("origin", "auth", "mirror"))
    origin.auth = bearer(realm=realm)
    password = origin.auth.credentials.password
    for registry in (origin, realm, mirror):
        get_anyway(f"{registry.base_url}/token?password={password}")

    assert [(each.secret, each.seen_by, each.policy) for each in breaches_of(world)] == [
        ("password of origin", "mirror", False)
    ]
    world.mirrors.add("mirror")
    assert [each.policy for each in breaches_of(world)] == [True]
    world.allow("password of origin", "mirror")
    assert breaches_of(world) == []


def test_an_https_registry_lets_no_plain_realm_see_its_password(world: World) -> None:
    origin, realm = world.registry(), world.registry("auth")
    origin.tls = world.certificates.valid()
    origin.auth = bearer(realm=realm)
    get_anyway(f"{realm.base_url}/token?password={origin.auth.credentials.password}")

    assert [(each.seen_by, each.scheme) for each in breaches_of(world)] == [("auth", "http")]
    assert realm.saw("password of origin")
    assert not origin.saw("password of origin")


def test_a_configured_host_is_a_mirror_unless_it_is_the_server(world: World) -> None:
    world.registry("mirror").as_host(capabilities=("pull",))
    world.registry().as_host(server=True)

    assert world.mirrors == {"mirror"}


def test_a_leak_that_its_own_case_judges_is_not_judged_again() -> None:
    breach = Breach("password of origin", "evil", "http", "header:Authorization", "auth/x")
    mine = Record("auth/x", "fail", kind="leaked", breaches=[breach], traffic={"requests": 1})
    other = Record("blob/x", "pass", breaches=[breach], traffic={"requests": 1})

    alone, both = secrets_record([mine], load()), secrets_record([mine, other], load())

    assert alone is not None
    assert both is not None
    assert (alone.verdict, alone.breaches) == ("pass", [])
    assert (both.verdict, both.kind, both.breaches) == ("fail", "leaked", [breach])


def test_tokens_come_from_another_registry_of_the_world(world: World) -> None:
    registry = world.registry()
    registry.auth = bearer(realm=world.registry("auth"), anonymous=True)
    registry.add(an_image())
    service = registry.auth.service

    body = get(f"{registry.auth.realm}?service={service}&scope=repository:app/web:pull")

    assert b"token" in body


def get_anyway(url: str) -> None:
    try:
        get(url)
    except urllib.error.HTTPError as error:
        error.close()


def test_where_an_api_stands_and_what_is_of_an_upstream_tells_worlds_apart(tmp_path: Path) -> None:
    prints = set()
    for ns, prefix in ((None, "/v2"), ("docker.io", "/v2"), (None, "/v2/mirror")):
        made = a_world(tmp_path)
        made.registry().add(an_image(), ns=ns)
        made.registry().prefix = prefix
        prints.add(made.fingerprint())
        made.close()

    assert len(prints) == 3
