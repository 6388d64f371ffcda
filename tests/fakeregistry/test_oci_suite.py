"""The honest registry passes the OCI distribution-spec's own conformance suite, all of it enabled.

`nox -s registry` builds the suite (at the version pinned there) into build/conformance-suite; where
it isn't there, nothing is tested here, unless PULLPROOF_REQUIRE_CLIENTS says that it must be.
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parents[2] / "build" / "conformance-suite" / "conformance"

pytestmark = pytest.mark.skipif(
    not SUITE.exists() and not os.environ.get("PULLPROOF_REQUIRE_CLIENTS"),
    reason="the OCI suite isn't built: nox -s registry",
)

EVERYTHING = (
    "API_BLOBS_DIGEST_HEADER",
    "API_BLOBS_MOUNT_ANONYMOUS",
    "API_BLOBS_UPLOAD_CANCEL",
    "API_MANIFESTS_DIGEST_HEADER",
    "API_MANIFESTS_TAG_PARAM",
    "API_REFERRER",
    "DATA_SHA512",
    "DATA_SPARSE",
)
"""What is off by default in some version of the suite."""

SECURE = '[[registry]]\ntls = true\nauth = { scheme = "bearer", user = "alice" }\n[[image]]\n'
BASIC = '[[registry]]\nauth = "basic"\n[[image]]\n'


@contextmanager
def serving(*arguments: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "fakeregistry", "serve", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.mark.parametrize("version", ["1.1", "dev"])
@pytest.mark.parametrize("world", ["", BASIC, SECURE], ids=["plain", "basic", "tls+bearer"])
def test_the_suite_passes(tmp_path: Path, version: str, world: str) -> None:
    (tmp_path / "oci.yaml").write_text(f'version: "{version}"\n')
    arguments = ["--request-cap", "100000"]
    if world:
        (tmp_path / "world.toml").write_text(world)
        arguments.append(str(tmp_path / "world.toml"))

    with serving(*arguments) as ready:
        origin = ready["registries"]["origin"]
        environment = {f"OCI_{name}": "true" for name in EVERYTHING} | {
            "OCI_CONFIGURATION": "oci.yaml",
            "OCI_VERSION": version,
            "OCI_RESULTS_DIR": str(tmp_path / "results"),
            "OCI_REGISTRY": origin["host"],
            "OCI_TLS": "enabled" if origin["tls"] else "disabled",
            "SSL_CERT_FILE": ready["ca"] or "",
        }
        if origin["auth"]:
            environment["OCI_USERNAME"] = origin["auth"]["username"]
            environment["OCI_PASSWORD"] = origin["auth"]["password"]
        done = subprocess.run(
            [str(SUITE)],
            env=os.environ | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    assert done.returncode == 0, done.stdout + done.stderr
    counted = told(tmp_path / "results")
    assert counted["tests"] > 1000
    assert counted["failures"] == counted["errors"] == 0
    # A part of an empty blob can't be asked for: two algorithms, two skips.
    assert counted["skipped"] <= 2
    assert "Disabled......................:          0" in done.stdout


def told(results: Path) -> dict[str, int]:
    """What the suite counted: its exit code alone can lie (0 where it couldn't even begin)."""
    top = ElementTree.parse(results / "junit.xml").find("testsuite")
    assert top is not None
    return {name: int(top.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
