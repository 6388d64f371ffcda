"""The pytest plugin: its fixtures as somebody else's tests use them."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from fakeregistry import Registries, Registry
from fakeregistry.scenario import Built


def test_the_registry_is_the_origin_of_the_topology(
    registries: Registries, registry: Registry
) -> None:
    assert registries.registry() is registry
    assert httpx.get(f"{registry.base_url}/v2/").status_code == 200


@pytest.mark.scenario("html-page-as-blob")
def test_a_shipped_scenario_stands(scenario: Built, registries: Registries) -> None:
    image = scenario.images["app/web"]
    url = f"{registries.registry().base_url}/v2/app/web/blobs/{image.layers[1].digest}"

    assert b"<html" in httpx.get(url).content
    assert [rule.fired for _, rule in scenario.rules] == [1]


@pytest.mark.scenario("html-page-as-blob", honest=True)
def test_its_honest_world_stands(scenario: Built) -> None:
    assert scenario.rules == []


def outcome(folder: Path, text: str) -> str:
    (folder / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


def test_a_file_beside_the_test_is_found(tmp_path: Path) -> None:
    world = '[[image]]\n[[rule]]\nname = "teapot"\non = "ping"\nstatus = 418\n'
    (tmp_path / "mine.toml").write_text(world)
    said = outcome(
        tmp_path,
        "import pytest, httpx\n"
        "@pytest.mark.scenario('mine.toml')\n"
        "def test_it(scenario, registry, registries):\n"
        "    assert httpx.get(registry.base_url + '/v2/').status_code == 418\n"
        "    assert registries.rule('teapot').fired == 1\n",
    )

    assert "1 passed" in said


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("", 'which one? @pytest.mark.scenario("blob-stalls")'),
        ("@pytest.mark.scenario", 'which one? @pytest.mark.scenario("blob-stalls")'),
        (
            "@pytest.mark.scenario('blob-stals')",
            "blob-stals: neither a file nor a shipped scenario: did you mean 'blob-stalls'?",
        ),
        ("@pytest.mark.scenario('bad.toml')", "bad.toml:2: unknown key 'layer_s' in [[image]]"),
    ],
)
def test_a_scenario_that_cannot_stand_is_told(tmp_path: Path, marker: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text("[[image]]\nlayer_s = 1\n")
    said = outcome(tmp_path, f"import pytest\n{marker}\ndef test_it(scenario):\n    pass\n")

    assert message in said
    assert "Traceback" not in said
    assert "1 error" in said
