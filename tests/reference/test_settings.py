"""Settings from a containerd configuration file: what is taken, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakeregistry import Registries, Registry, an_image, basic
from reference.cli import main, parser
from reference.commands import common_config
from reference.compat import Quirks
from reference.config import AuthConfig, Config, RegistryConfig, TLSConfig
from reference.errors import ConfigError
from reference.settings import load_config

SEED = 'plugins."io.containerd.grpc.v1.cri"'
LATER = 'plugins."io.containerd.cri.v1.images"'


def read(tmp_path: Path, text: str, defaults: Config | None = None) -> Config:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return load_config(path, defaults)


@pytest.mark.parametrize("plugin", [SEED, LATER])
def test_hosts_credentials_and_tls_are_read(tmp_path: Path, plugin: str) -> None:
    config = read(
        tmp_path,
        f"""
        version = 2
        root = "/var/lib/containerd"
        [{plugin}]
        sandbox_image = "registry.k8s.io/pause:3.8"
        max_concurrent_downloads = 7
        image_pull_progress_timeout = "1m30s"
        [{plugin}.containerd]
        discard_unpacked_layers = true
        [{plugin}.registry.mirrors."docker.io"]
        endpoint = ["https://mirror.test", "http://other.test:5000"]
        [{plugin}.registry.configs."mirror.test".auth]
        username = "me"
        password = "canary"
        [{plugin}.registry.configs."mirror.test".tls]
        ca_file = "/etc/ca.pem"
        insecure_skip_verify = true
        [{plugin}.registry.auths."https://other.test:5000"]
        identitytoken = "canary"
        [{plugin}.registry.headers]
        User-Agent = ["one", "two"]
        """,
    )
    assert config.max_concurrent_downloads == 7
    assert config.progress_timeout == 90
    assert config.discard_unpacked_layers
    assert config.mirrors == {"docker.io": ("https://mirror.test", "http://other.test:5000")}
    assert config.configs == {
        "mirror.test": RegistryConfig(
            AuthConfig(username="me", password="canary"),
            TLSConfig(ca_file=Path("/etc/ca.pem"), insecure_skip_verify=True),
        ),
        "other.test:5000": RegistryConfig(AuthConfig(identity_token="canary")),
    }
    assert config.headers == {"User-Agent": ("one", "two")}


@pytest.mark.parametrize("plugin", [SEED, LATER])
def test_snapshotters_and_keys_are_read(tmp_path: Path, plugin: str) -> None:
    text = f"""
        [stream_processors."io.containerd.ocicrypt.decoder.v1.tar.gzip"]
        args = ["--decryption-keys-path", "/etc/keys"]
        [stream_processors."io.containerd.ocicrypt.decoder.v1.tar"]
        args = ["--decryption-keys-path", "/etc/keys"]
        [{plugin}.containerd]
        snapshotter = "overlayfs"
        [{plugin}.containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"
        snapshotter = "native"
        [{plugin}.containerd.runtimes.runc]
        [{plugin}.image_decryption]
        key_model = "%s"
        """
    config = read(tmp_path, text % "node")
    assert config.snapshotter == "overlayfs"
    assert config.runtimes == {"kata": "native", "runc": ""}
    assert config.decryption_keys == (Path("/etc/keys"),)
    assert read(tmp_path, text % "").decryption_keys == ()  # ENC-01


def test_config_path_is_a_list_of_folders(tmp_path: Path) -> None:
    config = read(tmp_path, f'[{SEED}.registry]\nconfig_path = "/etc/a:/etc/b"')
    assert config.config_path == (Path("/etc/a"), Path("/etc/b"))


@pytest.mark.parametrize("name", ["max_layer_size", "min_rate", "max_concurrent_downloads"])
def test_no_limit_is_negative(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must not be negative"):
        replace(Config(), **{name: -1})


def test_limits_are_read(tmp_path: Path) -> None:
    table = "[refpull]\nmax_layer_size = 1000\nmin_rate = 10\n"
    config = read(tmp_path, table + f"[{SEED}]\nconcurrent_layer_fetch_buffer = 8388608")
    assert (config.max_layer_size, config.min_rate) == (1000, 10)
    assert config.concurrent_layer_fetch_buffer == 8 << 20  # BLOB-15


def test_what_the_file_leaves_open_stays(tmp_path: Path) -> None:
    defaults = Config(max_concurrent_downloads=9)
    assert read(tmp_path, 'version = 3\n[grpc]\naddress = "/run/c.sock"', defaults) == defaults


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x =", "isn't TOML"),
        ("x = " + "[" * 5000, "isn't TOML"),
        (f'[{SEED}.registry.auths."http://[bad"]', "can't be parsed"),
        ("plugins = 1", "plugins must be a table"),
        (f"[{SEED}]\nmax_concurrent_downloads = -1", "max_concurrent_downloads must be a number"),
        (f"[{SEED}]\nmax_concurrent_downloads = true", "max_concurrent_downloads must be a number"),
        (f'[{SEED}]\nimage_pull_progress_timeout = "soon"', "image_pull_progress_timeout: invalid"),
        (f'[{SEED}]\nimage_pull_progress_timeout = ""', "image_pull_progress_timeout: invalid"),
        (f'[{SEED}.registry.mirrors."x"]\nendpoints = []', "endpoints is unknown: there are endpo"),
        (f'[{SEED}.registry.mirrors."x"]\nendpoint = "y"', "endpoint must be a list of strings"),
        (f'[{SEED}.registry.configs."x".auth]\nuser = "me"', "user is unknown"),
        (f'[{SEED}.registry.configs."x".auth]\npassword = ["canary"]', "password must be a string"),
        (f'[{SEED}.registry.configs."x".tls]\nca_file = 1', "ca_file must be a string"),
        (
            f'[{SEED}.registry]\nconfig_path = "/x"\n[{SEED}.registry.mirrors."x"]\nendpoint = []',
            "mirrors can't be set beside config_path",
        ),
        (
            f'[{SEED}.registry]\nconfig_path = "/x"\n[{SEED}.registry.configs."x".tls]',
            "tls can't be set in configs beside config_path",
        ),
        (f'[{SEED}.registry]\nconfig_path = "/x::/y"', "config_path has an empty folder in it"),
    ],
)
def test_what_is_wrong_is_said_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    """PROG-03, HOST-42, Q-19"""
    with pytest.raises(ConfigError, match=said) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't read .*: No such file"):
        load_config(tmp_path / "none.toml")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("settings") as registries:
        yield registries.registry()


def test_the_command_line_takes_a_file(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.auth = basic("me")
    image = registry.add(an_image(1))
    path = tmp_path / "config.toml"
    password = registry.auth.credentials.password
    path.write_text(
        f'[{SEED}.registry.mirrors."{registry.host}"]\nendpoint = ["{registry.base_url}"]\n'
        f'[{SEED}.registry.configs."{registry.host}".auth]\n'
        f'username = "me"\npassword = "{password}"\n'
    )
    pull = ["pull", "--root", str(tmp_path / "store"), "-q", "-o", str(tmp_path / "out")]
    assert main([*pull, "--platform", "linux/amd64", image.reference]) == 1
    asked = main([*pull, "--platform", "linux/amd64", "--config", str(path), image.reference])
    assert asked == 0
    assert password not in capsys.readouterr().err


# Quirks.


def test_quirks_are_read(tmp_path: Path) -> None:
    config = read(tmp_path, '[refpull]\nquirks = ["unlimited_downloads"]')
    assert config.quirks == Quirks(unlimited_downloads=True)
    assert config.compat is None


def test_compat_is_read_and_means_all_quirks(tmp_path: Path) -> None:
    assert read(tmp_path, '[refpull]\ncompat = "containerd"').quirks == Quirks.containerd()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('quirks = ["no_such"]', "no quirk is called 'no_such': "),
        ('compat = "docker"', 'compat must be "containerd" or absent'),
        ("quirk = true", "quirk is unknown: there are compat, quirks"),
    ],
)
def test_wrong_quirks_are_refused(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read(tmp_path, f"[refpull]\n{table}")


def test_the_command_line_adds_quirks_to_those_of_the_file(tmp_path: Path) -> None:
    first, *others = Quirks.names()
    (tmp_path / "c.toml").write_text(f'[refpull]\nquirks = ["{first}"]')
    for command in (["pull", "image"], ["serve", "--address", "/s"]):
        line = [*command, "--config", str(tmp_path / "c.toml")]
        arguments = parser().parse_args(line)
        assert common_config(arguments).quirks == Quirks().on([first])
        arguments = parser().parse_args([*line, *(f"--quirk={name}" for name in others)])
        assert common_config(arguments).quirks == Quirks.containerd()
        assert common_config(parser().parse_args([*line, "--compat=containerd"])) == Config(
            compat="containerd"
        )


def test_an_unknown_quirk_on_the_command_line_is_used_wrongly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pull", f"--root={tmp_path}", "--quirk", "no_such", "image"]) == 2
    assert "no quirk is called 'no_such'" in capsys.readouterr().err
