"""Secrets are classified wherever they are seen, and canary hosts tell who came."""

import httpx
import pytest

from fakeregistry import Registries, Registry, SecretSeen, basic, bearer
from fakeregistry.journal.secrets import Secrets


@pytest.fixture
def evil(registries: Registries) -> Registry:
    evil = registries.registry("evil")
    evil.canary = True
    return evil


def test_a_canary_knows_whether_somebody_came(registries, registry, evil) -> None:
    assert registries.contacted_canaries() == []
    httpx.get(registry.base_url)
    assert (registry.contacted, evil.contacted) == (True, False)
    httpx.get(evil.base_url)
    assert registries.contacted_canaries() == ["evil"]
    registries.wipe()
    assert (evil.canary, registries.contacted_canaries()) == (False, [])


def test_a_secret_elsewhere_is_a_leak(registries, registry, evil) -> None:
    registry.auth = basic("alice")
    evil.auth = basic("mallory")
    mine, theirs = registry.auth.credentials, evil.auth.credentials
    httpx.get(registry.base_url, auth=(mine.username, mine.password))
    httpx.get(evil.base_url, auth=(theirs.username, theirs.password))
    assert registries.leaks() == []
    httpx.get(evil.base_url, auth=(mine.username, mine.password))
    httpx.post(evil.base_url, data={"password": mine.password})
    leaks = registries.leaks("origin")
    assert [(leak.name, leak.kind, leak.owner, leak.seen_at) for leak in leaks] == [
        ("password of origin", "password", "origin", "evil")
    ] * 2
    assert [(leak.where, leak.scheme, leak.canary) for leak in leaks] == [
        ("header:Authorization", "http", True),
        ("body", "http", True),
    ]
    assert leaks == registries.leaks()
    assert registries.leaks("evil") == []


@pytest.mark.parametrize("tls", [False, True])
def test_a_realm_may_see_what_it_checks(registries, registry, tls) -> None:
    if tls:
        registry.tls = registries.certificates.valid()
    registry.auth = bearer("alice", realm="auth")
    desk = registries.registry("auth")
    secret = registry.auth.credentials.password
    httpx.get(f"{desk.base_url}/token?service={registry.auth.service}", auth=("alice", secret))
    assert [leak.scheme for leak in registries.leaks()] == (["http"] if tls else [])


def test_every_kind_of_secret_is_told_apart(registries, registry) -> None:
    registry.auth = auth = bearer("alice", users={"bob": ["app/web"]})
    values = {
        "password": auth.credentials_of("bob").password,
        "bearer token": auth.issue(frozenset()),
        "registry token": auth.registry_token,
        "identity token": auth.identity_token,
        "refresh token": auth.issue_refresh(),
        "other": registries.secrets.new("key of cdn"),
    }
    for value in values.values():
        httpx.get(registry.base_url, headers={"X-Secret": value})
    seen = [one for exchange in registry.requests() for one in exchange.secrets]
    assert [one.kind for one in seen] == list(values)
    assert [one.owner for one in seen] == ["origin"] * 5 + ["cdn"]
    assert seen[0] == SecretSeen(
        "password (bob) of origin", "header:X-Secret", "http", "origin", "password"
    )


def test_what_is_known_of_a_secret_stays_known() -> None:
    secrets = Secrets()
    secrets.new("token 1 of cdn", kind="bearer token")
    secrets.new("token 1 of cdn")
    about = secrets.about("token 1 of cdn")
    assert (about.owner, about.kind) == ("cdn", "bearer token")
    assert secrets.about("nobody's").owner == "nobody's"
