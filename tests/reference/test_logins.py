"""Logins of docker and podman, credential helpers: who is found, and what failures tell."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakeregistry import Registries, Registry, an_image, basic
from reference import logins
from reference.cli import main
from reference.config import AuthConfig
from reference.errors import ConfigError, InvalidAuth
from reference.logins import default_files, login
from reference.names import Name, Names
from reference.platforms import Platform

SECRET = "s3cret:of-mine"
MACHINE = str(Platform.here())


def encoded(user: str, secret: str = SECRET) -> str:
    return base64.b64encode(f"{user}:{secret}".encode()).decode()


def parsed(image: str) -> Name:
    return Names().parse(image)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[object], Path]:
    def written(document: object) -> Path:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps(document))
        return path

    return written


Helper = Callable[[str], None]


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Helper:
    """Makes `docker-credential-mine` out of a shell script."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def made(script: str) -> None:
        program = tmp_path / "bin" / "docker-credential-mine"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return made


@pytest.mark.parametrize(
    ("image", "user"),
    [
        ("registry.example/team/app/web:v1", "app"),
        ("registry.example/team/other", "team"),
        ("registry.example/team", "team"),
        ("registry.example/elsewhere", "all"),
        ("REGISTRY.example/elsewhere", "all"),
        ("registry.example:5000/team/app/web", "port"),
        ("plain.example/x/y", "url"),
        ("third.example/x", "v2"),
        ("busybox", "hub"),
        ("other.example/team/app", None),
    ],
)
def test_the_most_specific_entry_counts(
    file: Callable[[object], Path], image: str, user: str | None
) -> None:
    keys = {
        "registry.example": "all",
        "registry.example/team": "team",
        "registry.example/team/app": "app",
        "registry.example/team/app/we": "never",
        "registry.example:5000": "port",
        "https://plain.example/x": "url",
        "third.example/v2/": "v2",
        "https://index.docker.io/v1/": "hub",
        "[": "nobody",
    }
    path = file({"auths": {key: {"auth": encoded(user)} for key, user in keys.items()}})
    found = login(parsed(image), [path])
    assert found == (AuthConfig(auth=encoded(user)) if user else None)


def test_each_form_of_an_entry(file: Callable[[object], Path]) -> None:
    def found(entry: object) -> AuthConfig | None:
        return login(parsed("a.example/x"), [file({"auths": {"a.example": entry}})])

    token = {"auth": encoded("<token>"), "identitytoken": SECRET}
    assert found(token) == AuthConfig(identity_token=SECRET)
    assert found({"username": "me", "password": SECRET}) == AuthConfig("me", SECRET)
    # Docker leaves this where a helper has the secret; and a registry token is of no use here.
    assert found({}) is None
    assert found({"registrytoken": SECRET}) is None


def test_the_first_file_that_knows_the_registry_counts(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("gone", "other", "mine")]
    files[1].write_text(json.dumps({"auths": {"b.example": {"auth": encoded("b")}}}))
    files[2].write_text(json.dumps({"auths": {"a.example": {"auth": encoded("a")}}}))
    assert login(parsed("a.example/x"), files) == AuthConfig(auth=encoded("a"))


def test_where_logins_are_looked_for() -> None:
    home = {"HOME": "/home/me"}
    theirs = [Path("/home/me/.config/containers/auth.json"), Path("/home/me/.docker/config.json")]
    assert default_files({}) == []
    assert default_files(home) == theirs
    run = Path("/run/me/containers/auth.json")
    assert default_files({**home, "XDG_RUNTIME_DIR": "/run/me"}) == [run, *theirs]
    assert default_files({**home, "XDG_CONFIG_HOME": "/c"})[0] == Path("/c/containers/auth.json")
    docker = {**home, "DOCKER_CONFIG": "/d"}
    assert default_files(docker) == [Path("/d/config.json")]
    assert default_files({**docker, "REGISTRY_AUTH_FILE": "/r"}) == [Path("/r")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "isn't JSON"),
        ("[" * 100_000, "isn't JSON"),
        ("[]", "isn't a JSON object"),
        ('{"auths": []}', "auths must be a table"),
        ('{"auths": {"a.example": {"auth": 1}}}', "auth must be a string"),
        ('{"credsStore": "../../bin/sh"}', "a credential helper's name has"),
    ],
)
def test_a_file_that_cant_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "auth.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        login(parsed("a.example/x"), [path])
    assert str(path) in str(caught.value)
    with pytest.raises(ConfigError, match="can't read"):
        login(parsed("a.example/x"), [tmp_path])


# Helpers.

ANSWER = """read -r server
echo "$0 $* $server" > "$0.asked"
echo '{"Username": "%s", "Secret": "%s"}'"""


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
@pytest.mark.parametrize(
    ("image", "server"),
    [("a.example:5000/x", "a.example:5000"), ("busybox", "https://index.docker.io/v1/")],
)
def test_a_helper_is_asked_for_the_server_on_stdin(
    file: Callable[[object], Path],
    helper: Helper,
    tmp_path: Path,
    key: str,
    image: str,
    server: str,
) -> None:
    helper(ANSWER % ("me", SECRET))
    name = parsed(image)
    setting: Any = "mine" if key == "credsStore" else {server: "mine"}
    path = file({key: setting, "auths": {name.domain: {"auth": encoded("no")}}})
    assert login(name, [path]) == AuthConfig("me", SECRET)
    program = tmp_path / "bin" / "docker-credential-mine"
    assert (tmp_path / "bin" / "docker-credential-mine.asked").read_text() == (
        f"{program} get {server}\n"
    )
    helper(ANSWER % ("<token>", SECRET))
    assert login(name, [path]) == AuthConfig(identity_token=SECRET)


@pytest.mark.parametrize(
    "script",
    ["echo 'credentials not found in native keychain'; exit 1", ANSWER % ("", "")],
)
def test_a_helper_that_has_nothing_leaves_the_file(
    file: Callable[[object], Path], helper: Helper, script: str
) -> None:
    helper(script)
    document: dict[str, object] = {"credsStore": "mine"}
    assert login(parsed("a.example/x"), [file(document)]) is None
    document["auths"] = {"a.example": {"auth": encoded("me")}}
    assert login(parsed("a.example/x"), [file(document)]) == AuthConfig(auth=encoded("me"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 3", r"failed for a.example \(exit code 3\)"),
        ("kill -9 $$", r"failed for a.example \(exit code -9\)"),
        (f"echo {SECRET}", "answered something else than"),
        (f'echo \'{{"Username": "{SECRET}"}}\'', "answered something else than"),
        ("exec 1>&-; exit 0", "answered something else than"),
    ],
)
def test_a_helper_that_fails_is_one_line_without_its_words(
    file: Callable[[object], Path], helper: Helper, script: str, message: str
) -> None:
    helper(script)
    with pytest.raises(InvalidAuth, match=f"docker-credential-mine {message}") as caught:
        login(parsed("a.example/x"), [file({"credsStore": "mine"})])
    assert SECRET not in str(caught.value)


def test_a_helper_that_isnt_there_is_named(file: Callable[[object], Path]) -> None:
    with pytest.raises(InvalidAuth, match="can't run docker-credential-none-such: No such file"):
        login(parsed("a.example/x"), [file({"credsStore": "none-such"})])


def test_a_helper_that_hangs_ends_with_all_that_it_started(
    file: Callable[[object], Path], helper: Helper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in the middle would otherwise hold the pipe open, and the pull with it."""
    monkeypatch.setattr(logins, "HELPER_TIMEOUT", 0.5)
    alive = tmp_path / "alive"
    os.mkfifo(alive)
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    helper(f"exec 3>{alive}; sleep 1000 & wait")
    with pytest.raises(InvalidAuth, match=r"mine gave no answer for a.example in 0.5 s"):
        login(parsed("a.example/x"), [file({"credsStore": "mine"})])
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end: nobody has it open any more
    os.close(reader)


# The command.


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registries("logins") as registries:
        made = registries.registry()
        made.auth = basic("me")
        yield made


@pytest.fixture
def pull(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    image = registry.add(an_image(1, platform=MACHINE))

    def pulled(*options: str) -> int:
        return main(["pull", "-q", "--root", str(tmp_path / "store"), *options, image.reference])

    return pulled


def test_a_pull_uses_the_login_of_docker(
    registry: Registry,
    pull: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert pull() == 1
    assert registry.auth is not None
    auth = registry.auth.credentials
    document = {"auths": {registry.host: {"auth": encoded(auth.username, auth.password)}}}
    folder = tmp_path / "home" / ".docker"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(document))
    assert pull() == 0
    assert pull("--anonymous") == 1
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    assert pull("--auth-file", str(empty)) == 1
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(empty))
    assert pull() == 1
    assert pull("--auth-file", str(folder / "config.json")) == 0
    assert pull("--auth-file", str(tmp_path / "gone")) == 2
    said = capsys.readouterr()
    assert "--auth-file: there is no file" in said.err
    assert auth.password not in said.out + said.err


def test_the_configuration_given_goes_over_logins_that_nobody_named(
    registry: Registry, pull: Callable[..., int], tmp_path: Path
) -> None:
    assert registry.auth is not None
    auth = registry.auth.credentials
    config = tmp_path / "config.toml"
    plugin = 'plugins."io.containerd.grpc.v1.cri".registry.configs'
    config.write_text(
        f'[{plugin}."{registry.host}".auth]\n'
        f'username = "{auth.username}"\npassword = "{auth.password}"\n'
    )
    folder = tmp_path / "home" / ".docker"
    folder.mkdir(parents=True)
    wrong = {"auths": {registry.host: {"auth": encoded("me", "wrong")}}}
    (folder / "config.json").write_text(json.dumps(wrong))
    assert pull("--config", str(config)) == 0
    assert pull("--config", str(config), "--auth-file", str(folder / "config.json")) == 1
    assert pull("--config", str(config), "--anonymous") == 1


def test_a_helper_that_fails_ends_the_pull_with_one_line(
    registry: Registry,
    pull: Callable[..., int],
    helper: Helper,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    helper(f"echo {SECRET} >&2; exit 1")
    path = tmp_path / "auth.json"
    path.write_text('{"credsStore": "mine"}')
    assert pull("--auth-file", str(path)) == 1
    said = capsys.readouterr()
    assert said.err == (
        f"refpull: docker-credential-mine failed for {registry.host} (exit code 1)\n"
    )
    assert len(registry.journal) == 0
