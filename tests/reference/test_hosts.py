from pathlib import Path

import pytest
import trustme

from reference.config import AuthConfig, Config, RegistryConfig, TLSConfig
from reference.errors import ConfigError, HostsConfigError
from reference.hostfile import parse_duration
from reference.hosts import Host, Hosts, is_localhost
from reference.tls import TLSOptions

NAMESPACE = "registry.test:5000"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def pair(tmp_path: Path, ca: trustme.CA) -> tuple[Path, Path, Path]:
    """CA, certificate and key files."""
    certificate = ca.issue_cert("client.test")
    paths = tmp_path / "ca.pem", tmp_path / "client.cert", tmp_path / "client.key"
    ca.cert_pem.write_to_path(str(paths[0]))
    certificate.cert_chain_pems[0].write_to_path(str(paths[1]))
    certificate.private_key_pem.write_to_path(str(paths[2]))
    return paths


def write(root: Path, text: str, folder: str = "registry.test_5000_") -> Path:
    directory = root / folder
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.toml").write_text(text)
    return directory


def of(root: Path, namespace: str = NAMESPACE, **config: object) -> tuple[Host, ...]:
    return Hosts(Config(config_path=(root,), **config)).of(namespace)  # type: ignore[arg-type]


def bases(hosts: tuple[Host, ...]) -> list[str]:
    return [f"{host.scheme}://{host.authority}{host.path}" for host in hosts]


# hosts.toml


def test_hosts_are_tried_in_file_order_and_the_server_last(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        server = "https://upstream.test"
        [host."http://b.test:1"]
        [host."https://a.test"]
        capabilities = ["pull"]
        [host."c.test/path"]
        """,
    )

    hosts = of(tmp_path)

    assert bases(hosts) == [
        "http://b.test:1/v2",
        "https://a.test/v2",
        "https://c.test/path/v2",
        "https://upstream.test/v2",
    ]  # HOST-18, HOST-19, HOST-27, HOST-28
    assert [host.origin for host in hosts] == [False, False, False, True]
    assert hosts[1].capabilities == {"pull"}


def test_without_server_the_registry_itself_is_last(tmp_path: Path) -> None:
    write(tmp_path, '[host."https://m.test"]\n')
    assert bases(of(tmp_path)) == ["https://m.test/v2", "https://registry.test:5000/v2"]


def test_a_server_alone_is_enough(tmp_path: Path) -> None:
    write(tmp_path, 'server = "http://other.test"\n')
    assert bases(of(tmp_path)) == ["http://other.test/v2"]  # HOST-24


@pytest.mark.parametrize(
    ("url", "override", "path"),
    [
        ("https://h.test", False, "/v2"),
        ("https://h.test/", False, "/v2"),
        ("https://h.test/v2", False, "/v2"),
        ("https://h.test/p/", False, "/p/v2"),
        ("https://h.test/p/v2/", False, "/p/v2"),
        ("https://h.test/p", True, "/p"),
        ("https://h.test", True, ""),
    ],
)
def test_the_api_root(tmp_path: Path, url: str, override: bool, path: str) -> None:
    write(tmp_path, f'[host."{url}"]\noverride_path = {str(override).lower()}\n')
    assert of(tmp_path)[0].path == path


@pytest.mark.parametrize("folder", ["registry.test_5000_", "registry.test:5000", "_default"])
def test_the_names_of_a_hosts_directory(tmp_path: Path, folder: str) -> None:
    write(tmp_path, 'server = "https://found.test"\n', folder)
    assert bases(of(tmp_path)) == ["https://found.test/v2"]  # HOST-15


def test_the_most_particular_directory_counts(tmp_path: Path) -> None:
    write(tmp_path, 'server = "https://default.test"\n', "_default")
    write(tmp_path, 'server = "https://own.test"\n')
    assert bases(of(tmp_path)) == ["https://own.test/v2"]


def test_the_first_root_with_a_directory_counts(tmp_path: Path) -> None:
    first, second, third = tmp_path / "1", tmp_path / "2", tmp_path / "3"
    write(second, 'server = "https://second.test"\n')
    write(third, 'server = "https://third.test"\n')
    hosts = Hosts(Config(config_path=(first, second, third))).of(NAMESPACE)
    assert bases(hosts) == ["https://second.test/v2"]  # HOST-14


def test_no_directory_and_an_empty_file_mean_the_registry_itself(tmp_path: Path) -> None:
    assert bases(of(tmp_path)) == ["https://registry.test:5000/v2"]  # HOST-17
    write(tmp_path, "\n")
    assert bases(of(tmp_path)) == ["https://registry.test:5000/v2"]  # HOST-21


def test_a_change_takes_effect_with_the_next_pull(tmp_path: Path) -> None:
    hosts = Hosts(Config(config_path=(tmp_path,)))
    write(tmp_path, 'server = "https://one.test"\n')
    assert bases(hosts.of(NAMESPACE)) == ["https://one.test/v2"]
    write(tmp_path, 'server = "https://two.test"\n')
    assert bases(hosts.of(NAMESPACE)) == ["https://two.test/v2"]  # HOST-41


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("server = ", "Invalid value"),
        ('[host."https://m.test"]\ncapabilities = ["fly"]', "unknown capability 'fly'"),
        ('[host."https://m.test"]\nca = 1', "ca must be a string"),
        ('[host."https://m.test"]\nclient = [["a", "b", "c"]]', "pair"),
        ('[host."https://m.test"]\nskip_verify = "no"', "skip_verify must be true or false"),
        ('[host."https://m.test"]\nheader = "x"', "header must be a table"),
        ('[host."https://m.test".header]\nx = 1', "header x must be a string"),
        ('[host."https://m.test"]\ndial_timeout = "soon"', "invalid duration 'soon'"),
        ('[host."ftp://m.test"]', "must be http"),
        ('[host."https://user:pw@m.test"]', "must be http"),
        ("host = 1", "must hold tables"),
        ('server = "https://[bad"', "can't parse endpoint"),
        ("client = true", "client must be a string"),
        ("client = {a = 1}", "client must be a string"),
        ("server = " + "[" * 5000, "recursion"),
        ('dial_timeout = "' + "9" * 400 + 's"', "invalid duration"),
    ],
)
def test_a_broken_file_is_an_error_that_says_where(tmp_path: Path, text: str, why: str) -> None:
    """HOST-20: to go on without it would ask hosts that nobody wanted to be asked."""
    directory = write(tmp_path, text)
    with pytest.raises(HostsConfigError, match=r"hosts\.toml") as caught:
        of(tmp_path)
    assert why in str(caught.value)
    assert str(directory) in str(caught.value)
    assert "pw" not in str(caught.value)


def test_unknown_keys_are_ignored(tmp_path: Path) -> None:
    write(tmp_path, 'future = 1\n[host."https://m.test"]\nfuture = {a = 1}\n')
    assert bases(of(tmp_path))[0] == "https://m.test/v2"  # HOST-22


@pytest.mark.parametrize(
    ("text", "found"),
    [
        # What stands behind a table's head is the table's, which has no `server` (HOST-23).
        ('[host."https://m.test"]\nserver = "https://s.test"', ["m.test", NAMESPACE]),
        ('host = {"https://m.test" = {}}', ["m.test", NAMESPACE]),  # HOST-25
        (
            '[host."https://a.test"]\n[host."b.test"]\n[host."https://a.test".header]\nx = "1"',
            ["a.test", "b.test", NAMESPACE],
        ),  # HOST-26
        ('[host."httpbin.test:5000"]', ["httpbin.test:5000", NAMESPACE]),  # HOST-27
    ],
)
def test_tables_are_what_toml_says(tmp_path: Path, text: str, found: list[str]) -> None:
    write(tmp_path, text)
    assert [host.authority for host in of(tmp_path)] == found


@pytest.mark.parametrize(
    ("listed", "capabilities"),
    [
        ("[]", {"pull", "resolve", "push"}),
        ('["Pull", "RESOLVE"]', {"pull", "resolve"}),
        ('["pull", "referrers"]', {"pull", "referrers"}),
    ],
)
def test_capabilities(tmp_path: Path, listed: str, capabilities: set[str]) -> None:
    """HOST-29"""
    write(tmp_path, f'server = "https://s.test"\ncapabilities = {listed}')
    assert of(tmp_path)[0].capabilities == capabilities


def test_without_server_the_files_own_keys_leave_the_registry_capable(tmp_path: Path) -> None:
    """HOST-33: TLS counts, because nothing else could say it."""
    write(tmp_path, 'capabilities = ["push"]\nskip_verify = true\n')
    (host,) = of(tmp_path)
    assert host.capabilities == {"pull", "resolve", "push"}
    assert host.tls == TLSOptions(skip_verify=True)


def test_credentials_of_a_host_in_a_tree_are_those_of_the_table(
    tmp_path: Path, pair: tuple[Path, Path, Path]
) -> None:
    """Q-20: by the host that is asked; the table's TLS isn't used beside a tree."""
    auth = AuthConfig(username="u", password="p")
    write(tmp_path, '[host."https://m.test"]')
    configs = {"m.test": RegistryConfig(auth=auth, tls=TLSConfig(ca_file=pair[0]))}
    mirror, own = of(tmp_path, configs=configs)
    assert (mirror.auth, mirror.tls) == (auth, TLSOptions())
    assert own.auth is None


def test_tls_headers_and_timeouts_are_a_hosts_own(
    tmp_path: Path, pair: tuple[Path, Path, Path]
) -> None:
    directory = write(
        tmp_path,
        f"""
        [host."https://m.test"]
        ca = ["../ca.pem"]
        client = [["{pair[1]}", "{pair[2]}"]]
        dial_timeout = "1m30.5s"
        [host."https://m.test".header]
        x-one = "1"
        x-two = ["a", "b"]
        [host."https://lax.test"]
        skip_verify = true
        """,
    )

    mirror, lax, own = of(tmp_path)

    assert mirror.tls == TLSOptions((directory / "../ca.pem",), ((pair[1], pair[2]),))  # TLS-13
    assert mirror.dial_timeout == 90.5
    assert mirror.headers == {"x-one": ("1",), "x-two": ("a", "b")}
    assert lax.tls == TLSOptions(skip_verify=True)  # TLS-12
    assert own.tls == TLSOptions()
    assert own.headers == {}  # HOST-34


def test_a_client_certificate_with_its_key_inside(
    tmp_path: Path, pair: tuple[Path, Path, Path]
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair[1].read_bytes() + pair[2].read_bytes())
    write(tmp_path, f'[host."https://m.test"]\nclient = "{both}"\n')
    assert of(tmp_path)[0].tls.client_pairs == ((both, None),)  # TLS-14


@pytest.mark.parametrize("key", ["ca", "client"])
def test_certificates_that_cannot_be_loaded_are_errors_before_any_request(
    tmp_path: Path, key: str
) -> None:
    write(tmp_path, f'[host."https://m.test"]\n{key} = "missing.pem"\n')
    with pytest.raises(ConfigError, match=r"failed to load .*missing\.pem.*No such file"):
        of(tmp_path)  # TLS-15
    (tmp_path / "registry.test_5000_" / "missing.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="not usable as PEM"):
        of(tmp_path)  # TLS-05, Q-10


def test_the_certs_d_layout(tmp_path: Path, pair: tuple[Path, Path, Path]) -> None:
    directory = tmp_path / "tree" / NAMESPACE
    directory.mkdir(parents=True)
    (directory / "folder.crt").mkdir()
    for path, name in zip(pair, ("ca.crt", "client.cert", "client.key"), strict=True):
        (directory / name).write_bytes(path.read_bytes())

    (host,) = of(tmp_path / "tree")

    assert host.authority == NAMESPACE
    assert host.tls == TLSOptions(
        (directory / "ca.crt",), ((directory / "client.cert", directory / "client.key"),)
    )  # TLS-16


def test_a_root_that_cannot_be_looked_into_is_an_error(tmp_path: Path) -> None:
    """HOST-16, Q-18: a later root that has the host is no way out."""
    loop, good = tmp_path / "loop", tmp_path / "good"
    loop.symlink_to(loop)
    write(good, 'server = "https://s.test"')
    with pytest.raises(HostsConfigError, match="Too many levels of symbolic links"):
        Hosts(Config(config_path=(loop, good))).of(NAMESPACE)


# mirrors and configs


def test_mirrors_come_first_and_the_registry_last() -> None:
    config = Config(mirrors={"a.test": ["https://m1.test", "m2.test/root"]})
    hosts = Hosts(config).of("a.test")
    assert bases(hosts) == ["https://m1.test/v2", "https://m2.test/root", "https://a.test/v2"]
    assert [host.origin for host in hosts] == [False, False, True]  # HOST-01, HOST-07
    assert Hosts(config).for_tags(hosts) == hosts  # HOST-08


def test_the_wildcard_counts_where_no_exact_entry_is() -> None:
    config = Config(mirrors={"*": ["https://all.test"], "a.test": []})
    assert bases(Hosts(config).of("a.test")) == ["https://a.test/v2"]  # HOST-02
    for namespace, own in (("b.test", "b.test"), ("docker.io", "registry-1.docker.io")):  # HOST-03
        assert bases(Hosts(config).of(namespace)) == ["https://all.test/v2", f"https://{own}/v2"]


def test_the_registry_is_not_added_twice() -> None:
    """HOST-04, HOST-05"""
    config = Config(
        mirrors={
            "a.test": ["http://a.test", "https://m.test"],
            "docker.io": ["https://registry-1.docker.io"],
        }
    )
    assert bases(Hosts(config).of("a.test")) == ["http://a.test/v2", "https://m.test/v2"]
    assert bases(Hosts(config).of("docker.io")) == ["https://registry-1.docker.io/v2"]


def test_looking_up_hosts_changes_nothing() -> None:
    endpoints = ["m.test"]
    hosts = Hosts(Config(mirrors={"*": endpoints}))
    for number in range(3):
        assert len(hosts.of(f"{number}.test")) == 2
    assert endpoints == ["m.test"]  # Q-01, CONC-13


def test_settings_are_those_of_the_endpoint(pair: tuple[Path, Path, Path]) -> None:
    auth = AuthConfig(username="u", password="p")
    config = Config(
        mirrors={"a.test": ["m.test"]},
        configs={"m.test": RegistryConfig(auth=auth, tls=TLSConfig(ca_file=pair[0]))},
    )
    mirror, own = Hosts(config).of("a.test")
    assert (mirror.auth, mirror.tls) == (auth, TLSOptions((pair[0],)))  # TLS-09, PA-16
    assert (own.auth, own.tls) == (None, TLSOptions())


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        (TLSConfig(cert_file=Path("c")), "cert file 'c' was specified, but no corresponding key"),
        (TLSConfig(key_file=Path("k")), "key file 'k' was specified, but no corresponding cert"),
        (TLSConfig(ca_file=Path("/nowhere/ca")), "failed to load CA file"),
        (TLSConfig(cert_file=Path("/no/c"), key_file=Path("/no/k")), "failed to load cert file"),
    ],
)
def test_half_a_tls_configuration_is_refused(tls: TLSConfig, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Hosts(Config(configs={"a.test": RegistryConfig(tls=tls)})).of(
            "a.test"
        )  # TLS-04, TLS-06, TLS-07


def test_tls_of_an_endpoint_without_tls_is_no_matter() -> None:
    """TLS-10: http stays http, and what isn't used isn't read."""
    tls = TLSConfig(ca_file=Path("/nowhere/ca"))
    endpoint = Config(
        mirrors={"a.test": ["http://m.test"]}, configs={"m.test": RegistryConfig(tls=tls)}
    )
    assert bases(Hosts(endpoint).of("a.test")) == ["http://m.test/v2", "https://a.test/v2"]


def test_an_endpoint_that_cannot_be_parsed_is_an_error() -> None:
    with pytest.raises(HostsConfigError):
        Hosts(Config(mirrors={"a.test": ["http://[bad"]})).of("a.test")  # HOST-09


def test_a_root_with_a_nul_in_it_is_an_error() -> None:
    with pytest.raises(HostsConfigError, match="null byte"):
        of(Path("a\0b"))


# schemes, names and URLs


@pytest.mark.parametrize(
    ("namespace", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2"),  # HOST-11
        ("a.test", "https://a.test/v2"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000/v2"),  # HOST-06
        ("[::1]:5000", "http://[::1]:5000/v2"),
    ],
)
def test_the_default_scheme(namespace: str, base: str) -> None:
    assert bases(Hosts(Config()).of(namespace)) == [base]


def test_plain_http_and_tls_settings_decide_the_scheme(pair: tuple[Path, Path, Path]) -> None:
    """TLS-20: one scheme, settled before anybody is asked."""
    assert Hosts(Config(plain_http=frozenset({"a.test"}))).of("a.test")[0].scheme == "http"
    assert Hosts(Config(plain_http=frozenset({"*"}))).of("b.test")[0].scheme == "http"
    tls = TLSConfig(ca_file=pair[0])
    assert Hosts(Config(tls=tls)).of("127.0.0.1:1")[0].scheme == "https"
    own = Config(configs={"localhost:1": RegistryConfig(tls=tls)})
    assert Hosts(own).of("localhost:1")[0].scheme == "https"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1", True),
        ("127.9.9.9:1", True),
        ("::1", True),
        ("[::1]:5000", True),
        ("LOCALHOST", False),
        ("foo.localhost", False),
        ("0.0.0.0", False),
        ("10.0.0.1:80", False),
    ],
)
def test_what_is_localhost(host: str, local: bool) -> None:
    assert is_localhost(host) is local  # HOST-10


def test_a_mirror_is_told_whose_image_is_meant() -> None:
    """In a query that has nothing else, so that nothing of it can get lost (Q-30)."""
    own, mirror = Host("https", "a.test:1"), Host("http", "m.test", path="/root/")
    assert own.url("app", "manifests", "v1", "a.test:1") == "https://a.test:1/v2/app/manifests/v1"
    assert mirror.url("app", "blobs", "sha256:0", "a.test:1") == (
        "http://m.test/root/app/blobs/sha256:0?ns=a.test%3A1"
    )  # HOST-12
    deep = own.url("a/b/c", "manifests", "sha256:0", "a.test:1")
    assert deep == "https://a.test:1/v2/a/b/c/manifests/sha256:0"  # MAN-29
    hub = Host("https", "registry-1.docker.io")
    assert "ns=" not in hub.url("library/x", "manifests", "1", "docker.io")


def test_a_tag_is_only_asked_where_resolve_is_allowed(tmp_path: Path) -> None:
    write(tmp_path, '[host."https://m.test"]\ncapabilities = ["PULL"]\n')
    hosts = Hosts(Config(config_path=(tmp_path,)))
    found = hosts.of(NAMESPACE)
    assert [host.authority for host in hosts.for_tags(found)] == [NAMESPACE]  # HOST-30
    assert [host.authority for host in hosts.for_content(found)] == ["m.test", NAMESPACE]


def test_no_host_with_the_capability_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, 'server = "https://s.test"\ncapabilities = ["push"]\n')
    hosts = Hosts(Config(config_path=(tmp_path,)))
    with pytest.raises(HostsConfigError, match="no resolve hosts"):
        hosts.for_tags(hosts.of(NAMESPACE))
    with pytest.raises(HostsConfigError, match="no pull hosts"):
        hosts.for_content(hosts.of(NAMESPACE))  # HOST-31, HOST-32, Q-29


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("5m0s", 300), ("1h2m3.5s", 3723.5), ("100ms", 0.1), (".5s", 0.5)],
)
def test_go_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-1s", "1d", "5m x", "\u0661s", "9" * 400 + "s", "2562048h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)
