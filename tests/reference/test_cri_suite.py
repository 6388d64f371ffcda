"""`refpull serve` under the CRI's own validation suite (`critest`), and in the hands of `crictl`.

`nox -s cri` builds both (at the version pinned there) into build/cri-suite; where they aren't
there, nothing is tested here, unless PULLPROOF_REQUIRE_CLIENTS says that they must be.

The suite's images are in a public registry, which a hosts.toml file replaces by one of ours. One of
them it names by its digest; the copy of the suite that is run names an image of ours instead. What
it asks of a runtime isn't asked: that it runs containers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fakeregistry import Image, Registries, Registry, an_image
from reference.platforms import Platform

TOOLS = Path(__file__).parents[2] / "build" / "cri-suite"
MACHINE = str(Platform.here())
DOMAIN = "gcr.io"
FOLDER = "k8s-staging-cri-tools"
BY_DIGEST = b"9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"
"""The image that the suite names by digest: nobody but its registry has it."""
USERS = {
    "uid": "1002",
    "username": "www-data",
    "uid-group": "1003:group",
    "username-group": "www-data:group",
}
SPECS = 9
"""All 8 of the image service, and the version of the runtime."""

pytestmark = pytest.mark.skipif(
    not (TOOLS / "critest").exists() and not os.environ.get("PULLPROOF_REQUIRE_CLIENTS"),
    reason="the CRI's suite isn't built: nox -s cri",
)


@dataclass(frozen=True)
class Served:
    """A server of ours, and the registry that stands for the public one."""

    address: str
    registry: Registry
    image: Image
    """Whose repository has three tags."""
    by_digest: Image


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Registries("cri-suite") as registries:
        registry = registries.registry()

        def add(name: str, *tags: str, user: str = "") -> Image:
            fields = {"config": {"User": user}, "author": name}
            spec = an_image(1, platform=MACHINE, config_fields=fields)
            image, *_ = [registry.add(spec, f"{FOLDER}/test-image-{name}", tag=tag) for tag in tags]
            return image

        for name, user in USERS.items():
            add(f"user-{name}", "latest", user=user)
        for number in range(1, 4):
            add(str(number), "latest")
        add("latest", "latest")
        add("tag", "test", "all")
        image = add("tags", "1", "2", "3")
        by_digest = add("digest", "latest")

        hosts = tmp_path / "certs.d" / DOMAIN
        hosts.mkdir(parents=True)
        (hosts / "hosts.toml").write_text(f'server = "{registry.base_url}"\n')
        config = tmp_path / "config.toml"
        config.write_text(
            '[plugins."io.containerd.cri.v1.images".registry]\n'
            f"config_path = {json.dumps(str(hosts.parent))}\n"
        )
        address = f"unix://{tmp_path}/s"
        command = [sys.executable, "-m", "reference", "serve", "--root", str(tmp_path / "store")]
        with subprocess.Popen(
            [*command, "--address", address, "--config", str(config)],
            stdout=subprocess.PIPE,
            text=True,
            env={k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")},
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == f"serving {address}\n"
                yield Served(address, registry, image, by_digest)
            finally:
                process.kill()


def test_the_suite_of_the_cri_passes(served: Served, tmp_path: Path) -> None:
    ours = served.by_digest.digest.removeprefix("sha256:").encode()
    program = (TOOLS / "critest").read_bytes()
    assert program.count(BY_DIGEST) == 1
    copy = tmp_path / "critest"
    copy.write_bytes(program.replace(BY_DIGEST, ours))
    copy.chmod(0o700)

    done = subprocess.run(
        [
            str(copy),
            f"-runtime-endpoint={served.address}",
            "-ginkgo.focus=Image Manager|version info",
            f"-ginkgo.junit-report={tmp_path}/report.xml",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(tmp_path / "report.xml").getroot().iter("testcase")
    passed = [case.get("name", "") for case in cases if case.get("status") == "passed"]
    assert len([name for name in passed if name.startswith("[It]")]) == SPECS, passed


def test_crictl_pulls_lists_shows_and_removes(served: Served) -> None:
    def crictl(*arguments: str) -> Any:
        command = [str(TOOLS / "crictl"), "--runtime-endpoint", served.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "json" in arguments else done.stdout

    image = served.image
    tags = [f"{DOMAIN}/{FOLDER}/test-image-tags:{number}" for number in range(1, 4)]
    for tag in tags:
        assert image.image_id in crictl("pull", tag)
    (listed,) = crictl("images", "-o", "json")["images"]
    assert listed["id"] == image.image_id
    assert sorted(listed["repoTags"]) == tags
    shown = crictl("inspecti", "-o", "json", tags[0])
    assert shown["status"]["repoDigests"] == [f"{tags[0].rpartition(':')[0]}@{image.digest}"]
    usage = crictl("imagefsinfo", "-o", "json")["status"]["imageFilesystems"]
    assert int(usage[0]["usedBytes"]["value"]) > 0
    assert "refpull" in crictl("version")
    crictl("rmi", image.image_id)
    assert crictl("images", "-o", "json")["images"] == []
