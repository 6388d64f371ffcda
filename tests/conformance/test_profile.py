"""Profiles: the shipped ones are right, and a mistake in one is told in one line."""

from __future__ import annotations

import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from conformance.contract import Evidence, HarnessError, HostConfig, NotUsable, PullRequest, Trust
from conformance.profile import KNOWN_INPUTS, ProfileError, load, shipped
from conformance.pullers.hostfiles import (
    Inexpressible,
    host_of,
    write_docker_config,
    write_hosts_tree,
    write_registries_conf,
)
from conformance.pullers.template import Values, expand, expand_argv
from conformance.schema import problem_of, schema

MINIMAL = """
version = 1
name = "mine"
kind = "command"
roles = ["copy"]
evidence = ["layout"]
[command]
pull = ["mine", "{image}"]
"""


@pytest.mark.parametrize("name", shipped())
def test_shipped_profiles(name: str) -> None:
    profile = load(name)
    assert profile.name == name
    assert profile.get
    assert profile.inputs <= KNOWN_INPUTS
    assert Evidence.LOG in profile.evidence
    text = (files("conformance") / "profiles" / f"{name}.toml").read_text()
    rules: dict[str, Any] = dict(schema("profile"))
    Draft202012Validator.check_schema(rules)
    # A date of TOML's own is text for JSON's schema.
    document = json.loads(json.dumps(tomllib.loads(text), default=str))
    Draft202012Validator(rules).validate(document)


@pytest.mark.parametrize(("module", "given"), [("json", True), ("no_such_module", False)])
def test_an_input_that_needs_a_module(tmp_path: Path, module: str, given: bool) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'version = 1\nname = "mine"\ntitle = "mine"\nkind = "python"\nroles = ["copy"]\n'
        'evidence = ["layout"]\n[python]\nentry = "a:b"\n'
        f'needs = {{ decryption-keys = "{module}" }}\n'
    )
    profile = load(str(path))
    assert ("decryption-keys" in profile.inputs) is given
    assert profile.inputs | {"decryption-keys"} == KNOWN_INPUTS


def test_all_of_them_are_there() -> None:
    assert set(shipped()) == {
        *("reference", "reference-cri", "reference-compat", "skopeo", "crane"),
        *(f"containerd-{v}-{by}" for v in ("1.6", "1.7", "2") for by in ("cri", "ctr")),
    }


def test_unknown_name() -> None:
    with pytest.raises(ProfileError, match=r"no profile is called 'scopeo'; did you mean skopeo\?"):
        load("scopeo")
    with pytest.raises(ProfileError, match=r"nowhere\.toml can't be read: No such file"):
        load("nowhere.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name =", "nmae ="), "unknown key 'nmae'; did you mean 'name'?"),
        (('name = "mine"', ""), "lacks the key 'name'"),
        (('"copy"', '"copi"'), "roles[0] must be one of resolve, copy, unpack, runtime"),
        (("[command]", "[comand]"), "unknown key 'comand'; did you mean 'command'?"),
        (('"{image}"', '"{imgae}"'), "unknown placeholder {imgae}; did you mean {image}?"),
        (('pull = ["mine", "{image}"]', "pull = 3"), "command.pull must be of type array, not 3"),
        (("version = 1", "version = 2"), "version must be 1, not 2"),
        (("[command]", "[options.platfrom]\n[command]"), "did you mean 'platform'?"),
        (('kind = "command"', 'kind = "cri"'), "kind = 'cri' needs a table [cri]"),
        (("version = 1", "version = "), "is not valid TOML"),
        (("[command]", "[released]\n1='soon'\n[command]"), "released.1 must look like"),
        (("[command]", "[released]\n1='2022-13-01'\n[command]"), "is no day of the calendar"),
        (("[command]", "[status]\nargv=['x']\ndigest='['\n[command]"), "not a regular expression"),
        (("[command]", "[status]\nargv=['x']\ndigest='a'\n[command]"), "needs a group"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in MINIMAL
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL.replace(*change))
    with pytest.raises(ProfileError) as caught:
        load(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_program(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL + '\n[find]\nmine = ["{pullers}/mine/no", "surely-not-there"]\n')
    with pytest.raises(
        NotUsable, match=r"mine is not installed; to get it: put .*no or surely-not"
    ):
        load(str(path)).programs()


def test_a_mutant_is_the_reference_with_another_class() -> None:
    mutant = load("reference").mutated("a.b:C", "mutant-c")
    assert mutant.name == "mutant-c"
    assert mutant.table("python")["arguments"]["puller"] == "a.b:C"
    assert load("reference").table("python")["arguments"]["puller"] == "reference.pull:Puller"


def test_schema_problems() -> None:
    rules = schema("answer")
    assert problem_of({"version": 1, "answer": "pulled"}, rules) is None
    assert problem_of({"version": 1, "answer": "failed"}, rules) == (
        "the document lacks the key 'error'"
    )
    assert problem_of({"version": 1, "answer": "pulled", "x": 1}, rules) is not None
    assert problem_of([], rules) == "the document must be of type object, not []"


def test_placeholders() -> None:
    asked: list[int] = []

    def once() -> str:
        asked.append(1)
        return "b"

    values = Values({"a": "1", "b": once})
    assert asked == []
    assert expand("{a}-{b}-{b}-{ not one }-{}", values) == "1-b-b-{ not one }-{}"
    assert asked == [1]
    argv = ["x", "{options}", "{options.more}", "{options.none}", "{a}"]
    slots = {"": ["-p", "q"], "more": ["--m"]}
    assert expand_argv(argv, values, slots) == ["x", "-p", "q", "--m", "1"]
    with pytest.raises(HarnessError, match=r"\{platform\}"):
        expand("{platform}", values)


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000"),
        ("[::1]:5000/a:b", "[::1]:5000"),
        ("localhost/a", "localhost"),
        ("a/b", "docker.io"),
        ("busybox", "docker.io"),
        ("registry.test:1/a@sha256:0", "registry.test:1"),
    ],
)
def test_host_of(image: str, host: str) -> None:
    assert host_of(image) == host


def request(tmp_path: Path, **more: Any) -> PullRequest:
    return PullRequest("registry.test:5000/a/b:c", tmp_path / "store", tmp_path / "out", **more)


def hosts_toml(tmp_path: Path, form: Any, **more: Any) -> dict[str, Any]:
    root = write_hosts_tree(tmp_path / "hosts", request(tmp_path, **more), form)
    text = (root / "registry.test:5000" / "hosts.toml").read_text()
    return tomllib.loads(text)


def test_hosts_tree_of_a_server(tmp_path: Path) -> None:
    trust = Trust(ca=Path("/ca"), client_certificate=Path("/crt"), client_key=Path("/key"))
    tls = {"ca": "/ca", "client": [["/crt", "/key"]]}
    url = "https://registry.test:5000"
    assert hosts_toml(tmp_path, "server", trust=trust) == {"server": url, **tls}
    assert hosts_toml(tmp_path, "host", trust=trust) == {"server": url, "host": {url: tls}}
    plain = {"server": "http://registry.test:5000", "header": {"X-A": "1"}}
    assert hosts_toml(tmp_path, "server", plain_http=True, headers={"X-A": "1"}) == plain


def test_hosts_tree_of_mirrors(tmp_path: Path) -> None:
    mirrors = (
        HostConfig("http://m1.test:1", capabilities=("pull",), headers={"X-B": '"2"'}),
        HostConfig("https://m2.test:2/api", ca=Path("/ca"), override_path=True, dial_timeout_s=2),
        HostConfig("http://other.test:3", namespace="docker.io"),
    )
    document = hosts_toml(tmp_path, "server", hosts=mirrors, plain_http=True)
    assert document["server"] == "http://registry.test:5000"
    assert list(document["host"]) == ["http://m1.test:1", "https://m2.test:2/api"]
    assert document["host"]["http://m1.test:1"] == {
        "capabilities": ["pull"],
        "header": {"X-B": '"2"'},
    }
    assert document["host"]["https://m2.test:2/api"] == {
        "ca": "/ca",
        "override_path": True,
        "dial_timeout": "2s",
    }
    other = tomllib.loads((tmp_path / "hosts" / "docker.io" / "hosts.toml").read_text())
    assert other == {"host": {"http://other.test:3": {}}}


def test_hosts_tree_word_by_word(tmp_path: Path) -> None:
    tree = {"_default/hosts.toml": "not toml at all ["}
    root = write_hosts_tree(tmp_path / "h", request(tmp_path, hosts_tree=tree), "server")
    assert [str(path.relative_to(root)) for path in root.rglob("*.toml")] == list(tree)
    assert (root / "_default/hosts.toml").read_text() == "not toml at all ["


def test_registries_conf(tmp_path: Path) -> None:
    mirrors = (HostConfig("http://m.test:1/x", capabilities=("pull",)),)
    path = write_registries_conf(tmp_path / "r.conf", request(tmp_path, hosts=mirrors))
    assert tomllib.loads(path.read_text())["registry"] == [
        {
            "prefix": "registry.test:5000",
            "location": "registry.test:5000",
            "insecure": False,
            "mirror": [
                {"location": "m.test:1/x", "insecure": True, "pull-from-mirror": "digest-only"}
            ],
        }
    ]
    for odd in (
        HostConfig("http://m.test:1", headers={"X": "y"}),
        HostConfig("https://m.test:1", client_certificate=Path("/c"), client_key=Path("/k")),
    ):
        with pytest.raises(Inexpressible, match="mirrors"):
            write_registries_conf(tmp_path / "r.conf", request(tmp_path, hosts=(odd,)))


def test_docker_config(tmp_path: Path) -> None:
    from conformance.contract import AuthConfig

    auth = AuthConfig(username="u", password="p:q")
    folder = write_docker_config(tmp_path / "d", request(tmp_path, auth=auth))
    document = json.loads((folder / "config.json").read_text())
    assert document == {"auths": {"registry.test:5000": {"auth": "dTpwOnE="}}}
    folder = write_docker_config(tmp_path / "d", request(tmp_path))
    assert json.loads((folder / "config.json").read_text()) == {"auths": {}}
