"""Tokens that age, users that differ, challenges and token services that lie: over raw sockets."""

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from rawclient import Raw, Received

from fakeregistry import (
    Registries,
    Registry,
    an_image,
    basic,
    bearer,
    blob,
    challenge,
    manifest,
    ping,
    token,
)
from fakeregistry.auth.grants import Grant, granted, parse_scopes, rights_of, scope_text

MANIFEST = "/v2/app/web/manifests/v1"
PULL = "repository:app/web:pull"


@pytest.fixture
def guarded(registry: Registry) -> Registry:
    registry.add(an_image())
    registry.auth = bearer("alice")
    return registry


def get(registry: Registry, path: str = MANIFEST, value: str = "", **headers: str) -> Received:
    if value:
        headers["Authorization"] = f"Bearer {value}"
    with Raw(registry) as raw:
        return raw.ask(path, **headers).answer()


def basic_of(registry: Registry, user: str = "alice", password: str = "") -> str:
    known = password or registry.auth.credentials_of(user).password
    return "Basic " + base64.b64encode(f"{user}:{known}".encode()).decode()


def asked(registry: Registry, *scopes: str, user: str = "alice", **query: str) -> Received:
    desk = registry.auth.realm_registry
    pairs = [("service", registry.auth.service), *(("scope", one) for one in scopes or (PULL,))]
    path = "/token?" + urlencode([*pairs, *query.items()])
    headers = {"Authorization": basic_of(registry, user)} if user else {}
    with Raw(desk) as raw:
        return raw.ask(path, **headers).answer()


def posted(registry: Registry, **form: str) -> Received:
    form = {"service": registry.auth.service, "client_id": "raw", "scope": PULL, **form}
    body = urlencode(form)
    with Raw(registry.auth.realm_registry) as raw:
        raw.send(
            f"POST /token HTTP/1.1\r\nHost: {registry.host}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        return raw.answer()


def said(received: Received) -> dict:
    return json.loads(received.body)


def token_of(registry: Registry, *scopes: str, **query: str) -> str:
    return said(asked(registry, *scopes, **query))["token"]


# what is guarded, and how it is said


def test_some_kinds_alone_can_be_guarded(registry: Registry) -> None:
    image = registry.add(an_image())
    registry.auth = bearer(only=["blob"])
    assert get(registry, "/v2/").status == 200
    assert get(registry).status == 200
    assert get(registry, f"/v2/app/web/blobs/{image.layers[0].digest}").status == 401
    assert get(registry, f"/v2/app/web/blobs/{image.config.digest}").status == 200
    registry.auth = basic(only=["manifest", "ping"])
    assert [get(registry, path).status for path in ("/v2/", MANIFEST)] == [401, 401]
    assert get(registry, f"/v2/app/web/manifests/{image.digest}").status == 401


def test_some_repositories_alone_can_be_guarded(registry: Registry) -> None:
    registry.add(an_image(), "app/open")
    registry.add(an_image(), "app/shut")
    registry.auth = basic(repositories=["app/shut"])
    assert get(registry, "/v2/").status == 200
    assert get(registry, "/v2/app/open/manifests/v1").status == 200
    assert get(registry, "/v2/app/shut/manifests/v1").status == 401


def test_what_a_redirect_leads_to_can_be_guarded(registries: Registries) -> None:
    origin, cdn = registries.registry(), registries.registry("cdn")
    image = origin.add(an_image())
    origin.on(blob()).redirect(to=cdn)
    cdn.auth = basic("alice", only=["redirect_target"])
    path = get(origin, f"/v2/app/web/blobs/{image.layers[0].digest}").header("location")
    path = path.removeprefix(cdn.base_url)
    assert get(cdn, path).status == 401
    assert get(cdn, path, Authorization=basic_of(cdn)).body == image.layers[0].blob


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_registry_may_say_no_otherwise(guarded: Registry, status: int) -> None:
    guarded.auth = bearer(deny_status=status)
    refused = get(guarded)
    assert (refused.status, refused.header("WWW-Authenticate")) == (status, None)
    guarded.auth = bearer(deny_status=status, challenge="Basic")
    assert get(guarded).header("WWW-Authenticate") == "Basic"


def test_a_401_may_come_without_a_challenge(guarded: Registry) -> None:
    guarded.auth = bearer(no_challenge=True)
    assert (get(guarded).status, get(guarded).header("WWW-Authenticate")) == (401, None)


def test_what_makes_no_sense_is_refused() -> None:
    for wrong, words in (
        ({"deny_status": 200}, "deny_status 200: 400, 401, 403, 404"),
        ({"only": ["blobs"]}, "only 'blobs'"),
        ({"token_ttl": -1}, "token_ttl -1"),
        ({"token_expired_status": 500}, "token_expired_status 500"),
        ({"scope_policy": "all"}, "scope_policy 'all'"),
    ):
        with pytest.raises(ValueError, match=words):
            bearer(**wrong)


# users


def test_users_differ_in_their_rights(registry: Registry) -> None:
    registry.add(an_image(), "app/a")
    registry.add(an_image(), "app/b")
    users = {"alice": ["*"], "bob": ["app/a"], "eve": []}
    registry.auth = basic(users=users)
    assert registry.auth.credentials.username == "alice"
    for user, path, status in (
        ("alice", "app/b", 200), ("bob", "app/a", 200), ("bob", "app/b", 403), ("eve", "app/a", 403)
    ):  # fmt: skip
        path = f"/v2/{path}/manifests/v1"
        assert get(registry, path, Authorization=basic_of(registry, user)).status == status
    registry.auth = bearer(users=users)
    wanted = "repository:app/a:pull,push repository:app/b:pull"
    value = token_of(registry, wanted, user="bob")
    assert get(registry, "/v2/app/a/manifests/v1", value).status == 200
    refused = get(registry, "/v2/app/b/manifests/v1", value)
    assert 'error="insufficient_scope"' in (refused.header("WWW-Authenticate") or "")


def test_credentials_rotate_as_often_as_one_likes(registry: Registry) -> None:
    registry.auth = basic(users={"alice": ["*"], "bob": ["*"]})
    known = {registry.auth.credentials_of(user).password for user in ("alice", "bob")}
    for _ in range(2):
        registry.auth.rotate()
        known |= {registry.auth.credentials_of(user).password for user in ("alice", "bob")}
    assert len(known) == 6
    assert registry.auth.wrong_credentials.password not in known


def test_credentials_rotate_when_a_rule_fires(guarded: Registry) -> None:
    old, value = basic_of(guarded), token_of(guarded)
    guarded.on(manifest()).first(1).rotate_credentials()
    assert get(guarded, MANIFEST, value).status == 200
    assert get(guarded, MANIFEST, value).status == 200
    with Raw(guarded) as raw:
        path = f"/token?service={guarded.auth.service}"
        assert raw.ask(path, Authorization=old).answer().status == 401
    guarded.on(manifest()).rotate_credentials(tokens=True)
    fresh = token_of(guarded)
    assert [get(guarded, MANIFEST, fresh).status for _ in range(2)] == [200, 401]


# the life of tokens


def test_tokens_age_on_the_registrys_clock(registries: Registries, guarded: Registry) -> None:
    value = token_of(guarded)
    registries.clock.advance(299)
    assert get(guarded, MANIFEST, value).status == 200
    registries.clock.advance(2)
    refused = get(guarded, MANIFEST, value)
    assert refused.status == 401
    assert 'error="invalid_token"' in (refused.header("WWW-Authenticate") or "")
    guarded.auth = bearer("alice", token_ttl=2)
    answer = said(asked(guarded))
    assert answer["expires_in"] == 2
    guarded.auth = bearer("alice", expires_in=None)
    value = token_of(guarded)
    registries.clock.advance(10**6)
    assert get(guarded, MANIFEST, value).status == 200


@pytest.mark.parametrize("status", [400, 403])
def test_expired_is_said_in_several_ways(
    registries: Registries, guarded: Registry, status: int
) -> None:
    guarded.auth = bearer("alice", token_ttl=5, token_expired_status=status)
    value = token_of(guarded)
    registries.clock.advance(6)
    assert get(guarded, MANIFEST, value).status == status
    assert get(guarded, MANIFEST, "unknown").status == 401
    guarded.auth = bearer("alice", token_ttl=5)
    late = guarded.on(challenge()).token_expired_status(status)
    value = token_of(guarded)
    registries.clock.advance(6)
    refused = get(guarded, MANIFEST, value)
    assert (refused.status, refused.header("WWW-Authenticate")) == (status, None)
    assert get(guarded).status == 401
    assert late.fired == 1


def test_tokens_that_were_never_good(guarded: Registry) -> None:
    for value in (guarded.auth.wrong_token, guarded.auth.expired_token):
        assert get(guarded, MANIFEST, value).status == 401
    seen = [(one.name, one.kind, one.owner) for e in guarded.requests() for one in e.secrets]
    assert seen == [
        ("wrong token of origin", "bearer token", "origin"),
        ("expired token of origin", "bearer token", "origin"),
    ]
    assert [each.facts.problem for each in guarded.requests()] == [
        "wrong_credentials",
        "expired_token",
    ]


def test_faults_limit_what_is_issued(registries: Registries, guarded: Registry) -> None:
    limited = guarded.on(token()).first(1).token_uses(1)
    value = token_of(guarded)
    assert [get(guarded, MANIFEST, value).status for _ in range(2)] == [200, 401]
    guarded.on(token()).nth(1).token_ttl(7)
    value = token_of(guarded)
    registries.clock.advance(8)
    assert get(guarded, MANIFEST, value).status == 401
    guarded.on(token()).nth(1).token_always_rejected()
    value = token_of(guarded)
    assert get(guarded, MANIFEST, value).status == 401
    value = token_of(guarded)
    assert get(guarded, MANIFEST, value).status == 200
    assert limited.fired == 1


def test_a_rule_that_does_not_fire_limits_nothing(guarded: Registry) -> None:
    guarded.on(token()).nth(2).token_always_rejected()
    values = [token_of(guarded) for _ in range(2)]
    assert [get(guarded, MANIFEST, value).status for value in values] == [200, 401]
    guarded.topology.honest = True
    guarded.on(token()).token_always_rejected()
    assert get(guarded, MANIFEST, token_of(guarded)).status == 200


def test_tokens_are_bound_to_less(registries: Registries) -> None:
    origin, mirror = registries.registry(), registries.registry("mirror")
    for one in (origin, mirror):
        one.add(an_image())
        one.add(an_image(), "app/other")
        one.auth = bearer("alice", realm="auth", service="registry.example")
    desk = registries.registry("auth")
    scopes = "repository:app/web:pull repository:app/other:pull,push"
    shared = token_of(origin, scopes)
    for one in (origin, mirror):
        assert get(one, MANIFEST, shared).status == 200, "who shares a service shares its tokens"
    desk.on(token()).nth(1).token_bound(repository="app/other", actions=["pull"])
    bound = token_of(origin, scopes)
    assert get(origin, MANIFEST, bound).status == 401
    assert get(origin, "/v2/app/other/manifests/v1", bound).status == 200
    desk.on(token()).nth(1).token_bound(host=mirror)
    bound = token_of(origin, scopes)
    assert [get(one, MANIFEST, bound).status for one in (origin, mirror)] == [401, 200]


# what a token service says


def test_the_answer_has_all_forms(guarded: Registry) -> None:
    now = datetime.now(UTC)
    for settings, wanted in (
        ({"token_field": "neither"}, {"expires_in": 300}),
        ({"token_field": "null"}, {"token": None, "access_token": None, "expires_in": 300}),
        ({"token_field": "neither", "expires_in": "300"}, {"expires_in": "300"}),
        ({"token_field": "neither", "expires_in": -1, "issued_at": "x"},
         {"expires_in": -1, "issued_at": "x"}),
    ):  # fmt: skip
        guarded.auth = bearer("alice", **settings)
        assert said(asked(guarded)) == wanted
    guarded.auth = bearer("alice", token_field="different", issued_at=-3600)
    answer = said(asked(guarded))
    assert get(guarded, MANIFEST, answer["access_token"]).status == 200
    assert get(guarded, MANIFEST, answer["token"]).status == 401
    issued = datetime.fromisoformat(answer["issued_at"])
    assert abs(now - timedelta(hours=1) - issued) < timedelta(minutes=1)


def test_a_fault_changes_the_answer(guarded: Registry) -> None:
    guarded.on(token()).token_response(
        set={"expires_in": 1e12, "issued_at": "{now+3600}", "token": "{wrong_token}"},
        drop=["access_token"],
    )
    answer = said(asked(guarded))
    assert answer["expires_in"] == 1e12
    assert answer["token"] == guarded.auth.wrong_token
    assert set(answer) == {"expires_in", "issued_at", "token"}
    ahead = datetime.fromisoformat(answer["issued_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < ahead < timedelta(minutes=61)
    with pytest.raises(ValueError, match="it needs set or drop"):
        guarded.on(token()).token_response()


def test_post_may_not_be_known(guarded: Registry) -> None:
    page = guarded.on(token()).first(1).token_post(200, "<html>Sign in</html>")
    guarded.on(token()).after(1).token_post(403)
    secret = guarded.auth.credentials.password
    form = {"grant_type": "password", "username": "alice", "password": secret}
    answer = posted(guarded, **form)
    assert (answer.status, answer.body) == (200, b"<html>Sign in</html>")
    assert (answer.header("Content-Type") or "").startswith("text/html")
    assert posted(guarded, **form).status == 403
    assert asked(guarded).status == 200
    assert page.fired == 1


def test_offline_tokens_may_be_refused(guarded: Registry) -> None:
    guarded.auth = bearer("alice", offline_token=401)
    assert asked(guarded, offline_token="true").status == 401
    assert asked(guarded).status == 200
    guarded.auth = bearer("alice")
    guarded.on(token()).offline_token(403)
    assert asked(guarded, offline_token="true").status == 403
    assert asked(guarded).status == 200


def test_a_refresh_token_stays_the_same_and_comes_to_who_asks(guarded: Registry) -> None:
    secret = guarded.auth.credentials.password
    form = {"grant_type": "password", "username": "alice", "password": secret}
    refresh = said(posted(guarded, **form, access_type="offline"))["refresh_token"]
    again = said(posted(guarded, grant_type="refresh_token", refresh_token=refresh))
    assert "refresh_token" not in again
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "access_type": "offline"}
    assert said(posted(guarded, **form))["refresh_token"] == refresh


@pytest.mark.parametrize("as_fault", [False, True])
def test_services_read_scopes_by_their_own_lights(guarded: Registry, as_fault: bool) -> None:
    def other(policy: str) -> None:
        guarded.auth = bearer("alice", scope_policy="exact" if as_fault else policy)
        if as_fault:
            guarded.on(token()).first(1).scope_policy(policy)

    guarded.add(an_image(), "app/b")
    paths = (MANIFEST, "/v2/app/b/manifests/v1")
    scopes = (PULL, "repository:app/b:pull")
    for policy, wanted in (
        ("last_scope_wins", [401, 200]),
        ("first_scope_wins", [200, 401]),
    ):
        other(policy)
        value = token_of(guarded, *scopes)
        assert [get(guarded, path, value).status for path in paths] == wanted
    other("refuse_extra")
    assert asked(guarded, *scopes).status == 403
    other("refuse_extra")
    assert asked(guarded).status == 200


# challenges


def test_a_rule_may_lie_in_a_challenge(guarded: Registry) -> None:
    text = 'Bearer realm="http://169.254.169.254/",service="{service}",scope="{scope}"'
    guarded.on(challenge()).first(1).challenge(text)
    guarded.on(challenge()).after(1).challenge(["Negotiate", 'Basic realm="x"'])
    refused = get(guarded)
    assert refused.header("WWW-Authenticate") == (
        f'Bearer realm="http://169.254.169.254/",service="{guarded.host}",scope="{PULL}"'
    )
    lines = [line for line in get(guarded).head.split("\r\n") if "WWW-Auth" in line]
    assert lines == ["WWW-Authenticate: Negotiate", 'WWW-Authenticate: Basic realm="x"']


def test_a_rule_may_leave_the_challenge_away(guarded: Registry) -> None:
    rule = guarded.on(ping()).no_challenge()
    assert get(guarded, "/v2/").header("WWW-Authenticate") is None
    assert get(guarded).header("WWW-Authenticate") is not None
    assert get(guarded, "/v2/", guarded.auth.registry_token).status == 200
    assert rule.fired == 1


# pure parts


def test_rights_and_scopes() -> None:
    assert rights_of(["*"]) == {("*", "*")}
    assert rights_of(["a/b", "c:pull,push"]) == {("a/b", "pull"), ("c", "pull"), ("c", "push")}
    scopes = parse_scopes(["repository:h:5000/a:pull registry:catalog:*", "repository(p):b:push"])
    assert scopes == {("h:5000/a", "pull"), ("b", "push")}
    assert scope_text(scopes) == "repository:b:push repository:h:5000/a:pull"
    assert granted(["repository:a:pull,push"], rights_of(["a"])) == {("a", "pull")}
    assert granted(["repository:a:pull,push"], rights_of(["a"]), "refuse_extra") is None
    everything = Grant(frozenset({("*", "*")}))
    everything.bind("a", ("pull",))
    assert everything.scopes == {("a", "pull")}
