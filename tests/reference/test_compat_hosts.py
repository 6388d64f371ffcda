"""Each switch for credentials, tokens, TLS, hosts and requests, both ways; and all are told."""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import httpx
import pytest
import trustme
from scripted import HOST, MIRROR, NAME, Broken, ScriptedTransport

from reference.auth import Authorizer, Credentials, parse_auth
from reference.challenge import Challenge
from reference.compat import Quirks
from reference.compat_auth import challenge_of_line
from reference.compat_remote import RemoteForAll
from reference.config import AuthConfig, Config, RegistryConfig, Request, TLSConfig
from reference.descriptors import OCI_MANIFEST, Descriptor, digest_of
from reference.errors import (
    AuthorizationFailed,
    BodyError,
    ConfigError,
    ConnectionLost,
    DigestMismatch,
    HostsConfigError,
    InvalidAuth,
    InvalidDescriptor,
    RateLimited,
    RedirectError,
    RegistryError,
)
from reference.fetch import Fetcher
from reference.hosts import Host, Hosts
from reference.names import Names
from reference.pull import Puller
from reference.remote import Remote
from reference.resolve import ACCEPT, Resolved, Resolver
from reference.settings import load_config
from reference.store import Store
from reference.tls import TLSOptions
from reference.transport import Ask

ROOT = Path(__file__).parents[2]
BOB = AuthConfig(username="bob", password="s3cret")
REALM = "https://auth.test/token"
BEARER = f'Bearer realm="{REALM}",service="registry"'
OK = httpx.Response(200, content=b"x")
DATA = b"content"
BLOB = Descriptor("application/octet-stream", digest_of(DATA), len(DATA))


def on(*quirks: str) -> Quirks:
    return Quirks().on(quirks)


def scripted(
    answers: Callable[[httpx.Request], httpx.Response] | Iterable[httpx.Response],
    *quirks: str,
    **config: object,
) -> ScriptedTransport:
    """A transport with these switches on; the answers come in this order, or from a function."""
    if callable(answers):
        handler = answers
    else:
        following = iter(answers)
        handler = lambda request: next(following)  # noqa: E731 - one or the other
    settings = Config(quirks=on(*quirks), trust_env=False, **config)  # type: ignore[arg-type]
    return ScriptedTransport(handler, settings)


def remote(transport: ScriptedTransport, auth: AuthConfig | None = None) -> Remote:
    """A remote as a puller makes it."""
    everybody = transport.quirks.credentials_for_whoever_asks
    kind = RemoteForAll if everybody else Remote
    return kind(transport.config, transport, Authorizer(transport, auth), NAME)


def ask(transport: ScriptedTransport, auth: AuthConfig | None = None, host: Host = HOST) -> int:
    """Ask for a blob; the status of the answer."""
    with remote(transport, auth).ask(host, "GET", "blobs", BLOB.digest, accept="*/*") as answer:
        return answer.status


def asks_for(challenge: str, status: int = 401) -> httpx.Response:
    return httpx.Response(status, headers={"www-authenticate": challenge})


def to(location: str) -> httpx.Response:
    return httpx.Response(307, headers={"location": location})


def a_token(value: str = "t1", **more: object) -> httpx.Response:
    return httpx.Response(200, json={"token": value, "access_token": value, **more})


# All switches


@pytest.mark.parametrize("name", Quirks.names())
def test_a_switch_is_told_and_tested(name: str) -> None:
    told = (ROOT / "docs/differences.md").read_text()
    assert f"`{name}`" in told
    tests = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    assert any(re.search(rf"\b{name}\b", text) for text in tests)


def test_the_tables_name_no_other_switch() -> None:
    text = (ROOT / "docs/differences.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(Quirks.names())


def test_all_are_off_and_are_flags() -> None:
    assert all(each.default is False for each in fields(Quirks))


def test_unlimited_downloads(tmp_path: Path) -> None:
    def threads(*quirks: str) -> int:
        config = Config(quirks=on(*quirks), max_concurrent_downloads=3)
        transport = scripted([OK])
        fetcher = Fetcher(config, remote(transport), [HOST], Store(tmp_path))
        return Puller(config, tmp_path).concurrent(fetcher).threads(60)

    assert threads() == 3  # CONC-02
    assert threads("unlimited_downloads") == 60


# Credentials


@pytest.mark.parametrize(
    ("address", "host", "plainly"),
    [
        ("https://r.test:5000", "r.test:5000", True),  # PA-09
        ("https://R.test:5000", "r.test:5000", False),
        ("r.test:5000", "r.test:5000", False),  # PA-10
        ("r.test", "r.test", False),
        ("https://index.docker.io/v1/", "registry-1.docker.io", False),  # PA-11
    ],
)
def test_server_address_is_a_url(address: str, host: str, plainly: bool) -> None:
    auth = AuthConfig(username="u", password="p", server_address=address)
    assert parse_auth(auth, host) == Credentials("u", "p")
    found = parse_auth(auth, host, on("server_address_is_a_url"))
    assert found == (Credentials("u", "p") if plainly else Credentials())


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "[::1]:5000", "a_b:5000"])
def test_some_server_addresses_are_errors(address: str) -> None:
    auth = AuthConfig(username="u", password="p", server_address=address)
    assert parse_auth(auth, address) == Credentials("u", "p")
    with pytest.raises(InvalidAuth):  # PA-10
        parse_auth(auth, address, on("server_address_is_a_url"))


def test_nuls_cut_off_passwords() -> None:
    auth = AuthConfig(auth=base64.b64encode(b"a:\0b\0\0").decode())
    assert parse_auth(auth, "r.test").secret == "\0b\0\0"
    assert parse_auth(auth, "r.test", on("nuls_cut_off_passwords")).secret == "b"  # PA-05


def wants_basic(request: httpx.Request) -> httpx.Response:
    return OK if "authorization" in request.headers else asks_for("Basic")


def test_credentials_for_whoever_asks() -> None:
    """AUTH-36, PA-08: a mirror"""
    quirk = "credentials_for_whoever_asks"
    with pytest.raises(AuthorizationFailed):
        ask(scripted(wants_basic), BOB, MIRROR)
    transport = scripted(wants_basic, quirk)
    assert ask(transport, BOB, MIRROR) == 200
    assert transport.asked[-1].headers["authorization"].startswith("Basic ")
    limited = AuthConfig(username="bob", password="s3cret", server_address="https://registry.test")
    with pytest.raises(AuthorizationFailed):
        ask(scripted(wants_basic, quirk), limited, MIRROR)


def test_credentials_given_hide_those_configured() -> None:
    """PA-02"""
    own = Host("https", "mirror.test", origin=False, auth=BOB)
    transport = scripted(wants_basic)
    assert ask(transport, AuthConfig(), own) == 200
    with pytest.raises(AuthorizationFailed):
        ask(scripted(wants_basic, "credentials_for_whoever_asks"), AuthConfig(), own)


def storage(request: httpx.Request) -> httpx.Response:
    """A registry that sends everybody to a storage that wants a login."""
    if request.url.host == "registry.test":
        return to("https://cdn.test/x")
    return wants_basic(request)


def test_credentials_for_whoever_a_redirect_leads_to() -> None:
    """AUTH-30, AUTH-34"""
    with pytest.raises(AuthorizationFailed):
        ask(scripted(storage), BOB)
    transport = scripted(storage, "credentials_for_whoever_asks")
    assert ask(transport, BOB) == 200
    told = [(each.url.host, "authorization" in each.headers) for each in transport.asked]
    assert told == [
        ("registry.test", False),
        ("cdn.test", False),
        ("registry.test", False),
        ("cdn.test", True),
    ]


def test_a_puller_answers_whoever_asks(tmp_path: Path) -> None:
    assert Puller(Config(), tmp_path / "1").remote is Remote
    config = Config(quirks=on("credentials_for_whoever_asks"))
    assert Puller(config, tmp_path / "2").remote is RemoteForAll


# Challenges and tokens


@pytest.mark.parametrize(
    ("line", "scheme", "parameters"),
    [
        (f'Basic realm="x", {BEARER}', "basic", {"realm": "x"}),  # AUTH-17
        ('Bearer realm = "a",service="b"', "bearer", {}),  # AUTH-18
        ('Bearer realm="a" , service="b" ,scope = "c"', "bearer", {"realm": "a", "service": "b"}),
        (r'BEARER Realm="a\"b,c",SERVICE=d', "bearer", {"realm": 'a"b,c', "service": "d"}),
        ('Bearer service=b,realm="a', "bearer", {"service": "b", "realm": ""}),
        ("Bearer realm=,service=b", "bearer", {"realm": "", "service": "b"}),
        ("Bearer", "bearer", {}),
    ],
)
def test_a_line_is_one_challenge(line: str, scheme: str, parameters: dict[str, str]) -> None:
    assert challenge_of_line(line) == Challenge(scheme, parameters)


def test_one_challenge_a_line() -> None:
    def answers() -> list[httpx.Response]:
        return [asks_for(f'Basic realm="x", {BEARER}'), a_token(), OK]

    assert ask(scripted(answers())) == 200
    with pytest.raises(AuthorizationFailed):
        ask(scripted(answers(), "one_challenge_a_line"))
    assert ask(scripted([asks_for(BEARER), a_token(), OK], "one_challenge_a_line")) == 200
    assert challenge_of_line("") is None
    with pytest.raises(AuthorizationFailed):
        ask(scripted([asks_for("")], "one_challenge_a_line"))


@pytest.mark.parametrize(
    "odd",
    [
        {"expires_in": "300"},  # AUTH-26
        {"expires_in": 300.5},
        {"expires_in": True},
        {"issued_at": "bad"},  # AUTH-25
        {"issued_at": 5},
        {"issued_at": "2024-13-01T00:00:00Z"},
        {"refresh_token": 5},
    ],
)
def test_typed_token_answers(odd: dict[str, object]) -> None:
    assert ask(scripted([asks_for(BEARER), a_token(**odd), OK])) == 200
    with pytest.raises(AuthorizationFailed, match=f"can't be decoded: {next(iter(odd))}"):
        ask(scripted([asks_for(BEARER), a_token(**odd)], "typed_token_answers"))


def test_types_that_fit_are_no_error() -> None:
    good = a_token(
        expires_in=300, issued_at="2024-12-01T00:00:00.123Z", refresh_token=None, other=["x"]
    )
    assert ask(scripted([asks_for(BEARER), good, OK], "typed_token_answers")) == 200
    with pytest.raises(AuthorizationFailed, match="the whole"):
        ask(scripted([asks_for(BEARER), httpx.Response(200, json=[])], "typed_token_answers"))


def test_tokens_without_end_are_sent_again() -> None:
    """AUTH-20, AUTH-21"""
    for challenge, counts in ((BEARER, (3, 2, 6, 1)), ("Basic", (2, 0, 6, 0))):
        for quirks, times, tokens in (
            ((), *counts[:2]),
            (("tokens_without_end",), *counts[2:]),
        ):

            def answers(request: httpx.Request, challenge: str = challenge) -> httpx.Response:
                return a_token() if request.url.host == "auth.test" else asks_for(challenge)

            transport = scripted(answers, *quirks)
            with pytest.raises(AuthorizationFailed):
                ask(transport, BOB)
            hosts = [request.url.host for request in transport.asked]
            assert (hosts.count("registry.test"), hosts.count("auth.test")) == (times, tokens)


def test_an_error_in_the_second_refusal_is_the_end() -> None:
    """AUTH-22, AUTH-23: the seed has no new token for it"""
    refusal = f'{BEARER},error="invalid_token"'

    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            return a_token("t2" if tokens else "t1")
        sent = request.headers.get("authorization")
        tokens.extend([sent] if sent else [])
        return OK if sent == "Bearer t2" else asks_for(refusal if sent else BEARER)

    tokens: list[str] = []
    assert ask(scripted(answers)) == 200
    tokens.clear()
    with pytest.raises(AuthorizationFailed):
        ask(scripted(answers, "tokens_without_end"))
    assert tokens == ["Bearer t1"]


def test_a_lifetime_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTH-24"""
    for quirks, expected in (((), 2), (("tokens_without_end",), 1)):
        now = [1000.0]
        monkeypatch.setattr("reference.auth.time.monotonic", lambda now=now: now[0])
        given = [asks_for(BEARER), a_token(expires_in=60), OK, a_token("t2"), OK]
        transport = scripted(given if not quirks else [*given[:3], OK], *quirks)
        asking = remote(transport)
        for _ in range(2):
            asking.ask(HOST, "GET", "blobs", BLOB.digest, accept="*/*").close()
            now[0] += 61
        assert [each.url.host for each in transport.asked].count("auth.test") == expected


def test_token_errors_kept() -> None:
    def answers() -> list[httpx.Response]:
        return [asks_for(BEARER), httpx.Response(403), a_token(), OK]

    for quirks, requests in (((), 4), (("token_errors_kept",), 2)):
        transport = scripted(answers(), *quirks)
        asking = remote(transport)
        with pytest.raises(AuthorizationFailed):
            asking.ask(HOST, "GET", "blobs", BLOB.digest, accept="*/*")
        if quirks:
            with pytest.raises(AuthorizationFailed):
                asking.ask(HOST, "GET", "blobs", BLOB.digest, accept="*/*")  # AUTH-27, Q-32
        else:
            asking.ask(HOST, "GET", "blobs", BLOB.digest, accept="*/*").close()
        assert len(transport.asked) == requests


def test_tokens_of_each_phase(tmp_path: Path) -> None:
    """AUTH-28, Q-24"""
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    manifest = (
        '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",'
        f'"digest":"{digest_of(config)}","size":{len(config)}}},"layers":[]}}'
    ).encode()
    tokens: list[str] = []
    lock = threading.Lock()

    def answers(request: httpx.Request) -> httpx.Response:
        if request.url.host == "auth.test":
            with lock:
                tokens.append(f"t{len(tokens)}")
                return a_token(tokens[-1], expires_in=300)
        if "authorization" not in request.headers:
            return asks_for(BEARER)
        content = manifest if "/manifests/" in request.url.path else config
        head = {"content-type": OCI_MANIFEST, "docker-content-digest": digest_of(manifest)}
        return httpx.Response(200, headers=head, content=content)

    for number, quirks in enumerate(((), ("tokens_of_each_phase",)), start=1):
        tokens.clear()
        puller = Puller(Config(quirks=on(*quirks), platform="linux/amd64"), tmp_path / str(number))
        transport = scripted(answers, *quirks)
        puller.transport = lambda *_, transport=transport: transport  # type: ignore[assignment,misc]
        puller.pull(Request("registry.test/app/web:v1", unpack=False))
        assert len(tokens) == number


# TLS


def ask_with(tls: TLSOptions, url: str = "http://localhost:5000/v2/") -> Ask:
    return Ask("GET", url, tls=tls)


@pytest.mark.parametrize(
    ("location", "unverified"),
    [
        ("https://localhost:5001/x", True),
        ("https://127.0.0.1/x", True),
        ("https://cdn.test/x", False),
    ],
)
def test_localhost_unverified(tmp_path: Path, location: str, unverified: bool) -> None:
    """TLS-11, Q-03: behind a redirect, and at a token service"""
    for quirks in ((), ("localhost_unverified",)):
        transport = scripted([to(location), OK], *quirks)
        [host] = Hosts(transport.config).of("localhost:5000")
        assert host.scheme == "http"
        transport.send(ask_with(host.tls)).close()
        assert transport.tls_used[1].skip_verify == (unverified and bool(quirks))
        authorizer = Authorizer(transport, None)
        assert authorizer.tls_of(host, location) == transport.tls_used[1]
    config = Config(config_path=(tmp_path,), quirks=on("localhost_unverified"))
    assert Hosts(config).of("localhost:5000") == (host,)
    assert Hosts(config).of("registry.test") == Hosts(Config()).of("registry.test")


def test_localhost_is_http() -> None:
    tls = {"localhost:5000": RegistryConfig(tls=TLSConfig(insecure_skip_verify=True))}
    for quirks, scheme in (((), "https"), (("localhost_is_http",), "http")):
        [host] = Hosts(Config(configs=tls, quirks=on(*quirks))).of("localhost:5000")
        assert host.scheme == scheme  # HOST-06, TLS-10


def test_certificates_for_others() -> None:
    tls = TLSOptions((Path("ca"),), ((Path("c"), Path("k")),), skip_verify=True)
    for quirks, pairs in (((), ()), (("certificates_for_others",), tls.client_pairs)):
        transport = scripted([to("https://cdn.test/x"), OK], *quirks)
        transport.send(ask_with(tls, "https://registry.test/v2/")).close()
        assert transport.tls_used[1] == TLSOptions(tls.ca_files, pairs)  # AUTH-29


def test_ca_files_may_be_empty(tmp_path: Path) -> None:
    junk, good = tmp_path / "junk.pem", tmp_path / "ca.pem"
    junk.write_text("no certificate")
    trustme.CA().cert_pem.write_to_path(str(good))

    def of(ca: Path, *quirks: str) -> Host:
        tls = {"r.test": RegistryConfig(tls=TLSConfig(ca_file=ca))}
        return Hosts(Config(configs=tls, quirks=on(*quirks))).of("r.test")[0]

    with pytest.raises(ConfigError):
        of(junk)
    assert of(junk, "ca_files_may_be_empty").tls == TLSOptions()  # TLS-05, Q-10
    assert of(good, "ca_files_may_be_empty").tls.ca_files == (good,)
    with pytest.raises(ConfigError):
        of(tmp_path / "none.pem", "ca_files_may_be_empty")  # TLS-04


# Hosts


def file_hosts(root: Path, text: str, *quirks: str) -> list[str]:
    folder = root / "r.test"
    folder.mkdir(exist_ok=True)
    (folder / "hosts.toml").write_text(text)
    hosts = Hosts(Config(config_path=(root,), quirks=on(*quirks))).of("r.test")
    return [f"{host.scheme}://{host.authority}" for host in hosts]


@pytest.mark.parametrize(
    "broken",
    ["x", 'capabilities = ["fly"]', "ca = 1", 'header = "x"', 'client = [["1", "2", "3"]]'],
)
def test_broken_hosts_files_ignored(tmp_path: Path, broken: str) -> None:
    text = f'server = "https://up.test"\n[host."https://m.test"]\n{broken}'
    with pytest.raises(HostsConfigError):
        file_hosts(tmp_path, text)
    assert file_hosts(tmp_path, text, "broken_hosts_files_ignored") == ["https://r.test"]  # HOST-20


def test_a_server_alone_is_ignored(tmp_path: Path) -> None:
    text = 'server = "https://up.test"'
    assert file_hosts(tmp_path, text) == ["https://up.test"]
    assert file_hosts(tmp_path, text, "broken_hosts_files_ignored") == ["https://r.test"]  # HOST-24
    with_host = f'{text}\n[host."https://m.test"]'
    both = ["https://m.test", "https://up.test"]
    assert file_hosts(tmp_path, with_host, "broken_hosts_files_ignored") == both


def test_certificates_count_beside_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "r.test").mkdir()
    ca = tmp_path / "r.test" / "ca.crt"
    trustme.CA().cert_pem.write_to_path(str(ca))
    file_hosts(tmp_path, "x", "broken_hosts_files_ignored")
    config = Config(config_path=(tmp_path,), quirks=on("broken_hosts_files_ignored"))
    assert Hosts(config).of("r.test")[0].tls.ca_files == (ca,)


def test_capabilities_ignored() -> None:
    pusher = Host("https", "push.test", capabilities=frozenset({"push"}))
    for quirks, expected in (((), (HOST,)), (("capabilities_ignored",), (pusher, HOST))):
        hosts = Hosts(Config(quirks=on(*quirks)))
        assert hosts.for_fetching((pusher, HOST)) == expected  # HOST-32, Q-29
        assert hosts.for_tags((pusher, HOST)) == (HOST,)
        with pytest.raises(HostsConfigError):
            hosts.for_fetching((pusher,))


def test_docker_hub_twice() -> None:
    own = "registry-1.docker.io"
    for quirks, expected in (((), [own]), (("docker_hub_twice",), [own, own])):
        config = Config(mirrors={"docker.io": [f"https://{own}"]}, quirks=on(*quirks))
        assert [host.authority for host in Hosts(config).of("docker.io")] == expected  # HOST-05


@pytest.mark.parametrize("roots", [":", "/etc/certs.d:"])
def test_empty_roots(tmp_path: Path, roots: str) -> None:
    path = tmp_path / "config.toml"
    registry = f'[plugins."io.containerd.grpc.v1.cri".registry]\nconfig_path = "{roots}"\n'
    path.write_text(registry)
    with pytest.raises(ConfigError, match="empty folder"):
        load_config(path)
    path.write_text(f'[refpull]\nquirks = ["empty_roots"]\n{registry}')
    assert load_config(path).config_path[-1] == Path()


# Requests


def resolved(
    transport: ScriptedTransport, *hosts: Host, name: str = "registry.test/app/web:v1"
) -> Resolved:
    return Resolver(transport.config, remote(transport)).resolve(Names().parse(name), hosts)


def a_manifest(body: bytes = b"{}", **headers: str) -> httpx.Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, headers={"content-type": OCI_MANIFEST} | told, content=body)


DIGEST = digest_of(b"{}")


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([a_manifest(docker_content_digest="bad")], InvalidDescriptor),
        ([a_manifest(), httpx.Response(404)], RegistryError),  # no digest: asked again by GET
        ([httpx.Response(304)], RegistryError),
    ],
)
def test_first_answer_decides(answers: list[httpx.Response], kind: type[Exception]) -> None:
    good = [*answers, a_manifest(docker_content_digest=DIGEST)]
    assert resolved(scripted(good), MIRROR, HOST).descriptor.digest == DIGEST
    with pytest.raises(kind):  # HOST-37
        resolved(scripted(good, "first_answer_decides"), MIRROR, HOST)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404),
        httpx.Response(500),
        a_manifest(docker_content_digest=DIGEST, content_length="99999999"),
    ],
)
def test_what_others_may_know_better(answer: httpx.Response) -> None:
    """HOST-36"""
    good = a_manifest(docker_content_digest=DIGEST)
    transport = scripted([answer, good], "first_answer_decides")
    assert resolved(transport, MIRROR, HOST).descriptor.digest == DIGEST


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (lambda: httpx.Response(200, content=b"corrupt"), DigestMismatch),
        (
            lambda: httpx.Response(200, headers={"content-length": "7"}, stream=Broken(b"")),
            BodyError,
        ),
    ],
)
def test_first_body_decides(
    tmp_path: Path, first: Callable[[], httpx.Response], kind: type[Exception]
) -> None:
    def fetch(folder: str, *quirks: str) -> None:
        answers = [first(), httpx.Response(200, content=DATA)]
        transport = scripted(answers, *quirks, resume_attempts=0)
        store = Store(tmp_path / folder)
        Fetcher(transport.config, remote(transport), [MIRROR, HOST], store).fetch(BLOB)

    fetch("1")
    with pytest.raises(kind):
        fetch("2", "first_body_decides")  # HOST-38


@pytest.mark.parametrize("status", [408, 429])
def test_rate_limits_ignored(status: int) -> None:
    limit = httpx.Response(status, headers={"retry-after": "60"})
    with pytest.raises(RegistryError):
        ask(scripted([limit]))
    quirk = "rate_limits_ignored"
    assert ask(scripted([*[limit] * 5, OK], quirk)) == 200  # NET-08, NET-09
    transport = scripted(lambda request: limit, quirk)
    with pytest.raises(RegistryError if status == 408 else RateLimited):
        ask(transport)
    assert len(transport.asked) == 6


def test_any_host_is_hurried() -> None:
    limit = httpx.Response(429)
    good = a_manifest(docker_content_digest=DIGEST)
    for quirks, count in (((), 2), (("rate_limits_ignored",), 3)):
        transport = scripted([limit, *[limit] * (count - 2), good], *quirks)
        assert resolved(transport, MIRROR, HOST).descriptor.digest == DIGEST
        hosts = [each.url.host for each in transport.asked]
        assert hosts[-1] == ("mirror.test" if quirks else "registry.test")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_errors_not_repeated(status: int) -> None:
    def answers() -> list[httpx.Response]:
        return [httpx.Response(status, headers={"retry-after": "0"}), OK]

    assert ask(scripted(answers())) == 200
    with pytest.raises(RegistryError):
        ask(scripted(answers(), "errors_not_repeated"))  # NET-10


def test_lost_connections_not_repeated() -> None:
    def losing(*quirks: str) -> ScriptedTransport:
        answers = iter([None, OK])

        def handler(request: httpx.Request) -> httpx.Response:
            answer = next(answers)
            if answer is None:
                raise httpx.ReadError("connection reset by peer")
            return answer

        return scripted(handler, *quirks)

    assert ask(losing()) == 200
    with pytest.raises(ConnectionLost):
        ask(losing("errors_not_repeated"))  # NET-07


def test_limits_are_still_waited_for_without_the_other_switch() -> None:
    answers = [httpx.Response(429, headers={"retry-after": "0"}), OK]
    assert ask(scripted(answers, "errors_not_repeated")) == 200
    answers = [httpx.Response(503, headers={"retry-after": "0"}), OK]
    assert ask(scripted(answers, "rate_limits_ignored")) == 200


def test_answers_may_take_for_ever() -> None:
    """NET-04, Q-27: what limit the connection is given"""
    for quirks, limit in (((), 30.0), (("answers_may_take_for_ever",), None)):
        limits: list[float | None] = []

        def handler(request: httpx.Request, limits: list[float | None] = limits) -> httpx.Response:
            limits.append(request.extensions["timeout"]["read"])
            return OK

        ask(scripted(handler, *quirks))
        assert limits == [limit]


PRIVATE = (("Authorization", "Bearer t"),)


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("https://registry.test:444/x", False),
        ("https://sub.registry.test/x", True),
        ("https://otherregistry.test/x", False),
        ("https://test/x", False),
    ],
)
def test_subdomains_are_one_host(location: str, kept: bool) -> None:
    """NET-13"""
    for quirks in ((), ("subdomains_are_one_host",)):
        transport = scripted([to(location), OK], *quirks)
        transport.send(Ask("GET", "https://registry.test/v2/", private=PRIVATE)).close()
        assert ("authorization" in transport.asked[1].headers) == (kept and bool(quirks))


def test_downgrades_followed() -> None:
    """NET-16: and never with what the https host was told"""
    location = "http://registry.test:8080/x"
    ask_it = Ask("GET", "https://registry.test/v2/", private=PRIVATE)
    with pytest.raises(RedirectError):
        scripted([to(location)]).send(ask_it)
    for more in ([], ["subdomains_are_one_host"]):
        transport = scripted([to(location), OK], "downgrades_followed", *more)
        transport.send(ask_it).close()
        assert "authorization" not in transport.asked[1].headers


@pytest.mark.parametrize("value", ["a/b", ["a/b", "c/d"]])
def test_configured_accept(value: str | list[str]) -> None:
    """NET-02: where a tag is resolved, and nowhere else"""
    good = a_manifest(docker_content_digest=DIGEST)
    own = value if isinstance(value, str) else ", ".join(value)
    for quirks, accept in (((), ACCEPT), (("configured_accept",), own)):
        transport = scripted([good, OK], *quirks, headers={"Accept": value})
        resolved(transport, HOST)
        ask(transport)
        assert [each.headers["accept"] for each in transport.asked] == [accept, "*/*"]
    transport = scripted([good], "configured_accept")
    resolved(transport, HOST)
    assert transport.asked[0].headers["accept"] == ACCEPT
