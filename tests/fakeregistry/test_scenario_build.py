"""Worlds built from scenario files, asked over real connections."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakeregistry import IndexSpec, Registries, Schema1Spec
from fakeregistry.scenario import (
    Built,
    Source,
    build,
    find,
    install,
    load,
    read,
    read_rules,
    shipped,
)


def world(folder: Path, text: str, registries: Registries, **options: Any) -> Built:
    path = folder / "s.toml"
    path.write_text(text)
    return build(load(path), registries, **options)


def get(registries: Registries, name: str, path: str, **options: Any) -> httpx.Response:
    host = registries.registry(name)
    context = registries.certificates.client_context()
    url = f"{host.scheme}://127.0.0.1:{host.port}{path}"
    return httpx.get(url, verify=context, trust_env=False, **options)


LIES = """
[[image]]
[[rule]]
on = "blob"
layer = 1
first = 1
status = 503
[[rule]]
on = "manifest"
by = "tag"
header = { name = "X-Seen", value = "1" }
lie = false
"""


def test_rules_act_as_they_say(tmp_path: Path) -> None:
    with Registries() as registries:
        built = world(tmp_path, LIES, registries)
        image = built.images["app/web"]
        blob = f"/v2/app/web/blobs/{image.layers[1].digest}"

        codes = [get(registries, "origin", blob).status_code for _ in range(2)]
        answer = get(registries, "origin", "/v2/app/web/manifests/v1")

        assert codes == [503, 200]
        assert answer.headers["X-Seen"] == "1"
        assert [rule.fired for _, rule in built.rules] == [1, 1]
        assert len(built.seen(built.scenario.rules[0].target)) == 2


def test_an_honest_world_has_only_what_is_no_lie(tmp_path: Path) -> None:
    with Registries() as registries:
        built = world(tmp_path, LIES, registries, honest=True)
        blob = f"/v2/app/web/blobs/{built.images['app/web'].layers[1].digest}"

        assert get(registries, "origin", blob).status_code == 200
        assert get(registries, "origin", "/v2/app/web/manifests/v1").headers["X-Seen"] == "1"
        assert len(built.rules) == 1


CONTENT = """
[[registry]]
tls = "expired"
[[image]]
[[image.layer]]
lie = { size = 1, media_type = "application/x", diff_id = "sha256:0", cut = -1, trailing = "t" }
[[image.layer]]
compression = "zstd"
members = 2
[[image.layer]]
same_as = 1
"""


def test_lies_in_content_and_certificates_are_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def tell(words: str, false: Any, true: Any, where: str) -> Any:
        told.append((words, where))
        return false

    with Registries() as registries:
        built = world(tmp_path, CONTENT, registries, tell=tell)
        first, second, third = built.images["app/web"].layers

        assert told[0] == ("the certificate of origin is expired", "certificate")
        assert told[1][0].startswith("layer 0 of app/web has a false size 1, media_type")
        assert told[1][1] == "content"
        assert (first.descriptor["size"], first.media_type) == (1, "application/x")
        assert (first.diff_id, first.cut, first.trailing) == ("sha256:0", -1, b"t")
        assert (second.compression, second.members) == ("zstd", 2)
        assert third.digest == second.digest
        assert registries.registry("origin").tls == registries.certificates.expired()


def test_an_honest_world_tells_the_truth(tmp_path: Path) -> None:
    with Registries() as registries:
        built = world(tmp_path, CONTENT, registries, honest=True)
        layer = built.images["app/web"].layers[0]

        assert layer.descriptor["size"] == layer.size
        assert layer.diff_id == layer.content_diff_id
        assert get(registries, "origin", "/v2/").status_code == 200


FORMS = """
[[registry]]
name = "mirror"
[[image]]
id = "index"
registry = ["origin", "mirror"]
platforms = ["linux/amd64", "linux/arm64/v8"]
[[image]]
id = "old"
name = "old/app"
form = "schema1"
[[image]]
id = "docker"
name = "docker/app"
form = "docker"
[[rule]]
registry = "mirror"
on = "blob"
image = "index"
platform = "linux/arm64/v8"
layer = 0
status = 404
[[rule]]
on = "config"
image = "docker"
status = 404
[[rule]]
on = "blob"
image = "old"
layer = 1
status = 404
[[rule]]
on = "manifest"
image = "index"
platform = "linux/amd64"
status = 404
"""


def test_forms_platforms_and_mirrors(tmp_path: Path) -> None:
    with Registries() as registries:
        built = world(tmp_path, FORMS, registries)
        images = built.images
        arm = images["index"].image("linux/arm64/v8")
        amd = images["index"].image("linux/amd64")

        assert isinstance(images["index"].spec, IndexSpec)
        assert isinstance(images["old"].spec, Schema1Spec)
        assert "docker" in images["docker"].media_type
        assert not {x.digest for x in arm.layers} & {x.digest for x in amd.layers}
        wanted = [
            ("mirror", f"/v2/app/web/blobs/{arm.layers[0].digest}", 404),
            ("origin", f"/v2/app/web/blobs/{arm.layers[0].digest}", 200),
            ("mirror", f"/v2/app/web/blobs/{amd.layers[0].digest}", 200),
            ("origin", f"/v2/docker/app/blobs/{images['docker'].config.digest}", 404),
            ("origin", f"/v2/old/app/blobs/{images['old'].layers[1].digest}", 404),
            ("origin", f"/v2/app/web/manifests/{amd.digest}", 404),
            ("origin", f"/v2/app/web/manifests/{arm.digest}", 200),
            ("mirror", "/v2/app/web/manifests/v1", 200),
        ]
        assert [get(registries, n, p).status_code for n, p, _ in wanted] == [
            c for _, _, c in wanted
        ]


def test_auth_and_the_realm_elsewhere(tmp_path: Path) -> None:
    text = """
[[registry]]
auth = { scheme = "bearer", user = "alice", realm = "auth" }
[[registry]]
name = "auth"
[[registry]]
name = "inner"
auth = "basic"
[[image]]
registry = ["origin", "inner"]
"""
    with Registries() as registries:
        world(tmp_path, text, registries)
        challenge = get(registries, "origin", "/v2/").headers["WWW-Authenticate"]

        assert f"{registries.registry('auth').base_url}/token" in challenge
        assert get(registries, "inner", "/v2/").headers["WWW-Authenticate"].startswith("Basic")


def test_a_stage_may_stand_between(tmp_path: Path) -> None:
    """A judge hands out its own registries, and hears what is a lie and what is not."""
    heard: list[str] = []

    class Heard:
        def __init__(self, real: Any) -> None:
            self.add, self.requests = real.add, real.requests
            self.real = real

        def on(self, target: Any, **match: Any) -> Any:
            heard.append("lie")
            return self.real.on(target, **match)

        def given(self, target: Any, **match: Any) -> Any:
            heard.append("given")
            return self.real.on(target, **match)

    class Stage:
        def registry(self, name: str = "origin") -> Any:
            return Heard(registries.registry(name))

    with Registries() as registries:
        world(tmp_path, LIES, registries, stage=Stage())

    assert heard == ["lie", "given"]


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_world_can_be_built_and_is_served(name: str) -> None:
    scenario = load(find(name))
    with Registries() as registries:
        built = build(scenario, registries, honest=True)
        image = built.images[scenario.images[0].id]
        first = scenario.registries[0]
        if first.auth is None and not first.client_certificate:
            path = f"/v2/{image.repository}/manifests/{image.tag}"
            answer = get(registries, "origin", path, follow_redirects=True)
            assert answer.content == image.manifest
    with Registries() as registries:
        lying = build(scenario, registries)
        assert [part for part, _ in lying.rules] == list(scenario.rules)


def test_rules_by_digest_upload_and_any_manifest(tmp_path: Path, registries: Registries) -> None:
    built = world(tmp_path, "[[image]]\nlayers = 1\n", registries)
    image = built.images["app/web"]
    (layer,) = image.layers
    for text in (
        f'on = "blob"\ndigest = "{layer.digest}"\nstatus = 418',
        f'on = "config"\ndigest = "{image.config.digest}"\nstatus = 419',
        'on = "upload"\nmethod = "POST"\nstatus = 420',
    ):
        for part in read_rules(Source.of_text("r", text), built.scenario):
            install(built, part)

    blobs = "/v2/app/web/blobs"
    answers = [
        get(registries, "origin", f"{blobs}/{layer.digest}"),
        get(registries, "origin", f"{blobs}/{image.config.digest}"),
        httpx.post(registries.registry().url_for(f"{blobs}/uploads/"), trust_env=False),
    ]
    assert [answer.status_code for answer in answers] == [418, 419, 420]


def test_a_manifest_rule_without_an_image_means_any(registries: Registries) -> None:
    scenario = read(Source("w", {"image": [{}]}))
    empty = replace(scenario, images=())
    built = build(empty, registries)
    (part,) = read_rules(Source.of_text("r", 'on = "manifest"\nstatus = 418'), empty)
    install(built, part)

    assert get(registries, "origin", "/v2/any/manifests/v1").status_code == 418
    assert get(registries, "origin", "/v2/any/blobs/sha256:0").status_code == 404
