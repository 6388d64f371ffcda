import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl

import httpx
import pytest
from scripted import HOST, MIRROR, Handler, ScriptedTransport, remote_at

from reference.auth import Credentials, parse_auth
from reference.compat import Quirks
from reference.config import AuthConfig, Config
from reference.errors import AuthorizationFailed, InvalidAuth
from reference.hosts import Host
from reference.tls import TLSOptions

BOB = AuthConfig(username="bob", password="s3cret")
CHALLENGE = 'Bearer realm="https://auth.test/token?x=1",service="registry",scope="{scope}"'
SCOPE = "repository:app/web:pull"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# ParseAuth


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (None, ("", "")),  # PA-01
        (AuthConfig(), ("", "")),  # PA-02
        (
            AuthConfig(username="u", password="p", identity_token="i", auth=encoded("a:b")),
            ("u", "p"),
        ),  # PA-03
        (AuthConfig(identity_token="i", auth=encoded("a:b")), ("", "i")),  # PA-04
        (AuthConfig(auth=encoded("a:b:c")), ("a", "b:c")),  # PA-05
        (AuthConfig(auth=encoded("a:b\0\0")), ("a", "b\0\0")),
        (AuthConfig(username="u", password="p", server_address="https://other.test"), ("", "")),
        (AuthConfig(username="u", password="p", server_address="https://r.test:5000"), ("u", "p")),
        (AuthConfig(username="u", password="p", server_address="http://R.test:5000"), ("u", "p")),
        # PA-09: host and port, in any case.
        (AuthConfig(username="u", password="p", server_address="https://r.test"), ("", "")),
        (AuthConfig(username="u", password="p", server_address="r.test:5000"), ("u", "p")),
        (AuthConfig(password="p"), ("", "")),  # PA-12
        (AuthConfig(username="u"), ("u", "")),  # PA-13
        (AuthConfig(registry_token="t"), ("", "")),  # PA-14
    ],
)  # fmt: skip
def test_the_branches_of_parse_auth(auth: AuthConfig | None, expected: tuple[str, str]) -> None:
    assert parse_auth(auth, "r.test:5000") == Credentials(*expected)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://index.docker.io/v1/", "registry-1.docker.io"),  # PA-11
        ("docker.io", "registry-1.docker.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),  # PA-10
        ("[::1]:5000", "[::1]:5000"),
    ],
)
def test_server_addresses_as_people_write_them(address: str, host: str) -> None:
    auth = AuthConfig(username="u", password="p", server_address=address)
    assert parse_auth(auth, host) == Credentials("u", "p")


@pytest.mark.parametrize("auth", [encoded("nocolon"), "not base64!", "YTpi_-", encoded("a:b")[:-1]])
def test_what_cannot_be_understood_is_an_error_that_does_not_repeat_it(auth: str) -> None:
    with pytest.raises(InvalidAuth) as caught:
        parse_auth(AuthConfig(auth=auth), "r.test")  # PA-06, PA-07, Q-07
    assert auth not in str(caught.value)
    assert "nocolon" not in str(caught.value)


@pytest.mark.parametrize(
    "auth", [AuthConfig(username="u", password="\ud800"), AuthConfig(identity_token="\udcff")]
)
def test_what_is_no_text_cannot_be_sent(auth: AuthConfig) -> None:
    """JSON and arguments that aren't in UTF-8 bring it; it was a traceback, with the secret."""
    with pytest.raises(InvalidAuth, match="not text in UTF-8"):
        parse_auth(auth, "r.test")


def test_what_nobody_asks_for_is_not_looked_at() -> None:
    """PA-15"""
    bad = AuthConfig(auth="not base64!")
    assert ask(lambda request: httpx.Response(200), bad)[1] == 200
    with pytest.raises(InvalidAuth):
        ask(basic_registry, bad)


def test_secrets_are_not_in_what_is_printed() -> None:
    auth = AuthConfig(username="bob", password="s3cret", auth="s3cret", identity_token="s3cret")
    assert "s3cret" not in repr(auth)
    assert "s3cret" not in repr(parse_auth(BOB, "x"))


# A registry that wants a token, and its token server


class Registry:
    """Answers 401 until a token from `tokens` comes, and hands tokens out."""

    def __init__(self, scope: str = SCOPE) -> None:
        self.challenge = CHALLENGE.format(scope=scope)
        self.valid: set[str] = set()
        self.token_requests: list[httpx.Request] = []
        self.on_post: Callable[[httpx.Request], httpx.Response] = self.give
        self.on_get: Callable[[httpx.Request], httpx.Response] = self.give
        self.error = ""

    def give(self, request: httpx.Request) -> httpx.Response:
        token = f"t{len(self.token_requests)}"
        self.valid.add(f"Bearer {token}")
        return httpx.Response(200, json={"access_token": token, "expires_in": 300})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/token":
            self.token_requests.append(request)
            return self.on_post(request) if request.method == "POST" else self.on_get(request)
        if request.headers.get("authorization") in self.valid:
            return httpx.Response(200, content=b"content")
        challenge = self.challenge + self.error
        return httpx.Response(401, headers={"www-authenticate": challenge})

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.token_requests[0].content.decode()))


def ask(
    handler: Handler, auth: AuthConfig | None = None, host: Host = HOST
) -> tuple[ScriptedTransport, int]:
    transport = ScriptedTransport(handler)
    with remote_at(transport, auth).ask(host, "GET", "blobs", "sha256:0", accept="*/*") as answer:
        return transport, answer.status


def test_an_anonymous_token_is_asked_for_by_get() -> None:
    registry = Registry(scope=f"repository:app/web:pull,push {SCOPE}")

    transport, status = ask(registry)

    assert status == 200
    blob = "GET https://registry.test/v2/app/web/blobs/sha256:0"
    assert [transport.lines[0], transport.lines[2]] == [blob, blob]  # AUTH-01
    assert "authorization" not in transport.asked[0].headers
    request = registry.token_requests[0]
    assert request.method == "GET"
    assert "authorization" not in request.headers
    assert request.url.params.multi_items() == [
        ("x", "1"),  # AUTH-03
        ("service", "registry"),
        ("scope", SCOPE),
        ("scope", "repository:app/web:pull,push"),
    ]  # AUTH-02, AUTH-12


def test_a_challenge_without_scope_still_asks_for_this_repository() -> None:
    registry = Registry()
    registry.challenge = 'Bearer realm="https://auth.test/token"'
    ask(registry)
    # AUTH-13; no service was named (AUTH-15), and no other repository is of use (AUTH-35).
    assert registry.token_requests[0].url.params.multi_items() == [("scope", SCOPE)]
    ask(registry, BOB)
    assert b"&service=&" in registry.token_requests[1].content


def test_a_password_goes_by_post() -> None:
    registry = Registry()
    ask(registry, BOB)
    assert registry.token_requests[0].method == "POST"
    assert registry.form == {
        "grant_type": "password",
        "username": "bob",
        "password": "s3cret",
        "service": "registry",
        "client_id": "refpull",
        "scope": SCOPE,
    }  # AUTH-04


def test_an_identity_token_is_a_refresh_token() -> None:
    registry = Registry()
    ask(registry, AuthConfig(identity_token="refresh"))
    assert registry.form["grant_type"] == "refresh_token"
    assert registry.form["refresh_token"] == "refresh"
    assert "username" not in registry.form  # AUTH-07


@pytest.mark.parametrize("code", [400, 401, 404, 405])
def test_a_realm_without_oauth2_is_asked_by_get_with_basic(code: int) -> None:
    registry = Registry()
    registry.on_post = lambda request: httpx.Response(code)
    assert ask(registry, BOB)[1] == 200
    get = registry.token_requests[1]
    assert get.method == "GET"
    assert get.headers["authorization"] == f"Basic {encoded('bob:s3cret')}"  # AUTH-05, AUTH-06


def test_the_fallback_with_an_identity_token_has_no_user() -> None:
    registry = Registry()
    registry.on_post = lambda request: httpx.Response(404)
    ask(registry, AuthConfig(identity_token="tok"))
    assert registry.token_requests[1].headers["authorization"] == f"Basic {encoded(':tok')}"


@pytest.mark.parametrize(
    ("code", "auth"), [(403, BOB), (500, BOB), (405, AuthConfig(identity_token="t"))]
)
def test_other_refusals_of_a_post_are_final(code: int, auth: AuthConfig) -> None:
    registry = Registry()
    registry.on_post = lambda request: httpx.Response(code)
    with pytest.raises(AuthorizationFailed, match=f"auth.test/token answered {code}"):
        ask(registry, auth)
    assert {request.method for request in registry.token_requests} == {"POST"}


@pytest.mark.parametrize(
    "document", [{"token": "a"}, {"access_token": "a"}, {"token": "b", "access_token": "a"}]
)
def test_both_names_of_a_token_count_for_get(document: dict[str, str]) -> None:
    registry = Registry()
    registry.valid.add("Bearer a")
    registry.on_get = lambda request: httpx.Response(200, json=document)
    assert ask(registry)[1] == 200  # AUTH-08


def test_a_post_answer_needs_its_access_token() -> None:
    registry = Registry()
    registry.on_post = lambda request: httpx.Response(200, json={"token": "a"})
    with pytest.raises(AuthorizationFailed, match="did not include a token"):
        ask(registry, BOB)  # AUTH-09


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json={}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"token": ["x"]}),
        httpx.Response(200, json={"token": "a\r\nInjected: 1"}),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.Response(302, headers={"location": "https://evil.test/"}),
        httpx.Response(500),
    ],
)
def test_an_answer_without_a_usable_token_fails(answer: httpx.Response) -> None:
    registry = Registry()
    registry.on_get = lambda request: answer
    with pytest.raises(AuthorizationFailed):
        ask(registry)  # AUTH-10, AUTH-11, AUTH-33


@pytest.mark.parametrize(
    "extra",
    [{"expires_in": "300"}, {"issued_at": "bad"}, {"expires_in": 0}, {"expires_in": 10**400}],
)
def test_odd_times_of_a_token_do_no_harm(extra: dict[str, object]) -> None:
    """AUTH-25, AUTH-26"""
    registry = Registry()
    registry.valid.add("Bearer a")
    registry.on_get = lambda request: httpx.Response(200, json={"token": "a", **extra})
    assert ask(registry)[1] == 200


@pytest.mark.parametrize(
    "realm", ["", ' realm="nonsense"', ' realm="ftp://a/b"', ' realm="https://[x"']
)
def test_a_challenge_without_a_usable_realm_fails(realm: str) -> None:
    registry = Registry()
    registry.challenge = "Bearer" + realm
    with pytest.raises(AuthorizationFailed, match="no usable realm"):
        ask(registry)  # AUTH-14


def test_bearer_is_preferred_and_unknown_schemes_are_skipped() -> None:
    registry = Registry()
    registry.challenge = f'Negotiate, Basic realm="x", {registry.challenge}'
    assert ask(registry)[1] == 200
    assert len(registry.token_requests) == 1  # AUTH-16


@pytest.mark.parametrize("headers", [{}, {"www-authenticate": "Negotiate abc="}])
def test_a_401_that_cannot_be_answered_is_not_repeated(headers: dict[str, str]) -> None:
    transport = ScriptedTransport(lambda request: httpx.Response(401, headers=headers))
    with pytest.raises(AuthorizationFailed, match="answered 401"):
        remote_at(transport, BOB).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert len(transport.asked) == 1  # AUTH-32


# Basic


def basic_registry(request: httpx.Request) -> httpx.Response:
    if request.headers.get("authorization") == f"Basic {encoded('bob:s3cret')}":
        return httpx.Response(200)
    return httpx.Response(401, headers={"www-authenticate": 'Basic realm="r"'})


def test_basic_is_answered_with_user_and_password() -> None:
    assert ask(basic_registry, BOB)[1] == 200  # AUTH-19


@pytest.mark.parametrize("auth", [None, AuthConfig(username="bob"), AuthConfig(identity_token="t")])
def test_basic_without_both_fails(auth: AuthConfig | None) -> None:
    with pytest.raises(AuthorizationFailed, match="no basic auth credentials"):
        ask(basic_registry, auth)


def test_a_wrong_password_is_not_sent_again_and_again() -> None:
    transport = ScriptedTransport(basic_registry)
    with pytest.raises(AuthorizationFailed, match="pull access denied") as caught:
        remote_at(transport, AuthConfig(username="bob", password="wrong")).ask(
            HOST, "GET", "blobs", "x", accept="*/*"
        )
    assert len(transport.asked) == 2  # AUTH-20
    assert "wrong" not in str(caught.value)


# Tokens over time


def test_a_token_is_kept_for_the_next_request() -> None:
    registry = Registry()
    transport = ScriptedTransport(registry)
    remote = remote_at(transport, BOB)
    for _ in range(3):
        remote.ask(HOST, "GET", "blobs", "x", accept="*/*").close()
    assert len(registry.token_requests) == 1
    assert len(transport.asked) == 5


def test_a_token_that_ended_is_fetched_anew_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    transport = ScriptedTransport(registry)
    remote = remote_at(transport)
    remote.ask(HOST, "GET", "blobs", "x", accept="*/*").close()
    now = 0.0
    monkeypatch.setattr("reference.auth.time.monotonic", lambda: now)
    now = 10.0**9
    remote.ask(HOST, "GET", "blobs", "x", accept="*/*").close()
    assert [line.split()[1].split("?")[0] for line in transport.lines[3:]] == [
        "https://auth.test/token",
        "https://registry.test/v2/app/web/blobs/x",
    ]  # AUTH-24


def test_an_invalid_token_is_replaced_once() -> None:
    registry = Registry()
    transport = ScriptedTransport(registry)
    remote = remote_at(transport)
    remote.ask(HOST, "GET", "blobs", "x", accept="*/*").close()
    registry.valid.clear()
    registry.error = ',error="invalid_token"'
    with remote.ask(HOST, "GET", "blobs", "x", accept="*/*") as answer:
        assert answer.status == 200
    assert len(registry.token_requests) == 2  # AUTH-23


@pytest.mark.parametrize("error", ["", ',error="insufficient_scope"'])
def test_a_registry_that_is_never_satisfied_ends_in_an_error(error: str) -> None:
    """AUTH-21, AUTH-22"""
    registry = Registry()
    registry.error = error
    registry.on_get = lambda request: httpx.Response(200, json={"token": "useless"})
    transport = ScriptedTransport(registry)
    with pytest.raises(AuthorizationFailed):
        remote_at(transport).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert len(transport.asked) <= 6


def test_threads_share_one_token_request() -> None:
    registry = Registry()
    release, waiting = threading.Event(), threading.Event()
    give = registry.give

    def slowly(request: httpx.Request) -> httpx.Response:
        waiting.set()
        assert release.wait(10)
        return give(request)

    registry.on_get = slowly
    transport = ScriptedTransport(registry)
    remote = remote_at(transport)
    statuses: list[int] = []

    def work() -> None:
        with remote.ask(HOST, "GET", "blobs", "x", accept="*/*") as answer:
            statuses.append(answer.status)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert waiting.wait(10)
    release.set()
    for thread in threads:
        thread.join(10)
    assert statuses == [200] * 4
    assert len(registry.token_requests) == 1  # AUTH-27


def test_a_failed_token_request_is_not_remembered() -> None:
    registry = Registry()
    registry.on_get = lambda request: httpx.Response(500)
    remote = remote_at(ScriptedTransport(registry))
    with pytest.raises(AuthorizationFailed):
        remote.ask(HOST, "GET", "blobs", "x", accept="*/*")
    registry.on_get = registry.give
    assert remote.ask(HOST, "GET", "blobs", "x", accept="*/*").status == 200


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a pull would have paused for, in seconds."""
    waits: list[float] = []
    monkeypatch.setattr(
        "reference.progress.Cancellation.wait", lambda self, seconds: waits.append(seconds)
    )
    return waits


@pytest.mark.parametrize("auth", [None, BOB])
@pytest.mark.parametrize(
    ("fault", "pauses"),
    [
        (httpx.Response(503), [0.1, 0.2]),
        (httpx.Response(429, headers={"retry-after": "3"}), [3, 3]),  # incident L01
        (httpx.ReadError("reset"), [0.1, 0.2]),
    ],
)
def test_a_token_service_that_fails_at_first_is_asked_again(
    fault: httpx.Response | Exception,
    pauses: list[float],
    auth: AuthConfig | None,
    waits: list[float],
) -> None:
    """Incident G07: the patience for tokens is the same as for content."""
    registry = Registry()

    def failing(request: httpx.Request) -> httpx.Response:
        if len(registry.token_requests) > 2:
            return registry.give(request)
        if isinstance(fault, Exception):
            raise fault
        return fault

    registry.on_get = registry.on_post = failing
    assert ask(registry, auth)[1] == 200
    assert waits == pauses


@pytest.mark.parametrize(("code", "requests"), [(500, 4), (401, 1), (403, 1), (501, 1)])
def test_a_token_service_that_keeps_failing_is_left(
    code: int, requests: int, waits: list[float]
) -> None:
    registry = Registry()
    registry.on_get = lambda request: httpx.Response(code)
    with pytest.raises(AuthorizationFailed, match=f"answered {code}"):
        ask(registry)
    assert len(registry.token_requests) == requests


def test_token_services_are_asked_once_where_nothing_is_repeated() -> None:
    """The quirk errors_not_repeated."""
    registry = Registry()
    registry.on_get = lambda request: httpx.Response(500)
    config = Config(quirks=Quirks(errors_not_repeated=True))
    with pytest.raises(AuthorizationFailed):
        remote_at(ScriptedTransport(registry, config)).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert len(registry.token_requests) == 1


# Who may see what


def test_a_mirror_does_not_see_the_credentials_of_the_registry() -> None:
    registry = Registry()
    ask(registry, BOB, MIRROR)
    assert registry.token_requests[0].method == "GET"
    assert "authorization" not in registry.token_requests[0].headers  # AUTH-36, Q-05


def test_where_a_redirect_leads_no_login_is_answered() -> None:
    """AUTH-34: the credentials are the registry's, and a token would be of no use there."""

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.host == "registry.test":
            return httpx.Response(307, headers={"location": "https://storage.test/blob"})
        challenge = CHALLENGE.format(scope=SCOPE)
        return httpx.Response(401, headers={"www-authenticate": challenge})

    transport = ScriptedTransport(handler)
    with pytest.raises(AuthorizationFailed, match=r"storage\.test/blob answered 401"):
        remote_at(transport, BOB).ask(HOST, "GET", "blobs", "x", accept="*/*")
    assert [request.url.host for request in transport.asked] == ["registry.test", "storage.test"]


@pytest.mark.parametrize("realm", ["registry.test", "auth.test"])
def test_a_token_service_is_the_registry_or_a_stranger(realm: str) -> None:
    """Its TLS is the registry's own only there (AUTH-29); configured headers stay (AUTH-31)."""
    own = TLSOptions((Path("ca"),), ((Path("pair"), None),), skip_verify=True)
    registry = Registry()
    registry.challenge = f'Bearer realm="https://{realm}/token"'
    transport = ScriptedTransport(registry, Config(headers={"X-Key": "k"}))
    host = replace(HOST, tls=own)

    remote_at(transport).ask(host, "GET", "blobs", "x", accept="*/*").close()

    assert transport.tls_used == [
        own,
        own if realm == HOST.authority else TLSOptions(own.ca_files),
        own,
    ]
    assert ["x-key" in request.headers for request in transport.asked] == [True, False, True]
    assert transport.asked[1].headers["user-agent"].startswith("refpull/")


def test_a_mirror_sees_credentials_that_name_it_or_are_its_own() -> None:
    named, own = Registry(), Registry()
    ask(named, AuthConfig(username="bob", password="s3cret", server_address="mirror.test"), MIRROR)
    ask(own, BOB, Host("https", "mirror.test", origin=False, auth=AuthConfig("m", "mine")))
    assert named.form["username"] == "bob"
    assert own.form["password"] == "mine"


def test_credentials_for_another_host_are_not_used() -> None:
    registry = Registry()
    ask(registry, AuthConfig(username="bob", password="s3cret", server_address="https://x.test"))
    assert registry.token_requests[0].method == "GET"  # PA-08


def test_an_https_registry_cannot_point_to_a_plain_realm() -> None:
    registry = Registry()
    registry.challenge = 'Bearer realm="http://auth.test/token"'
    with pytest.raises(AuthorizationFailed, match="is not https"):
        ask(registry, BOB)
    assert registry.token_requests == []


def test_no_error_repeats_a_secret() -> None:
    registry = Registry()
    registry.challenge = 'Bearer realm="https://u:s3cret@auth.test/token?k=s3cret"'
    registry.on_post = registry.on_get = lambda request: httpx.Response(403, text="s3cret")
    with pytest.raises(AuthorizationFailed) as caught:
        ask(registry, BOB)
    assert "s3cret" not in str(caught.value)  # AUTH-37
