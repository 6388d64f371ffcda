"""Hosts, auth, proxies and upstreams as scenario files say them: built, asked, and refused."""

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from fakeregistry import BearerAuth, Proxy, Registries
from fakeregistry.scenario import Built, ScenarioError, Source, build, read
from fakeregistry.scenario.schema import schema
from fakeregistry.serve.explain import story

TAG = "/v2/app/web/manifests/v1"


def loaded(text: str) -> Any:
    return read(Source.of_text("world.toml", text))


def world(registries: Registries, text: str, **options: Any) -> Built:
    return build(loaded(text), registries, **options)


def problems(text: str) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        loaded(text)
    return [problem.message for problem in caught.value.problems]


def get(registries: Registries, name: str, path: str, **options: Any) -> httpx.Response:
    return httpx.get(registries.registry(name).url_for(path), trust_env=False, **options)


AUTH = """
[[registry]]
[registry.auth]
scheme = "bearer"
user = "alice"
users = { bob = ["app/web"] }
only = ["manifest", "blob"]
token_ttl = "2m"
token_uses = 9
issued_at = -3600
extra = { more = 1 }
post = false
[registry.auth.lie]
token_always_rejected = true
expires_in = false
challenge = ['Bearer realm="{realm}",service="{service}",scope="{scope}"', "Basic"]
[[image]]
"""


def token_of(registries: Registries) -> dict[str, Any]:
    auth = registries.registry().auth
    user = auth.credentials
    query = {"service": auth.service, "scope": "repository:app/web:pull"}
    return httpx.get(auth.realm, params=query, auth=(user.username, user.password)).json()


@pytest.mark.parametrize("honest", [False, True])
def test_auth_is_as_told_and_honest_without_its_lies(registries: Registries, honest: bool) -> None:
    told: list[tuple[str, str]] = []

    def tell(words: str, false: Any, true: Any, where: str) -> Any:
        told.append((words, where))
        return true if honest else false

    world(registries, AUTH, honest=honest, tell=tell)
    auth = registries.registry().auth
    assert isinstance(auth, BearerAuth)
    assert (auth.token_ttl, auth.token_uses, auth.post) == (120, 9, False)
    assert auth.credentials_of("bob").username == "bob"
    assert get(registries, "origin", "/v2/").status_code == 200
    refused = get(registries, "origin", TAG)
    assert refused.status_code == 401
    assert len(refused.headers.get_list("www-authenticate")) == (1 if honest else 2)
    answer = token_of(registries)
    assert answer["more"] == 1
    assert ("expires_in" in answer) == honest
    headers = {"Authorization": f"Bearer {answer['token']}"}
    assert get(registries, "origin", TAG, headers=headers).status_code == (200 if honest else 401)
    assert [where for _, where in told] == ["answer"]
    assert "token_always_rejected = True" in told[0][0]


def test_hosts_are_told(registries: Registries) -> None:
    text = """
    [[registry]]
    [[registry]]
    name = "mirror"
    prefix = "/v2/mirror"
    [[registry]]
    name = "storage"
    host = "127.0.0.1"
    tls = true
    [[registry]]
    name = "evil"
    canary = true
    [[image]]
    registry = ["origin", "mirror"]
    """
    world(registries, text)
    assert get(registries, "mirror", "/v2/mirror/app/web/manifests/v1").status_code == 200
    storage = registries.registry("storage")
    assert storage.host == f"127.0.0.1:{storage.port}"
    assert storage.hostname == registries.registry().hostname
    assert registries.contacted_canaries() == []
    assert registries.registry("evil").canary
    registries.wipe()
    assert storage.hostname == "localhost"


def test_upstreams_are_told(registries: Registries) -> None:
    text = """
    [[registry]]
    [[image]]
    id = "hub"
    ns = "docker.io"
    layers = 1
    [[image]]
    id = "quay"
    ns = "quay.io"
    layers = 3
    [[rule]]
    on = "manifest"
    image = "hub"
    query = { ns = "docker.io" }
    first = 1
    require_ns = "other"
    """
    built = world(registries, text)
    for name, image in (("quay.io", "quay"), ("docker.io", "hub")):
        if image == "hub":
            assert get(registries, "origin", f"{TAG}?ns={name}").status_code == 400
        answer = get(registries, "origin", f"{TAG}?ns={name}")
        assert answer.content == built.images[image].manifest
    assert get(registries, "origin", TAG).status_code == 404


PROXY = """
[[registry]]
[[proxy]]
auth = { scheme = "basic", user = "alice" }
[[image]]
[[rule]]
on = "proxy"
method = "GET"
first = 1
status = 502
[pull]
proxy = "proxy"
[expect]
outcome = "pulled"
requests = [{ on = "proxy", at_least = 1 }]
"""


def test_a_proxy_is_told(registries: Registries) -> None:
    built = world(registries, PROXY)
    front = registries.registry("proxy")
    assert isinstance(front, Proxy)
    with httpx.Client(proxy=front.url, trust_env=False) as through:
        url = registries.registry().url_for(TAG)
        assert [through.get(url).status_code for _ in range(2)] == [502, 200]
    assert built.scenario.pull is not None
    assert built.scenario.pull.proxy == "proxy"
    (part,) = built.scenario.expect.requests
    assert len(built.seen(part.target)) == 2
    told = dict(story(built.scenario))
    assert "proxy proxy: http, basic auth of alice" in told["The world"]
    with pytest.raises(ScenarioError, match="'proxy' is a proxy"):
        world(registries, "[[registry]]\nname = 'proxy'\n[[image]]\n")
    with pytest.raises(ScenarioError, match="'origin' is a registry"):
        world(registries, "[[proxy]]\nname = 'origin'\n[[image]]\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'auth = { scheme = "basic", token_ttl = 1 }',
            "unknown key 'token_ttl' in [registry.auth]",
        ),
        ('auth = { scheme = "bearer", lie = { ttl = 1 } }', "unknown key 'ttl' in [registry"),
        ('auth = { scheme = "bearer", only = ["blobs"] }', "auth: only 'blobs'"),
        ('auth = { scheme = "bearer", deny_status = 500 }', "auth: deny_status 500"),
        ('auth = { scheme = "bearer", token_field = "x" }', "token_field = 'x' is unknown"),
        ('auth = { scheme = "bearer", token_ttl = "soon" }', "it must be a time"),
        ('auth = { scheme = "bearer", challenge = [1] }', "a text, or a list of texts"),
        ('auth = { scheme = "bearer", issued_at = true }', "a text, or seconds from now"),
        ('auth = { scheme = "bearer", users = { bob = "x" } }', "bob = 'x': it must be a list"),
        ('auth = { scheme = "basic", realm = "x" }', "basic auth has no realm elsewhere"),
        ('host = "a:1"', "a host name, without a port"),
        ('prefix = "v2"', "a path such as /v2/mirror"),
    ],
)
def test_mistakes_are_told(text: str, words: str) -> None:
    found = problems(f"[[registry]]\n{text}\n[[image]]\n")
    assert any(words in line for line in found), found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[proxy]]\nprefix = '/x'\n[[image]]\n", "a proxy has no prefix"),
        ("[[proxy]]\nauth = 'bearer'\n[[image]]\n", 'a proxy asks by "basic" alone'),
        ("[[proxy]]\n[[image]]\nregistry = 'proxy'\n", "'proxy' is a proxy: it has no images"),
        ("[[image]]\n[[rule]]\non = 'proxy'\nstatus = 502\n", "there is no registry 'proxy'"),
        (
            "[[proxy]]\n[[image]]\n[pull]\nproxy = 'prox'\n[expect]\noutcome = 'pulled'\n",
            "there is no proxy 'prox': did you mean 'proxy'?",
        ),
        (
            "[[image]]\n[[rule]]\non = 'token'\ntoken_response = { set = 1 }\n",
            "it must be a table of values",
        ),
        ("[[image]]\n[[rule]]\non = 'challenge'\nchallenge = []\n", "it must be a list such as"),
        (
            "[[image]]\n[[rule]]\non = 'upload'\nupload_location = 'cdm'\n",
            "there is no registry 'cdm'",
        ),
        (
            "[[image]]\n[[rule]]\non = 'token'\ntoken_bound = { host = 'cdm' }\n",
            "there is no registry 'cdm'",
        ),
    ],
)
def test_mistakes_elsewhere_are_told(text: str, words: str) -> None:
    found = problems(text)
    assert any(words in line for line in found), found


@pytest.mark.parametrize("text", [AUTH, PROXY])
def test_the_schema_knows_them(text: str, tmp_path: Path) -> None:
    import tomllib

    jsonschema.validate(tomllib.loads(text), schema())
    wrong = tomllib.loads(text.replace("scheme", "schema"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema())
    assert json.dumps(schema())
