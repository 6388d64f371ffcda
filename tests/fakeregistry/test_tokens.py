"""Authentication: challenges, tokens by GET and POST, scopes, expiry, realms elsewhere."""

import base64
import json
from urllib.parse import urlencode

import httpx
import pytest

from fakeregistry import Registries, Registry, an_image, basic, bearer, challenge, manifest, token

MANIFEST = "/v2/app/web/manifests/v1"


@pytest.fixture
def client():
    with httpx.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def guarded(registry: Registry) -> Registry:
    registry.add(an_image())
    registry.auth = bearer()
    return registry


def user(registry: Registry) -> tuple[str, str]:
    return registry.auth.credentials.username, registry.auth.credentials.password


def get_token(client, registry, scope="repository:app/web:pull", auth=None, **query):
    query = {"service": registry.auth.service, "scope": scope, **query}
    return client.get(f"{registry.auth.realm}?{urlencode(query)}", auth=auth)


def post_token(client, registry, **form):
    form = {"service": registry.auth.service, "scope": "repository:app/web:pull", **form}
    return client.post(registry.auth.realm, data={"client_id": "test", **form})


def ask(client, registry, value, path=MANIFEST, method="GET"):
    headers = {"Authorization": f"Bearer {value}"}
    return client.request(method, registry.url_for(path), headers=headers)


def test_basic(client, registry) -> None:
    image = registry.add(an_image())
    registry.auth = basic("alice")
    refused = client.get(registry.url_for(MANIFEST))
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Basic realm="origin"'
    assert refused.json()["errors"][0]["code"] == "UNAUTHORIZED"
    assert client.get(registry.url_for(MANIFEST), auth=("alice", "no")).status_code == 401
    granted = client.get(registry.url_for(MANIFEST), auth=user(registry))
    assert granted.content == image.manifest
    old = user(registry)
    registry.auth.rotate()
    assert client.get(registry.url_for(MANIFEST), auth=old).status_code == 401
    assert client.get(registry.url_for(MANIFEST), auth=user(registry)).status_code == 200


@pytest.mark.parametrize("value", ["Basic !!!", "Basic", "Bearer", "Nonsense x", "Basic /w=="])
def test_nonsense_is_refused(client, registry, value) -> None:
    for auth in (basic(), bearer()):
        registry.auth = auth
        response = client.get(registry.url_for("/v2/"), headers={"Authorization": value})
        assert response.status_code == 401


def test_a_challenge_names_realm_service_and_scope(client, guarded) -> None:
    refused = client.get(guarded.url_for(MANIFEST))
    assert refused.headers["WWW-Authenticate"] == (
        f'Bearer realm="{guarded.base_url}/token",service="{guarded.host}",'
        'scope="repository:app/web:pull"'
    )
    ping = client.get(guarded.url_for("/v2/")).headers["WWW-Authenticate"]
    assert ping == f'Bearer realm="{guarded.base_url}/token",service="{guarded.host}"'


def test_a_token_by_get(client, guarded) -> None:
    answer = get_token(client, guarded, auth=user(guarded))
    document = answer.json()
    assert document["token"] == document["access_token"]
    assert document["expires_in"] == 300
    assert "refresh_token" not in document
    assert ask(client, guarded, document["token"]).status_code == 200
    assert ask(client, guarded, document["token"], "/v2/").status_code == 200
    assert get_token(client, guarded, auth=("x", "y")).status_code == 401
    assert get_token(client, guarded).status_code == 401
    assert get_token(client, guarded, service="other", auth=user(guarded)).status_code == 400
    assert client.delete(guarded.auth.realm).status_code == 405


def test_anonymous_tokens_pull_only(client, guarded) -> None:
    guarded.auth = bearer(anonymous=True)
    value = get_token(client, guarded, "repository:app/web:pull,push").json()["token"]
    assert ask(client, guarded, value).status_code == 200
    refused = ask(client, guarded, value, "/v2/app/web/blobs/uploads/", "POST")
    assert refused.status_code == 401
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert "pull,push" in refused.headers["WWW-Authenticate"]


def test_a_scope_is_for_its_repository(client, guarded) -> None:
    scope = "repository:app/other:pull repository:a/b:pull"
    value = get_token(client, guarded, scope, auth=user(guarded)).json()["token"]
    refused = ask(client, guarded, value)
    assert refused.status_code == 401
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]


def test_tokens_expire_on_the_registrys_own_clock(client, guarded) -> None:
    value = get_token(client, guarded, auth=user(guarded)).json()["token"]
    guarded.auth.expire()
    refused = ask(client, guarded, value)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    fresh = get_token(client, guarded, auth=user(guarded)).json()["token"]
    assert fresh != value
    assert ask(client, guarded, fresh).status_code == 200
    assert guarded.auth.issued == 2


def test_tokens_can_die_by_use(client, guarded) -> None:
    guarded.auth = bearer(token_uses=2)
    value = get_token(client, guarded, auth=user(guarded)).json()["token"]
    assert [ask(client, guarded, value).status_code for _ in range(3)] == [200, 200, 401]


def test_tokens_can_be_rejected_for_ever(client, guarded) -> None:
    guarded.auth.reject_tokens = True
    value = get_token(client, guarded, auth=user(guarded)).json()["token"]
    assert ask(client, guarded, value).status_code == 401


def test_oauth_password_and_refresh(client, guarded) -> None:
    name, password = user(guarded)
    answer = post_token(
        client, guarded, grant_type="password", username=name, password=password,
        access_type="offline",
    )  # fmt: skip
    document = answer.json()
    assert document["scope"] == "repository:app/web:pull"
    assert ask(client, guarded, document["access_token"]).status_code == 200
    refresh = document["refresh_token"]
    again = post_token(client, guarded, grant_type="refresh_token", refresh_token=refresh)
    assert ask(client, guarded, again.json()["access_token"]).status_code == 200
    guarded.auth.revoke_refresh_tokens()
    refused = post_token(client, guarded, grant_type="refresh_token", refresh_token=refresh)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        ({"grant_type": "password", "username": "x", "password": "y"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "password", "service": "other"}, "invalid_request"),
    ],
)
def test_oauth_errors(client, guarded, form, problem) -> None:
    answer = post_token(client, guarded, **form)
    assert (answer.status_code, answer.json()["error"]) == (400, problem)


def test_oauth_may_be_missing(client, guarded) -> None:
    guarded.auth = bearer(post=False)
    name, password = user(guarded)
    answer = post_token(client, guarded, grant_type="password", username=name, password=password)
    assert answer.status_code == 405


def test_offline_tokens_by_get(client, guarded) -> None:
    document = get_token(client, guarded, auth=user(guarded), offline_token="true").json()
    assert guarded.auth.knows_refresh(document["refresh_token"])


def test_tokens_given_without_asking(client, guarded) -> None:
    assert ask(client, guarded, guarded.auth.registry_token).status_code == 200
    identity = guarded.auth.identity_token
    answer = post_token(client, guarded, grant_type="refresh_token", refresh_token=identity)
    assert ask(client, guarded, answer.json()["access_token"]).status_code == 200


@pytest.mark.parametrize("field", ["token", "access_token"])
def test_a_token_may_have_one_name_only(client, guarded, field) -> None:
    guarded.auth = bearer(token_field=field, expires_in=None, extra={"issued_at": "now"})
    document = get_token(client, guarded, auth=user(guarded)).json()
    assert set(document) == {field, "issued_at"}


def test_a_realm_on_another_registry(client, registries: Registries, guarded) -> None:
    guarded.auth = bearer(realm="auth")
    issuer = registries.registry("auth")
    assert guarded.auth.realm == issuer.url_for("/token")
    value = get_token(client, guarded, auth=user(guarded)).json()["token"]
    assert ask(client, guarded, value).status_code == 200
    assert len(issuer.requests(token())) == 1
    assert guarded.requests(token()) == []


def test_one_realm_serves_many_registries(client, registries: Registries, guarded) -> None:
    mirror = registries.registry("mirror")
    mirror.add(an_image())
    mirror.auth = bearer(realm=guarded)
    value = get_token(client, mirror, auth=user(mirror)).json()["token"]
    assert ask(client, mirror, value).status_code == 200
    assert ask(client, guarded, value).status_code == 401
    assert get_token(client, mirror, auth=user(guarded)).status_code == 401
    assert client.get(guarded.auth.realm).status_code == 400, "which service isn't said"


def test_a_raw_challenge_replaces_the_true_one(client, guarded) -> None:
    guarded.auth = bearer(challenge=["Negotiate", 'bearer  scope="{scope}" , realm="{realm}"'])
    refused = client.get(guarded.url_for(MANIFEST))
    assert refused.headers.get_list("WWW-Authenticate") == [
        "Negotiate",
        f'bearer  scope="repository:app/web:pull" , realm="{guarded.base_url}/token"',
    ]


def test_rules_on_a_target_leave_the_challenge_alone(client, guarded) -> None:
    rule = guarded.on(manifest()).first(1).status(500)
    bare = guarded.on(challenge()).drop_header("WWW-Authenticate")
    refused = client.get(guarded.url_for(MANIFEST))
    assert refused.status_code == 401
    assert "WWW-Authenticate" not in refused.headers
    value = get_token(client, guarded, auth=user(guarded)).json()["token"]
    assert ask(client, guarded, value).status_code == 500
    assert (rule.fired, bare.fired) == (1, 1)


def test_credentials_are_the_seeds(registries: Registries, registry) -> None:
    registry.auth = basic()
    with Registries(registries.seed) as others:
        other = others.registry()
        other.auth = basic()
        assert other.auth.credentials == registry.auth.credentials
    with Registries("another seed") as others:
        other = others.registry()
        other.auth = basic()
        assert other.auth.credentials != registry.auth.credentials


def test_an_auth_describes_itself_without_secrets(registry) -> None:
    registry.auth = bearer("bob", realm=registry, anonymous=True)
    said = repr(registry.auth)
    assert said.startswith("BearerAuth(user='bob', realm='origin', anonymous=True")
    assert registry.auth.credentials.password not in said + repr(registry.auth.credentials)
    assert str(registry.port) not in said


def test_an_auth_belongs_to_a_registry_first() -> None:
    with pytest.raises(RuntimeError, match=r"registry\.auth = "):
        _ = basic().credentials
    with pytest.raises(ValueError, match="token_field 'x'"):
        bearer(token_field="x")


def test_no_secret_is_written_down(client, registries: Registries, guarded) -> None:
    name, password = user(guarded)
    value = get_token(client, guarded, auth=(name, password), offline_token="true").json()["token"]
    ask(client, guarded, value)
    post_token(client, guarded, grant_type="password", username=name, password=password)
    client.get(guarded.url_for(f"/v2/?access_token={value}"))
    client.get(guarded.url_for("/v2/"), auth=("stranger", "unknown password"))
    assert registries.journal.wait_quiet()
    written = registries.journal.to_ndjson() + json.dumps(registries.journal.to_har())
    for secret in (password, value, "unknown password"):
        assert secret not in written
        assert base64.b64encode(secret.encode()).decode() not in written
    assert base64.b64encode(f"{name}:{password}".encode()).decode() not in written
    seen = {(s.name, s.where) for e in guarded.requests() for s in e.secrets}
    assert seen == {
        ("password of origin", "header:Authorization"),
        ("token 1 of origin", "header:Authorization"),
        ("password of origin", "body"),
        ("token 1 of origin", "query"),
    }
